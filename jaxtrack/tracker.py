"""The contract of a tracker; `jaxtrack.running`, `jaxtrack.batch` and `jaxtrack.session` run one.

A tracker is a pair of pure functions, as an optimiser is in optax:

    init: (params, frame, box, key) -> state
    step: (params, state, frame) -> (state, Prediction)

Both are jittable as a whole; everything that changes from frame to frame lives in `state`.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.images import Frame

_LOAD = "jaxtrack.trackers.load(NAME)"


class Prediction(NamedTuple):
    """What a tracker says of one frame.

    Attributes:
      box: `float32 [4]`, (x, y, w, h) in pixels.
      score: `float32 []`, the tracker's confidence (its scale is the tracker's own).
      diagnostics: named arrays, the same names and shapes in every frame.
    """

    box: jax.Array
    score: jax.Array
    diagnostics: dict[str, jax.Array]


class Tracker(NamedTuple):
    """A tracker: two pure functions (see the module's docstring)."""

    init: Callable[[Any, Frame, jax.Array, jax.Array], Any]
    step: Callable[[Any, Any, Frame], tuple[Any, Prediction]]


class Video(Protocol):
    """Images by number: a `jaxtrack.data.sequences.Sequence`, a list of arrays, anything alike.

    Where a tracker is run, the path of a folder of images, or a list of paths of images, will do as well.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Track(NamedTuple):
    """A tracker's run over one video of N frames; row 0 is the given box.

    Attributes:
      boxes: `float32 [N, 4]`, (x, y, w, h) in pixels.
      scores: `float32 [N]`; the first is 1.
      seconds: `float64 [N]`, time per frame without decoding and compiling; the first is the initialisation. Frames
        are tracked in chunks, a chunk's time is shared out evenly.
      diagnostics: the predictions' diagnostics, `[N - 1, ...]` each, from frame 1 on.
      compile_seconds: what compiling took in this run, 0 when the programs were there.
    """

    boxes: np.ndarray
    scores: np.ndarray
    seconds: np.ndarray
    diagnostics: dict[str, np.ndarray]
    compile_seconds: float

    def __repr__(self) -> str:
        count, after = len(self.boxes), float(np.sum(self.seconds[1:]))
        told = [f"{count} frame{'s' if count != 1 else ''}"]
        if count:
            told.append(f"last box ({', '.join(f'{value:.1f}' for value in np.asarray(self.boxes)[-1])})")
        if count > 1:
            told.append(f"median score {np.median(self.scores[1:]):.3g}")
        if count > 1 and after > 0:
            told.append(f"{(count - 1) / after:.1f} frames/s")
        if self.diagnostics:
            told.append(f"diagnostics {', '.join(self.diagnostics)}")
        return f"<Track: {'; '.join(told)}>"


def sequence_key(seed: int, name: str) -> jax.Array:
    """The random key of a run: a function of the seed and of the sequence's name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return jax.random.fold_in(jax.random.key(seed), int.from_bytes(digest[:4], "little"))


def check_arguments(tracker: Any, params: Any) -> None:
    """Refuses what is no tracker, and parameters that are no arrays; `UserError`."""
    if not callable(getattr(tracker, "init", None)) or not callable(getattr(tracker, "step", None)):
        load = _LOAD.replace("NAME", repr(tracker)) if isinstance(tracker, str) else _LOAD
        raise UserError(
            f"a tracker is a pair of functions, a jaxtrack.Tracker, not {_shown(tracker)}: {load} gives one"
        )
    for path, leaf in jax.tree.leaves_with_path(params):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            at = jax.tree_util.keystr(path)
            raise UserError(f"params{at} must be an array, not {_shown(leaf)}: {_LOAD} gives those of a tracker")


def explain_params(tracker: Tracker, expected: Callable[[], Any], what: str) -> Tracker:
    """The same tracker, which says in a sentence why it cannot start with parameters of another structure.

    Args:
      tracker: the pair of functions.
      expected: gives parameters that fit, or their shapes; called only if `init` fails.
      what: what the parameters belong to, for the message.

    Returns:
      The tracker; its `init` raises `UserError` where an array is missing or misshaped, from what was raised.
    """

    def init(params: Any, frame: Frame, box: jax.Array, key: jax.Array) -> Any:
        try:
            return tracker.init(params, frame, box, key)
        except Exception as error:  # Whatever a network raises where its parameters are not there.
            problem = _difference(params, expected()) if jax.tree.leaves(params) else "there are none"
            if not problem:
                raise
            raise UserError(f"the parameters are not those of {what}: {problem}; {_LOAD} gives them") from error

    return Tracker(init, tracker.step)


def _difference(params: Any, expected: Any) -> str:
    """The first of the expected arrays that the parameters lack, or have of another shape; "" if there is none."""
    given = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(params)}
    for path, leaf in jax.tree.leaves_with_path(expected):
        at = jax.tree_util.keystr(path)
        if at not in given:
            return f"params{at} is missing"
        if given[at].shape != leaf.shape:
            return f"params{at} is {list(given[at].shape)}, not {list(leaf.shape)}"
    return ""


def _shown(value: Any) -> str:
    """A value in a message: a text as it is, of others the type."""
    return repr(value) if isinstance(value, str) else f"a {type(value).__qualname__}"
