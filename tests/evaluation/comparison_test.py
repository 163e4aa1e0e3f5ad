import numpy as np
import pytest

from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.evaluation import comparison, metrics, store
from jaxtrack.evaluation.run_record import Run
from jaxtrack.weights import store as weights


def score(level):
    """A score whose every headline number is `level`."""
    return metrics.SequenceScore(np.full(21, level), np.full(51, level), level, frames=10, valid_frames=10)


def result(name, *runs, fps=None):
    scores = tuple({sequence: score(level) for sequence, level in run.items()} for run in runs)
    return comparison.TrackerResult(name, tuple(f"id{i}" for i in range(len(runs))), scores, fps or {})


def comparing(*trackers, sequences=("A", "B", "C"), attributes=None):
    return comparison.Comparison("toy", "Toy", tuple(sequences), attributes or {}, trackers)


def test_the_spread_of_runs_is_their_mean_and_sample_deviation():
    spread = comparison.spread([0.5, 0.7, 0.9])
    assert (spread.mean, spread.std, spread.runs) == pytest.approx((0.7, 0.2, 3))
    assert str(spread) == "0.700 ± 0.200"


def test_a_single_run_has_no_deviation():
    assert comparison.spread([0.5]) == comparison.Spread(0.5, None, 1)
    assert str(comparison.spread([0.5])) == "0.500"
    assert str(comparison.spread([float("nan")])) == "-"


def test_the_headline_is_the_spread_over_seeds_of_the_mean_over_sequences():
    tracker = result("t", {"A": 0.2, "B": 0.4}, {"A": 0.6, "B": 0.8})
    headline = tracker.headline("auc", ["A", "B"])
    assert (headline.mean, headline.std) == pytest.approx((0.5, 0.08**0.5))  # of 0.3 and 0.7
    assert tracker.on_sequence("auc", "A").mean == pytest.approx(0.4)


def test_seeds_are_averaged_over_the_sequences_that_all_of_them_have():
    tracker = result("t", {"A": 0.2, "B": 1.0}, {"A": 0.6})
    assert tracker.covered(["B", "A"]) == ("A",)
    assert tracker.headline("auc", ["A", "B"]).mean == pytest.approx(0.4)


def test_a_tracker_without_any_of_the_sequences_has_undefined_numbers():
    headline = result("t", {"A": 0.2}).headline("auc", ["B"])
    assert np.isnan(headline.mean)
    assert headline.std is None


def test_the_speed_is_the_median_over_sequences_with_a_known_speed():
    tracker = result("t", {"A": 0.2}, fps={"A": 10.0, "B": 30.0, "C": np.nan, "D": 90.0})
    assert tracker.median_fps(["A", "B", "C"]) == 20.0
    assert np.isnan(tracker.median_fps(["C", "E"]))


def test_every_run_needs_an_id():
    with pytest.raises(ValueError, match="t: 1 runs with 0 run ids"):
        comparison.TrackerResult("t", (), ({},))


def test_standings_count_first_places_and_sequences_below_80_percent_of_the_best():
    a = result("a", {"A": 0.50, "B": 0.50, "C": 0.0, "D": 0.9})
    b = result("b", {"A": 0.39, "B": 0.50, "C": 0.0, "D": 1.0})
    c = result("c", {"A": 0.41, "B": 0.10, "C": 0.0})
    standings = comparison.standings(comparing(a, b, c, sequences="ABCD"))
    assert standings == {
        "a": comparison.Standing(first=2, far_behind=0, sequences=3),
        "b": comparison.Standing(first=1, far_behind=1, sequences=3),
        "c": comparison.Standing(first=0, far_behind=1, sequences=3),
    }
    lenient = comparison.standings(comparing(a, b, c, sequences="ABCD"), fraction=0.1)
    assert {name: standing.far_behind for name, standing in lenient.items()} == {"a": 0, "b": 0, "c": 0}


def test_trackers_that_share_no_sequence_have_no_standing():
    standings = comparison.standings(comparing(result("a", {"A": 0.5}), result("b", {"B": 0.5})))
    assert standings["a"] == comparison.Standing(0, 0, 0)


def test_an_attribute_restricts_the_list_and_the_title_says_so():
    attributes = {"A": frozenset({"OCC", "IV"}), "B": frozenset({"OCC", "wet"})}
    whole = comparing(result("t", {"A": 0.2, "B": 0.4}), sequences=("B", "C", "A"), attributes=attributes)
    assert whole.labels() == ["IV", "OCC", "wet"]
    part = whole.with_attribute("OCC")
    assert (part.sequences, part.title) == (("B", "A"), "Toy, occlusion (2)")
    assert whole.with_attribute("wet").title == "Toy, wet (1)"


def toy_benchmark():
    boxes = np.tile([4.0, 4.0, 10.0, 10.0], (3, 1))
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    sequences = [Sequence(n, frames, boxes, np.ones(3, bool), frozenset({"IV"})) for n in ("A", "B")]
    return Benchmark("toy", "Toy", sequences)


