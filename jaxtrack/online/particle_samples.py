"""Which particles of a frame DeepTrack learns from, and how far their labels can be trusted (Li et al.).

A particle is positive where it overlaps the target's box by more than 0.5, and may be a negative elsewhere.
"""

import jax
import jax.numpy as jnp

from jaxtrack.online import itsgd


def quality(
    scores: jax.Array, outputs: jax.Array, overlap: jax.Array, *, v: float, loss: itsgd.Loss
) -> tuple[jax.Array, jax.Array]:
    """Q, the probability that a frame's labels are right, and |P|, the number of particles that rival the best.

    Args:
      scores: `[N]`, the particles' scores S.
      outputs: `[N, 2]`, their fused outputs.
      overlap: `[N]`, their IoU with the best one's box.
      v: rivals score above this times the best score.
      loss: by which the rivals' errors are measured.
    """
    best = jnp.max(scores)
    # S may be negative everywhere; v times the best would then choose nothing, or everything.
    threshold = jnp.where(best > 0, v * best, jnp.percentile(scores, 95.0))
    rivals = scores > threshold
    errors = itsgd.sample_errors(outputs, overlap > 0.5, overlap, loss)
    count = jnp.sum(rivals.astype(jnp.float32))
    mean = jnp.sum(jnp.where(rivals, errors, 0.0)) / jnp.maximum(count, 1.0)
    return jnp.clip(1.0 - mean, 0.01, 1.0), count


def negatives(
    key: jax.Array, overlap: jax.Array, scores: jax.Array | None = None, *, drawn: int, count: int, hard: int
) -> jax.Array:
    """Indices of the frame's negatives, `[count]`, among the particles and the surroundings.

    First those of the highest scores, then at random among the particles with an overlap of at most 0.5; where there
    are too few, surroundings fill up.

    Args:
      key: a typed random key.
      overlap: `[N + M]`, the IoU of N particles and M surrounding positions with the target's box.
      scores: `[N]`, the particles' scores; None where there are none yet.
      drawn: N.
      count: how many to choose.
      hard: how many of them are those of the highest scores.
    """
    order = jax.random.uniform(key, overlap.shape, jnp.float32)
    is_particle = jnp.arange(len(overlap), dtype=jnp.int32) < drawn
    rank = jnp.where(overlap <= 0.5, jnp.where(is_particle, 2.0, 1.0), 0.0)
    if hard and scores is not None:
        hardest = jax.lax.top_k(jnp.where(overlap[: len(scores)] <= 0.5, scores, -jnp.inf), hard)[1]
        rank = rank.at[hardest].add(jnp.where(overlap[hardest] <= 0.5, 2.0, 0.0))
    return jax.lax.top_k(rank + order, count)[1]


def positives(key: jax.Array, overlap: jax.Array, count: int) -> jax.Array:
    """Indices of positives besides the target itself, `[count]`, at random among those with an overlap above 0.5."""
    order = jax.random.uniform(key, overlap.shape, jnp.float32)
    # Where too few overlap that much, the nearest ones stand in.
    rank = jnp.where(overlap > 0.5, 2.0 + order, overlap)
    return jax.lax.top_k(rank, count)[1]
