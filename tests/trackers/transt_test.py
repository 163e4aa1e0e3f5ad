"""TransT's state transition with a made-up network: siamese.md, 10.3."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_transt

from jaxtrack import UserError, images
from jaxtrack.models.siamese import ARCHITECTURES, for_inference, shapes
from jaxtrack.models.siamese_crops import crop_square, mean_colour
from jaxtrack.trackers import siamese, transt
from jaxtrack.trackers.transt import CONFIGS, Config, Network
from jaxtrack.weights import store

ROWS, COLUMNS = np.mgrid[:240, :320]
BGR = np.stack([(3 * COLUMNS + 5 * ROWS + 70 * c) % 256 for c in range(3)], axis=-1).astype(np.uint8)
FRAME = jax.tree.map(jnp.asarray, images.make_frame(BGR[..., ::-1]))
BOX = np.asarray([20, 30, 50, 40], np.float32)
TRANST, NANO = ARCHITECTURES["transt"], ARCHITECTURES["transt_nano"]
# Of 50 x 40 pixels, and the side of the search region: ceil(sqrt((50 + 1.5 * 90) (40 + 1.5 * 90))).
SIDE = math.ceil(math.sqrt(185 * 175))


@functools.partial(jax.jit, static_argnums=2)
def cropped(frame, square, out):
    """The crop around (x, y) of a side, with `FRAME`'s mean around it."""
    x, y, side = square
    return crop_square(frame, jnp.asarray([x, y]), side, out, mean_colour(FRAME))


def saying(scores, box, cells=32):
    """A network whose cells have such scores, `{(row, column): score}`, all others none, and all of them one box.

    What it keeps is the template's crop.
    """
    logits = np.full((1, cells, cells, 2), [9.0, -9.0], np.float32)
    for place, score in scores.items():
        logits[(0, *place)] = (0, math.log(score / (1 - score)))
    boxes = np.broadcast_to(np.asarray(box, np.float32), (1, cells, cells, 4))
    return Network(lambda params, crop: crop, lambda params, kept, crop: (jnp.asarray(logits), jnp.asarray(boxes)))


def begun(network, box=BOX, config=CONFIGS["transt"], architecture=TRANST):
    tracker = transt.make_tracker(config, architecture, network)
    return tracker, jax.jit(tracker.init)({}, FRAME, jnp.asarray(box), jax.random.key(0))


def stepped(network, box=BOX, config=CONFIGS["transt"], architecture=TRANST):
    tracker, state = begun(network, box, config, architecture)
    return jax.jit(tracker.step)({}, state, FRAME)


def test_the_template_shows_twice_the_target_and_the_first_frames_mean_around_it():
    _, state = begun(saying({}, (0.5, 0.5, 0.2, 0.2)), np.asarray([20, 30, 30, 50], np.float32))
    # ceil(sqrt((30 + 40) (50 + 40))) = ceil(79.37), around (20 + 30 / 2, 30 + 50 / 2): 128 pixels.
    expected = cropped(FRAME, (35.0, 55.0, 80.0), 128)
    np.testing.assert_array_equal(state.kept, expected)
    assert state.kept.shape == (1, 128, 128, 3)


