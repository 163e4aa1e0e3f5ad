import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mdnet_synthetic import BOX, MovingSquare, small

from jaxtrack import UserError, boxes, images, run
from jaxtrack.models import rpn2t as models
from jaxtrack.models.rpn import AnchorHead
from jaxtrack.models.rpn2t import ARCHITECTURES, Architecture
from jaxtrack.models.zf import ZF
from jaxtrack.online.frame_memory import Samples
from jaxtrack.online.framework import Regression
from jaxtrack.online.mining import Mining
from jaxtrack.running import programs
from jaxtrack.trackers import rpn2t
from jaxtrack.trackers.rpn2t import CONFIGS, Config, Loss, Score
from jaxtrack.weights import places, store

TINY = Architecture(ZF((4, 4, 6, 6, 6), "student_a"), AnchorHead(8), 107)
LEARNING = Mining(
    positives=8,
    negatives=8,
    candidates=24,
    first_iterations=100,
    first_rate=1e-2,
    iterations=2,
    rate=1e-2,
    fast_layers=models.SCORES,
)
CONFIG = Config(
    framework=dataclasses.replace(small(mining=LEARNING, half=True), regression=Regression(samples=0)),
    loss=Loss(beta=2.0),
)
TRACKER = rpn2t.make_tracker(CONFIG, TINY)


