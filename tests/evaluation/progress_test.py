import io

import pytest
from rich.console import Console

from jaxtrack.evaluation import progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def log(clock, lines):
    return progress.LogLines(lines.append, every=10.0, clock=clock)


def test_lines_come_now_and_then_with_speed_and_time_left(log, clock, lines):
    log.begin(300)
    log.sequence("mil, seed 0", "Deer", 100)
    clock.now = 5.0
    log.frames(10)
    assert lines == []
    clock.now = 20.0
    log.frames(40)
    # 40 frames in 20 s; 260 left at 2 a second are 130 s.
    assert lines == ["mil, seed 0: Deer 40/100 frames, 2.0 fps; 40/300 frames in all, ETA 0:02:10"]
    clock.now = 25.0
    log.frames(50)
    assert len(lines) == 1


def test_finished_sequences_count_and_speed_is_that_of_the_current_one(log, clock, lines):
    log.begin(300)
    log.sequence("mil, seed 0", "Deer", 100)
    clock.now = 10.0
    log.frames(25)
    clock.now = 50.0
    log.frames(100)
    log.finished()
    log.sequence("mil, seed 0", "Couple", 200)
    clock.now = 60.0
    log.frames(50)
    # 125 frames in the 50 s after the first report; 150 are left.
    assert lines[-1] == "mil, seed 0: Couple 50/200 frames, 5.0 fps; 150/300 frames in all, ETA 0:01:00"


def test_the_speed_does_not_contain_a_slow_start(log, clock, lines):
    log.begin(300)
    log.sequence("deeptrack, seed 0", "Deer", 100)
    clock.now = 100.0  # compiling
    log.frames(17)
    clock.now = 108.0
    log.frames(33)
    clock.now = 116.0
    log.frames(49)
    assert "17/100 frames, 0.2 fps" in lines[0]
    assert "49/100 frames, 2.0 fps" in lines[1]


def test_the_time_left_does_not_contain_the_compiling(log, clock, lines):
    log.begin(300)
    log.sequence("deeptrack, seed 0", "Deer", 100)
    clock.now = 100.0  # compiling
    log.frames(20)
    assert lines[-1].endswith("20/300 frames in all, ETA -:--:--")
    clock.now = 120.0
    log.frames(60)
    # 40 frames in 20 s; 240 left at 2 a second.
    assert lines[-1].endswith("ETA 0:02:00")
    clock.now = 140.0
    log.frames(100)
    log.finished()
    # The same tracker's next sequence is measured from its beginning: it starts anew, but compiles nothing.
    log.sequence("deeptrack, seed 0", "Couple", 100)
    clock.now = 160.0
    log.frames(20)
    # 100 frames in 60 s; 180 left.
    assert lines[-1].endswith("ETA 0:01:48")


def test_the_next_tracker_compiles_too(log, clock, lines):
    log.begin(200)
    for run, compiling in (("a, seed 0", 30.0), ("b, seed 0", 500.0)):
        log.sequence(run, "Deer", 100)
        clock.now += compiling
        log.frames(20)
        clock.now += 20.0
        log.frames(60)
        if run.startswith("a"):
            clock.now += 20.0
            log.frames(100)
            log.finished()
    # 120 frames were measured, in 60 s; 40 are left.
    assert lines[-1].endswith("160/200 frames in all, ETA 0:00:20")


def test_a_sequence_without_any_report_is_a_start(log, clock, lines):
    log.begin(120)
    log.sequence("mil, seed 0", "Deer", 20)
    clock.now = 100.0
    log.finished()
    log.sequence("mil, seed 0", "Couple", 100)
    clock.now = 125.0
    log.frames(50)
    assert lines[-1].endswith("70/120 frames in all, ETA 0:00:25")


