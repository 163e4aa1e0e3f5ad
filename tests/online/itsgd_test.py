import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import cue_cnn
from jaxtrack.online import itsgd, memory
from jaxtrack.online.itsgd import Loss, Training

CONFIG = Training(positives=4, negatives=4, rounds=3, first_rounds=6)


def patterns(key, count, slope):
    """Patches of two cues whose brightness rises to the right (slope > 0) or to the left, with noise."""
    ramp = 5.0 + slope * jnp.linspace(-3.0, 3.0, 32)
    noise = jax.random.normal(key, (count, 32, 32, 2))
    return jnp.broadcast_to(ramp[None, None, :, None], noise.shape) + noise


@pytest.fixture(scope="module")
def memories():
    positives, negatives = itsgd.create_memory(16, 8, (32, 32, 2)), itsgd.create_memory(16, 8, (32, 32, 2))
    bright = jnp.ones((8,), jnp.float32)
    # Symmetric targets, as mirroring demands: brightness falls from the middle in positives only.
    hill = 5.0 - 3.0 * jnp.abs(jnp.linspace(-1.0, 1.0, 32))
    samples = jnp.broadcast_to(hill[None, None, :, None], (8, 32, 32, 2)) + jax.random.normal(
        jax.random.key(7), (8, 32, 32, 2)
    )
    positives = write(positives, samples, 0, bright, 1.0)
    negatives = write(negatives, patterns(jax.random.key(8), 8, 1.0), 0, 0 * bright, 1.0)
    return positives, negatives


@pytest.fixture(scope="module")
def network():
    return {"cues": cue_cnn.init_cues(jax.random.key(0), 2), "fusion": cue_cnn.init_fusion(jax.random.key(1), 2)}


def train(network, memories, config, *, first=False):
    velocity = jax.tree.map(jnp.zeros_like, network)
    step = jax.jit(lambda n, v, p, q: itsgd.train(jax.random.key(3), n, v, p, q, config, first=first))
    return step(network, velocity, *memories)


def write(store, patches, frame, overlap, quality):
    rows = itsgd.Samples(patches, overlap, jnp.full((len(patches),), quality, jnp.float32))
    return memory.write(store, rows, jnp.int32(frame))


