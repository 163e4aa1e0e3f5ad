import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from walking import WALK

from jaxtrack import Session
from jaxtrack.integrations.vot import ToolkitTracker, check_sizes

ROOT = Path(__file__).resolve().parents[2]
BOX = (20.0, 16.0, 16.0, 12.0)
OTHER = (4.0, 6.0, 8.0, 8.0)


def expected(paths, name, box=BOX, seed=0):
    """The boxes and confidences of a session with this seed and name from the second image on."""
    session = Session(WALK, np.float32(1), seed=seed, name=name)
    session.init(cv2.imread(paths[0]), box)
    found = [session.update(cv2.imread(path)) for path in paths[1:]]
    return [(tuple(each.box.astype(np.float64).tolist()), {"confidence": float(each.score)}) for each in found]


def test_one_object_goes_in_and_its_box_and_confidence_come_out(walk, clip):
    tracker = ToolkitTracker()
    assert tracker.multiobject
    assert tracker.init(clip[0], [(BOX, {})], {}) == [(BOX, {"confidence": 1.0})]
    answers = [tracker.update(path, [], {}) for path in clip[1:]]
    assert answers == [[each] for each in expected(clip, "0/0")]


def test_objects_that_come_later_are_answered_after_those_before_them(walk, clip):
    tracker = ToolkitTracker(seed="5")
    tracker.init(clip[0], [(BOX, {}), (OTHER, {})])
    first, second = (expected(clip, f"0/{i}", box, 5) for i, box in enumerate((BOX, OTHER)))
    assert tracker.update(clip[1], [(BOX, {})]) == [first[0], second[0], (BOX, {"confidence": 1.0})]
    third = expected(clip[1:], "0/2", BOX, 5)
    assert tracker.update(clip[2]) == [first[1], second[1], third[0]]


def test_a_video_may_begin_without_objects(walk, clip):
    tracker = ToolkitTracker()
    assert tracker.init(clip[0], []) == []
    assert tracker.update(clip[1], []) == []
    assert tracker.update(clip[2], [(BOX, {})]) == [(BOX, {"confidence": 1.0})]


def test_a_single_object_may_come_without_a_list_and_a_restart_draws_anew(walk, clip):
    tracker = ToolkitTracker()
    for start in range(2):
        assert tracker.init(clip[0], (BOX, {})) == [(BOX, {"confidence": 1.0})]
        assert tracker.update(clip[1]) == [expected(clip, f"{start}/0")[0]]


CORNERS = [(30.0, 10.0), (40.0, 20.0), (30.0, 30.0), (20.0, 20.0)]
MASK = np.zeros((48, 64), np.uint8)
MASK[10:15, 20:28] = 1


@pytest.mark.parametrize(
    ("region", "rule", "box"),
    [
        # Sides of 10 root 2: area 200 in a box of 400, so that its sides are 20 / root 2, and one pixel more.
        (CORNERS, "area", (30 - 10 / 2**0.5, 20 - 10 / 2**0.5, 20 / 2**0.5 + 1, 20 / 2**0.5 + 1)),
        (CORNERS, "enclosing", (20, 10, 20, 20)),
        (CORNERS[:3], "area", (30, 10, 10, 20)),
        (MASK, "area", (20, 10, 8, 5)),
    ],
    ids=["area", "enclosing", "three corners", "mask"],
)
def test_what_a_tracker_starts_from(walk, clip, region, rule, box):
    [(given, _)] = ToolkitTracker(start_box=rule).init(clip[0], [(region, {})])
    assert given == pytest.approx(box)


def test_images_by_channel_are_taken_from_colour(walk):
    tracker = ToolkitTracker()
    image = np.zeros((48, 64, 3), np.uint8)
    tracker.init({"depth": np.zeros((48, 64), np.float32), "color": image}, [(BOX, {})])
    tracker.update({"ir": image[..., 0]})


def test_it_is_compiled_before_the_toolkit_hears_of_it_and_before_the_first_answer(walk, clip):
    ToolkitTracker(warm_up="640x480,320x240, 300x200")
    assert [image.shape[:2] for image in walk] == [(480, 640), (240, 320)]
    tracker = ToolkitTracker(warm_up="")
    del walk[:]
    tracker.init(clip[0], [(BOX, {})])
    assert len(walk) == 2


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda clip: ToolkitTracker("siambam_nano"), "did you mean siamban_nano"),
        (lambda clip: ToolkitTracker(start_box="best"), "start_box is area or enclosing, not 'best'"),
        (lambda clip: ToolkitTracker(seed="one"), "seed must be a whole number, not 'one'"),
        (lambda clip: ToolkitTracker(warm_up="640"), "sizes of images such as 640x480, separated by commas, not '640'"),
        (lambda clip: ToolkitTracker().update(clip[0]), "call init"),
        (lambda clip: ToolkitTracker().init("nowhere.jpg", [(BOX, {})]), "nowhere.jpg.* cannot be read"),
        (lambda clip: ToolkitTracker().init(clip[0], [((1.0, 2.0), {})]), "a rectangle, a polygon or a mask, not"),
        (lambda clip: ToolkitTracker().init(clip[0], [(0 * MASK, {})]), "the mask of an object is empty"),
        (lambda clip: ToolkitTracker().init(clip[0], [((99.0, 9.0, 8.0, 8.0), {})]), "lies outside the image"),
    ],
)
def test_mistakes_are_errors_that_the_toolkit_passes_on(walk, clip, fault, sentence):
    # It hears of a RuntimeError; a UserError ends the process, and it would wait for an answer.
    with pytest.raises(RuntimeError, match=sentence):
        fault(clip)


