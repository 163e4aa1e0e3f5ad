"""Trains a tracker's networks: `python train.py --help`."""

import sys

from jaxtrack.__main__ import script

if __name__ == "__main__":
    sys.exit(script("train"))
