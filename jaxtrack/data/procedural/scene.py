"""A scene: everything a procedural video is made of, drawn from a key, as a function of continuous time.

`sample_scene(key, challenge, config)` draws a `Scene`, a pytree of arrays of fixed shapes, so scenes stack and `vmap`.
The functions of `(layout, t)` in `motion` say where everything is at time `t`, counted in frames. Nothing has state:
any instant can be asked for in any order, between frames too, which is how exposure is integrated.

Keys: `scene_key(split, seed, index)` folds a constant per split into a fixed root key first. Benchmark, training and
validation scenes therefore come from disjoint branches of the key tree and no training scene is ever a test scene.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from jaxtrack.data.procedural import bodies, palettes, textures
from jaxtrack.data.procedural.bodies import Body

_TAU = 2 * math.pi
_ROOT_SEED = 20_091
_SPLITS = {"benchmark": 1, "train": 2, "validation": 3}


@dataclasses.dataclass(frozen=True)
class SceneConfig:
    """Static sizes: they decide array shapes, hence what is compiled.

    Attributes:
      height: image height in pixels.
      width: image width in pixels.
      window: side of the square patch in which the target is drawn; its box must fit, at most the image's height.
      background: side of the background texture in texels, a power of two.
      texture: side of the target's and the occluders' textures, a power of two.
      levels: levels of each texture's blur stack.
      max_exposures: largest number of instants averaged into one frame.
    """

    height: int = 240
    width: int = 320
    window: int = 160
    background: int = 512
    texture: int = 128
    levels: int = 4
    max_exposures: int = 8


@struct.dataclass
class Challenge:
    """What makes a scene hard: `float32` scalars that stay traced, so one program serves every kind of scene.

    Lengths are pixels, times and periods frames, angles radians. The defaults are an easy scene.

    Attributes:
      body: index into `bodies.BODY_NAMES`; negative draws one.
      land: index into `palettes.LAND_NAMES`; negative draws one.
      coat: index into the coats of `palettes`; negative draws one.
      size: half of the target's height, pixels per body unit, in the first frame; cut to fit the window.
      growth: log of the largest size over the first (negative shrinks).
      growth_period: period of the growth.
      rotation: amplitude of the rocking in the image plane.
      spin: steady rotation in the image plane per frame.
      yaw: amplitude of the turn out of the image plane.
      yaw_period: period of that turn.
      swing: factor on the limbs' swing.
      bend: amplitude of the non-rigid shears, body units.
      wander: amplitude of the target's path over the image; kept inside the image.
      wander_period: its period.
      leave: 1 makes the target leave the view and come back, 0 keeps it in.
      shake: amplitude of the camera's shake.
      shake_period: its period.
      pan: camera travel per frame.
      zoom: log amplitude of the camera's zoom, on background only.
      exposure: fraction of a frame's time during which the shutter is open.
      defocus: largest blur (standard deviation) of the lens hunting for focus.
      dimness: log by which the light is turned down.
      flicker: log amplitude of the light's gain.
      tint: amplitude of the light's colour.
      shadows: depth of the moving shadows, 0 to 1.
      light_period: period of flicker, tint and shadows.
      haze: 0 to 1, washed out and bright towards the top.
      occluders: number of occluders that pass, 0 to 2.
      bush: 1 for bushes, 0 for posts.
      occluder_size: half width of an occluder relative to the target's.
      occluder_speed: their speed over the image; 0 fixes them to the ground, so that the pan carries them along.
      distractors: number of look-alikes, 0 to 2.
      camouflage: 0 to 1, how far the target shares the background's pattern and colours.
      contrast: 0 to 1, strength of the background's texture.
      noise: standard deviation of the sensor's noise at mid grey, in grey levels.
      grey: 1 for a monochrome camera.
    """

    body: Array | float = -1.0
    land: Array | float = -1.0
    coat: Array | float = -1.0
    size: Array | float = 34.0
    growth: Array | float = 0.0
    growth_period: Array | float = 56.0
    rotation: Array | float = 0.06
    spin: Array | float = 0.0
    yaw: Array | float = 0.1
    yaw_period: Array | float = 44.0
    swing: Array | float = 0.5
    bend: Array | float = 0.0
    wander: Array | float = 50.0
    wander_period: Array | float = 60.0
    leave: Array | float = 0.0
    shake: Array | float = 0.6
    shake_period: Array | float = 9.0
    pan: Array | float = 2.0
    zoom: Array | float = 0.05
    exposure: Array | float = 0.2
    defocus: Array | float = 0.0
    dimness: Array | float = 0.0
    flicker: Array | float = 0.04
    tint: Array | float = 0.02
    shadows: Array | float = 0.1
    light_period: Array | float = 40.0
    haze: Array | float = 0.25
    occluders: Array | float = 0.0
    bush: Array | float = 0.0
    occluder_size: Array | float = 1.0
    occluder_speed: Array | float = 12.0
    distractors: Array | float = 0.0
    camouflage: Array | float = 0.0
    contrast: Array | float = 1.0
    noise: Array | float = 2.0
    grey: Array | float = 0.0

    def arrays(self) -> "Challenge":
        """The same with every value a `float32` array, ready to be stacked and traced."""
        return jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), self)


@struct.dataclass
class Layout:
    """The geometry of a scene: all that boxes depend on. `float32` unless said otherwise.

    Attributes:
      challenge: the parameters that the scene was drawn with.
      body: the target's parts, `[P, ...]`; look-alikes share them.
      occluder: the parts of an occluder, `[2, ...]`.
      start: `[2]`, image position of the middle of the target's path.
      reach: `[2]`, amplitude of the path, cut so that the target stays inside the image.
      phases: `[16]`, random phases in [0, 2 pi).
      flip: scalar, 1 or -1, which way the target faces.
      heading: `[2]`, unit vector of the camera's travel over the ground.
      exit_side: scalar, 1 or -1: the target leaves to the right or to the left.
      first_turn: scalar, 1 or -1, the direction of the first turn out of the image plane.
    """

    challenge: Challenge
    body: Body
    occluder: Body
    start: Array
    reach: Array
    phases: Array
    flip: Array
    heading: Array
    exit_side: Array
    first_turn: Array


@struct.dataclass
class Look:
    """The textures and colours of a scene; only rendering needs them.

    Attributes:
      background: `uint32 [L, B, B]` packed stack (see `textures.pack_stack`).
      target: `uint32 [L, T, T]`, shared with the look-alikes.
      occluder: `uint32 [L, T, T]`.
      colours: `float32 [4, 3]`, flat linear RGB of the target's untextured parts.
      occluder_colours: `float32 [4, 3]`.
      haze: `float32 [3]`, linear RGB.
      light: `float32 [3]`, unit vector towards the light (x right, y down, z to the viewer).
      seed: `uint32` scalar for the sensor's noise.
    """

    background: Array
    target: Array
    occluder: Array
    colours: Array
    occluder_colours: Array
    haze: Array
    light: Array
    seed: Array


@struct.dataclass
class Scene:
    """One procedural video: its geometry and its look."""

    layout: Layout
    look: Look


def scene_key(split: str, seed: int, index: int) -> Array:
    """The key of scene `index` of a split (`benchmark`, `train` or `validation`) under a user's `seed`.

    The generator is named, not left to jax's configuration, so that the scenes are the same everywhere.
    """
    key = jax.random.key(_ROOT_SEED, impl="threefry2x32")
    for word in (_SPLITS[split], seed, index):
        key = jax.random.fold_in(key, word)
    return key


def sample_scene(key: Array, challenge: Challenge, config: SceneConfig) -> Scene:
    """Draws a scene. Pure, jittable (`config` static) and vmappable over `key` and `challenge`."""
    layout_key, look_key = jax.random.split(key)
    return Scene(sample_layout(layout_key, challenge, config), sample_look(look_key, challenge, config))


def sample_layout(key: Array, challenge: Challenge, config: SceneConfig) -> Layout:
    """Draws shapes and paths; `key` is the first half of the scene's key."""
    # One draw of all numbers: every call of jax.random costs a second of compilation on its own.
    numbers = jax.random.uniform(key, (26,))
    drawn = jnp.floor(numbers[0] * len(bodies.BODY_NAMES))
    body = bodies.body(jnp.where(challenge.body < 0, drawn, challenge.body).astype(jnp.int32))
    stretch = 1.0 + 0.12 * (numbers[1:3] - 0.5)[None]
    body = dataclasses.replace(body, pivot=body.pivot * stretch, offset=body.offset * stretch, half=body.half * stretch)
    signs = jnp.where(numbers[3:6] < 0.5, 1.0, -1.0)
    travel = 0.7 * (numbers[6] - 0.5) + jnp.where(signs[0] > 0, 0.0, math.pi)
    challenge, extent = _fitted(challenge, body, config)
    start, reach = _path(numbers[7:9], challenge, extent, signs[1], config)
    return Layout(
        challenge=challenge,
        body=body,
        occluder=bodies.occluder(jnp.asarray(challenge.bush).astype(jnp.int32)),
        start=start,
        reach=reach,
        phases=_TAU * numbers[10:26],
        flip=signs[0],
        heading=jnp.stack([jnp.cos(travel), jnp.sin(travel)]),
        exit_side=signs[1],
        first_turn=signs[2],
    )


