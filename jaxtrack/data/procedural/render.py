"""From a scene and a time to an image and its ground truth: pure, jittable, vmappable over scenes and times.

Light is linear while layers are composed and averaged over the exposure; the camera's square root encoding comes
last. It is also what makes photon noise uniform, so the sensor's noise is simply added after it.
Planes are stored `[3, H, W]`, which vectorises; only the finished image is `[H, W, 3]`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxtrack.data.procedural import bodies, motion, textures
from jaxtrack.data.procedural.bodies import Body, Pose
from jaxtrack.data.procedural.scene import Scene, SceneConfig

_TAU = 2 * math.pi
# Pixels by which anything may move between two of the instants that one exposure averages.
_EXPOSURE_STEP_PX = 2.0
_TILT = 0.3


class Rendered(NamedTuple):
    """One frame.

    Attributes:
      image: `uint8 [H, W, 3]`, RGB.
      box: `float32 [4]`, (x, y, w, h), 0-based, of the whole target clipped to the image; zeros when not visible.
      visible: `bool` scalar, whether at least a pixel of the box lies inside the image (occluded or not).
    """

    image: Array
    box: Array
    visible: Array


def render(scene: Scene, t: Array, config: SceneConfig) -> Rendered:
    """Renders the frame whose exposure is centred on time `t` (in frames, `float32` scalar)."""
    box, visible = motion.clip_box(motion.target_box(scene.layout, t, config), config)
    light = _expose(scene, t, config)
    return Rendered(_develop(scene, light, t, config), box, visible)


def _expose(scene: Scene, t: Array, config: SceneConfig) -> Array:
    """The mean of `radiance` over the time the shutter is open, as many instants as the motion asks for."""
    span = jnp.asarray(scene.layout.challenge.exposure, jnp.float32)
    travel = _travel(scene, t - 0.5 * span, t + 0.5 * span, config)
    count = jnp.clip(jnp.ceil(travel / _EXPOSURE_STEP_PX), 1.0, float(config.max_exposures))

    def add(index, total):
        when = t + span * ((index.astype(jnp.float32) + 0.5) / count - 0.5)
        return total + radiance(scene, when, config)

    empty = jnp.zeros((3, config.height, config.width), jnp.float32)
    return jax.lax.fori_loop(0, count.astype(jnp.int32), add, empty) / count


def _travel(scene: Scene, before: Array, after: Array, config: SceneConfig) -> Array:
    """Roughly the largest distance in pixels that anything in view moves between two times."""
    first, last = (motion.view_at(scene.layout, t) for t in (before, after))
    ground = jnp.linalg.norm(last.pan - first.pan) + jnp.linalg.norm(last.shake - first.shake)
    poses = [motion.target_pose(scene.layout, t, config) for t in (before, after)]
    target = jnp.linalg.norm(poses[1].centre - poses[0].centre)
    turn = jnp.abs(poses[1].angle - poses[0].angle) * poses[0].scale
    challenge = scene.layout.challenge
    occluder = jnp.where(challenge.occluders > 0, jnp.abs(challenge.occluder_speed) * (after - before), 0.0)
    return jnp.maximum(jnp.maximum(ground, target + turn), occluder)


def radiance(scene: Scene, t: Array, config: SceneConfig) -> Array:
    """The light at one instant, before the camera, linear RGB `float32 [3, H, W]`."""
    layout, look = scene.layout, scene.look
    challenge = layout.challenge
    blur = challenge.defocus * jnp.sin(_TAU * t / 48.0) ** 2

    def sprite(number, image):
        """Draws look-alike `number`, or the target for -1."""
        index = jnp.maximum(number.astype(jnp.float32), 0.0)
        companion = motion.distractor_pose(layout, index, t, config)
        target = motion.target_pose(layout, t, config)
        pose = jax.tree.map(lambda a, b: jnp.where(number < 0, a, b), target, companion)
        window = _Window(pose.centre, (config.window, config.window), config)
        layer = paint(layout.body, look.target, look.colours, look.light, pose, window.x, window.y, blur)
        shade = 1.0 - 0.5 * _drop_shadow(pose, window.x, window.y)
        return window.put(image, _over(layer, window.get(image) * shade[None]))

    def occluder(index, image):
        pose = motion.occluder_pose(layout, index.astype(jnp.float32), t, config)
        window = _Window(pose.centre, (config.height, config.window), config)
        layer = paint(
            layout.occluder, look.occluder, look.occluder_colours, look.light, pose, window.x, window.y, blur + 0.3
        )
        return window.put(image, _over(layer, window.get(image)))

    image = _ground(scene, t, blur, config)
    look_alikes = jnp.asarray(challenge.distractors).astype(jnp.int32)
    # Downwards, so that the target comes last and no look-alike hides it.
    image = jax.lax.fori_loop(0, look_alikes + 1, lambda k, image: sprite(look_alikes - 1 - k, image), image)
    return jax.lax.fori_loop(0, jnp.asarray(challenge.occluders).astype(jnp.int32), occluder, image)


def _pixels(height: int, width: int) -> tuple[Array, Array]:
    """Pixel centres `(x, y)`, `float32 [H, W]` each; pixel (0, 0) covers [0, 1) x [0, 1)."""
    x, y = (jnp.arange(size, dtype=jnp.float32) + 0.5 for size in (width, height))
    return jnp.broadcast_to(x[None, :], (height, width)), jnp.broadcast_to(y[:, None], (height, width))


def _over(layer: Array, image: Array) -> Array:
    """Composes a premultiplied RGBA layer `[4, h, w]` over an RGB image `[3, h, w]`."""
    return layer[:3] + image * (1.0 - layer[3:])


def _ground(scene: Scene, t: Array, blur: Array, config: SceneConfig) -> Array:
    """The background: the ground texture seen a little obliquely, under haze that thickens upwards."""
    view = motion.view_at(scene.layout, t)
    x, y = _pixels(config.height, config.width)
    x, y = x - 0.5 * config.width - view.shake[0], y - 0.5 * config.height - view.shake[1]
    cos, sin = jnp.cos(view.roll), jnp.sin(view.roll)
    x, y = cos * x + sin * y, cos * y - sin * x
    # A plane that recedes towards the top of the image: rows there see more of the ground.
    distance = 1.0 / (view.zoom * (1.0 + _TILT * y / config.height))
    footprint = jnp.sqrt(jnp.maximum(1.0 / view.zoom, 1.0) ** 2 + 4.0 * (blur / view.zoom) ** 2)
    light = textures.sample_stack(
        scene.look.background, x * distance + view.pan[0], y * distance + view.pan[1], footprint
    )
    amount = scene.layout.challenge.haze * jnp.clip(0.5 - y / config.height, 0.0, 1.2) ** 2
    return light + (scene.look.haze[:, None, None] - light) * amount[None]


class _Window:
    """A patch of fixed size about a place, moved so that it lies in the image; `x`, `y` are its pixels' centres."""

    def __init__(self, centre: Array, size: tuple[int, int], config: SceneConfig):
        limit = jnp.array([config.width - size[1], config.height - size[0]], jnp.float32)
        corner = jnp.clip(jnp.round(centre - 0.5 * jnp.array([size[1], size[0]], jnp.float32)), 0.0, limit)
        x, y = _pixels(*size)
        self.x, self.y = x + corner[0], y + corner[1]
        self._start = (jnp.int32(0), corner[1].astype(jnp.int32), corner[0].astype(jnp.int32))
        self._size = size

    def get(self, image: Array) -> Array:
        return jax.lax.dynamic_slice(image, self._start, (3, *self._size))

    def put(self, image: Array, patch: Array) -> Array:
        return jax.lax.dynamic_update_slice(image, patch, self._start)


