"""The built-in benchmark: sixteen scenes, one or more for each of OTB's eleven attributes.

Nothing is read from disk. Boxes are computed when the benchmark is loaded, images when they are looked at, by one
compiled program that all sequences share. `procedural-full` shows the same sixteen scenes for
longer (the short clips are their beginnings) and adds further draws of each.
"""

import dataclasses
import functools
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.compilation import enable_compilation_cache
from jaxtrack.data.procedural import bodies, motion, palettes, render, scene
from jaxtrack.data.procedural.scene import Challenge, SceneConfig
from jaxtrack.data.sequences import Benchmark, Sequence

CONFIG = SceneConfig()
SHORT_FRAMES, FULL_FRAMES, FULL_DRAWS = 30, 300, 3
_CHUNK = 8
_BOX_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One sequence: its difficulties, and the attributes that boxes alone cannot show (IV OCC DEF MB IPR OPR BC)."""

    name: str
    labels: frozenset[str]
    challenge: Challenge


def _recipe(name: str, labels: str, body: str, land: str, coat: int, **changes: float) -> Recipe:
    body_index, land_index = bodies.BODY_NAMES.index(body), palettes.LAND_NAMES.index(land)
    challenge = Challenge(body=float(body_index), land=float(land_index), coat=float(coat), **changes)
    return Recipe(f"procedural-{name}", frozenset(labels.split()), challenge)


RECIPES = (
    _recipe("iv", "IV", "face", "plaza", 0, flicker=0.75, tint=0.3, shadows=0.7, light_period=22.0, size=46.0),
    _recipe("sv", "", "car", "street", 3, size=22.0, growth=1.05, growth_period=100.0, pan=5.0, wander=40.0),
    _recipe("occ", "OCC DEF", "walker", "snow", 0, occluders=2.0, occluder_speed=0.0, pan=8.0, swing=1.0,
            occluder_size=0.55, wander=30.0, size=46.0),
    _recipe("def", "DEF", "jelly", "reef", 7, bend=0.16, swing=1.3, size=48.0),
    _recipe("mb", "MB", "book", "desert", 8, shake=7.5, shake_period=5.3, exposure=0.9, size=42.0, wander=30.0),
    _recipe("fm", "FM", "ball", "meadow", 2, wander=105.0, wander_period=17.0, exposure=0.3, size=28.0),
    _recipe("ipr", "IPR", "butterfly", "forest", 0, spin=0.11, size=48.0, swing=0.8),
    _recipe("opr", "OPR", "face", "beach", 9, yaw=1.25, yaw_period=32.0, size=50.0),
    _recipe("ov", "", "dog", "meadow", 1, leave=1.0, size=38.0, swing=0.9, wander=20.0),
    _recipe("bc", "BC", "fish", "plaza", 5, camouflage=0.6, distractors=2.0, size=36.0, haze=0.0),
    _recipe("lr", "", "walker", "snow", 8, size=10.0, swing=0.9, wander=70.0, noise=3.0),
    _recipe("crowd", "OCC DEF BC", "walker", "street", 0, distractors=2.0, occluders=1.0, bush=1.0, swing=1.1,
            occluder_speed=11.0, camouflage=0.2, size=38.0, occluder_size=0.8),
    _recipe("drone", "", "car", "desert", 5, size=21.0, growth=-0.95, growth_period=100.0, shake=2.5, zoom=0.2,
            pan=4.0, haze=0.5, defocus=0.6),
    _recipe("night", "IV MB", "car", "street", 3, dimness=1.0, flicker=0.5, shadows=0.6, noise=7.0, grey=1.0,
            exposure=0.9, shake=5.0, shake_period=6.5, light_period=26.0, size=36.0, wander=80.0),
    _recipe("chase", "MB IPR OCC DEF", "dog", "forest", 1, wander=95.0, wander_period=20.0, exposure=0.8, pan=7.0,
            rotation=0.45, occluders=1.0, bush=1.0, occluder_speed=13.0, swing=1.2, size=28.0, growth=0.55),
    _recipe("grey", "OCC OPR IPR", "bird", "reef", 4, grey=1.0, yaw=0.8, rotation=0.45, occluders=2.0, bush=1.0,
            occluder_speed=9.0, noise=4.0, size=38.0, defocus=1.4, occluder_size=0.7),
)  # fmt: skip

_layout = jax.jit(scene.sample_layout, static_argnums=2)
_look = jax.jit(scene.sample_look, static_argnums=2)


@functools.partial(jax.jit, static_argnums=2)
def _render_chunk(drawn, times, config):
    return jax.lax.map(lambda t: render.render(drawn, t, config).image, times)


@functools.partial(jax.jit, static_argnums=2)
def _box_chunk(layout, times, config):
    whole = jax.vmap(lambda t: motion.target_box(layout, t, config))(times)
    return jax.vmap(lambda box: motion.clip_box(box, config))(whole)


def _keys(recipe: Recipe, draw: int) -> jax.Array:
    """Keys of layout and look; the index is the name's checksum, so that new recipes leave the old ones alone."""
    return jax.random.split(scene.scene_key("benchmark", draw, zlib.crc32(recipe.name.encode()) & 0x7FFFFFFF))