def _fitted(challenge: Challenge, body: Body, config: SceneConfig) -> tuple[Challenge, Array]:
    """Cuts the size so that the target at its largest fits the window it is drawn in.

    Returns:
      The challenge and the half extents `[2]` in pixels that the target may reach about its centre.
    """
    extent = jnp.abs(body.pivot) + jnp.abs(body.offset) + body.half
    extent = jnp.max(jnp.where(body.active[:, None], extent, 0.0), axis=0)
    turning = jnp.maximum(jnp.abs(challenge.spin) * 100.0, jnp.abs(challenge.rotation) * 2.0)
    diagonal = jnp.hypot(extent[0], extent[1])
    extent = extent + jnp.minimum(turning, 1.0) * (diagonal - extent) + challenge.bend
    largest = jnp.exp(jnp.maximum(challenge.growth, 0.0))
    size = jnp.minimum(challenge.size, (0.5 * config.window - 2.0) / (largest * jnp.max(extent)))
    return dataclasses.replace(challenge, size=size), extent * size * largest


def _path(numbers: Array, challenge: Challenge, extent: Array, side: Array, config: SceneConfig) -> tuple[Array, Array]:
    """Middle and amplitude of the target's path such that path, shake and growth stay inside the image."""
    margin = extent + 1.3 * challenge.shake + 4.0
    image = jnp.array([config.width, config.height], jnp.float32)
    room = jnp.maximum(image / 2 - margin, 0.0)
    reach = jnp.minimum(jnp.stack([jnp.asarray(challenge.wander), 0.55 * challenge.wander]), room)
    slack = room - reach
    start = image / 2 + slack * 1.6 * (numbers - 0.5)
    # Who is to leave starts close to that side, so that leaving does not take a jump.
    towards = jnp.where(challenge.leave > 0, image[0] / 2 + side * 0.85 * slack[0], start[0])
    return jnp.stack([towards, start[1]]), reach


