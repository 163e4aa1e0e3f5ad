"""Runs trackers on a benchmark and scores them: `python evaluate.py --help`."""

from jaxtrack.__main__ import leave, script

if __name__ == "__main__":
    leave(script("evaluate"))