@pytest.fixture(scope="module")
def params():
    """Random ones, of which convolutions keep the size of what passes through, but the first makes it about 1."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        deviation = math.sqrt(2 / math.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.0
        return (deviation * rng.normal(size=leaf.shape)).astype(np.float32)

    found = jax.tree.map(draw, models.shapes(TINY)["params"])
    found["backbone"]["conv1"]["kernel"] /= 30
    return found


@pytest.fixture(scope="module")
def track(params):
    return run(TRACKER, params, MovingSquare(6), BOX)


# --- the whole -----------------------------------------------------------------------------------------------------


def test_a_moving_rectangle_is_followed(track):
    assert boxes.iou(track.boxes, MovingSquare(6).truth).min() > 0.5
    np.testing.assert_array_equal(track.diagnostics["iterations"], [0, 0, 0, 2, 0])


def test_one_compilation_serves_videos_of_different_length_and_two_runs_agree(track, params):
    parts = programs(TRACKER)
    before = (parts.init.compilations, parts.chunk.compilations)
    again, shorter = run(TRACKER, params, MovingSquare(6), BOX), run(TRACKER, params, MovingSquare(3), BOX)
    assert before == (parts.init.compilations, parts.chunk.compilations)
    np.testing.assert_array_equal(again.boxes, track.boxes)
    np.testing.assert_array_equal(shorter.boxes, track.boxes[:3])


def test_what_follows_conv5_learns_and_maps_are_remembered_in_half(track, params):
    state = programs(TRACKER).init(params, images.make_frame(MovingSquare(1)[0]), BOX, jax.random.key(0))
    assert state.head.keys() == {"conv", *models.SCORES}
    for part in ("kernel", "bias"):
        assert not np.array_equal(state.head["conv"][part], params["head"]["conv"][part])
    kept = [state.positives.first.features, state.positives.newer.rows.features, state.negatives.newer.rows.features]
    assert {(leaf.shape[1:], leaf.dtype.itemsize) for leaf in kept} == {((14, 14, 6), 2)}
    assert state.regressor is None
    assert not {layer["kernel"].shape for layer in params["backbone"].values()} & {
        leaf.shape for leaf in jax.tree.leaves(state)
    }


def state_of(config):
    """Shapes of the state that a configuration begins with; nothing is computed."""
    tracker, frame = rpn2t.tracker(config), images.make_frame(np.zeros((60, 80, 3), np.uint8))
    params = models.shapes(models.ARCHITECTURES[config.architecture])["params"]
    return jax.eval_shape(tracker.init, params, frame, BOX, jax.random.key(0))


def size(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_the_state_is_as_large_as_the_docstring_says():
    state = state_of(CONFIGS["rpn2t"])
    memories = size((state.positives, state.negatives))
    assert "9,750 samples, in bfloat16 0.98 GB" in " ".join(rpn2t.__doc__.split())
    assert memories / 1e9 == pytest.approx(9750 * (14 * 14 * 256 * 2 + 24) / 1e9, rel=1e-3)
    assert f"{memories / 1e9:.2f}" == "0.98"
    assert state.regressor.weights.shape == (14 * 14 * 256, 4)


# --- what the framework asks of the network ------------------------------------------------------------------------

# With a convolution that sees nothing, the scores of every cell are the biases.
MASKED, EVERYWHERE = (0.5, -1.0), (0.25, 2.0)
HEAD = {
    "conv": {"kernel": jnp.zeros((3, 3, 6, 8)), "bias": jnp.zeros((8,))},
    "masked_scores": {"kernel": jnp.ones((1, 1, 8, 2)), "bias": jnp.asarray(MASKED)},
    "all_scores": {"kernel": jnp.ones((1, 1, 8, 2)), "bias": jnp.asarray(EVERYWHERE)},
}
CELLS = {0.9: 4, 0.8: 12, 0.7: 12, 0.6: 24, 0.5: 40}  # mdnet_family.md, section 4.4


def samples(count, dtype=jnp.bfloat16):
    return Samples(jnp.zeros((count, 14, 14, 6), dtype), jnp.zeros((count,)), jnp.zeros((count, 4)))


def cross_entropy(scores, label):
    return math.log(sum(math.exp(score) for score in scores)) - scores[label]


@pytest.mark.parametrize("threshold", CELLS)
@pytest.mark.parametrize("over", ["mean", "sum"])
def test_the_loss_weighs_the_masks_cells_and_all_cells(threshold, over):
    config = Config(loss=Loss(alpha=2.0, beta=3.0, threshold=threshold, over=over))
    labels = [1, 1, 0]
    first, second = (np.mean([cross_entropy(s, label) for label in labels]) for s in (MASKED, EVERYWHERE))
    cells = (CELLS[threshold], 196) if over == "sum" else (1, 1)
    expected = 2 * cells[0] * first + 3 * cells[1] * second
    found = rpn2t.model_of(config, TINY).loss(HEAD, samples(3), jnp.asarray(labels), jax.random.key(0))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5, 0.75])
def test_as_much_is_dropped_as_the_configuration_says_where_it_learns_and_nothing_where_it_scores(dropout):
    head = jax.tree.map(jnp.zeros_like, HEAD)
    head["conv"]["bias"] += 1.0
    head["all_scores"]["kernel"] = head["all_scores"]["kernel"].at[0, 0, 0, 1].set(1.0)
    model = rpn2t.model_of(Config(loss=Loss(alpha=0.0, beta=1.0), dropout=dropout), TINY)
    # The target's score is one of the 3 x 3 convolution's outputs: 0 where that is dropped, else so much more.
    expected = dropout * math.log(2) + (1 - dropout) * math.log1p(math.exp(-1 / (1 - dropout)))
    found = float(model.loss(head, samples(20), jnp.ones(20, jnp.int32), jax.random.key(0)))
    assert found == pytest.approx(expected, abs=0.03 if dropout else 1e-4)
    np.testing.assert_allclose(model.score(head, samples(3)), np.ones(3))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIGS["rpn2t"], (-1.0 + 10 * 2.0) / 11),
        (CONFIGS["rpn2t_mask_only"], -1.0),
        (CONFIGS["rpn2t_all_positions"], 2.0),
        (Config(score=Score(weighting="uniform")), (12 * -1.0 + 196 * 2.0) / 208),
        (Config(score=Score(weighting="uniform"), loss=Loss(threshold=0.5)), (40 * -1.0 + 196 * 2.0) / 236),
        (Config(score=Score(of="difference")), (-1.5 + 10 * 1.75) / 11),
    ],
)
@pytest.mark.parametrize("count", [3, 70])
def test_the_score_follows_its_rules(config, expected, count):
    found = rpn2t.model_of(config, TINY).score(HEAD, samples(count))
    np.testing.assert_allclose(found, np.full(count, expected), rtol=1e-5)


def test_maps_are_computed_in_the_memorys_type_and_flattened_for_box_regression(params):
    frame = images.make_frame(MovingSquare(1)[0])
    for half, dtype in ((True, jnp.bfloat16), (False, jnp.float32)):
        memory = dataclasses.replace(CONFIG.framework.memory, half=half)
        config = dataclasses.replace(CONFIG, framework=dataclasses.replace(CONFIG.framework, memory=memory))
        model = rpn2t.model_of(config, TINY)
        maps = jax.eval_shape(model.features, params["backbone"], frame, jnp.zeros((5, 4)))
        assert (maps.shape, maps.dtype) == ((5, 14, 14, 6), dtype)
        assert jax.eval_shape(model.flat, maps).shape == (5, 14 * 14 * 6)


def test_the_mean_is_that_of_the_weights_in_use(params):
    """An image that differs as the means do looks the same, also at its border, and to other means it does not."""
    image, box = np.random.default_rng(0).integers(30, 220, (60, 80, 3), np.uint8), jnp.asarray([[-5.0, 20.0, 30, 30]])
    shifted = (image + np.asarray([-20, 10, 5])).astype(np.uint8)

    def maps(pixels, mean):
        features = jax.jit(rpn2t.model_of(Config(mean_rgb=mean), TINY).features)
        return np.asarray(features(params["backbone"], images.make_frame(pixels), box), np.float32)

    expected, found, wrong = maps(image, None), maps(shifted, (102.7717, 125.9465, 107.9801)), maps(shifted, None)
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())
    assert np.abs(wrong - expected).max() > 0.1 * expected.max()


# --- configurations ------------------------------------------------------------------------------------------------


def test_configurations_hold_the_papers_constants():
    config = CONFIGS["rpn2t"]
    f = config.framework
    # mdnet_family.md, sections 4.1, 4.5 and 2.11.
    assert (config.loss.alpha, config.loss.beta, config.loss.threshold) == (1, 10, 0.7)
    assert (f.sampling.first_positives, f.sampling.first_negatives, f.search.candidates) == (500, 5000, 256)
    assert (f.mining.first_iterations, f.mining.first_rate, f.mining.iterations, f.mining.rate) == (30, 1e-4, 10, 3e-4)
    assert (f.mining.fast_factor, set(f.mining.fast_layers)) == (10, {"masked_scores", "all_scores"})
    assert (f.mining.positives, f.mining.negatives, f.mining.candidates, f.memory.interval) == (32, 96, 1024, 10)
    assert f.memory.half
    assert config.dropout == 0
    assert ARCHITECTURES[config.architecture].backbone.version == "student_a"
    assert ARCHITECTURES[CONFIGS["rpn2t_teacher"].architecture].backbone.version == "teacher"
    for name in ("rpn2t_teacher", "rpn2t_mask_only", "rpn2t_all_positions"):
        assert CONFIGS[name].framework == f


def test_random_weights_need_no_file_and_fit_teacher_and_student_alike():
    trees = []
    for name in ("rpn2t_small_teacher", "RPN2T-small student"):
        config = Config(architecture=name, weights="random")
        trees.append(jax.eval_shape(lambda key, config=config: rpn2t.init_params(config, key), jax.random.key(0)))
        assert rpn2t.weights_sha256(config) is None
        assert "random" in rpn2t.describe(config)
    assert trees[0] == trees[1] == models.shapes(ARCHITECTURES["rpn2t_small_teacher"])["params"]


def test_the_plain_teacher_at_half_input_judges_8_by_8_cells():
    """mdnet_family.md, section 5: 107 px give 54, 28, 14 and 8 cells; so few of them match the target."""
    config = CONFIGS["rpn2t_teacher_half"]
    assert dataclasses.replace(config, architecture="rpn2t_teacher", weights="") == CONFIGS["rpn2t_teacher"]
    half = ARCHITECTURES[config.architecture]
    assert (half.backbone, half.input_px) == (ARCHITECTURES["rpn2t_teacher"].backbone, 107)
    assert models.shapes(half) == models.shapes(ARCHITECTURES["rpn2t_teacher"])
    state = state_of(config)
    assert state.positives.first.features.shape == (500, 8, 8, 256)
    # Both heads over so many cells: the sums of the loss tell how many.
    small = Architecture(ZF((4, 4, 6, 6, 6)), AnchorHead(8), 107, 8)
    rows = Samples(jnp.zeros((1, 8, 8, 6)), jnp.zeros((1,)), jnp.zeros((1, 4)))
    summed = rpn2t.model_of(Config(loss=Loss(over="sum")), small)
    found = float(summed.loss(HEAD, rows, jnp.asarray([1]), jax.random.key(0)))
    assert found == pytest.approx(4 * cross_entropy(MASKED, 1) + 10 * 64 * cross_entropy(EVERYWHERE, 1), rel=1e-5)
    uniform = rpn2t.model_of(Config(score=Score(weighting="uniform")), small).score(HEAD, rows)
    assert float(uniform[0]) == pytest.approx((4 * -1.0 + 64 * 2.0) / 68, rel=1e-5)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(UserError, match="no architecture called 'rpn2t_big'"):
        rpn2t.tracker(Config(architecture="rpn2t_big"))


@pytest.fixture
def weights(monkeypatch):
    """Weights of an architecture, as if read from a file; the head has what a region proposal network's has."""
    content = {"backbone": {"conv1": 1}, "head": {"conv": 2, "scores": 3, "deltas": 4}}

    def of(architecture):
        monkeypatch.setattr(places, "locate", lambda name: Path(f"{name}.safetensors"))
        monkeypatch.setattr(
            store, "load", lambda path: ({"params": content}, SimpleNamespace(architecture=architecture))
        )

    return of