def sample_look(key: Array, challenge: Challenge, config: SceneConfig) -> Look:
    """Draws textures and colours; `key` is the second half of the scene's key."""
    keys = jax.random.split(key, 6)
    land = palettes.sample_land(keys[0], challenge.land, challenge.contrast)
    # A texel of the target's texture covers size / TEXELS pixels, one of the ground's a single pixel.
    cells = config.texture / config.background * challenge.size / bodies.TEXELS
    coat = palettes.sample_coat(keys[1], challenge.coat, land, challenge.camouflage, cells)
    patterns = jax.tree.map(lambda *pair: jnp.stack(pair), coat.pattern, land.occluder)
    cover, hide = textures.synthesise(keys[2:4], config.texture, patterns)
    ground = textures.terrain(keys[4], config.background, land.ground, land.path, land.cover)
    word = jax.random.bits(keys[5], (), jnp.uint32)
    bearing = -2.4 + 1.7 * textures.hash_uniform(word)
    light = jnp.stack([0.7 * jnp.cos(bearing), 0.7 * jnp.sin(bearing), jnp.float32(0.714)])
    return Look(
        background=textures.pack_stack(ground, config.levels),
        target=textures.pack_stack(cover, config.levels),
        occluder=textures.pack_stack(hide, config.levels),
        colours=coat.colours,
        occluder_colours=land.occluder_colours,
        haze=land.haze,
        light=light,
        seed=word,
    )


def sample_challenge(key: Array) -> Challenge:
    """Draws a challenge for training: every difficulty is present in about a third of the scenes, at any strength."""
    names = [field.name for field in dataclasses.fields(Challenge) if field.name not in _FIXED]
    present_key, strength_key = jax.random.split(key)
    present = jax.random.uniform(present_key, (len(names),)) < 0.35
    strength = jax.random.uniform(strength_key, (len(names),))
    easy = jnp.array([getattr(Challenge, name) for name in names], jnp.float32)
    low, high = (jnp.array(bound, jnp.float32) for bound in zip(*(_HARD[name] for name in names), strict=True))
    drawn = jnp.where(present, low + (high - low) * strength, easy)
    values = dict(zip(names, drawn, strict=True))
    # Numbers of things, and yes or no.
    for name in ("leave", "occluders", "bush", "distractors", "grey"):
        values[name] = jnp.round(values[name])
    return Challenge(**values).arrays()


_FIXED = ("body", "land", "coat")
# Ranges of what `sample_challenge` draws where a difficulty is present.
_HARD = {
    "size": (10.0, 50.0),
    "growth": (-0.9, 0.35),
    "growth_period": (40.0, 120.0),
    "rotation": (0.1, 0.8),
    "spin": (-0.15, 0.15),
    "yaw": (0.4, 1.3),
    "yaw_period": (24.0, 80.0),
    "swing": (0.6, 1.4),
    "bend": (0.05, 0.2),
    "wander": (20.0, 110.0),
    "wander_period": (14.0, 90.0),
    "leave": (0.0, 1.0),
    "shake": (2.0, 10.0),
    "shake_period": (4.5, 12.0),
    "pan": (0.0, 8.0),
    "zoom": (0.1, 0.3),
    "exposure": (0.3, 1.0),
    "defocus": (0.5, 3.0),
    "dimness": (0.2, 1.5),
    "flicker": (0.1, 0.7),
    "tint": (0.05, 0.35),
    "shadows": (0.2, 0.75),
    "light_period": (15.0, 80.0),
    "haze": (0.0, 0.8),
    "occluders": (0.5, 2.5),
    "bush": (0.0, 1.0),
    "occluder_size": (0.5, 1.4),
    "occluder_speed": (6.0, 16.0),
    "distractors": (0.5, 2.5),
    "camouflage": (0.3, 0.9),
    "contrast": (0.3, 1.0),
    "noise": (0.0, 8.0),
    "grey": (0.0, 1.0),
}
