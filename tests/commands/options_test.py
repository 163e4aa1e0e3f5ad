"""What the options of several commands are made of."""

import dataclasses
from typing import Annotated

import pytest
import tyro

from jaxtrack.commands._options import Switch, shown_as


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of no command."""

    folder: Annotated[str, shown_as("DIR")] = "here"
    quiet: Switch = False


def test_an_options_value_is_shown_in_the_usage_by_its_own_word(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Options, args=["--help"])
    printed = capsys.readouterr().out
    assert "--folder DIR" in printed
    assert "STR" not in printed


def test_a_switch_is_given_or_not_and_has_no_opposite(capsys):
    assert tyro.cli(Options, args=[]) == Options("here", False)
    assert tyro.cli(Options, args=["--quiet"]) == Options("here", True)
    with pytest.raises(SystemExit):
        tyro.cli(Options, args=["--no-quiet"])
    assert "no-quiet" in capsys.readouterr().err
