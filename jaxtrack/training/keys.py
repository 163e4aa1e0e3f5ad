"""Random keys of trainings: a seed's numbers are the same everywhere, whatever JAX is configured to draw them by."""

import jax

# Named for one more reason: JAX's other generators give a sample other numbers in another place of a batch.
GENERATOR = "threefry2x32"


def seed_key(seed: int) -> jax.Array:
    """The typed key of a seed."""
    return jax.random.key(seed, impl=GENERATOR)


def restored_key(words: jax.Array) -> jax.Array:
    """The typed key whose words, `uint32 [2]`, `jax.random.key_data` has given."""
    return jax.random.wrap_key_data(words, impl=GENERATOR)
