"""`jaxtrack tune`, with a made-up network on tiny videos."""

import errno
import functools
import json

import command_line
import pytest
import siamese_brightness

from jaxtrack.__main__ import main
from jaxtrack.commands import _tracker_choice
from jaxtrack.data import video_output
from jaxtrack.evaluation import tuning
from jaxtrack.trackers import siamese
from jaxtrack.weights import places

error_of = functools.partial(command_line.error_of, "tune")


@pytest.fixture
def options(data_dir, tmp_path, monkeypatch):
    """Options of a search on one video, whose target is red; the network needs no weights."""
    monkeypatch.setattr(siamese, "network_of", lambda _: siamese_brightness.NETWORK)
    monkeypatch.setattr(siamese, "init_params", lambda config, key: {})
    monkeypatch.setattr(siamese, "weights_sha256", lambda config: "0" * 64)
    siamese.tracker.cache_clear()
    where = ["--benchmark=otb2013", f"--data-dir={data_dir}", "--sequences=Deer", f"--out={tmp_path / 'mine'}"]
    yield ["--tracker=siamban", "--trials=4", "--finalists=1", "--quiet", *where]
    siamese.tracker.cache_clear()  # the made-up network is no other test's


def test_a_search_ends_in_a_table_and_a_config_file(options, tmp_path, capsys):
    assert main(["tune", *options]) == 0
    captured = capsys.readouterr()
    printed = " ".join(captured.out.split())
    assert "siamban on 1 selected of the 51 sequences of OTB-2013: 4 triples that were run" in printed
    assert "A triple is a choice of penalty, window influence and smoothing." in printed
    assert "current" in captured.out
    assert "best" in captured.out
    assert "Rank correlation of replayed overlap and AUC: " in captured.out
    assert captured.err.count("otb2013 is a test benchmark") == 1  # before the search
    assert "test benchmark" not in captured.out
    config = _tracker_choice.load_config(tmp_path / "mine.py")
    assert config.tuned_on == "otb2013"
    record = json.loads((tmp_path / "mine.json").read_text())
    assert record["command"].startswith("jaxtrack tune --tracker=siamban")
    assert (record["sequences"], len(record["trials"]), record["weights_sha256"]) == (["Deer"], 5, "0" * 64)
    assert record["frames"] == 70
    [entry] = _tracker_choice.choose(str(tmp_path / "mine.py"))
    assert entry.label == "mine"


def test_an_outcome_that_is_no_better_is_said(options, monkeypatch, tmp_path, capsys):
    aucs = iter([0.5, 0.4, 0.5, 0.3])
    monkeypatch.setattr(tuning, "_auc", lambda *_: next(aucs))
    assert main(["tune", *options]) == 0
    printed = capsys.readouterr().out
    assert (
        "Nothing better was found: no other triple reached more than the AUC of the present constants, 0.5000"
        in printed
    )
    assert "expect less" not in printed
    config = _tracker_choice.load_config(tmp_path / "mine.py")
    default = siamese.CONFIGS["siamban"]
    assert (config.penalty, config.window_influence) == (default.penalty, default.window_influence)
    assert "found nothing better" in (tmp_path / "mine.py").read_text()


def test_an_outcome_that_is_better_says_by_how_much(options, monkeypatch, capsys):
    aucs = iter([0.5, 0.4, 0.6, 0.3])
    monkeypatch.setattr(tuning, "_auc", lambda *_: next(aucs))
    assert main(["tune", *options]) == 0
    printed = capsys.readouterr().out
    assert "The AUC rose from 0.5000 to 0.6000." in printed
    assert "Nothing better" not in printed


def test_a_long_term_tracker_is_refused(options, capsys):
    assert "leave long_term out" in error_of(capsys, *options, "--tracker=siamrpn_lt")


def test_a_validation_set_needs_no_warning(options, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tuning, "VALIDATION_SETS", frozenset({"otb2013"}))
    assert main(["tune", *options]) == 0
    captured = capsys.readouterr()
    assert "test benchmark" not in captured.out + captured.err
    assert _tracker_choice.load_config(tmp_path / "mine.py").tuned_on == ""


def test_an_interrupted_search_leaves_nothing(options, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "_auc", interrupt)
    assert main(["tune", *options]) == 130
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_sentence(options, tmp_path, capsys, data_dir):
    assert "no tracker called 'nanotrak': did you mean nanotrack" in error_of(capsys, *options, "--tracker=nanotrak")
    line = error_of(capsys, *options, "--tracker=deeptrack")
    assert "deeptrack has no such constants, only Siamese trackers have: siamrpn" in line
    assert "one tracker is tuned at a time, not 2" in error_of(capsys, *options, "--tracker=siamban,nanotrack")
    assert "--trials must be at least 1, not 0" in error_of(capsys, *options, "--trials=0")
    assert "--finalists must be at least 1, not 0" in error_of(capsys, *options, "--finalists=0")
    assert "--seed must be between 0 and" in error_of(capsys, *options, "--seed=-1")
    assert "otb2014" in error_of(capsys, *options, "--benchmark=otb2014")
    assert "--trails: did you mean" in error_of(capsys, *options, "--trails=3")
    assert list(tmp_path.iterdir()) == []


def test_missing_weights_are_answered_with_the_command_that_brings_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    line = error_of(capsys, "--tracker=siamban", f"--out={tmp_path / 'mine'}")
    assert "there are no weights" in line
    assert "jaxtrack weights import" in line


def test_where_nothing_can_be_written_is_said_before_the_search(options, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'} is no folder" in error_of(capsys, *options, f"--out={tmp_path / 'file' / 'mine'}")
    assert "is a folder: name the config file" in error_of(capsys, *options, "--out=.")
    (tmp_path / "mine.json").write_text("{}")
    assert "mine.json is there already" in error_of(capsys, *options)

    def refused(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(video_output.tempfile, "TemporaryFile", refused)
    assert "permission denied" in error_of(capsys, *options, f"--out={tmp_path / 'new' / 'other'}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine.json"]
