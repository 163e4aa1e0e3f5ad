import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.online import frame_memory
from jaxtrack.online.frame_memory import Pool, Samples

FIRST, BLOCK, LONG, SHORT = 5, 3, 100, 20


def samples(frame, count=BLOCK):
    """Samples that tell their frame and their place in it."""
    place = np.arange(count, dtype=np.float32)
    return Samples(
        features=jnp.asarray(np.stack([np.full(count, frame, np.float32), place], axis=-1)),
        overlap=jnp.asarray(place / 8),
        location=jnp.asarray(np.stack([np.full(count, frame / 256, np.float32), place, place, place], axis=-1)),
    )


def row(shape, dtype=jnp.float32):
    """Shape and type of one sample, its features of this shape and type."""
    like = jax.ShapeDtypeStruct
    return Samples(like(shape, dtype), like((), jnp.float32), like((4,), jnp.float32))


def found(frame, count=BLOCK):
    """Which samples of a frame there are: not all of every seventh frame."""
    return np.arange(count) >= (frame % 7 == 0)


def succeeds(frame):
    return frame % 5 != 3 and not 40 <= frame < 50


@functools.partial(jax.jit, donate_argnums=0)
def write(memory, frame, valid, keep):
    rows = Samples(
        features=jnp.stack([jnp.full((BLOCK,), frame, jnp.float32), jnp.arange(3.0)], axis=-1),
        overlap=jnp.arange(3.0) / 8,
        location=jnp.stack([jnp.full((BLOCK,), frame / 256, jnp.float32), *[jnp.arange(3.0)] * 3], axis=-1),
    )
    return frame_memory.write(memory, rows, valid, frame, keep)


def empty(first=True, dtype=jnp.float32):
    block = (samples(0, FIRST), jnp.asarray(found(0, FIRST))) if first else (None, None)
    return frame_memory.create(LONG, BLOCK, row((2,), dtype), *block)


def after(frames, first=True, dtype=jnp.float32):
    """The memory after a video, and what a plain list of its successful frames holds."""
    memory = empty(first, dtype)
    entries = [(0, [i for i in range(FIRST) if found(0, FIRST)[i]])] if first else []
    for frame in range(1, frames):
        memory = write(memory, jnp.int32(frame), jnp.asarray(found(frame)), jnp.asarray(succeeds(frame)))
        if succeeds(frame):
            entries.append((frame, [i for i in range(BLOCK) if found(frame)[i]]))
    return memory, entries


def contents(pool):
    """(frame, place) of every row that may be drawn, sorted."""
    rows = frame_memory.take(pool, jnp.flatnonzero(pool.valid))
    np.testing.assert_allclose(rows.location[:, 0] * 256, rows.features[:, 0])
    np.testing.assert_allclose(rows.overlap * 8, rows.features[:, 1])
    return sorted((int(a), int(b)) for a, b in np.asarray(rows.features.astype(jnp.float32)).tolist())


def flat(entries):
    return sorted((frame, place) for frame, places in entries for place in places)


@pytest.mark.parametrize("frames", [1, 15, 26, 60, 150])
@pytest.mark.parametrize("first", [True, False])
def test_it_holds_what_a_plain_list_holds_after_frames_with_failures(frames, first):
    memory, entries = after(frames, first)
    assert contents(frame_memory.pool(memory)) == flat(entries[-LONG:])
    assert contents(frame_memory.pool(memory, SHORT)) == flat(entries[-SHORT:])
    assert contents(frame_memory.pool(memory, 2 * LONG)) == flat(entries[-LONG:])


