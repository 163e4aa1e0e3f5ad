"""Sessions of one tracker, begun one after another or side by side, as toolkits ask for them."""

from typing import Any

import numpy as np

from jaxtrack import trackers
from jaxtrack.evaluation.runner import session_seed
from jaxtrack.images import as_rgb, canvas_size
from jaxtrack.session import Session


class Target:
    """A session that answers with a finite box always: where the tracker's is not, with the one before."""

    def __init__(self, session: trackers.HostSession):
        self._session = session
        self._box = np.empty(0)

    def init(self, image: np.ndarray, box: Any) -> None:
        """Starts on an image `uint8 [H, W, 3]` RGB with the target's box `[4]` (x, y, w, h), pixels, 0-based."""
        self._session.init(image, box)
        self._box = np.asarray(box, np.float64)

    def update(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The target's box in the next image, `float64 [4]`, and the tracker's confidence."""
        prediction = self._session.update(image)
        box = np.asarray(prediction.box, np.float64)
        self._box = box if np.isfinite(box).all() else self._box
        return self._box, float(prediction.score)


class Sessions:
    """Begins sessions of a tracker, and compiles it before anybody measures time.

    Attributes:
      name: the tracker's name.
    """

    def __init__(self, tracker: Any):
        """Builds the tracker once for all sessions.

        Args:
          tracker: one of `jaxtrack.trackers.names()`, or the configuration of a tracker.

        Raises:
          UserError: unknown name, missing weights, or a library that is not installed.
        """
        named = isinstance(tracker, str)
        self.name = trackers.canonical_name(tracker) if named else trackers.name_of(tracker)
        self._method = trackers.build(self.name, trackers.default_config(tracker) if named else tracker)
        self._params = self._method.params() if isinstance(self._method, trackers.JaxMethod) else None
        self._compiled: set[tuple[int, int]] = set()

    def begin(self, seed: int, name: str) -> Target:
        """A fresh session; its random key is that of an evaluation's run of the sequence `name` with this seed."""
        if isinstance(self._method, trackers.HostMethod):
            return Target(self._method.session(session_seed(seed, name)))
        return Target(Session(self._method.tracker, self._params, seed=seed, name=name))

    def warm_up(self, image: np.ndarray) -> None:
        """Compiles both programs for images as large as `image` (`uint8 [H, W, 3]`), unless that has been done."""
        height, width = as_rgb(image).shape[:2]
        canvas = canvas_size(height, width)
        if canvas in self._compiled or isinstance(self._method, trackers.HostMethod):
            return
        session = self.begin(0, "")
        session.init(image, (width / 4, height / 4, width / 2, height / 2))
        session.update(image)
        self._compiled.add(canvas)
