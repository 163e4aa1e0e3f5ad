"""`train`: from a config file to weights that a tracker runs with, and every mistake in a sentence."""

import io
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
import tiny_training
from command_line import error_of
from rich.console import Console
from rich.text import Text
from siamese_brightness import red_square
from tiny_training import arguments

import jaxtrack
from jaxtrack.__main__ import main
from jaxtrack.commands import train
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers import siamese
from jaxtrack.training import loop
from jaxtrack.training.config import TrainConfig
from jaxtrack.weights import store

pytestmark = pytest.mark.usefixtures("tiny_architecture")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, four_devices):
    """The folder of a training by the command; what it printed is in `printed` beside it."""
    root = tmp_path_factory.mktemp("trained")
    (root / "mine.py").write_text(tiny_training.FILE)
    with pytest.MonkeyPatch.context() as patch, (root / "printed").open("w") as printed:
        patch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)
        patch.setattr("sys.stdout", printed)
        assert main(["train", *arguments(root / "mine.py", root / "runs")]) == 0
    return root / "runs" / "tiny"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said_of(weights):
    """The lines that a training ends with."""
    options = f"--tracker siamban --siamban.weights {weights} --siamban.architecture tiny"
    return [f"weights: {weights}", f"evaluate them: python -m jaxtrack evaluate {options}"]


# --- what it does --------------------------------------------------------------------------------------------------


def test_it_prints_each_record_and_where_the_weights_are(trained):
    *notices, one, two, where, how = (trained.parent.parent / "printed").read_text().splitlines()
    records = [one, two]
    # Before the first record minutes may go by.
    devices = "devices: 4 x cpu, each takes 1 of the 4 pairs of a step"
    assert notices[:2] == [devices, "making the first parameters of tiny"]
    assert notices[2] == "making the step of the stage 'whole'"
    # What comes from the cache is there within seconds, and nothing more is said.
    told = "compiling the {}: up to minutes, where it was never compiled before"
    step, validation = told.format("step"), told.format("validation")
    assert notices[3:] in ([], [step], [validation], [step, validation])
    assert [line.split()[0] for line in records] == ["2/4", "4/4"]
    logged = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    for line, record in zip(records, logged, strict=True):
        assert f"loss {record['loss']:.4f}" in line
        assert f"IoU {record['validation_iou']:.3f}" in line
        assert "pairs/s" in line
    assert "ETA -" in records[0]
    assert records[1].split("ETA ")[1].startswith("0.0 min")
    assert [where, how] == said_of(trained / "tiny.safetensors")


@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_terminal_a_bar_stands_below_the_lines_with_speed_and_what_is_left(training_file, terminal):
    _, config = train._parse(["--config", str(training_file)], "train")
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    record = {"step": 2, "loss": 1.5, "rate": 0.01, "pairs_per_second": 31.25, "data_wait": 0.25}
    with train._bar(console) as bar:
        train._Progress(console, config, bar)(record)
        bar.refresh()
    shown = Text.from_ansi(console.file.getvalue()).plain
    assert shown.count(f"2/{config.steps}  loss 1.5000") == 1
    assert (f"━ 2/{config.steps} 31.2 pairs/s, 25% waiting for data  ETA -" in shown.replace("  2/", " 2/")) == terminal


def test_values_of_the_command_line_take_the_place_of_the_files(trained):
    stored = json.loads((trained / "config.json").read_text())
    assert stored["steps_per_epoch"] == 4
    assert stored["checkpoint_steps"] == 2


def test_every_field_can_be_set(training_file):
    _, config = train._parse(
        arguments(
            training_file,
            "runs",
            *("--set.name", "other", "--set.objective.variant", "paper", "--set.objective.pooled-negatives", "48"),
            *("--set.optimiser.trained-backbone", "stage3", "--set.labels.positives", "4", "--set.no-sync-norm"),
        ),
        "train",
    )
    assert (config.name, config.steps_per_epoch, config.batch, config.sync_norm) == ("other", 4, 4, False)
    assert (config.objective.variant, config.objective.pooled_negatives) == ("paper", 48)
    assert config.objective.classification_ranking == 0.5
    assert config.optimiser.trained_backbone == ("stage3",)
    assert config.labels.positives == 4


def test_a_source_that_the_file_chooses_has_its_options(tmp_path):
    (tmp_path / "disk.py").write_text(
        "from pathlib import Path\n"
        "from jaxtrack.training.config import TrainConfig\n"
        "from jaxtrack.training.sources import Disk\n"
        "def config():\n"
        "    return TrainConfig(source=Disk((Path('a'),)))\n"
    )
    _, config = train._parse(["--config", str(tmp_path / "disk.py"), "--set.source.folders", "b", "c"], "train")
    assert [path.name for path in config.source.folders] == ["b", "c"]