def stored(folder, run, benchmark="toy", sequences=("A", "B"), height=10.0, seconds=0.1):
    results = store.open_run(folder, benchmark, run, environment={})
    boxes = np.array([[4, 4, 10, 10], [4, 4, 10, height], [4, 4, 10, height]])
    for name in sequences:
        results.write(name, boxes, np.array([5.0, seconds, seconds]))


def test_stored_runs_that_differ_only_in_the_seed_become_one_tracker(tmp_path):
    stored(tmp_path, Run("mdnet", {}, seed=2), height=10.0)
    stored(tmp_path, Run("mdnet", {}, seed=1), height=5.0, seconds=0.3)
    stored(tmp_path, Run("tadt", {}, seed=1), sequences=["B"])
    stored(tmp_path, Run("mdnet", {}, seed=1), benchmark="another")
    runs = sorted(store.list_runs(tmp_path), key=lambda run: (run.tracker, -run.seed))
    results = comparison.from_runs(toy_benchmark(), runs)
    assert [tracker.name for tracker in results] == ["mdnet", "tadt"]
    mdnet, tadt = results
    assert mdnet.run_ids == tuple(Run("mdnet", {}, seed=seed).id for seed in (1, 2))
    assert [run["A"].mean_overlap for run in mdnet.scores] == pytest.approx([2 / 3, 1])
    assert mdnet.fps["A"] == pytest.approx((1 / 0.3 + 1 / 0.1) / 2)
    assert list(tadt.scores[0]) == ["B"]


def test_sequences_on_a_shared_machine_have_no_speed(tmp_path):
    boxes, seconds = np.full((3, 4), 4.0), np.array([5.0, 0.1, 0.1])
    for seed, sharing in ((1, {"B": "2 workers"}), (2, {"A": "2 workers", "B": "2 workers"})):
        results = store.open_run(tmp_path, "toy", Run("mdnet", {}, seed=seed), environment={})
        for name in ("A", "B"):
            results.write(name, boxes, seconds * seed, shared_by=sharing.get(name, ""))
    [mdnet] = comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))
    assert mdnet.fps == {"A": pytest.approx(10)}
    assert mdnet.median_fps(("A", "B")) == pytest.approx(10)
    assert np.isnan(mdnet.median_fps(("B",)))


def test_a_stored_run_keeps_the_benchmark_that_its_constants_were_chosen_on(tmp_path):
    stored(tmp_path, Run("tuned", {"tuned_on": "OTB100"}, seed=1))
    stored(tmp_path, Run("untuned", {}, seed=1))
    results = comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))
    assert {result.name: result.tuned_on for result in results} == {"tuned": "OTB100", "untuned": ""}


def test_a_stored_run_is_said_to_have_the_weights_that_were_chosen_on_test_data(tmp_path):
    shipped = weights.read_meta(weights.SHIPPED / "siamban_nano.safetensors").sha256
    stored(tmp_path, Run("chosen", {}, seed=1, weights_sha256=shipped))
    stored(tmp_path, Run("other", {}, seed=1, weights_sha256="ab" * 32))
    stored(tmp_path, Run("without", {}, seed=1))
    results = comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))
    assert [result.label for result in results] == [
        "chosen (weights chosen on six targets of OTB-100)", "other", "without",
    ]  # fmt: skip


def test_several_configs_of_a_tracker_are_told_apart_by_the_id_of_their_run(tmp_path):
    runs = [Run("mdnet", {"rate": rate}, seed=1) for rate in (1, 2)]
    for run in runs:
        stored(tmp_path, run)
    names = [tracker.name for tracker in comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))]
    assert sorted(names) == sorted(f"mdnet ({run.id})" for run in runs)


def test_weights_tell_apart_what_differs_in_nothing_else(tmp_path):
    runs = [Run("mdnet", {}, seed=seed, weights_sha256=sha) for sha in ("ab" * 32, "cd" * 32) for seed in (1, 2)]
    for run in runs:
        stored(tmp_path, run)
    names = [tracker.name for tracker in comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))]
    assert sorted(names) == ["mdnet (weights abababababab)", "mdnet (weights cdcdcdcdcdcd)"]
    other = Run("mdnet", {"rate": 2}, seed=1, weights_sha256="ab" * 32)
    stored(tmp_path, other)
    ids = [runs[0].id, runs[2].id, other.id]
    names = [tracker.name for tracker in comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))]
    assert sorted(names) == sorted(f"mdnet ({run_id})" for run_id in ids)


def test_unfinished_sequences_are_left_out(tmp_path):
    run = Run("mdnet", {}, seed=1)
    stored(tmp_path, run)
    (tmp_path / "mdnet" / run.id / "toy" / "A.txt").write_text("5,5,10,10\n")
    [tracker] = comparison.from_runs(toy_benchmark(), store.list_runs(tmp_path))
    assert list(tracker.scores[0]) == ["B"]


def test_a_comparison_takes_list_title_and_attributes_from_the_benchmark():
    compared = comparison.compare(toy_benchmark(), [result("t", {"A": 0.2})], protocol="TRE")
    assert (compared.benchmark, compared.title, compared.protocol) == ("toy", "Toy", "TRE")
    assert compared.sequences == ("A", "B")
    assert compared.attributes["B"] == {"IV"}
    assert compared.shared() == ("A",)
