"""MDNet's framework on a network of a few numbers, in frames that say themselves whether the target is found."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import UserError, images
from jaxtrack.images import Frame
from jaxtrack.online import frame_memory, framework, ridge, samplers
from jaxtrack.online.framework import Framework, Memory, Model, Regression, Sampling, Search
from jaxtrack.online.mining import Mining
from jaxtrack.online.samplers import Limits

SIZE = (100, 140)  # height, width
BOX = np.array([50.0, 40.0, 30.0, 24.0], np.float32)
SMALL = Framework(
    search=Search(candidates=24, best=3),
    sampling=Sampling(first_positives=10, first_negatives=40, positives=4, negatives=6),
    mining=Mining(positives=6, negatives=6, candidates=12, first_iterations=40, first_rate=1e-2, iterations=2),
    memory=Memory(positive_frames=12, negative_frames=4, short_frames=5, interval=10),
    regression=Regression(samples=20),
)
OTHER = dataclasses.replace(
    SMALL,
    memory=dataclasses.replace(SMALL.memory, half=True),
    regression=Regression(samples=20, reference="pytorch", constant="free"),
)
# What the score is beyond what is learnt, in a frame with the target and in one without.
CERTAIN = 32.0


def features(fixed, frame, boxes):
    """Mean colours of 2 x 2 parts of each box, mixed; and last whether the frame lacks the target."""
    crop = jax.vmap(lambda box: images.crop(frame.pixels, frame.size, box, (2, 2)))(boxes)
    seen = (crop.reshape(len(boxes), -1) / 128 - 1) @ fixed
    absent = jnp.broadcast_to(frame.pixels[:1, :1, 0].astype(jnp.float32) / 255, (len(boxes), 1))
    return jnp.concatenate([seen, absent], axis=1)


def logit(head, samples):
    seen = samples.features[:, :-1].astype(jnp.float32)
    return seen @ head["fc6"]["kernel"] + head["fc6"]["bias"]


def loss(head, samples, labels, key):
    del key
    sign = (1 - 2 * labels).astype(jnp.float32)
    return jnp.mean(jax.nn.softplus(sign * logit(head, samples)))


def score(head, samples):
    absent = samples.features[:, -1].astype(jnp.float32)
    return logit(head, samples) + CERTAIN * (1 - 2 * absent)


MODEL = Model(features, score, loss, flat=lambda x: x, location=lambda boxes, size: boxes / 100)
FIXED = jnp.asarray(np.random.default_rng(5).normal(size=(12, 8)).astype(np.float32))
HEAD = {"fc6": {"kernel": jnp.zeros((8,)), "bias": jnp.zeros(())}}


def frame(present=True):
    """A bright rectangle in noise, brightest in its last corner; pixel (0, 0) says whether the target is there."""
    image = np.random.default_rng(1).integers(0, 120, (*SIZE, 3), np.uint8)
    image[40:64, 50:80] = np.add.outer(np.arange(24), np.arange(30))[..., None] * 3 // 2 + 170
    image[0, 0, 0] = 0 if present else 255
    return Frame(jnp.asarray(image), jnp.asarray(SIZE, jnp.int32), jnp.asarray(False))


PRESENT, ABSENT = frame(), frame(present=False)


@functools.cache
def functions(config):
    init = jax.jit(lambda fixed, image, key: framework.init(config, MODEL, fixed, HEAD, image, BOX, key))
    step = jax.jit(lambda fixed, state, image: framework.step(config, MODEL, fixed, state, image))
    return init, step


def begin(config=SMALL, seed=0):
    return functions(config)[0](FIXED, PRESENT, jax.random.key(seed))


def go_on(state, image, config=SMALL):
    return functions(config)[1](FIXED, state, image)


def follow(missing, frames, config=SMALL, state=None):
    """The states after each frame, and the predictions."""
    states, predictions = [begin(config) if state is None else state], []
    for i in range(1, frames):
        state, prediction = go_on(states[-1], ABSENT if i in missing else PRESENT, config)
        states.append(state)
        predictions.append(prediction)
    return states, predictions


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def overlaps(boxes, target):
    """IoU of each box with the target, in plain Python."""
    found = []
    for x, y, w, h in np.asarray(boxes, np.float64).tolist():
        width = max(0.0, min(x + w, target[0] + target[2]) - max(x, target[0]))
        height = max(0.0, min(y + h, target[1] + target[3]) - max(y, target[1]))
        shared = width * height
        found.append(shared / (w * h + target[2] * target[3] - shared))
    return np.array(found)


# --- which boxes ---------------------------------------------------------------------------------------------------

PAPER = Sampling(first_positives=200, first_negatives=400, positives=50, negatives=100)


def drawn(which, config=PAPER, target=BOX):
    ways = {
        "positives": lambda key: framework.positive_boxes(config, key, target, size, config.positives),
        "negatives": lambda key: framework.negative_boxes(config, key, target, size),
        "first negatives": lambda key: framework.first_negative_boxes(config, key, target, size),
        "first near negatives": lambda key: framework.negative_boxes(config, key, target, size, overlap=0.5),
    }
    target, size = jnp.asarray(target), jnp.asarray(SIZE, jnp.int32)
    boxes, valid = jax.jit(ways[which])(jax.random.key(3))
    return np.asarray(boxes), np.asarray(valid)


@pytest.mark.parametrize(
    ("which", "count", "low", "high"),
    [
        ("positives", 50, 0.7, 1.0),
        ("negatives", 100, 0.0, 0.3),
        ("first negatives", 400, 0.0, 0.5),
        ("first near negatives", 100, 0.0, 0.5),
    ],
)
@pytest.mark.parametrize("target", [BOX, np.array([127.0, 1.0, 11.0, 12.0], np.float32)], ids=["large", "small"])
def test_samples_overlap_the_target_as_much_as_they_may_and_obey_the_limits(which, count, low, high, target):
    boxes, valid = drawn(which, target=target)
    assert boxes.shape == (count, 4)
    assert valid.all()
    overlap = overlaps(boxes, target)
    assert overlap.min() >= low - 1e-6
    assert overlap.max() <= high + 1e-6
    assert overlap.max() > high - 0.1
    assert (boxes[:, 2:] >= 10 - 1e-4).all()
    assert (boxes[:, 2:] <= np.array([130, 90]) + 1e-4).all()
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    assert (centre >= -1e-4).all()
    assert (centre <= np.array([140, 100]) + 1e-4).all()


def test_the_first_negatives_are_near_and_all_over_the_image():
    boxes, _ = drawn("first negatives")
    sizes = boxes[:, 2] * boxes[:, 3]
    assert 0.2 < np.isclose(sizes, 30 * 24, rtol=1e-4).mean() < 0.8  # `whole` keeps the size
    resized = boxes[~np.isclose(sizes, 30 * 24, rtol=1e-4)]
    assert (np.abs(resized[:, :2] + resized[:, 2:] / 2 - [65, 52]) <= 27 + 1e-3).all()  # the mean side
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    assert (centre.min(axis=0) < [25, 20]).all()
    assert (centre.max(axis=0) > [125, 90]).all()


def test_boxes_that_there_are_none_of_do_not_count_and_are_the_target():
    config = dataclasses.replace(PAPER, limits=Limits(keep="box"), negative_overlap=0.01)
    everything = np.array([0.0, 0.0, 140.0, 100.0], np.float32)
    boxes, valid = drawn("negatives", config, everything)
    assert not valid.all()
    np.testing.assert_array_equal(boxes[~valid], np.tile(everything, (int((~valid).sum()), 1)))


@pytest.mark.parametrize(("reference", "areas"), [("matlab", (0.5, 3.0)), ("pytorch", (1.0, 2.0))])
def test_box_regression_learns_from_its_references_samples(reference, areas, monkeypatch):
    monkeypatch.setattr(ridge, "fit", lambda features, boxes, target, valid, **_: (boxes, valid))
    config = dataclasses.replace(SMALL, regression=Regression(samples=50, reference=reference))
    learn = jax.jit(lambda key: framework._learn_regression(config, MODEL, FIXED, PRESENT, jnp.asarray(BOX), key))
    boxes, valid = map(np.asarray, learn(jax.random.key(0)))
    assert valid.all()
    assert overlaps(boxes, BOX).min() >= 0.6 - 1e-6
    ratio = boxes[:, 2] * boxes[:, 3] / (BOX[2] * BOX[3])
    assert areas[0] - 1e-4 <= ratio.min()
    assert ratio.max() <= areas[1] + 1e-4
    # The Matlab code's mostly grow, and their sides do by factors of their own.
    assert np.std(boxes[:, 2] / boxes[:, 3]) > 0.01


# --- learning ------------------------------------------------------------------------------------------------------


@jax.jit
def loss_of(head, key):
    """The loss on boxes of the first frame that were not trained on."""
    size, target = PRESENT.size, jnp.asarray(BOX)
    near, _ = framework.positive_boxes(PAPER, key, target, size, 50)
    far, _ = framework.negative_boxes(PAPER, key, target, size)
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
        (lambda: Regression(reference="caffe"), "reference of Regression must be 'matlab' or 'pytorch'"),
    ],
)
def test_a_configuration_that_cannot_run_is_refused_in_a_sentence(change, message):
    with pytest.raises(UserError, match=message):
        change()
