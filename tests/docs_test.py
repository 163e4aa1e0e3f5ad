"""The documentation is true: its commands parse, its code runs, its names and paths exist."""

import ast
import contextlib
import functools
import importlib
import pkgutil
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from otb_scores import score

import jaxtrack.data
from jaxtrack import trackers
from jaxtrack.__main__ import main
from jaxtrack.commands import _listing, _tracker_choice, evaluate, train
from jaxtrack.data import benchmarks
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics
from jaxtrack.images import make_frame
from jaxtrack.tracker import sequence_key
from jaxtrack.trackers import deeptrack, opencv

ROOT = Path(__file__).resolve().parents[1]
README, ADDING, PAPER = ROOT / "README.md", ROOT / "docs" / "adding.md", ROOT / "docs" / "paper_to_code.md"
TRAINING = ROOT / "docs" / "training.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """(title, text) of the fenced blocks of a language."""
    return [(title, text) for kind, title, text in FENCE.findall(page.read_text("utf-8")) if kind == language]


def prose(page):
    return FENCE.sub("", page.read_text("utf-8"))


def code_spans(page):
    return re.findall(r"`([^`\n]+)`", prose(page))


def tables(page):
    """The rows of a page's tables, cell by cell."""
    lines = [line for line in prose(page).splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


REPORTS = ("summary.csv", "per_sequence.csv", "per_attribute.csv")
EXAMPLES = {title: text for page in (ADDING, TRAINING) for title, text in blocks(page, "python") if title}
SHELL = [text for page in PAGES for _, text in blocks(page, "sh")]
DOCSTRINGS = [ast.get_docstring(ast.parse(path.read_text("utf-8"))) for path in sorted((ROOT / "configs").glob("*.py"))]
COMMANDS, TRAININGS = (
    [
        shlex.split(line, comments=True)
        for text in SHELL + [text or "" for text in DOCSTRINGS]
        for line in text.replace("\\\n", " ").splitlines()
        if line.startswith(f"python {script}") or f"bin/python {script}" in line
    ]
    for script in ("evaluate.py", "train.py")
)


@pytest.fixture
def examples(tmp_path_factory):
    """The modules and config files of the guides, found as if they lay in the repository; returns their folder."""
    folder = tmp_path_factory.mktemp("examples")
    for title, text in EXAMPLES.items():
        (folder / title).parent.mkdir(parents=True, exist_ok=True)
        (folder / title).write_text(text, "utf-8")
    shutil.copytree(ROOT / "configs", folder / "configs", dirs_exist_ok=True)
    caches = (trackers._modules, trackers._declared, benchmarks._modules)
    with pytest.MonkeyPatch.context() as patch:
        for package in (trackers, jaxtrack.data):
            more = folder / package.__name__.replace(".", "/")
            patch.setattr(package, "__path__", [*package.__path__, str(more)])
        for cache in caches:
            cache.cache_clear()
        yield folder
    for title in EXAMPLES:
        package, _, name = title.removesuffix(".py").replace("/", ".").rpartition(".")
        if sys.modules.pop(f"{package}.{name}", None):
            delattr(sys.modules[package], name)
    for cache in caches:
        cache.cache_clear()


# --- commands ------------------------------------------------------------------------------------------------------


def test_the_readme_has_two_lines_that_set_up_and_the_ci_script_runs_the_second():
    install, develop = [line for line in README.read_text("utf-8").splitlines() if "venv" in line]
    assert install == "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python evaluate.py"
    assert develop in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert "pytest" in develop


def test_the_readme_swaps_opencv_as_the_error_message_says():
    assert opencv._SWAP in [line for _, text in blocks(README, "sh") for line in text.splitlines()]


def test_the_readme_names_every_tracker_that_the_list_has_a_row_for():
    named = {name for row in tables(README) for name in re.findall(r"`([\w-]+)`", row[0])}
    assert set(_listing.families().values()) <= named


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_understood(words, examples, monkeypatch):
    monkeypatch.chdir(examples)
    arguments = words[words.index("evaluate.py") + 1 :]
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            _tracker_choice.parse(evaluate.Options, arguments, prog="evaluate.py")
    else:
        options, entries = _tracker_choice.parse(evaluate.Options, arguments, prog="evaluate.py")
        assert benchmarks.canonical_name(options.benchmark)
        assert entries


@pytest.mark.parametrize("words", TRAININGS, ids=" ".join)
def test_every_training_is_understood(words, examples, monkeypatch):
    monkeypatch.chdir(examples)
    arguments = words[words.index("train.py") + 1 :]
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            train._parse(arguments, "train.py")
    else:
        _, config = train._parse(arguments, "train.py")
        assert train.loop.make_recipe(config)


NUMBERS_OF_GPUS = [(int(row[0]), row[1].strip("`")) for row in tables(TRAINING) if row[0].isdecimal() and len(row) == 3]


@pytest.mark.parametrize(("gpus", "text"), NUMBERS_OF_GPUS)
def test_the_options_for_another_number_of_gpus_are_right(gpus, text, examples, monkeypatch):
    monkeypatch.chdir(examples)
    reference = train._parse(["--config", "configs/siamrpn_full_rbo.py"], "train.py")[1]
    words = [] if text == "none" else shlex.split(text)
    _, config = train._parse(["--config", "configs/siamrpn_full_rbo.py", *words], "train.py")
    config.check_devices(gpus)
    step = config.batch * config.optimiser.accumulate
    assert step == reference.batch
    assert config.steps * config.batch == reference.steps * reference.batch
    if text == "none":
        assert gpus == reference.reference_devices
    else:
        with pytest.raises(UserError, match=f"sums the gradients of {reference.reference_devices} devices"):
            reference.check_devices(gpus)


@pytest.mark.parametrize("line", [line for text in SHELL for line in text.splitlines() if "python -m jaxtrack" in line])
def test_every_command_of_the_package_is_there_with_its_options(line, capsys):
    words = shlex.split(line, comments=True)[3:]
    names = words[: 2 if words[0] == "weights" else 1]
    assert main([*names, "--help"]) == 0
    assert {word for word in words if word.startswith("--")} <= set(
        re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out)
    )


