"""What the options of several commands are made of."""

from typing import Annotated, Any

import tyro

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""An option that is given or not, without a `--no-` of its own."""


def shown_as(metavar: str) -> Any:
    """What usage texts print for an option's value."""
    return tyro.conf.arg(metavar=metavar)
