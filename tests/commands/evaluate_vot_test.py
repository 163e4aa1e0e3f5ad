"""`evaluate` on a VOT benchmark in miniature: two sequences of VOT2018, four of VOT2013."""

import csv
import functools
import json
import shutil

import command_line
import html_pages
import pytest
from toy_vot import write_sequence

from jaxtrack.__main__ import main
from jaxtrack.commands import _table_notes, _vot
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.evaluation import trained_on
from jaxtrack.evaluation.vot import results, runner
from jaxtrack.evaluation.vot.measures import Rules

error_of = functools.partial(command_line.error_of, "evaluate")
MIL = ["--opencv-mil.search-radius-px=6", "--opencv-mil.init-max-negatives=8", "--opencv-mil.track-max-negatives=8"]
STILL = [[1]] + [[4, 4, 16, 12]] * 11
LOST = [[1]] + [[4, 4, 16, 12]] * 2 + [[2], [0], [0], [0], [0], [1]] + [[4, 4, 16, 12]] * 3


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def root(tmp_path):
    for name in ("bag", "birds1"):
        write_sequence(tmp_path / "data" / "vot2018" / name, 12)
    return tmp_path / "data"


@pytest.fixture
def options(root, tmp_path):
    return ["--benchmark=vot2018", f"--data-dir={root}", f"--results={tmp_path / 'results'}", "--quiet"]


def publish(folder, experiment="baseline", **sequences):
    for name, rows in sequences.items():
        path = results.path_of(folder, experiment, name, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return folder


def run(*arguments):
    return main(["evaluate", *map(str, arguments)])


def rows_of(folder):
    return list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))


def test_a_tracker_is_run_by_the_supervised_protocol_and_stands_beside_published_results(options, tmp_path, capsys):
    them = publish(tmp_path / "Them", bag=STILL, birds1=LOST)
    command = [*options, "--tracker=opencv-mil", *MIL, "--published", them, "--repeats=2"]
    assert run(*command, "--per-sequence", "--per-attribute") == 0
    printed = capsys.readouterr()
    assert "supervised (baseline) on 2 of the 60 sequences of VOT2018" in printed.out
    assert "EAO: mean of the expected overlaps of 12 to 12 frames." in printed.out
    assert "not found: agility" not in printed.err
    remark = (
        "of opencv-mil: in a challenge a tracker that draws random numbers has 15 (--repeats 15; no more than 3 are"
    )
    assert f"2 repetitions {remark} run of one that does not)" in printed.out
    reports = tmp_path / "results" / "reports" / "vot2018" / "opencv-mil+Them"
    own, theirs = rows_of(reports)
    assert (own["tracker"], own["repetitions"], own["lost"]) == ("opencv-mil", "2", "0.0")
    assert float(own["accuracy"]) > 0.5
    assert float(own["fps_median"]) > 0
    # LOST fails once in 24 frames; what counts for accuracy are frames 10 and 11 of STILL.
    assert (theirs["tracker"], theirs["lost"]) == ("Them (published)", "1.0")
    assert float(theirs["robustness"]) == pytest.approx(100 / 24)
    assert (theirs["eao_low"], theirs["eao_high"]) == ("12", "12")
    [folder] = (tmp_path / "results" / "opencv-mil").glob("*/vot2018")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*_???.txt"))
    assert files == [f"baseline/{name}/{name}_00{i}.txt" for name in ("bag", "birds1") for i in (1, 2)]
    assert len((folder / files[0]).read_text().splitlines()) == 12
    info = json.loads((folder / "run.json").read_text())
    assert info["identity"]["protocol"]["start_box"] == "area"
    page = html_pages.parse((reports / "report.html").read_text("utf-8"))
    assert [row[0] for row in html_pages.rows(page.all("table")[0])] == ["opencv-mil", "Them (published)"]
    assert html_pages.section(page, "sources").all("tbody")[0].all("th")[0].text == info["id"]
    theirs = html_pages.section(page, "sources").all("article")[1]
    assert [value.text for value in theirs.all("dd")][1] == str(them)
    content = json.loads((reports / "summary.json").read_text())
    assert len(content[0]["trackers"][0]["expected_overlaps"]) == 12
    assert set(content[0]["trackers"][0]["eao_by_tag"]) == {
        "camera_motion", "illum_change", "motion_change", "size_change", "occlusion", "empty"
    }  # fmt: skip