@functools.lru_cache(maxsize=8)
def draw_scene(index: int, draw: int = 0) -> scene.Scene:
    """The scene of `RECIPES[index]`; the last few are kept, a scene being 5 MB of textures."""
    layout_key, look_key = _keys(RECIPES[index], draw)
    challenge = RECIPES[index].challenge.arrays()
    return scene.Scene(_layout(layout_key, challenge, CONFIG), _look(look_key, challenge, CONFIG))


@functools.lru_cache(maxsize=16)
def _images(index: int, draw: int, chunk: int) -> np.ndarray:
    """Eight successive images, `uint8 [8, H, W, 3]`; the cache of all sequences together holds 30 MB."""
    times = jnp.arange(_CHUNK, dtype=jnp.float32) + float(chunk * _CHUNK)
    return np.asarray(_render_chunk(draw_scene(index, draw), times, CONFIG))


@dataclasses.dataclass(frozen=True)
class RenderedFrames:
    """The images of one sequence, rendered in chunks of eight when looked at.

    Chunks always start at multiples of eight, so an image's bits do not depend on the order of access.

    Attributes:
      index: which of `RECIPES`.
      draw: which of its scenes.
      count: number of frames.
    """

    index: int
    draw: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        chunk, place = divmod(range(self.count)[index], _CHUNK)
        return _images(self.index, self.draw, chunk)[place].copy()


def _boxes(recipe: Recipe, draw: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `float64 [count, 4]` and their validity, without rendering anything."""
    layout = _layout(_keys(recipe, draw)[0], recipe.challenge.arrays(), CONFIG)
    rows = [
        _box_chunk(layout, jnp.arange(_BOX_CHUNK, dtype=jnp.float32) + float(start), CONFIG)
        for start in range(0, count, _BOX_CHUNK)
    ]
    boxes, valid = (np.concatenate([np.asarray(row[k]) for row in rows])[:count] for k in (0, 1))
    return boxes.astype(np.float64), valid


def measured_attributes(boxes: np.ndarray, valid: np.ndarray, config: SceneConfig = CONFIG) -> frozenset[str]:
    """The labels of OTB that boxes show: SV, FM, LR and OV.

    Area, size and motion count where the box does not touch the image's border, beyond which it is cut.
    """
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    inside = valid & np.all((low > 0) & (high < (config.width, config.height)), axis=1)
    area = boxes[:, 2] * boxes[:, 3]
    ratio = area[inside] / area[0]
    step = np.linalg.norm(np.diff(boxes[:, :2] + boxes[:, 2:] / 2, axis=0), axis=1)
    found = {
        "SV": bool(np.any((ratio > 2) | (ratio < 0.5))),
        "FM": bool(np.any(step[inside[1:] & inside[:-1]] > 20)),
        "LR": bool(np.any(area[inside] < 400)),
        "OV": not bool(np.all(inside)),
    }
    return frozenset(name for name, present in found.items() if present)


def _sequence(index: int, draw: int, count: int) -> Sequence:
    recipe = RECIPES[index]
    boxes, valid = _boxes(recipe, draw, count)
    return Sequence(
        name=recipe.name if draw == 0 else f"{recipe.name}-{draw + 1}",
        frames=RenderedFrames(index, draw, count),
        boxes=boxes,
        valid=valid,
        attributes=recipe.labels | measured_attributes(boxes, valid),
    )


def load(data_dir: Path | None = None) -> Benchmark:
    """The short list: sixteen clips of 30 frames, 320 x 240. `data_dir` is not used."""
    del data_dir
    return _benchmark("procedural", "Procedural", SHORT_FRAMES, draws=1)


def load_full(data_dir: Path | None = None) -> Benchmark:
    """The long list: three draws of each scene, 300 frames each. `data_dir` is not used."""
    del data_dir
    return _benchmark("procedural-full", "Procedural (full)", FULL_FRAMES, draws=FULL_DRAWS)


@functools.cache
def _benchmark(name: str, title: str, frames: int, draws: int) -> Benchmark:
    if jax.process_count() == 1:  # see `Program`
        enable_compilation_cache()  # a report of stored results shows images, and would compile for seconds each time
    sequences = [_sequence(index, draw, frames) for draw in range(draws) for index in range(len(RECIPES))]
    return Benchmark(name, title, tuple(sequences))


BENCHMARKS = {"procedural": load, "procedural-full": load_full}
