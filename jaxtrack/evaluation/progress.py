"""How far a long run has come: a bar on a terminal, a line now and then in a log file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_LINE_EVERY_SECONDS = 20.0


class Reporter:
    """Hears what a run does; this one says nothing.

    The runner calls `begin` once, then `sequence`, `frames` (several times) and `finished` for every sequence that is
    to be run, and `note` at any time. Sequences that are run side by side are one to it; `beside` tells which they are.
    """

    def begin(self, frames: int) -> None:
        """`frames` are to be tracked, those of finished sequences not counted; 0 if nobody knows how many."""

    def sequence(self, run: str, name: str, frames: int) -> None:
        """The run called `run` begins the sequence `name` of `frames` frames."""

    def frames(self, done: int) -> None:
        """`done` frames of the current sequence are tracked."""

    def beside(self, what: str) -> None:
        """What is run side by side has changed."""

    def finished(self) -> None:
        """The current sequence is stored."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class _Counting(Reporter):
    """Keeps count, for reporters that show it.

    What passes before a run's first frames are reported is no measure of the rest: weights are read, programs compiled.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._total = self._before = self._done = self._length = 0
        self._started = self._sequence_started = self._last_end = clock()
        self._first_report: tuple[int, float] | None = None
        self._what = self._run = ""
        self._starting = False
        self._start_frames, self._start_seconds = 0, 0.0  # of all runs' starts

    def begin(self, frames: int) -> None:
        self._total, self._started = frames, self._clock()
        self._last_end = self._started

    def sequence(self, run: str, name: str, frames: int) -> None:
        self._what, self._length, self._done = f"{run}: {name}", frames, 0
        self._sequence_started, self._first_report = self._clock(), None
        self._starting, self._run = self._starting or run != self._run, run

    def frames(self, done: int) -> None:
        self._done = done
        if self._first_report is None:
            self._first_report = (done, self._clock())
        self._end_start(done)

    def beside(self, what: str) -> None:
        self._what = what

    def finished(self) -> None:
        self._end_start(self._length)  # a sequence so short that nothing was reported of it
        self._before += self._length
        self._done = self._length = 0
        self._last_end = self._clock()

    def _end_start(self, frames: int) -> None:
        if self._starting:
            self._starting = False
            self._start_frames += frames
            self._start_seconds += self._clock() - self._last_end

    @property
    def overall(self) -> int:
        """Frames tracked since the beginning."""
        return self._before + self._done

    @property
    def fps(self) -> float:
        """Frames per second of the current sequence, decoding included, starting and compiling not."""
        done, since = self._first_report or (0, self._sequence_started)
        if self._done == done:  # a single report: better a number with the start than none
            done, since = 0, self._sequence_started
        seconds = self._clock() - since
        return (self._done - done) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What the rest will take at the mean speed so far, runs' starts left out; None before there is one, or if the
        number of frames is not known.
        """
        if not self._total:
            return None
        seconds, frames = self._clock() - self._started - self._start_seconds, self.overall - self._start_frames
        if not frames and self._before:  # sequences as short as their starts: better a guess with them than none
            seconds, frames = self._clock() - self._started, self.overall
        return seconds * max(self._total - self.overall, 0) / frames if frames else None


class LogLines(_Counting):
    """A line when a sequence begins or goes on, at most one in `every` seconds, and one at the very end."""

    def __init__(
        self,
        write: Callable[[str], None],
        every: float = _LINE_EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__(clock)
        self._write, self._every = write, every
        self._last = clock()

    def begin(self, frames: int) -> None:
        """Starts the clock of the lines, too."""
        super().begin(frames)
        self._last = self._clock()

    def frames(self, done: int) -> None:
        """Writes a line if the last one is long ago or if this was the last frame of all."""
        super().frames(done)
        complete = self.overall == self._total
        if complete or self._clock() - self._last >= self._every:
            self._last = self._clock()
            left = "" if complete else f", ETA {_duration(self.seconds_left)}"
            self._write(
                f"{self._what} {self._done}/{self._length or '?'} frames, {self.fps:.1f} fps; "
                f"{self.overall}/{self._total or '?'} frames in all{left}"
            )

    def note(self, text: str) -> None:
        """Writes the text as a line."""
        self._write(text)


class Bar(_Counting):
    """A progress bar with the current sequence, its speed and the time that is left."""

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("starting", total=None, fps="", eta="")

    def begin(self, frames: int) -> None:
        """Gives the bar its length."""
        super().begin(frames)
        self._progress.update(self._task, total=frames or None)

    def sequence(self, run: str, name: str, frames: int) -> None:
        """Names the sequence before the bar."""
        super().sequence(run, name, frames)
        self._progress.update(self._task, description=self._what, fps="")

    def beside(self, what: str) -> None:
        """Names the sequences before the bar."""
        super().beside(what)
        self._progress.update(self._task, description=what)

    def frames(self, done: int) -> None:
        """Moves the bar."""
        super().frames(done)
        eta = f"ETA {_duration(self.seconds_left)}"
        self._progress.update(self._task, completed=self.overall, fps=f"{self.fps:.1f} fps", eta=eta)

    def note(self, text: str) -> None:
        """Prints the text above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)


@contextmanager
def reporter(console: Console, *, quiet: bool = False) -> Iterator[Reporter]:
    """The reporter that suits `console`: a bar if it is a terminal, else lines; none if `quiet`."""
    if quiet:
        yield Reporter()
    elif not console.is_terminal:
        yield LogLines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]}"),
            TextColumn("{task.fields[eta]}"),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield Bar(progress)


def _duration(seconds: float | None) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3723.4), _duration(None)
    ('1:02:03', '-:--:--')
    """
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
