"""Scores of boxes against annotations alone, by OTB's rules."""

import numpy as np

from jaxtrack.data.sequences import Sequence
from jaxtrack.evaluation import protocols


def annotated(truth, valid=None):
    """A sequence without images; all of its annotations count where nobody says which."""
    truth = np.asarray(truth, np.float64)
    return Sequence("toy", np.zeros(len(truth)), truth, np.ones(len(truth), bool) if valid is None else valid)


def score(boxes, truth, valid=None, rules=protocols.OTB):
    """The score of boxes `[M, 4]`."""
    return protocols.score(boxes, annotated(truth, valid), rules)
