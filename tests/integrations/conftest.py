"""A tracker for toolkits: `walking`'s, under the name of a registered one."""

import cv2
import numpy as np
import pytest
from walking import WALK

from jaxtrack import trackers
from jaxtrack.integrations import sessions


class Counted(sessions.Session):
    """A session that notes on which images sessions were started."""

    started: list = []  # noqa: RUF012

    def init(self, image, box):
        Counted.started.append(image)
        super().init(image, box)


@pytest.fixture
def walk(monkeypatch):
    """Every tracker walks at random by a pixel a frame; returns the list of images that sessions were started on."""
    method = trackers.JaxMethod(WALK, lambda: np.float32(1))
    monkeypatch.setattr(trackers, "build", lambda name, config: method)
    monkeypatch.setattr(sessions, "Session", Counted)
    Counted.started = []
    return Counted.started


@pytest.fixture
def clip(tmp_path):
    """Paths of five images of 64 x 48 pixels in the folder `walk_01`."""
    folder = tmp_path / "walk_01"
    folder.mkdir()
    paths = [folder / f"{i:08d}.jpg" for i in range(1, 6)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((48, 64, 3), (10 * i, 100, 200), np.uint8))
    return [str(path) for path in paths]
