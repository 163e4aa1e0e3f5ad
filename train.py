"""Trains a tracker's networks: `python train.py --help`."""

from jaxtrack.__main__ import leave, script

if __name__ == "__main__":
    leave(script("train"))
