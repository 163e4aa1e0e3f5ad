"""Worker processes that decode pairs, and what becomes of them when they are told to end, or killed."""

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
import time

import pytest
from dataset_folders import prepared_got10k

from jaxtrack.data.pairs import DiskPairs
from jaxtrack.errors import UserError

WORKERS = 2


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return DiskPairs([prepared_got10k(tmp_path_factory.mktemp("pairs"), [2])])


@pytest.fixture
def begun(pairs):
    """Batches of which one has come, and their workers."""
    others = set(multiprocessing.active_children())
    with contextlib.closing(pairs.batches(seed=0, global_batch=2, workers=WORKERS)) as batches:
        next(batches)
        workers = set(multiprocessing.active_children()) - others
        assert len(workers) == WORKERS
        yield batches, workers


def test_workers_outlive_what_a_cluster_sends_to_all_and_end_with_the_batches(begun):
    batches, workers = begun
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
    for _ in range(8):  # more than was made ahead
        next(batches)
    assert all(worker.is_alive() for worker in workers)
    started = time.monotonic()
    batches.close()
    assert time.monotonic() - started < 20  # after 25 seconds Grain would have killed them
    assert not any(worker.is_alive() for worker in workers)


def test_a_worker_that_was_killed_is_told_in_a_sentence(begun):
    batches, workers = begun
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"one of 2 worker processes .* was killed, .* start again with fewer workers"):
        collections.deque(itertools.islice(batches, 20), maxlen=0)  # those that were made ahead come first
