"""TADT on a narrow network: what it tracks, what it chooses, targets and frames of unusual sizes, configurations."""

import dataclasses
import functools
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tadt_synthetic import BOX, CELLS, CONFIG, SIZE, TINY, MovingSquare, small_tadt, tiny_params

from jaxtrack import images, run
from jaxtrack.errors import UserError
from jaxtrack.models.tadt import ARCHITECTURES
from jaxtrack.online import channels, template_search
from jaxtrack.online.channel_regression import Regression
from jaxtrack.online.channels import Group, Selection
from jaxtrack.trackers import tadt
from jaxtrack.weights import places, store

PARAMS = tiny_params()
# Nothing is learned: quick to compile.
PLAIN = dataclasses.replace(CONFIG, selection=Selection(Group("random", 4), Group("random", 6)))


@functools.cache
def functions(config):
    tracker = tadt.make_tracker(config, TINY)
    return jax.jit(tracker.init), jax.jit(tracker.step)


def begin(image, box, config=PLAIN, seed=0):
    frame = images.make_frame(image)
    return functions(config)[0](PARAMS, frame, np.asarray(box, np.float32), jax.random.key(seed))


def go_on(state, image, config=PLAIN):
    return functions(config)[1](PARAMS, state, images.make_frame(image))


# --- tracking ----------------------------------------------------------------------------------------------------


def test_a_moving_target_is_followed_and_keeps_its_shape():
    video = MovingSquare(14)
    tracker, params = small_tadt()
    track = run(tracker, params, video, BOX)
    assert np.abs(track.boxes[:, :2] - video.truth[:, :2]).max() < 5  # of 39 and 26 pixels on the way
    np.testing.assert_allclose(track.boxes[:, 2] / track.boxes[:, 3], 30 / 36, rtol=1e-5)
    assert (track.scores[1:] > 0.3).all()
    np.testing.assert_allclose(track.diagnostics["scale"], track.boxes[1:, 2] / 30, rtol=1e-5)


def test_the_first_frame_again_is_found_where_it_was_with_a_score_of_one():
    image = MovingSquare(1)[0]
    state = begin(image, BOX)
    after, prediction = go_on(state, image, dataclasses.replace(PLAIN, search=tadt.Search(scale_weights=(0.9, 1, 0.9))))
    np.testing.assert_allclose(prediction.box, BOX, atol=1e-4)
    assert float(after.side_px) == 180
    # The template's response to itself is one of those whose greatest is taken.
    assert 1 - 1e-3 <= float(prediction.score) < 1.3


def test_where_nothing_responds_the_box_stays():
    state = begin(MovingSquare(1)[0], BOX)
    # The network's answer to a constant image of its mean is nothing but its biases; take those away, too.
    silent = jax.tree.map(jnp.zeros_like, PARAMS)
    _, prediction = functions(PLAIN)[1](silent, state, images.make_frame(np.full((*SIZE, 3), 128, np.uint8)))
    np.testing.assert_allclose(prediction.box, BOX, atol=1e-4)
    assert float(prediction.score) == 0


def test_sizes_stay_between_two_pixels_and_the_frames():
    state = begin(MovingSquare(1)[0], BOX)
    image = MovingSquare(1)[0]
    for scale, low, high in ((1e-3, 2 / 30, 2 / 30 * 1.05), (1e3, 160 / 30 / 1.05, 160 / 30)):
        start = dataclasses.replace(state, scale=jnp.float32(scale))
        _, prediction = go_on(start, image)
        assert low * 0.999 <= float(prediction.diagnostics["scale"]) <= high * 1.001


def test_the_window_is_rounded_and_the_target_is_not():
    state = begin(MovingSquare(1)[0], BOX)
    config = dataclasses.replace(PLAIN, search=tadt.Search(scale_weights=(9.0, 1.0, 1.0)))
    after, _ = go_on(state, MovingSquare(1)[0], config)
    factor = CELLS / (CELLS + 2)
    assert float(after.scale) == pytest.approx(factor, rel=1e-6)
    assert float(after.side_px) == round(180 * factor)


