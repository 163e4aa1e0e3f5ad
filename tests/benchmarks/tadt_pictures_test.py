"""The pictures of TADT: what is laid out by t-SNE, and a picture of a rendered video."""

import dataclasses
import sys
from types import SimpleNamespace

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


class Video(list):
    """So many frames under a name."""

    name = "video"


class Eyes:
    """See 1 in channel 0, 2 in channel 1, 3 in channel 2, and choose channels 0 and 2 of the second map."""

    def __init__(self, name):
        self.name = name

    def look(self, sequence, index):
        return None, (None, np.broadcast_to(np.array([1.0, 2.0, 3.0]), (9, 9, 3)))

    def choose(self, sequence):
        return None, np.array([2, 0])


def test_frames_of_all_videos_are_laid_out_by_all_channels_and_by_the_chosen_ones(tmp_path, monkeypatch):
    given = []

    class TSNE:
        def __init__(self, perplexity, **_):
            self.perplexity = perplexity

        def fit_transform(self, features):
            given.append((features.reshape(len(features), 7, 7, 3), self.perplexity))
            return features[:, :2]

    monkeypatch.setitem(sys.modules, "sklearn.manifold", SimpleNamespace(TSNE=TSNE))
    monkeypatch.setattr(tadt_pictures, "Eyes", Eyes)
    monkeypatch.setattr(tadt_pictures, "videos_of", lambda _: [Video(range(30)), Video(range(5))])
    path = tadt_pictures.draw_tsne(tadt_pictures.Options(output=tmp_path, frames=4))
    assert cv2.imread(str(path)) is not None
    for (features, perplexity), channels in zip(given, ([1, 2, 3], [1, 0, 3]), strict=True):
        assert (len(features), perplexity) == (8, 2)
        assert (features == channels).all()


def test_without_scikit_learn_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        tadt_pictures.draw_tsne(tadt_pictures.Options())


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
