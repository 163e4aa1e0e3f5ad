"""Siamese trackers: SiamRPN++, SiamBAN, SiamPW and NanoTrack, as one state transition.

The template's features are computed once, in the first frame. In every frame the network compares them with a search
region around the last box and gives, for each anchor or point of a grid, a score and a box; a penalty on changes of
size and shape and a window over the grid pick one, and the size is smoothed.

Li et al., "SiamRPN++", CVPR 2019; Chen et al., "Siamese Box Adaptive Network", CVPR 2020; Tang and Ling,
"Ranking-Based Siamese Visual Tracking", CVPR 2022 (SiamPW and the ranking losses).

Where this differs from the reference implementations:

* Everything happens on the device in float32; the crops follow OpenCV's fixed-point arithmetic there.
* BatchNorm is folded into the convolutions when the weights are loaded.
"""

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack import images
from jaxtrack.data.naming import match_name
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import Frame
from jaxtrack.models import siamese as models
from jaxtrack.models.grids import Candidates, candidate_windows, candidates
from jaxtrack.tracker import Prediction, Tracker
from jaxtrack.weights import store

MIN_SIDE_PX = 10.0  # No box gets smaller.


@dataclasses.dataclass(frozen=True)
class Lost:
    """What a long-term tracker does while its target is lost: it takes a larger search region, and no window."""

    search_px: int = 831
    """Side of the search crop while the target is lost, in pixels."""
    window_influence: float = 0.001
    """Influence of the window while the target is lost."""
    low: float = 0.8
    """Below this score the target is lost, and the box stays where it was."""
    high: float = 0.998
    """Above this score a lost target is found again."""

    def __post_init__(self) -> None:
        """Refuses limits that contradict one another."""
        check_numbers(self, positive=("search_px",), not_negative=("window_influence", "low", "high"))
        if self.low > self.high:
            raise UserError(f"low of Lost must be at most high, not {self.low:g} and {self.high:g}")


@dataclasses.dataclass(frozen=True)
class Config:
    """What a Siamese tracker needs besides its weights."""

    architecture: str = "siamrpn_r50"
    """The network (`jaxtrack.models.siamese.ARCHITECTURES`)."""
    weights: str = dataclasses.field(default="", metadata={"identity": False})
    """Imported weights: a .safetensors file, or the name of one in $JAXTRACK_WEIGHTS or ./weights; by default the
    architecture's name."""
    penalty: float = 0.04
    """Strength of the penalty on changes of size and of aspect ratio (PENALTY_K)."""
    window_influence: float = 0.44
    """Share of the window in the score that chooses (WINDOW_INFLUENCE)."""
    smoothing: float = 0.4
    """Share of the new size, times score and penalty, in the size (LR)."""
    context: float = 0.5
    """Margin of the template around the target, as a share of width plus height."""
    long_term: bool = False
    """Whether to look farther while the target is lost; off, the tracker goes on as if it were not."""
    lost: Lost = Lost()
    """What a long-term tracker does while its target is lost."""
    tuned_on: str = ""
    """The benchmark on whose test data the constants were chosen, if they were: its results are no fair test."""

    def __post_init__(self) -> None:
        """Refuses numbers that the tracker cannot run with."""
        check_numbers(self, not_negative=("penalty", "window_influence", "smoothing", "context"))
        if self.window_influence > 1:
            raise UserError(f"window_influence must be at most 1, not {self.window_influence:g}")


def _read_settings() -> dict[str, Config]:
    """The table of published settings beside this module, by tracker name."""
    text = importlib.resources.files("jaxtrack.trackers").joinpath("siamese.csv").read_text()
    return {
        row["name"]: Config(
            architecture=row["architecture"],
            weights=row["weights"],
            penalty=float(row["penalty"]),
            window_influence=float(row["window_influence"]),
            smoothing=float(row["smoothing"]),
            tuned_on=row["tuned_on"],
        )
        for row in csv.DictReader(text.splitlines())
    }


CONFIGS = _read_settings()


class Network(NamedTuple):
    """The two functions that the tracker asks of a network; crops are `float32 [1, side, side, 3]`, BGR in [0, 255].

    Attributes:
      template: (params, crop) -> what is kept of the template.
      search: (params, kept, crop) -> class and box maps `[1, S, S, 2 A]`, `[1, S, S, 4 A]`.
    """

    template: Callable[[Any, jax.Array], Any]
    search: Callable[[Any, Any, jax.Array], tuple[jax.Array, jax.Array]]


class Parts(NamedTuple):
    """What a tracker is made of."""

    config: Config
    architecture: models.Architecture
    network: Network


@flax.struct.dataclass
class State:
    """Everything that changes from frame to frame.

    Attributes:
      kept: what the network keeps of the template.
      fill: `float32 [3]`, colour outside the image: the first frame's mean, cut to whole grey levels; RGB.
      centre: `float32 [2]`, the target's centre (x, y), pixels.
      size: `float32 [2]`, its (width, height), pixels.
      lost: `bool []`, whether the target is lost (long-term trackers only).
    """

    kept: Any
    fill: jax.Array
    centre: jax.Array
    size: jax.Array
    lost: jax.Array