def test_the_weights_are_the_last_states_and_a_tracker_runs_with_them(trained):
    path = trained / "tiny.safetensors"
    variables, meta = store.load(path)
    assert (meta.architecture, meta.source) == ("tiny", "config.json")
    assert meta.note == "trained by jaxtrack: tiny, 4 steps"
    _, config = train._parse(arguments(trained.parent.parent / "mine.py", trained.parent), "train")
    state = loop.train(config, trained)
    assert int(state.step) == 4
    jax.tree.map(np.testing.assert_array_equal, variables, {"params": state.params, "batch_stats": state.batch_stats})
    config = siamese.Config(architecture="tiny", weights=str(path))
    video = red_square(frames=3)
    track = jaxtrack.run(siamese.tracker(config), siamese.init_params(config), video, video.boxes[0])
    assert track.boxes.shape == (3, 4)
    assert np.isfinite(track.boxes).all()
    assert ((track.scores[1:] > 0) & (track.scores[1:] < 1)).all()


def test_the_weights_of_a_checkpoint_can_be_written_instead(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "tiny")
    command = ["train", *arguments(trained.parent.parent / "mine.py", tmp_path)]
    logged = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    ious = {record["step"]: record["validation_iou"] for record in logged}
    for which, step in (("2", 2), ("best", max(ious, key=ious.get)), ("4", 4)):
        assert main([*command, "--export", which]) == 0
        path = tmp_path / "tiny" / f"tiny_{step}.safetensors"
        assert capsys.readouterr().out.splitlines() == said_of(path)
        variables, meta = store.load(path)
        assert meta.note == f"trained by jaxtrack: tiny, {step} steps"
        same = jax.tree.map(np.array_equal, variables, store.load(trained / "tiny.safetensors")[0])
        assert jax.tree.all(same) == (step == 4)
    assert "has no checkpoint 3: there are 2, 4" in error_of(command[0], capsys, *command[1:], "--export", "3")
    line = error_of(command[0], capsys, *command[1:], "--export", "latest")
    assert "--export takes best, the checkpoint of the best validation, or a step, not latest: there are 2, 4" in line


def test_running_it_again_after_the_end_changes_nothing(trained, capsys):
    before = contents(trained)
    assert main(["train", *arguments(trained.parent.parent / "mine.py", trained.parent)]) == 0
    assert contents(trained) == before
    assert capsys.readouterr().out.splitlines() == said_of(trained / "tiny.safetensors")


