"""Training pairs from keys: drawn and arranged for a whole batch at once, rendered image by image.

A pair is a function of its key, the configuration and the textures alone. Drawing and arranging are thousands of small
operations, best done for many pairs together; rendering is a few large ones, of which a processor skips what a pair
does not need (absent shapes, blur, compression) when it does one pair at a time.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from jaxtrack.data.augmentation import SEARCH_PX, TEMPLATE_PX, box_in_crop, sample_window
from jaxtrack.data.procedural.scene import scene_key
from jaxtrack.data.procedural_pairs import arrangement, camera, fields, ground, objects, paints
from jaxtrack.data.procedural_pairs.arrangement import OTHER, SIBLING, SPRITES, TARGET, TARGET_LATER
from jaxtrack.data.procedural_pairs.config import PairConfig
from jaxtrack.data.procedural_pairs.ground import Ground
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.objects import Figure, Object
from jaxtrack.data.procedural_pairs.paints import Paints
from jaxtrack.data.procedural_pairs.view import MIDDLE, View, render_view

_SEARCH_PATCH = 144
# Tells the keys of pairs from those of the scenes of the same split.
_PAIRS = 0x7061


@struct.dataclass
class Pair:
    """A training pair; images are BGR, grey levels in [0, 255] as they are rendered; changes of colour may leave these.

    Attributes:
      template: `float32 [127, 127, 3]`, the target in the middle.
      search: `float32 [255, 255, 3]`.
      box_xyxy: `float32 [4]`, (left, top, right, bottom) of the object in the search image, pixel centres at integers;
        whole where it is hidden, cut only where the video ends.
      negative: `bool []`, whether that object is another one than the template's.
    """

    template: Array
    search: Array
    box_xyxy: Array
    negative: Array


@struct.dataclass
class Recipe:
    """What is drawn of a pair before anything is rendered.

    Attributes:
      key: for all that depends on how large the rendered objects are.
      negative: `bool []`.
      elsewhere: `bool []`, whether the search region has another background.
      patterns: `float32 [fields.TAPE]` numbers.
      seed: `uint32 []` of the patterns.
      figures: the objects, leading axis `SPRITES`.
      turns: `[SPRITES, 2, 2]`, sprite coordinates to image directions.
      grounds: the backgrounds of template and search region, leading axis 2.
      photograph: `int32 []`, which texture.
    """

    key: Array
    negative: Array
    elsewhere: Array
    patterns: Array
    seed: Array
    figures: Figure
    turns: Array
    grounds: Ground
    photograph: Array


@struct.dataclass
class Arranged:
    """Template and search region as they are to be rendered, and the label."""

    template: View
    search: View
    box_xyxy: Array


def pair_key(seed: int, index: int, split: str = "train") -> Array:
    """The key of pair `index` of a split (`train` or `validation`); none is that of a scene of the benchmark."""
    return jax.random.fold_in(scene_key(split, seed, index), _PAIRS)


def render_pair(key: Array, config: PairConfig, textures: Array | None = None) -> Pair:
    """Renders the pair of a key, `render_batch` of one; jittable with `config` static."""
    return jax.tree.map(lambda leaf: leaf[0], render_batch(key[None], config, textures))


def render_batch(keys: Array, config: PairConfig, textures: Array | None = None, together: int | None = None) -> Pair:
    """Renders the pairs of `keys`; every array of the result gets a leading axis B. Jittable with `config` static.

    Args:
      keys: typed random keys `[B]`.
      config: what pairs are like.
      textures: `float32 [T, S, S, 3]`, BGR in [0, 255], photographs for some of the surfaces.
      together: how many pairs are rendered side by side. By default one on a CPU, where each then takes only the time
        it needs, and all of them elsewhere. The pairs are the same but for rounding.
    """
    if together is None:
        together = 1 if jax.default_backend() == "cpu" else keys.shape[0]
    recipes, _, arranged, (template, search) = _stages(keys, config, textures, together)
    return Pair(template, search, arranged.box_xyxy, recipes.negative)


def _stages(
    keys: Array, config: PairConfig, textures: Array | None, together: int
) -> tuple[Recipe, Array, Arranged, tuple[Array, Array]]:
    """Recipes, sprites, arrangements and images of all pairs, one stage after the other."""
    each = functools.partial(_each, together=together)
    recipes = jax.vmap(lambda key: _draw(key, config, textures))(keys)
    patterns = each(fields.render_fields, recipes.patterns, recipes.seed)
    bank = jax.vmap(fields.pack_fields)(patterns)
    sprites = each(lambda recipe, words: _sprites(recipe, words, textures, together), recipes, bank)
    arranged = jax.vmap(lambda recipe, sprite: _arrange(recipe, sprite, config))(recipes, sprites)
    render = functools.partial(_images, textures=textures)
    images = each(render, recipes, arranged, bank, sprites)
    return recipes, sprites, arranged, images


def _each(function: Callable, *trees: object, together: int) -> Any:
    """`function` of every row of the trees, `together` rows side by side."""
    count = jax.tree.leaves(trees)[0].shape[0]
    if 1 < together >= count:
        return jax.vmap(function)(*trees)
    return jax.lax.map(lambda row: function(*row), trees, batch_size=None if together == 1 else together)


def _draw(key: Array, config: PairConfig, textures: Array | None) -> Recipe:
    keys = jax.random.split(key, 8)
    shared = Numbers(jax.random.uniform(keys[0], (24,)))
    negative = shared.chance(config.negative)
    elsewhere = shared.chance(config.other_place) | negative
    with_photograph = shared.chance(config.photo) if textures is not None else jnp.bool_(False)
    choice = shared.uniform()
    shapes, surfaces, detail = ground.sample_ground(jax.random.uniform(keys[1], (ground.TAPE,)), config.clutter)
    items = _objects(keys[2], config)
    surfaces, items = _with_photographs(shared, surfaces, items, with_photograph)
    items = _camouflaged(shared, items, surfaces, config)
    poses = _poses(keys[3], config)
    figures, reach = _figures(items, poses)
    grounds = [
        Ground(shapes, paints.packed(ground.elsewhere(surfaces, other)), detail)
        for other in (jnp.bool_(False), elsewhere)
    ]
    count = 1 if textures is None else textures.shape[0]
    return Recipe(
        key=keys[4],
        negative=negative,
        elsewhere=elsewhere,
        patterns=jax.random.uniform(keys[5], (fields.TAPE,)),
        seed=jax.random.bits(keys[6], (), jnp.uint32),
        figures=figures,
        turns=_turns(keys[7], items, reach, config),
        grounds=jax.tree.map(lambda *leaves: jnp.stack(leaves), *grounds),
        photograph=jnp.minimum(jnp.floor(choice * count), count - 1).astype(jnp.int32),
    )


def _sprites(recipe: Recipe, bank: Array, textures: Array | None, together: int) -> Array:
    """The objects' sprites, `uint32 [SPRITES, SPRITE, SPRITE]`."""
    photograph = None if textures is None else textures[recipe.photograph]
    render = functools.partial(objects.render_sprite, bank=bank, photograph=photograph)
    return _each(render, recipe.figures, together=together)