def test_every_option_that_is_mentioned_stands_in_the_help(examples, capsys, monkeypatch):
    monkeypatch.chdir(examples)
    everything = ",".join([*trackers.names(), "configs/wide.py"])
    assert main(["evaluate", "--tracker", everything, "--help"]) == 0
    for training in ("smoke", "nano_got10k"):
        assert main(["train", "--config", f"configs/{training}.py", "--help"]) == 0
    for command in ("track", "submit", "vot"):
        assert main([command, "--help"]) == 0
    for subcommand in ("inspect", "pack"):
        assert main(["weights", subcommand, "--help"]) == 0
    known = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out))
    mentioned = {option for page in PAGES for span in code_spans(page) for option in re.findall(r"^--[\w.-]+", span)}
    mentioned |= {word for words in COMMANDS for word in words if word.startswith("--")}
    assert len(mentioned) > 20
    assert mentioned <= known


def test_every_module_of_trackers_is_reachable_from_the_command_line():
    modules = [info.name for info in pkgutil.iter_modules(trackers.__path__) if not info.name.startswith("_")]
    assert {"deeptrack", "opencv"} <= set(modules)
    for module in modules:
        configs = importlib.import_module(f"jaxtrack.trackers.{module}").CONFIGS
        assert configs, f"{module} declares no tracker"
        for name, config in configs.items():
            assert name in trackers.names()
            _, [entry] = _tracker_choice.parse(evaluate.Options, ["--tracker", name], prog="evaluate.py")
            assert (entry.tracker, entry.config) == (name, config)


# --- code ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path):
    """Three images in `tmp_path / "frames"`, and what a camera gives: the same in BGR, then nothing."""
    ground = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    images = [np.roll(ground, shift, axis=1) for shift in range(3)]
    (tmp_path / "frames").mkdir()
    for i, image in enumerate(images):
        cv2.imwrite(str(tmp_path / "frames" / f"{i:04d}.jpg"), image)
    reading = iter([*images, None])
    return types.SimpleNamespace(read=lambda: (True, next(reading)))


def run_the_readme(video, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: video)
    namespace = {}
    for _, text in blocks(README, "python"):
        exec(text, namespace)
    for track in (namespace["track"], *namespace["tracks"]):
        assert track.boxes.shape == (3, 4)
    firsts = [track.boxes[0].tolist() for track in namespace["tracks"]]
    assert firsts == [namespace["track"].boxes[0].tolist(), [4, 12, 16, 16]]
    assert firsts[0] == [28, 20, 16, 16]
    assert namespace["params"] == {}
    told, *boxes = capsys.readouterr().out.splitlines()
    assert told.startswith("<Track: 3 frames; last box (")
    # Three boxes of the track, then one of each further image of the camera.
    assert len(boxes) == 3 + 2


