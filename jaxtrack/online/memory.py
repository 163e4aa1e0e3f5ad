"""A memory of training samples at fixed shape: a ring buffer, written in blocks, the oldest overwritten first."""

import dataclasses
import math

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Memory:
    """Samples of the newest frames.

    Attributes:
      samples: `float32 [R, ...]`, the patches. R is the capacity rounded up to whole blocks, and one block more.
      frame: `int32 [R]`, the frame of each sample, -1 where the row was never written.
      overlap: `float32 [R]`, IoU of the sample's box and the target's box in its frame.
      quality: `float32 [R]`, the probability that the sample's label is right.
      cursor: `int32 []`, the next row to write.
      capacity: how many of the newest rows count (static).
    """

    samples: jax.Array
    frame: jax.Array
    overlap: jax.Array
    quality: jax.Array
    cursor: jax.Array
    capacity: int = flax.struct.field(pytree_node=False)


def create(capacity: int, block: int, shape: tuple[int, ...]) -> Memory:
    """An empty memory of `capacity` samples of a shape, that is written `block` samples at a time."""
    # One block more than the capacity needs: a block that is then not kept overwrites none that counts.
    rows = (math.ceil(capacity / block) + 1) * block
    return Memory(
        samples=jnp.zeros((rows, *shape), jnp.float32),
        frame=jnp.full((rows,), -1, jnp.int32),
        overlap=jnp.zeros((rows,), jnp.float32),
        quality=jnp.zeros((rows,), jnp.float32),
        cursor=jnp.zeros((), jnp.int32),
        capacity=capacity,
    )


def write(
    memory: Memory,
    samples: jax.Array,
    frame: jax.Array,
    overlap: jax.Array,
    quality: jax.Array,
    keep: jax.Array | bool = True,
) -> Memory:
    """Writes one block over the oldest rows.

    Args:
      memory: the memory; a block may not reach beyond its last row, so blocks of several sizes must fit together.
      samples: `float32 [block, ...]`.
      frame: `int32 []`, the frame they come from.
      overlap: `float32 [block]`.
      quality: `float32 []`, shared by the block.
      keep: `bool []`; where false the block does not count, and the next one is written over it. To choose between two
        memories would cost a copy of them.
    """
    rows, block = len(memory.frame), len(samples)
    if block > rows:
        raise ValueError(f"a memory of {rows} rows cannot be written in blocks of {block}")

    def put(store: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(store, new, memory.cursor, axis=0)

    return dataclasses.replace(
        memory,
        samples=put(memory.samples, samples),
        frame=put(memory.frame, jnp.broadcast_to(jnp.where(keep, frame, -1), (block,))),
        overlap=put(memory.overlap, overlap),
        quality=put(memory.quality, jnp.broadcast_to(quality, (block,))),
        cursor=jnp.where(keep, (memory.cursor + block) % rows, memory.cursor),
    )


def valid(memory: Memory) -> jax.Array:
    """`bool [R]`: rows that were written and are among the newest `capacity`."""
    rows = len(memory.frame)
    age = (memory.cursor - 1 - jnp.arange(rows, dtype=jnp.int32)) % rows  # in samples; the newest is 0
    return (memory.frame >= 0) & (age < memory.capacity)


def draw(key: jax.Array, weights: jax.Array, count: int) -> jax.Array:
    """Draws rows with replacement, with probability proportional to their weights.

    By inversion of the cumulative sum: `jax.random.categorical` would draw a Gumbel variable for every row.

    Args:
      key: a typed random key.
      weights: `float32 [R]`, not negative, at least one positive.
      count: how many to draw.

    Returns:
      `int32 [count]`.
    """
    total = jnp.cumsum(weights)
    uniform = jax.random.uniform(key, (count,), jnp.float32) * total[-1]
    # Rounding may put a draw on the very end; no row after the last positive one may be returned.
    last = jnp.searchsorted(total, total[-1], side="left")
    return jnp.minimum(jnp.searchsorted(total, uniform, side="right"), last).astype(jnp.int32)
