"""TransT: template and search region fused by attention, one box for every cell, no penalty and no smoothing.

Chen et al., "Transformer Tracking", CVPR 2021; and, trained with the ranking losses, the Transformer tracker of Tang
and Ling, "Ranking-Based Siamese Visual Tracking", CVPR 2022, Table 5.

The template is cut out once, in the first frame. In every frame the network looks at a search region around the last
box; a window over its cells and their scores pick one, whose box is the target's, as it is.

Where this differs from the authors' program:

* Everything happens on the device in float32; the crops follow OpenCV's fixed-point arithmetic there.
* BatchNorm is folded into the convolutions when the weights are loaded.
* A prediction's score is the chosen cell's probability; the program returns the windowed scores of all cells.
* Boxes count from the wished-for centre of the search region, which is cut out in whole pixels, and labels of the
  published training lie half a pixel of the crop further left: both as in the program. jaxtrack's own networks count
  from what was cut out (`jaxtrack.models.siamese.Architecture.exact_centre`), and so do their labels.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack.data.naming import Named
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import Frame
from jaxtrack.models import siamese as models
from jaxtrack.models.decision import box_of, clipped, context_side
from jaxtrack.models.grids import window
from jaxtrack.models.siamese_crops import crop_corner, crop_square, mean_colour
from jaxtrack.tracker import Prediction, Tracker, explain_params
from jaxtrack.weights.siamese import Family, Network, described, network_of, zeros


@dataclasses.dataclass(frozen=True)
class Config:
    """What TransT needs besides its weights."""

    architecture: str = "transt"
    """The network: one of `jaxtrack.models.siamese.ARCHITECTURES` whose cells are tokens."""
    weights: str = dataclasses.field(default="", metadata={"identity": False})
    """Weights: a .safetensors file, or the name of one in $JAXTRACK_WEIGHTS or ./weights, or else of one that comes
    with jaxtrack; by default the architecture's name."""
    window_influence: float = 0.49
    """Share of the window in the score that chooses."""
    template_factor: float = 2.0
    """Side of the template over that of a square target."""
    search_factor: float = 4.0
    """Side of the search region over that of a square target; 0 for as many sides of the template as its crop has more
    pixels, which is what pairs of `jaxtrack.training` show."""
    tuned_on: str = ""
    """The benchmark on whose test data the window was chosen, if it was: its results are no fair test."""

    def __post_init__(self) -> None:
        """Refuses numbers that the tracker cannot run with."""
        check_numbers(self, positive=("template_factor",), not_negative=("window_influence", "search_factor"))
        if self.window_influence > 1:
            raise UserError(f"window_influence must be at most 1, not {self.window_influence:g}")
        for name in ("template_factor", "search_factor"):
            if 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, the target itself, not {getattr(self, name):g}")


CONFIGS = Named(
    "tracker of jaxtrack.trackers.transt",
    {
        "transt": Config(weights="transt"),
        "transt_n2": Config("transt_n2", "transt_n2"),
        "transt_rbo": Config(weights="transt_rbo"),
        "transt_nano": Config("transt_nano", "transt_nano", search_factor=0.0),
    },
)
_NETWORKS = Family(("tokens",), "architecture of TransT")


@flax.struct.dataclass
class State:
    """Everything that changes from frame to frame.

    Attributes:
      kept: what the network keeps of the template: `float32 [1, T, T, C]`, the map of its cells (16 x 16 of 256
        channels in the published network).
      fill: `float32 [3]`, colour outside the image: the first frame's mean, cut to whole grey levels; RGB.
      centre: `float32 [2]`, the target's centre (x, y), pixels.
      size: `float32 [2]`, its (width, height), pixels.
    """

    kept: Any
    fill: jax.Array
    centre: jax.Array
    size: jax.Array


# --- the pair of functions -----------------------------------------------------------------------------------------


@functools.lru_cache
def tracker(config: Config = CONFIGS["transt"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    architecture = _NETWORKS.architecture(config)
    pair = make_tracker(config, architecture, network_of(architecture))
    return explain_params(pair, functools.partial(zeros, architecture), f"the network {_NETWORKS.name(config)}")


def init_params(config: Config, key: jax.Array | None = None) -> dict[str, Any]:
    """The weights, ready for tracking; `UserError` where there are none that fit."""
    del key  # nothing is drawn
    return _NETWORKS.params(config)


def weights_sha256(config: Config) -> str:
    """What tells the weights of a configuration from others; `UserError` if the file is not what its record says."""
    return _NETWORKS.sha256(config)


def describe(config: Config) -> str:
    """One line on a configuration."""
    return f"TransT: {described(config)}, a window of {config.window_influence:g}"


def weights_file(config: Config) -> Path:
    """Where the weights of a configuration lie; `UserError` if they are not there."""
    return _NETWORKS.weights_file(config)


def make_tracker(config: Config, architecture: models.Architecture, network: Network) -> Tracker:
    """The tracker around a network."""
    parts = (config, architecture, network)
    return Tracker(init=functools.partial(_init, *parts), step=functools.partial(_step, *parts))


def _init(
    config: Config,
    architecture: models.Architecture,
    network: Network,
    params: Any,
    frame: Frame,
    box: jax.Array,
    key: jax.Array,
) -> State:
    """Starts on the first frame: the template's features."""
    del key  # nothing is drawn
    centre, size = box[:2] + box[2:] / 2, box[2:]
    fill = mean_colour(frame)
    side = jnp.ceil(_side(size, config.template_factor))
    kept = network.template(params, crop_square(frame, centre, side, architecture.template_px, fill))
    return State(kept, fill, centre, size)


def _step(
    config: Config, architecture: models.Architecture, network: Network, params: Any, state: State, frame: Frame
) -> tuple[State, Prediction]:
    """One frame: the best cell's box."""
    side = jnp.ceil(_search_side(config, architecture, state.size))
    crop = crop_square(frame, state.centre, side, architecture.search_px, state.fill)
    # [N, 2] and [N, 4], row by row
    logits, boxes = (maps.reshape(-1, maps.shape[-1]) for maps in network.search(params, state.kept, crop))
    scores = jax.nn.sigmoid(logits[:, 1] - logits[:, 0])  # [N]
    weight = config.window_influence
    best = jnp.argmax((1 - weight) * scores + weight * jnp.asarray(window(architecture.score_cells, 1)))
    found = boxes[best] * side  # (cx, cy, w, h) in pixels of the frame, from the region's corner
    corner = crop_corner(state.centre, side) if architecture.exact_centre else state.centre - side / 2
    centre, size = clipped(corner + found[:2], found[2:], frame)
    state = dataclasses.replace(state, centre=centre, size=size)
    return state, Prediction(box_of(centre, size), scores[best], {})


def _search_side(config: Config, architecture: models.Architecture, size: jax.Array) -> jax.Array:
    """Side of the search region, not rounded; `float32 []`."""
    if config.search_factor:
        return _side(size, config.search_factor)
    return _side(size, config.template_factor) * (architecture.search_px / architecture.template_px)


def _side(size: jax.Array, factor: float) -> jax.Array:
    """Side of the square that is `factor` times as long as a square target; others get as much margin.

    Args:
      size: `float32 [2]`, the target's (width, height), pixels.
      factor: at least 1.

    Returns:
      `float32 []`, pixels, not rounded.
    """
    return context_side(size, (factor - 1) / 2)
