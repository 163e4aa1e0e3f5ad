"""The user's own photographs as surfaces of rendered pairs."""

from pathlib import Path

import cv2
import numpy as np

from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.errors import UserError


def load_textures(folder: Path, side: int = 256, limit: int = 256) -> np.ndarray:
    """Reads a folder of images, cuts the middle square out of each and resizes it.

    Args:
      folder: its images may have any sizes; those in folders inside it are not looked at.
      side: of the textures in pixels.
      limit: at most so many images are used, spread evenly over the sorted names.

    Returns:
      `float32 [T, side, side, 3]`, BGR in [0, 255].

    Raises:
      UserError: there is no such folder, it has no images, one of them cannot be read, or a number is below 1.
    """
    if side < 2 or limit < 1:
        raise UserError(f"textures need a side of at least 2 and a limit of at least 1, not {side} and {limit}")
    paths = ImageFolder("textures", folder).paths
    chosen = [paths[round(place)] for place in np.linspace(0, len(paths) - 1, min(limit, len(paths)))]
    return np.stack([_square(path, side) for path in chosen])


def _square(path: Path, side: int) -> np.ndarray:
    # An `ImageFolder` of one: images of a video must be of one size, textures need not.
    image = ImageFolder("textures", [path])[0]
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    middle = image[top : top + edge, left : left + edge, ::-1]
    return cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
