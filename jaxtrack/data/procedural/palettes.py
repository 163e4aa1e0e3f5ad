"""Which materials and colours go together: landscapes for backgrounds, coats for targets."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxtrack.data.procedural.textures import KINDS, Pattern


class Land(NamedTuple):
    """A landscape: two ground materials, how far the second is held back, occluders and haze to match."""

    ground: Pattern
    path: Pattern
    cover: Array
    occluder: Pattern
    occluder_colours: Array
    haze: Array


class Coat(NamedTuple):
    """A target's textured material and its flat colours `[4, 3]` (skin, dark, light, accent)."""

    pattern: Pattern
    colours: Array


# Colours are written as on screen (sRGB hex); a material is (kind, repeats, roughness, relief, gap, first, second).
_LANDS = {
    "meadow": (
        ("fractal", 8, 0.30, 0.5, "2f4a1c", "5c8a32", "86a848"),
        ("cobbles", 26, 0.22, 0.5, "5a4a38", "a08a68", "84765c"),
        (0.9, "b9cfe0"),
        ("fractal", 4, 0.35, 0.6, "2a2018", "6b5138", "8a6c4c", "4a3a2a"),
    ),
    "forest": (
        ("domes", 13, 0.25, 0.9, "5e6a34", "77803e", "2e5a2a"),
        ("fractal", 8, 0.25, 0.5, "5a4028", "9a7850", "b59468"),
        (1.0, "c8d2c0"),
        ("spots", 9, 0.30, 0.7, "1e3a1a", "2f6428", "4c8a3a", "5a3a2a"),
    ),
    "street": (
        ("bricks", 20, 0.16, 0.6, "77736c", "9c8478", "b29c8c"),
        ("fractal", 8, 0.14, 0.3, "56585c", "72747a", "84868a"),
        (0.3, "d2d6dc"),
        ("fractal", 4, 0.35, 0.6, "26401c", "466c30", "6a9048", "8a3c2c"),
    ),
    "beach": (
        ("fractal", 8, 0.12, 0.5, "b8a070", "d8c08c", "e6d4a8"),
        ("stripes", 30, 0.10, 0.4, "24687c", "2e86a0", "58aebc"),
        (0.4, "e4eef2"),
        ("stripes", 6, 0.10, 0.3, "e8e0d0", "d8543c", "f0ece0", "3a6a8c"),
    ),
    "plaza": (
        ("cobbles", 22, 0.14, 0.8, "4c4a48", "8e8a84", "aaa49a"),
        ("fractal", 8, 0.28, 0.5, "34501f", "4f7a30", "7a9a48"),
        (0.8, "ccd4da"),
        ("fractal", 4, 0.15, 0.3, "303438", "4a545c", "606c74", "c8a83c"),
    ),
    "snow": (
        ("fractal", 8, 0.07, 0.8, "a8b8cc", "d6dee8", "eef2f6"),
        ("domes", 16, 0.25, 0.9, "c4ccd6", "cfd8e0", "26463a"),
        (0.5, "f0f4f8"),
        ("stripes", 5, 0.25, 0.5, "3a2c22", "5c4636", "7a6048", "e8eef4"),
    ),
    "reef": (
        ("fractal", 8, 0.20, 0.7, "123f5a", "1c6a86", "3a93a4"),
        ("cobbles", 20, 0.25, 0.9, "3a2a3c", "a8587c", "c89468"),
        (0.7, "5cb4c8"),
        ("spots", 8, 0.25, 0.6, "2c3a20", "4c7a3a", "8aa84a", "b85a7a"),
    ),
    "desert": (
        ("stripes", 18, 0.14, 0.7, "9a5c34", "b8743e", "cc8c50"),
        ("cobbles", 14, 0.22, 0.9, "5c3a28", "8a5a40", "a8785a"),
        (0.8, "e8d0b0"),
        ("cobbles", 6, 0.25, 0.8, "4a3020", "86583a", "a87850", "6a8a4a"),
    ),
}
# (kind, repeats, relief, gap, first, second) and flat skin, dark, light, accent.
_COATS = (
    (("stripes", 5, 0.1, "7a1a1a", "c42a2a", "f2ece4"), ("e0ac88", "2c2430", "e8eef4", "f0b428")),
    (("spots", 5, 0.2, "6a3a10", "e09a3c", "4a2c18"), ("d8a070", "38281c", "f0e4cc", "b8442c")),
    (("bricks", 5, 0.1, "1c2c5a", "2c4a9c", "e8d44c"), ("c88c68", "1c2030", "dfe8f0", "d83c3c")),
    (("fractal", 4, 0.2, "5a4a10", "e8b820", "f4d84c"), ("a87050", "202428", "c8dce8", "2c6ab4")),
    (("stripes", 6, 0.1, "202020", "2a2a2e", "f0f0ec"), ("f0c8a8", "2a1c14", "f4f4f0", "d8384c")),
    (("cobbles", 6, 0.4, "e8d4a8", "a8602c", "8a4820"), ("e8b890", "4a2c18", "f0e8d8", "3c8a5a")),
    (("spots", 6, 0.2, "10504c", "1c8a84", "f4e8c8"), ("d09874", "1c2c34", "e4f0f0", "f07c38")),
    (("fractal", 4, 0.2, "3c1a50", "7c3aa0", "b46ad0"), ("f0c0a0", "241a30", "ece4f4", "f4d03c")),
    (("bricks", 7, 0.1, "e4e4e0", "c83c30", "ecece8"), ("b87c58", "28282c", "d4e4ec", "2c7c50")),
    (("stripes", 4, 0.1, "1a4a2a", "2c8a48", "d8e8a0"), ("d8a888", "1c2a20", "ecf4e4", "e85c8c")),
)


