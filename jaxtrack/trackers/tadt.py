"""TADT, target-aware deep tracking: a template of the channels that the target makes active and that feel its scale.

Li et al., "Target-Aware Deep Tracking", CVPR 2019. Of two maps of a network that was trained for something else the
first frame chooses channels, by what a regressor of the target's place and a predictor of its scale make of them. Their
values at the target are the template, which never changes; in every frame it is compared with a search window at three
scales.

Where this differs from the paper and the released programs (docs/tadt.md has the whole table, and why):

* The regressor learns by conjugate gradients until the sum of squared errors, not their mean, is small; a channel is
  worth the sum of its learned weights, as released, not the mean of a gradient.
* The released program never trains the predictor of the scale, and what that finds is random: a coin stands for it.
* Interpolation is bilinear at half-pixel centres, but for the responses, where it is cubic.
* Frames are cropped as they are, at the scale that the paper brings whole frames to; the target's centre and size are
  not rounded to whole pixels, and what is far shrunk is averaged.
* A frame smaller than the search window goes on with its border; the cells beyond the window that the released program
  would make smaller are 0.
* A template is at most two thirds of the window long, whatever the target's shape.
* Responses have a fixed grid of 181 x 181 points, or 180 x 180 as released; the window's side is not in it.
* The centre stays in the frame; the target's size stays between two pixels and the frame's. Where nothing responds at
  all the box stays where it was.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.naming import Named
from jaxtrack.errors import UserError
from jaxtrack.images import Frame
from jaxtrack.models import correlation
from jaxtrack.models import tadt as models
from jaxtrack.online import channel_regression, channels, loading, scale_ranking, template_search
from jaxtrack.online.channel_regression import Regression, central
from jaxtrack.online.channels import Chosen, Group, Selection
from jaxtrack.online.loading import RANDOM
from jaxtrack.online.scale_ranking import Ranking
from jaxtrack.online.template_search import Search
from jaxtrack.tracker import Prediction, Tracker, explain_params
from jaxtrack.weights import places, store

_LEAST_PX = 2.0  # that a target may shrink to


@dataclasses.dataclass(frozen=True)
class Config:
    """What TADT needs besides its weights."""

    architecture: str = "vgg16"
    """The network whose maps are matched (`jaxtrack.models.tadt.ARCHITECTURES`)."""
    weights: str = dataclasses.field(default="vgg16", metadata={"identity": False})
    """A .safetensors file, or the name of one in $JAXTRACK_WEIGHTS, ./weights or among those that come with jaxtrack;
    "random" takes random numbers."""
    regression: Regression = Regression()
    """How the regressor of the target's place learns."""
    ranking: Ranking = Ranking()
    """How the predictor of its scale learns."""
    selection: Selection = Selection()
    """Which channels are matched."""
    search: Search = Search()
    """How the template is found again."""


def released(config: Config) -> Config:
    """The same with the constants and rules of the authors' program where they are not the paper's."""
    return dataclasses.replace(
        config,
        regression=Regression(solver="released", iterations=100, activation=config.regression.activation),
        ranking=Ranking(predictor="untrained", pairs="adjacent"),
        selection=Selection(Group("ranking", 80), Group("regression", 300), fewest=250, balance=50),
        search=dataclasses.replace(config.search, scale_weights=(0.990, 1.0, 1.0055), peak="released"),
    )


def _small(architecture: str, scale: int, target: int) -> Config:
    """On another network, of whose channels the shares of the paper's 80 and 250 of 512 are matched."""
    selection = Selection(Group("ranking", round(scale * 80 / 512)), Group("regression", round(target * 250 / 512)))
    return Config(architecture, architecture, selection=selection)


CONFIGS = Named(
    "tracker of jaxtrack.trackers.tadt",
    {
        "tadt": Config(),
        "tadt_code": released(Config()),
        "tadt_torchvision": Config("vgg16_torchvision", "vgg16_torchvision"),
        "tadt_random": Config(weights=RANDOM),
        "tadt_nano": _small("siamban_nano", 64, 64),
        "tadt_nanotrack": _small("nanotrack_v3", 40, 96),
    },
)


