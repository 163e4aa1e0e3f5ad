import logging

import numpy as np
import pytest
from toy_vot import result_rows, sequence

from jaxtrack.data.regionfiles import FAILED, REGION, STARTED
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import store
from jaxtrack.evaluation.run_record import Run
from jaxtrack.evaluation.vot import comparison, results, tables
from jaxtrack.evaluation.vot.measures import Rules
from jaxtrack.evaluation.vot.supervised import Trajectory

ENVIRONMENT = {"packages": {}, "python": "3"}


def benchmark(*sequences, total=2):
    return VotBenchmark("vot2018", "VOT2018", sequences, edition=2018, complete=len(sequences) == total)


def publish(folder, name, rows, repetitions=1, experiment="baseline"):
    """Files of results as a toolkit leaves them."""
    for i in range(repetitions):
        path = results.path_of(folder, experiment, name, i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(",".join(f"{x:g}" for x in row) + "\n" for row in rows))
    return folder


def trajectory(codes, box=(100, 100, 40, 40), seconds=0.5):
    codes = np.array(codes, np.int8)
    boxes = np.where((codes == REGION)[:, None], np.array(box, float), np.nan)
    return Trajectory(boxes, codes, np.broadcast_to(seconds, len(codes)))


@pytest.fixture
def stored(tmp_path):
    run = Run("toy", {"tuned_on": ""}, 0, protocol={"start_box": "area"})
    return results.StoredTrajectories(store.open_run(tmp_path, "vot2018", run, environment=ENVIRONMENT))


def test_a_trajectory_is_read_as_it_was_written_and_lies_where_vot_expects_it(stored):
    video = sequence(4)
    stored.write("baseline", "toy", 0, trajectory([STARTED, REGION, FAILED, 0], seconds=[9, 0.25, 0.75, 0]))
    folder = stored.store.directory / "baseline" / "toy"
    assert (folder / "toy_001.txt").read_text() == "1\n100.0000,100.0000,40.0000,40.0000\n2\n0\n"
    assert (folder / "toy_001_time.value").read_text().split() == ["9.000000", "0.250000", "0.750000", "0.000000"]
    [found] = stored.read("baseline", video, 5)
    assert found.codes.tolist() == [STARTED, REGION, FAILED, 0]
    assert stored.frames_per_second("baseline", video) == 2  # of the two frames that were tracked


def test_repetitions_count_up_to_the_first_that_is_missing(stored):
    video = sequence(2)
    for i in (0, 1, 3):
        stored.write("baseline", "toy", i, trajectory([STARTED, REGION]))
    assert len(stored.read("baseline", video, 15)) == 2
    assert len(stored.read("baseline", video, 1)) == 1
    assert [stored.done("baseline", video, i) for i in range(4)] == [True, True, False, True]


def test_a_file_with_too_few_rows_is_not_done(stored):
    video = sequence(3)
    stored.write("baseline", "toy", 0, trajectory([STARTED, REGION]))
    assert not stored.done("baseline", video, 0)


def test_three_equal_repetitions_show_a_tracker_that_draws_nothing(stored):
    video = sequence(2)
    for i in range(3):
        assert not stored.deterministic("baseline", video)
        stored.write("baseline", "toy", i, trajectory([STARTED, REGION]))
    assert stored.deterministic("baseline", video)
    stored.write("baseline", "toy", 1, trajectory([STARTED, REGION], box=(100, 100, 40, 41)))
    assert not stored.deterministic("baseline", video)


def test_an_unknown_speed_is_no_error(stored):
    video = sequence(2)
    stored.write("baseline", "toy", 0, trajectory([STARTED, REGION]))
    times = stored.path("baseline", "toy", 0).with_name("toy_001_time.value")
    times.write_text("0.5\n")
    assert np.isnan(stored.frames_per_second("baseline", video))
    times.unlink()
    assert np.isnan(stored.frames_per_second("baseline", video))


def test_times_without_a_trajectory_as_a_kill_leaves_them_are_nothing(stored):
    video = sequence(2)
    stored.write("baseline", "toy", 0, trajectory([STARTED, REGION]))
    stored.path("baseline", "toy", 0).unlink()
    assert stored.read("baseline", video, 1) == []
    assert np.isnan(stored.frames_per_second("baseline", video))


def test_published_results_are_found_with_and_without_the_experiments_folder(tmp_path):
    publish(tmp_path / "Them", "toy", result_rows(20))
    for folder in (tmp_path / "Them", tmp_path / "Them" / "baseline"):
        found = results.read_published(folder, benchmark(sequence(20)))
        assert [len(run) for run in found["toy"]] == [20]


@pytest.mark.parametrize(("files", "taken"), [(1, 1), (3, 1), (14, 1), (15, 15)])
def test_fifteen_files_are_repetitions_of_other_numbers_the_first_is_taken(tmp_path, files, taken):
    publish(tmp_path, "toy", result_rows(20), files)
    (tmp_path / "baseline" / "toy" / "toy_001_time.txt").write_text("0.1\n")
    found = results.read_published(tmp_path, benchmark(sequence(20)))
    assert len(found["toy"]) == taken


@pytest.mark.parametrize(("rows", "much"), [(19, "short"), (21, "long")])
def test_results_of_another_length_are_refused(tmp_path, rows, much):
    publish(tmp_path, "toy", result_rows(rows))
    with pytest.raises(UserError) as raised:
        results.read_published(tmp_path, benchmark(sequence(20)))
    path = tmp_path / "baseline" / "toy" / "toy_001.txt"
    assert str(raised.value) == f"{path} is too {much}: {rows} rows, but toy has 20 frames"


def test_results_that_were_never_initialised_are_refused(tmp_path):
    publish(tmp_path, "toy", [[100, 100, 40, 40]] * 20)
    with pytest.raises(UserError, match="has no row 1, which marks an initialisation: it is no result of a supervised"):
        results.read_published(tmp_path, benchmark(sequence(20)))


def test_nan_in_results_is_refused(tmp_path):
    publish(tmp_path, "toy", [[1], [float("nan")] * 4])
    with pytest.raises(UserError, match=r"toy_001.txt, line 2: a result must not have NaN"):
        results.read_published(tmp_path, benchmark(sequence(2)))


def test_missing_sequences_are_named_and_the_rest_is_scored(tmp_path, caplog):
    publish(tmp_path, "toy", result_rows(20))
    with caplog.at_level(logging.WARNING):
        found = results.read_published(tmp_path, benchmark(sequence(20), sequence(9, name="other")))
    assert list(found) == ["toy"]
    assert f"{tmp_path} has no results of other: scored without" in caplog.text


def test_a_folder_without_any_result_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no results on VOT2018: expected baseline/toy/toy_001.txt and the like"):
        results.read_published(tmp_path, benchmark(sequence(2)))


def test_dasiamrpn_scores_as_published(test_data):
    from jaxtrack.data import benchmarks

    whole = benchmarks.load("vot2018", test_data / "vot2018", images=False)
    assert isinstance(whole, VotBenchmark)
    found = results.read_published(test_data / "vot2018" / "results" / "DaSiamRPN", whole)
    scores = comparison.score_all(found, whole, Rules())
    row = comparison.Result("DaSiamRPN", "published", {"baseline": scores})
    [record] = tables.summary_rows(comparison.Comparison(whole, "baseline", (100, 356), [row]))
    assert record["lost"] == 59
    assert record["frames"] == 21_356
    assert round(record["robustness"], 3) == 0.276
    # The report of VOT2018 has .586 and .383.
    assert (round(record["accuracy"], 3), round(record["eao"], 3)) == (0.586, 0.383)