def test_the_first_frame_leaves_once_a_hundred_newer_frames_succeeded():
    memory = empty()
    always = jnp.ones((BLOCK,), bool)
    for frame in range(1, 101):
        assert bool(frame_memory.pool(memory).valid[1:FIRST].all())
        assert bool(frame_memory.pool(memory, SHORT).valid[1:FIRST].all()) == (frame <= SHORT)
        memory = write(memory, jnp.int32(2 * frame - 1), always, jnp.asarray(True))
        memory = write(memory, jnp.int32(2 * frame), always, jnp.asarray(False))
    assert not frame_memory.pool(memory).valid[:FIRST].any()
    assert int(frame_memory.pool(memory).valid.sum()) == LONG * BLOCK


def test_it_is_written_in_place_whether_a_frame_is_kept_or_not():
    wider = row((8,), jnp.bfloat16)
    memory = jax.eval_shape(lambda: frame_memory.create(LONG, BLOCK, wider, samples(0), jnp.ones((BLOCK,), bool)))
    arguments = (samples(0), jax.ShapeDtypeStruct((BLOCK,), bool), jax.ShapeDtypeStruct((), jnp.int32))
    keep = jax.ShapeDtypeStruct((), bool)
    wide = arguments[0]._replace(features=jnp.zeros((BLOCK, 8), jnp.bfloat16))
    compiled = jax.jit(frame_memory.write, donate_argnums=0).lower(memory, wide, *arguments[1:], keep).compile()
    used = compiled.memory_analysis()
    held = (LONG + 1) * BLOCK * (8 * 2 + 4 + 4 * 4 + 4)
    assert used.alias_size_in_bytes >= held
    assert used.temp_size_in_bytes < held / 10


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_features_may_be_halved_in_memory(dtype):
    memory, entries = after(30, dtype=dtype)
    pool = frame_memory.pool(memory)
    assert {part.features.dtype.itemsize for part in pool.parts} == {2}
    rows = frame_memory.take(pool, jnp.arange(2, dtype=jnp.int32))
    assert (rows.features.dtype, rows.location.dtype) == (dtype, jnp.float32)
    assert contents(pool) == flat(entries)


def test_samples_that_are_in_no_memory_make_a_pool_too():
    rows = samples(7)._replace(features=jnp.full((BLOCK, 2), 7, jnp.bfloat16))
    pool = frame_memory.pool_of(rows, jnp.ones((BLOCK,), bool))
    taken = frame_memory.take(pool, jnp.asarray([2, 0], jnp.int32))
    assert taken.features.dtype == jnp.bfloat16
    np.testing.assert_array_equal(taken.features.astype(jnp.float32), np.full((2, 2), 7))
    np.testing.assert_array_equal(taken.overlap, [0.25, 0])


def test_rows_are_taken_from_every_part():
    parts = (jnp.asarray([10.0, 11.0]), jnp.asarray([20.0, 21.0, 22.0]), jnp.asarray([30.0]))
    rows = frame_memory.take(Pool(parts, jnp.ones((6,), bool)), jnp.asarray([5, 0, 1, 2, 4, 3, 0], jnp.int32))
    np.testing.assert_array_equal(rows, [30, 10, 11, 20, 22, 21, 10])


def test_memories_of_many_lanes_are_written_each_for_itself():
    memories = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), empty())
    keep = jnp.asarray([True, False])
    step = jax.jit(jax.vmap(frame_memory.write, in_axes=(0, None, None, None, 0)))
    memories = step(memories, samples(1), jnp.ones((BLOCK,), bool), jnp.int32(1), keep)
    np.testing.assert_array_equal(memories.written, [1, 0])
    valid = jax.jit(jax.vmap(lambda memory: frame_memory.pool(memory).valid))(memories)
    np.testing.assert_array_equal(valid.sum(axis=1), [FIRST - 1 + BLOCK, FIRST - 1])


def test_wrong_blocks_are_refused_in_words():
    with pytest.raises(ValueError, match="a memory of 3 samples a frame cannot take 2"):
        frame_memory.write(empty(), samples(1, 2), jnp.ones((2,), bool), jnp.int32(1))
    with pytest.raises(ValueError, match="give both or neither"):
        frame_memory.create(2, BLOCK, row((2,)), samples(0))
