"""The scenes of the benchmark `procedural`, whole and with changes, for the tests of the renderer."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.procedural import BENCHMARKS, SceneConfig, benchmark, render

CONFIG = SceneConfig()
NAMES = [recipe.name.removeprefix("procedural-") for recipe in benchmark.RECIPES]


@functools.cache
def sequence(name):
    return next(s for s in BENCHMARKS["procedural"](None).sequences if s.name == f"procedural-{name}")


def scene(name):
    return benchmark.draw_scene(NAMES.index(name))


def with_challenge(drawn, **changes):
    changes = {name: jnp.float32(value) for name, value in changes.items()}
    challenge = dataclasses.replace(drawn.layout.challenge, **changes)
    return dataclasses.replace(drawn, layout=dataclasses.replace(drawn.layout, challenge=challenge))


render_two = jax.jit(jax.vmap(functools.partial(render, config=CONFIG)))


def stack(*scenes):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenes)


def changed_pixels(one, other, t):
    """Where two variants of a scene differ at an instant: `bool [H, W]`."""
    steady = [with_challenge(each, noise=0, exposure=0) for each in (one, other)]
    images = np.asarray(render_two(stack(*steady), np.full(2, t, np.float32)).image, int)
    return np.abs(images[0] - images[1]).max(axis=-1) > 1
