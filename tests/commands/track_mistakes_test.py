"""What `track` refuses: one sentence, exit code 2, and nothing left behind."""

import errno
import functools
import tempfile

import command_line
import cv2
import pytest
from tiny_videos import SIZE, FakeCamera, cut_off, frames, number_of, read_file, write_file, write_folder

from jaxtrack.__main__ import main
from jaxtrack.data import video_output

error_of = functools.partial(command_line.error_of, "track")
BOX = "--box=36,26,16,12"
# Trackers of OpenCV compile nothing, and fewer samples make this one fast.
MIL = ["--tracker=opencv-mil", "--opencv-mil.search-radius-px=6", "--opencv-mil.init-max-negatives=8", "--quiet"]


@pytest.fixture
def clip(tmp_path):
    return write_file(tmp_path / "clip.avi", frames(6))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "img", frames(6))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "out.mp4"


@pytest.fixture
def options(out):
    """Of a run that would succeed."""
    return [*MIL, BOX, f"--out={out}", f"--save={out.with_name('boxes.csv')}"]


def nothing_is_left(out):
    return not out.parent.exists() or not list(out.parent.iterdir())


def without_box(options):
    return [option for option in options if option != BOX]


# --- the video -----------------------------------------------------------------------------------------------------


def test_a_video_that_is_not_there_or_does_not_open(tmp_path, clip, options, out, capsys):
    assert "there is no video nowhere.mp4: name a video file" in error_of(capsys, "nowhere.mp4", *options)
    cut_off(clip, 0.001)
    assert f"{clip} does not open as a video" in error_of(capsys, clip, *options)
    assert nothing_is_left(out)


def test_a_video_without_frames(tmp_path, options, out, capsys):
    empty = write_file(tmp_path / "empty.avi", [])
    assert f"{empty} has no frames" in error_of(capsys, empty, *options)
    assert nothing_is_left(out)


def test_a_folder_without_images_and_a_pattern_without_matches(tmp_path, folder, options, out, capsys):
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} has no images" in error_of(capsys, tmp_path / "empty", *options)
    for pattern in (f"{folder}/*.jpg", f"{folder}/%06d.png"):
        assert f"no file matches the pattern {pattern}" in error_of(capsys, pattern, *options)
    assert nothing_is_left(out)


def test_a_camera_that_is_not_there(options, out, capsys):
    assert "there is no camera 93, or another program uses it" in error_of(capsys, 93, *options)
    assert nothing_is_left(out)


def test_a_camera_without_images(options, out, capsys, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera([]))
    assert error_of(capsys, 0, *options) == "error: camera 0 has no frames"
    assert nothing_is_left(out)


def kept_after_an_error(capsys, out):
    """The one line on stderr of a video that was tracked as far as it is sound, and the numbers of the frames kept."""
    captured = capsys.readouterr()
    rows = out.with_name("boxes.csv").read_text().splitlines()[1:]
    numbers = [number_of(image) for image in read_file(out)]
    assert f"{len(numbers)} frames of 64x48 tracked by opencv-mil" in captured.out
    assert [int(row.split(",")[0]) for row in rows] == numbers
    [line] = captured.err.splitlines()
    return line, numbers


def test_a_frame_of_another_size_in_the_middle_keeps_those_before(folder, options, out, capsys):
    cv2.imwrite(str(folder / "0003.png"), frames(1, (40, 64))[0])
    assert main(["track", str(folder), *options]) == 2
    line, numbers = kept_after_an_error(capsys, out)
    assert line.startswith("error: the video: frame 3 (")
    assert "0003.png) has 64x40 pixels, the first one 64x48" in line
    assert line.endswith(f"; the 3 frames before it are kept: {out}, {out.with_name('boxes.csv')}")
    assert numbers == [0, 1, 2]


def test_an_image_that_is_damaged_keeps_those_before(folder, options, out, capsys):
    cut_off(folder / "0004.png", 0.1)
    assert main(["track", str(folder), *options]) == 2
    line, numbers = kept_after_an_error(capsys, out)
    assert "0004.png) does not decode as an image" in line
    assert numbers == [0, 1, 2, 3]


def test_a_first_image_that_is_damaged_leaves_nothing(folder, options, out, capsys):
    cut_off(folder / "0000.png", 0.1)
    assert "0000.png) does not decode as an image" in error_of(capsys, folder, *options)
    assert nothing_is_left(out)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_start_past_the_end(clip, folder, options, out, capsys, kind):
    source = clip if kind == "file" else folder
    line = error_of(capsys, source, *options, "--start=6")
    assert line == f"error: --start 6: {source} has 6 frames, the last is 5"
    assert nothing_is_left(out)


# --- the box -------------------------------------------------------------------------------------------------------


def test_no_box(clip, options, out, capsys):
    line = error_of(capsys, clip, *without_box(options))
    assert "no target is given: say by --box where it is in the first frame (x,y,w,h: left, top" in line
    assert "or draw it: --select" in line
    assert nothing_is_left(out)


