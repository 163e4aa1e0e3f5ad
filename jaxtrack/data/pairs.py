"""Training pairs from prepared datasets: template and search crops, drawn as in SiamRPN++'s training.

Which pair has which number is a function of the seed alone, whatever has been drawn before and in which process. Host
batches come through Grain, which decodes ahead in threads or processes.

The pool of videos: every dataset gives `num_use` of its videos, whole shuffled passes after each other, cut off in the
end; a dataset with more videos gives the same ones for the whole training. The pools are joined and shuffled, and
shuffled anew for every repetition.
"""

import dataclasses
import functools
import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.prepared import open_prepared
from jaxtrack.errors import UserError, check_numbers

Sample = dict[str, Any]  # arrays and numpy scalars

ALL = -1
_LAST_INDEX = 2**32
_PASSES, _REPETITION, _SAMPLE = range(3)  # independent streams of random numbers of one seed
_THREADS = 4
_KILLED = "Worker process was terminated unexpectedly"  # Grain's words


@dataclasses.dataclass(frozen=True)
class Use:
    """How much of a dataset is used, and how far the frames of a pair may be apart."""

    dataset: str
    """Name of the dataset, as `jaxtrack prepare` has it."""
    frame_range: int = 100
    """The search frame is at most this many annotated frames before or after the template's."""
    num_use: int = ALL
    """Videos in the pool; -1 for each video once."""


# As SiamBAN's and RBO's configurations have it. Other datasets get `Use(name)`.
USES = (
    Use("vid", 100, 100_000),
    Use("youtubebb", 3, 200_000),
    Use("coco", 1, 100_000),
    Use("det", 1, 200_000),
    Use("got10k", 100, 200_000),
    Use("lasot", 100, 200_000),
)


@dataclasses.dataclass(frozen=True)
class PairSampling:
    """How pairs are drawn."""

    uses: tuple[Use, ...] = USES
    """What is used of each dataset; one that is not named here is used whole, with a frame range of 100."""
    negative: float = 0.2
    """Probability that the search image shows another target: one of a dataset chosen uniformly."""
    gray: float = 0.0
    """Probability that both images are to be made grey."""

    def __post_init__(self) -> None:
        """Refuses what is no probability, and uses that are empty or given twice."""
        check_numbers(self, not_negative=("negative", "gray"))
        for name in ("negative", "gray"):
            if getattr(self, name) > 1:
                raise UserError(f"{name} of PairSampling must be at most 1, not {getattr(self, name):g}")
        names = [use.dataset for use in self.uses]
        for use in self.uses:
            if names.count(use.dataset) > 1:
                raise UserError(f"uses of PairSampling names {use.dataset} twice")
            if use.frame_range < 0 or (use.num_use < 1 and use.num_use != ALL):
                raise UserError(
                    f"uses of PairSampling: {use.dataset} needs a frame_range of at least 0 and a num_use of at least "
                    f"1, or {ALL} for all, not {use.frame_range} and {use.num_use}"
                )

    def use_of(self, dataset: str) -> Use:
        """The use of a dataset."""
        return next((use for use in self.uses if use.dataset == dataset), Use(dataset))


