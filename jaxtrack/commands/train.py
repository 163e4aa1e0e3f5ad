"""Trains a tracker's networks; not there yet in this version."""

from collections.abc import Sequence

from jaxtrack.errors import UserError


def run(argv: Sequence[str], *, prog: str) -> None:
    """Says that there is nothing to train yet, and what works today."""
    del argv
    raise UserError(
        f"{prog}: this version of jaxtrack cannot train networks offline yet; what works today is tracking and "
        "evaluation, also of deeptrack, which learns while it tracks: python evaluate.py --help"
    )