def test_the_search_region_shows_four_times_the_target_and_the_first_frames_mean_around_it():
    def search(params, kept, crop):
        return jnp.zeros((1, 32, 32, 2)), jnp.mean(crop) * jnp.ones((1, 32, 32, 4)) / 256

    tracker, state = begun(Network(lambda params, crop: crop, search), np.asarray([20, 30, 20, 50], np.float32))
    darker = FRAME._replace(pixels=FRAME.pixels // 2)
    _, prediction = jax.jit(tracker.step)({}, state, darker)
    # ceil(sqrt((20 + 105) (50 + 105))) = ceil(139.19), around (20 + 20 / 2, 30 + 50 / 2): 256 pixels.
    crop = cropped(darker, (30.0, 55.0, 140.0), 256)
    # The width that was told of is the crop's mean over 256, in sides.
    assert float(prediction.box[2]) == pytest.approx(float(jnp.mean(crop)) / 256 * 140, rel=1e-5)


def test_a_cells_box_is_taken_as_it_is():
    assert SIDE == 180
    state, prediction = stepped(saying({(16, 16): 0.7}, (0.6, 0.45, 0.25, 0.3)))
    centre = np.array([45 + 0.6 * SIDE - 90, 50 + 0.45 * SIDE - 90])
    size = np.array([0.25, 0.3]) * SIDE
    np.testing.assert_allclose(prediction.box, [*(centre - size / 2), *size], atol=1e-4)
    np.testing.assert_allclose(state.centre, centre, atol=1e-4)
    np.testing.assert_allclose(state.size, size, atol=1e-4)
    assert float(prediction.score) == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize(("side_score", "wins"), [(0.95, False), (0.97, True)])
def test_the_window_has_a_share_of_049(side_score, wins):
    # In the corner the window is 0, on cell 16 of 32 it is nearly 1.
    middle = 0.49 * np.hanning(32)[16] ** 2 + 0.51 * 0.01
    assert (0.51 * side_score > middle) == wins
    _, prediction = stepped(saying({(0, 0): side_score, (16, 16): 0.01}, (0.5, 0.5, 0.2, 0.2)))
    assert float(prediction.score) == pytest.approx(side_score if wins else 0.01, abs=1e-5)


def test_boxes_are_cut_to_the_image_and_never_below_ten_pixels():
    _, prediction = stepped(saying({(16, 16): 0.7}, (0.0, 1.0, 0.01, 0.9)))
    # The centre would be (45 - 90, 50 + 90), the size (1.8, 162).
    np.testing.assert_allclose(prediction.box, [0 - 5, 140 - 81, 10, 162], atol=1e-4)


def test_published_boxes_count_from_the_wished_for_centre_and_our_own_from_what_was_cut_out():
    box = BOX + np.asarray([0.25, 0.75, 0, 0], np.float32)  # the centre at (45.25, 50.75)
    middle = saying({(16, 16): 0.7}, (0.5, 0.5, 0.25, 0.25))
    found = {}
    for exact in (False, True):
        architecture = dataclasses.replace(TRANST, exact_centre=exact)
        state, _ = stepped(middle, box, architecture=architecture)
        found[exact] = np.asarray(state.centre)
    np.testing.assert_allclose(found[False], [45.25, 50.75], atol=1e-4)
    # The crop of 180 pixels begins at floor(45.25 - 90) = -45 and floor(50.75 - 90) = -40.
    np.testing.assert_allclose(found[True], [45.0, 50.0], atol=1e-4)


def test_our_own_networks_search_as_many_sides_of_the_template_as_their_crops_have_pixels():
    config = CONFIGS["transt_nano"]
    state, _ = stepped(saying({(7, 7): 0.7}, (0.5, 0.5, 1, 1), 15), config=config, architecture=NANO)
    side = math.ceil(math.sqrt(95 * 85) * 255 / 127)
    np.testing.assert_allclose(state.size, [side, side], atol=1e-4)


def test_the_trackers_are_the_published_one_its_variant_the_ranking_based_and_the_small_one():
    found = {name: (c.architecture, c.weights, c.search_factor) for name, c in CONFIGS.items()}
    assert found == {
        "transt": ("transt", "transt", 4.0),
        "transt_n2": ("transt_n2", "transt_n2", 4.0),
        "transt_rbo": ("transt", "transt_rbo", 4.0),
        "transt_nano": ("transt_nano", "transt_nano", 0.0),
    }
    for config in CONFIGS.values():
        assert (config.window_influence, config.template_factor) == (0.49, 2.0)


def test_what_cannot_run_is_refused():
    with pytest.raises(UserError, match=r"window_influence must be at most 1, not 1\.5"):
        Config(window_influence=1.5)
    for name in ("template_factor", "search_factor"):
        with pytest.raises(UserError, match=rf"^{name} must be at least 1, the target itself, not 0\.5"):
            Config(**{name: 0.5})
    with pytest.raises(UserError, match="template_factor of Config must be greater than 0"):
        Config(template_factor=0)
    with pytest.raises(UserError, match="search_factor of Config must be at least 0"):
        Config(search_factor=-1)
    with pytest.raises(UserError, match="no architecture of TransT called 'siamban_r50'"):
        transt.tracker(Config("siamban_r50"))
    with pytest.raises(UserError, match="no architecture called 'transt'"):
        siamese.tracker(siamese.Config("transt"))


def test_weights_are_those_of_a_network_of_tokens(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny_transt", tiny_transt.ARCHITECTURE)
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes(tiny_transt.ARCHITECTURE))
    path = store.save(tmp_path, "mine", ones, store.Meta("tiny_transt", "made-up.pth", "ab" * 32))
    params = transt.init_params(Config("tiny_transt", str(path)))
    jax.tree.map(np.testing.assert_array_equal, params, for_inference(tiny_transt.ARCHITECTURE, ones))
    assert transt.weights_sha256(Config("tiny_transt", str(path))) == store.read_meta(path).sha256
    assert transt.weights_file(Config("tiny_transt", str(path))) == path
    with pytest.raises(
        UserError, match=r"weights of tiny_transt, not of transt: .* its network by the option architecture"
    ):
        transt.init_params(Config("transt", str(path)))
    with pytest.raises(UserError, match=r"weights of siamban_nano, not of transt_nano: .* by the option weights$"):
        transt.init_params(Config("transt_nano", "siamban_nano"))


def test_a_configuration_is_described_by_its_network_its_weights_and_its_window():
    assert transt.describe(CONFIGS["transt_n2"]) == "TransT: transt_n2, a window of 0.49"
    assert transt.describe(CONFIGS["transt_rbo"]) == "TransT: transt with weights transt_rbo, a window of 0.49"
