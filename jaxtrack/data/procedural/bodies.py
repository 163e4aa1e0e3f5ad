"""Targets as articulated bodies: parts with exact outlines, and the deformation that carries them to the image.

A part is a squircle (Fernández-Guasti), x² + y² - s²x²y² = 1 inside |x|, |y| <= 1: a circle for s = 0, almost a square
for s near 1. It has both a closed outline, from which the ground-truth box follows without rendering, and a
closed inside test, from which the renderer gets coverage and shading. The deformation from body to image is a chain
of steps that are each undone in closed form (shears by sines, foreshortening, keystone, similarity), so box and
picture agree exactly however the body bends.

Body coordinates: about [-1, 1] in both directions, y down, the unit being `Pose.scale` pixels.
"""

import math

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

PARTS = 8
OUTLINE_POINTS = 64
TEXTURE, SKIN, DARK, LIGHT, ACCENT = range(5)
_PI = math.pi

# One row per part, painted in this order:
#   pivot x, y | offset from the pivot x, y | half size x, y | square | angle | swing | phase | depth | colour
# `swing` is the amplitude in radians by which the part turns about its pivot as the body moves; `depth` how far
# the part stands out towards the viewer, which makes it slide when the body turns out of the image plane.
_BODIES = {
    "walker": [
        (-0.10, 0.16, 0, 0.40, 0.13, 0.43, 0.6, 0, 0.50, 0, 0, DARK),
        (0.10, 0.16, 0, 0.40, 0.13, 0.43, 0.6, 0, 0.50, _PI, 0, DARK),
        (-0.26, -0.42, 0, 0.30, 0.09, 0.34, 0.5, 0.1, 0.55, _PI, 0, TEXTURE),
        (0, -0.14, 0, 0, 0.30, 0.42, 0.85, 0, 0, 0, 0, TEXTURE),
        (0, 0.26, 0, 0, 0.28, 0.06, 0.9, 0, 0, 0, 0.03, ACCENT),
        (0.27, -0.42, 0, 0.28, 0.09, 0.32, 0.5, -0.1, 0.55, 0, 0, SKIN),
        (0.02, -0.73, 0, 0, 0.19, 0.23, 0.3, 0, 0, 0, 0.08, SKIN),
        (-0.01, -0.86, 0, 0, 0.21, 0.14, 0.4, 0, 0, 0, 0, DARK),
    ],
    "car": [
        (-0.05, -0.16, 0, 0, 0.55, 0.27, 0.8, 0, 0, 0, 0, TEXTURE),
        (0, 0.12, 0, 0, 0.98, 0.27, 0.92, 0, 0, 0, 0, TEXTURE),
        (0.20, -0.15, 0, 0, 0.20, 0.16, 0.85, 0, 0, 0, 0.05, LIGHT),
        (-0.28, -0.15, 0, 0, 0.22, 0.16, 0.85, 0, 0, 0, 0.05, LIGHT),
        (-0.58, 0.36, 0, 0, 0.22, 0.22, 0, 0, 0, 0, 0.1, DARK),
        (0.58, 0.36, 0, 0, 0.22, 0.22, 0, 0, 0, 0, 0.1, DARK),
        (-0.58, 0.36, 0, 0, 0.10, 0.10, 0, 0, 0, 0, 0.12, LIGHT),
        (0.58, 0.36, 0, 0, 0.10, 0.10, 0, 0, 0, 0, 0.12, LIGHT),
    ],
    "fish": [
        (-0.58, 0, -0.20, 0, 0.24, 0.34, 0.5, 0, 0.45, 0, 0, ACCENT),
        (-0.05, -0.34, 0, 0, 0.34, 0.22, 0.3, 0.2, 0.05, 1, 0, ACCENT),
        (0.05, 0.28, -0.05, 0.12, 0.12, 0.22, 0.2, 0.4, 0.30, 2, 0, ACCENT),
        (0.05, 0, 0, 0, 0.74, 0.44, 0.2, 0, 0.04, 3, 0, TEXTURE),
        (0.18, 0.20, 0, 0, 0.46, 0.15, 0, 0, 0, 0, 0.05, LIGHT),
        (0.20, 0.06, -0.10, 0.06, 0.18, 0.10, 0.1, -0.3, 0.40, 1, 0.2, ACCENT),
        (0.52, -0.11, 0, 0, 0.11, 0.11, 0, 0, 0, 0, 0.15, LIGHT),
        (0.55, -0.11, 0, 0, 0.055, 0.06, 0, 0, 0, 0, 0.2, DARK),
    ],
    "bird": [
        (0, -0.06, -0.10, -0.42, 0.24, 0.46, 0.3, -0.3, 0.50, 0, 0, DARK),
        (-0.50, 0.06, -0.22, 0, 0.28, 0.12, 0.4, 0, 0.15, 1, 0, TEXTURE),
        (0, 0.05, 0, 0, 0.58, 0.27, 0.1, 0, 0.04, 0, 0, TEXTURE),
        (0.10, 0.17, 0, 0, 0.38, 0.13, 0, 0, 0, 0, 0.05, LIGHT),
        (0.78, -0.10, 0, 0, 0.15, 0.06, 0.2, 0.1, 0, 0, 0.1, SKIN),
        (0.55, -0.14, 0, 0, 0.22, 0.20, 0.1, 0, 0, 0, 0.08, ACCENT),
        (0.62, -0.18, 0, 0, 0.05, 0.05, 0, 0, 0, 0, 0.2, DARK),
        (0, 0.02, -0.14, 0.36, 0.25, 0.44, 0.3, 0.3, 0.50, _PI, 0.1, TEXTURE),
    ],
    "face": [
        (0, -0.12, 0, 0, 0.70, 0.80, 0.3, 0, 0, 0, -0.12, DARK),
        (0, 0.04, 0, 0, 0.68, 0.17, 0.3, 0, 0, 0, -0.05, SKIN),
        (0, 0.12, 0, 0, 0.58, 0.80, 0.35, 0, 0, 0, 0.02, SKIN),
        (0, -0.60, 0, 0, 0.66, 0.32, 0.7, 0, 0, 0, 0.04, TEXTURE),
        (-0.23, -0.02, 0, 0, 0.11, 0.08, 0.1, 0, 0, 0, 0.22, DARK),
        (0.23, -0.02, 0, 0, 0.11, 0.08, 0.1, 0, 0, 0, 0.22, DARK),
        (0, 0.22, 0, 0, 0.09, 0.17, 0.3, 0, 0, 0, 0.34, SKIN),
        (0, 0.53, 0, 0, 0.25, 0.075, 0.2, 0, 0.03, 0, 0.22, ACCENT),
    ],
    "dog": [
        (-0.66, -0.16, -0.05, -0.18, 0.07, 0.24, 0.3, -0.6, 0.45, 0, 0, TEXTURE),
        (-0.36, 0.20, 0, 0.34, 0.11, 0.38, 0.4, 0, 0.45, _PI, -0.05, DARK),
        (-0.52, 0.20, 0, 0.34, 0.12, 0.40, 0.4, 0, 0.45, 0, 0, TEXTURE),
        (0.42, 0.20, 0, 0.34, 0.11, 0.40, 0.4, 0, 0.45, _PI, 0, TEXTURE),
        (-0.04, -0.02, 0, 0, 0.68, 0.34, 0.5, 0, 0.03, 0, 0, TEXTURE),
        (0.68, -0.36, 0, 0, 0.28, 0.25, 0.4, 0.2, 0.06, 1, 0.05, TEXTURE),
        (0.56, -0.56, 0, 0.12, 0.09, 0.20, 0.3, 0.3, 0.15, 0, 0.1, DARK),
        (0.90, -0.34, 0, 0, 0.07, 0.06, 0, 0, 0, 0, 0.08, DARK),
    ],
    "ball": [
        (0, 0, 0, 0, 0.95, 0.95, 0, 0, 0, 0, 0, TEXTURE),
        (0, 0, 0, 0, 0.34, 0.34, 0, 0, 0, 0, 0.4, LIGHT),
        (0, 0, 0, 0, 0.20, 0.20, 0, 0, 0, 0, 0.42, ACCENT),
    ],
    "book": [
        (0.04, 0.04, 0, 0, 0.74, 0.95, 0.96, 0, 0, 0, -0.1, LIGHT),
        (0, 0, 0, 0, 0.76, 0.94, 0.97, 0, 0, 0, 0, TEXTURE),
        (-0.64, 0, 0, 0, 0.08, 0.93, 0.95, 0, 0, 0, 0, DARK),
        (0.08, -0.45, 0, 0, 0.50, 0.26, 0.95, 0, 0, 0, 0, LIGHT),
        (0.08, -0.53, 0, 0, 0.38, 0.05, 0.9, 0, 0, 0, 0, DARK),
        (0.00, -0.36, 0, 0, 0.28, 0.04, 0.9, 0, 0, 0, 0, DARK),
        (0.10, 0.40, 0, 0, 0.32, 0.32, 0, 0, 0, 0, 0, ACCENT),
        (0.10, 0.40, 0, 0, 0.18, 0.18, 0.9, 0.8, 0, 0, 0, LIGHT),
    ],
    "jelly": [
        (-0.50, 0.0, 0, 0.45, 0.10, 0.50, 0.3, 0.1, 0.35, 0, 0, ACCENT),
        (-0.17, 0.05, 0, 0.45, 0.11, 0.50, 0.3, 0, 0.35, 1.6, 0, SKIN),
        (0.17, 0.05, 0, 0.45, 0.10, 0.50, 0.3, 0, 0.35, 3.2, 0, ACCENT),
        (0.50, 0.0, 0, 0.45, 0.10, 0.50, 0.3, -0.1, 0.35, 4.8, 0, SKIN),
        (0, -0.28, 0, 0, 0.82, 0.62, 0.3, 0, 0.08, 0, 0, TEXTURE),
        (0, 0.20, 0, 0, 0.74, 0.10, 0.5, 0, 0.08, 0, 0, ACCENT),
        (-0.26, -0.22, 0, 0, 0.11, 0.14, 0, 0, 0, 0, 0.2, DARK),
        (0.26, -0.22, 0, 0, 0.11, 0.14, 0, 0, 0, 0, 0.2, DARK),
    ],
    "butterfly": [
        (0, 0.08, -0.40, 0.32, 0.38, 0.44, 0.2, 0.5, 0.22, 0, 0, ACCENT),
        (0, 0.08, 0.40, 0.32, 0.38, 0.44, 0.2, -0.5, -0.22, 0, 0, ACCENT),
        (0, -0.05, -0.48, -0.40, 0.50, 0.42, 0.3, 0.5, 0.20, 0.4, 0, TEXTURE),
        (0, -0.05, 0.48, -0.40, 0.50, 0.42, 0.3, -0.5, -0.20, 0.4, 0, TEXTURE),
        (0, -0.05, -0.55, -0.42, 0.16, 0.15, 0, 0.5, 0.20, 0.4, 0, LIGHT),
        (0, -0.05, 0.55, -0.42, 0.16, 0.15, 0, -0.5, -0.20, 0.4, 0, LIGHT),
        (0, 0.08, 0, 0, 0.10, 0.62, 0.3, 0, 0.05, 0, 0.05, DARK),
        (0, -0.56, 0, 0, 0.13, 0.13, 0, 0, 0, 0, 0.08, DARK),
    ],
}
# What hides the target: a tall post, and a bush of a few overlapping lobes.
_OCCLUDERS = {
    "post": [
        (0, 0, 0, 0, 0.60, 12.0, 0.97, 0, 0, 0, 0, TEXTURE),
        (0.05, 1.1, 0, 0, 0.80, 0.26, 0.9, 0, 0, 0, 0, ACCENT),
    ],
    "bush": [
        (0.45, 0.25, 0, 0, 0.75, 0.80, 0.4, 0, 0, 0, 0, TEXTURE),
        (-0.25, -0.05, 0, 0, 0.80, 1.00, 0.3, 0, 0, 0, 0, TEXTURE),
    ],
}
BODY_NAMES, OCCLUDER_NAMES = tuple(_BODIES), tuple(_OCCLUDERS)


