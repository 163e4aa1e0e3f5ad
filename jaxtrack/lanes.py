"""Several runs of one tracker on the same images, side by side, each started when it is told to.

The frames come one by one and are the same for all lanes, as for the repetitions of one sequence; what differs is the
random key, and with it the frames in which lanes are started again.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.compilation import Program
from jaxtrack.data.sequences import check_image_size, check_init_box
from jaxtrack.errors import UserError
from jaxtrack.images import as_rgb, make_frame
from jaxtrack.running import programs
from jaxtrack.tracker import Prediction, Tracker, sequence_key


class _Programs(NamedTuple):
    fill: Program
    place: Program
    step: Program


@functools.lru_cache(maxsize=32)
def side_by_side(tracker: Tracker) -> Tracker:
    """Several runs on the same frames as one tracker: boxes, keys and predictions have a leading axis of lanes."""
    return Tracker(
        init=jax.vmap(tracker.init, in_axes=(None, None, 0, 0)),
        step=jax.vmap(tracker.step, in_axes=(None, 0, None)),
    )


@functools.lru_cache(maxsize=32)
def _programs(tracker: Tracker, width: int) -> _Programs:
    return _Programs(
        fill=Program(functools.partial(_fill, width=width)),
        place=Program(_place, donate_argnums=(0,)),
        step=programs(side_by_side(tracker)).step,
    )


def _fill(state: Any, *, width: int) -> Any:
    """A state in each of `width` lanes."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * width), state)


def _place(states: Any, state: Any, lane: jax.Array) -> Any:
    """The states with one lane's replaced."""
    return jax.tree.map(lambda all_lanes, one: all_lanes.at[lane].set(one), states, state)


class Lanes:
    """A `Session` for several runs: `init(lane, image, box)` starts one of them, `update(image)` moves them all on.

    A lane's boxes do not depend on what the others do. They differ in their last bits from those of a session, and of
    another number of lanes: those are other programs.
    """

    def __init__(self, tracker: Tracker, params: Any, width: int):
        """Prepares the lanes.

        Args:
          tracker: the pair of functions.
          params: the tracker's parameters.
          width: number of lanes.
        """
        self._init, self._programs = programs(tracker).init, _programs(tracker, width)
        self._params = params
        self._states: Any = None
        self._size: tuple[int, ...] = ()

    @property
    def compile_seconds(self) -> float:
        """What compiling has taken so far, for all sessions and lanes of this tracker."""
        return sum(program.compile_seconds for program in (self._init, *self._programs))

    def init(self, lane: int, image: np.ndarray, box: Any, *, seed: int, name: str) -> None:
        """Starts a lane, for the first time or again; until then it repeats the lane that was started first.

        Args:
          lane: its number.
          image: `uint8 [H, W, 3]` RGB.
          box: `[4]`, (x, y, w, h), pixels, 0-based.
          seed: the run's seed.
          name: takes part in the random key, as a sequence's name does in `run`.
        """
        image = as_rgb(image, name)
        box = check_init_box(box, image.shape[:2], name)
        self._size = image.shape[:2]
        state = self._init(self._params, make_frame(image), box, sequence_key(seed, name))
        if self._states is None:
            self._states = self._programs.fill(state)
        else:
            self._states = self._programs.place(self._states, state, jnp.asarray(lane, jnp.int32))

    def update(self, image: np.ndarray) -> Prediction:
        """Finds the target in the next image; the prediction's leaves are numpy arrays [lanes, ...]."""
        if self._states is None:
            raise UserError("call init(lane, image, box) before update(image)")
        image = as_rgb(image, "the image")
        check_image_size(image, self._size, "the image")
        self._states, prediction = self._programs.step(self._params, self._states, make_frame(image))
        return jax.device_get(prediction)
