"""What `online_study.py` runs: groups of arms, each a configuration of a tracker, and the targets of each group."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from targets import APART, CHOICE

from jaxtrack.errors import UserError
from jaxtrack.models import rpn2t as rpn2t_models
from jaxtrack.models.backbones import BACKBONES
from jaxtrack.online.loading import RANDOM
from jaxtrack.trackers import mdnet, rpn2t
from jaxtrack.weights import places, store

FIVE = ("Deer", "Football1", "Skiing", "Crossing", "Couple")
TWO = FIVE[:2]
TRAINED = ("mdnet", "rankloc")
TEACHER_FRAMES, FEW_FRAMES = 50, 15
# That of 0.8 is the same as that of 0.7, the default.
THRESHOLDS = (0.5, 0.6, 0.9)
# Beside 0.1, the default; no paper names one.
MARGINS = (0.05, 0.3, 1.0)


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the trained trackers: names or files; "" for a tracker's own, "random" for random numbers."""

    mdnet: str = ""
    """Of MDNet."""
    rankloc: str = ""
    """Of RankLoc; its ablations begin with the same, as they are of what is learnt online."""
    student: str = ""
    """Of RPN2T's student."""
    teacher: str = ""
    """Of RPN2T's teacher."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """A row of a table.

    Attributes:
      name: what results and tables call it.
      tracker: the tracker that it is a configuration of.
      config: the configuration.
      seeds: how many runs.
    """

    name: str
    tracker: str
    config: Any
    seeds: int = 1


@dataclasses.dataclass(frozen=True)
class Group:
    """A table.

    Attributes:
      name: by which it is chosen.
      title: above it.
      targets: sequences of OTB.
      arms: its rows.
      frames: of each sequence so many are tracked; None for all.
    """

    name: str
    title: str
    targets: tuple[str, ...]
    arms: tuple[Arm, ...]
    frames: int | None = None


def with_weights(config: Any, weights: str) -> Any:
    """A configuration with other weights, and with the network that they are of."""
    if weights in ("", RANDOM):
        return dataclasses.replace(config, weights=weights or config.weights)
    architecture = store.read_meta(places.locate(weights)).architecture
    if architecture == rpn2t_models.PROPOSALS:
        architecture = rpn2t_models.TEACHER
    return dataclasses.replace(config, architecture=architecture, weights=weights)


def at_half(teacher: rpn2t.Config) -> rpn2t.Config:
    """The plain teacher on crops of half the side, with the teacher's weights."""
    architecture = f"{teacher.architecture}_half"
    return dataclasses.replace(teacher, architecture=architecture, weights=teacher.weights or teacher.architecture)


def at_threshold(config: rpn2t.Config, threshold: float) -> rpn2t.Config:
    """Another IoU from which an anchor matches the target."""
    return dataclasses.replace(config, loss=dataclasses.replace(config.loss, threshold=threshold))


def without_regression(arm: Arm) -> Arm:
    """The same tracker that shows the boxes it goes on from (R16, P6)."""
    framework = arm.config.framework
    regression = dataclasses.replace(framework.regression, samples=0)
    config = dataclasses.replace(arm.config, framework=dataclasses.replace(framework, regression=regression))
    return dataclasses.replace(arm, name=f"{arm.name}_no_regression", config=config)


