"""`jaxtrack track`: what it writes and tells."""

import re
import shlex
import time
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from contract import WANDERING_PARAMS, wandering
from tiny_track import BOX, rows_of, track
from tiny_videos import FakeCamera, frames, number_of, read_file, write_file, write_folder

from jaxtrack import Tracker, compilation, run, streaming, trackers
from jaxtrack.__main__ import main
from jaxtrack.commands import _box_option, _box_selection
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.video_file import VideoFile
from jaxtrack.evaluation.runner import session_seed
from jaxtrack.trackers import opencv

README = Path(__file__).resolve().parents[2] / "README.md"
OTHER = "30.5,20,12,14"
pytestmark = pytest.mark.usefixtures("tiny")


def boxes_of(path, target=0):
    """(frames, boxes float32 [N, 4], scores float32 [N]) of a target."""
    rows = rows_of(path)
    rows = rows[rows[:, 1] == target]
    return rows[:, 0].astype(int).tolist(), rows[:, 2:6].astype(np.float32), rows[:, 6].astype(np.float32)


def box_of(text):
    return np.asarray(text.split(","), np.float32)


def assert_track(path, track, target=0, first=0):
    """The file has the boxes and scores of a `Track`, bit for bit."""
    numbers, boxes, scores = boxes_of(path, target)
    assert numbers == list(range(first, first + len(track.boxes)))
    np.testing.assert_array_equal(boxes, track.boxes)
    np.testing.assert_array_equal(scores, track.scores)


@pytest.mark.parametrize("quiet", [False, True])
def test_it_is_said_while_the_programs_take_long_to_compile(clip, out, capsys, monkeypatch, quiet):
    fresh = Tracker(wandering.init, lambda *arguments: wandering.step(*arguments))  # not compiled yet
    monkeypatch.setattr(trackers._declared()["tiny"], "tracker", lambda config: fresh)
    compile_ = compilation._compile
    monkeypatch.setattr(compilation, "NOTICE_SECONDS", 0.01)
    monkeypatch.setattr(compilation, "_compile", lambda lowered: (time.sleep(0.5), compile_(lowered))[1])
    arguments = ["track", str(clip), "--tracker=tiny", f"--save={out / 'boxes.csv'}", "--box", BOX]
    assert main([*arguments, *["--quiet"] * quiet]) == 0
    line = "compiling tiny: up to minutes, where it was never compiled before"
    assert capsys.readouterr().err.splitlines().count(line) == (not quiet)


def test_it_is_said_while_the_first_frame_takes_long(clip, out, capsys, monkeypatch):
    def begin(*arguments):
        jax.debug.callback(lambda: time.sleep(0.6))
        return wandering.init(*arguments)

    slow = Tracker(begin, wandering.step)
    monkeypatch.setattr(trackers._declared()["tiny"], "tracker", lambda config: slow)
    monkeypatch.setattr(compilation, "NOTICE_SECONDS", 0.1)
    assert main(["track", str(clip), "--tracker=tiny", f"--save={out / 'boxes.csv'}", "--box", BOX]) == 0
    line = "tiny: at the first frame, up to minutes for trackers that learn in it"
    assert capsys.readouterr().err.splitlines().count(line) == 1


# --- what is written -----------------------------------------------------------------------------------------------


def test_the_boxes_of_a_video_file_are_those_of_a_run_bit_for_bit(clip, out):
    assert track(clip, out, "--box", BOX, "--seed=3") == 0
    assert_track(out / "boxes.csv", run(wandering, WANDERING_PARAMS, clip, box_of(BOX), seed=3))
    assert [path.name for path in out.iterdir()] == ["boxes.csv"]


