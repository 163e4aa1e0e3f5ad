import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxtrack import UserError
from jaxtrack.online import frame_memory, mining
from jaxtrack.online.frame_memory import Samples
from jaxtrack.online.mining import PY_MDNET, Mining

stream = jax.jit(mining.stream, static_argnames="count")


# --- streams -------------------------------------------------------------------------------------------------------


def read(valid, total, count, seed=0):
    """The first `total` entries of a stream, read in calls of `count`."""
    calls = [stream(jax.random.key(seed), jnp.asarray(valid), start, count) for start in range(0, total, count)]
    return np.concatenate(calls)[:total]


@pytest.mark.parametrize("rows", [[3], [0, 7], [1, 2, 5], [0, 1, 2, 4, 5, 6, 8], list(range(9))])
def test_a_stream_is_one_permutation_of_the_valid_rows_after_another(rows):
    valid = np.isin(np.arange(9), rows)
    entries = read(valid, 6 * len(rows), count=4)
    for permutation in entries.reshape(6, len(rows)):
        assert sorted(permutation.tolist()) == rows


def test_the_permutations_of_a_stream_differ():
    entries = read(np.ones(9, bool), 9 * 8, count=6).reshape(8, 9)
    assert len({tuple(permutation) for permutation in entries.tolist()}) == 8


def test_calls_of_any_size_read_one_and_the_same_stream():
    valid = np.arange(40) % 3 > 0  # 26 rows
    long = read(valid, 100, count=20)
    np.testing.assert_array_equal(long, read(valid, 100, count=25))
    np.testing.assert_array_equal(long[33:50], stream(jax.random.key(0), valid, 33, 17))


def test_every_row_is_equally_likely_at_every_place():
    valid = jnp.asarray([True, False, True, True, True])
    keys = jax.random.split(jax.random.key(0), 2000)
    entries = np.asarray(jax.vmap(lambda key: mining.stream(key, valid, 2, 3))(keys))  # of two permutations
    for place in entries.T:
        counts = np.bincount(place, minlength=5)
        assert counts[1] == 0
        assert stats.chisquare(counts[[0, 2, 3, 4]]).pvalue > 1e-3


def test_without_a_valid_row_some_row_is_named():
    entries = np.asarray(stream(jax.random.key(0), np.zeros(5, bool), 7, 3))
    assert ((entries >= 0) & (entries < 5)).all()


def test_the_hardest_are_those_of_the_highest_scores():
    assert mining.hardest(jnp.asarray([0.5, -1.0, 3.0, 2.0]), 3).tolist() == [2, 3, 0]


# --- the loop against one written by hand --------------------------------------------------------------------------

# Every batch holds the same positive twice, and the hardest two of all six negatives: whatever the random order.
SMALL = Mining(positives=2, negatives=2, candidates=6, first_iterations=4, rate=0.05, weight_decay=0.01)
RNG = np.random.default_rng(0)
POSITIVE, NEGATIVES = RNG.normal(1, 1, (1, 4)).astype(np.float32), RNG.normal(-0.2, 1, (6, 4)).astype(np.float32)


def pool(features, overlap=0.0, valid=None):
    features = jnp.asarray(features, jnp.float32)
    rows = Samples(features, jnp.full((len(features),), overlap, jnp.float32), jnp.zeros((len(features), 4)))
    return frame_memory.pool_of(rows, jnp.ones((len(features),), bool) if valid is None else jnp.asarray(valid))


def two_layers(scale=0.5):
    rng = np.random.default_rng(1)
    sizes = {"fc5": (4, 3), "fc6": (3, 2)}
    return {
        name: {
            "kernel": (scale * rng.normal(size=size)).astype(np.float32),
            "bias": (scale * rng.normal(size=size[1])).astype(np.float32),
        }
        for name, size in sizes.items()
    }


def outputs(params, rows):
    hidden = rows.features.astype(jnp.float32) @ params["fc5"]["kernel"] + params["fc5"]["bias"][None]
    return hidden @ params["fc6"]["kernel"] + params["fc6"]["bias"][None]


def target_score(params, rows):
    return outputs(params, rows)[:, 1]


def cross_entropy(params, rows, labels, key):
    del key
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs(params, rows)), labels[:, None], axis=1))


