"""Siamese trackers: SiamRPN++, SiamBAN, SiamPW and NanoTrack, as one state transition.

The template's features are computed once, in the first frame. In every frame the network compares them with a search
region around the last box and gives, for each anchor or point of a grid, a score and a box; a penalty on changes of
size and shape and a window over the grid pick one, and the size is smoothed.

Li et al., "SiamRPN++", CVPR 2019; Chen et al., "Siamese Box Adaptive Network", CVPR 2020; Tang and Ling,
"Ranking-Based Siamese Visual Tracking", CVPR 2022 (SiamPW and the ranking losses).

Where this differs from the reference implementations:

* Everything happens on the device in float32; the crops follow OpenCV's fixed-point arithmetic there.
* BatchNorm is folded into the convolutions when the weights are loaded.
* `calibration` (0 unless a configuration sets it) corrects the boxes' sizes by the network's error in the first frame.
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

from jaxtrack.data.naming import Named
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import Frame
from jaxtrack.models import siamese as models
from jaxtrack.models.decision import (
    Constants,
    Decision,
    box_of,
    clipped,
    context_side,
    decide,
    size_error,
)
from jaxtrack.models.grids import Candidates, candidate_windows, candidates
from jaxtrack.models.siamese_crops import crop_corner, crop_square, mean_colour
from jaxtrack.tracker import Prediction, Tracker, explain_params
from jaxtrack.weights.siamese import Family, Network, described, network_of, zeros


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


_SHARES = ("window_influence", "calibration")


@dataclasses.dataclass(frozen=True)
class Config:
    """What a Siamese tracker needs besides its weights."""

    architecture: str = "siamrpn_r50"
    """The network (`jaxtrack.models.siamese.ARCHITECTURES`)."""
    weights: str = dataclasses.field(default="", metadata={"identity": False})
    """Weights: a .safetensors file, or the name of one in $JAXTRACK_WEIGHTS or ./weights, or else of one that comes
    with jaxtrack; by default the architecture's name."""
    penalty: float = 0.04
    """Strength of the penalty on changes of size and of aspect ratio (PENALTY_K)."""
    window_influence: float = 0.44
    """Share of the window in the score that chooses (WINDOW_INFLUENCE)."""
    smoothing: float = 0.4
    """Share of the new size, times score and penalty, in the size (LR)."""
    context: float = 0.5
    """Margin of the template around the target, as a share of width plus height."""
    calibration: float = 0.0
    """Share of the network's error of the target's size in the first frame (a logarithm) that is taken off the boxes of
    all later ones; 0 as in the references."""
    long_term: bool = False
    """Whether to look farther while the target is lost; off, the tracker goes on as if it were not."""
    lost: Lost = Lost()
    """What a long-term tracker does while its target is lost."""
    tuned_on: str = ""
    """The benchmark on whose test data the constants were chosen, if they were: its results are no fair test."""

    def __post_init__(self) -> None:
        """Refuses numbers that the tracker cannot run with."""
        check_numbers(self, not_negative=("penalty", "smoothing", "context", *_SHARES))
        for name in _SHARES:
            if getattr(self, name) > 1:
                raise UserError(f"{name} must be at most 1, not {getattr(self, name):g}")


def _setting(row: dict[str, str]) -> Config:
    """A row of the table of published settings; `low` and `high` are those of a long-term tracker, else empty."""
    return Config(
        architecture=row["architecture"],
        weights=row["weights"],
        penalty=float(row["penalty"]),
        window_influence=float(row["window_influence"]),
        smoothing=float(row["smoothing"]),
        calibration=float(row["calibration"] or 0),
        long_term=bool(row["low"]),
        lost=Lost(low=float(row["low"]), high=float(row["high"])) if row["low"] else Lost(),
        tuned_on=row["tuned_on"],
    )


