"""A memory of training samples at fixed shape: a ring buffer, written in blocks, the oldest overwritten first."""

import dataclasses
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Memory:
    """Samples of the newest frames.

    Attributes:
      rows: what is remembered of each sample, any tree of arrays `[R, ...]`, packed (see `pack`). R is the capacity
        rounded up to whole blocks, and one block more.
      frame: `int32 [R]`, the frame of each sample, -1 where the row holds none.
      cursor: `int32 []`, the next row to write.
      capacity: how many of the newest rows count (static).
    """

    rows: Any
    frame: jax.Array
    cursor: jax.Array
    capacity: int = flax.struct.field(pytree_node=False)


def pack(tree: Any) -> Any:
    """The tree with bfloat16 arrays as their bits, `uint16`.

    To read a few rows of a bfloat16 array XLA's CPU compiler first converts all of it to float32, in every call of the
    program, even for a loop that then does not run once. It leaves other types alone, float16 among them.
    """

    def bits(leaf: jax.Array) -> jax.Array:
        return jax.lax.bitcast_convert_type(leaf, jnp.uint16) if leaf.dtype == jnp.bfloat16 else leaf

    return jax.tree.map(bits, tree)


def unpack(tree: Any) -> Any:
    """Undoes `pack`, after rows have been taken."""

    def numbers(leaf: jax.Array) -> jax.Array:
        return jax.lax.bitcast_convert_type(leaf, jnp.bfloat16) if leaf.dtype == jnp.uint16 else leaf

    return jax.tree.map(numbers, tree)


def create(capacity: int, block: int, row: Any) -> Memory:
    """An empty memory.

    Args:
      capacity: how many samples count.
      block: how many samples are written at a time.
      row: shape and type of one sample, a tree of `jax.ShapeDtypeStruct`; the types are those in the memory.
    """
    if any(leaf.dtype == jnp.uint16 for leaf in jax.tree.leaves(row)):
        raise ValueError("a memory cannot hold uint16, which stands for the bits of bfloat16 in it")
    # One block more than the capacity needs: a block that is then not kept overwrites none that counts.
    rows = (math.ceil(capacity / block) + 1) * block
    return Memory(
        rows=jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), _packed(leaf.dtype)), row),
        frame=jnp.full((rows,), -1, jnp.int32),
        cursor=jnp.zeros((), jnp.int32),
        capacity=capacity,
    )


def write(memory: Memory, rows: Any, frame: jax.Array, keep: jax.Array | bool = True) -> Memory:
    """Writes one block over the oldest rows.

    Args:
      memory: the memory; a block may not reach beyond its last row, so blocks of several sizes must fit together.
      rows: the samples, the memory's tree with arrays `[block, ...]`, not packed; they are converted to its types.
      frame: `int32 []`, the frame they come from, or `int32 [block]`, with -1 for rows that take up room and do not
        count.
      keep: `bool []`; where false the block does not count, and the next one is written over it. To choose between two
        memories would cost a copy of them.
    """
    held, block = len(memory.frame), len(jax.tree.leaves(rows)[0])
    if block > held:
        raise ValueError(f"a memory of {held} rows cannot be written in blocks of {block}")

    def put(store: jax.Array, new: jax.Array) -> jax.Array:
        new = pack(new.astype(jnp.bfloat16 if store.dtype == jnp.uint16 else store.dtype))
        return jax.lax.dynamic_update_slice_in_dim(store, new, memory.cursor, axis=0)

    return dataclasses.replace(
        memory,
        rows=jax.tree.map(put, memory.rows, rows),
        frame=put(memory.frame, jnp.broadcast_to(jnp.where(keep, frame, -1), (block,))),
        cursor=jnp.where(keep, (memory.cursor + block) % held, memory.cursor),
    )


def _packed(dtype: Any) -> Any:
    return jnp.uint16 if dtype == jnp.bfloat16 else dtype


def valid(memory: Memory, newest: int | None = None) -> jax.Array:
    """`bool [R]`: rows that hold a sample and are among the newest `newest`, by default the memory's capacity."""
    rows = len(memory.frame)
    age = (memory.cursor - 1 - jnp.arange(rows, dtype=jnp.int32)) % rows  # in samples; the newest is 0
    return (memory.frame >= 0) & (age < (memory.capacity if newest is None else newest))


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