class DiskPairs:
    """Pairs from one or several prepared datasets, by number."""

    def __init__(self, folders: Sequence[Path | str], config: PairSampling = PairSampling()):
        """Opens the datasets; no image is read yet.

        Args:
          folders: what `jaxtrack prepare` has made, `OUT/NAME/SPLIT` each.
          config: how pairs are drawn.

        Raises:
          UserError: no folder, or one that is not as it should be.
        """
        if not folders:
            raise UserError(
                "no prepared dataset was given: name at least one folder OUT/NAME/SPLIT of jaxtrack prepare"
            )
        self.folders, self.config = tuple(map(Path, folders)), config
        self.datasets = tuple(open_prepared(folder) for folder in self.folders)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker opens the files itself: the indexes may be large, and open files cannot be sent.
        return _reopened, (self.folders, self.config)

    def sample(self, index: int, seed: int) -> Sample:
        """Draws pair `index` of the training with `seed`, a pure function of both.

        Args:
          index: number of the pair, below 2**32.
          seed: at least 0.

        Returns:
          `template` and `search`, `uint8 [511, 511, 3]` BGR; `template_box` and `search_box`, `float32 [4]`, (left,
          top, right, bottom) in the crops, whose pixel centres are at integers; `negative` and `gray`, `bool []`;
          `index`, `uint32 []`. Grey pairs are only marked, for the device to make them grey.

        Raises:
          UserError: a record is damaged, or the index or the seed out of range.
        """
        if not 0 <= index < _LAST_INDEX or seed < 0:
            raise UserError(f"pair {index} of seed {seed}: the number must be in [0, 2**32) and the seed at least 0")
        template, search, negative, gray = self.choose(index, seed)
        return {
            **self._image("template", *template),
            **self._image("search", *search),
            "negative": np.bool_(negative),
            "gray": np.bool_(gray),
            "index": np.uint32(index),
        }

    def choose(self, index: int, seed: int) -> tuple["Choice", "Choice", bool, bool]:
        """What pair `index` consists of: (template, search, negative, gray), no image being read."""
        random = _generator(seed, _SAMPLE, index)
        gray, negative = (random.random(2) < (self.config.gray, self.config.negative)).tolist()
        dataset, video = self._indexed_video(index, seed)
        template_track = _one_of(random, self.datasets[dataset].index.tracks_of(video))
        records = self.datasets[dataset].index.records_of(template_track)
        template = _one_of(random, records)
        if negative:
            return (dataset, template_track, template), self._any_target(random), True, gray
        reach = self.config.use_of(self.datasets[dataset].index.dataset).frame_range
        near = range(max(template - reach, records.start), min(template + reach + 1, records.stop))
        search = _one_of(random, near)
        return (dataset, template_track, template), (dataset, template_track, search), False, gray

    def batches(
        self,
        *,
        seed: int,
        global_batch: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
        workers: int = 0,
    ) -> Generator[Sample, None, None]:
        """This process's part of the global batches from `start_step` on, decoded ahead.

        Position i of the global batch of step s is pair s * global_batch + i, for any number of processes and workers;
        process p has the p-th of `process_count` equal consecutive parts.

        Args:
          seed: see `sample`.
          global_batch: pairs in a step, of all processes together.
          start_step: the first step to return.
          process_index: number of this process.
          process_count: number of processes.
          workers: processes that decode; 0 decodes in threads of this one.

        Returns:
          An iterator of what `sample` returns, with a leading axis. Closing it (`close`) stops threads and workers.

        Raises:
          UserError: numbers that make no sense; while iterating, what `sample` raises, or that a worker was killed.
        """
        local = _local_batch(global_batch, process_index, process_count, workers)
        if start_step < 0 or seed < 0:
            raise UserError(f"start_step and seed must be at least 0, not {start_step} and {seed}")
        first = functools.partial(_index_of, global_batch, local, start_step, process_index)
        count = max(_LAST_INDEX // global_batch - start_step, 0) * local
        return _host_batches(functools.partial(_sample_at, self, seed, first), count, local, workers)

    def _image(self, name: str, dataset: int, track: int, record: int) -> Sample:
        prepared = self.datasets[dataset]
        return {name: prepared.crop(track, record), f"{name}_box": prepared.box(record)}

    def _indexed_video(self, index: int, seed: int) -> tuple[int, int]:
        sizes = tuple(len(prepared.index.videos) for prepared in self.datasets)
        uses = tuple(self.config.use_of(prepared.index.dataset).num_use for prepared in self.datasets)
        pool = _pool(sizes, uses, seed)
        repetition, position = divmod(index, len(pool))
        dataset, video = pool[_shuffled(len(pool), seed, repetition)[position]].tolist()
        return dataset, video

    def _any_target(self, random: np.random.Generator) -> "Choice":
        """A random frame of a random track of a random video of a random dataset, each uniformly."""
        dataset = _one_of(random, range(len(self.datasets)))
        index = self.datasets[dataset].index
        video = _one_of(random, range(len(index.videos)))
        track = _one_of(random, index.tracks_of(video))
        return dataset, track, _one_of(random, index.records_of(track))


def _reopened(folders: tuple[Path, ...], config: PairSampling) -> DiskPairs:
    if multiprocessing.parent_process() is not None:
        # Ctrl-C reaches all processes of a terminal, a cluster's SIGTERM all of a job. What is to be done, the one that
        # started the workers decides; Grain ends them by an event, or else by SIGKILL.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return DiskPairs(folders, config)


Choice = tuple[int, int, int]  # dataset, track, record


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *stream))))


