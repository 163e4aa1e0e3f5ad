"""The 511-pixel crops that Siamese trackers are trained on.

The geometry is that of SiamRPN++'s released training code. The square around a target's centre c has the side
`s_x = s_z * 511 / 127`, where `s_z` is the exemplar's side with its context. The scale is `a = 510 / s_x`: pixel 0 of
the crop shows `c - s_x / 2`, pixel 510 shows `c + s_x / 2`. Labels are made as if the scale were
`511 / s_x = 127 / s_z`, 0.2 % larger, here as there.
"""

from pathlib import Path

import cv2
import numpy as np

from jaxtrack.data import image_folder
from jaxtrack.data.augmentation import SOURCE_PX, TEMPLATE_PX
from jaxtrack.data.preparation.tracks import Box
from jaxtrack.errors import UserError

_CONTEXT = 0.5


def exemplar_side(width: np.ndarray | float, height: np.ndarray | float) -> np.ndarray:
    """Side in pixels of the square around a box with half of its mean side as context, `s_z`; any shape to the same."""
    context = _CONTEXT * (np.asarray(width) + np.asarray(height))
    return np.sqrt((width + context) * (height + context))


def crop(image: np.ndarray, box_xyxy: Box) -> np.ndarray:
    """Cuts the square around a box out of an image; its middle, pixel (255, 255), shows the box's centre.

    Args:
      image: `uint8 [H, W, 3]`.
      box_xyxy: (left, top, right, bottom) in pixels, wider and higher than 0.

    Returns:
      `uint8 [511, 511, 3]`; the image's mean colour where there is no image.
    """
    left, top, right, bottom = box_xyxy
    side = float(exemplar_side(right - left, bottom - top)) * SOURCE_PX / TEMPLATE_PX
    scale = (SOURCE_PX - 1) / side
    corner = (left + right - side) / 2, (top + bottom - side) / 2
    matrix = np.array([[scale, 0.0, -scale * corner[0]], [0.0, scale, -scale * corner[1]]])
    mean = image.mean(axis=(0, 1)).tolist()
    return cv2.warpAffine(image, matrix, (SOURCE_PX, SOURCE_PX), borderMode=cv2.BORDER_CONSTANT, borderValue=mean)


def box_in_crop(size: np.ndarray) -> np.ndarray:
    """The label of a crop: centred on pixel (255, 255), with the size times 127 / s_z.

    Args:
      size: `float [..., 2]`, width and height of the box in the image.

    Returns:
      `float32 [..., 4]`, (left, top, right, bottom) in pixels of the crop, whose pixel centres are at integers.
    """
    size = np.asarray(size, np.float64)
    half = 0.5 * size * (TEMPLATE_PX / exemplar_side(size[..., 0], size[..., 1]))[..., None]
    middle = SOURCE_PX // 2
    return np.concatenate([middle - half, middle + half], axis=-1).astype(np.float32)


def read_image(path: Path) -> np.ndarray:
    """An image file as `uint8 [H, W, 3]` RGB; `UserError` if it is missing or broken."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    image = image_folder.decode_image(data)
    if image is None:
        raise UserError(f"{path} does not decode as an image ({len(data)} bytes)")
    return image


def encode(image: np.ndarray) -> bytes:
    """JPEG, with OpenCV's default quality, of an RGB image `uint8 [H, W, 3]`."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def decode(data: bytes) -> np.ndarray | None:
    """A crop from its JPEG as `uint8 [511, 511, 3]` BGR, or None if the bytes are something else."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return image if image is not None and image.shape == (SOURCE_PX, SOURCE_PX, 3) else None