def _linear(colour: str) -> tuple[float, ...]:
    """A hex colour in the renderer's linear light (gamma 2)."""
    return tuple((int(colour[k : k + 2], 16) / 255) ** 2 for k in (0, 2, 4))


def _rows(materials: list) -> np.ndarray:
    """Material rows as numbers, `float32 [n, 13]`: kind, repeats, roughness, relief, three colours."""
    table = [(KINDS.index(row[0]), *row[1:4], *sum((_linear(c) for c in row[4:7]), ())) for row in materials]
    return np.array(table, np.float32)


def _flat(colours: list) -> np.ndarray:
    return np.array([_linear(colour) for colour in colours], np.float32)


# Per land `[39]`: ground, path, occluder; then the occluder's accent, the haze and how far the path is held back.
_LAND_ROWS = np.concatenate(
    [
        *(_rows([land[k] for land in _LANDS.values()]) for k in (0, 1, 3)),
        _flat([land[3][7] for land in _LANDS.values()]),
        _flat([land[2][1] for land in _LANDS.values()]),
        np.array([[land[2][0]] for land in _LANDS.values()], np.float32),
    ],
    axis=1,
)
# Per coat: the material `[13]`, then four flat colours.
_COAT_ROWS = np.concatenate(
    [
        _rows([(*pattern[:2], 0.08, *pattern[2:]) for pattern, _ in _COATS]),
        np.stack([_flat(list(colours)).reshape(-1) for _, colours in _COATS]),
    ],
    axis=1,
)
LAND_NAMES = tuple(_LANDS)


def _choose(wanted: Array | float, number: Array, count: int) -> Array:
    """Index `wanted`, or a random one by the uniform `number` when that is negative."""
    return jnp.where(jnp.asarray(wanted) < 0, jnp.floor(number * count), wanted).astype(jnp.int32)


def _pattern(row: Array, tint: Array, contrast: Array | float) -> Pattern:
    """A material from its 13 numbers, its colours tinted and drawn together by `contrast` below 1."""
    colours = row[4:13].reshape(3, 3)
    mean = jnp.mean(colours, axis=0, keepdims=True)
    colours = jnp.clip((mean + (colours - mean) * contrast) * tint[None], 0.0, 1.0)
    return Pattern(row[0].astype(jnp.int32), row[1], row[2] * contrast, row[3], colours)


def sample_land(key: Array, land: Array | float, contrast: Array | float) -> Land:
    """Draws a landscape; `land` is an index into `LAND_NAMES`, negative for a random one."""
    numbers = jax.random.uniform(key, (11,))
    row = jnp.asarray(_LAND_ROWS)[_choose(land, numbers[0], len(LAND_NAMES))]
    tints = jnp.exp(0.3 * (numbers[1:10].reshape(3, 3) - 0.5))
    return Land(
        ground=_pattern(row[:13], tints[0], contrast),
        path=_pattern(row[13:26], tints[1], contrast),
        occluder=_pattern(row[26:39], tints[2], 1.0),
        cover=row[45] + 1.0 * (numbers[10] - 0.5),
        occluder_colours=jnp.stack([row[39:42]] * 4),
        haze=row[42:45],
    )


def sample_coat(key: Array, coat: Array | float, land: Land, camouflage: Array | float, cells: Array | float) -> Coat:
    """Draws a target's material.

    Args:
      key: a random key.
      coat: scalar index into the coats, negative for a random one.
      land: the landscape that a camouflaged target imitates.
      camouflage: 0 to 1; from one half the pattern is the ground's, and the colours approach it in proportion.
      cells: scalar, how many of the ground's texture periods, by apparent size, fit in the target's texture.
    """
    numbers = jax.random.uniform(key, (4,))
    row = jnp.asarray(_COAT_ROWS)[_choose(coat, numbers[0], len(_COATS))]
    own, flat = _pattern(row[:13], jnp.exp(0.3 * (numbers[1:] - 0.5)), 1.0), row[13:].reshape(4, 3)
    ground, hidden = land.ground, jnp.asarray(camouflage) > 0.5
    pattern = Pattern(
        kind=jnp.where(hidden, ground.kind, own.kind),
        repeats=jnp.where(hidden, ground.repeats * cells, own.repeats),
        roughness=own.roughness + (ground.roughness - own.roughness) * camouflage,
        relief=own.relief + (ground.relief - own.relief) * camouflage,
        colours=own.colours + (ground.colours - own.colours) * camouflage,
    )
    # The ground's colours and the path's stand in for skin, dark, light and accent.
    wild = jnp.concatenate([ground.colours[jnp.array([1, 0, 2])], land.path.colours[1:2]])
    return Coat(pattern, flat + (wild - flat) * camouflage)
