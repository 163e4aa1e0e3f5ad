"""The samples of the newest successful frames, and those of the first frame for as long as they count (MDNet).

MDNet learns from the positives of the last 100 and the negatives of the last 20 frames in which it found its target.
The first frame is an entry as any other one, only of more samples (500 instead of 50). So it has a block of its own.
"""

import dataclasses
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack.online import memory as ring


class Samples(NamedTuple):
    """What is kept of N samples.

    Attributes:
      features: `[N, ...]`, what the trained layers see: float32, or float16 or bfloat16 to halve the memory.
      overlap: `float32 [N]`, IoU of the sample's box and the target's box in its own frame.
      location: `float32 [N, 4]`, of the box in its frame: RankLoc's SLF as configured, zeros for other trackers.
    """

    features: jax.Array
    overlap: jax.Array
    location: jax.Array


class Pool(NamedTuple):
    """Rows to draw samples from.

    Attributes:
      parts: trees of arrays `[N1, ...]`, `[N2, ...]`, …, of one structure and one set of types, packed as a memory's.
      valid: `bool [N1 + N2 + …]`, which of their rows may be drawn, in the order of the parts.
    """

    parts: tuple[Any, ...]
    valid: jax.Array


@flax.struct.dataclass
class FrameMemory:
    """Samples of the newest F successful frames, n of each, and of the first frame.

    Attributes:
      first: samples `[n0, ...]` of the first frame, packed, a tree such as `Samples`; None without a block of its own.
      first_valid: `bool [n0]`, which of its rows hold a sample; None likewise.
      newer: samples of later frames.
      written: `int32 []`, how many frames have been written.
      block: n (static).
    """

    first: Any
    first_valid: jax.Array | None
    newer: ring.Memory
    written: jax.Array
    block: int = flax.struct.field(pytree_node=False)


def create(frames: int, block: int, row: Any, first: Any = None, first_valid: jax.Array | None = None) -> FrameMemory:
    """A memory without any later frame.

    Args:
      frames: F, how many successful frames it remembers.
      block: n, samples of a frame.
      row: shape and type of a sample, a tree of `jax.ShapeDtypeStruct`; the features' type is the memory's.
      first: samples `[n0, ...]` of the first frame; None where they are written as those of any other frame.
      first_valid: `bool [n0]`, which of them count.
    """
    if (first is None) != (first_valid is None):
        raise ValueError("samples of the first frame come with a mask of those that count: give both or neither")
    if first is not None:
        first = ring.pack(jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), first, row))
    newer = ring.create(frames * block, block, row)
    return FrameMemory(first, first_valid, newer, jnp.zeros((), jnp.int32), block)


def write(
    memory: FrameMemory, samples: Any, valid: jax.Array, frame: jax.Array, keep: jax.Array | bool = True
) -> FrameMemory:
    """Adds a frame's samples; those of the oldest frame beyond F leave.

    Args:
      memory: the memory; under `jit` give it away (donate it), it is then changed in place.
      samples: the memory's tree, arrays `[n, ...]`.
      valid: `bool [n]`, which of them count.
      frame: `int32 []`, the frame's number, at least 0.
      keep: `bool []`; where false the frame is not added (MDNet: the target was not found), at the same cost.
    """
    if len(valid) != memory.block:
        raise ValueError(f"a memory of {memory.block} samples a frame cannot take {len(valid)}")
    return dataclasses.replace(
        memory,
        newer=ring.write(memory.newer, samples, jnp.where(valid, frame, -1), keep),
        written=memory.written + jnp.asarray(keep, jnp.int32),
    )


def pool(memory: FrameMemory, frames: int | None = None) -> Pool:
    """The samples of the newest `frames` successful frames, by default of all that are remembered.

    The first frame is among them as long as fewer than `frames` newer ones have been written. Nothing is copied.
    """
    capacity = memory.newer.capacity
    limit = capacity if frames is None else min(frames * memory.block, capacity)
    valid = ring.valid(memory.newer, limit)
    if memory.first is None or memory.first_valid is None:
        return Pool((memory.newer.rows,), valid)
    recent = memory.written * memory.block < limit
    return Pool((memory.first, memory.newer.rows), jnp.concatenate([memory.first_valid & recent, valid]))


def pool_of(samples: Any, valid: jax.Array) -> Pool:
    """A pool of samples that are in no memory, as those of the first training; `[N, ...]`, `bool [N]`."""
    return Pool((ring.pack(samples),), valid)


def take(pool: Pool, indices: jax.Array) -> Any:
    """The rows of a pool with these indices; `int32 [B]` to the parts' tree with arrays `[B, ...]`."""
    start, found = 0, None
    for part in pool.parts:
        length = len(jax.tree.leaves(part)[0])
        # An index of another part reads some row of this one, and that is then not used.
        rows = jax.tree.map(lambda leaf, i=indices - start: jnp.take(leaf, i, axis=0, mode="clip"), part)
        found = rows if found is None else _where(indices >= start, rows, found)
        start += length
    return ring.unpack(found)


def _where(condition: jax.Array, new: Any, old: Any) -> Any:
    """Chooses rows; `bool [B]`, trees of arrays `[B, ...]`."""
    return jax.tree.map(lambda a, b: jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)
