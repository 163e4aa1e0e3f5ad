"""MDNet and RankLoc: a classifier of boxes that learns while it tracks.

Nam and Han, "Learning Multi-Domain Convolutional Neural Networks for Visual Tracking", CVPR 2016. RankLoc adds to it a
margin ranking loss between samples of the target and the location of a box as a feature.

Where this differs from the reference implementations:

* Boxes are not rounded to whole pixels, nor are crops.
* Every loop has a fixed shape: samples are drawn with a surplus and filtered, never until there are enough.
* Streams of samples pass over fewer than a batch's worth of rows in one order (`jaxtrack.online.mining.stream`).
* RankLoc's paper leaves much open; fields below name the point (R1 to R17) of docs/mdnet.md that they decide.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack.data.naming import Named
from jaxtrack.errors import check_choices, check_numbers
from jaxtrack.losses import margin_ranking
from jaxtrack.models import backbones, vgg_m
from jaxtrack.models import mdnet as models
from jaxtrack.online import loading
from jaxtrack.online.frame_memory import Samples
from jaxtrack.online.framework import Framework, Memory, Model, Regression, Sampling, Search
from jaxtrack.online.loading import RANDOM
from jaxtrack.online.mining import PY_MDNET, Mining
from jaxtrack.tracker import Tracker, explain_params

Location = Literal["none", "normalised", "printed"]
LocationOf = Literal["box", "crop"]


@dataclasses.dataclass(frozen=True)
class Ranking:
    """RankLoc's loss: cross entropy, and a margin between samples of the target by their overlap (eq. 3)."""

    classification: float = 1.0
    """Weight of the mean cross entropy (R5)."""
    ranking: float = 0.0
    """Weight of the mean ranking loss (R5); 0 leaves it out."""
    margin: float | None = None
    """By how much the score of the sample that overlaps more is to be higher (R2); None: 0.1 of outputs, 0.05 of
    probabilities."""
    pairs: margin_ranking.Pairs = "all"
    """Which pairs are ranked (R3)."""
    min_gap: float = 1e-3
    """Pairs of more similar overlaps are left out (R4)."""
    rank_on: margin_ranking.RankOn = "logit"
    """What is ranked (R1)."""

    def __post_init__(self) -> None:
        """Refuses negative weights, and rules that there are not."""
        check_numbers(self, not_negative=("classification", "ranking", "min_gap"))
        if self.margin is not None:
            check_numbers(self, not_negative=("margin",))
        check_choices(self, pairs=margin_ranking.Pairs, rank_on=margin_ranking.RankOn)


@dataclasses.dataclass(frozen=True)
class Config:
    """What MDNet and its relatives need besides their weights."""

    architecture: str = "mdnet_vggm"
    """The network (`jaxtrack.models.mdnet.ARCHITECTURES`). The location joins the last hidden layer's output, before
    fc6: fc5's, or that of a third one, fc5b, in the networks whose names end with "_hidden3" (R6)."""
    weights: str = dataclasses.field(default="mdnet", metadata={"identity": False})
    """A .safetensors file, or the name of one in $JAXTRACK_WEIGHTS, ./weights or among those that come with jaxtrack;
    "random" takes random numbers. Where the file holds a backbone alone, the hidden layers are random; where a
    "_hidden3" network begins with weights of the one with two hidden layers, fc5b is."""
    framework: Framework = Framework()
    """How it tracks and learns."""
    loss: Ranking = Ranking()
    """What it learns by."""
    location: Location = "none"
    """The location feature (x, y, w / W, h / H): none, with x / W and y / H, or as RankLoc's paper prints it (R7)."""
    location_of: LocationOf = "box"
    """Whether it is that of the box or of the region that the network sees (R8)."""
    dropout: float = 0.5
    """Share of the hidden layers' outputs that is dropped while it learns (R9); never of the location feature."""
    tuned_on: str = ""
    """The benchmark on whose test data the constants were chosen, if they were: its results are no fair test."""

    def __post_init__(self) -> None:
        """Refuses location features, networks and layers that there are not, and a dropout of everything."""
        check_choices(self, location=Location, location_of=LocationOf)
        loading.check_dropout(self)
        network = models.ARCHITECTURES[loading.architecture_name(models, self.architecture)]
        loading.check_layers(self.framework, network.head.layers)


def _on(name: str, backbone: backbones.Backbone) -> Config:
    """MDNet on the published weights of another backbone, fc4 and fc5 random."""
    return Config(architecture=f"mdnet_{name}", weights=backbone.weights)


_RANKLOC = Config(
    weights="rankloc",
    framework=Framework(
        search=Search(candidates=300, best=1),
        sampling=Sampling(negatives=50),
        mining=Mining(
            negatives=32,
            first_rate=2e-4,
            rate=2e-4,
            bias_factor=1.0,
            bias_decay=True,
            clip_norm=10.0,
        ),
        memory=Memory(interval=20),
    ),
    loss=Ranking(ranking=0.5),
    location="normalised",
)

# Without training on videos, 200 iterations in the first frame (R10).
_ONLINE_ONLY = dataclasses.replace(
    _RANKLOC,
    weights="vgg_m",
    framework=dataclasses.replace(
        _RANKLOC.framework, mining=dataclasses.replace(_RANKLOC.framework.mining, first_iterations=200)
    ),
)