@struct.dataclass
class Body:
    """The parts of one body; `float32` except `colour` and `active`.

    Attributes:
      pivot: `[P, 2]`, the point about which the part swings, body units.
      offset: `[P, 2]`, the part's centre relative to its pivot, before it swings.
      half: `[P, 2]`, half width and half height.
      square: `[P]`, squircle parameter in [0, 1).
      angle: `[P]`, rest angle in radians.
      swing: `[P]`, amplitude of the swing in radians.
      phase: `[P]`, phase of the swing in radians.
      depth: `[P]`, height above the image plane, body units.
      colour: `int32 [P]`, 0 for the body's texture, else 1 + row of its flat colours.
      active: `bool [P]`, whether the part exists.
    """

    pivot: Array
    offset: Array
    half: Array
    square: Array
    angle: Array
    swing: Array
    phase: Array
    depth: Array
    colour: Array
    active: Array


@struct.dataclass
class Pose:
    """How a body lies in the image at one instant, `float32`.

    Attributes:
      centre: `[2]`, image position (x, y) of the body's origin, pixels.
      scale: scalar, pixels per body unit.
      flip: scalar, 1 or -1 for a body that faces left.
      angle: scalar, rotation in the image plane, radians, clockwise on screen.
      yaw: scalar, rotation out of the image plane about the body's vertical axis, radians.
      gait: scalar, phase of the limbs' swing, radians.
      swing: scalar, factor on the parts' swing.
      bend: `[2]`, amplitudes of the sine shears along x and y, body units.
    """

    centre: Array
    scale: Array
    flip: Array
    angle: Array
    yaw: Array
    gait: Array
    swing: Array
    bend: Array