def _drop_shadow(pose: Pose, x: Array, y: Array) -> Array:
    """A soft pool of shade below a body, `float32 [h, w]` in [0, 1]: it puts the body into the scene."""
    across = (x - pose.centre[0]) / (0.62 * pose.scale) - 0.2
    down = (y - pose.centre[1]) / (0.2 * pose.scale) - 4.2
    return jnp.exp(-(across**2) - down**2)


def paint(body: Body, stack: Array, colours: Array, light: Array, pose: Pose, x: Array, y: Array, blur: Array) -> Array:
    """Paints a body's parts in order at the pixels `(x, y)`: premultiplied linear RGBA, `float32 [4, h, w]`.

    Args:
      body: the parts, `[P, ...]`.
      stack: `uint32 [L, T, T]` texture stack.
      colours: `float32 [4, 3]` flat colours.
      light: `float32 [3]` unit vector towards the light.
      pose: where and how the body lies.
      x: `float32 [h, w]` image columns of the pixel centres.
      y: `float32 [h, w]` image rows.
      blur: scalar, standard deviation in pixels by which edges and texture are out of focus.
    """
    u, v = bodies.image_to_body(pose, x, y)
    per_pixel = bodies.TEXELS / pose.scale
    footprint = jnp.sqrt(jnp.maximum(per_pixel, 1.0) ** 2 + 4.0 * (blur * per_pixel) ** 2)
    # Turning out of the plane brings other parts of the coat into view.
    column = bodies.TEXELS * (u * (1.0 + 0.15 * u * u) + 0.9 * pose.yaw)
    coat = textures.sample_stack(stack, column, bodies.TEXELS * v, footprint)  # [3, h, w]
    paints = jnp.concatenate([jnp.zeros((1, 3)), colours])[body.colour]  # [P, 3]
    angles, centres = bodies.part_angles(body, pose), bodies.part_centres(body, pose)

    def add(planes, row):
        part, angle, centre, flat = row
        alpha, shade, under, gloss = _part(part, angle, centre, light, pose, u, v, blur)
        textured, keep = part.colour == bodies.TEXTURE, 1.0 - alpha
        below = under * keep
        rgb = [(jnp.where(textured, coat[k], flat[k]) * shade + gloss) * alpha + planes[k] * below for k in range(3)]
        return (*rgb, alpha + planes[3] * keep), None

    # A loop rather than copies, for it compiles in a third of the time; separate planes, for one array [4, h, w]
    # would have every channel work out coverage and shade anew, five times slower.
    empty = jnp.zeros(x.shape, jnp.float32)
    return jnp.stack(jax.lax.scan(add, (empty,) * 4, (body, angles, centres, paints))[0])


