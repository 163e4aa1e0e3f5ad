"""The built-in benchmark `procedural`: deterministic videos rendered in JAX, with exact ground truth.

`benchmark` holds the sequences and their loaders. The renderer underneath is meant for training on the device too:
`sample_challenge` and `sample_scene` draw scenes from keys, `render` shows one at any time; all three are pure,
jittable and vmappable. `scene_key` keeps the scenes of training and benchmark apart.
"""

from jaxtrack.data.procedural.benchmark import BENCHMARKS
from jaxtrack.data.procedural.render import Rendered, render
from jaxtrack.data.procedural.scene import (
    Challenge,
    Scene,
    SceneConfig,
    sample_challenge,
    sample_scene,
    scene_key,
)

__all__ = [
    "BENCHMARKS",
    "Challenge",
    "Rendered",
    "Scene",
    "SceneConfig",
    "render",
    "sample_challenge",
    "sample_scene",
    "scene_key",
]