def _table(bodies: dict, parts: int) -> np.ndarray:
    rows = np.zeros((len(bodies), parts, 13), np.float32)
    rows[..., 4:6] = 1.0
    for row, body in zip(rows, bodies.values(), strict=True):
        row[: len(body), :12], row[: len(body), 12] = body, 1.0
    return rows


_BODY_ROWS, _OCCLUDER_ROWS = _table(_BODIES, PARTS), _table(_OCCLUDERS, 2)


def body(index: Array) -> Body:
    """The body `BODY_NAMES[index]`, `PARTS` parts."""
    return _from_rows(jnp.asarray(_BODY_ROWS)[index])


def occluder(index: Array) -> Body:
    """The occluder `OCCLUDER_NAMES[index]`, two parts."""
    return _from_rows(jnp.asarray(_OCCLUDER_ROWS)[index])


def _from_rows(rows: Array) -> Body:
    square, angle, swing, phase, depth = jnp.moveaxis(rows[:, 6:11], -1, 0)
    colour, active = rows[:, 11].astype(jnp.int32), rows[:, 12] > 0
    return Body(rows[:, 0:2], rows[:, 2:4], rows[:, 4:6], square, angle, swing, phase, depth, colour, active)


# Ratio of a body's depth to its width: its silhouette's width at a quarter turn.
_THICKNESS = 0.55
_KEYSTONE = 0.28
_BEND_WAVES = 2.6
# Texels of the target's texture per body unit, and how far one radian of yaw scrolls it.
TEXELS = 46.0


