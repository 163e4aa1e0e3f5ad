import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.online import memory


def block(value, count=3):
    return jnp.full((count, 2), value, jnp.float32)


def fill(frames, capacity=7, count=3):
    store = memory.create(capacity, count, (2,))
    write = jax.jit(memory.write)
    for frame in range(frames):
        overlap = jnp.full((count,), frame / 10, jnp.float32)
        store = write(store, block(frame, count), jnp.int32(frame), overlap, jnp.float32(1))
    return store


def test_an_empty_memory_has_no_valid_row():
    assert not memory.valid(memory.create(7, 3, (2,))).any()


def test_only_the_newest_rows_up_to_the_capacity_count():
    store = fill(5)
    valid = np.asarray(memory.valid(store))
    assert valid.sum() == 7
    # Frames 2, 3, 4 lie in the 9 rows; of the oldest one only its newest sample is within the capacity.
    frames, counts = np.unique(np.asarray(store.frame)[valid], return_counts=True)
    assert dict(zip(frames.tolist(), counts.tolist(), strict=True)) == {2: 1, 3: 3, 4: 3}
    np.testing.assert_array_equal(np.asarray(store.samples)[valid][:, 0], np.asarray(store.frame)[valid])
    np.testing.assert_allclose(np.asarray(store.overlap), np.asarray(store.frame) / 10, atol=1e-6)


def test_before_it_is_full_every_written_row_counts():
    assert int(memory.valid(fill(2)).sum()) == 6


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
    overlap, one = jnp.zeros(3), jnp.float32(1)
    doubtful = memory.write(store, block(8), jnp.int32(8), overlap, one, keep=jnp.asarray(False))
    assert 8 not in np.asarray(doubtful.frame)[np.asarray(memory.valid(doubtful))]
    after = memory.write(doubtful, block(9), jnp.int32(9), overlap, one)
    frames = np.asarray(after.frame)[np.asarray(memory.valid(after))]
    assert sorted(frames) == [0] * 1 + [1] * 3 + [9] * 3
