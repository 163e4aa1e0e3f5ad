"""The kinds of trainings there are: what belongs to each class of configurations."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxtrack.training import siamese, validation
from jaxtrack.training.config import TrainConfig, Training
from jaxtrack.training.detection import recall
from jaxtrack.training.detection import recipe as detection
from jaxtrack.training.detection.config import DetectionConfig
from jaxtrack.training.distillation import fidelity
from jaxtrack.training.distillation import recipe as distillation
from jaxtrack.training.distillation.config import DistillationConfig
from jaxtrack.training.domains import probe
from jaxtrack.training.domains import recipe as domains
from jaxtrack.training.domains.config import DomainConfig
from jaxtrack.training.task import Task, TrainState

Validate = Callable[[TrainState], dict[str, float]]
Notice = Callable[[], None]


class Kind(NamedTuple):
    """How trainings of a kind are made of their configurations.

    Attributes:
      make_recipe: `(config) -> Task`; `UserError` where parts of the configuration do not fit.
      validator: `(config, recipe, devices, notice) -> (state) -> measures`, for configurations with a validation.
    """

    make_recipe: Callable[[Any], Any]
    validator: Callable[[Any, Any, Sequence[Any] | None, Notice | None], Validate]


KINDS: dict[type[Training], Kind] = {
    TrainConfig: Kind(siamese.make_recipe, validation.validator),
    DomainConfig: Kind(domains.make_recipe, probe.validator),
    DetectionConfig: Kind(detection.make_recipe, recall.validator),
    DistillationConfig: Kind(distillation.make_recipe, fidelity.validator),
}


def make_recipe(config: Training) -> Task:
    """What the steps of a training are made of; `UserError` where parts of the configuration do not fit."""
    return KINDS[type(config)].make_recipe(config)


def validator(
    config: Training, recipe: Task, devices: Sequence[Any] | None = None, notice: Notice | None = None
) -> Validate:
    """The function that measures a state on what is not trained on; nothing where there is no validation.

    Args:
      config: the training's.
      recipe: what it is made of.
      devices: by default all; those of this process share the work. Each process measures all of it.
      notice: called while compiling takes long.
    """
    if config.held_out is None:
        return lambda state: {}
    return KINDS[type(config)].validator(config, recipe, devices, notice)
