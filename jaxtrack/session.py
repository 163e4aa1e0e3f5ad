"""Running a tracker frame by frame."""

from typing import Any

import jax
import numpy as np

from jaxtrack.data.sequences import check_image_size, check_init_box
from jaxtrack.errors import UserError
from jaxtrack.images import as_rgb, make_frame
from jaxtrack.running import programs
from jaxtrack.tracker import Prediction, Tracker, check_arguments, sequence_key


class Session:
    """A tracker fed by hand, frame by frame: for cameras and for other people's toolkits.

    Example:
      >>> session = Session(tracker, params)        # doctest: +SKIP
      >>> session.init(image, (x, y, w, h))         # doctest: +SKIP
      >>> box = session.update(next_image).box      # doctest: +SKIP
    """

    def __init__(self, tracker: Tracker, params: Any = None, *, seed: int = 0, name: str = "", colour: str = "rgb"):
        """Prepares a session.

        Args:
          tracker: the pair of functions.
          params: the tracker's parameters; none for one that learns on the video alone.
          seed: the run's seed.
          name: takes part in the random key, as a sequence's name does in `run`.
          colour: the order of the channels of the images that will come, `rgb` or `bgr` (OpenCV's).

        Raises:
          UserError: for what is no tracker, or no parameters; `init` tells whether they are this tracker's.
        """
        if colour not in ("rgb", "bgr"):
            raise UserError(f"colour is 'rgb' or 'bgr', not {colour!r}")
        check_arguments(tracker, params)
        self._programs = programs(tracker)
        self._params = params
        self._key = sequence_key(seed, name)
        self._name = name
        self._flip = colour == "bgr"
        self._state: Any = None
        self._size: tuple[int, ...] = ()

    def init(self, image: np.ndarray, box: Any) -> None:
        """Starts on an image with the target's box.

        Args:
          image: `uint8 [H, W, 3]`, or [H, W] where it is grey; a fourth channel is dropped.
          box: (x, y, w, h) in pixels, 0-based.

        Raises:
          UserError: for another image (None, as a camera gives at its end, is one), a box that is not in it, or
            parameters of another tracker.
        """
        image = self._rgb(image)
        box = check_init_box(box, image.shape[:2], self._name or "the first frame")
        self._size = image.shape[:2]
        self._state = self._programs.init(self._params, make_frame(image), box, self._key)

    def update(self, image: np.ndarray) -> Prediction:
        """Finds the target in the next image, of the first one's size; the prediction's leaves are numpy arrays."""
        if self._state is None:
            raise UserError("call init(image, box) before update(image)")
        image = self._rgb(image)
        check_image_size(image, self._size, "the image")
        self._state, prediction = self._programs.step(self._params, self._state, make_frame(image))
        return jax.device_get(prediction)

    def _rgb(self, image: np.ndarray) -> np.ndarray:
        image = as_rgb(image, "the image")
        return image[..., ::-1] if self._flip else image
