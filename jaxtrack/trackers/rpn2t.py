"""RPN2T: a region proposal network's features, judged cell by cell, by a head that learns while it tracks.

Nam and Han's way of tracking (MDNet, `jaxtrack.online.framework`) with another network: conv1 to conv5 of a region
proposal network, on it a 3 x 3 convolution and two scores in each of 14 x 14 cells, one learnt where the cell's anchor
matches the target, the other in all cells. The paper's second contribution is a student network for crops of 107
pixels instead of 203 that has learnt to make the teacher's map.

Where this differs from the paper: nowhere knowingly, but it leaves much open. Fields below name the point (P1 to P8) of
docs/mdnet.md that they decide. Boxes are not rounded, loops have fixed shapes, as in `jaxtrack.trackers.mdnet`.

A sample is a map of 14 x 14 x 256 numbers. The default configuration keeps 500 of the first frame and 101 x 50 newer
positives, 21 x 200 negatives: 9,750 samples, in bfloat16 0.98 GB of state, in float32 1.96 GB. While the first frame is
learnt, its 5000 negatives take 0.50 GB more, and box regression, with 1000 samples in float32, 0.2 GB a few times over.
The small architectures have 64 channels and need a quarter of all that.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrack.data.naming import Named
from jaxtrack.errors import UserError, check_choices, check_numbers, check_shares
from jaxtrack.losses import anchors
from jaxtrack.models import rpn2t as models
from jaxtrack.online import loading
from jaxtrack.online.frame_memory import Samples
from jaxtrack.online.framework import Framework, Memory, Model
from jaxtrack.online.mining import Mining
from jaxtrack.tracker import Tracker, explain_params


@dataclasses.dataclass(frozen=True)
class Loss:
    """What the head learns by (eq. 2)."""

    alpha: float = 1.0
    """Weight of the cells whose anchors match the target."""
    beta: float = 10.0
    """Weight of all cells."""
    threshold: float = 0.7
    """IoU from which an anchor matches; the paper tried 0.5 to 0.9."""
    over: anchors.Over = "mean"
    """Whether a sample's loss is the mean over its cells or their sum (P1)."""

    def __post_init__(self) -> None:
        """Refuses a loss of nothing, thresholds that no IoU has, and rules that there are not."""
        check_numbers(self, positive=("threshold",), not_negative=("alpha", "beta"))
        check_shares(self, "threshold")
        check_choices(self, over=anchors.Over)
        if self.alpha + self.beta == 0:
            raise UserError("alpha and beta of Loss cannot both be 0: nothing would be learnt")


@dataclasses.dataclass(frozen=True)
class Score:
    """How the scores of all cells become a candidate's; the target is found where it is above 0 (P2)."""

    weighting: anchors.Weighting = "loss"
    """Cells count by the weights of the loss, or all the same ("uniform")."""
    of: anchors.ScoreOf = "target"
    """Scores of the target, or their difference from the background's."""

    def __post_init__(self) -> None:
        """Refuses rules that there are not."""
        check_choices(self, weighting=anchors.Weighting, of=anchors.ScoreOf)


@dataclasses.dataclass(frozen=True)
class Config:
    """What RPN2T needs besides its weights."""

    architecture: str = "rpn2t_student"
    """The network (`jaxtrack.models.rpn2t.ARCHITECTURES`); the paper's results are the student's (P8)."""
    weights: str = dataclasses.field(default="", metadata={"identity": False})
    """A .safetensors file, or the name of one in $JAXTRACK_WEIGHTS, ./weights or among those that come with jaxtrack;
    by default the architecture's name. "random" takes random numbers."""
    mean_rgb: tuple[float, float, float] | None = None
    """What is subtracted from red, green and blue, in 0..255, which is also the colour outside of the image; None for
    the means of py-faster-rcnn's weights. It is that of the weights in use: other programs have others."""
    framework: Framework = Framework(mining=Mining(fast_layers=models.SCORES), memory=Memory(half=True))
    """How it tracks and learns: what learns fast (P4), box regression (P6), how samples are kept (P7)."""
    loss: Loss = Loss()
    """What it learns by."""
    score: Score = Score()
    """How it judges."""
    dropout: float = 0.0
    """Share of the 3 x 3 convolution's outputs that is dropped while it learns (P5); the paper mentions none."""
    tuned_on: str = ""
    """The benchmark on whose test data the constants were chosen, if they were: its results are no fair test."""

    def __post_init__(self) -> None:
        """Refuses layers and colours that there are not, and a dropout of everything."""
        loading.check_dropout(self)
        loading.check_layers(self.framework, ("conv", *models.SCORES))
        mean = self.mean_rgb
        if mean is not None and (len(mean) != 3 or not all(0 <= each <= 255 for each in mean)):
            raise UserError(f"mean_rgb of Config must be three numbers from 0 to 255, not {mean}")


