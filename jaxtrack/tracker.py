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

from jaxtrack.images import Frame


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
    """Images by number: a `jaxtrack.data.sequences.Sequence`, a list of arrays, anything alike."""

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


def sequence_key(seed: int, name: str) -> jax.Array:
    """The random key of a run: a function of the seed and of the sequence's name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return jax.random.fold_in(jax.random.key(seed), int.from_bytes(digest[:4], "little"))