def test_sequences_of_a_single_report_are_measured_as_a_whole(log, clock, lines):
    log.begin(60)
    for i in range(3):
        log.sequence(f"mil, seed {i}", "Deer", 20)
        clock.now += 12.0
        log.frames(20)
        log.finished()
    assert lines[0].endswith("ETA -:--:--")
    # 40 of 60 frames in 24 s.
    assert lines[1].endswith("40/60 frames in all, ETA 0:00:12")


def test_the_last_frame_of_all_always_gets_a_line(log, clock, lines):
    log.begin(4)
    log.sequence("mil, seed 0", "Deer", 4)
    clock.now = 2.0
    log.frames(4)
    assert lines == ["mil, seed 0: Deer 4/4 frames, 2.0 fps; 4/4 frames in all"]


def test_what_is_run_side_by_side_is_named_as_it_changes(log, clock, lines):
    log.begin(100)
    log.sequence("2 workers", "4 sequences", 100)
    log.beside("2 workers: Deer, Couple")
    clock.now = 20.0
    log.frames(10)
    log.beside("2 workers: Deer, Dog")
    clock.now = 40.0
    log.frames(30)
    assert lines == [
        "2 workers: Deer, Couple 10/100 frames, 0.5 fps; 10/100 frames in all, ETA -:--:--",
        "2 workers: Deer, Dog 30/100 frames, 1.0 fps; 30/100 frames in all, ETA 0:01:10",
    ]
    file = io.StringIO()
    with progress.reporter(Console(file=file, force_terminal=True, width=120)) as reporter:
        reporter.begin(100)
        reporter.sequence("2 workers", "4 sequences", 100)
        reporter.beside("2 workers: Deer, Couple")
        reporter.frames(10)
    assert "2 workers: Deer, Couple" in file.getvalue()


def test_notes_are_lines(log, lines):
    log.note("compiling took 3 s")
    assert lines == ["compiling took 3 s"]


def test_a_file_gets_lines_without_markup_or_control_codes():
    file = io.StringIO()
    with progress.reporter(Console(file=file, width=40)) as reporter:
        reporter.note("[bold] " + "x" * 50)
    assert file.getvalue() == "[bold] " + "x" * 50 + "\n"


def test_a_terminal_gets_a_bar_with_sequence_speed_and_time_left():
    file = io.StringIO()
    with progress.reporter(Console(file=file, force_terminal=True, width=120)) as reporter:
        reporter.begin(200)
        reporter.sequence("mil, seed 0", "[deer]", 100)
        reporter.frames(50)
        reporter.note("a note")
    shown = file.getvalue()
    for text in ("mil, seed 0: [deer]", "50/200", "fps", "ETA", "a note"):
        assert text in shown


def test_quiet_says_nothing():
    file = io.StringIO()
    with progress.reporter(Console(file=file, force_terminal=True), quiet=True) as reporter:
        reporter.begin(1)
        reporter.sequence("mil", "Deer", 1)
        reporter.frames(1)
        reporter.finished()
        reporter.note("a note")
    assert file.getvalue() == ""


def test_where_nobody_knows_how_many_frames_there_are_speed_is_told_and_no_time_left(log, clock, lines):
    log.begin(0)
    log.sequence("mil", "tracking", 0)
    clock.now = 5.0
    log.frames(10)
    clock.now = 15.0
    log.frames(40)
    assert lines == ["mil: tracking 40/? frames, 3.0 fps; 40/? frames in all, ETA -:--:--"]
    file = io.StringIO()
    with progress.reporter(Console(file=file, force_terminal=True, width=120)) as reporter:
        reporter.begin(0)
        reporter.sequence("mil", "tracking", 0)
        reporter.frames(40)
    assert "40/?" in file.getvalue()


def test_more_frames_than_were_said_leave_no_time(log, clock, lines):
    log.begin(20)
    log.sequence("mil", "tracking", 20)
    clock.now = 20.0
    log.frames(10)
    clock.now = 40.0
    log.frames(30)
    assert lines[-1].endswith("30/20 frames in all, ETA 0:00:00")