def _part(
    part: Body, angle: Array, centre: Array, light: Array, pose: Pose, u: Array, v: Array, blur: Array
) -> tuple[Array, Array, Array, Array]:
    """Coverage, diffuse shade, dimming of what lies below, and highlight of one part, `float32 [h, w]` each."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    du, dv = u - centre[0], v - centre[1]
    x, y = (cos * du + sin * dv) / part.half[0], (cos * dv - sin * du) / part.half[1]  # in the part, [-1, 1]
    twice = part.square**2
    # The squircle's equation has a second branch outside the unit square, which the last two terms cut off.
    level = jnp.maximum(x * x + y * y - twice * x * x * y * y - 1.0, jnp.maximum(x * x, y * y) - 1.0)
    near_x, near_y = jnp.clip(x, -1.2, 1.2), jnp.clip(y, -1.2, 1.2)
    slope_x = 2.0 * near_x * (1.0 - twice * near_y * near_y)
    slope_y = 2.0 * near_y * (1.0 - twice * near_x * near_x)
    a, b, c = _metric(part, cos, sin, pose)
    slope = jnp.sqrt(a * slope_x**2 + 2.0 * b * slope_x * slope_y + c * slope_y**2 + 1e-8)  # per pixel
    inside_px = jnp.minimum(-level / slope, jnp.min(part.half) * pose.scale)
    width = 1.0 + 2.5 * blur
    alpha = jnp.where(part.active, jnp.clip(inside_px / width + 0.5, 0.0, 1.0), 0.0)
    near = jnp.clip(1.0 + inside_px / (0.10 * pose.scale), 0.0, 1.0)
    under = 1.0 - jnp.where(part.active, 0.4 * near, 0.0)
    tilt = pose.angle + pose.flip * angle
    ux, uy = jnp.cos(tilt) * light[0] + jnp.sin(tilt) * light[1], jnp.cos(tilt) * light[1] - jnp.sin(tilt) * light[0]
    upright = jnp.sqrt(1.0 - 0.8 * jnp.clip(level + 1.0, 0.0, 1.0))
    facing = 0.85 * (near_x * ux * pose.flip + near_y * uy) + upright * light[2]
    shade = 0.42 + 0.72 * jnp.maximum(facing, 0.0)
    return alpha, shade, under, 0.5 * jnp.maximum(facing - 0.9, 0.0)


def _metric(part: Body, cos: Array, sin: Array, pose: Pose) -> tuple[Array, Array, Array]:
    """The quadratic form that turns a gradient in part coordinates into its squared length per pixel."""
    squeeze = 1.0 / bodies.narrowing(pose.yaw)
    first = jnp.stack([cos * squeeze, sin]) / (part.half[0] * pose.scale)
    second = jnp.stack([-sin * squeeze, cos]) / (part.half[1] * pose.scale)
    return jnp.sum(first * first), jnp.sum(first * second), jnp.sum(second * second)


def _develop(scene: Scene, light: Array, t: Array, config: SceneConfig) -> Array:
    """The camera: lighting of the moment, vignette, monochrome sensor, encoding, noise; `uint8 [H, W, 3]`."""
    challenge, phases = scene.layout.challenge, scene.layout.phases
    x, y = _pixels(config.height, config.width)
    turn = _TAU * t / challenge.light_period
    gain = jnp.exp(challenge.flicker * jnp.sin(turn) - challenge.dimness)
    tint = 1.0 + challenge.tint * jnp.array([1.0, 0.1, -1.0]) * jnp.sin(0.8 * turn + phases[0])
    across, down = x / config.width - 0.5, y / config.height - 0.5
    vignette = 1.0 - 0.45 * (across**2 + down**2)
    lit = light * (gain * tint)[:, None, None] * (vignette * _moving_shadow(scene, x, y, t))[None]
    grey = jnp.tensordot(jnp.array([0.30, 0.59, 0.11]), lit, axes=1)[None]
    mono = jnp.asarray(challenge.grey) > 0
    encoded = 255.0 * jnp.sqrt(jnp.clip(jnp.where(mono, grey, lit), 0.0, 1.0))
    moment = jnp.round(t * 64.0).astype(jnp.int32).astype(jnp.uint32)
    place = jnp.arange(config.height * config.width, dtype=jnp.uint32).reshape(1, config.height, config.width)
    channel = jnp.arange(3, dtype=jnp.uint32)[:, None, None] * jnp.where(mono, 0, 1).astype(jnp.uint32)
    # One hash decides a frame's three channel seeds, a second one the pixels.
    frame_seeds = textures.hash_u32(channel, moment.reshape(1, 1, 1), scene.look.seed.reshape(1, 1, 1))
    noisy = encoded + challenge.noise * textures.hash_normal(place ^ frame_seeds)
    return jnp.transpose(jnp.clip(jnp.round(noisy), 0.0, 255.0).astype(jnp.uint8), (1, 2, 0))


def _moving_shadow(scene: Scene, x: Array, y: Array, t: Array) -> Array:
    """Dappled shade that drifts over the scene, `float32 [H, W]` factor."""
    challenge, phases = scene.layout.challenge, scene.layout.phases
    turn = _TAU * t / challenge.light_period
    waves = jnp.sin(0.021 * x + 0.012 * y + 1.3 * turn + phases[1])
    waves = waves + jnp.sin(0.026 * y - 0.017 * x + 0.6 * jnp.sin(0.03 * x) - turn + phases[2])
    return 1.0 - challenge.shadows * textures.smoothstep(-0.1, 0.6, waves)