def test_the_three_scales_responses_are_divided_by_one_maximum(monkeypatch):
    best, seen = template_search.best, []

    def watched(search, maps, cells):
        jax.debug.callback(lambda values: seen.append(np.asarray(values)), maps)
        return best(search, maps, cells)

    monkeypatch.setattr(template_search, "best", watched)
    image = MovingSquare(1)[0]
    state = begin(image, BOX)
    jax.block_until_ready(jax.jit(tadt.make_tracker(PLAIN, TINY).step)(PARAMS, state, images.make_frame(image)))
    jax.effects_barrier()
    greatest = seen[0].max(axis=(1, 2))
    assert greatest.max() == 1
    assert (np.sort(greatest)[:2] < 0.999).all()


def test_the_centre_stays_in_the_frame(monkeypatch):
    image = MovingSquare(1)[0]
    monkeypatch.setattr(template_search, "best", lambda *_: (jnp.asarray(1), jnp.asarray([1e4, -1e4])))
    after, _ = jax.jit(tadt.make_tracker(PLAIN, TINY).step)(PARAMS, begin(image, BOX), images.make_frame(image))
    assert after.centre.tolist() == [160, 0]


def test_a_displacement_is_one_in_the_window_as_it_is_by_the_factor_of_the_best_scale(monkeypatch):
    image = MovingSquare(1)[0]
    state = dataclasses.replace(begin(image, BOX), side_px=jnp.float32(240))
    monkeypatch.setattr(template_search, "best", lambda *_: (jnp.asarray(2), jnp.asarray([8.0, -4.0])))
    after, _ = jax.jit(tadt.make_tracker(PLAIN, TINY).step)(PARAMS, state, images.make_frame(image))
    factor, zoom = CELLS / (CELLS - 2), 44 / np.sqrt(30 * 36)
    pixels = factor * 240 / 180 / zoom  # of the frame for one of the 180 that responses have
    np.testing.assert_allclose(after.centre, [75 + 8 * pixels, 58 - 4 * pixels], rtol=1e-5)
    assert float(after.side_px) == round(240 * factor)


