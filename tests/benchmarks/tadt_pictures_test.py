"""The pictures of TADT: what is cut out for t-SNE, and a picture of a rendered video."""

import dataclasses

import cv2
import numpy as np
import pytest
import tadt_pictures

from jaxtrack.models import tadt as models


def test_the_seven_cells_about_the_middle_are_the_target():
    rows = np.broadcast_to(np.arange(45.0)[:, None, None], (45, 45, 2))
    seen = tadt_pictures._around_the_middle(rows)
    assert seen.shape == (7, 7, 2)
    np.testing.assert_array_equal(seen[:, 3, 1], [19, 20, 21, 22, 23, 24, 25])


@pytest.mark.parametrize(("bgr", "red"), [(False, 0), (True, 2)])
def test_an_image_is_shown_as_it_was(bgr, red):
    mean = (10.0, 20.0, 30.0)
    architecture = dataclasses.replace(next(iter(models.ARCHITECTURES.values())), bgr=bgr, mean=mean)
    seen = np.zeros((2, 2, 3), np.float32)
    seen[..., red] = 245.0 - mean[0]
    shown = tadt_pictures.shown(architecture, seen)
    np.testing.assert_allclose(shown[0, 0], np.asarray([245, 20, 30]) / 255, rtol=1e-6)


def test_a_row_is_drawn_for_each_video(tmp_path):
    options = tadt_pictures.Options(output=tmp_path / "new", sequences=("procedural-iv",))
    picture = cv2.imread(str(tadt_pictures.draw_means(options)))
    assert picture is not None
    assert picture.shape[1] > 4 * picture.shape[0]  # five tiles side by side
