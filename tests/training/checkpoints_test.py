"""Checkpoints: what is kept, what comes back, what is refused. That kills do no harm is tested with the loop."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.training.checkpoints import Checkpoints
from jaxtrack.training.optimiser import Optimiser, Stage, Updates
from jaxtrack.training.task import TrainState

PARAMS = {"backbone": {"stage1": jnp.arange(6.0).reshape(2, 3)}, "head": {"w": jnp.asarray([1.0, -2.0])}}


def state_at(step, *, width=2, **fields):
    """A state whose every array tells of its step; the optimiser, of these fields, has seen a gradient."""
    updates = Updates(Optimiser(**fields), Stage("whole", 0, ("stage1",)), 20, 10)
    params = jax.tree.map(lambda leaf: leaf + step, PARAMS)
    params["head"]["w"] = jnp.full(width, 0.5 + step)
    _, optimiser = updates.apply(params, jax.tree.map(lambda leaf: leaf - 3, params), updates.init(params))
    stats = {"head": {"mean": jnp.asarray([1 / 3 + step])}}
    return TrainState(jnp.int32(step), params, stats, optimiser, jax.random.fold_in(jax.random.key(5), step))


@pytest.fixture
def opened(tmp_path):
    """Opens the folder, as often as wanted; what is open in the end is closed."""
    with contextlib.ExitStack() as stack:

        def again(**options):
            return stack.enter_context(contextlib.closing(Checkpoints(tmp_path / "kept", **{"keep": 2, **options})))

        yield again


def saved(checkpoints, steps, metrics=None):
    for step in steps:
        checkpoints.save(state_at(step), "whole", metrics and {"iou": metrics[step]})
    checkpoints.wait()
    return checkpoints.steps


def assert_same_state(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


# --- what is kept --------------------------------------------------------------------------------------------------


def test_the_newest_few_are_kept(opened, tmp_path):
    checkpoints = opened()
    assert checkpoints.steps == []
    assert saved(checkpoints, [1, 2, 3, 4, 5]) == [4, 5]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["4", "5"]
    assert opened(keep=3).steps == [4, 5]


def test_the_best_by_a_metric_is_kept_besides(opened):
    metrics = {1: 0.1, 2: 0.7, 3: 0.4, 4: 0.2, 5: 0.3}
    assert saved(opened(best="iou"), metrics, metrics) == [2, 4, 5]


def test_the_best_of_before_a_resume_stays_until_a_better_one_comes(opened):
    saved(opened(best="iou"), [1, 2, 3], {1: 0.7, 2: 0.1, 3: 0.2})
    resumed = opened(best="iou")
    assert saved(resumed, [4], {4: 0.3}) == [1, 3, 4]
    assert saved(resumed, [5, 6, 7], {5: 0.8, 6: 0.1, 7: 0.1}) == [5, 6, 7]


def test_a_metric_that_is_no_number_is_never_the_best(opened):
    nan = float("nan")
    assert saved(opened(best="iou"), [1, 2, 3, 4], {1: nan, 2: 0.1, 3: nan, 4: nan}) == [2, 3, 4]
    assert saved(opened(best="iou"), [5, 6], {5: nan, 6: nan}) == [2, 5, 6]


def test_some_steps_are_kept_whatever_comes_after_them(opened):
    assert saved(opened(keep=1, always={2, 4, 10}), [1, 2, 3, 4, 5, 6]) == [2, 4, 6]


def test_the_same_step_is_written_anew(opened):
    checkpoints = opened()
    saved(checkpoints, [3])
    other = state_at(3).replace(params=jax.tree.map(lambda leaf: leaf * 2, state_at(3).params))
    checkpoints.save(other, "whole")
    checkpoints.wait()
    assert_same_state(checkpoints.load(3, other), other)


def test_a_checkpoint_is_found_by_its_step_or_as_the_best(opened):
    checkpoints = opened(keep=None, best="iou")
    saved(checkpoints, [1, 2, 3, 4], {1: float("nan"), 2: 0.7, 3: 0.1, 4: 0.3})
    assert [checkpoints.find(which) for which in ("1", "3", "best")] == [1, 3, 2]
    for which in ("5", "worst", "-1"):
        with pytest.raises(UserError, match=rf"kept has no checkpoint {which}: there are 1, 2, 3, 4"):
            checkpoints.find(which)


def test_without_validation_there_is_no_best(opened):
    checkpoints = opened()
    saved(checkpoints, [1])
    with pytest.raises(UserError, match="has no checkpoint best: there are 1"):
        checkpoints.find("best")


# --- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"method": "sgd"}, {"method": "adamw"}, {"accumulate": 2}])
def test_every_array_the_optimisers_and_the_typed_key_come_back(opened, fields):
    """Also in the middle of an accumulation."""
    state = state_at(4, **fields)
    checkpoints = opened()
    checkpoints.save(state, "whole")
    checkpoints.close()
    found = opened().load(4, jax.eval_shape(lambda: state_at(0, **fields)))
    assert_same_state(found, state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
    # The optimiser has something to lose.
    assert any(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(state.optimiser))


def test_a_checkpoint_names_its_stage(opened):
    checkpoints = opened()
    checkpoints.save(state_at(1), "frozen")
    checkpoints.save(state_at(2), "whole")
    checkpoints.wait()
    again = opened()
    assert [again.stage(step) for step in (1, 2)] == ["frozen", "whole"]


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3])
def test_another_shape_is_refused_in_words(opened, width):
    checkpoints = opened()
    saved(checkpoints, [7])
    shapes = rf"\['head'\]\['w'\] has the shape \[2\], not \[{width}\]"
    with pytest.raises(UserError, match=rf"kept: checkpoint 7 is of another network: .*{shapes}: train in another"):
        checkpoints.load(7, state_at(0, width=width))


def test_another_optimiser_is_refused_in_words(opened):
    checkpoints = opened()
    saved(checkpoints, [7])
    with pytest.raises(UserError, match=r"kept/7 is damaged, or of another network or optimiser: .* train in another"):
        checkpoints.load(7, state_at(0, method="adamw"))


def test_a_folder_that_cannot_be_written_is_named(opened, tmp_path, monkeypatch):
    checkpoints = opened()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._orbax, "save_async", full)
        with pytest.raises(UserError, match=r"kept: checkpoint 1 could not be written \(.*No space left on device"):
            checkpoints.save(state_at(1), "whole")
    assert saved(checkpoints, [1]) == [1]


def test_ctrl_c_waits_until_a_checkpoint_is_whole(opened, monkeypatch):
    checkpoints = opened()
    for name in ("save_async", "wait"):
        slow = getattr(checkpoints._orbax, name)

        def interrupted(*args, slow=slow, **named):
            os.kill(os.getpid(), signal.SIGINT)
            return slow(*args, **named)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints._orbax, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                saved(checkpoints, [1])
        checkpoints.wait()
        assert_same_state(checkpoints.load(1, state_at(0)), state_at(1))


def test_ctrl_c_while_closing_waits_too(opened, monkeypatch):
    checkpoints = opened()
    checkpoints.save(state_at(1), "whole")
    close, closed = checkpoints._orbax.close, []

    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        closed.append(close())

    monkeypatch.setattr(checkpoints._orbax, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.close()
    assert len(closed) == 1
    monkeypatch.setattr(checkpoints._orbax, "close", lambda: None)
    assert opened().steps == [1]


def test_a_flipped_byte_in_the_numbers_is_noticed(opened, tmp_path):
    checkpoints = opened()
    state = state_at(1)
    noise = jax.random.normal(jax.random.key(0), (200, 200))  # large and of no pattern: it is stored as it is
    checkpoints.save(state.replace(params={**state.params, "head": {"w": noise}}), "whole")
    checkpoints.wait()
    largest = largest_file(tmp_path / "kept")
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(bytes(content))
    with pytest.raises(UserError, match="kept/1 is damaged: its numbers are not those that were saved"):
        opened().load(1, state.replace(params={**state.params, "head": {"w": jnp.zeros((200, 200))}}))


LOADS = """
import gc, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from jaxtrack.errors import UserError
from jaxtrack.training.checkpoints import Checkpoints
import checkpoints_test
try:
    Checkpoints(Path("kept"), keep=2).load(1, checkpoints_test.many_arrays())
