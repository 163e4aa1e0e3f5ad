import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mdnet_synthetic import BOX, LEARNING, MovingSquare, small

from jaxtrack import boxes, images, run
from jaxtrack.models import mdnet as models
from jaxtrack.models import vgg_m
from jaxtrack.models.mdnet import ARCHITECTURES, Architecture
from jaxtrack.models.vgg_m import VGGM, MDNetHead
from jaxtrack.online.frame_memory import Samples
from jaxtrack.online.framework import Regression
from jaxtrack.running import programs
from jaxtrack.trackers import mdnet
from jaxtrack.trackers.mdnet import Config, Ranking

TINY = Architecture(VGGM((4, 8, 8)), MDNetHead(16))
CONFIG = Config(framework=small(), loss=Ranking(ranking=0.5), location="normalised", dropout=0.2)
TRACKER = mdnet.make_tracker(CONFIG, TINY)
LAYERS = {"fc4", "fc5", "fc6"}


@pytest.fixture(scope="module")
def params():
    """Random ones, fc4 and fc5 as large as trained ones: from a deviation of 0.01 so narrow layers learn slowly."""
    found = jax.jit(lambda key: models.stored(models.initial(TINY, key)))(jax.random.key(0))
    rng = np.random.default_rng(0)
    for name, deviation in (("fc4", 0.03), ("fc5", 0.35)):
        layer = found["head"][name]
        layer["kernel"] = (deviation * rng.normal(size=layer["kernel"].shape)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def track(params):
    return run(TRACKER, params, MovingSquare(10), BOX)


# --- the whole -----------------------------------------------------------------------------------------------------


def test_a_moving_rectangle_is_followed(track):
    assert boxes.iou(track.boxes, MovingSquare(10).truth).min() > 0.5
    assert track.diagnostics["found"].all()


def test_updates_come_every_interval_where_the_target_is_found(track):
    np.testing.assert_array_equal(track.diagnostics["iterations"], [0, 0, 0, 4, 0, 0, 0, 4, 0])


def test_one_compilation_serves_videos_of_different_length_and_two_runs_agree(track, params):
    parts = programs(TRACKER)
    before = (parts.init.compilations, parts.chunk.compilations)
    again, shorter = run(TRACKER, params, MovingSquare(10), BOX), run(TRACKER, params, MovingSquare(4), BOX)
    assert before == (parts.init.compilations, parts.chunk.compilations)
    np.testing.assert_array_equal(again.boxes, track.boxes)
    np.testing.assert_array_equal(again.scores, track.scores)
    np.testing.assert_array_equal(shorter.boxes, track.boxes[:4])
    assert not np.array_equal(run(TRACKER, params, MovingSquare(4), BOX, seed=1).boxes, shorter.boxes)


def test_the_canvas_does_not_matter(track, params, monkeypatch):
    monkeypatch.setattr(images, "CANVASES", ((200, 300),))
    np.testing.assert_array_equal(run(TRACKER, params, MovingSquare(10), BOX).boxes, track.boxes)


def test_only_the_fully_connected_layers_are_in_the_state_and_all_of_them_learn(params):
    frames = [images.make_frame(image) for image in MovingSquare(5)]
    parts = programs(TRACKER)
    before = jax.tree.map(np.array, params)
    state = parts.init(params, frames[0], BOX, jax.random.key(0))
    heads = [jax.tree.map(np.array, state.head)]
    for frame in frames[1:]:
        state, _ = parts.step(params, state, frame)
        heads.append(jax.tree.map(np.array, state.head))
    assert state.head.keys() == LAYERS
    kernels = {layer["kernel"].shape for layer in params["backbone"].values()}
    assert not kernels & {leaf.shape for leaf in jax.tree.leaves(state) if hasattr(leaf, "shape")}
    for name in LAYERS:
        for part in ("kernel", "bias"):
            assert not np.array_equal(heads[0][name][part], before["head"].get(name, {}).get(part)), name
            np.testing.assert_array_equal(heads[3][name][part], heads[0][name][part])
            assert not np.array_equal(heads[4][name][part], heads[3][name][part]), name
    for leaf, old in zip(jax.tree.leaves(params), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(leaf, old)


def test_it_says_how_much_the_location_feature_weighs(track, params):
    """The four last rows of fc6; they start with a deviation of 0.01 and grow as they are learnt."""
    norms = track.diagnostics["location_norm"]
    assert norms.shape == (9,)
    assert (norms > 0.02).all()
    changed = np.flatnonzero(np.diff(norms)) + 1
    np.testing.assert_array_equal(changed, np.flatnonzero(track.diagnostics["iterations"]))
    head = head_of(TINY, True)
    expected = np.sqrt(np.sum(np.square(np.asarray(head["fc6"]["kernel"])[0, 16:])))
    for location, shown in (("normalised", {"location_norm": pytest.approx(expected)}), ("none", {})):
        assert mdnet.model_of(Config(location=location), TINY).diagnostics(head) == shown


# --- what the framework asks of the network ------------------------------------------------------------------------


def samples(count=6, seed=0):
    rng = np.random.default_rng(seed)
    overlap = np.array([0.95, 0.9, 0.8, 0.75, 0.2, 0.1], np.float32)[:count]
    features = np.abs(rng.normal(size=(count, 72))).astype(np.float32)
    return Samples(jnp.asarray(features), jnp.asarray(overlap), jnp.asarray(rng.uniform(size=(count, 4)), jnp.float32))


LABELS = np.array([1, 1, 1, 1, 0, 0], np.int32)


def head_of(architecture, location, seed=3):
    extra = 4 if location else 0
    rng = np.random.default_rng(seed)
    shapes = {"fc4": (72, 16), "fc5": (16, 16), "fc6": (1, 16 + extra, 2)}
    return {
        name: {
            "kernel": jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32),
            "bias": jnp.asarray(0.1 * rng.normal(size=(*shape[:-2], 2) if name == "fc6" else shape[-1:]), jnp.float32),
        }
        for name, shape in shapes.items()
    }


def outputs(head, rows, location):
    """The network's last layers in NumPy."""
    x = np.asarray(rows.features)
    for name in ("fc4", "fc5", "fc5b")[: len(head) - 1]:
        x = np.maximum(x @ np.asarray(head[name]["kernel"]) + np.asarray(head[name]["bias"]), 0)
    if location:
        x = np.concatenate([x, rows.location], axis=1)
    return x @ np.asarray(head["fc6"]["kernel"])[0] + np.asarray(head["fc6"]["bias"])[0]


@pytest.mark.parametrize("location", ["none", "normalised"])
def test_a_score_is_the_target_output_itself(location):
    model, head = mdnet.model_of(Config(location=location), TINY), head_of(TINY, location != "none")
    expected = outputs(head, samples(), location != "none")[:, 1]
    np.testing.assert_allclose(model.score(head, samples()), expected, atol=1e-5)


def test_with_a_third_hidden_layer_the_location_joins_its_output():
    deep = dataclasses.replace(TINY, head=MDNetHead(16, hidden=3))
    model, head = mdnet.model_of(Config(location="normalised"), deep), head_of(TINY, True)
    head["fc5b"] = head_of(TINY, True, seed=4)["fc5"]
    np.testing.assert_allclose(model.score(head, samples()), outputs(head, samples(), True)[:, 1], atol=1e-5)


def test_a_third_hidden_layer_learns_with_the_others_and_only_the_last_layer_fast(params):
    """With a rate that only fast layers notice: 1e-20 is nothing, times 1e18 it is the rate of before."""
    deep = dataclasses.replace(TINY, head=MDNetHead(16, hidden=3))
    head = {**params["head"], "fc5b": params["head"]["fc5"]}
    frame = images.make_frame(MovingSquare(1)[0])
    for rate, factor, learning in ((1e-2, 1.0, {"fc4", "fc5", "fc5b", "fc6"}), (1e-20, 1e18, {"fc6"})):
        mining = dataclasses.replace(LEARNING, first_iterations=3, first_rate=rate, fast_factor=factor, weight_decay=0)
        framework = dataclasses.replace(small(mining=mining), regression=Regression(samples=0))
        tracker = mdnet.make_tracker(Config(framework=framework, location="normalised", dropout=0.0), deep)
        state = jax.jit(tracker.init)({**params, "head": head}, frame, BOX, jax.random.key(0))
        new = vgg_m.with_new_branch(head, jax.random.split(jax.random.key(0))[0], location=True)
        changed = {name for name in new if not np.allclose(state.head[name]["kernel"], new[name]["kernel"], 1e-5, 1e-8)}
        assert changed == learning
        assert state.head["fc6"]["kernel"].shape == (1, 20, 2)


@pytest.mark.parametrize(
    ("loss", "margin"),
    [
        (Ranking(), 0.1),
        (Ranking(classification=0.7, ranking=0.5, margin=5.0), 5.0),
        (Ranking(ranking=0.5), 0.1),
        (Ranking(ranking=0.5, rank_on="probability"), 0.05),
        (Ranking(ranking=0.5, rank_on="probability", margin=0.3), 0.3),
    ],
)
def test_the_loss_is_cross_entropy_and_a_margin_between_samples_of_the_target(loss, margin):
    """mdnet_family.md, R2: the margin is 0.1 of logits, 0.05 of probabilities."""
    model, head = mdnet.model_of(Config(loss=loss, dropout=0.0), TINY), head_of(TINY, False)
    out = outputs(head, samples(), False)
    cross = [-out[i, y] + np.log(np.exp(out[i]).sum()) for i, y in enumerate(LABELS)]
    ranked = out[:, 1] if loss.rank_on == "logit" else np.exp(out[:, 1]) / np.exp(out).sum(axis=1)
    # Overlaps of the four positives fall from first to last.
    pairs = [max(0, margin - (ranked[i] - ranked[j])) for i in range(4) for j in range(i + 1, 4)]
    expected = loss.classification * np.mean(cross) + loss.ranking * np.mean(pairs)
    found = float(model.loss(head, samples(), jnp.asarray(LABELS), jax.random.key(0)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_learning_drops_half_and_scoring_nothing():
    model, head = mdnet.model_of(Config(), TINY), head_of(TINY, False)
    losses = [float(model.loss(head, samples(), jnp.asarray(LABELS), jax.random.key(i))) for i in range(2)]
    assert losses[0] != losses[1]
    np.testing.assert_array_equal(model.score(head, samples()), model.score(head, samples()))


@pytest.mark.parametrize("dropout", [0.5, 0.8])
def test_as_much_is_dropped_as_the_configuration_says(dropout):
    head = jax.tree.map(jnp.zeros_like, head_of(TINY, False))
    head["fc4"]["bias"] += 1.0
    head["fc5"]["kernel"] += 1.0
    head["fc6"]["kernel"] = head["fc6"]["kernel"].at[0, 0, 1].set(1.0)
    model = mdnet.model_of(Config(dropout=dropout), TINY)
    keys = jax.random.split(jax.random.key(0), 400)
    losses = jax.vmap(lambda key: model.loss(head, samples(1), jnp.asarray([1]), key))(keys)
    # fc6 reads one output of fc5; where that is dropped both scores are 0.
    assert np.mean(np.isclose(losses, np.log(2))) == pytest.approx(dropout, abs=0.1)


@pytest.mark.parametrize(
    ("location", "of", "expected"),
    [
        ("normalised", "box", (30 / 200, 10 / 100, 75 / 200, 15 / 100)),
        ("printed", "box", (30, 10, 75 / 200, 15 / 100)),
        # 107/75 of 75 x 15 about the same centre (67.5, 17.5).
        ("normalised", "crop", (14 / 200, 6.8 / 100, 107 / 200, 21.4 / 100)),
        ("printed", "crop", (14, 6.8, 107 / 200, 21.4 / 100)),
    ],
)
def test_the_location_feature(location, of, expected):
    config = Config(location=location, location_of=of)
    box, size = jnp.asarray([[30.0, 10.0, 75.0, 15.0]]), jnp.asarray([100, 200], jnp.int32)
    np.testing.assert_allclose(mdnet.model_of(config, TINY).location(box, size)[0], expected, rtol=1e-5)


# --- crops ---------------------------------------------------------------------------------------------------------


def smooth(height=160, width=200):
    """An image without sharp edges: OpenCV's positions have steps of a 32nd of a pixel."""
    y, x = np.mgrid[:height, :width]
    waves = [120 + 60 * np.sin(x / a) + 50 * np.cos(y / b) for a, b in ((31, 23), (17, 41), (27, 19))]
    return np.round(np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(("name", "extent"), [("mdnet_vggm", (57.067, 114.133)), ("mdnet_vggm_py", (51.963, 103.925))])
@pytest.mark.parametrize("box", [(100.0, 50.0, 40.0, 80.0), (-12.0, 60.0, 40.0, 80.0), (185.0, 120.0, 40.0, 80.0)])
def test_crops_are_those_of_opencv(name, extent, box):
    cv2 = pytest.importorskip("cv2")
    frame = images.make_frame(smooth())
    found = np.asarray(models.crops(ARCHITECTURES[name], frame, jnp.asarray([box])))[0]
    # mdnet_family.md, section 2.3: source column of output column u = cx + ((u + 0.5) / 107 - 0.5) w_e - 0.5.
    scale = [side / 107 for side in extent]
    centre = [box[i] + box[2 + i] / 2 for i in range(2)]
    offset = [c + (0.5 / 107 - 0.5) * e - 0.5 for c, e in zip(centre, extent, strict=True)]
    warp = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_CONSTANT}
    expected = cv2.warpAffine(smooth().astype(np.float32), warp, (107, 107), borderValue=(128, 128, 128), **options)
    # At the image's border neighbours differ by up to 100 grey levels, a 32nd of which is three.
    assert np.abs(found - (expected - 128)).max() < (0.5 if box[0] == 100 else 3)
    assert np.abs(found - (expected - 128)).mean() < 0.1


def test_what_is_outside_the_image_is_zero_and_the_colours_are_rgb():
    image = np.full((100, 100, 3), (200, 100, 50), np.uint8)
    found = np.asarray(
        models.crops(TINY, images.make_frame(image), jnp.asarray([[-200.0, 0, 50, 50], [30, 30, 20, 20]]))
    )
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1], np.broadcast_to([72.0, -28.0, -78.0], found[1].shape), atol=1e-4)


def test_many_boxes_go_through_the_backbone_as_each_alone(params):
    frame = images.make_frame(smooth())
    some = np.random.default_rng(0).uniform([0, 0, 20, 20], [150, 100, 60, 60], (130, 4)).astype(np.float32)
    features = jax.jit(lambda variables, some: models.features(TINY, variables, frame, some))
    found = features(params["backbone"], some)
    assert found.shape == (130, 3 * 3 * 8)
    for i in (0, 63, 64, 129):
        np.testing.assert_allclose(found[i], features(params["backbone"], some[i : i + 1])[0], rtol=1e-3, atol=1e-2)