def test_a_size_has_a_width_and_a_height():
    assert check_sizes("640x480, 320x240") == [(640, 480), (320, 240)]
    assert check_sizes("") == []
    for text in ("0x480", "640x", "640x480x3", "-1x2"):
        with pytest.raises(Exception, match="640x480, separated by commas"):
            check_sizes(text)


# --- as the toolkit does it ----------------------------------------------------------------------------------------


WORKER = """
import importlib, sys

module, name = "jaxtrack.integrations.vot:ToolkitTracker".split(":")
tracker = getattr(importlib.import_module(module), name)(tracker="opencv-mil", seed="0", warm_up="")
print(tracker.multiobject)
print(tracker.init(sys.argv[1], [((40.0, 30.0, 24.0, 24.0), {})], {}))
for path in sys.argv[2:]:
    print(tracker.update(path, [], {}))
"""


@pytest.fixture
def workspace(tmp_path):
    """A workspace of the toolkit: a sequence of eight images, and annotations of four corners."""
    sequence = tmp_path / "sequences" / "square"
    (sequence / "color").mkdir(parents=True)
    ground = cv2.resize(np.random.default_rng(0).integers(0, 99, (6, 8, 3), np.uint8), (128, 96))
    rows = []
    for i in range(8):
        image, x = ground.copy(), 40 + 2 * i
        cv2.rectangle(image, (x, 30), (x + 23, 53), (20, 60, 250), -1)
        cv2.rectangle(image, (x + 6, 36), (x + 12, 42), (250, 60, 20), -1)
        cv2.imwrite(str(sequence / "color" / f"{i + 1:08d}.jpg"), image)
        rows.append(f"{x},30,{x + 24},30,{x + 24},54,{x},54\n")
    (sequence / "groundtruth.txt").write_text("".join(rows))
    settings = "channels.color=color/%08d.jpg\nfps=30\nformat=default\nname=square\nwidth=128\nheight=96\n"
    (sequence / "sequence").write_text(settings)
    (tmp_path / "sequences" / "list.txt").write_text("square\n")
    (tmp_path / "config.yaml").write_text("stack: ./stack.yaml\nregistry: [./trackers.ini]\nsequences: sequences\n")
    stack = "title: one\nexperiments:\n  baseline:\n    type: unsupervised\n    repetitions: 2\n"
    (tmp_path / "stack.yaml").write_text(stack)
    return tmp_path


def test_it_works_in_a_process_of_its_own_with_arguments_that_are_texts(workspace):
    images = sorted(map(str, workspace.rglob("*.jpg")))
    command = [sys.executable, "-c", WORKER, *images]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    multiobject, first, *others = map(ast.literal_eval, done.stdout.splitlines())
    assert multiobject is True
    assert first == [((40.0, 30.0, 24.0, 24.0), {"confidence": 1.0})]
    assert len(others) == 7
    for i, [(box, said)] in enumerate(others, 1):
        assert abs(box[0] - (40 + 2 * i)) < 24  # MIL may lag, but overlaps
        assert set(said) == {"confidence"}


TOOLKIT = importlib.util.find_spec("vot") is not None
needs_toolkit = pytest.mark.skipif(not TOOLKIT, reason="the VOT toolkit is not installed")


def toolkit(workspace, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    command = [sys.executable, "-m", "vot", "--debug", *arguments]
    done = subprocess.run(
        command, cwd=workspace, capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    return done.stdout + done.stderr


@needs_toolkit
def test_the_toolkit_itself_evaluates_a_tracker(workspace):
    command = [sys.executable, "-m", "jaxtrack", "vot", "--tracker", "opencv-mil"]
    section = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=120)
    (workspace / "trackers.ini").write_bytes(section.stdout)
    said = toolkit(workspace, "evaluate", "opencv_mil")
    assert "Evaluation concluded" in said, said
    folder = workspace / "results" / "opencv_mil" / "baseline" / "square"
    names = {path.name for path in folder.iterdir()}
    assert {"square_001_confidence.value", "square_002_time.value"} <= names
    assert len((folder / "square_001_confidence.value").read_text().split()) == 8


@needs_toolkit
def test_the_toolkit_says_what_is_wrong_at_once(workspace):
    (workspace / "trackers.ini").write_text(
        "[mine]\nprotocol = python\ncommand = jaxtrack.integrations.vot:ToolkitTracker\narg_tracker = siambam_nano\n"
    )
    assert "did you mean siamban_nano" in toolkit(workspace, "evaluate", "mine")
