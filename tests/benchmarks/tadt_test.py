"""The rows of `benchmarks/tadt_ablation.py`: which rules they are, and which of them need several seeds."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest
import tadt_ablation
from tadt_ablation import Options

from jaxtrack.data import benchmarks
from jaxtrack.data.sequences import Sequence
from jaxtrack.models.tadt import ARCHITECTURES
from jaxtrack.online.channel_regression import Learned
from jaxtrack.online.scale_ranking import Ranked
from jaxtrack.trackers import tadt

PAPER, CODE = Options(Path("data")), Options(Path("data"), profile="code")


def test_the_last_row_of_the_paper_is_the_tracker_itself():
    assert tadt_ablation.config_of(PAPER, "regression_ranking") == tadt.CONFIGS["tadt_nano"]
    vgg = Options(Path("data"), tracker="tadt", profile="code")
    assert tadt_ablation.config_of(vgg, "regression_ranking") == tadt.CONFIGS["tadt_code"]


def test_the_programs_step_sizes_are_for_oxfords_vgg_alone():
    found = {
        name: tadt_ablation.profiled(Options(Path("data"), tracker=name, profile="code"))
        for name in ("tadt", "tadt_torchvision", "tadt_nano")
    }
    assert [found[name].regression.activation for name in found] == [0, 20, 20]
    assert found["tadt"].selection == found["tadt_torchvision"].selection == tadt.CONFIGS["tadt_code"].selection
    assert (found["tadt_nano"].selection.fewest, found["tadt_nano"].selection.balance) == (31, 6)


def test_of_rules_the_better_halves_are_compared():
    assert tadt_ablation.better_half(np.array([0.1, 0.4, -3.0, 0.2, 0.0])) == {1, 3}


def test_how_far_is_learned_and_what_rules_and_lengths_have_in_common():
    def regressed(*importance):
        return Learned(np.zeros(()), np.float32(0.456), np.int32(37)), np.array(importance)

    def ranked(loss, *importance):
        return Ranked(np.zeros(()), np.zeros(()), np.float32(loss), np.int32(50)), np.array(importance)

    halves = [regressed(4.0, 3.0, 2.0, 1.0), regressed(4.0, 1.0, 2.0, 3.0), regressed(0.0, -1.0, 1.0, 2.0)]
    lengths = [ranked(4.3, 0.1, -2.0, 0.0, 3.0), ranked(0.13, 9.0, 0.0, -1.0, -3.0)]
    rows = tadt_ablation.overlap_rows(("a", "b"), [halves, halves[::-1]], lengths)
    assert rows == [
        ["a", "0.46", "37", "50%", "0%", "4.30", "0.13", "75%"],
        ["b", "0.46", "37", "50%", "0%", "", "", ""],
    ]


def test_the_overlap_is_printed_for_both_maps_of_every_first_frame(monkeypatch, capsys):
    monkeypatch.setattr(tadt_ablation, "LONGER", 200)
    monkeypatch.setattr(tadt_ablation, "targets", lambda _: benchmarks.load("procedural", None, ("procedural-sv",)))
    tadt_ablation.print_overlap(PAPER)
    *_, first, second = (line.split(" | ") for line in capsys.readouterr().out.splitlines())
    assert [row[:2] for row in (first, second)] == [["| procedural-sv", "block_0"], ["| procedural-sv", "block_2"]]
    assert 0 < float(first[2]) < 3  # of a label whose square sums to more
    assert 0 < float(first[7]) < float(first[6]) < math.log(1 + 45**2)
    assert second[6] == second[7] == ""


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


def test_pytorchs_network_that_is_timed_is_ours():
    torch = pytest.importorskip("torch")
    from torch_vgg import VGG16

    network = VGG16().eval()
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    x = np.random.default_rng(0).normal(size=(1, 12, 12, 3)).astype(np.float32)
    with torch.no_grad():
        expected = [maps.numpy().transpose(0, 2, 3, 1) for maps in network(torch.from_numpy(x.transpose(0, 3, 1, 2)))]
    backbone = ARCHITECTURES["vgg16"].backbone
    names = jax.eval_shape(backbone.init, jax.random.key(0), x)["params"]
    params = {
        name: {
            "kernel": layer.weight.detach().numpy().transpose(2, 3, 1, 0),
            "bias": layer.bias.detach().numpy(),
        }
        for name, layer in zip(names, convolutions, strict=True)
    }
    found = jax.jit(backbone.apply)({"params": params}, x)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