@pytest.mark.parametrize(
    ("box", "share", "corners"),
    [
        ("40,20,56,40", "70%", "; if these are the corners left,top,right,bottom, write --box 40,20,16,20"),
        ("40,20,24,40", "30%", ""),  # 24 cannot be a right end
        ("-10,10,20,16", "50%", ""),  # nor -10 a left end
        ("40,20,30,28", "20%", None),  # a fifth, as a target that leaves the image
        ("36,26,16,12", "0%", None),
    ],
)
def test_a_box_that_leaves_the_image_by_a_good_part_is_doubted(box, share, corners):
    doubt = _box_option.check(box_of(box), (48, 64))
    if corners is None:
        assert doubt == ""
    else:
        assert doubt.startswith(f"--box {box}: {share} of the box, x,y,w,h: left, top, width and height")
        assert ("corners" in doubt) == bool(corners)
        assert corners in doubt


def test_a_doubtful_box_is_tracked_and_warned_of(clip, out, capsys):
    assert track(clip, out, "--box=40,20,56,40") == 0
    assert "warning: --box 40,20,56,40: 70% of the box" in capsys.readouterr().err
    assert track(clip, out, "--box", BOX) == 0
    assert "warning" not in capsys.readouterr().err


def test_folders_that_were_made_are_named(clip, out, capsys):
    assert track(clip, out, "--box", BOX, f"--out={out / 'video'}") == 0
    assert f"Folders made for it: {out}\n" in capsys.readouterr().out
    assert track(clip, out, "--box", BOX) == 0
    assert "Folders made" not in capsys.readouterr().out


def test_the_video_shows_every_frame_with_its_box(tmp_path, out):
    large = write_file(tmp_path / "large.mp4", frames(20, (240, 320)), "mp4v")
    assert track(large, out, "--box=100,100,90,60", f"--out={out / 'seen.mp4'}") == 0
    pictures, (_, boxes, _) = read_file(out / "seen.mp4"), boxes_of(out / "boxes.csv")
    assert len(pictures) == 20
    assert VideoFile("", out / "seen.mp4").fps == 20  # as the clip has it
    for i, (picture, image, box) in enumerate(zip(pictures, read_file(large), boxes, strict=True)):
        assert number_of(picture) == i
        assert picture.shape[1] == 320
        assert picture.shape[0] > 240  # the strip below
        changed = np.abs(picture[:240].astype(int) - image).sum(axis=-1) > 120
        rows, columns = (np.flatnonzero(changed.sum(axis=axis) > 20) for axis in (1, 0))
        # The label is above the box, and not as wide as it.
        x, y, w, h = box
        np.testing.assert_allclose((columns[0], columns[-1], rows[-1]), (x, x + w, y + h), atol=4)
    assert sorted(path.name for path in out.iterdir()) == ["boxes.csv", "seen.mp4"]


def test_several_targets_are_tracked_at_once_each_as_if_alone(clip, out):
    assert track(clip, out, "--box", BOX, "--box", OTHER, f"--out={out / 'seen.avi'}") == 0
    for target, box in enumerate((BOX, OTHER)):
        _, boxes, _ = boxes_of(out / "boxes.csv", target)
        alone = run(wandering, WANDERING_PARAMS, VideoFile("", clip), box_of(box))
        np.testing.assert_allclose(boxes, alone.boxes, atol=1e-3)
    assert rows_of(out / "boxes.csv")[:4, :2].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len(read_file(out / "seen.avi")) == 20


def test_a_folder_and_a_pattern_are_videos_too(tmp_path, out):
    folder = write_folder(tmp_path / "img", frames(20), "{}.png")
    expected = run(wandering, WANDERING_PARAMS, ImageFolder("", folder), box_of(BOX))
    for source in (folder, f"{folder}/%d.png", f"{folder}/*.png"):
        assert track(source, out, "--box", BOX, f"--out={out / 'seen.mp4'}") == 0
        assert_track(out / "boxes.csv", expected)
        assert VideoFile("", out / "seen.mp4").fps == 25