def test_what_weights_were_trained_on_and_where_they_lie_is_told(options, capsys, monkeypatch):
    monkeypatch.setattr(trained_on, "remark", lambda config, name, names: f"{' and '.join(names)} of {name}")
    monkeypatch.setattr(_table_notes, "weights", lambda entries: [f"{each.label}: weights mine" for each in entries])
    assert run(*options, "--tracker=opencv-mil", *MIL) == 0
    printed = capsys.readouterr().out
    assert "¹ weights trained on bag and birds1 of vot2018" in printed
    assert "opencv-mil: weights mine\n" in printed


def test_results_of_others_are_scored_without_images_and_without_running_anything(options, root, tmp_path, capsys):
    for path in (root / "vot2018").rglob("*.jpg"):
        path.unlink()
    square = [4, 4, 20, 4, 20, 16, 4, 16]
    records = {name: {"gt_rect": [square] * 12, "width": 48, "height": 36} for name in ("bag", "birds1", "bmx")}
    (root / "vot2018" / "VOT2018.json").write_text(json.dumps(records))
    them = publish(tmp_path / "Them", bag=STILL, birds1=STILL)
    assert run(*options, "--tracker=none", "--published", them) == 0
    assert run(*options, "--tracker=none", "--published", them, "--vot.eao-interval=2-12") == 0
    assert "3 of the 60 sequences" in capsys.readouterr().out
    whole, part = (
        tmp_path / "results" / "reports" / name / "Them" for name in ("vot2018", "vot2018-eao_interval-2-12")
    )
    assert [rows_of(folder)[0]["eao_low"] for folder in (whole, part)] == ["12", "2"]
    [row] = rows_of(part)
    assert (row["sequences"], row["sequences_in_list"]) == ("2", "3")
    # groundtruth.txt goes before the JSON file; there the square is a pixel smaller in either direction.
    assert float(row["accuracy"]) == pytest.approx(16 * 12 / (17 * 13))


def test_experiments_have_tables_of_their_own_and_ranks_together(tmp_path, capsys):
    for name in ("bicycle", "bolt"):
        write_sequence(tmp_path / "vot2013" / name, 12, color=False, truth="4,4,16,12")
    good, bad = tmp_path / "Good", tmp_path / "Bad"
    for experiment in ("baseline", "grey"):
        publish(good, experiment, bicycle=STILL, bolt=STILL)
        publish(bad, experiment, bicycle=LOST, bolt=LOST)
    command = ["--benchmark=vot2013", f"--data-dir={tmp_path}", f"--results={tmp_path / 'results'}", "--tracker=none"]
    assert run(*command, "--published", f"{good},{bad}", "--vot.experiments=baseline,grey") == 0
    printed = capsys.readouterr().out
    assert "supervised (baseline) on 2 of the 16 sequences of VOT2013" in printed
    assert "supervised (grey) on" in printed
    assert "has no EAO" in printed
    ranks = printed[printed.index("A / R ranks") :]
    # Bad has no frame that counts for accuracy, and a failure in each repetition.
    assert "Good (published)  1.00 / 1.00  1.00 / 1.00  1.00" in ranks
    assert "Bad (published)   2.00 / 2.00  2.00 / 2.00  2.00" in ranks
    page = html_pages.parse(
        (tmp_path / "results/reports/vot2013-experiments-baseline+grey/Good+Bad/report.html").read_text("utf-8")
    )
    rows = html_pages.rows(html_pages.section(page, "ranks"))
    assert rows == [["Good (published)", *["1.00"] * 5], ["Bad (published)", *["2.00"] * 5]]


