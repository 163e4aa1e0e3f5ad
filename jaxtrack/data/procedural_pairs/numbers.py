"""Uniform random numbers read off one array: a call of `jax.random` per quantity would take minutes to compile."""

import math

import jax
import jax.numpy as jnp
from jax import Array


class Numbers:
    """A tape of uniform numbers in [0, 1) that is read from its beginning; the order of reading is the recipe."""

    def __init__(self, tape: Array):
        self._tape, self._at = tape, 0

    def uniform(self, low: Array | float = 0.0, high: Array | float = 1.0, shape: tuple[int, ...] = ()) -> Array:
        """Uniform in [low, high), `float32` of `shape`."""
        count = math.prod(shape)
        if self._at + count > self._tape.shape[0]:
            raise ValueError(f"the tape of {self._tape.shape[0]} numbers is too short")
        piece = self._tape[self._at : self._at + count].reshape(shape)
        self._at += count
        return low + (high - low) * piece

    def log_uniform(self, low: float, high: float, shape: tuple[int, ...] = ()) -> Array:
        """Its logarithm is uniform."""
        return jnp.exp(self.uniform(math.log(low), math.log(high), shape))

    def normal(self, deviation: float = 1.0, shape: tuple[int, ...] = ()) -> Array:
        """Normal about 0, cut at 3.3 standard deviations."""
        return deviation * math.sqrt(2.0) * jax.lax.erf_inv(self.uniform(-0.999, 0.999, shape))

    def chance(self, probability: Array | float, shape: tuple[int, ...] = ()) -> Array:
        """True with a probability, `bool` of `shape`."""
        return self.uniform(shape=shape) < probability

    def integer(self, count: int, shape: tuple[int, ...] = ()) -> Array:
        """Uniform among 0 ... count - 1, `int32`."""
        return jnp.minimum(jnp.floor(self.uniform(0.0, count, shape)), count - 1).astype(jnp.int32)