def test_the_pictures_may_go_to_a_folder(clip, out):
    assert track(clip, out, "--box", BOX, f"--out={out / 'pictures'}", save=None) == 0
    video = ImageFolder("", out / "pictures")
    assert [number_of(video[i]) for i in range(len(video))] == list(range(20))


@pytest.mark.parametrize("there", [False, True])
def test_the_boxes_may_go_to_the_folder_of_the_pictures(clip, out, there):
    if there:
        out.mkdir()
    assert track(clip, out, "--box", BOX, "--frames=2", f"--out={out}") == 0
    assert sorted(path.name for path in out.iterdir()) == ["000000.jpg", "000001.jpg", "boxes.csv"]


def test_frames_and_speed_of_the_video_can_be_chosen(clip, out):
    assert track(clip, out, "--box", BOX, "--start=4", "--frames=5", "--fps=7", f"--out={out / 'seen.mp4'}") == 0
    part = [VideoFile("", clip)[i] for i in range(4, 9)]
    assert_track(out / "boxes.csv", run(wandering, WANDERING_PARAMS, part, box_of(BOX)), first=4)
    assert [number_of(image) for image in read_file(out / "seen.mp4")] == [4, 5, 6, 7, 8]
    assert VideoFile("", out / "seen.mp4").fps == 7


def test_a_camera_is_tracked_frame_by_frame_until_it_ends(out, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera(frames(6)))
    assert track(0, out, "--box", BOX, "--box", OTHER) == 0
    numbers, boxes, _ = boxes_of(out / "boxes.csv", 1)
    assert numbers == list(range(6))
    np.testing.assert_allclose(boxes, run(wandering, WANDERING_PARAMS, frames(6), box_of(OTHER)).boxes, atol=1e-3)


def test_trackers_of_opencv_work_as_well(clip, out):
    fast = ["--opencv-mil.search-radius-px=6", "--opencv-mil.init-max-negatives=8"]
    assert track(clip, out, "--box", BOX, "--box", OTHER, "--frames=4", *fast, tracker="opencv-mil") == 0
    config = opencv.MilConfig(search_radius_px=6, init_max_negatives=8)
    for target, box in enumerate((BOX, OTHER)):
        session, video = opencv.session(config, seed=session_seed(0, "")), VideoFile("", clip)
        session.init(video[0], box_of(box))
        expected = [box_of(box), *(session.update(video[i]).box for i in range(1, 4))]
        np.testing.assert_array_equal(boxes_of(out / "boxes.csv", target)[1], expected)


def test_options_of_the_tracker_reach_its_config(clip, out):
    assert track(clip, out, "--box", BOX, "--tiny.rate=0.25") == 0
    expected = run(wandering, {"rate": np.float32(0.25)}, VideoFile("", clip), box_of(BOX))
    assert_track(out / "boxes.csv", expected)


def test_the_boxes_may_be_drawn_by_hand(clip, out, monkeypatch):
    shown = []
    monkeypatch.setattr(_box_selection, "select", lambda image: shown.append(image) or [(36.0, 26.0, 16.0, 12.0)])
    assert track(clip, out, "--select", "--start=2") == 0
    assert number_of(shown[0]) == 2
    np.testing.assert_array_equal(boxes_of(out / "boxes.csv")[1][0], box_of(BOX))


def test_an_older_result_is_replaced(clip, out):
    for box in (OTHER, BOX):
        assert track(clip, out, "--box", box, "--frames=3", f"--out={out / 'seen.mp4'}") == 0
    np.testing.assert_array_equal(boxes_of(out / "boxes.csv")[1][0], box_of(BOX))
    assert len(read_file(out / "seen.mp4")) == 3


# --- what is told --------------------------------------------------------------------------------------------------