def _arrange(recipe: Recipe, sprites: Array, config: PairConfig) -> Arranged:
    items = jax.vmap(arrangement.normalised)(sprites, recipe.turns)
    keys = jax.random.split(recipe.key, 9)
    shared = Numbers(jax.random.uniform(keys[0], (4,)))
    main = jnp.where(recipe.negative, jnp.where(shared.chance(0.3), SIBLING, OTHER), TARGET_LATER)
    joined, gray = shared.chance(config.companion), shared.chance(config.gray)
    windows = jnp.stack(
        [sample_window(keys[1], config.template, TEMPLATE_PX), sample_window(keys[2], config.search, SEARCH_PX)]
    )
    companion = jax.random.uniform(keys[3], (arrangement.ROW,))
    crowds = [
        arrangement.arrange(
            keys[4 + later], companion, items, (jnp.int32(TARGET), main)[later], windows[later], config, joined,
            in_search=bool(later),
        )
        for later in range(2)
    ]  # fmt: skip
    mains = arrangement.choose(items, jnp.stack([jnp.int32(TARGET), main]))
    borders = jax.vmap(lambda key, item, cuts: arrangement.sample_border(key, item, config.border, cuts))(
        jax.random.split(keys[6]), mains, jnp.array([0.0, 0.25])
    )
    worlds = _worlds(Numbers(jax.random.uniform(keys[7], (24,))), recipe.elsewhere, config)
    looks = _cameras(keys[8], gray, config)
    views = [
        View(windows[k], worlds[k], _row(recipe.grounds, k), crowds[k], borders[k], _row(looks, k)) for k in range(2)
    ]
    half = 0.5 * mains.extent[1]
    low, high = jnp.maximum(MIDDLE - half, borders[1, :2]), jnp.minimum(MIDDLE + half, borders[1, 2:])
    box = box_in_crop(jnp.concatenate([low, high]), windows[1], SEARCH_PX)
    return Arranged(template=views[0], search=views[1], box_xyxy=box)