def test_beyond_a_smaller_search_window_nothing_is_seen(monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (44, 60, 3), np.uint8)
    state, scaled, seen = begin(image, (8, 0, 44, 44)), template_search.scaled, []

    def watched(maps):
        jax.debug.callback(lambda values: seen.append(np.asarray(values)), maps)
        return scaled(maps)

    monkeypatch.setattr(template_search, "scaled", watched)
    jax.block_until_ready(jax.jit(tadt.make_tracker(PLAIN, TINY).step)(PARAMS, state, images.make_frame(image)))
    jax.effects_barrier()
    reach = int(state.cells) // 2
    inside = np.abs(np.arange(CELLS) - CELLS // 2) <= reach
    assert seen[0][:, inside][:, :, inside].any(axis=(1, 2)).sum() > 5
    assert not seen[0][:, ~inside].any()
    assert not seen[0][:, :, ~inside].any()


# --- the first frame ---------------------------------------------------------------------------------------------


def test_the_state_is_what_its_documentation_says():
    state = begin(MovingSquare(1)[0], BOX)
    assert state.template.shape == (10, CELLS, CELLS // 2 + 1)
    assert state.template.dtype == jnp.complex64
    # 30 x 36 pixels, root of the area 32.9: magnified to 44; 180 pixels are 21 cells.
    zoom = 44 / np.sqrt(30 * 36)
    assert float(state.rescale) == pytest.approx(zoom, rel=1e-6)
    assert state.sides.tolist() == [2 * int(36 * zoom * 21 / 180 / 2) + 1, 2 * int(30 * zoom * 21 / 180 / 2) + 1]
    side = np.ceil(120 * zoom)  # of the frame; 160.7
    assert int(state.cells) == 2 * int(21 * (side + 8 - (side - 4) % 8) / 180 / 2) + 1
    assert state.centre.tolist() == [75, 58]


def test_both_profiles_choose_channels_and_only_the_released_one_draws():
    video = MovingSquare(1)
    paper = [begin(video[0], BOX, CONFIG, seed).chosen for seed in (0, 1)]
    for one, other in zip(*paper, strict=True):
        np.testing.assert_array_equal(one.index, other.index)
    released = tadt.released(CONFIG)
    released = dataclasses.replace(
        released, selection=dataclasses.replace(released.selection, fewest=6, scale=Group("ranking", 8))
    )
    found = [begin(video[0], BOX, released, seed).chosen for seed in range(6)]
    counts = [[int((group.weight > 0).sum()) for group in one] for one in found]
    assert all(scale + target >= 6 for scale, target in counts)
    assert len({tuple((one[0].weight > 0).tolist()) for one in found}) > 1


def test_channels_at_random_are_drawn_by_the_key():
    image = MovingSquare(1)[0]
    found = [begin(image, BOX, seed=seed).chosen for seed in range(4)]
    assert len({tuple(np.concatenate([group.index for group in one]).tolist()) for one in found}) > 1
    for one, other in zip(found[0], begin(image, BOX, seed=0).chosen, strict=True):
        np.testing.assert_array_equal(one.index, other.index)


def test_the_regressor_is_no_larger_than_the_search_window():
    for cells, expected in ((5, [5, 5]), (9, [7, 9])):
        found = tadt.problem(jnp.zeros((1, CELLS, CELLS)), jnp.asarray([5, 7]), jnp.asarray(cells))
        assert found.sides.tolist() == expected
        assert int(found.where.sum()) == cells**2


def test_nothing_is_learned_from_what_lies_beyond_a_smaller_search_window(monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (44, 60, 3), np.uint8)
    learn, seen = tadt.learn, []

    def watched(config, maps, *others):
        jax.debug.callback(lambda *values: seen.extend(np.asarray(value) for value in values), *maps)
        return learn(config, maps, *others)

    monkeypatch.setattr(tadt, "learn", watched)
    init = jax.jit(tadt.make_tracker(PLAIN, TINY).init)
    state = init(PARAMS, images.make_frame(image), np.asarray([8, 0, 44, 44], np.float32), jax.random.key(0))
    jax.effects_barrier()
    beyond = np.abs(np.arange(CELLS) - CELLS // 2) > int(state.cells) // 2
    for maps in seen:
        assert maps[:, ~beyond][:, :, ~beyond].any()
        assert not maps[:, beyond].any()
        assert not maps[:, :, beyond].any()


def test_maps_all_of_whose_channels_are_matched_need_no_training():
    config = dataclasses.replace(CONFIG, selection=Selection(Group("all"), Group("all")))
    state = begin(MovingSquare(1)[0], BOX, config)
    assert state.template.shape[0] == 16


# --- unusual sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((120, 160), (80, 60, 1, 1)),
        ((120, 160), (0, 0, 20, 20)),
        ((120, 160), (150, 110, 30, 30)),  # beyond the border
        ((120, 160), (-10, 40, 20, 20)),
        ((120, 160), (10, 60, 140, 2)),
        ((120, 160), (80, 2, 1, 110)),
        ((120, 160), (0, 0, 160, 120)),
        ((16, 16), (4, 4, 8, 8)),  # smaller than the search window
        ((1, 40), (10, 0, 6, 1)),
        ((9, 300), (40, 2, 60, 6)),
    ],
)
def test_unusual_targets_and_frames_are_tracked_without_a_number_that_is_none(size, box):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    state = begin(image, box, CONFIG)
    assert (state.sides >= 1).all()
    assert (state.sides <= state.cells).all()
    for _ in range(3):
        state, prediction = go_on(state, image, CONFIG)
        assert np.isfinite(prediction.box).all()
        assert (prediction.box[2:] > 0).all()
        assert np.isfinite(prediction.score)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_an_image_of_one_colour_is_tracked_as_well():
    image = np.full((*SIZE, 3), 77, np.uint8)
    state = begin(image, BOX, CONFIG)
    _, prediction = go_on(state, image, CONFIG)
    assert np.isfinite(prediction.box).all()


def test_in_a_small_frame_the_search_window_is_smaller():
    # The shorter side of 44 pixels is as long as the target: 44 + 8 - 0 = 52 pixels of 180, of 21 cells 7.
    image = np.random.default_rng(0).integers(0, 255, (44, 60, 3), np.uint8)
    state = begin(image, (8, 0, 44, 44), CONFIG)
    assert int(state.cells) == 2 * int(21 * 52 / 180 / 2) + 1
    assert state.sides.tolist() == [5, 5]


# --- configurations ----------------------------------------------------------------------------------------------


def test_profiles_hold_the_constants_of_paper_and_program():
    # tadt.md, sections 5 to 9.
    paper, code = tadt.CONFIGS["tadt"], tadt.CONFIGS["tadt_code"]
    assert (paper.selection.target.channels, paper.selection.scale.channels, paper.selection.fewest) == (250, 80, 0)
    assert (code.selection.target.channels, code.selection.scale.channels, code.selection.fewest) == (300, 80, 250)
    assert (paper.regression.iterations, code.regression.iterations) == (50, 100)
    assert paper.regression.stop == code.regression.stop == 0.02
    assert (code.regression.solver, code.regression.rate, code.regression.decay) == ("released", 5e-7, 1000)
    assert (code.regression.dead_zone, code.regression.activation) == (0.1, 0)
    assert (paper.ranking.predictor, code.ranking.predictor) == ("trained", "untrained")
    assert (paper.ranking.iterations, paper.ranking.stop, paper.ranking.pairs) == (50, 0.02, "all")
    assert (paper.search.scale_weights, code.search.scale_weights) == ((0.99, 1, 1.005), (0.99, 1, 1.0055))
    assert (paper.search.smallest_px, paper.search.largest_px, code.selection.balance) == (44, 59, 50)
    assert ARCHITECTURES[paper.architecture].mean == (128, 128, 128)
    nano = tadt.CONFIGS["tadt_nano"].selection
    assert (nano.scale.channels, nano.target.channels) == (10, 31)  # 80 and 250 of 512


def test_the_projects_own_backbone_needs_no_file_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    params = tadt.init_params(tadt.CONFIGS["tadt_nano"], jax.random.key(0))
    assert params.keys() == {"stage1", "stage2", "stage3"}
    assert tadt.weights_sha256(tadt.CONFIGS["tadt_nano"])
    assert tadt.weights_sha256(tadt.CONFIGS["tadt_random"]) is None


def test_missing_weights_are_told_with_the_command_that_imports_them(tmp_path, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    for name, file in (("tadt", "imagenet-vgg-verydeep-16"), ("tadt_torchvision", "vgg16-397923af")):
        with pytest.raises(UserError, match=rf"fetch the published file {file} from .*jaxtrack weights import FILE"):
            tadt.init_params(tadt.CONFIGS[name], jax.random.key(0))


def test_weights_of_another_network_are_refused(monkeypatch):
    monkeypatch.setattr(places, "locate", lambda name: Path(f"{name}.safetensors"))
    monkeypatch.setattr(store, "load", lambda path: ({}, SimpleNamespace(architecture="vgg16")))
    with pytest.raises(UserError, match=r"mine\.safetensors holds weights of vgg16, not of vgg16_torchvision"):
        tadt.init_params(tadt.Config("vgg16_torchvision", "mine"), jax.random.key(0))
    with pytest.raises(UserError, match="no architecture called 'vgg'"):
        tadt.tracker(tadt.Config("vgg"))


def test_descriptions_tell_configurations_apart():
    said = {tadt.describe(config) for config in tadt.CONFIGS.values()}
    assert len(said) == len(tadt.CONFIGS)
    assert any("as released" in line for line in said)


def test_equal_configurations_share_a_tracker_however_the_network_is_spelt():
    config = tadt.CONFIGS["tadt_nano"]
    assert tadt.tracker(config) is tadt.tracker(dataclasses.replace(config))
    assert tadt.tracker(dataclasses.replace(config, architecture="SiamBAN-nano"))
    assert dataclasses.replace(config, regression=Regression(ridge=2.0)) != config
    assert channels.Selection().target.channels == 250