@pytest.mark.parametrize(
    "text", ["36,26,16", "36,26,16,12,1", "a,b,c,d", "20,16,nan,12", "20,16,inf,12", "", "20 16x12"]
)
def test_a_text_that_is_no_box(clip, options, capsys, text):
    line = error_of(capsys, clip, *without_box(options), f"--box={text}")
    four = "four finite numbers" if "n" in text else "four numbers"
    assert f"--box {text!r}: expected {four} x,y,w,h: left, top, width and height in pixels" in line


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("64,10,5,5", "lies outside the image of 64x48 pixels"),
        ("-9,10,5,5", "lies outside the image"),
        ("10,10,0,5", "is empty"),
        ("10,10,5,-5", "is empty"),
    ],
)
def test_a_box_that_is_not_in_the_first_frame(clip, options, out, capsys, box, message):
    line = error_of(capsys, clip, *options, f"--box={box}")
    assert line.startswith(f"error: --box {box}: the first box ")
    assert message in line
    assert nothing_is_left(out)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--box 36 26 16 12", ": --box 36,26,16,12"),
        ("--box=36 26 16 12", ": --box 36,26,16,12"),
        ("--box 36, 26, 16, 12", ": --box 36,26,16,12"),
        ("--box 36.5,26 -16,12", ": --box 36.5,26,-16,12"),
        ("--box -36 26 16", ""),
    ],
)
def test_a_box_of_several_words_is_told_how_to_be_written(clip, options, out, capsys, words, meant):
    line = error_of(capsys, clip, *without_box(options), *words.split())
    said = words.removeprefix("--box").lstrip("= ")
    assert line.startswith(f"error: --box {said}: the four numbers of a box, x,y,w,h: left, top, width and height")
    assert line.endswith(f"are one word with commas and without blanks{meant}")
    assert nothing_is_left(out)


def test_a_camera_may_follow_a_box(options, capsys):
    assert "there is no camera 93" in error_of(capsys, *without_box(options), "--box", "36,26,16,12", 93)


def test_a_box_and_a_selection(clip, options, capsys):
    assert "--box and --select both say where" in error_of(capsys, clip, *options, "--select")


def test_a_selection_without_windows(clip, options, out, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("matplotlib.get_backend", lambda: "agg")
    line = error_of(capsys, clip, *without_box(options), "--select")
    assert "--select: neither OpenCV nor matplotlib can open a window here" in line
    assert nothing_is_left(out)


# --- what is written -----------------------------------------------------------------------------------------------


def test_nothing_to_be_kept(clip, capsys):
    assert "nothing would be kept: give --out VIDEO.mp4, --save" in error_of(capsys, clip, *MIL, BOX)


def test_a_suffix_that_is_no_video_s(clip, options, out, capsys):
    line = error_of(capsys, clip, *options, f"--out={out.with_suffix('.gif')}")
    assert "has the suffix .gif: give .mp4, .mov, .mkv, .avi, or a folder for images" in line
    assert nothing_is_left(out)


def test_a_codec_that_opencv_lacks(clip, options, out, capsys):
    line = error_of(capsys, clip, *options, "--codec=zzzz")
    assert "cannot write .mp4 files with the codec zzzz: choose another kind of file or codec" in line
    assert nothing_is_left(out)


@pytest.mark.parametrize("option", ["--out", "--save"])
def test_a_folder_that_cannot_be_written_to(clip, options, out, capsys, tmp_path, monkeypatch, option):
    name = "out.mp4" if option == "--out" else "boxes.csv"
    (tmp_path / "file").write_text("mine")
    line = error_of(capsys, clip, *options, f"{option}={tmp_path / 'file' / name}")
    assert f"{option}: cannot write to {tmp_path / 'file' / name}: {tmp_path / 'file'} is no folder" in line
    (tmp_path / "locked").mkdir()

    # Not by its mode: tests may run as root, for whom every folder can be written to.
    make = tempfile.TemporaryFile

    def refused(**options):
        if options["dir"] == tmp_path / "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(**options)

    monkeypatch.setattr(video_output.tempfile, "TemporaryFile", refused)
    line = error_of(capsys, clip, *options, f"{option}={tmp_path / 'locked' / name}")
    assert line == f"error: {option}: cannot write to {tmp_path / 'locked'}: permission denied"
    assert nothing_is_left(out)


def test_a_folder_of_images_that_has_files(clip, folder, options, capsys):
    assert f"{folder} is there already" in error_of(capsys, clip, *options, f"--out={folder}")


def test_a_folder_in_the_place_of_the_file_of_boxes(clip, folder, options, capsys):
    assert f"--save: {folder} is a folder" in error_of(capsys, clip, *options, f"--save={folder}")


def test_a_result_in_the_place_of_the_video(clip, options, capsys):
    before = clip.read_bytes()
    for option in ("--out", "--save"):
        line = error_of(capsys, clip, *options, f"{option}={clip.parent / '.' / clip.name}")
        assert f"the video and {option} are the same file" in line
    assert clip.read_bytes() == before


def test_two_results_in_one_file(clip, options, out, capsys):
    assert "--out and --save are the same file" in error_of(capsys, clip, *options, f"--save={out}")


def test_a_full_disk_leaves_nothing(clip, options, out, capsys, monkeypatch):
    monkeypatch.setattr(video_output, "_opens", lambda path: False)
    assert "could not be written to its end" in error_of(capsys, clip, *options)
    assert nothing_is_left(out)


# --- numbers and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", ["--start=-1", "--frames=0", "--seed=-1", "--seed=2147483648", "--fps=0", "--fps=nan"]
)
def test_a_number_out_of_range(clip, options, capsys, option):
    assert error_of(capsys, clip, *options, option).startswith(f"error: {option.split('=')[0]} must be ")


def test_trackers(clip, options, capsys):
    assert "did you mean opencv-mil" in error_of(capsys, clip, *options, "--tracker=opencv-mill")
    line = error_of(capsys, clip, *options, "--tracker=opencv-mil,deeptrack")
    assert "a video is tracked by one tracker, not 2: evaluate compares several" in line


def test_an_option_that_is_not_there(clip, options, capsys):
    assert "did you mean --frames" in error_of(capsys, clip, *options, "--frame=3")
    assert "There is no option --bbox: did you mean --box?" in error_of(capsys, clip, *options, "--bbox=1,2,3,4")


def test_the_sizes_here_are_what_the_messages_say():
    assert SIZE == (48, 64)
