import dataclasses
import itertools
import multiprocessing
import pickle
import signal
from collections import Counter

import numpy as np
import pytest
from dataset_folders import prepared_got10k

from jaxtrack.data import pairs as module
from jaxtrack.data.pairs import DiskPairs, PairSampling, Use
from jaxtrack.data.preparation import index as indexing
from jaxtrack.errors import UserError

LONG = 16


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dataset of three videos of 16, 2 and 2 frames and another of one video of 2 frames."""
    first = prepared_got10k(tmp_path_factory.mktemp("first"), [LONG, 2, 2])
    return first, prepared_got10k(tmp_path_factory.mktemp("second"), [2], name="lasot")


def sampler(folders, **options):
    uses = (Use("got10k", 3, 6), Use("lasot", 100, 2))
    return DiskPairs(folders, PairSampling(**{"uses": uses, **options}))


@pytest.fixture(scope="module")
def pairs(folders):
    return sampler(folders)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


# --- the settings ----------------------------------------------------------------------------------------------------


def test_ranges_and_pools_are_those_of_the_published_training():
    config = PairSampling()
    expected = {"vid": (100, 100_000), "youtubebb": (3, 200_000), "coco": (1, 100_000), "det": (1, 200_000)}
    expected |= {"got10k": (100, 200_000), "lasot": (100, 200_000), "something else": (100, -1)}
    for name, numbers in expected.items():
        assert (config.use_of(name).frame_range, config.use_of(name).num_use) == numbers
    assert (config.negative, config.gray) == (0.2, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative": 1.5}, "negative of PairSampling must be at most 1, not 1.5"),
        ({"gray": -0.1}, "gray of PairSampling must be at least 0, not -0.1"),
        ({"uses": (Use("vid"), Use("vid", 3))}, "uses of PairSampling names vid twice"),
        ({"uses": (Use("vid", -1),)}, "vid needs a frame_range of at least 0 .* not -1 and -1"),
        ({"uses": (Use("vid", 1, 0),)}, "vid needs .* a num_use of at least 1, or -1 for all, not 1 and 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        PairSampling(**options)


def test_at_least_one_dataset_must_be_given():
    with pytest.raises(UserError, match="no prepared dataset was given"):
        DiskPairs([])


# --- the pool of videos ----------------------------------------------------------------------------------------------


def indexed(pairs, numbers, seed=0):
    """(dataset, video) of the templates of some pairs."""
    found = []
    for number in numbers:
        (dataset, track, _), *_ = pairs.choose(number, seed)
        video = int(np.searchsorted(pairs.datasets[dataset].index.video_tracks, track, side="right")) - 1
        found.append((dataset, video))
    return found


def test_a_repetition_of_the_pool_has_as_many_videos_of_each_dataset_as_are_used(folders):
    # 7 of 3 videos: two whole passes and one of a third; 2 of 1 video.
    pairs = sampler(folders, uses=(Use("got10k", 3, 7), Use("lasot", 3, 2)))
    repetitions = [indexed(pairs, range(9 * i, 9 * i + 9)) for i in range(3)]
    for repetition in repetitions:
        counts = Counter(repetition)
        assert counts[(1, 0)] == 2
        assert sorted(counts[(0, video)] for video in range(3)) == [2, 2, 3]
    # The pool is fixed, its order is not.
    assert Counter(repetitions[0]) == Counter(repetitions[1]) == Counter(repetitions[2])
    assert len({tuple(repetition) for repetition in repetitions}) == 3


def test_a_pool_smaller_than_the_dataset_is_the_same_videos_for_the_whole_training(folders):
    pairs = sampler(folders[:1], uses=(Use("got10k", 3, 2),))
    chosen = set(indexed(pairs, range(20)))
    assert len(chosen) == 2
    assert {frozenset(indexed(pairs, range(20), seed)) for seed in range(10)} != {frozenset(chosen)}


def test_by_default_every_video_is_used_once_a_repetition(folders):
    pairs = sampler(folders[:1], uses=())
    assert sorted(indexed(pairs, range(3))) == sorted(indexed(pairs, range(3, 6))) == [(0, 0), (0, 1), (0, 2)]


# --- the pairs -------------------------------------------------------------------------------------------------------


def test_the_search_frame_is_uniform_within_the_range_around_the_template(folders):
    pairs = sampler(folders[:1], negative=0.0, uses=(Use("got10k", 3, 1),))
    seed = next(seed for seed in range(99) if indexed(pairs, [0], seed) == [(0, 0)])  # the long video
    drawn = [pairs.choose(number, seed)[:2] for number in range(6000)]
    templates = Counter(template for (_, _, template), _ in drawn)
    assert set(templates) == set(range(LONG))
    for count in templates.values():
        assert count == pytest.approx(6000 / LONG, abs=5 * np.sqrt(6000 / LONG))
    for template in (0, 7, LONG - 1):
        searches = Counter(search for (_, _, t), (_, _, search) in drawn if t == template)
        possible = [frame for frame in range(template - 3, template + 4) if 0 <= frame < LONG]
        assert sorted(searches) == possible
        expected = templates[template] / len(possible)
        for count in searches.values():
            assert count == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_a_positive_pair_is_of_one_track(pairs):
    for number in range(300):
        template, search, negative, _ = pairs.choose(number, 1)
        assert negative or template[:2] == search[:2]


def test_a_fifth_of_the_pairs_is_negative_and_its_search_image_of_any_dataset_alike(pairs):
    drawn = [pairs.choose(number, 0) for number in range(5000)]
    negative = [search for _, search, negative, _ in drawn if negative]
    assert len(negative) / 5000 == pytest.approx(0.2, abs=5 * np.sqrt(0.2 * 0.8 / 5000))
    # Uniform over datasets, of three videos and of one, then over videos, then over frames.
    counts = Counter(dataset for dataset, _, _ in negative)
    assert counts[1] / len(negative) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(len(negative)))
    videos = Counter(track for dataset, track, _ in negative if dataset == 0)
    for count in videos.values():
        assert count == pytest.approx(counts[0] / 3, abs=5 * np.sqrt(counts[0] / 3))
    # The templates are the pool's: 6 of the first dataset and 2 of the second.
    templates = Counter(dataset for (dataset, _, _), _, negative, _ in drawn if negative)
    assert templates[1] / len(negative) == pytest.approx(0.25, abs=5 * 0.44 / np.sqrt(len(negative)))


def test_grey_is_drawn_apart_from_negative_and_never_by_default(folders, pairs):
    assert not any(pairs.choose(number, 0)[3] for number in range(100))
    grey = sampler(folders, gray=0.3)
    drawn = [grey.choose(number, 0)[2:] for number in range(2000)]
    counts = Counter(drawn)
    for (negative, gray), share in zip(
        itertools.product((True, False), repeat=2), (0.06, 0.14, 0.24, 0.56), strict=True
    ):
        assert counts[(negative, gray)] / 2000 == pytest.approx(share, abs=5 * np.sqrt(share / 2000))


def test_a_sample_is_two_crops_with_their_boxes(pairs):
    number = next(number for number in range(99) if pairs.choose(number, 0)[2])
    sample = pairs.sample(number, 0)
    template, search, _, _ = pairs.choose(number, 0)
    for name, (dataset, track, record) in (("template", template), ("search", search)):
        prepared = pairs.datasets[dataset]
        np.testing.assert_array_equal(sample[name], prepared.crop(track, record))
        np.testing.assert_array_equal(sample[f"{name}_box"], prepared.box(record))
    assert (sample["negative"], sample["gray"], sample["index"]) == (True, False, number)
    kinds = {name: (value.shape, str(value.dtype)) for name, value in sample.items()}
    image, box = ((511, 511, 3), "uint8"), ((4,), "float32")
    flag, number = ((), "bool"), ((), "uint32")
    images = {"template": image, "search": image, "template_box": box, "search_box": box}
    assert kinds == images | {"negative": flag, "gray": flag, "index": number}


def test_a_pair_does_not_depend_on_what_was_drawn_before(pairs, folders):
    first = pairs.sample(7, 3)
    for number in (1000, 2):
        pairs.sample(number, 4)
    assert_same(pairs.sample(7, 3), first)
    module._pool.cache_clear()
    module._shuffled.cache_clear()
    assert_same(sampler(folders).sample(7, 3), first)
    assert_same(pickle.loads(pickle.dumps(pairs)).sample(7, 3), first)


def test_seeds_and_numbers_give_different_pairs(pairs):
    drawn = {pairs.choose(number, seed) for number in range(20) for seed in range(5)}
    assert len(drawn) > 40


@pytest.mark.parametrize(("index", "seed"), [(-1, 0), (2**32, 0), (0, -1)])
def test_numbers_out_of_range_are_refused(pairs, index, seed):
    with pytest.raises(UserError, match=rf"pair {index} of seed {seed}: the number must be in \[0, 2\*\*32\)"):
        pairs.sample(index, seed)


# --- batches ---------------------------------------------------------------------------------------------------------


def taken(pairs, count, **options):
    batches = pairs.batches(**{"seed": 5, "global_batch": 4, **options})
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


@pytest.fixture(scope="module")
def first_batches(pairs):
    return taken(pairs, 3)


def test_position_i_of_step_s_is_pair_s_times_the_batch_plus_i(pairs, first_batches):
    assert [batch["index"].tolist() for batch in first_batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for i in range(4):
        assert_same({name: value[i] for name, value in first_batches[2].items()}, pairs.sample(8 + i, 5))


def test_batches_begin_at_any_step(pairs, first_batches):
    [batch] = taken(pairs, 1, start_step=2)
    assert_same(batch, first_batches[2])


def test_the_parts_of_two_processes_make_the_batch_of_one(pairs, first_batches):
    parts = [taken(pairs, 3, process_index=process, process_count=2) for process in range(2)]
    for first, second, whole in zip(*parts, first_batches, strict=True):
        assert_same({name: np.concatenate([first[name], second[name]]) for name in whole}, whole)


def test_worker_processes_make_the_same_batches(pairs, first_batches):
    for found, expected in zip(taken(pairs, 3, workers=2), first_batches, strict=True):
        assert_same(found, expected)


def test_the_last_batch_is_the_last_whole_one_below_two_to_the_32(pairs):
    [last] = taken(pairs, 2, start_step=2**30 - 1)
    assert last["index"].tolist() == [2**32 - 4, 2**32 - 3, 2**32 - 2, 2**32 - 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_batch": 6, "process_count": 4}, "6 does not divide over 4 processes: 4 or 8 would"),
        ({"global_batch": 2, "process_count": 4}, "2 does not divide over 4 processes: 4 or 8 would"),
        ({"global_batch": 0}, "a batch of 0 pairs for process 0 of 1"),
        ({"process_index": 1}, "process 1 of 1 .* processes are counted from 0"),
        ({"workers": -1}, "with -1 workers"),
        ({"start_step": -1}, "start_step and seed must be at least 0, not -1 and 5"),
        ({"seed": -1}, "start_step and seed must be at least 0, not 0 and -1"),
    ],
)
def test_batches_that_make_no_sense_are_refused_at_once(pairs, options, message):
    with pytest.raises(UserError, match=message):
        pairs.batches(**{"seed": 5, "global_batch": 4, **options})


@pytest.mark.parametrize("workers", [0, 1])
def test_a_record_that_cannot_be_used_stops_the_batches_with_a_sentence(tmp_path, workers):
    folder = prepared_got10k(tmp_path, [1])
    index = indexing.load(folder / "index.npz")
    indexing.save(folder / "index.npz", dataclasses.replace(index, frames=index.frames + 5))
    with pytest.raises(UserError, match=r"^record 0 of .* where the index has frame 5 of track 00 of GOT-10k_Train_0"):
        taken(DiskPairs([folder]), 1, workers=workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_to_the_process_that_started_them(folders, monkeypatch, number):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        pickle.loads(pickle.dumps(sampler(folders)))
        assert signal.getsignal(number) is before[number]
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: "somebody")
        pickle.loads(pickle.dumps(sampler(folders)))
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
