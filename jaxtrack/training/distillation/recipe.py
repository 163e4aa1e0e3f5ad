"""What a step of a distillation does: regions of images, the teacher's maps of them, the student's error.

The teacher does not learn. Its parameters are part of a training's state, as statistics are, so that a training that
goes on does not need the teacher's file any more.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack.errors import UserError
from jaxtrack.images import Frame
from jaxtrack.losses.reduction import Term, combine
from jaxtrack.models import rpn2t, zf
from jaxtrack.models.rpn2t import Architecture
from jaxtrack.training.distillation.config import DistillationConfig, Regions
from jaxtrack.training.optimiser import Stage, merge
from jaxtrack.training.task import AXIS, TrainState
from jaxtrack.weights import places, store


def draw_region(config: Regions, key: jax.Array, size: jax.Array) -> jax.Array:
    """A part of an image of a random size, shape and place, or the whole image: `float32 [4]`, (x, y, w, h).

    Args:
      config: the limits; sizes and shapes are even on a logarithmic scale.
      key: a typed random key.
      size: `int32 [2]`, (height, width) of the image.
    """
    whole = size[::-1].astype(jnp.float32)
    shape, extent, *place, choice = jax.random.uniform(key, (5,))
    root = jnp.sqrt(config.aspect ** (2 * shape - 1))
    form = jnp.stack([root, 1 / root])  # sides of a region of area 1
    most = jnp.min(whole / form)
    least = jnp.minimum(config.least_side_px, most)
    sides = form * least * (most / least) ** extent
    corner = jnp.stack(place) * jnp.maximum(whole - sides, 0.0)
    region = jnp.concatenate([corner, sides])
    return jnp.where(choice < config.whole, jnp.concatenate([jnp.zeros(2), whole]), region)


class Recipe(NamedTuple):
    """What a step is made of.

    Attributes:
      student: the network that learns.
      teacher: the network that it learns from.
      regions: what they look at.
      start: the teacher's file.
      backbones: see `Task`; what such a file may be of.
    """

    student: Architecture
    teacher: Architecture
    regions: Regions
    start: str
    backbones: Collection[str]

    def shapes(self) -> Any:
        """See `Task`."""
        kept = jax.eval_shape(lambda: rpn2t.stored(rpn2t.initial(self.teacher, jax.random.key(0))))
        return _variables(kept)

    def draw(self, key: jax.Array) -> Any:
        """See `Task`; nothing is random, the student begins with the teacher's weights."""
        del key
        loaded, _ = store.load(places.locate(self.start))
        return _variables(jax.tree.map(jnp.asarray, rpn2t.stored(loaded["params"])))

    def completed(self, loaded: Any, draw: Callable[[], Any]) -> Any:
        """See `Task`; a student's weights have no teacher."""
        raise UserError(f"{self.start} holds a student: start of a distillation names its teacher's weights")

    def stored(self, variables: Any) -> Any:
        """See `Task`; the head's 3 x 3 convolution is the teacher's."""
        head = variables["batch_stats"]["teacher"]["head"]
        return {"params": {"backbone": variables["params"]["backbone"], "head": head}}

    def maps(self, variables: Any, items: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The maps of B regions, one of each image, of teacher and student; `float32 [B, 14, 14, C]` each.

        Args:
          variables: `{"params", "batch_stats"}`.
          items: the images.
          keys: of their regions.
        """
        regions = jax.vmap(lambda key, size: draw_region(self.regions, key, size))(keys, items["size"])
        teacher = _maps(self.teacher, variables["batch_stats"]["teacher"]["backbone"], items, regions)
        return jax.lax.stop_gradient(teacher), _maps(self.student, variables["params"]["backbone"], items, regions)

    def loss(self, stage: Stage, state: TrainState, items: Any, numbers: jax.Array) -> Callable[[Any], Any]:
        """See `Task`."""
        del stage  # normalisation has no statistics
        keys = jax.vmap(lambda number: jax.random.fold_in(state.key, number))(numbers)

        def loss(chosen: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
            variables = {"params": merge(state.params, chosen), "batch_stats": state.batch_stats}
            share, means = combine({"error": error(*self.maps(variables, items, keys))}, {"error": 1.0}, AXIS)
            return share, ({"loss": means["error"]}, state.batch_stats)

        return loss

    def limited(self, before: Any, after: Any, items: Any) -> Any:
        """See `Task`."""
        del before, items
        return after

    def gradient_scale(self, devices: int) -> float:
        """See `Task`."""
        del devices
        return 1.0


def error(teacher: jax.Array, student: jax.Array) -> Term:
    """The squared differences of maps of equal shape, and how many there are."""
    difference = student - teacher
    return Term(jnp.sum(difference * difference), jnp.asarray(difference.size, difference.dtype))


def _variables(teacher: Any) -> Any:
    return {"params": {"backbone": teacher["backbone"]}, "batch_stats": {"teacher": teacher}}


def _maps(architecture: Architecture, backbone: Any, items: Any, regions: jax.Array) -> jax.Array:
    """The maps of regions `[B, 4]`, one of each image."""
    # A tracker's crop reaches beyond its box; that of the box so much smaller is the region.
    boxes = boxes_lib.enlarged(regions, 1 / rpn2t.CONTEXT)

    def cut(pixels: jax.Array, size: jax.Array, box: jax.Array) -> jax.Array:
        return rpn2t.crop(architecture, Frame(pixels, size, jnp.zeros((), bool)), box)

    crops = jax.vmap(cut)(items["pixels"], items["size"], boxes)
    return architecture.backbone.apply({"params": backbone}, crops)  # type: ignore[return-value]


def make_recipe(config: DistillationConfig) -> Recipe:
    """What the steps of a training are made of; `UserError` where parts of the configuration do not fit."""
    known = rpn2t.ARCHITECTURES
    students = [name for name, each in known.items() if each.backbone.version != "teacher"]
    config.check_architecture(students, what="student")
    student = known[config.architecture]
    backbone = dataclasses.replace(student.backbone, version="teacher")
    teacher = dataclasses.replace(student, backbone=backbone, input_px=zf.TEACHER_PX)
    fitting = [name for name, each in known.items() if each == teacher]
    fitting += [rpn2t.PROPOSALS] if rpn2t.TEACHER in fitting else []
    if not config.start:
        raise UserError(f"a distillation needs a teacher: set start to weights of {' or '.join(fitting)}")
    return Recipe(student, teacher, config.regions, config.start, tuple(fitting))
