import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.online import memory

ROW = {"value": jax.ShapeDtypeStruct((2,), jnp.float32), "overlap": jax.ShapeDtypeStruct((), jnp.bfloat16)}
write = jax.jit(memory.write)


def block(frame, count=3):
    """Samples that tell their frame."""
    return {
        "value": jnp.full((count, 2), frame, jnp.float32),
        "overlap": jnp.full((count,), frame / 8, jnp.float32),
    }


def fill(frames, capacity=7, count=3):
    store = memory.create(capacity, count, ROW)
    for frame in range(frames):
        store = write(store, block(frame, count), jnp.int32(frame))
    return store


def frames_of(store, valid):
    return sorted(np.asarray(store.frame)[np.asarray(valid)].tolist())


def test_an_empty_memory_has_no_valid_row():
    assert not memory.valid(memory.create(7, 3, ROW)).any()


def test_only_the_newest_rows_up_to_the_capacity_count():
    store = fill(5)
    valid = np.asarray(memory.valid(store))
    # Of frame 2 only the newest sample is within the capacity; frame 1 is in rows that do not count.
    assert frames_of(store, valid) == [2] + [3] * 3 + [4] * 3
    np.testing.assert_array_equal(np.asarray(store.rows["value"])[valid][:, 0], np.asarray(store.frame)[valid])
    overlap = memory.unpack(store.rows)["overlap"].astype(jnp.float32)
    np.testing.assert_array_equal(overlap[valid], np.asarray(store.frame)[valid] / 8)


def test_fewer_of_the_newest_rows_may_be_asked_for():
    store = fill(5)
    assert frames_of(store, memory.valid(store, 4)) == [3] + [4] * 3
    assert frames_of(fill(1), memory.valid(fill(1), 6)) == [0] * 3


def test_before_it_is_full_every_written_row_counts():
    assert int(memory.valid(fill(2)).sum()) == 6


def test_samples_are_kept_in_the_memorys_own_type_bfloat16_as_its_bits():
    rows = fill(2).rows
    assert (rows["value"].dtype, rows["overlap"].dtype) == (jnp.float32, jnp.uint16)
    assert int(rows["overlap"][3]) == 0x3E00  # 1/8: sign 0, exponent 127 - 3, no fraction
    assert memory.unpack(rows)["overlap"].dtype == jnp.bfloat16


def test_whole_numbers_that_would_be_taken_for_bits_are_refused():
    with pytest.raises(ValueError, match="cannot hold uint16"):
        memory.create(2, 1, jax.ShapeDtypeStruct((), jnp.uint16))


def test_rows_of_a_block_that_hold_no_sample_take_up_room_and_do_not_count():
    store = write(fill(2), block(2), jnp.asarray([2, -1, 2], jnp.int32))
    # The newest seven rows are the third block, the second, and one of the first.
    assert frames_of(store, memory.valid(store)) == [0, 1, 1, 1, 2, 2]


def test_rows_are_drawn_in_proportion_to_their_weights():
    weights = jnp.asarray([0.0, 1.0, 0.0, 3.0, 0.0])
    rows = np.asarray(memory.draw(jax.random.key(0), weights, 20_000))
    share = np.bincount(rows, minlength=5) / len(rows)
    # Four standard deviations of a binomial share.
    np.testing.assert_allclose(share, [0, 0.25, 0, 0.75, 0], atol=4 * np.sqrt(0.25 * 0.75 / 20_000))


def test_a_row_of_no_weight_is_never_drawn_even_at_the_ends():
    weights = jnp.zeros(1000).at[500].set(1e-30)
    assert set(np.asarray(memory.draw(jax.random.key(1), weights, 1000)).tolist()) == {500}


@pytest.mark.parametrize(("uniform", "row"), [(0.0, 2), (1.0, 3)])
def test_the_ends_of_the_range_fall_on_rows_that_have_weight(uniform, row, monkeypatch):
    # 1.0 stands for a number below 1 whose product with the total is rounded up to the total.
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, uniform, dtype))
    weights = jnp.asarray([0.0, 0.0, 1.0, 3.0, 0.0])
    assert memory.draw(jax.random.key(0), weights, 1).tolist() == [row]


def test_a_block_that_is_not_kept_does_not_count_and_is_written_over():
    store = fill(2)
    doubtful = write(store, block(8), jnp.int32(8), jnp.asarray(False))
    assert frames_of(doubtful, memory.valid(doubtful)) == [0] * 3 + [1] * 3
    after = write(doubtful, block(9), jnp.int32(9))
    assert frames_of(after, memory.valid(after)) == [0] + [1] * 3 + [9] * 3


def test_a_larger_block_that_is_not_kept_takes_the_room_of_what_it_covers():
    doubtful = write(fill(4), block(8, count=6), jnp.int32(8), jnp.asarray(False))
    # It covers frames 0 and 1, the newest sample of which still counted.
    assert frames_of(doubtful, memory.valid(doubtful)) == [2] * 3 + [3] * 3


def test_a_block_larger_than_the_memory_is_refused():
    with pytest.raises(ValueError, match="a memory of 12 rows cannot be written in blocks of 13"):
        memory.write(fill(0), block(0, count=13), jnp.int32(0))