def _row(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _images(
    recipe: Recipe, arranged: Arranged, bank: Array, sprites: Array, textures: Array | None
) -> tuple[Array, Array]:
    """Template and search image."""
    photograph = None if textures is None else textures[recipe.photograph]
    return (
        render_view(arranged.template, sprites, bank, photograph, side=TEMPLATE_PX, patch=TEMPLATE_PX),
        render_view(arranged.search, sprites, bank, photograph, side=SEARCH_PX, patch=_SEARCH_PATCH),
    )


def _objects(key: Array, config: PairConfig) -> Object:
    """The objects behind the sprites, stacked: the target twice, a look-alike, and others."""
    keys = jax.random.split(key, SPRITES)
    target = jax.random.uniform(keys[0], (objects.TAPE,))
    relatives = [
        objects.relative(keys[number], target, jnp.bool_(number == SIBLING)) for number in range(SIBLING, SPRITES)
    ]
    return jax.vmap(lambda tape: objects.make(tape, config.bodies))(jnp.stack([target, target, *relatives]))


def _with_photographs(shared: Numbers, surfaces: Paints, items: Object, use: Array) -> tuple[Paints, Object]:
    """Forgets the surfaces' wish for a photograph where the pair has none; the background's base often has one."""
    base = jnp.zeros(surfaces.photo.shape, bool).at[0].set(shared.chance(0.7))
    surfaces = surfaces.replace(photo=(surfaces.photo | base) & use)  # type: ignore[attr-defined]
    covers = items.paints.replace(photo=items.paints.photo & use)  # type: ignore[attr-defined]
    return surfaces, items.replace(paints=covers)  # type: ignore[attr-defined]


def _camouflaged(shared: Numbers, items: Object, surfaces: Paints, config: PairConfig) -> Object:
    """Draws the target's and its likeness' colours towards the background's, but leaves them visible."""
    amount = jnp.where(shared.chance(config.camouflage), shared.uniform(0.2, 0.75), 0.0)
    with_pattern = shared.chance(0.4)
    row = shared.integer(ground.LARGE + 1)
    wild = jax.tree.map(lambda leaf: leaf[row], surfaces)
    wild_first, wild_second = wild.first[None, None], wild.second[None, None]
    hidden = jnp.array([True, True, True] + [False] * (SPRITES - 3))
    share = jnp.where(hidden, amount, 0.0)[:, None, None]
    own = items.paints
    first = own.first + (wild_first - own.first) * share
    second = own.second + (wild_second - own.second) * share
    # The whole object moves away from the background in brightness where it would vanish.
    mean = 0.5 * jnp.mean(first[TARGET] + second[TARGET], axis=0)
    apart = jnp.mean(mean - 0.5 * (wild.first + wild.second))
    least = shared.uniform(16.0, 45.0)
    push = jnp.where(jnp.abs(apart) < least, jnp.where(apart >= 0, least, -least) - apart, 0.0)
    push = jnp.where(hidden, push, 0.0)[:, None, None]
    same = hidden[:, None] & (amount > 0.0) & with_pattern
    paint = own.replace(  # type: ignore[attr-defined]
        first=jnp.clip(first + push, 0.0, 255.0),
        second=jnp.clip(second + push, 0.0, 255.0),
        field=jnp.where(same, wild.field, own.field),
    )
    return items.replace(paints=paint)  # type: ignore[attr-defined]


def _poses(key: Array, config: PairConfig) -> objects.Pose:
    """Every object's pose, leading axis `SPRITES`; the target's later one is mostly near its first one."""
    tape = jax.random.uniform(key, (SPRITES, objects.POSE_TAPE + 1))
    poses = jax.vmap(lambda row: objects.sample_pose(row, 0.8))(tape[:, :-1])
    closeness = 1.25 * config.change * tape[TARGET, -1] ** 1.5

    def later(leaf: Array) -> Array:
        return leaf.at[TARGET_LATER].set(leaf[TARGET] + (leaf[TARGET_LATER] - leaf[TARGET]) * closeness)

    return jax.tree.map(later, poses)


def _figures(items: Object, poses: objects.Pose) -> tuple[Figure, Array]:
    """The objects in their poses, and what they reach; the target's two sprites show the same extent of it."""
    low, high = jax.vmap(objects.bounds)(items, poses)
    both = jnp.array([TARGET, TARGET_LATER])
    low = low.at[both].set(jnp.min(low[both], axis=0))
    high = high.at[both].set(jnp.max(high[both], axis=0))
    middle, reach = 0.5 * (low + high), jnp.maximum(0.5 * (high - low), 0.05)
    return jax.vmap(objects.figure)(items, poses, middle, reach), reach


def _turns(key: Array, items: Object, reach: Array, config: PairConfig) -> Array:
    """How the objects are turned and stretched, `[SPRITES, 2, 2]`; the target's second one is mostly near its first."""
    numbers = Numbers(jax.random.uniform(key, (4 * SPRITES,)))
    tilted = numbers.chance(0.2, (SPRITES,))
    angle = numbers.uniform(-math.pi, math.pi, (SPRITES,))
    angle = jnp.where(tilted, angle, numbers.normal(0.12, (SPRITES,)))
    aspect = jax.vmap(objects.proportions)(items, reach)
    kind, small, large = numbers.uniform(), numbers.normal(0.1), numbers.normal(0.5)
    around = numbers.uniform(-math.pi, math.pi)
    change = jnp.where(kind < 0.78, small, jnp.where(kind < 0.95, large, around)) * config.change
    squeeze = jnp.exp(numbers.normal(0.12) * config.change)
    angle = angle.at[TARGET_LATER].set(angle[TARGET] + change)
    aspect = aspect.at[TARGET_LATER].set(jnp.clip(aspect[TARGET] * squeeze, 0.22, 4.5))
    return jax.vmap(arrangement.turn)(angle, aspect)


def _cameras(key: Array, gray: Array, config: PairConfig) -> camera.Camera:
    """The template's camera and the search region's, leading axis 2; the first is the better one."""
    tape_key, seed_key = jax.random.split(key)
    tape = jax.random.uniform(tape_key, (3, camera.TAPE))
    seeds = jax.random.bits(seed_key, (2,), jnp.uint32)
    degradation = config.degradation * jnp.array([0.5, 1.0])
    change = config.change * jnp.array([0.0, 1.0])
    return jax.vmap(lambda *one: camera.sample_camera(one[0], tape[2], gray, *one[1:]))(
        tape[:2], seeds, degradation, change
    )


def _worlds(numbers: Numbers, other: Array, config: PairConfig) -> tuple[Array, Array]:
    """How both images look at the world, `[2, 3]` each: the background moves against the target."""
    offset = numbers.uniform(-60.0, 60.0, (2,))
    tilt = jnp.where(numbers.chance(0.15), numbers.uniform(-math.pi, math.pi), numbers.normal(0.05))
    zoom = numbers.log_uniform(0.6, 1.5)
    moved = numbers.normal(25.0, (2,)) * config.change
    moved = jnp.where(other, numbers.uniform(-120.0, 120.0, (2,)), moved)
    turned = tilt + jnp.where(other, numbers.normal(0.5), numbers.normal(0.04)) * config.change
    zoomed = zoom * jnp.exp(numbers.normal(0.08) * config.change)

    def matrix(angle: Array, scale: Array, shift: Array) -> Array:
        cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
        return jnp.stack([jnp.stack([cos, -sin, shift[0]]), jnp.stack([sin, cos, shift[1]])])

    return matrix(tilt, zoom, offset), matrix(turned, zoomed, offset + moved)