def changed(before, after):
    return any(bool((a != b).any()) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_negatives_one_and_two_frames_old_hardly_count():
    store = itsgd.create_memory(3, 1, (1,))
    for frame in range(3):
        store = write(store, jnp.zeros((1, 1)), frame, jnp.zeros((1,)), 1.0)
    weights = itsgd.negative_weights(store, CONFIG)[2::-1]  # the fourth row is spare
    np.testing.assert_allclose(weights, [1, 4.54e-5, 4.25e-18], rtol=2e-3)
    inverse = itsgd.negative_weights(store, dataclasses.replace(CONFIG, temporal="inverse"))[2::-1]
    np.testing.assert_allclose(inverse, np.exp([0, -0.1, -0.4]), rtol=1e-5)
    uniform = itsgd.negative_weights(store, dataclasses.replace(CONFIG, temporal="uniform"))
    np.testing.assert_array_equal(uniform, [1, 1, 1, 0])


def test_samples_of_a_doubtful_frame_are_drawn_less_often():
    store = itsgd.create_memory(2, 1, (1,))
    for quality in (0.2, 0.8):
        store = write(store, jnp.zeros((1, 1)), 5, jnp.zeros((1,)), quality)
    np.testing.assert_allclose(itsgd.positive_weights(store, CONFIG), [0.2, 0.8, 0], atol=1e-6)
    np.testing.assert_allclose(itsgd.negative_weights(store, CONFIG), [0.2, 0.8, 0], atol=1e-6)
    without = dataclasses.replace(CONFIG, label_noise=False)
    np.testing.assert_allclose(itsgd.positive_weights(store, without), [1, 1, 0])
    np.testing.assert_allclose(itsgd.negative_weights(store, without), [1, 1, 0])


def test_every_second_positive_of_a_batch_is_mirrored_and_no_negative_is():
    one = itsgd.create_memory(1, 1, (32, 32, 1))
    ramp = jnp.broadcast_to(jnp.arange(32.0)[None, None, :, None], (1, 32, 32, 1))
    store = write(one, ramp, 0, jnp.ones((1,)), 1.0)
    batch = itsgd.draw_batch(jax.random.key(0), store, store, CONFIG)
    first_column = np.asarray(batch.patches)[0, :, 0, 0]
    np.testing.assert_array_equal(first_column, [0, 31, 0, 31, 0, 0, 0, 0])
    np.testing.assert_array_equal(batch.positive, [True] * 4 + [False] * 4)
    np.testing.assert_array_equal(np.asarray(batch.patches)[0, :, 0], np.asarray(batch.patches)[0, :, 31])


def test_a_cue_learns_from_its_own_outputs_and_fusion_moves_only_that_cues_columns(network, memories):
    batch = itsgd.draw_batch(jax.random.key(0), *memories, CONFIG)
    hidden = itsgd.hidden_responses(network["cues"], batch.patches)
    speed = jax.tree.map(jnp.zeros_like, network["fusion"])
    fusion, _ = itsgd._fusion_step(network["fusion"], speed, hidden, batch, 1, CONFIG)
    np.testing.assert_array_equal(fusion["kernel"][0], network["fusion"]["kernel"][0])
    assert changed(fusion["kernel"][1], network["fusion"]["kernel"][1])
    assert changed(fusion["bias"], network["fusion"]["bias"])


def test_one_sgd_step_with_momentum_decay_and_clipping_worked_by_hand():
    config = dataclasses.replace(CONFIG, momentum=0.5, weight_decay=0.1, clip_norm=1.0)
    # The gradient (3, 4) has norm 5 and is clipped to (0.6, 0.8).
    params, velocity = itsgd._descend(
        {"w": jnp.asarray([1.0, 2.0])}, {"w": jnp.asarray([2.0, 0.0])}, {"w": jnp.asarray([3.0, 4.0])}, 0.1, config
    )
    np.testing.assert_allclose(velocity["w"], [1.7, 1.0], atol=1e-6)
    np.testing.assert_allclose(params["w"], [0.83, 1.9], atol=1e-6)


def test_the_first_frame_always_trains_and_the_loss_falls(network, memories):
    config = dataclasses.replace(CONFIG, first_rounds=40, epsilon=1e-4)
    _, _, report = train(network, memories, config, first=True)
    assert int(report.rounds) == 40
    assert float(report.loss) < 0.2 * float(report.loss_before)


def test_training_stops_once_the_running_loss_is_low(network, memories):
    config = dataclasses.replace(CONFIG, first_rounds=200, epsilon=0.05)
    _, _, report = train(network, memories, config, first=True)
    assert 0 < int(report.rounds) < 200
    assert float(report.loss) <= 0.05


def test_a_low_loss_leaves_everything_as_it_was(network, memories):
    lazy = dataclasses.replace(CONFIG, epsilon=1.0)
    after, _, report = train(network, memories, lazy)
    assert int(report.rounds) == 0
    assert not changed(network, after)


@pytest.mark.parametrize(
    ("option", "moving", "still"), [("lazy_model", "cues", "fusion"), ("lazy_fusion", "fusion", "cues")]
)
def test_without_laziness_a_part_trains_in_every_frame(network, memories, option, moving, still):
    config = dataclasses.replace(CONFIG, epsilon=1.0, **{option: False})
    after, _, report = train(network, memories, config)
    assert int(report.rounds) == CONFIG.rounds
    assert changed(network[moving], after[moving])
    assert not changed(network[still], after[still])


def test_joint_training_descends_the_gradient_of_the_fused_loss(network, memories):
    config = dataclasses.replace(CONFIG, joint=True, momentum=0.0, clip_norm=1e9, loss=Loss(beta=0.0))
    batch = itsgd.draw_batch(jax.random.key(0), *memories, config)

    def fused_loss(network):
        outputs = cue_cnn.fuse(network["fusion"], itsgd.hidden_responses(network["cues"], batch.patches))
        return itsgd.batch_loss(outputs, batch, config.loss)

    after, _ = itsgd._joint_round(network, jax.tree.map(jnp.zeros_like, network), batch, config)
    gradient = jax.grad(fused_loss)(network)
    expected = jax.tree.map(lambda p, g: p - 0.05 * g, network["cues"], gradient["cues"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after["cues"], expected)
    bias = network["fusion"]["bias"] - 0.005 * gradient["fusion"]["bias"]
    np.testing.assert_allclose(after["fusion"]["bias"], bias, atol=1e-7)