def _small(base: Config) -> Config:
    """A method on the narrow network that comes with jaxtrack, which learns faster.

    Its features were trained on rendered videos alone and help less than published ones, so that more is to be learnt
    in the first frame (docs/mdnet.md).
    """
    mining = dataclasses.replace(base.framework.mining, first_iterations=100, first_rate=3e-3, iterations=15, rate=3e-3)
    framework = dataclasses.replace(base.framework, mining=mining)
    changes = {"architecture": "mdnet_small", "weights": f"{base.weights}_small", "framework": framework}
    return dataclasses.replace(base, **changes, tuned_on="four sequences of OTB100")


CONFIGS = Named(
    "tracker of jaxtrack.trackers.mdnet",
    {
        "mdnet": Config(),
        "mdnet_py2019": Config(
            architecture="mdnet_vggm_py",
            weights="mdnet_py2019",
            framework=Framework(
                sampling=Sampling(positive_scale=1.3, first_negative_scale=1.6, negative_scale=1.3),
                mining=PY_MDNET,
                memory=Memory(negative_frames=30, short_frames=30),
                regression=Regression(constant="free", reference="pytorch"),
            ),
        ),
        "mdnet_random": Config(weights=RANDOM),
        **{f"mdnet_{name}": _on(name, each) for name, each in backbones.BACKBONES.items()},
        "rankloc": _RANKLOC,
        "rankloc_no_ranking": dataclasses.replace(_RANKLOC, loss=Ranking()),
        "rankloc_no_location": dataclasses.replace(_RANKLOC, location="none"),
        "rankloc_online_only": _ONLINE_ONLY,
        "mdnet_small": _small(Config()),
        "rankloc_small": _small(_RANKLOC),
    },
)


@functools.lru_cache
def tracker(config: Config = CONFIGS["mdnet"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    name = _architecture(config)
    architecture = models.ARCHITECTURES[name]
    made = make_tracker(config, architecture)
    return explain_params(made, lambda: models.shapes(architecture)["params"], f"the network {name}")


def make_tracker(config: Config, architecture: models.Architecture) -> Tracker:
    """The tracker around a network."""
    new_head = functools.partial(vgg_m.with_new_branch, location=config.location != "none")
    return loading.tracker(config.framework, model_of(config, architecture), new_head)


def model_of(config: Config, architecture: models.Architecture) -> Model:
    """What the framework asks of the network."""
    head = dataclasses.replace(architecture.head, branches=1, dropout=config.dropout)
    loss = dataclasses.asdict(config.loss)
    weights = {f"{name}_weight": loss.pop(name) for name in ("classification", "ranking")}

    def outputs(params: Any, samples: Samples, key: jax.Array | None) -> jax.Array:
        place = None if config.location == "none" else samples.location
        drop = {} if key is None else {"train": True, "rngs": {"dropout": key}}
        return head.apply({"params": params}, samples.features.astype(jnp.float32), place, **drop)  # type: ignore[return-value]

    def batch_loss(params: Any, samples: Samples, labels: jax.Array, key: jax.Array) -> jax.Array:
        scores = outputs(params, samples, key)
        return margin_ranking.rankloc_loss(scores, labels, samples.overlap, **weights, **loss)

    def diagnostics(params: Any) -> dict[str, jax.Array]:
        return {} if config.location == "none" else {"location_norm": vgg_m.location_norm(params)}

    return Model(
        features=functools.partial(models.features, architecture),
        score=lambda params, samples: outputs(params, samples, None)[:, 1],
        loss=batch_loss,
        flat=lambda features: features,
        location=functools.partial(_location, config, architecture),
        diagnostics=diagnostics,
    )


def _location(config: Config, architecture: models.Architecture, boxes: jax.Array, size: jax.Array) -> jax.Array:
    """The location feature of boxes `[N, 4]` in an image of `size [2]`, (height, width); `[N, 4]`."""
    if config.location_of == "crop":
        boxes = boxes_lib.enlarged(boxes, architecture.context)
    width_height = size.astype(jnp.float32)[::-1]
    corner_unit = jnp.ones((2,), jnp.float32) if config.location == "printed" else width_height
    return boxes / jnp.concatenate([corner_unit, width_height])[None]


def init_params(config: Config, key: jax.Array) -> dict[str, Any]:
    """The weights, `{"backbone", "head"}`; `UserError` where there are none that fit."""
    name = _architecture(config)
    network = models.ARCHITECTURES[name]
    return loading.params(models, name, config.weights, key, parts=(*network.files, *network.shallower))


def weights_sha256(config: Config) -> str | None:
    """What tells the weights of a configuration from others; None for random ones, which are always the same."""
    return loading.weights_sha256(config.weights)


def weights_file(config: Config) -> Path | None:
    """Where the weights of a configuration lie, None for random ones; `UserError` if they are not there."""
    return loading.weights_file(config.weights)


def describe(config: Config) -> str:
    """One line on a configuration."""
    ranking = ", ranking loss" if config.loss.ranking else ""
    place = "" if config.location == "none" else ", location feature"
    tuned = f", tuned on {config.tuned_on}" if config.tuned_on else ""
    return f"{config.architecture} with weights {config.weights}{ranking}{place}{tuned}"


def _architecture(config: Config) -> str:
    """The name of the network, however it is spelt."""
    return loading.architecture_name(models, config.architecture)