def part_angles(body: Body, pose: Pose) -> Array:
    """Every part's present angle, `float32 [P]` radians."""
    return body.angle + pose.swing * body.swing * jnp.sin(pose.gait + body.phase)


def part_centres(body: Body, pose: Pose) -> Array:
    """Every part's present centre in body units, `float32 [P, 2]`."""
    angle = part_angles(body, pose)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = body.offset[:, 0], body.offset[:, 1]
    slide = jnp.stack([body.depth * jnp.sin(pose.yaw), jnp.zeros_like(body.depth)], axis=-1)
    return body.pivot + slide + jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def narrowing(yaw: Array) -> Array:
    """Factor on the width of an ellipsoid that has turned by `yaw`."""
    return jnp.sqrt(jnp.cos(yaw) ** 2 + (_THICKNESS * jnp.sin(yaw)) ** 2)


def body_to_image(pose: Pose, x: Array, y: Array) -> tuple[Array, Array]:
    """Carries body coordinates to image pixels; `image_to_body` undoes each step in reverse order."""
    x = x + pose.bend[0] * jnp.sin(_BEND_WAVES * y + 0.7 * pose.gait)
    y = y + pose.bend[1] * jnp.sin(_BEND_WAVES * x - 0.5 * pose.gait)
    x = x * narrowing(pose.yaw)
    y = y * (1.0 + _KEYSTONE * jnp.sin(pose.yaw) * x)
    x, y = x * pose.scale * pose.flip, y * pose.scale
    cos, sin = jnp.cos(pose.angle), jnp.sin(pose.angle)
    return pose.centre[0] + cos * x - sin * y, pose.centre[1] + sin * x + cos * y