def test_the_code_of_the_readme_runs(examples, video, tmp_path, monkeypatch, capsys):
    # DeepTrack takes long to compile: here its functions are only traced, and the guide's tracker stands in for it.
    frame, key = make_frame(np.zeros((48, 64, 3), np.uint8)), sequence_key(0, "")
    jax.eval_shape(deeptrack.tracker().init, {}, frame, np.ones(4, np.float32), key)
    still = importlib.import_module("jaxtrack.trackers.still").tracker()
    monkeypatch.setattr(deeptrack, "tracker", lambda config: still)
    run_the_readme(video, tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_the_code_of_the_readme_runs_with_its_own_tracker(video, tmp_path, monkeypatch, capsys):
    run_the_readme(video, tmp_path, monkeypatch, capsys)


def test_the_other_code_of_the_guide_runs(examples):
    namespace = {}
    for title, text in blocks(ADDING, "python"):
        if not title:
            exec(text, namespace)
    perfect = score(np.ones((4, 4)), np.ones((4, 4)))
    assert namespace["entry"]["success_75"].of(perfect) == 1
    assert len(namespace["track"].boxes) == 5


def test_the_tracker_the_benchmark_and_the_metric_of_the_guide_work_together(examples, tmp_path, monkeypatch, capsys):
    namespace = {}
    [entry] = [text for title, text in blocks(ADDING, "python") if "entry = " in text]
    exec(entry, namespace)
    monkeypatch.setattr(metrics, "METRICS", {**metrics.METRICS, **namespace["entry"]})
    where = ["--results", str(tmp_path / "results"), "--quiet"]
    assert main(["evaluate", "--benchmark", "squares", "--tracker", "still", "--still.fade", "0.5", *where]) == 0
    assert "SR@0.75" in capsys.readouterr().out
    summary = (tmp_path / "results" / "reports" / "squares" / "still" / "summary.csv").read_text()
    header, row = (line.split(",") for line in summary.splitlines())
    # The square moves by 2 of its 12 pixels a frame: IoU 12/12, 10/14, 8/16, ... in 10 frames.
    assert float(row[header.index("success_75")]) == pytest.approx(0.1)
    assert float(row[header.index("success_60")]) == pytest.approx(0.2)


def test_the_listing_shows_the_tracker_of_the_guide(examples, capsys):
    assert main(["evaluate", "--list"]) == 0
    printed = capsys.readouterr().out
    assert "The first box, kept for ever" in printed
    assert "squares" in printed


def test_config_files_lead_to_their_trackers(examples, monkeypatch):
    monkeypatch.chdir(examples)
    wide, paper = _tracker_choice.choose("configs/wide.py,configs/deeptrack.py")
    assert (wide.label, wide.tracker, wide.config.sampling.particles) == ("wide", "deeptrack", 3000)
    assert (paper.label, paper.tracker, paper.config) == ("deeptrack", "deeptrack", deeptrack.CONFIGS["deeptrack"])


# --- names and paths -----------------------------------------------------------------------------------------------


def attribute(dotted):
    """The object of a dotted name, a field of a dataclass counting as an attribute."""
    parts = dotted.split(".")
    for i in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(".".join(parts[:i]))
            return functools.reduce(getattr, parts[i:], module)
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_dotted_name_leads_to_something(page):
    names = {name for span in code_spans(page) for name in re.findall(r"\bjaxtrack(?:\.\w+)+", span)}
    for name in names:
        attribute(name)


def test_the_map_names_code_in_every_row():
    rows = [row for row in tables(PAPER) if len(row) == 2 and row[1] not in ("code", "option")]
    assert len(rows) > 40
    for row in rows:
        assert row[1].startswith(("`jaxtrack.", "`--deeptrack.")), row


def test_the_constants_of_the_map_are_the_defaults():
    rows = [row for row in tables(PAPER) if len(row) == 4 and row[2].startswith("`--")]
    assert len(rows) > 10
    for _, paper, option, default in rows:
        path = option.strip("`").removeprefix("--deeptrack.").replace("-", "_").split(".")
        value = functools.reduce(getattr, path, deeptrack.CONFIGS["deeptrack"])
        assert ast.literal_eval(default.strip("`")) == value, option
        assert ast.literal_eval(paper) == value, f"{option}: move the row to where the code departs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_path_leads_somewhere(page):
    text = prose(page)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    for link in links:
        assert (page.parent / link).exists(), link
    kinds = "py|md|toml|jpg|png|csv|sh"
    paths = {
        path
        for span in code_spans(page)
        for path in re.findall(rf"^(?:python )?([\w./-]+\.(?:{kinds})|[\w./-]+/)(?= |$)", span)
    }
    # What an evaluation, or the tracking of a video, writes is named as well.
    written = {path for path in paths if path.startswith("results/") or path in (*REPORTS, "boxes.csv")}
    for path in paths - written - set(EXAMPLES):
        assert (ROOT / path).exists(), path


def test_the_examples_are_not_in_the_way_of_real_files():
    assert not [title for title in EXAMPLES if (ROOT / title).exists()]
