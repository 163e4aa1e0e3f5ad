"""Where everything in a scene is at time `t` (in frames, continuous): closed forms without state."""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxtrack.data.procedural import bodies
from jaxtrack.data.procedural.bodies import Pose
from jaxtrack.data.procedural.scene import Layout, SceneConfig

_TAU = 2 * math.pi
# The target's absence, in frames: gone fully between the inner two, repeated with this period.
_LEAVE_FRAMES = (4.0, 16.0, 19.0, 31.0)
_LEAVE_PERIOD = 42.0
_FIRST_OCCLUSION = 14.0


class View(NamedTuple):
    """The camera: `pan [2]` in background texels, `zoom`, `roll` scalars, `shake [2]` pixels."""

    pan: Array
    zoom: Array
    roll: Array
    shake: Array


def view_at(layout: Layout, t: Array) -> View:
    """The camera at time `t`: steady pan with a slow sway, breathing zoom, roll, and the hand's shake."""
    challenge, phases = layout.challenge, layout.phases
    sway = jnp.stack([jnp.sin(_TAU * t / 70.0 + phases[0]), jnp.sin(_TAU * t / 53.0 + phases[1])])
    pan = 97.0 * phases[2:4] + layout.heading * challenge.pan * t + 8.0 * sway
    turn = _TAU * t / challenge.shake_period
    shake = jnp.stack(
        [
            jnp.sin(turn + phases[4]) + 0.3 * jnp.sin(2.3 * turn + phases[5]),
            0.8 * jnp.sin(1.13 * turn + phases[6]) + 0.3 * jnp.sin(2.7 * turn + phases[7]),
        ]
    )
    zoom = jnp.exp(challenge.zoom * jnp.sin(_TAU * t / 64.0))
    return View(pan, zoom, 0.02 * jnp.sin(_TAU * t / 80.0 + phases[8]), challenge.shake * shake)


def _absence(t: Array) -> Array:
    """0 while the target is in view, 1 while it is gone, with smooth ramps of constant acceleration."""
    t = jnp.mod(t, _LEAVE_PERIOD)
    out0, out1, in0, in1 = _LEAVE_FRAMES
    ramps = [0.5 - 0.5 * jnp.cos(math.pi * jnp.clip((t - a) / (b - a), 0, 1)) for a, b in ((out0, out1), (in0, in1))]
    return ramps[0] - ramps[1]


def _target_path(layout: Layout, t: Array, config: SceneConfig) -> Array:
    """Where a steady camera would see the target's origin, `float32 [2]`."""
    challenge, phases = layout.challenge, layout.phases
    turn = _TAU * t / challenge.wander_period
    # 0.8 + 0.2 keeps the sum of both sines inside the reach.
    path = jnp.stack(
        [
            0.8 * jnp.sin(turn + phases[9]) + 0.2 * jnp.sin(1.7 * turn + phases[10]),
            0.8 * jnp.sin(0.8 * turn + phases[11]) + 0.2 * jnp.sin(1.9 * turn + phases[12]),
        ]
    )
    inside = layout.start + layout.reach * path
    edge = config.width / 2 + layout.exit_side * (config.width / 2 + 1.3 * challenge.size + 8.0)
    gone = challenge.leave * _absence(t)
    x = inside[0] + gone * (edge - inside[0])
    return jnp.stack([x, inside[1]])


def target_pose(layout: Layout, t: Array, config: SceneConfig) -> Pose:
    """The target's pose at time `t`."""
    challenge, phases = layout.challenge, layout.phases
    growth = jnp.sin(_TAU * t / challenge.growth_period)
    # Squared, so that a scene that grows never comes back smaller than it started.
    scale = challenge.size * jnp.exp(challenge.growth * growth**2)
    bend = challenge.bend * jnp.stack([jnp.sin(_TAU * t / 17.0 + phases[13]), jnp.sin(_TAU * t / 23.0 + phases[14])])
    return Pose(
        centre=_target_path(layout, t, config) + view_at(layout, t).shake,
        scale=scale,
        flip=layout.flip,
        angle=challenge.rotation * jnp.sin(_TAU * t / 36.0) + challenge.spin * t,
        yaw=challenge.yaw * layout.first_turn * jnp.sin(_TAU * t / challenge.yaw_period),
        gait=_TAU * t / 12.0 + phases[15],
        swing=challenge.swing * jnp.ones_like(t),
        bend=bend,
    )


def distractor_pose(layout: Layout, index: Array, t: Array, config: SceneConfig) -> Pose:
    """The pose of look-alike `index` (0 or 1): a companion that circles the target, a little smaller."""
    pose = target_pose(layout, t, config)
    turn = _TAU * t / (60.0 + 17.0 * index) + layout.phases[13] + math.pi * index
    away = pose.scale * jnp.stack([2.2 * jnp.cos(turn), 0.9 * jnp.sin(turn)])
    return dataclasses.replace(
        pose,
        centre=pose.centre + away,
        scale=pose.scale * (0.98 - 0.14 * index),
        gait=pose.gait + 2.0 + index,
        angle=pose.angle + 0.15 * jnp.sin(0.6 * turn),
    )


def occluder_pose(layout: Layout, index: Array, t: Array, config: SceneConfig) -> Pose:
    """The pose of occluder `index` (0 or 1), which meets the target again and again, first at frame 14 or 23.

    A post that belongs to the ground moves with it; both move on straight lines through the place where the target
    is at the moment of the meeting.
    """
    challenge = layout.challenge
    ground = -layout.heading * challenge.pan
    crossing = jnp.stack([layout.flip * challenge.occluder_speed, 0.15 * challenge.occluder_speed])
    velocity = jnp.where(challenge.occluder_speed > 0, crossing, ground) * (1.0 - 2.0 * index * challenge.bush)
    # A bush spreads 1.2 units to either side, and the window it is drawn in is limited.
    scale = jnp.minimum(challenge.size * challenge.occluder_size, 0.4 * config.window) * (1.0 - 0.2 * index)
    speed = jnp.maximum(jnp.abs(velocity[0]), 1.0)
    # So long that an occluder is out of view, wherever it met the target, when it turns to the next meeting.
    period = 2.0 * (config.width + 2.0 * scale) / speed
    first = _FIRST_OCCLUSION + 9.0 * index
    meeting = first + period * jnp.round((t - first) / period)
    place = _target_path(layout, meeting, config) + velocity * (t - meeting)
    return Pose(
        centre=place + view_at(layout, t).shake,
        scale=scale,
        flip=jnp.ones_like(t),
        angle=0.04 * (1.0 - 2.0 * index) * jnp.ones_like(t),
        yaw=jnp.zeros_like(t),
        gait=_TAU * t / 20.0,
        swing=jnp.zeros_like(t),
        bend=challenge.bush * 0.04 * jnp.ones_like(layout.start),
    )


def target_box(layout: Layout, t: Array, config: SceneConfig) -> Array:
    """The target's whole box at time `t`, `float32 [4]`, tight, not clipped to the image."""
    return bodies.bounds(layout.body, target_pose(layout, t, config))


def clip_box(box: Array, config: SceneConfig) -> tuple[Array, Array]:
    """Clips a box to the image: `(box [4], visible)`; a box with less than a pixel inside becomes zeros, invisible."""
    image = jnp.array([config.width, config.height], jnp.float32)
    low, high = jnp.clip(box[:2], 0.0, image), jnp.clip(box[:2] + box[2:], 0.0, image)
    visible = jnp.all(high - low >= 1.0)
    return jnp.where(visible, jnp.concatenate([low, high - low]), 0.0), visible
