"""Several sequences at a time on one or several devices: batches of equal width, for trackers in JAX."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from jaxtrack import trackers
from jaxtrack.batch import check_width, run_batch
from jaxtrack.data.sequences import Sequence as VideoSequence
from jaxtrack.data.sequences import image_size
from jaxtrack.errors import UserError
from jaxtrack.evaluation import runner
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.images import canvas_size


@dataclasses.dataclass(frozen=True)
class Batches:
    """Videos of one canvas share a program, `batch_width` of them, split over the local devices.

    Sequences and seeds are mixed: a video's boxes do not depend on its neighbours. A batch is stored when its longest
    video has ended.
    """

    batch_width: int

    def check(self, entries: Sequence[runner.Entry], methods: Sequence[trackers.Method]) -> None:
        """Refuses a width that does not divide over the devices, and trackers that run on the host; `UserError`."""
        if self.batch_width < 2:
            raise UserError(
                f"--batch must be at least 2, not {self.batch_width}: leave it out to run one video at a time"
            )
        check_width(self.batch_width, jax.local_device_count())
        for entry, method in zip(entries, methods, strict=True):
            if isinstance(method, trackers.HostMethod):
                raise UserError(
                    f"--batch: {entry.label} runs on the host, one video at a time: leave it out of --tracker, or run "
                    "it by a command of its own, without --batch"
                )

    def run(self, work: Sequence[runner.Work], reporter: Reporter) -> None:
        """Runs all jobs."""
        for each in work:
            assert isinstance(each.method, trackers.JaxMethod)
            params, seconds = each.method.params(), 0.0
            with runner.telling_compiling(each.jobs[0].entry, reporter):
                for jobs in batches(each.jobs, self.batch_width):
                    seconds += self._run(each.method, params, jobs, reporter)
            runner.note_compiling(each.jobs[0], seconds, reporter)

    def _run(self, method: trackers.JaxMethod, params: object, jobs: Sequence[runner.Job], reporter: Reporter) -> float:
        frames = sum(len(job.sequence) for job in jobs)
        reporter.sequence(jobs[0].entry.label, _called(jobs), frames)
        tracks = run_batch(
            method.tracker,
            params,
            [_Video(job.sequence) for job in jobs],
            [job.sequence.boxes[0] for job in jobs],
            [job.results.seed for job in jobs],
            width=self.batch_width,
            on_progress=reporter.frames,
        )
        for job, track in zip(jobs, tracks, strict=True):
            runner.keep(job, track, reporter, shared_by=f"{self.batch_width} lanes")
        reporter.finished()
        return tracks[0].compile_seconds


def batches(jobs: Sequence[runner.Job], width: int) -> Iterator[list[runner.Job]]:
    """Jobs in groups of at most `width`, of one canvas each; the longest first, so that like lengths are together."""
    groups: dict[tuple[int, int], list[runner.Job]] = {}
    canvases: dict[str, tuple[int, int]] = {}  # of each sequence, for all seeds
    for job in jobs:
        name = job.sequence.name
        if name not in canvases:
            with runner.naming(name):
                across, down = image_size(job.sequence)
                canvases[name] = canvas_size(down, across)
        groups.setdefault(canvases[name], []).append(job)
    for members in groups.values():
        members.sort(key=lambda job: -len(job.sequence))
        yield from (members[first : first + width] for first in range(0, len(members), width))


def _called(jobs: Sequence[runner.Job]) -> str:
    """What the progress calls a batch."""
    name = jobs[0].sequence.name
    return name if len(jobs) == 1 else f"{name} and {len(jobs) - 1} more"


class _Video:
    """A sequence whose name stands in what its images are refused with."""

    def __init__(self, sequence: VideoSequence):
        self.name, self._sequence = sequence.name, sequence

    def __len__(self) -> int:
        return len(self._sequence)

    def __getitem__(self, index: int) -> np.ndarray:
        with runner.naming(self.name):
            return self._sequence[index]
