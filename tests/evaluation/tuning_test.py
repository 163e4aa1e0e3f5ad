"""The search for constants: what is tried, what is run, what wins, what is written."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
from siamese_brightness import red_parts, red_square

from jaxtrack import UserError, running
from jaxtrack.commands._tracker_choice import load_config
from jaxtrack.data import benchmarks
from jaxtrack.evaluation import metrics, protocols, tuning
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.replay import RANGES
from jaxtrack.evaluation.tuning import Trial, Tuning
from jaxtrack.trackers import mdnet, rpn2t, siamese

HEADLINES = ("siamrpn", "siamrpn_rbo", "siamban", "siamban_nano", "siampw_rbo", "nanotrack")
BENCHMARK_SUFFIXES = ("otb", "tc128", "nfs", "vot", "vot2016", "vot2018", "vot2019", "uav123", "lasot", "got10k")


def made(chosen=1):
    """A finished search with the constants (0.16, 0.46, 0.34) and two others."""
    trials = (
        Trial(0.16, 0.46, 0.34, "current", 0.5, 0.4),
        Trial(0.1, 0.2, 0.3, "grid", 0.7, 0.6),
        Trial(0.3, 0.2, 0.1, "random", 0.1),
    )
    return Tuning(trials, chosen, 1.0, 30, 2, 2900.0, {"record": 1.0, "replay": 2.0, "run": 3.0})


# --- what is tried -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "on_grid"), [(1, 0), (2, 1), (16, 8), (500, 216)])
def test_half_of_the_triples_at_most_lie_on_a_grid(count, on_grid):
    triples, origins = tuning.draw_triples(count, seed=0)
    assert triples.shape == (count, 3)
    assert origins == ["grid"] * on_grid + ["random"] * (count - on_grid)
    assert len(np.unique(triples, axis=0)) == count
    for column, (low, high) in zip(triples.T, RANGES.values(), strict=True):
        assert low <= column.min() <= column.max() <= high


def test_a_grid_of_eight_lies_a_quarter_from_either_end():
    triples, _ = tuning.draw_triples(16, seed=0)
    np.testing.assert_allclose(np.unique(triples[:8, 0]), [0.15, 0.45])
    np.testing.assert_allclose(np.unique(triples[:8, 1]), [0.2, 0.5])
    np.testing.assert_allclose(np.unique(triples[:8, 2]), [0.275, 0.625])


def test_the_seed_decides_the_random_triples_and_nothing_else():
    first, again, other = (tuning.draw_triples(20, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:8], other[:8])
    assert not np.any(first[8:] == other[8:])


def test_the_current_the_best_the_middle_and_the_worst_triple_are_run():
    assert tuning._to_run(np.asarray([0.9, 0.1, 0.5, 0.4, 0.3, 0.2]), 2) == [0, 2, 3, 4, 1]
    assert tuning._to_run(np.asarray([0.1, 0.5, 0.4, 0.3]), 8) == [0, 1, 2, 3]
    assert tuning._to_run(np.asarray([0.1, 0.5]), 1) == [0, 1]


@pytest.mark.parametrize(("a", "b"), [([3, 1, 2, 2], [1, 4, 4, 2]), ([1.5, 0.2, 0.3], [5, 1, 9])])
def test_rank_correlation_is_spearmans(a, b):
    assert metrics.rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_equal_values_have_no_rank_correlation():
    assert np.isnan(metrics.rank_correlation([1, 1, 1], [1, 2, 3]))


# --- what wins ---------------------------------------------------------------------------------------------------


class Heard(Reporter):
    """Counts frames."""

    def __init__(self):
        self.total, self.seen, self.names = 0, 0, []

    def begin(self, frames):
        self.total = frames

    def sequence(self, run, name, frames):
        self.seen += frames
        self.names.append(name)


def test_the_triple_of_the_highest_true_auc_wins():
    # A window so wide that the tracker stays where it is, of which the search frees it.
    parts, heard = red_parts(window_influence=0.97), Heard()
    videos = [red_square("a", frames=10, step_px=5.0), red_square("b", frames=7, step_px=6.0, seed=1)]
    found = tuning.tune(parts, {}, videos, trials=20, seed=0, finalists=3, reporter=heard)
    assert len(found.trials) == 21
    assert found.current.constants == {"penalty": 0.14, "window_influence": 0.97, "smoothing": 0.4}
    assert [trial.origin for trial in found.trials[:2]] == ["current", "grid"]
    best = sorted(found.trials[1:], key=lambda trial: -trial.overlap)[:3]
    assert all(trial.auc is not None for trial in [found.current, *best])
    assert len(found.run) <= 6
    assert found.winner.auc == found.run[0].auc == max(trial.auc for trial in found.run)
    assert found.winner.auc > found.current.auc
    assert (found.frames, heard.total) == (9 + 6, 17 * (2 + len(found.run)))
    assert heard.seen == heard.total
    assert heard.names == ["a", "b", "21 triples", *["a", "b"] * len(found.run)]
    # The AUC is that of the tracker itself with these constants.
    tracker = siamese.make_tracker(tuning.winning_config(found, parts.config, "procedural"), *parts[1:])
    boxes = [np.round(running.run(tracker, {}, each, each.boxes[0]).boxes.astype(float), 4) for each in videos]
    scores = [protocols.score(b, each) for b, each in zip(boxes, videos, strict=True)]
    assert found.winner.auc == pytest.approx(metrics.average(scores).auc)


def test_nothing_better_leaves_the_current_constants(monkeypatch):
    monkeypatch.setattr(tuning, "_auc", lambda *_: 0.5)
    found = tuning.tune(red_parts(), {}, [red_square(frames=4)], trials=3, finalists=2)
    assert found.chosen == 0
    assert np.isnan(found.correlation)


# --- labels ------------------------------------------------------------------------------------------------------


def test_every_real_benchmark_is_a_test_benchmark():
    assert set(benchmarks.names()) >= tuning.VALIDATION_SETS
    assert all(name.startswith("procedural") for name in tuning.VALIDATION_SETS)


def test_a_config_says_that_it_was_tuned_on_a_test_benchmark():
    config = siamese.CONFIGS["nanotrack"]
    assert tuning.winning_config(made(), config, "otb100").tuned_on == "otb100"
    assert tuning.winning_config(made(), config, "procedural").tuned_on == ""
    assert "no fair test" in tuning.warning("otb100")
    assert tuning.warning("procedural") == ""


def test_constants_that_were_tuned_before_keep_their_label_where_they_win_again():
    config = siamese.CONFIGS["nanotrack_v2"]
    assert tuning.winning_config(made(chosen=0), config, "procedural").tuned_on == "VOT2018"
    assert tuning.winning_config(made(chosen=0), config, "otb100").tuned_on == "VOT2018, otb100"
    assert tuning.winning_config(made(chosen=1), config, "procedural").tuned_on == ""


@pytest.mark.parametrize("configs", [mdnet.CONFIGS, rpn2t.CONFIGS], ids=["mdnet", "rpn2t"])
def test_narrow_networks_learn_at_rates_that_were_found_on_a_test_set_and_say_so(configs):
    """All others learn by the papers' constants."""
    labelled = {name: config.tuned_on for name, config in configs.items() if config.tuned_on}
    assert set(labelled) == {name for name in configs if "_small" in name}
    assert all(label.endswith("OTB100") for label in labelled.values())