def by_hand(params, velocity, iterations, config):
    """The loop in plain numpy, with gradients written out; returns parameters, velocity and the mean loss."""
    params, velocity = (jax.tree.map(lambda a: np.array(a, np.float64), tree) for tree in (params, velocity))
    if not config.persistent:
        velocity = jax.tree.map(np.zeros_like, velocity)
    losses = []
    for _ in range(iterations):
        scores = [
            float(((x @ params["fc5"]["kernel"] + params["fc5"]["bias"]) @ params["fc6"]["kernel"])[1])
            for x in NEGATIVES.astype(np.float64)
        ]
        hard = sorted(range(6), key=lambda n: -scores[n])[:2]
        batch = np.concatenate([POSITIVE, POSITIVE, NEGATIVES[hard]]).astype(np.float64)
        hidden = batch @ params["fc5"]["kernel"] + params["fc5"]["bias"]
        outputs = hidden @ params["fc6"]["kernel"] + params["fc6"]["bias"]
        share = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        wanted = np.array([[0, 1], [0, 1], [1, 0], [1, 0]])
        losses.append(-np.log((share * wanted).sum(axis=1)).mean())
        error = (share - wanted) / 4
        back = error @ params["fc6"]["kernel"].T
        gradients = {
            "fc5": {"kernel": batch.T @ back, "bias": back.sum(axis=0)},
            "fc6": {"kernel": hidden.T @ error, "bias": error.sum(axis=0)},
        }
        norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradients)))
        shorter = 1 if config.clip_norm is None else min(1, config.clip_norm / norm)
        for layer, factor in (("fc5", 1), ("fc6", config.fast_factor)):
            for name, rate, decay in (("kernel", 1, True), ("bias", config.bias_factor, config.bias_decay)):
                v = config.momentum * velocity[layer][name] + shorter * gradients[layer][name]
                v = v + (config.weight_decay * params[layer][name] if decay else 0)
                velocity[layer][name] = v
                params[layer][name] = params[layer][name] - config.rate * factor * rate * v
    return params, velocity, np.mean(losses or [0.0])


@functools.partial(jax.jit, static_argnames=("config", "score", "loss"))
def train(params, velocity, positives, negatives, iterations, config, score=target_score, loss=cross_entropy):
    key, rate = jax.random.key(0), config.rate
    return mining.train(
        key, params, velocity, positives, negatives, iterations, config, score=score, loss=loss, rate=rate
    )


MATLAB = SMALL
PYTORCH = dataclasses.replace(SMALL, bias_factor=1.0, bias_decay=True, persistent=True, clip_norm=0.3)