def test_the_summary_tells_of_frames_speed_scores_and_files(clip, out, capsys):
    out.mkdir()
    assert track(clip, out, "--box", BOX, "--box", OTHER) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    first, second, *rest = captured.out.splitlines()
    assert len(rest) == sum(line.startswith(("target", "  the score", "  and")) for line in rest) + 1
    assert re.fullmatch(rf"{clip}: 20 frames of 64x48 tracked by tiny, [\d.]+ frames/s", first)
    assert re.match(r"[\d.]+ s with reading, drawing and writing", second)
    lowest = {}
    for target in (0, 1):
        _, _, scores = boxes_of(out / "boxes.csv", target)
        lowest[target] = 1 + int(np.argmin(scores[1:]))
        [line] = [line for line in rest if line.startswith(f"target {target}: ")]
        assert f"median score {np.median(scores[1:]):.4g}; lowest {scores[lowest[target]]:.4g} in frame" in line
        assert f"in frame {lowest[target]}" in line
    assert rest[-1] == f"Written: {out / 'boxes.csv'} (frames, targets and pixels count from 0)"


@pytest.mark.parametrize(
    ("seconds", "start", "said"),
    [
        (1.24, 0.1, ", 1.2 s of them for compiling or loading programs"),
        (0.04, 0.9, ""),
        (0.04, 200.04, ", 200.0 s for the first frame"),
        (1.24, 1.0, ", 1.2 s of them for compiling or loading programs, 1.0 s for the first frame"),
    ],
)
def test_what_passes_until_programs_are_there_and_the_first_frame_is_done_is_told(
    clip, out, capsys, monkeypatch, seconds, start, said
):
    """It does not tell whether they were compiled or came from the cache."""
    stream = streaming.stream

    def slow(*arguments, **options):
        pieces = stream(*arguments, **options)
        return (piece._replace(compile_seconds=seconds, seconds=start) for piece in pieces)

    monkeypatch.setattr(streaming, "stream", slow)
    assert track(clip, out, "--box", BOX, "--frames=1") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert re.fullmatch(rf"[\d.]+ s with reading, drawing and writing{said}", line)


def test_progress_tells_speed_and_what_is_left(clip, out, capsys):
    arguments = ["track", str(clip), "--tracker=tiny", f"--save={out / 'boxes.csv'}", "--box", BOX]
    assert main(arguments) == 0
    assert re.search(r"tiny: tracking 20/20 frames, [\d.]+ fps", capsys.readouterr().err)


# --- the README ----------------------------------------------------------------------------------------------------


def test_the_commands_of_the_readme_run(clip, tmp_path, monkeypatch, capsys):
    [section] = re.findall(r"^## Your own video\n(.*?)^## ", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^python -m jaxtrack (track .*)$", section.replace("\\\n", " "), re.MULTILINE)
    assert len(lines) >= 3
    monkeypatch.chdir(tmp_path)
    write_file(tmp_path / "clip.mp4", frames(6, (240, 320)), "mp4v")
    write_folder(tmp_path / "frames", frames(6, (240, 320)), "{:04d}.jpg")
    camera, capture = FakeCamera(frames(6, (240, 320))), cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: camera if source == 0 else capture(source))
    monkeypatch.setattr(_box_selection, "select", lambda image: [(36.0, 26.0, 16.0, 12.0)])
    for line in lines:
        assert main(["track", "--help", *shlex.split(line, comments=True)[1:]]) == 0  # its options are there
        words = [re.sub("^--siamban-nano.*", "--tiny.rate=0.4", word) for word in shlex.split(line, comments=True)]
        words = [word for word, before in zip(words, ["", *words], strict=False) if before != "--tiny.rate=0.4"]
        assert main([*words, "--tracker", "tiny"]) == 0, capsys.readouterr().err
    assert len(read_file(tmp_path / "out.mp4")) == 6
    shown = re.search(r"^```text\n(frame,target.*?)```", section, re.MULTILINE | re.DOTALL)[1].splitlines()
    written = (tmp_path / "boxes.csv").read_text().splitlines()
    assert shown[0] == written[0]
    assert [len(row.split(",")) for row in shown] == [7] * len(shown)