def groups(
    weights: Weights, *, reduced: bool = False, small: bool = False, only: Iterable[str] = ()
) -> tuple[Group, ...]:
    """All tables; `reduced` leaves out what takes longest, and most of the frames of what else does.

    Args:
      weights: of the trackers.
      reduced: a part of them.
      small: MDNet, RankLoc and RPN2T on the narrow networks that come with jaxtrack.
      only: names of the tables; by default all.
    """
    mdnet_arm, rankloc = (_arm(f"{name}_small" if small else name, getattr(weights, name)) for name in TRAINED)
    seeds, few = (1, FEW_FRAMES) if reduced else (3, None)
    targets, ablation = (TWO, TWO) if reduced else (CHOICE + APART, FIVE)
    slow, clips = (TWO[:1], TWO[:1]) if reduced else (FIVE, TWO)
    student, teacher, half = _rpn2t(weights, small=small)
    losses = (*_losses(student), *(() if reduced else _thresholds(student)))
    open_points = (
        Group("margins", "RankLoc's margin", ablation, (rankloc, *_margins(rankloc))),
        Group("boxes", "RankLoc without box regression", ablation, (rankloc, without_regression(rankloc))),
        Group("student_boxes", "RPN2T's student without box regression", slow, (student, without_regression(student))),
    )
    made = (
        Group("trackers", "MDNet and RankLoc", targets, (mdnet_arm, rankloc)),
        Group("parts", "RankLoc's parts, MDNet and random features", ablation, _parts(mdnet_arm, rankloc, seeds)),
        Group("backbones", "MDNet on other backbones, all of random weights", ablation, _backbones(deep=not reduced)),
        Group("losses", "RPN2T's student: what it learns by", slow, losses, few),
        Group("half", "The teacher on half the input beside the student", slow, (student, half), few),
        *(() if reduced else open_points),
        Group("teacher", "RPN2T's teacher on clips", clips, (teacher, student, half), few or TEACHER_FRAMES),
    )
    if unknown := set(only) - {group.name for group in made}:
        raise UserError(f"no table {', '.join(sorted(unknown))}: there are {', '.join(group.name for group in made)}")
    return tuple(group for group in made if not only or group.name in only)


def _arm(name: str, weights: str, seeds: int = 1) -> Arm:
    """A tracker as it is, with some weights."""
    configs = {**mdnet.CONFIGS, **rpn2t.CONFIGS}
    return Arm(name, name, with_weights(configs[name], weights), seeds)


def _parts(floor: Arm, rankloc: Arm, seeds: int) -> tuple[Arm, ...]:
    """RankLoc whole and without each of its parts; MDNet, and its learning on random features."""
    whole = rankloc.config
    arms = {
        rankloc.name: whole,
        f"{rankloc.name}_no_ranking": dataclasses.replace(whole, loss=mdnet.CONFIGS["rankloc_no_ranking"].loss),
        f"{rankloc.name}_no_location": dataclasses.replace(whole, location="none"),
    }
    random = dataclasses.replace(floor.config, weights=RANDOM)
    return (
        *(Arm(name, rankloc.tracker, config, seeds) for name, config in arms.items()),
        floor,
        Arm(f"{floor.name}_random", floor.tracker, random),
    )


def _margins(rankloc: Arm) -> Iterator[Arm]:
    """Other margins of the ranking loss (R2)."""
    for margin in MARGINS:
        loss = dataclasses.replace(rankloc.config.loss, margin=margin)
        config = dataclasses.replace(rankloc.config, loss=loss)
        yield dataclasses.replace(rankloc, name=f"{rankloc.name}_margin_{margin:g}", config=config)


def _backbones(*, deep: bool) -> tuple[Arm, ...]:
    names = [name for name in BACKBONES if deep or not name.startswith("vgg")]
    others = [_arm(f"mdnet_{name}", RANDOM) for name in names]
    return (_arm("mdnet_random", ""), *(dataclasses.replace(arm, name=f"{arm.name}_random") for arm in others))


def _rpn2t(weights: Weights, *, small: bool = False) -> tuple[Arm, Arm, Arm]:
    """Student, teacher, and the latter at half the input."""
    name = "rpn2t_small" if small else "rpn2t"
    teacher = _arm(f"{name}_teacher", weights.teacher)
    half = Arm(f"{teacher.name}_half", teacher.tracker, at_half(teacher.config))
    return _arm(name, weights.student), teacher, half


def _losses(student: Arm) -> tuple[Arm, ...]:
    """Both losses, and each alone."""
    losses = {name: rpn2t.CONFIGS[f"rpn2t_{name}"].loss for name in ("mask_only", "all_positions")}
    configs = {name: dataclasses.replace(student.config, loss=loss) for name, loss in losses.items()}
    return (student, *(Arm(f"{student.name}_{name}", student.tracker, config) for name, config in configs.items()))


def _thresholds(student: Arm) -> tuple[Arm, ...]:
    """Other thresholds of the mask, with both losses and with the mask's alone."""
    both, mask_only, _ = _losses(student)
    return tuple(
        Arm(f"{arm.name}_{round(100 * threshold)}", arm.tracker, at_threshold(arm.config, threshold))
        for arm in (both, mask_only)
        for threshold in THRESHOLDS
    )