def _one_of(random: np.random.Generator, numbers: range) -> int:
    return numbers[int(random.integers(len(numbers)))]


@functools.lru_cache(maxsize=2)
def _pool(sizes: tuple[int, ...], uses: tuple[int, ...], seed: int) -> np.ndarray:
    """`int64 [P, 2]`, (dataset, video) of the pool, not shuffled between the datasets."""
    parts = []
    for dataset, (size, use) in enumerate(zip(sizes, uses, strict=True)):
        wanted = size if use == ALL else use
        passes = np.tile(np.arange(size), (-(-wanted // size), 1))  # [passes, videos]
        videos = _generator(seed, _PASSES, dataset).permuted(passes, axis=1).ravel()[:wanted]
        parts.append(np.stack([np.full_like(videos, dataset), videos], axis=1))
    return np.concatenate(parts)


@functools.lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, repetition: int) -> np.ndarray:
    """The order of the pool in one of its repetitions, `int64 [count]`."""
    return _generator(seed, _REPETITION, repetition).permutation(count)


def _local_batch(global_batch: int, process_index: int, process_count: int, workers: int) -> int:
    """Number of pairs of a batch that one process makes."""
    if global_batch < 1 or workers < 0 or not 0 <= process_index < process_count:
        raise UserError(
            f"a batch of {global_batch} pairs for process {process_index} of {process_count} with {workers} workers: "
            "the batch must be at least 1, the workers at least 0, and processes are counted from 0"
        )
    if global_batch % process_count:
        fitting = process_count * max(global_batch // process_count, 1)
        raise UserError(
            f"a batch of {global_batch} does not divide over {process_count} processes: "
            f"{fitting} or {fitting + process_count} would"
        )
    return global_batch // process_count


def _index_of(global_batch: int, local: int, start_step: int, process_index: int, number: int) -> int:
    """Number of the pair that a process makes as its `number`-th."""
    step, position = divmod(number, local)
    return (start_step + step) * global_batch + process_index * local + position


def _sample_at(pairs: DiskPairs, seed: int, index_of: Callable[[int], int], number: int) -> Sample:
    return pairs.sample(index_of(number), seed)


def _host_batches(make: Callable[[int], Sample], count: int, size: int, workers: int) -> Generator[Sample, None, None]:
    """Stacks `size` of the samples `make(0)`, `make(1)`, …, which are made ahead by threads or by processes."""
    import grain  # takes two seconds, see `preparation.shards`

    # Single pairs are made ahead, not batches: a pair takes 1.6 MB.
    ahead = 2 * size
    samples = grain.MapDataset.range(count).map(make)
    if workers:
        _mark_flags_as_parsed()
        each = max(ahead // workers, 1)
        samples = samples.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
        samples = samples.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=each))
    else:
        samples = samples.to_iter_dataset(grain.ReadOptions(_THREADS, max(ahead, _THREADS)))
    iterator = iter(samples.batch(size))
    try:
        yield from iterator
    except RuntimeError as error:
        if _KILLED not in str(error):
            raise
        raise UserError(
            f"one of {workers} worker processes that decode images was killed, mostly for want of memory: start again "
            "with fewer workers; a training goes on from its last checkpoint, which is whole"
        ) from error
    finally:
        iterator.close()


def _mark_flags_as_parsed() -> None:
    """Grain's processes read absl's flags, which nobody parses in a program that is not absl's."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
