import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dataset_folders import write_got10k
from walking import WALK

import jaxtrack
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.errors import UserError
from jaxtrack.integrations.got10k import ToolkitTracker

ROOT = Path(__file__).resolve().parents[2]
BOX = np.array([21.0, 17.0, 16.0, 12.0])  # as in the toolkit's files: pixels from 1
ZERO_BASED = (20.0, 16.0, 16.0, 12.0)


def stored_boxes(clip, seed):
    """What an evaluation of the sequence `walk_01` finds, pixels from 1."""
    track = jaxtrack.run(WALK, np.float32(1), ImageFolder("walk_01", clip), ZERO_BASED, seed)
    return track.boxes + np.array([1, 1, 0, 0])


def test_a_repetition_is_the_run_that_evaluate_stores_and_the_next_has_the_next_seed(walk, clip):
    tracker = ToolkitTracker("siamban_nano", seed=3)
    for seed in (3, 4):
        boxes, seconds = tracker.track(clip, BOX)
        np.testing.assert_allclose(boxes, stored_boxes(clip, seed), rtol=1e-6)
        assert boxes[0].tolist() == BOX.tolist()
        assert seconds.shape == (5,)
        assert (seconds > 0).all()


def test_everything_is_compiled_before_the_clock_runs(walk, clip):
    ToolkitTracker("siamban_nano").track(clip, BOX)
    assert len(walk) == 2  # a session to warm up, and the one that counts


def test_images_one_by_one_as_arrays_or_as_pil_gives_them(walk, clip):
    image = np.zeros((48, 64, 3), np.uint8)
    pil = SimpleNamespace(convert=lambda mode: image if mode == "RGB" else None)
    answers = []
    for given in (image, pil):
        tracker = ToolkitTracker("siamban_nano")
        tracker.init(given, BOX)
        answers.append(tracker.update(given))
    expected = jaxtrack.run(WALK, np.float32(1), [image, image], ZERO_BASED).boxes[1] + np.array([1, 1, 0, 0])
    np.testing.assert_allclose(answers, [expected, expected], rtol=1e-6)


def test_files_that_count_pixels_from_0_are_taken_as_they_are(walk, clip):
    one, zero = (ToolkitTracker("siamban_nano", origin=origin).track(clip, BOX)[0] for origin in (1, 0))
    np.testing.assert_allclose(one, zero, atol=1e-4)  # a walk does not see where it starts
    corner = (ToolkitTracker("siamban_nano", origin=origin) for origin in (1, 0))
    with pytest.raises(UserError, match="outside"):
        next(corner).track(clip, [-15, 5, 16, 12])
    next(corner).track(clip, [-15, 5, 16, 12])


def test_name_and_determinism_are_what_the_toolkit_asks_for(walk):
    assert ToolkitTracker("SiamBAN-nano").name == "siamban_nano"
    assert not ToolkitTracker("siamban_nano").is_deterministic
    mine = ToolkitTracker("siamban_nano", name="mine", is_deterministic=True)
    assert (mine.name, mine.is_deterministic) == ("mine", True)


def test_an_update_before_the_start_is_refused(walk):
    with pytest.raises(UserError, match="call init"):
        ToolkitTracker("siamban_nano").update(np.zeros((48, 64, 3), np.uint8))


SCRIPT = """
import sys
from got10k.experiments import ExperimentGOT10k
from jaxtrack.integrations.got10k import ToolkitTracker
from jaxtrack.trackers import opencv

fast = opencv.MilConfig(search_radius_px=6, init_max_negatives=8, track_max_negatives=8)
experiment = ExperimentGOT10k(sys.argv[1], subset="val", result_dir=sys.argv[2] + "/results", report_dir=sys.argv[2])
experiment.run(ToolkitTracker(fast))
experiment.run(ToolkitTracker(fast, name="once", is_deterministic=True))
"""


@pytest.mark.skipif(importlib.util.find_spec("got10k") is None, reason="the GOT-10k toolkit is not installed")
def test_the_toolkit_itself_runs_a_tracker(tmp_path):
    write_got10k(tmp_path / "data", [3, 4], split="val")
    (tmp_path / "data" / "val" / "list.txt").write_text("GOT-10k_Val_000001\nGOT-10k_Val_000002\n")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "data"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
    results = tmp_path / "results" / "GOT-10k"
    for name, frames in (("GOT-10k_Val_000001", 3), ("GOT-10k_Val_000002", 4)):
        for tracker, repetitions in (("opencv-mil", 3), ("once", 1)):
            files = sorted((results / tracker / name).glob(f"{name}_00?.txt"))
            assert len(files) == repetitions
            for file in files:
                boxes = np.loadtxt(file, delimiter=",")
                assert boxes.shape == (frames, 4)
                assert boxes[0].tolist() == [10, 12, 20, 10]
            times = np.loadtxt(results / tracker / name / f"{name}_time.txt", delimiter=",", ndmin=2)
            assert times.reshape(frames, -1).shape == (frames, repetitions)