def _small(architecture: str) -> Config:
    """A narrow network that comes with jaxtrack, on whose features more is to be learnt in the first frame.

    With the rates of published networks the scores of targets hardly come above those of the background
    (docs/mdnet.md).
    """
    base = Config(architecture=architecture, tuned_on="three sequences of OTB100")
    mining = dataclasses.replace(base.framework.mining, first_iterations=100, first_rate=3e-4)
    return dataclasses.replace(base, framework=dataclasses.replace(base.framework, mining=mining))


CONFIGS = Named(
    "tracker of jaxtrack.trackers.rpn2t",
    {
        "rpn2t": Config(),
        "rpn2t_teacher": Config(architecture="rpn2t_teacher"),
        "rpn2t_teacher_half": Config(architecture="rpn2t_teacher_half", weights="rpn2t_teacher"),
        "rpn2t_mask_only": Config(loss=Loss(beta=0.0)),
        "rpn2t_all_positions": Config(loss=Loss(alpha=0.0)),
        "rpn2t_small": _small("rpn2t_small_student"),
        "rpn2t_small_teacher": _small("rpn2t_small_teacher"),
    },
)


@functools.lru_cache
def tracker(config: Config = CONFIGS["rpn2t"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    name = _architecture(config)
    architecture = models.ARCHITECTURES[name]
    made = make_tracker(config, architecture)
    return explain_params(made, lambda: models.shapes(architecture)["params"], f"the network {name}")


def make_tracker(config: Config, architecture: models.Architecture) -> Tracker:
    """The tracker around a network."""
    return loading.tracker(config.framework, model_of(config, architecture), models.with_new_scores)


def model_of(config: Config, architecture: models.Architecture) -> Model:
    """What the framework asks of the network."""
    loss, mask = config.loss, architecture.mask(config.loss.threshold)
    head = dataclasses.replace(architecture.head, dropout=config.dropout)
    architecture = dataclasses.replace(architecture, head=head, mean_rgb=config.mean_rgb or architecture.mean_rgb)
    weights = {"alpha": loss.alpha, "beta": loss.beta}

    def score(head: Any, samples: Samples) -> jax.Array:
        def of_maps(maps: jax.Array) -> jax.Array:
            scores = models.cell_scores(architecture, head, maps)
            return anchors.anchor_score(*scores, mask, **weights, **dataclasses.asdict(config.score))

        return models.in_parts(of_maps, samples.features)

    def batch_loss(head: Any, samples: Samples, labels: jax.Array, key: jax.Array) -> jax.Array:
        scores = models.cell_scores(architecture, head, samples.features, key)
        return anchors.anchor_loss(*scores, labels, mask, over=loss.over, **weights)

    return Model(
        features=functools.partial(models.features, architecture, dtype=_kept_as(config)),
        score=score,
        loss=batch_loss,
        flat=lambda features: features.reshape(len(features), -1),
        location=lambda boxes, size: jnp.zeros_like(boxes),  # not a feature of this tracker
    )


def _kept_as(config: Config) -> Any:
    """The type of a map in the memory. Candidates are rounded alike: they are to look as what was learnt from."""
    return jnp.bfloat16 if config.framework.memory.half else jnp.float32


def init_params(config: Config, key: jax.Array) -> dict[str, Any]:
    """The weights, `{"backbone", "head"}`; `UserError` where there are none that fit."""
    name = _architecture(config)
    return loading.params(models, name, _weights(config), key, fitting=models.FITTING.get(name, ()))


def weights_sha256(config: Config) -> str | None:
    """What tells the weights of a configuration from others; None for random ones, which are always the same."""
    return loading.weights_sha256(_weights(config))


def weights_file(config: Config) -> Path | None:
    """Where the weights of a configuration lie, None for random ones; `UserError` if they are not there."""
    return loading.weights_file(_weights(config))


def describe(config: Config) -> str:
    """One line on a configuration."""
    weights = "" if config.weights in ("", config.architecture) else f" with weights {config.weights}"
    if not config.loss.beta:
        learnt = f"anchors of IoU {config.loss.threshold:g} alone"
    elif not config.loss.alpha:
        learnt = "all positions alone"
    else:
        learnt = f"anchors of IoU {config.loss.threshold:g} and all positions"
    tuned = f", tuned on {config.tuned_on}" if config.tuned_on else ""
    return f"{config.architecture}{weights}, learns {learnt}{tuned}"


def _weights(config: Config) -> str:
    """The name or the path of the weights."""
    return config.weights or _architecture(config)


def _architecture(config: Config) -> str:
    """The name of the network, however it is spelt."""
    return loading.architecture_name(models, config.architecture)
