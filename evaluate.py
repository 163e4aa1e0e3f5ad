"""Runs trackers on a benchmark and scores them: `python evaluate.py --help`."""

import sys

from jaxtrack.__main__ import script

if __name__ == "__main__":
    sys.exit(script("evaluate"))