def test_no_default_has_constants_that_were_found_on_a_test_set():
    for name in HEADLINES:
        assert siamese.CONFIGS[name].tuned_on == "", name
    tuned = {name: config for name, config in siamese.CONFIGS.items() if config.tuned_on}
    for name, config in siamese.CONFIGS.items():
        if name.rpartition("_")[2] in BENCHMARK_SUFFIXES:
            assert name in tuned, f"{name} is named after a benchmark and not labelled"
        if name not in tuned:
            for other, labelled in tuned.items():
                same = all(getattr(config, key) == getattr(labelled, key) for key in RANGES)
                assert not (same and config.weights == labelled.weights), f"{name} has the constants of {other}"


# --- files -------------------------------------------------------------------------------------------------------


def write(out, config, *, benchmark="procedural", command="jaxtrack tune", tuned=None):
    return tuning.write(
        out,
        tuned or made(),
        config,
        benchmark=benchmark,
        title="2 of the 16 sequences of Procedural",
        command=command,
        details={"seed": 7},
    )


def test_the_config_file_says_when_nothing_better_was_found(tmp_path):
    config = siamese.CONFIGS["nanotrack"]
    write(tmp_path / "mine.py", config, tuned=made(chosen=0))
    assert load_config(tmp_path / "mine.py") == config
    text = " ".join((tmp_path / "mine.py").read_text().split())
    assert "a search on procedural found nothing better." in text
    assert "none had a higher AUC than the 0.4000 of the constants before" in text
    assert "optimistic" not in text
    write(tmp_path / "other.py", config)
    assert "nothing better" not in (tmp_path / "other.py").read_text()


@pytest.mark.parametrize("benchmark", ["procedural", "otb100"])
def test_the_config_file_returns_the_constants_that_won(tmp_path, benchmark):
    config = dataclasses.replace(siamese.CONFIGS["nanotrack_v2"], weights='a "folder\\x.safetensors')
    paths = write(tmp_path / "mine.py", config, benchmark=benchmark)
    assert paths == [tmp_path / "mine.py", tmp_path / "mine.json"]
    label = "" if benchmark == "procedural" else "otb100"
    changes = {"penalty": 0.1, "window_influence": 0.2, "smoothing": 0.3, "tuned_on": label}
    assert load_config(paths[0]) == dataclasses.replace(config, **changes)
    text = paths[0].read_text()
    assert ("is a test benchmark" in " ".join(text.split())) == bool(label)
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "0.6000" in text
    assert "0.4000" in text
    record = json.loads(paths[1].read_text())
    assert record["tuned_on"] == label
    assert record["seed"] == 7
    assert record["trials"][1] == {
        "penalty": 0.1, "window_influence": 0.2, "smoothing": 0.3, "origin": "grid", "overlap": 0.7, "auc": 0.6,
    }  # fmt: skip
    assert record["started_from"]["penalty"] == 0.15


def test_any_command_line_can_stand_in_the_docstring(tmp_path):
    command = "jaxtrack tune --data-dir 'C:\\new \"x\"' \"\"\" ''' \\"
    write(tmp_path / "mine.py", siamese.CONFIGS["siamban"], command=command)
    scope = {}
    exec((tmp_path / "mine.py").read_text(), scope)
    assert command in scope["__doc__"]


def test_an_undefined_correlation_is_null(tmp_path):
    write(tmp_path / "mine.py", siamese.CONFIGS["siamban"], tuned=dataclasses.replace(made(), correlation=float("nan")))
    assert json.loads((tmp_path / "mine.json").read_text())["correlation"] is None


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "mine.json").mkdir()  # in the way of the second file
    with pytest.raises(UserError, match=r"cannot write .*mine.py"):
        write(tmp_path / "mine.py", siamese.CONFIGS["siamban"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
