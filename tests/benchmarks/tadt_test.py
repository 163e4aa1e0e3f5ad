"""The rows of `benchmarks/tadt_ablation.py`: which rules they are, and which of them need several seeds."""

from pathlib import Path

import numpy as np
import pytest
import tadt_ablation
from tadt_ablation import Options

from jaxtrack.data.sequences import Sequence
from jaxtrack.trackers import tadt

PAPER, CODE = Options(Path("data")), Options(Path("data"), profile="code")


def test_the_last_row_of_the_paper_is_the_tracker_itself():
    assert tadt_ablation.config_of(PAPER, "regression_ranking") == tadt.CONFIGS["tadt_nano"]
    vgg = Options(Path("data"), tracker="tadt", profile="code")
    assert tadt_ablation.config_of(vgg, "regression_ranking") == tadt.CONFIGS["tadt_code"]


def test_only_rows_in_which_something_is_drawn_are_random():
    rows = {row for row in tadt_ablation.ROWS if tadt_ablation.is_random(tadt_ablation.config_of(PAPER, row))}
    assert rows == {"first_random", "second_random"}
    rows = {row for row in tadt_ablation.ROWS if tadt_ablation.is_random(tadt_ablation.config_of(CODE, row))}
    assert rows == {"first_random", "second_random", "regression_ranking"}


def test_rows_have_the_same_numbers_of_channels():
    for row, (first, second) in tadt_ablation.ROWS.items():
        selection = tadt_ablation.config_of(PAPER, row).selection
        assert (selection.scale.rule, selection.target.rule) == (first, second)
        assert (selection.scale.channels, selection.target.channels) == (10, 31)


def test_a_beginning_is_a_sequence_of_its_own():
    frames = [np.full((4, 4, 3), number, np.uint8) for number in range(9)]
    first = tadt_ablation.first_frames(Sequence("v", frames, np.ones((9, 4)), np.ones(9, bool)), 3)
    assert (first.name, len(first), len(first.boxes)) == ("v-3", 3, 3)


def test_rows_that_there_are_not_are_refused():
    with pytest.raises(SystemExit, match="rows are first_random"):
        Options(Path("data"), rows=("conv4_1",))
