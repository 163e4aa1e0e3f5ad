"""Videos of a few small frames: as images, as files, as folders; frame i has its number in it, in black and white."""

import cv2
import numpy as np

from jaxtrack.data.video_file import quiet_opencv

SIZE = (48, 64)  # (height, width)


def frames(count, size=SIZE):
    """Frame i: a soft pattern that moves, and in the top left corner five blocks of 8 pixels, the bits of i; RGB."""
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8), (0, 0), 3)
    ground[..., 2] //= 8  # so that an exchange of channels shows
    images = [np.roll(ground, shift, axis=1) for shift in range(count)]
    for i, image in enumerate(images):
        for bit in range(5):
            image[:8, 8 * bit : 8 * bit + 8] = 255 * (i >> bit & 1)
    return images


def number_of(image):
    """Which frame an image of `frames` is, decoded with some loss."""
    return sum(1 << bit for bit in range(5) if image[2:6, 8 * bit + 2 : 8 * bit + 6].mean() > 128)


def write_file(path, images, codec="MJPG", fps=20.0):
    """The images as a video file, which may be without any."""
    size = (images[0].shape if images else SIZE)[1::-1]
    with quiet_opencv():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path


def write_folder(folder, images, name="{:04d}.png"):
    """The images as files of a folder."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / name.format(i)), image[..., ::-1])
    return folder


def read_file(path):
    """All images of a video file by OpenCV alone, RGB."""
    capture, images = cv2.VideoCapture(str(path)), []
    while (image := capture.read()[1]) is not None:
        images.append(image[..., ::-1])
    return images


def cut_off(path, share):
    """The file, of which only the first part is left."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


class FakeCamera:
    """What `cv2.VideoCapture(number)` gives, with these frames; `opened` False is a camera that is not there."""

    def __init__(self, images, opened=True):
        self._images, self._opened = iter(images), opened

    def isOpened(self):
        return self._opened

    def get(self, _):
        return 0.0

    def grab(self):
        return self.read()[0]

    def read(self):
        image = next(self._images, None)
        return image is not None, None if image is None else np.ascontiguousarray(image[..., ::-1])
