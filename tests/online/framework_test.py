"""MDNet's framework on a network of a few numbers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_framework import (
    ABSENT,
    BOX,
    FIXED,
    HEAD,
    MODEL,
    OTHER,
    PAPER,
    PRESENT,
    SMALL,
    begin,
    features,
    follow,
    go_on,
    loss,
    overlaps,
    same,
    score,
)

from jaxtrack import UserError
from jaxtrack.online import frame_memory, framework, sample_boxes, samplers
from jaxtrack.online.framework import Memory, Regression, Sampling, Search

# --- learning ------------------------------------------------------------------------------------------------------


@jax.jit
def loss_of(head, key):
    """The loss on boxes of the first frame that were not trained on."""
    size, target = PRESENT.size, jnp.asarray(BOX)
    near, _ = sample_boxes.positives(PAPER, key, target, size, 50)
    far, _ = sample_boxes.negatives(PAPER, key, target, size)
    samples = framework.samples_at(MODEL, FIXED, PRESENT, jnp.concatenate([near, far]), target)
    return loss(head, samples, jnp.asarray([1] * 50 + [0] * 100), None)


def test_the_first_frame_is_learnt():
    before, after = (float(loss_of(head, jax.random.key(9))) for head in (HEAD, begin().head))
    assert before == pytest.approx(np.log(2))
    assert after < 0.7 * before


def test_updates_come_every_interval_and_where_the_target_is_lost_and_change_nothing_in_between():
    missing = {4, 5, 17}
    states, predictions = follow(missing, 32)
    due = {i for i, prediction in enumerate(predictions, 1) if prediction.diagnostics["iterations"]}
    assert due == missing | {10, 20, 30}
    assert {int(predictions[i - 1].diagnostics["iterations"]) for i in due} == {SMALL.mining.iterations}
    changed = {i for i in range(1, 32) if not same(states[i].head, states[i - 1].head)}
    assert changed == due
    for i, prediction in enumerate(predictions, 1):
        assert bool(prediction.diagnostics["found"]) == (i not in missing)
        assert (float(prediction.diagnostics["loss"]) > 0) == (i in due)


def test_momentum_does_not_outlive_the_first_training():
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(begin().velocity))


def poisoned(state, first_of_newer=None):
    """NaN features in all positives but those of frames from `first_of_newer` on."""
    positives = state.positives
    old = positives.newer.frame < first_of_newer
    rows = positives.newer.rows._replace(
        features=jnp.where(old[:, None], jnp.nan, positives.newer.rows.features),
    )
    first = positives.first._replace(features=jnp.full_like(positives.first.features, jnp.nan))
    newer = dataclasses.replace(positives.newer, rows=rows)
    return dataclasses.replace(state, positives=dataclasses.replace(positives, newer=newer, first=first))


def finite(state):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.head))


def test_a_failure_is_answered_with_the_newest_successes_alone_and_a_regular_update_with_all():
    state = follow({3}, 10)[0][-1]  # of frames 1 to 9 without 3 the newest five are 5 to 9
    assert finite(go_on(poisoned(state, 5), ABSENT)[0])
    assert not finite(go_on(poisoned(state, 6), ABSENT)[0])
    assert not finite(go_on(poisoned(state, 5), PRESENT)[0])  # the tenth


# --- memories ------------------------------------------------------------------------------------------------------


def test_memories_hold_the_newest_successes_after_150_frames():
    missing = {i for i in range(150) if i % 5 == 3 or 40 <= i < 50 or i == 149}
    states, _ = follow(missing, 150)
    successes = [i for i in range(1, 150) if i not in missing]
    state = states[-1]
    for memory, frames, block, limit in (
        (state.positives, 12, 4, (0.7, 1.0)),
        (state.negatives, 4, 6, (0.0, 0.3)),
    ):
        pool = frame_memory.pool(memory)
        rows = frame_memory.take(pool, jnp.flatnonzero(pool.valid))
        newer = np.asarray(pool.valid)[-len(memory.newer.frame) :]
        np.testing.assert_array_equal(
            np.sort(np.asarray(memory.newer.frame)[newer]), np.repeat(successes[-frames:], block)
        )
        assert len(rows.overlap) == frames * block  # none of the first frame's
        assert limit[0] - 1e-6 <= rows.overlap.min()
        assert rows.overlap.max() <= limit[1] + 1e-6
        # Each sample's features are those of its own box, which its location tells, and its overlap is with its
        # own frame's result.
        boxes = rows.location * 100
        np.testing.assert_allclose(rows.features, features(FIXED, PRESENT, boxes), atol=2e-3)
        frames_of = np.asarray(memory.newer.frame)[newer]
        for number in np.unique(frames_of):
            of = overlaps(boxes[frames_of == number], np.asarray(states[number].box))
            np.testing.assert_allclose(of, rows.overlap[frames_of == number], atol=1e-3)


def test_the_first_frame_counts_until_enough_newer_ones_are_there():
    states, _ = follow({2}, 15)
    counts = [int(frame_memory.pool(state.positives).valid[:10].sum()) for state in states]
    assert counts == [10] * 13 + [0] * 2  # frames 1 and 3 to 13 are twelve


def test_the_first_frames_negatives_may_overlap_the_target_more_than_later_ones():
    found = []
    for seed in range(12):
        memory = begin(seed=seed).negatives
        valid = np.asarray(frame_memory.pool(memory).valid)
        assert valid.sum() == 6
        assert (np.asarray(memory.newer.frame)[valid] == 0).all()
        found.append(np.asarray(memory.newer.rows.overlap)[valid])
    assert 0.3 < np.max(found) <= 0.5


def test_half_of_the_memory_is_enough():
    whole, halved = begin(), begin(OTHER)
    bits = [memory.newer.rows.features for memory in (halved.positives, halved.negatives)]
    assert {leaf.dtype.itemsize for leaf in (*bits, halved.positives.first.features)} == {2}
    rows = [
        np.asarray(frame_memory.take(frame_memory.pool(state.positives), jnp.arange(10)).features, np.float32)
        for state in (whole, halved)
    ]
    np.testing.assert_allclose(rows[1], rows[0], rtol=2**-8)
    assert not np.array_equal(*rows)
    assert finite(follow({1}, 3, OTHER)[0][-1])


# --- search and result ---------------------------------------------------------------------------------------------


def test_the_search_widens_while_the_target_is_lost_and_starts_anew_when_it_is_found():
    states, _ = follow(set(range(2, 14)), 16)
    widths = [0.6 * 1.1**k for k in range(13)]
    expected = [0.6, *(min(1.5, width) for width in widths), 0.6, 0.6]
    np.testing.assert_allclose([float(state.translation) for state in states], expected, rtol=1e-5)


def test_candidates_lie_as_far_as_the_translation_says():
    def shifts(translation):
        state = dataclasses.replace(begin(), translation=jnp.float32(translation))
        found = [go_on(dataclasses.replace(state, key=jax.random.key(i)), PRESENT)[0].box for i in range(20)]
        return np.abs(np.stack(found)[:, :2] + np.stack(found)[:, 2:] / 2 - [65, 52])

    # The mean side is 27; the mean of the best three stays within, too.
    assert shifts(0.01).max() <= 0.01 * 27 + 1e-3
    assert shifts(1.0).max() > 2


def moved_by(state, bias):
    """The state with a box regression that always says the same."""
    regressor = state.regressor._replace(weights=jnp.zeros_like(state.regressor.weights), bias=jnp.asarray(bias))
    return dataclasses.replace(state, regressor=regressor)


def test_the_shown_box_is_regressed_and_the_one_that_is_carried_on_is_not():
    state, prediction = go_on(moved_by(begin(), [0.1, -0.2, 0.0, np.log(1.5)]), PRESENT)
    x, y, w, h = np.asarray(state.box)
    expected = [x + 0.1 * w, y + h / 2 - 0.2 * h - 1.5 * h / 2, w, 1.5 * h]
    np.testing.assert_allclose(prediction.box, expected, atol=1e-3)


def test_the_shown_box_is_not_regressed_where_the_target_is_lost():
    state, prediction = go_on(moved_by(begin(), [0.1, -0.2, 0.0, 0.3]), ABSENT)
    np.testing.assert_array_equal(prediction.box, state.box)
    assert not np.array_equal(state.box, BOX)  # it goes where the best candidates are


def test_only_py_mdnets_box_regression_keeps_boxes_in_the_image():
    for config, inside in ((SMALL, False), (OTHER, True)):
        x, _, w, _ = np.asarray(go_on(moved_by(begin(config), [0.0, 0.0, np.log(20.0), 0.0]), PRESENT, config)[1].box)
        assert (x >= 0 and x + w <= 2 * 140) == inside
        assert (w > 140) != inside


def test_the_result_is_the_mean_of_the_best_and_so_is_its_score():
    state = begin()
    keys = jax.random.split(jax.random.fold_in(state.key, 1), 3)
    boxes = samplers.gaussian(keys[0], state.box, PRESENT.size, 24, 0.6, 1.05)
    samples = framework.samples_at(MODEL, FIXED, PRESENT, boxes, state.box)
    scores = np.asarray(score(state.head, samples))
    best = np.argsort(-scores)[:3]
    after, prediction = go_on(state, PRESENT)
    np.testing.assert_allclose(after.box, np.asarray(boxes)[best].mean(axis=0), atol=1e-3)
    assert float(prediction.score) == pytest.approx(scores[best].mean(), abs=2e-5)
    assert np.ptp(scores[best]) > 1e-3


# --- programs ------------------------------------------------------------------------------------------------------


def lanes(states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


@functools.cache
def many():
    return jax.jit(jax.vmap(lambda state, image: framework.step(SMALL, MODEL, FIXED, state, image)))


def test_lanes_side_by_side_do_as_each_alone_and_learn_only_where_it_is_due():
    alone = [begin(seed=seed) for seed in range(3)]
    shown = [PRESENT, ABSENT, PRESENT]
    together, prediction = many()(lanes(alone), jax.tree.map(lambda *leaves: jnp.stack(leaves), *shown))
    np.testing.assert_array_equal(prediction.diagnostics["iterations"], [0, 2, 0])
    for i, (before, image) in enumerate(zip(alone, shown, strict=True)):
        after, single = go_on(before, image)
        np.testing.assert_allclose(prediction.box[i], single.box, atol=1e-3)
        for leaf, expected in zip(jax.tree.leaves(together.head), jax.tree.leaves(after.head), strict=True):
            np.testing.assert_allclose(leaf[i], expected, atol=1e-5)
        assert same(jax.tree.map(lambda leaf, i=i: leaf[i], together.head), before.head) == (image is PRESENT)


def equations(jaxpr, in_loop=False):
    """Every equation of a program, and whether it stands in a loop."""
    for equation in jaxpr.eqns:
        yield equation, in_loop
        inside = in_loop or equation.primitive.name == "while"
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner, inside)


def test_what_is_not_due_is_a_loop_of_no_turns_also_side_by_side_and_memories_are_not_carried_through_it():
    arguments = lanes([begin()] * 2), jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), PRESENT)
    program = jax.make_jaxpr(jax.vmap(lambda s, f: framework.step(SMALL, MODEL, FIXED, s, f)))(*arguments)
    found = list(equations(program.jaxpr))
    assert not [e for e, _ in found if e.primitive.name == "cond"]
    # Only candidates are looked at outside of loops: neither samples of the frame nor batches of memories.
    sides = {e.outvars[0].aval.shape for e, inside in found if e.primitive.name == "dot_general" and not inside}
    assert sides
    assert all(SMALL.search.candidates in shape or SMALL.search.best in shape for shape in sides), sides
    assert [e for e, inside in found if e.primitive.name == "dot_general" and inside]
    loops = [e for e, _ in found if e.primitive.name == "while"]
    carried = {v.aval.shape for e in loops for v in e.outvars}
    memories = [arguments[0].positives.newer.rows, arguments[0].negatives.newer.rows]
    assert not carried & {leaf.shape for leaf in jax.tree.leaves(memories)}


def test_a_run_is_a_function_of_its_key():
    one, other = (follow({2}, 4)[0][-1] for _ in range(2))
    for name in ("box", "head", "regressor", "positives", "negatives"):
        assert same(getattr(one, name), getattr(other, name))
    assert not same(begin(seed=1).head, begin(seed=2).head)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Search(candidates=4, best=5), "5 candidates cannot be the best of 4"),
        (lambda: Search(translation=0.0), "translation of Search must be greater than 0"),
        (lambda: Sampling(positives=0), "positives of Sampling must be greater than 0"),
        (lambda: Memory(interval=0), "interval of Memory"),
        (lambda: Regression(penalty=-1.0), "penalty of Regression"),
        (lambda: Regression(reference="caffe"), "reference of Regression must be one of matlab, pytorch, not 'caffe'"),
        (lambda: Regression(constant="fre"), "constant of Regression must be one of free, penalised, not 'fre'"),
        (lambda: Regression(overlap=1.5), "overlap of Regression must be from 0 to 1, not 1.5"),
        (lambda: Sampling(positive_overlap=1.5), "positive_overlap of Sampling must be from 0 to 1, not 1.5"),
        (lambda: Sampling(first_negative_overlap=2.0), "first_negative_overlap of Sampling must be from 0 to 1, not 2"),
        (lambda: Sampling(negative_overlap=-1.0), "negative_overlap of Sampling must be from 0 to 1, not -1"),
        (lambda: Sampling(positive_scale=0.0), "positive_scale of Sampling must be greater than 0, not 0"),
        (lambda: Sampling(first_negative_scale=0.0), "first_negative_scale of Sampling must be greater than 0, not 0"),
        (lambda: Sampling(negative_scale=-1.0), "negative_scale of Sampling must be greater than 0, not -1"),
    ],
)
def test_a_configuration_that_cannot_run_is_refused_in_a_sentence(change, message):
    with pytest.raises(UserError, match=message):
        change()