def image_to_body(pose: Pose, x: Array, y: Array) -> tuple[Array, Array]:
    """Carries image pixels to body coordinates, the exact inverse of `body_to_image`."""
    x, y = x - pose.centre[0], y - pose.centre[1]
    cos, sin = jnp.cos(pose.angle), jnp.sin(pose.angle)
    x, y = (cos * x + sin * y) * (pose.flip / pose.scale), (cos * y - sin * x) / pose.scale
    # Far outside the body the keystone would divide by zero; a body never reaches |x| = 2.
    y = y / (1.0 + _KEYSTONE * jnp.sin(pose.yaw) * jnp.clip(x, -2.0, 2.0))
    x = x / narrowing(pose.yaw)
    y = y - pose.bend[1] * jnp.sin(_BEND_WAVES * x - 0.5 * pose.gait)
    x = x - pose.bend[0] * jnp.sin(_BEND_WAVES * y + 0.7 * pose.gait)
    return x, y


def outline(body: Body, pose: Pose) -> tuple[Array, Array]:
    """Points on the outlines of all parts in the image, `(x, y)`, `float32 [P, OUTLINE_POINTS]` pixels each."""
    turn = jnp.arange(OUTLINE_POINTS, dtype=jnp.float32) * (2 * _PI / OUTLINE_POINTS)
    cos, sin = jnp.cos(turn)[None, :], jnp.sin(turn)[None, :]
    product = (body.square**2)[:, None] * cos**2 * sin**2
    # The smaller root of r^2 - s^2 cos^2 sin^2 r^4 = 1, in the form that stays exact as s goes to 0.
    radius = jnp.sqrt(2.0 / (1.0 + jnp.sqrt(jnp.maximum(1.0 - 4.0 * product, 0.0))))
    x, y = radius * cos * body.half[:, :1], radius * sin * body.half[:, 1:]
    angle, centre = part_angles(body, pose), part_centres(body, pose)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    x, y = centre[:, :1] + cos * x - sin * y, centre[:, 1:] + sin * x + cos * y
    return body_to_image(pose, x, y)


def bounds(body: Body, pose: Pose) -> Array:
    """The tight box of the whole silhouette, `float32 [4]` (x, y, w, h), not clipped to the image."""
    active = body.active[:, None]
    x, y = outline(body, pose)
    low = jnp.stack([jnp.min(jnp.where(active, axis, jnp.inf)) for axis in (x, y)])
    high = jnp.stack([jnp.max(jnp.where(active, axis, -jnp.inf)) for axis in (x, y)])
    return jnp.concatenate([low, high - low])