def test_sigterm_ends_it_in_peace_and_the_same_command_goes_on(trained, training_file, tmp_path, monkeypatch, capsys):
    batches = tiny_training.Squares.batches

    def terminated(self, first_step, *place):
        for number, items in enumerate(batches(self, first_step, *place)):
            if self.split == "train" and number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield items

    with monkeypatch.context() as patch:
        patch.setattr(tiny_training.Squares, "batches", terminated)
        assert main(["train", *arguments(training_file, tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "stopped at step 3 of 4: the same command goes on from there"
    assert printed.err == ""
    assert not (tmp_path / "tiny" / "tiny.safetensors").exists()
    assert main(["train", *arguments(training_file, tmp_path)]) == 0
    assert (tmp_path / "tiny" / "tiny.safetensors").read_bytes() == (trained / "tiny.safetensors").read_bytes()


def test_ctrl_c_saves_and_the_same_command_goes_on(trained, training_file, tmp_path, monkeypatch, capfd):
    batches = tiny_training.Squares.batches

    def interrupted(self, first_step, *place):
        for number, items in enumerate(batches(self, first_step, *place)):
            if self.split == "train" and number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield items

    with monkeypatch.context() as patch:
        patch.setattr(tiny_training.Squares, "batches", interrupted)
        assert main(["train", *arguments(training_file, tmp_path)]) == 130
    assert capfd.readouterr().err.splitlines() == [
        "stopping after this step, with a checkpoint; Ctrl-C once more stops now, without one",
        "stopped at step 3 of 4: the same command goes on from there",
    ]
    assert not (tmp_path / "tiny" / "tiny.safetensors").exists()
    assert main(["train", *arguments(training_file, tmp_path)]) == 0
    assert "going on from step 3\n" in capfd.readouterr().out
    assert (tmp_path / "tiny" / "tiny.safetensors").read_bytes() == (trained / "tiny.safetensors").read_bytes()


def test_a_measure_that_is_no_number_is_printed_as_such(capsys):
    record = {"step": 2, "loss": 1.0, "rate": 0.1, "pairs_per_second": 3.0, "data_wait": 0.25, "validation_iou": "nan"}
    train._Progress(Console(), TrainConfig(), train._bar(Console()))(record)
    assert "25% waiting for data  ETA -  IoU nan" in capsys.readouterr().out


def test_the_help_lists_the_fields_with_what_they_mean(training_file, capsys):
    assert main(["train", "--config", str(training_file), "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option in ("--set.batch INT", "--set.objective.iou-ranking FLOAT", "--set.optimiser.clip FLOAT"):
        assert option in printed
    assert "--set.labels.positives" in printed
    assert "--set.source.split" in printed
    assert "Pairs in a step, over all devices and processes. (default: 4)" in printed
    assert "options that begin with `--set.` change single values" in printed


# --- mistakes ------------------------------------------------------------------------------------------------------


def test_mistakes_of_the_command_line_are_one_sentence(training_file, tmp_path, capsys):
    assert "there is no config file" in error_of("train", capsys, "--config", tmp_path / "none.py")
    other = tmp_path / "tracker.py"
    other.write_text("from jaxtrack.trackers import siamese\ndef config():\n    return siamese.Config()\n")
    line = error_of("train", capsys, "--config", other)
    assert "must return a TrainConfig or a DomainConfig or" in line
    assert "not a Config" in line
    line = error_of("train", capsys, "--config", training_file, "--set.bach", "8")
    assert "There is no option --set.bach: did you mean --set.batch" in line
    assert "There is no option --confg: did you mean --config?" in error_of("train", capsys, "--confg", training_file)
    assert "'8' belongs to no option" in error_of("train", capsys, "--config", training_file, "8")
    line = error_of("train", capsys, "--config", training_file, "--set.batch", "0")
    assert "batch of TrainConfig must be greater than 0, not 0" in line
    line = error_of("train", capsys, "--config", training_file, "--set.objective.pooled-negatives", "0")
    assert "pooled_negatives of Objective must be greater than 0, not 0" in line


@pytest.mark.parametrize(
    ("typo", "suggestions"),
    [
        ("--set.stepz", "--set.steps-per-epoch or --set.checkpoint-steps?"),
        ("--set.learning-rate", "--set.optimiser.warmup-rate or --set.optimiser.rate or --set.optimiser.last-rate?"),
        ("--set.batchsize", "--set.batch?"),
        ("--batch", "--set.batch?"),
    ],
)
def test_an_option_is_suggested_by_a_word_of_its_name(training_file, capsys, typo, suggestions):
    line = error_of("train", capsys, "--config", training_file, typo, "3")
    assert line.endswith(f"There is no option {typo}: did you mean {suggestions}")


def test_an_option_that_is_like_no_other_is_answered_with_the_help(training_file, capsys):
    line = error_of("train", capsys, "--config", training_file, "--set.lr", "3")
    assert line.endswith("There is no option --set.lr: see jaxtrack train --help")


def test_a_config_file_may_be_named_without_folder_and_ending_wherever_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for named in ("siamban_nano_rbo", "siamban_nano_rbo.py", "configs/siamban_nano_rbo.py"):
        _, config = train._parse(["--config", named], "train")
        assert config.name == "siamban_nano_rbo"
    assert train._parse([], "train")[1].name == "smoke"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "smoke.py").write_text(tiny_training.FILE)
    assert train._parse(["--config", "smoke"], "train")[1].name == "tiny"


def test_a_network_that_does_not_fit_is_one_sentence_and_the_folder_stays_free(training_file, tmp_path, capsys):
    mistakes = {
        "There is no architecture called 'tinier': did you mean tiny?": ["--set.architecture", "tinier"],
        "its labels must be AnchorLabels, not EllipseLabels": ["--set.architecture", "siamrpn_r50"],
        "trained_backbone names layer2, which the backbone of tiny does not have: its parts are stage1, ": [
            *("--set.optimiser.trained-backbone", "stage3", "layer2"),
        ],
        "a batch of 6 does not divide over 4 devices": ["--set.batch", "6"],
        "there are no weights none.safetensors": ["--set.start", "none.safetensors"],
    }
    for sentence, wrong in mistakes.items():
        assert sentence in error_of("train", capsys, *arguments(training_file, tmp_path), *wrong)


def test_validation_on_pairs_from_disk_needs_folders_of_its_own(tmp_path, capsys):
    (tmp_path / "disk.py").write_text(
        "from pathlib import Path\n"
        "import tiny_training\n"
        "from jaxtrack.training.sources import Disk\n"
        "def config():\n"
        "    return tiny_training.config(source=Disk((Path('a'),)), validation_pairs=4)\n"
    )
    line = error_of("train", capsys, "--config", tmp_path / "disk.py", "--out", tmp_path)
    assert "validation_pairs needs validation_folders in the source: name some, or set it to 0" in line
    assert not (tmp_path / "tiny").exists()
    line = error_of("train", capsys, "--config", tmp_path / "disk.py", "--out", tmp_path, "--set.validation-pairs", "0")
    assert "a is not there: make one by jaxtrack prepare" in line


def test_a_dataset_is_not_both_trained_on_and_validated_on(tmp_path, capsys):
    (tmp_path / "disk.py").write_text(
        "from pathlib import Path\n"
        "import tiny_training\n"
        "from jaxtrack.training.sources import Disk\n"
        "def config():\n"
        "    source = Disk((Path('a'),), validation_folders=(Path('b'), Path('b/../a')))\n"
        "    return tiny_training.config(source=source, validation_pairs=4)\n"
    )
    line = error_of("train", capsys, "--config", tmp_path / "disk.py", "--out", tmp_path)
    assert "a is trained on and validated on: take it out of folders or validation_folders" in line


def test_a_folder_of_another_training_is_one_sentence(trained, capsys):
    line = error_of("train", capsys, *arguments(trained.parent.parent / "mine.py", trained.parent, "--set.seed", "1"))
    assert "another configuration (seed: 0 stored, 1 now): go on with it by --set.seed 0, or begin one in anoth" in line