class Constants(NamedTuple):
    """The three constants that are tuned, as arrays: `penalty`, `window_influence`, `smoothing`, `float32 []` each."""

    penalty: jax.Array
    window_influence: jax.Array
    smoothing: jax.Array


class Decision(NamedTuple):
    """The chosen candidate: unclipped centre `[2]` and size `[2]` in image pixels, its score `[]`."""

    centre: jax.Array
    size: jax.Array
    score: jax.Array


# --- geometry ------------------------------------------------------------------------------------------------------


def context_side(size: jax.Array, context: float) -> jax.Array:
    """Side of the square around a target of a size that the template shows, before rounding; `[..., 2]` to `[...]`."""
    margin = context * jnp.sum(size, axis=-1, keepdims=True)
    return jnp.sqrt(jnp.prod(size + margin, axis=-1))


def crop_square(frame: Frame, centre: jax.Array, side: jax.Array, out: int, fill: jax.Array) -> jax.Array:
    """The references' crop: a square of whole pixels, padded with `fill`, resized, rounded, as BGR.

    Args:
      frame: the frame.
      centre: `float32 [2]`, (x, y).
      side: `float32 []`, a whole number of pixels.
      out: side of the crop.
      fill: `float32 [3]`, RGB.

    Returns:
      `float32 [1, out, out, 3]`, whole grey levels in [0, 255].
    """
    corner = jnp.floor(centre - (side + 1) / 2 + 0.5).astype(jnp.int32)
    rgb = images.crop_fixed_point(frame.pixels, frame.size, corner, side.astype(jnp.int32), out, fill)
    return rgb[None, :, :, ::-1]


