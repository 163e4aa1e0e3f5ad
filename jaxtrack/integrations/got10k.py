"""A tracker as the GOT-10k toolkit (`pip install got10k`) runs one on its benchmarks.

    from got10k.experiments import ExperimentGOT10k
    from jaxtrack.integrations.got10k import ToolkitTracker

    ExperimentGOT10k("data/GOT-10k", subset="val").run(ToolkitTracker("siamban_nano", is_deterministic=True))

The toolkit asks a tracker for a name, for `is_deterministic`, and for `track`, or `init` and `update`; it need not be a
child of the toolkit's class. Boxes in its files, and those that go in and out here, count pixels from 1.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.boxes import as_in_files, zero_based
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.errors import UserError
from jaxtrack.images import as_rgb
from jaxtrack.integrations.sessions import Sessions, Target


class ToolkitTracker:
    """What the toolkit's experiments take for a tracker.

    Attributes:
      name: the folder of the results.
      is_deterministic: whether one repetition is enough; the toolkit runs three of any other tracker.
    """

    def __init__(
        self, tracker: Any, *, name: str = "", is_deterministic: bool = False, seed: int = 0, origin: float = 1.0
    ):
        """Builds the tracker.

        Args:
          tracker: one of `jaxtrack.trackers.names()`, or the configuration of a tracker.
          name: what the toolkit calls it; by default the tracker's name.
          is_deterministic: say so of a tracker that draws nothing, such as the Siamese ones.
          seed: of the first repetition of a sequence; the next has `seed + 1`, as of `evaluate --repeats`.
          origin: what the toolkit's files call the first pixel: 1, or 0 for those of TrackingNet and VOT.

        Raises:
          UserError: unknown name, missing weights, or a library that is not installed.
        """
        self._sessions = Sessions(tracker)
        self.name = name or self._sessions.name
        self.is_deterministic = is_deterministic
        self._seed, self._origin = seed, origin
        self._started: Counter[str] = Counter()
        self._session: Target | None = None

    def init(self, image: Any, box: Any) -> None:
        """Starts on an image, a PIL image or `uint8 [H, W, 3]` RGB, with the target's box `[4]` (x, y, w, h)."""
        image = _array(image)
        self._sessions.warm_up(image)
        self._begin(image, box, "")

    def update(self, image: Any) -> np.ndarray:
        """The target's box in the next image, `float64 [4]`, (x, y, w, h)."""
        if self._session is None:
            raise UserError("call init(image, box) before update(image)")
        return as_in_files(self._session.update(_array(image))[0], self._origin)

    def track(self, img_files: Sequence[str], box: Any, visualize: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Tracks through a video.

        The random key is that of the images' folder, which GOT-10k calls after the sequence, and of the number of times
        that it has been tracked: boxes are those that `evaluate` stores. A toolkit that is stopped between repetitions
        and started again begins with the first seed again.

        Args:
          img_files: the images' files in order.
          box: `[4]`, (x, y, w, h) in the first.
          visualize: nothing is shown.

        Returns:
          boxes, `float64 [N, 4]`, the first being the given one, and seconds, `float64 [N]`, without decoding and
          compiling.

        Raises:
          UserError: an image cannot be read or the box is not in the first.
        """
        del visualize
        folder = Path(img_files[0]).resolve().parent.name
        images = ImageFolder(folder, list(img_files))
        self._sessions.warm_up(images[0])
        boxes, seconds = np.empty((len(images), 4)), np.empty(len(images))
        boxes[0] = box
        for i in range(len(images)):
            image = images[i]
            begin = time.perf_counter()
            if i == 0:
                self._begin(image, box, folder)
            else:
                boxes[i] = self.update(image)
            seconds[i] = time.perf_counter() - begin
        return boxes, seconds

    def _begin(self, image: np.ndarray, box: Any, name: str) -> None:
        session = self._sessions.begin(self._seed + self._started[name], name)
        session.init(image, zero_based(box, self._origin))
        self._started[name] += 1
        self._session = session


def _array(image: Any) -> np.ndarray:
    # A PIL image, which need not be in RGB; PIL itself is not needed to tell.
    return as_rgb(np.asarray(image.convert("RGB")) if hasattr(image, "convert") else image, "the image")