except UserError as error:
    print(error)
gc.collect()  # tasks that were left behind complain when they are collected, reads when they end
time.sleep(0.5)
"""


def many_arrays():
    noise = np.random.default_rng(0).standard_normal((80, 50, 50), np.float32)
    return TrainState(jnp.int32(1), {f"w{i}": w for i, w in enumerate(noise)}, {}, {}, jax.random.key(0))


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("lost", ["most of the numbers", "_CHECKPOINT_METADATA", "state/manifest.ocdbt"])
def test_a_damaged_checkpoint_is_one_sentence_and_nothing_beside_it(opened, tmp_path, lost):
    checkpoints = opened()
    checkpoints.save(many_arrays(), "whole")
    checkpoints.wait()
    checkpoint = tmp_path / "kept" / "1"
    if lost == "most of the numbers":
        os.truncate(largest_file(checkpoint), 1)
    else:
        (checkpoint / lost).unlink()
    done = subprocess.run(
        [sys.executable, "-c", LOADS.format(tests=str(Path(__file__).parent))],
        cwd=tmp_path,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": ""},  # which may have warnings of its own
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(f"the checkpoint {checkpoint} is damaged[^\n]*: delete it[^\n]*\n", done.stdout)
    assert done.stderr == ""


# --- damaged files, and files of others ----------------------------------------------------------------------------


def test_only_who_is_told_to_deletes_what_is_half_written(opened, tmp_path):
    """Another process may be writing it."""
    saved(opened(), [1])
    half = tmp_path / "kept" / "2.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "state").write_bytes(b"")
    assert opened(keep=None).steps == [1]
    assert (half / "state").is_file()
    again = opened(clean=True)
    assert saved(again, [3]) == [1, 3]
    assert not half.exists()


@pytest.mark.parametrize("content", [b"", b'{"iou": ', b"[0.5]", b'{"auc": 0.5}', b'{"iou": "high"}', b"\xff"])
def test_damaged_metrics_are_named_and_can_be_done_without(opened, tmp_path, content):
    saved(opened(best="iou"), [1, 2], {1: 0.5, 2: 0.25})
    damaged = tmp_path / "kept" / "1" / "metrics" / "metrics"
    damaged.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"{damaged} is damaged: delete it, and its checkpoint is one that was not val"
    ):
        opened(best="iou")
    assert damaged.read_bytes() == content
    damaged.unlink()
    checkpoints = opened(best="iou")
    assert checkpoints.find("best") == 2
    assert [checkpoints.unmeasured(step) for step in (1, 2, 3)] == [True, False, False]
    assert_same_state(checkpoints.load(1, state_at(0)), state_at(1))


NO_NUMBER, NO_OBJECT = b'{"init_timestamp_nsecs": "noon"}', b'{"custom_metadata": 5}'


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b"[]", b"\xff", NO_NUMBER, NO_OBJECT])
def test_a_checkpoint_without_what_is_noted_beside_it_is_named(opened, tmp_path, content, capfd):
    saved(opened(), [1, 2])
    capfd.readouterr()
    noted = tmp_path / "kept" / "1" / "_CHECKPOINT_METADATA"
    noted.unlink()
    if content is not None:
        noted.write_bytes(content)
    for use in (lambda: opened().stage(1), lambda: opened().load(1, state_at(0))):
        with pytest.raises(UserError) as refused:
            use()
        assert str(refused.value) == (
            f"the checkpoint {tmp_path / 'kept' / '1'} is damaged: its _CHECKPOINT_METADATA is missing or not what was "
            "saved: delete it to resume from another one, or train in another folder"
        )
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "kept" / "1" / "state").is_dir()


def test_a_validation_that_was_made_later_counts(opened, tmp_path):
    checkpoints = opened(best="iou")
    saved(checkpoints, [1, 2], {1: 0.5, 2: 0.25})
    saved(checkpoints, [3])
    assert [checkpoints.unmeasured(step) for step in (2, 3, 4)] == [False, True, False]
    checkpoints.add_metrics(3, {"iou": 0.7, "rank": float("nan")})
    for found in (checkpoints, opened(best="iou")):
        assert not found.unmeasured(3)
        assert found.find("best") == 3
        assert_same_state(found.load(3, state_at(0)), state_at(3))
    assert saved(checkpoints, [4, 5, 6], {4: 0.1, 5: 0.2, 6: 0.3}) == [3, 5, 6]