def test_options_become_the_settings_of_the_runs():
    old, new = (VotBenchmark(f"vot{year}", "", [], edition=year, complete=True) for year in (2015, 2016))
    bounded, legacy = Rules(), Rules(bounded=False, drawing="legacy")
    assert [_vot.Options().rules(benchmark) for benchmark in (old, new)] == [legacy, bounded]
    assert _vot.Options(overlap="bounded").rules(old) == bounded
    assert _vot.Options(overlap="legacy").rules(new) == legacy
    asked = _vot.Options(experiments="grey,baseline", start_box="enclosing", overlap="legacy", lanes=3)
    assert asked.settings(new) == runner.Settings(("grey", "baseline"), "enclosing", legacy, 3)


def test_ranks_leave_out_experiments_that_a_tracker_lacks(tmp_path, capsys):
    write_sequence(tmp_path / "vot2013" / "bolt", 12, color=False, truth="4,4,16,12")
    good, bad = tmp_path / "Good", tmp_path / "Bad"
    for experiment in ("baseline", "grey"):
        publish(good, experiment, bolt=STILL)
    publish(bad, bolt=LOST)
    command = ["--benchmark=vot2013", f"--data-dir={tmp_path}", f"--results={tmp_path / 'results'}", "--tracker=none"]
    assert run(*command, "--published", f"{good},{bad}", "--vot.experiments=baseline,grey") == 0
    printed = capsys.readouterr().out
    ranks = printed[printed.index("A / R ranks") :]
    assert "Good (published)  1.00 / 1.00  1.00" in ranks
    assert "No ranks in grey: there is no sequence that all trackers have" in ranks


def test_the_same_command_goes_on_and_other_options_are_another_run(options, tmp_path):
    command = [*options, "--tracker=opencv-mil", *MIL, "--sequences=bag"]
    assert run(*command) == 0
    [path] = (tmp_path / "results").rglob("bag_001.txt")
    before = path.stat().st_mtime_ns
    assert run(*command, "--vot.ranks") == 0
    assert path.stat().st_mtime_ns == before
    assert run(*command, "--vot.start-box=enclosing") == 0
    assert len(list((tmp_path / "results").rglob("bag_001.txt"))) == 2


def test_mistakes_are_told_before_anything_is_run(options, tmp_path, capsys):
    def error(*more):
        both = "--sequences=bag,birds1"  # so that nothing is said of the others
        return error_of(capsys, *options, both, "--tracker=opencv-mil", *more)

    assert "the EAO interval must be LOW-HIGH" in error("--vot.eao-interval=9")
    assert "There is no experiment called 'gray'" in error("--vot.experiments=gray")
    assert "--vot.lanes must be at least 1, not 0" in error("--vot.lanes=0")
    assert "--vot.practical must be at least 0, not -1" in error("--vot.practical=-1")
    assert "did you mean --vot.eao-interval" in error("--vot.eao-intervall=2-9")
    assert "lamb" in error("--sequences=lamb")
    them = publish(tmp_path / "Them", bag=STILL[:-1])
    assert "bag_001.txt is too short: 11 rows, but bag has 12 frames" in error("--published", them)
    assert "there is no folder" in error("--published", tmp_path / "nowhere")
    assert not (tmp_path / "results").exists()


def test_published_results_of_other_benchmarks_are_scored_alone_too(data_dir, tmp_path, capsys):
    folder = tmp_path / "Them"
    folder.mkdir()
    shutil.copy(data_dir / "otb" / "Deer" / "groundtruth_rect.txt", folder / "Deer.txt")
    where = ["--benchmark=otb2013", f"--data-dir={data_dir}", f"--results={tmp_path / 'results'}", "--sequences=Deer"]
    assert run(*where, "--tracker=none", "--published", folder) == 0
    assert "Them (published)  0.952" in capsys.readouterr().out


def test_nothing_to_run_and_nothing_to_score_is_a_mistake(options, capsys):
    line = error_of(capsys, *options, "--tracker=none")
    assert "--tracker none runs nothing: name folders of results to score by --published" in line