_TABLE = importlib.resources.files("jaxtrack.trackers").joinpath("siamese.csv").read_text()
CONFIGS = Named(
    "tracker of jaxtrack.trackers.siamese", {row["name"]: _setting(row) for row in csv.DictReader(_TABLE.splitlines())}
)
_NETWORKS = Family(("anchors", "points"), "architecture")  # tokens are those of `jaxtrack.trackers.transt`


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
      size_error: `float32 [2]`, what is taken off the logarithms of the widths and heights that are told of.
      lost: `bool []`, whether the target is lost (long-term trackers only).
    """

    kept: Any
    fill: jax.Array
    centre: jax.Array
    size: jax.Array
    size_error: jax.Array
    lost: jax.Array


# --- the pair of functions -----------------------------------------------------------------------------------------


@functools.lru_cache
def tracker(config: Config = CONFIGS["siamrpn"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    parts = parts_of(config)
    expected = functools.partial(zeros, parts.architecture)
    return explain_params(make_tracker(*parts), expected, f"the network {_NETWORKS.name(config)}")


def init_params(config: Config, key: jax.Array | None = None) -> dict[str, Any]:
    """The weights, ready for tracking; `UserError` where there are none that fit."""
    del key  # nothing is drawn
    return _NETWORKS.params(config)


def weights_sha256(config: Config) -> str:
    """What tells the weights of a configuration from others; `UserError` if the file is not what its record says."""
    return _NETWORKS.sha256(config)


def describe(config: Config) -> str:
    """One line on a configuration."""
    constants = f"tuned on {config.tuned_on}" if config.tuned_on else "default constants"
    return f"{described(config)}, {constants}"


def weights_file(config: Config) -> Path:
    """Where the weights of a configuration lie; `UserError` if they are not there."""
    return _NETWORKS.weights_file(config)


def parts_of(config: Config) -> Parts:
    """What the tracker of a configuration is made of."""
    architecture = _NETWORKS.architecture(config)
    return Parts(config, architecture, network_of(architecture))


def make_tracker(config: Config, architecture: models.Architecture, network: Network) -> Tracker:
    """The tracker around a network."""
    parts = Parts(config, architecture, network)
    return Tracker(init=functools.partial(_init, parts), step=functools.partial(_step, parts))


def _init(parts: Parts, params: Any, frame: Frame, box: jax.Array, key: jax.Array) -> State:
    """Starts on the first frame: the template's features and, if asked for, the error of the network's sizes."""
    del key  # nothing is drawn
    centre, size = box[:2] + box[2:] / 2, box[2:]
    fill = mean_colour(frame)
    side = jnp.round(context_side(size, parts.config.context))
    crop = crop_square(frame, centre, side, parts.architecture.template_px, fill)
    kept = parts.network.template(params, crop)
    state = State(kept, fill, centre, size, size_error=jnp.zeros(2), lost=jnp.zeros((), bool))
    if not parts.config.calibration:
        return state
    found, scale = look(parts, params, state, frame, parts.architecture.search_px)
    return dataclasses.replace(state, size_error=parts.config.calibration * size_error(found, size * scale))


def look(parts: Parts, params: Any, state: State, frame: Frame, search_px: int) -> tuple[Candidates, jax.Array]:
    """The candidates in a search crop around the last box, and the crop's scale (crop pixels per image pixel)."""
    architecture = parts.architecture
    side = context_side(state.size, parts.config.context)
    crop_side = jnp.round(side * (search_px / architecture.template_px))
    crop = crop_square(frame, state.centre, crop_side, search_px, state.fill)
    cls, loc = parts.network.search(params, state.kept, crop)
    found, scale = (
        candidates(architecture.kind, architecture.stride_px, cls[0], loc[0]),
        architecture.template_px / side,
    )
    if architecture.exact_centre:
        # What was cut out is whole pixels: its middle is up to one pixel left of and above the wished-for centre.
        middle = crop_corner(state.centre, crop_side) + crop_side / 2
        moved = jnp.concatenate([(middle - state.centre) * scale, jnp.zeros(2)])
        found = found._replace(boxes_cxcywh=found.boxes_cxcywh + moved[None])
    return found, scale


def advance(
    parts: Parts, params: Any, constants: Constants, state: State, frame: Frame
) -> tuple[Candidates, jax.Array, State, Prediction]:
    """One frame of a short-term tracker, and before its results what `look` has found."""
    found, scale, decision = _find(parts, params, constants, state, frame, parts.architecture.search_px)
    centre, size = clipped(decision.centre, decision.size, frame)
    state = dataclasses.replace(state, centre=centre, size=size)
    return found, scale, state, Prediction(_shown(state, centre, size), decision.score, {})


def _shown(state: State, centre: jax.Array, size: jax.Array) -> jax.Array:
    """The box that is told of; the state keeps the network's sizes, from which its search regions follow."""
    return box_of(centre, size * jnp.exp(-state.size_error))


def _step(parts: Parts, params: Any, state: State, frame: Frame) -> tuple[State, Prediction]:
    """One frame."""
    config, lost = parts.config, parts.config.lost
    near = Constants(*(jnp.asarray(getattr(config, name), jnp.float32) for name in Constants._fields))
    if not config.long_term:
        return advance(parts, params, near, state, frame)[2:]
    far = near._replace(window_influence=jnp.asarray(lost.window_influence, jnp.float32))
    decision = _either(
        state.lost,
        lambda: _find(parts, params, near, state, frame, parts.architecture.search_px)[2],
        lambda: _find(parts, params, far, state, frame, lost.search_px)[2],
    )
    return _long_term(lost, state, decision, frame)


def _find(
    parts: Parts, params: Any, constants: Constants, state: State, frame: Frame, search_px: int
) -> tuple[Candidates, jax.Array, Decision]:
    """What `look` finds in a search region of a size, and the decision on it."""
    found, scale = look(parts, params, state, frame, search_px)
    return found, scale, decide(found, constants, windows(parts, found), state.centre, state.size, scale)


def windows(parts: Parts, found: Candidates) -> jax.Array:
    """The window's value for each candidate, `float32 [N]`."""
    return jnp.asarray(candidate_windows(parts.architecture.kind, len(found.scores)))


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
    shown = _shown(state, *clipped(centre, size, frame))
    state = dataclasses.replace(state, centre=centre, size=size, lost=lost)
    return state, Prediction(shown, decision.score, {"lost": lost})