def mean_colour(frame: Frame) -> jax.Array:
    """The frame's mean colour cut to whole grey levels, `float32 [3]` RGB."""
    height, width = frame.size[0], frame.size[1]
    rows = jnp.sum(frame.pixels.astype(jnp.int32), axis=1)  # [H, 3]; the canvas is 0 beyond the image
    # The sum over a large image does not fit into 32 bits: quotients and remainders are summed apart.
    quotients, remainders = jnp.sum(rows // width, axis=0), jnp.sum(rows % width, axis=0)
    rest = (quotients % height) * width + remainders
    return (quotients // height + rest // (height * width)).astype(jnp.float32)


# --- decision ------------------------------------------------------------------------------------------------------


def _change(ratio: jax.Array) -> jax.Array:
    return jnp.maximum(ratio, 1 / ratio)


def decide(
    found: Candidates,
    constants: Constants,
    windows: jax.Array,
    centre: jax.Array,
    size: jax.Array,
    scale: jax.Array,
) -> Decision:
    """Chooses a candidate and smooths the size (specification of the references' trackers, not in a paper).

    Args:
      found: the network's candidates.
      constants: the three constants.
      windows: `float32 [N]`, the window.
      centre: `float32 [2]`, the last centre, pixels.
      size: `float32 [2]`, the last size, pixels.
      scale: `float32 []`, crop pixels per image pixel.
    """
    sides = found.boxes_cxcywh[:, 2:]
    last = size * scale
    size_change = _change(context_side(sides, 0.5) / context_side(last, 0.5))
    shape_change = _change((last[0] / last[1]) / (sides[:, 0] / sides[:, 1]))
    penalty = jnp.exp(-(shape_change * size_change - 1) * constants.penalty)
    weight = constants.window_influence
    best = jnp.argmax(penalty * found.scores * (1 - weight) + windows * weight)
    box = found.boxes_cxcywh[best] / scale
    rate = penalty[best] * found.scores[best] * constants.smoothing
    return Decision(centre + box[:2], size * (1 - rate) + box[2:] * rate, found.scores[best])


def clipped(centre: jax.Array, size: jax.Array, frame: Frame) -> tuple[jax.Array, jax.Array]:
    """Centre and size within the image, no side below 10 pixels."""
    extent = frame.size[::-1].astype(jnp.float32)
    return jnp.clip(centre, 0.0, extent), jnp.clip(size, MIN_SIDE_PX, extent)


# --- the pair of functions -----------------------------------------------------------------------------------------


@functools.lru_cache
def tracker(config: Config = CONFIGS["siamrpn"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    architecture = _architecture(config)
    return make_tracker(config, architecture, network_of(architecture))


def init_params(config: Config, key: jax.Array | None = None) -> dict:
    """The imported weights, ready for tracking; `UserError` where there are none that fit."""
    del key  # nothing is drawn
    path = weights_file(config)
    variables, meta = store.load(path)
    if meta.architecture != config.architecture:
        raise UserError(f"{path} holds weights of {meta.architecture}, not of {config.architecture}")
    return models.for_inference(_architecture(config), variables)


def weights_sha256(config: Config) -> str:
    """What tells the weights of a configuration from others."""
    return store.read_meta(weights_file(config)).sha256  # `store.load` compares the file with it


def describe(config: Config) -> str:
    """One line on a configuration."""
    label = f"tuned on {config.tuned_on}" if config.tuned_on else "the reference's default constants"
    return f"{config.architecture} with weights {config.weights}, {label}"


def weights_file(config: Config) -> Path:
    """Where the weights of a configuration lie; `UserError` if they are not there."""
    return store.locate(config.weights or config.architecture)


def _architecture(config: Config) -> models.Architecture:
    name = match_name(config.architecture, sorted(models.ARCHITECTURES), what="architecture")
    return models.ARCHITECTURES[name]


def network_of(architecture: models.Architecture) -> Network:
    """The functions of an architecture's network."""
    module = models.build(architecture)
    return Network(
        template=functools.partial(module.apply, method="template"),
        search=functools.partial(module.apply, method="search"),  # type: ignore[arg-type]
    )


def make_tracker(config: Config, architecture: models.Architecture, network: Network) -> Tracker:
    """The tracker around a network."""
    parts = Parts(config, architecture, network)
    return Tracker(init=functools.partial(_init, parts), step=functools.partial(_step, parts))


def _init(parts: Parts, params: Any, frame: Frame, box: jax.Array, key: jax.Array) -> State:
    """Starts on the first frame: the template's features."""
    del key  # nothing is drawn
    centre, size = box[:2] + box[2:] / 2, box[2:]
    fill = mean_colour(frame)
    side = jnp.round(context_side(size, parts.config.context))
    crop = crop_square(frame, centre, side, parts.architecture.template_px, fill)
    return State(parts.network.template(params, crop), fill, centre, size, jnp.zeros((), bool))


def look(parts: Parts, params: Any, state: State, frame: Frame, search_px: int) -> tuple[Candidates, jax.Array]:
    """The candidates in a search crop around the last box, and the crop's scale (crop pixels per image pixel)."""
    architecture = parts.architecture
    side = context_side(state.size, parts.config.context)
    crop_side = jnp.round(side * (search_px / architecture.template_px))
    crop = crop_square(frame, state.centre, crop_side, search_px, state.fill)
    cls, loc = parts.network.search(params, state.kept, crop)
    return candidates(architecture.kind, architecture.stride_px, cls[0], loc[0]), architecture.template_px / side


def _step(parts: Parts, params: Any, state: State, frame: Frame) -> tuple[State, Prediction]:
    """One frame."""
    config = parts.config
    near = functools.partial(_find, parts, params, state, frame, parts.architecture.search_px, config.window_influence)
    if config.long_term:
        far = functools.partial(_find, parts, params, state, frame, config.lost.search_px, config.lost.window_influence)
        return _long_term(config.lost, state, _either(state.lost, near, far), frame)
    decision = near()
    centre, size = clipped(decision.centre, decision.size, frame)
    state = dataclasses.replace(state, centre=centre, size=size)
    return state, Prediction(_box(centre, size), decision.score, {})


def _find(parts: Parts, params: Any, state: State, frame: Frame, search_px: int, window_influence: float) -> Decision:
    """The decision on a search region of a size."""
    found, scale = look(parts, params, state, frame, search_px)
    numbers = (parts.config.penalty, window_influence, parts.config.smoothing)
    constants = Constants(*(jnp.asarray(number, jnp.float32) for number in numbers))
    windows = jnp.asarray(candidate_windows(parts.architecture.kind, len(found.scores)))
    return decide(found, constants, windows, state.centre, state.size, scale)


def _either(lost: jax.Array, near: Callable[[], Decision], far: Callable[[], Decision]) -> Decision:
    """`far()` while the target is lost, else `near()`."""
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(near))
    # Loops of one turn or none: under vmap a `cond` would compute both.
    times = lost.astype(jnp.int32)
    decision = jax.lax.fori_loop(0, 1 - times, lambda _, __: near(), nothing)
    return jax.lax.fori_loop(0, times, lambda _, __: far(), decision)


def _long_term(limits: Lost, state: State, decision: Decision, frame: Frame) -> tuple[State, Prediction]:
    """Follows the decision if its score is good enough; the state keeps boxes as they are, the output is clipped."""
    seen = decision.score >= limits.low
    centre = jnp.where(seen, decision.centre, state.centre)
    size = jnp.where(seen, decision.size, state.size)
    lost = jnp.where(state.lost, decision.score <= limits.high, decision.score < limits.low)
    shown = _box(*clipped(centre, size, frame))
    state = dataclasses.replace(state, centre=centre, size=size, lost=lost)
    return state, Prediction(shown, decision.score, {"lost": lost})


def _box(centre: jax.Array, size: jax.Array) -> jax.Array:
    return jnp.concatenate([centre - size / 2, size])
