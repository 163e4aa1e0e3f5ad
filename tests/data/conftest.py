"""Tiny sequences in OTB's layout, written from explicit numbers so that no test asks the table what to expect."""

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def jpeg():
    """Makes the bytes of a JPEG of one colour."""

    def encode(height=12, width=16, rgb=(10, 20, 30)):
        image = np.full((height, width, 3), rgb[::-1], np.uint8)
        return cv2.imencode(".jpg", image)[1].tobytes()

    return encode


@pytest.fixture
def make_sequence(jpeg):
    """Writes `<root>/<folder>/img/0001.jpg …` and an annotation; by default all of Deer (71 images)."""

    def write(root, folder="Deer", images=range(1, 72), rows=None, annotation="groundtruth_rect.txt", digits=4):
        img = root / folder / "img"
        img.mkdir(parents=True, exist_ok=True)
        data = jpeg()
        for number in images:
            (img / f"{number:0{digits}d}.jpg").write_bytes(data)
        lines = ["3,4,5,6"] * len(images) if rows is None else rows
        (root / folder / annotation).write_text("\n".join(lines) + "\n")
        return root / folder

    return write


@pytest.fixture
def no_data_folder(monkeypatch):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)


@pytest.fixture
def write(tmp_path, jpeg):
    """Writes images (of which image i has red i) and text files below `tmp_path`."""

    def images(folder, names):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            number = int("".join(filter(str.isdigit, name.split(".")[0])))
            (tmp_path / folder / name).write_bytes(jpeg(rgb=(number % 256, 0, 0)))

    def text(path, *lines):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("\n".join(lines) + "\n")

    images.text = text
    return images
