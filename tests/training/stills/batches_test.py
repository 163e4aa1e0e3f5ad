"""Single images on a canvas, and the order that they come in."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.training.stills.batches import Fit, Still, Stills, fitted


@dataclasses.dataclass(frozen=True)
class Numbered(Stills):
    """Images whose left half shows their number and whose right half shows 200."""

    count: int = 5
    seed: int = 0
    fit: Fit = Fit(shorter_px=0, canvas=(32, 32))

    def stills(self):
        def read(number):
            image = np.full((20, 16, 3), number + 1, np.uint8)
            image[:, 8:] = 200
            return image

        boxes = np.asarray([[1, 2, 3, 4]], np.float32)
        return tuple(Still(f"{n}", functools.partial(read, n), boxes[: n % 2]) for n in range(self.count))


def some(count, *place, seed=0):
    return list(itertools.islice(Numbered(seed=seed).batches(*place), count))


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(375, 500, 1.6), (300, 900, 1000 / 900), (333, 500, 600 / 333), (600, 1000, 1.0), (1200, 2000, 0.5)],
)
def test_the_shorter_side_becomes_600_pixels_unless_the_longer_is_more_than_1000(height, width, scale):
    assert Fit().scale(height, width) == pytest.approx(scale)
    assert Fit().scale(width, height) == pytest.approx(scale)


def test_what_does_not_fit_the_canvas_is_made_smaller_and_small_images_stay():
    assert Fit(canvas=(608, 1008)).scale(500, 375) == pytest.approx(608 / 500)
    fit = Fit(shorter_px=0, canvas=(512, 512))
    assert fit.scale(375, 500) == 1
    assert fit.scale(1024, 600) == 0.5


def test_an_image_lies_on_its_canvas_with_its_boxes():
    """20 x 16 pixels and twice that."""
    image = np.random.default_rng(0).integers(1, 255, (20, 16, 3), np.uint8)
    boxes = np.asarray([[1, 2, 3, 4], [10, 0, 6, 20]], np.float32)
    same = fitted(Fit(shorter_px=0, canvas=(24, 32)), image, boxes, False, 3)
    np.testing.assert_array_equal(same["pixels"][:20, :16], image)
    assert not same["pixels"][20:].any()
    assert not same["pixels"][:, 16:].any()
    assert same["size"].tolist() == [20, 16]
    np.testing.assert_array_equal(same["boxes"], [*boxes, np.zeros(4)])
    twice = fitted(Fit(shorter_px=32, canvas=(64, 64)), image, boxes, False, 2)
    assert (twice["size"].tolist(), twice["scale"]) == ([40, 32], 2)
    np.testing.assert_array_equal(twice["boxes"], 2 * boxes)
    # Twice as large, pixels lie a quarter beside the middle of the original's.
    assert twice["pixels"][1, 1, 0] == pytest.approx(
        (9 * int(image[0, 0, 0]) + 3 * int(image[0, 1, 0]) + 3 * int(image[1, 0, 0]) + int(image[1, 1, 0])) / 16, abs=1
    )


def test_a_mirrored_image_has_mirrored_boxes_and_twice_mirrored_it_is_the_same():
    image = np.random.default_rng(0).integers(0, 255, (20, 16, 3), np.uint8)
    fit, boxes = Fit(shorter_px=0, canvas=(20, 16)), np.asarray([[1, 2, 3, 4]], np.float32)
    once = fitted(fit, image, boxes, True, 1)
    np.testing.assert_array_equal(once["pixels"][2:6, 12:15], image[2:6, 1:4][:, ::-1])
    np.testing.assert_array_equal(once["boxes"], [[12, 2, 3, 4]])
    twice = fitted(fit, once["pixels"], once["boxes"], True, 1)
    np.testing.assert_array_equal(twice["pixels"], image)
    np.testing.assert_array_equal(twice["boxes"], boxes)


def test_every_image_comes_once_as_it_is_and_once_mirrored_before_any_comes_again():
    batches = some(10, 0, 4, 0, 1)
    numbers = [int(min(pixels[0, 0, 0], pixels[0, 15, 0])) for batch in batches for pixels in batch["pixels"]]
    mirrored = [bool(pixels[0, 0, 0] == 200) for batch in batches for pixels in batch["pixels"]]
    stream = list(zip(numbers, mirrored, strict=True))
    laps = [stream[i : i + 10] for i in range(0, 40, 10)]
    for lap in laps:
        assert sorted(lap) == [(n, m) for n in range(1, 6) for m in (False, True)]
    assert len({tuple(lap) for lap in laps}) > 1  # they are shuffled anew


def test_batches_go_on_at_any_step_and_processes_share_them():
    whole = some(6, 0, 4, 0, 1)
    for a, b in zip(whole[2:], some(4, 2, 4, 0, 1), strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    parts = [some(6, 0, 4, process, 2) for process in (0, 1)]
    for step, batch in enumerate(whole):
        joined = jax.tree.map(lambda *share: np.concatenate(share), *(part[step] for part in parts))
        jax.tree.map(np.testing.assert_array_equal, batch, joined)
    other = some(6, 0, 4, 0, 1, seed=1)
    assert any((a["pixels"] != b["pixels"]).any() for a, b in zip(whole, other, strict=True))


def test_once_gives_all_images_in_their_order():
    found = list(Numbered().once(2))
    assert [count for _, count in found] == [2, 2, 1]
    assert [items["pixels"][i, 0, 0, 0] for items, count in found for i in range(count)] == [1, 2, 3, 4, 5]
    assert found[-1][0]["pixels"].shape == (2, 32, 32, 3)


def test_mistakes_are_one_sentence():
    with pytest.raises(UserError, match="Numbered has no image to train on"):
        next(Numbered(count=0).batches(0, 4, 0, 1))
    with pytest.raises(UserError, match="canvas of Fit must be greater than 0"):
        Fit(canvas=(0, 10))
