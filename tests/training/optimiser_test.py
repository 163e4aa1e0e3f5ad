"""Schedules and updates beside the specification's lists and plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.training.optimiser import Optimiser, Stage, Updates, epoch_rates, merge, rate_at, stages, trained

# siamese.md, 6.5.
END_5E_5 = """1e-3 1.37973e-3 1.90365e-3 2.62653e-3 3.6239e-3 5e-3 3.59843e-3 2.58974e-3 1.8638e-3 1.34135e-3 9.65349e-4
 6.94748e-4 5e-4 3.59843e-4 2.58974e-4 1.8638e-4 1.34135e-4 9.65349e-5 6.94748e-5 5e-5"""
END_5E_4 = """5e-3 4.24171e-3 3.59843e-3 3.0527e-3 2.58974e-3 2.19699e-3 1.8638e-3 1.58114e-3 1.34135e-3 1.13792e-3
 9.65349e-4 8.18947e-4 6.94748e-4 5.89384e-4 5e-4"""
PARAMS = {"backbone": {"layer1": jnp.ones(2), "layer2": jnp.ones(2)}, "head": {"w": jnp.asarray([1.0, -2.0])}}
WHOLE = Stage("whole", 0, ("layer1", "layer2"))


def rounded(rates):
    return [f"{rate:.6g}" for rate in rates]


def test_the_rates_of_the_epochs_are_the_specifications_to_the_printed_digits():
    assert rounded(epoch_rates(Optimiser(), 20)) == rounded(map(float, END_5E_5.split()))
    assert rounded(epoch_rates(Optimiser(last_rate=5e-4), 20)[5:]) == rounded(map(float, END_5E_4.split()))


def test_a_rate_holds_for_a_whole_epoch():
    found = [float(rate_at(Optimiser(), 20, 10, jnp.int32(step))) for step in (0, 9, 10, 59, 199)]
    np.testing.assert_allclose(found, [1e-3, 1e-3, 1.37973e-3, 5e-3, 5e-5], rtol=1e-5)


def test_the_cosine_rises_then_falls_to_its_last_rate():
    config = Optimiser(schedule="cosine", warmup_rate=0.1, rate=0.4, last_rate=0.2, warmup_epochs=2)
    found = [float(rate_at(config, 6, 10, jnp.int32(step))) for step in (0, 10, 20, 40, 60)]
    np.testing.assert_allclose(found, [0.1, 0.2, 0.4, 0.3, 0.2], rtol=1e-6)  # sqrt(0.1 * 0.4); the middle of 0.4, 0.2


def plain_sgd(params, gradients, config, rates):
    """clip, add decay, momentum, rate: the order of the references."""
    momentum = np.zeros_like(params)
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient * min(1.0, config.clip / np.linalg.norm(gradient))
        momentum = config.momentum * momentum + gradient + config.weight_decay * params
        params = params - rate * momentum
    return params


def test_updates_are_those_of_plain_sgd():
    config = Optimiser(clip=2.0, weight_decay=0.1, backbone_factor=1.0, rate=0.5, warmup_rate=0.1, warmup_epochs=1)
    updates = Updates(config, WHOLE, 2, 2)
    params, state = PARAMS, updates.init(PARAMS)
    gradients = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    flat = np.concatenate(jax.tree.leaves(PARAMS))
    for gradient in gradients:
        parts = iter(gradient.reshape(3, 2))
        params, state = updates.apply(params, jax.tree.map(lambda leaf, p=parts: jnp.asarray(next(p)), PARAMS), state)
    expected = plain_sgd(flat, gradients, config, [0.1, 0.1, 0.5])
    np.testing.assert_allclose(np.concatenate(jax.tree.leaves(params)), expected, rtol=1e-5)


def test_the_backbones_rate_is_a_fraction_of_the_heads():
    updates = Updates(Optimiser(weight_decay=0.0), WHOLE, 20, 1)
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    after, _ = updates.apply(PARAMS, ones, updates.init(PARAMS))
    change = jax.tree.map(lambda a, b: float(jnp.max(b - a)), after, PARAMS)
    assert change["head"]["w"] == pytest.approx(1e-3, rel=1e-4)
    assert change["backbone"]["layer1"] == change["backbone"]["layer2"] == pytest.approx(1e-4, rel=1e-3)


def test_adam_decays_weights_apart_from_the_gradient():
    config = Optimiser(method="adamw", weight_decay=0.5, warmup_rate=0.1, backbone_factor=1.0)
    updates = Updates(config, WHOLE, 20, 1)
    after, _ = updates.apply(PARAMS, jax.tree.map(jnp.ones_like, PARAMS), updates.init(PARAMS))
    # Adam's first step is the sign of the gradient: 1 - 0.1 (1 + 0.5 * 1), -2 - 0.1 (1 - 0.5 * 2).
    np.testing.assert_allclose(after["head"]["w"], [0.85, -2.0], atol=1e-5)


def test_accumulated_batches_make_one_update_of_their_mean():
    config = Optimiser(accumulate=2, weight_decay=0.0, momentum=0.0, backbone_factor=1.0)
    updates = Updates(config, WHOLE, 20, 1)
    state = updates.init(PARAMS)
    same, state = updates.apply(PARAMS, jax.tree.map(lambda x: jnp.full_like(x, 1.0), PARAMS), state)
    jax.tree.map(np.testing.assert_array_equal, same, PARAMS)
    after, _ = updates.apply(same, jax.tree.map(lambda x: jnp.full_like(x, 2.0), PARAMS), state)
    np.testing.assert_allclose(PARAMS["head"]["w"] - after["head"]["w"], 1.5e-3, rtol=1e-3)


def test_the_rate_follows_the_batches_and_not_the_updates_that_they_make():
    """Two batches an update, four an epoch: two updates have the first epoch's rate, the next the second's."""
    config = Optimiser(accumulate=2, weight_decay=0.0, momentum=0.0)
    updates = Updates(config, Stage("whole", 0, ()), 20, 4)
    params = {"head": jnp.zeros(1)}
    state, seen = updates.init(params), []
    for _ in range(6):
        params, state = updates.apply(params, {"head": jnp.ones(1)}, state)
        seen.append(-float(params["head"][0]))
    first, second = 1e-3, 1.37973e-3
    np.testing.assert_allclose(seen, [0, first, first, 2 * first, 2 * first, 2 * first + second], rtol=1e-5)


def test_the_rate_of_a_later_stage_goes_on_where_the_first_one_ended():
    late = Updates(Optimiser(momentum=0.0, weight_decay=0.0), Stage("whole", 10, ()), 20, 1)
    head = {"head": PARAMS["head"]}
    after, _ = late.apply(head, jax.tree.map(jnp.ones_like, head), late.init(head))
    np.testing.assert_allclose(head["head"]["w"] - after["head"]["w"], 9.65349e-4, rtol=1e-3)


def test_a_frozen_stage_trains_no_part_of_the_backbone_and_the_next_one_some():
    frozen, whole = stages(Optimiser(), 20, 100)
    assert (frozen.first_step, whole.first_step) == (0, 1000)
    assert set(trained(PARAMS, frozen)) == {"head"}
    assert set(trained(PARAMS, whole)["backbone"]) == {"layer2"}
    assert stages(Optimiser(frozen_epochs=0), 20, 100) == (Stage("whole", 0, ("layer2", "layer3", "layer4")),)


def test_merged_parameters_keep_what_was_not_trained():
    changed = merge(PARAMS, {"head": {"w": jnp.zeros(2)}, "backbone": {"layer2": jnp.zeros(2)}})
    assert float(changed["backbone"]["layer1"][0]) == 1
    assert float(changed["backbone"]["layer2"][0]) == float(changed["head"]["w"][0]) == 0


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"momentum": 1.0}, {"accumulate": 0}, {"clip": -1.0}])
def test_numbers_that_no_optimiser_can_have_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Optimiser(**wrong)


def test_the_rate_may_fall_long_before_the_end():
    config = Optimiser(schedule="step", warmup_epochs=0, rate=1.0, last_rate=0.1, last_epochs=3)
    assert epoch_rates(config, 5) == [1, 1, 0.1, 0.1, 0.1]
    assert epoch_rates(config, 2) == [0.1, 0.1]


def test_gradients_may_be_as_long_as_they_are():
    params = {"backbone": {}, "head": jnp.zeros(2)}
    gradient = {"head": jnp.asarray([30.0, 40.0])}
    chosen = trained(params, Stage("whole", 0, ()))
    for clip, expected in ((0.0, [-30.0, -40.0]), (5.0, [-3.0, -4.0])):
        plain = {"schedule": "step", "rate": 1.0, "last_rate": 1.0, "warmup_epochs": 0}
        config = Optimiser(clip=clip, momentum=0.0, weight_decay=0.0, **plain)
        updates = Updates(config, Stage("whole", 0, ()), 2, 10)
        found, _ = updates.apply(chosen, gradient, updates.init(chosen))
        np.testing.assert_allclose(found["head"], expected, rtol=1e-6)