@pytest.mark.parametrize("name", ["rpn2t_small", "rpn2t_small_teacher"])
def test_a_narrow_tracker_differs_in_its_network_and_learns_more_in_the_first_frame(name):
    config, base = CONFIGS[name], CONFIGS["rpn2t"]
    mining, other = config.framework.mining, base.framework.mining
    rates = ("first_iterations", "first_rate")
    assert all(getattr(mining, rate) > getattr(other, rate) for rate in rates)
    same = dataclasses.replace(mining, **{rate: getattr(other, rate) for rate in rates})
    framework = dataclasses.replace(config.framework, mining=same)
    assert config.architecture in ARCHITECTURES
    assert config.architecture.startswith("rpn2t_small")
    changes = {"architecture": base.architecture, "framework": framework, "tuned_on": ""}
    assert dataclasses.replace(config, **changes) == base


def test_weights_are_named_as_their_architecture(weights):
    weights("rpn2t_student")
    assert rpn2t.weights_file(CONFIGS["rpn2t"]) == Path("rpn2t_student.safetensors")
    assert rpn2t.weights_file(CONFIGS["rpn2t_mask_only"]) == Path("rpn2t_student.safetensors")
    assert rpn2t.weights_file(Config(weights="mine")) == Path("mine.safetensors")