@flax.struct.dataclass
class State:
    """Everything that changes from frame to frame, and what the first frame has chosen.

    Attributes:
      chosen: the channels of both maps and their weights; D altogether.
      template: `complex64 [D, n, n // 2 + 1]`, the Fourier transform of the template.
      energy: `float32 []`, the template's response to itself.
      sides: `int32 [2]`, the template's (height, width), cells.
      cells: `int32 []`, side of the search window, cells.
      rescale: `float32 []`, at which the search sees frames at first.
      first_size: `float32 [2]`, the target's (width, height) in the first frame, pixels.
      centre: `float32 [2]`, its centre (x, y), pixels.
      scale: `float32 []`, its size over the first one.
      side_px: `float32 []`, of the square that all n cells cover, pixels of a frame at `rescale`; a whole number.
    """

    chosen: tuple[Chosen, Chosen]
    template: jax.Array
    energy: jax.Array
    sides: jax.Array
    cells: jax.Array
    rescale: jax.Array
    first_size: jax.Array
    centre: jax.Array
    scale: jax.Array
    side_px: jax.Array


# --- the pair of functions -----------------------------------------------------------------------------------------


@functools.lru_cache
def tracker(config: Config = CONFIGS["tadt"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    name = _architecture(config)
    architecture = models.ARCHITECTURES[name]

    def expected() -> Any:
        shapes = jax.eval_shape(lambda: models.initial(architecture, jax.random.key(0)))
        return models.for_inference(architecture, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))

    return explain_params(make_tracker(config, architecture), expected, f"the network {name}")


def make_tracker(config: Config, architecture: models.Architecture) -> Tracker:
    """The tracker around a network."""
    return Tracker(
        init=functools.partial(_init, config, architecture), step=functools.partial(_step, config, architecture)
    )


def init_params(config: Config, key: jax.Array) -> dict[str, Any]:
    """The network's weights; `UserError` where there are none that fit."""
    architecture = models.ARCHITECTURES[_architecture(config)]
    if config.weights == RANDOM:
        return models.for_inference(architecture, models.initial(architecture, key))
    path = places.locate(config.weights)
    variables, meta = store.load(path)
    if meta.architecture != architecture.weights_of:
        raise UserError(f"{path} holds weights of {meta.architecture}, not of {architecture.weights_of}")
    return models.for_inference(architecture, {kind: part["backbone"] for kind, part in variables.items()})


def weights_sha256(config: Config) -> str | None:
    """What tells the weights of a configuration from others; None for random ones, which are always the same."""
    return loading.weights_sha256(config.weights)


def weights_file(config: Config) -> Path | None:
    """Where the weights of a configuration lie, None for random ones; `UserError` if they are not there."""
    return loading.weights_file(config.weights)


def describe(config: Config) -> str:
    """One line on a configuration."""
    rules = f"{config.selection.scale.rule} and {config.selection.target.rule}"
    profile = ", as released" if config.regression.solver == "released" else ""
    return f"TADT on {config.architecture} with weights {config.weights}, channels by {rules}{profile}"


def _architecture(config: Config) -> str:
    """The name of the network, however it is spelt."""
    return loading.architecture_name(models, config.architecture)


# --- the first frame -----------------------------------------------------------------------------------------------


def problem(of: jax.Array, sides: jax.Array, cells: jax.Array) -> channel_regression.Problem:
    """What the regressor of a map `[C, n, n]` learns; sides of the template and of the window as in `learn`."""
    n = of.shape[1]
    kernel = jnp.minimum(channel_regression.taps(sides), cells)
    where = central(n, jnp.stack([cells, cells]))
    return channel_regression.Problem(of, channel_regression.label(n, sides), kernel, where)


def learn(
    config: Config, maps: tuple[jax.Array, jax.Array], sides: jax.Array, cells: jax.Array, key: jax.Array
) -> tuple[Chosen, Chosen]:
    """The channels that the first frame chooses.

    Args:
      config: what is learned and chosen.
      maps: `float32 [C, n, n]` each, 0 beyond the search window, the target in the middle.
      sides: `int32 [2]`, the template's, cells.
      cells: `int32 []`, the search window's.
      key: random key.
    """
    keys = jax.random.split(key, 3)
    importance, ranks = [], []
    for group, of, own in zip((config.selection.scale, config.selection.target), maps, keys[:2], strict=True):
        learned, ranked = jnp.zeros((len(of),)), None
        given = problem(of, sides, cells)
        if group.rule in ("regression", "ranking"):
            learned = channel_regression.learn(config.regression, given)[1]
        if group.rule == "ranking":
            ranked = scale_ranking.scale_importance(config.ranking, of, cells, given.sides, own)
        importance.append(learned)
        ranks.append(ranked)
    return channels.choose(config.selection, tuple(importance), tuple(ranks), maps, keys[2])


def _init(
    config: Config, architecture: models.Architecture, params: Any, frame: Frame, box: jax.Array, key: jax.Array
) -> State:
    """Starts on the first frame: chooses channels and cuts the template out of them."""
    search, n = config.search, architecture.cells
    centre, size = box[:2] + box[2:] / 2, box[2:]
    zoom = template_search.rescale(search, size)
    cells = template_search.window_cells(search, n, jnp.min(frame.size).astype(jnp.float32) * zoom)
    sides = template_search.template_sides(search, n, size * zoom, cells)
    side_px = jnp.asarray(search.window_px, jnp.float32)
    seen = models.maps(architecture, params, models.image(architecture, frame, centre, side_px / zoom))
    where = central(n, jnp.stack([cells, cells]))
    first, second = (jnp.where(where[None], jnp.moveaxis(one, 2, 0), 0.0) for one in seen)
    chosen = learn(config, (first, second), sides, cells, key)
    template = jnp.where(central(n, sides)[None], channels.taken(chosen, seen), 0.0)
    return State(
        chosen,
        correlation.spectrum(template, n),
        energy=jnp.sum(template * template),
        sides=sides,
        cells=cells,
        rescale=zoom,
        first_size=size,
        centre=centre,
        scale=jnp.ones(()),
        side_px=side_px,
    )


# --- later frames --------------------------------------------------------------------------------------------------


def _step(
    config: Config, architecture: models.Architecture, params: Any, state: State, frame: Frame
) -> tuple[State, Prediction]:
    """One frame: the best of three scales, the best place there."""
    search, n = config.search, architecture.cells
    x = models.image(architecture, frame, state.centre, state.side_px / state.rescale)
    seen = channels.taken(state.chosen, models.maps(architecture, params, x))
    seen = jnp.where(central(n, jnp.stack([state.cells, state.cells]))[None], seen, 0.0)
    found = jnp.stack(
        [
            template_search.responses(one, state.template, state.sides, state.cells)
            for one in template_search.scaled(seen)
        ]
    )
    greatest = jnp.max(found)
    some = greatest > 0
    which, moved = template_search.best(search, found / jnp.where(some, greatest, 1.0), state.cells)
    factor = jnp.where(some, jnp.asarray(template_search.scale_factors(n), jnp.float32)[which], 1.0)
    moved = jnp.where(some, moved, 0.0) * (factor * state.side_px / (search.window_px * state.rescale))
    extent = frame.size[::-1].astype(jnp.float32)
    least = jnp.minimum(1.0, _LEAST_PX / jnp.min(state.first_size))
    most = jnp.maximum(1.0, jnp.max(extent / state.first_size))
    scale = jnp.clip(state.scale * factor, least, most)
    centre = jnp.clip(state.centre + moved, 0.0, extent)
    side_px = jnp.maximum(jnp.round(state.side_px * scale / state.scale), 1.0)
    size = state.first_size * scale
    score = greatest / jnp.where(state.energy > 0, state.energy, 1.0)
    box = jnp.concatenate([centre - size / 2, size])
    return dataclasses.replace(state, centre=centre, scale=scale, side_px=side_px), Prediction(
        box, score, {"scale": scale}
    )