@pytest.mark.parametrize(
    "config",
    [
        MATLAB,
        PYTORCH,
        dataclasses.replace(PYTORCH, clip_norm=100.0),  # never that long
        dataclasses.replace(SMALL, fast_factor=1.0, clip_norm=0.3),
    ],
)
def test_training_is_that_of_a_plain_loop(config):
    params, velocity = two_layers(), jax.tree.map(lambda a: 0.1 * a, two_layers())
    found = train(params, velocity, pool(np.repeat(POSITIVE, 3, axis=0)), pool(NEGATIVES), 4, config)
    expected = by_hand(params, velocity, 4, config)
    for a, b in zip(jax.tree.leaves(found[:2]), jax.tree.leaves(expected[:2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert float(found[2].loss) == pytest.approx(expected[2], rel=1e-4)
    assert int(found[2].iterations) == 4


def test_the_first_frame_and_later_ones_have_the_numbers_of_the_specification():
    paper, released = Mining(), PY_MDNET
    for config in (paper, released):
        assert (config.positives, config.negatives, config.candidates) == (32, 96, 1024)
        assert (config.momentum, config.weight_decay, config.fast_factor) == (0.9, 5e-4, 10)
    assert (paper.first_iterations, paper.first_rate, paper.iterations, paper.rate) == (30, 1e-4, 10, 3e-4)
    assert (released.first_iterations, released.first_rate, released.iterations, released.rate) == (50, 5e-4, 15, 1e-3)
    assert (paper.bias_factor, paper.bias_decay, paper.clip_norm, paper.persistent) == (2, False, None, False)
    assert (released.bias_factor, released.bias_decay, released.clip_norm, released.persistent) == (1, True, 10, True)


# --- what the network and the loss are given -----------------------------------------------------------------------


def test_every_batch_has_a_dropout_of_its_own():
    def noisy(params, rows, labels, key):
        del rows, labels
        return params["kernel"] * jax.random.normal(key, ())

    config = dataclasses.replace(SMALL, momentum=0.0, weight_decay=0.0)
    start = {"kernel": jnp.ones(())}

    def flat(params, rows):
        return params["kernel"] * rows.overlap

    steps = [train(start, start, pool(POSITIVE), pool(NEGATIVES), n, config, flat, noisy)[0] for n in range(3)]
    moved = np.diff([float(step["kernel"]) for step in steps])
    assert (np.abs(moved) > 1e-4).all()
    assert moved[0] != pytest.approx(moved[1], rel=1e-2)


def test_the_loss_is_told_which_samples_are_positive():
    def overlap_of_positives(params, rows, labels, key):
        del key
        used = 0 * jnp.sum(params["fc6"]["bias"])
        overlap = jnp.where(labels == 1, rows.overlap, 10 * rows.overlap)
        return used + jnp.sum(overlap)

    pools = pool(np.repeat(POSITIVE, 3, axis=0), 0.75), pool(NEGATIVES, 0.125)
    report = train(two_layers(), two_layers(), *pools, 2, SMALL, loss=overlap_of_positives)[2]
    assert float(report.loss) == pytest.approx(2 * 0.75 + 10 * 2 * 0.125)


def test_all_negatives_are_looked_at_before_any_is_again():
    # Four candidates of twelve an iteration: the hardest one is among those of one of the first three iterations.
    values = np.zeros((12, 4), np.float32)
    values[7, 0] = 5
    config = dataclasses.replace(SMALL, negatives=1, candidates=4)

    def largest(params, rows):
        return rows.features[:, 0] + 0 * params["fc6"]["bias"][0]

    def seen(params, rows, labels, key):
        del key
        return 0 * params["fc6"]["bias"][0] + jnp.sum(jnp.where(labels == 0, rows.features[:, 0], 0.0))

    for iterations in (3, 6, 9):
        report = train(two_layers(), two_layers(), pool(POSITIVE), pool(values), iterations, config, largest, seen)[2]
        assert float(report.loss) == pytest.approx(5 / 3)


def test_rows_that_are_not_valid_teach_nothing():
    positives = pool(np.concatenate([np.full((3, 4), np.nan), POSITIVE]), valid=[False] * 3 + [True])
    negatives = pool(np.concatenate([NEGATIVES, np.full((2, 4), 9.0)]), valid=[True] * 6 + [False] * 2)
    found = train(two_layers(), two_layers(), positives, negatives, 3, SMALL)[0]
    expected = by_hand(two_layers(), two_layers(), 3, SMALL)[0]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- what is not due -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iterations", "positives", "negatives"),
    [(0, True, True), (3, False, True), (3, True, False)],
    ids=["none is due", "no positive", "no negative"],
)
def test_nothing_changes_without_an_iteration_or_without_samples(iterations, positives, negatives):
    params, velocity = two_layers(), two_layers(0.1)
    pools = (pool(POSITIVE, valid=[positives]), pool(NEGATIVES, valid=[negatives] * 6))
    new, speed, report = train(params, velocity, *pools, iterations, PYTORCH)
    for a, b in zip(jax.tree.leaves((new, speed)), jax.tree.leaves((params, velocity)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (float(report.loss), int(report.iterations)) == (0, 0)


def test_updates_that_are_not_due_compute_nothing_also_side_by_side():
    calls = []

    def counted(params, rows, labels, key):
        jax.debug.callback(lambda: calls.append(1))
        return cross_entropy(params, rows, labels, key)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def lanes(iterations, params):
        return train(params, params, pool(POSITIVE), pool(NEGATIVES), iterations, SMALL, loss=counted)[0]

    jax.block_until_ready(lanes(jnp.asarray([0, 0, 0], jnp.int32), two_layers()))
    jax.effects_barrier()
    assert not calls
    found = jax.block_until_ready(lanes(jnp.asarray([0, 2, 0], jnp.int32), two_layers()))
    jax.effects_barrier()
    assert calls
    for lane, iterations in enumerate([0, 2, 0]):
        expected = by_hand(two_layers(), two_layers(), iterations, SMALL)[0]
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a[lane], b, rtol=1e-4, atol=1e-5)


def test_the_memories_are_never_copied_nor_converted_as_a_whole():
    rows, width = 5000, 1000
    like = jax.eval_shape(lambda: pool(jnp.zeros((rows, width))))
    half = jax.eval_shape(lambda: frame_memory.pool_of(jnp.zeros((rows, width), jnp.bfloat16), jnp.ones((rows,), bool)))
    part = like.parts[0]._replace(features=half.parts[0])
    params = {
        "fc5": {"kernel": jnp.zeros((width, 3)), "bias": jnp.zeros((3,))},
        "fc6": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros((2,))},
    }

    pools = (like._replace(parts=(part,)),) * 2
    iterations = jax.ShapeDtypeStruct((), jnp.int32)
    compiled = train.lower(params, params, *pools, iterations, config=SMALL).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < rows * width * 2 / 10


def test_numbers_that_nothing_can_be_learnt_with_are_refused():
    with pytest.raises(UserError, match="96 negatives cannot be the hardest of 50 candidates"):
        Mining(candidates=50)
    with pytest.raises(UserError, match="rate of Mining must be greater than 0, not 0"):
        Mining(rate=0.0)
    with pytest.raises(UserError, match="momentum of Mining must be less than 1, not 1"):
        Mining(momentum=1.0)
    with pytest.raises(UserError, match="clip_norm of Mining must be greater than 0, not 0"):
        Mining(clip_norm=0.0)