def test_the_teacher_takes_a_region_proposal_networks_weights_and_the_student_only_its_own(weights):
    key = jax.random.key(0)
    kept = {"backbone": {"conv1": 1}, "head": {"conv": 2}}
    weights("zf_rpn")
    assert rpn2t.init_params(CONFIGS["rpn2t_teacher"], key) == kept
    for config in (CONFIGS["rpn2t"], Config(architecture="rpn2t_small_teacher")):
        with pytest.raises(UserError, match=f"holds weights of zf_rpn, not of {config.architecture}"):
            rpn2t.init_params(config, key)
    assert rpn2t.init_params(CONFIGS["rpn2t_teacher_half"], key) == kept
    weights("rpn2t_teacher")
    assert rpn2t.init_params(CONFIGS["rpn2t_teacher_half"], key) == kept
    weights("rpn2t_small_teacher")
    assert rpn2t.init_params(Config(architecture="rpn2t_small_teacher_half"), key) == kept
    with pytest.raises(UserError, match="holds weights of rpn2t_small_teacher, not of rpn2t_teacher_half"):
        rpn2t.init_params(CONFIGS["rpn2t_teacher_half"], key)
    weights("rpn2t_student")
    assert rpn2t.init_params(CONFIGS["rpn2t"], key) == kept
    with pytest.raises(UserError, match="holds weights of rpn2t_student, not of rpn2t_teacher"):
        rpn2t.init_params(CONFIGS["rpn2t_teacher"], key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Loss(alpha=0.0, beta=0.0), "alpha and beta of Loss cannot both be 0"),
        (lambda: Loss(beta=-1.0), "beta of Loss must be at least 0"),
        (lambda: Loss(threshold=0.0), "threshold of Loss must be greater than 0"),
        (lambda: Loss(threshold=1.5), "threshold of Loss must be from 0 to 1, not 1.5"),
        (lambda: Loss(over="median"), "over of Loss must be one of mean, sum, not 'median'"),
        (lambda: Config(dropout=-0.1), "dropout of Config must be"),
        (lambda: Config(dropout=1.0), "dropout of Config must be less than 1"),
        (
            lambda: Config(mean_rgb=(1.0, 2.0)),
            r"mean_rgb of Config must be three numbers from 0 to 255, not \(1.0, 2.0",
        ),  # type: ignore[arg-type]
        (lambda: Config(mean_rgb=(1, 2, 256)), r"mean_rgb of Config must be .* from 0 to 255, not \(1, 2, 256\)"),
        (lambda: Score(weighting="cells"), "weighting of Score must be one of loss, uniform, not 'cells'"),
        (lambda: Score(of="both"), "of of Score must be one of target, difference, not 'both'"),
        (
            lambda: Config(framework=small()),
            "fast_layers of Mining may be conv, masked_scores, all_scores, not 'fc6'",
        ),
    ],
)
def test_a_configuration_that_cannot_run_is_refused_in_a_sentence(change, message):
    with pytest.raises(UserError, match=message):
        change()
