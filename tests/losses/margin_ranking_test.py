import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradients

from jaxtrack.losses import margin_ranking as losses
from jaxtrack.losses.reduction import mean

PAIRS = ("all", "adjacent", "disjoint", "cross")


def compiled(loss):
    names = [p.name for p in inspect.signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return jax.jit(loss, static_argnames=names)


margin_ranking = compiled(losses.margin_ranking)
rankloc_terms = compiled(losses.rankloc_terms)
rankloc_loss = compiled(losses.rankloc_loss)


def outputs_of(scores):
    """Outputs with these scores of the target, and others of the background that must not matter."""
    scores = np.asarray(scores, np.float32)
    return np.stack([np.linspace(-1, 1, len(scores), dtype=np.float32), scores], axis=1)


def term(scores, labels, overlaps, **options):
    found = margin_ranking(outputs_of(scores), np.asarray(labels), np.asarray(overlaps, np.float32), **options)
    return float(found.sum), float(found.count)


def random_batch(seed=0, count=14):
    rng = np.random.default_rng(seed)
    labels = rng.permutation([1] * (count // 2) + [0] * (count // 2 - 2) + [-1] * 2)
    overlaps = np.where(labels == 1, rng.uniform(0.7, 1, count), rng.uniform(0, 0.5, count))
    return rng.normal(0, 0.1, (count, 2)), labels, overlaps


def by_hand(outputs, labels, overlaps, pairs, margin, min_gap, probability):
    """Sum and number of pairs in plain Python."""
    positives = [k for k in range(len(labels)) if labels[k] == 1]
    negatives = [k for k in range(len(labels)) if labels[k] == 0]
    if pairs == "all":
        chosen = list(itertools.combinations(positives, 2))
    elif pairs == "adjacent":
        order = sorted(positives, key=lambda k: overlaps[k])
        chosen = list(itertools.pairwise(order))
    elif pairs == "disjoint":
        chosen = list(zip(positives[0::2], positives[1::2], strict=False))
    else:
        chosen = list(zip(positives, negatives, strict=False))
    total, number = 0.0, 0
    for a, b in chosen:
        i, j = (a, b) if overlaps[a] > overlaps[b] else (b, a)
        if overlaps[i] - overlaps[j] < min_gap:
            continue
        f = outputs[:, 1]
        if probability:
            f = np.exp(outputs[:, 1]) / np.exp(outputs).sum(axis=1)
        total, number = total + max(0.0, margin - (f[i] - f[j])), number + 1
    return total, number


def test_the_specifications_example():
    total, count = term((2.0, 1.95, 0.5), (1, 1, 1), (0.9, 0.8, 0.75), margin=0.1)
    assert (total, count) == (pytest.approx(0.05, abs=1e-6), 3)
    assert total / count == pytest.approx(0.016667, abs=1e-6)


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize(("rank_on", "margin"), [("logit", 0.1), ("probability", 0.05)])  # mdnet_family.md, R2
@pytest.mark.parametrize("min_gap", [1e-3, 0.05])
def test_every_choice_of_pairs_is_that_of_a_plain_loop(pairs, rank_on, margin, min_gap):
    outputs, labels, overlaps = random_batch()
    found = margin_ranking(
        outputs.astype(np.float32), labels, overlaps.astype(np.float32), pairs=pairs, min_gap=min_gap, rank_on=rank_on
    )
    expected = by_hand(outputs, labels, overlaps, pairs, margin, min_gap, rank_on == "probability")
    assert float(found.sum) == pytest.approx(expected[0], rel=1e-5)
    assert int(found.count) == expected[1] > 0


@pytest.mark.parametrize("pairs", PAIRS)
def test_an_odd_number_of_positives_leaves_one_without_a_partner_at_most(pairs):
    outputs, labels, overlaps = random_batch(1)
    outputs = np.concatenate([outputs, [[0.3, 0.1]]])
    labels, overlaps = np.append(labels, -1), np.append(overlaps, 0.81)
    assert np.count_nonzero(labels == 1) == 7
    found = margin_ranking(outputs.astype(np.float32), labels, overlaps.astype(np.float32), pairs=pairs)
    expected = by_hand(outputs, labels, overlaps, pairs, 0.1, 1e-3, probability=False)
    assert (float(found.sum), int(found.count)) == (pytest.approx(expected[0], rel=1e-5), expected[1])


def test_all_thirty_two_positives_make_as_many_pairs_as_the_specification_says():
    rng = np.random.default_rng(0)
    labels = rng.permutation([1] * 32 + [0] * 32)
    overlaps = np.where(labels == 1, 0.7 + 0.009 * rng.permutation(64) / 2, 0.1)
    counts = [term(np.zeros(64), labels, overlaps, pairs=pairs)[1] for pairs in PAIRS]
    assert counts == [496, 31, 16, 32]


def test_the_sample_that_overlaps_more_is_to_have_the_higher_score_by_the_margin():
    for pairs in PAIRS:
        labels = (1, 0) if pairs == "cross" else (1, 1)
        assert term((1.0, 0.5), labels, (0.9, 0.7), pairs=pairs, margin=0.5)[0] == 0
        assert term((1.0, 0.5), labels, (0.9, 0.7), pairs=pairs, margin=0.75)[0] == pytest.approx(0.25)
    for pairs in PAIRS[:3]:
        assert term((1.0, 0.5), (1, 1), (0.7, 0.9), pairs=pairs, margin=0.5)[0] == pytest.approx(1.0)


# --- degenerate batches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize(
    ("labels", "overlaps"),
    [
        ((0, 0, 0), (0.1, 0.2, 0.3)),
        ((1, -1, -1), (0.9, 0.8, 0.7)),
        ((1, 1, 1), (0.8, 0.8, 0.8)),
        ((-1, -1, -1), (0.9, 0.8, 0.7)),
    ],
    ids=["no positive", "one positive", "ties", "nothing counts"],
)
def test_without_a_pair_the_loss_and_its_gradient_are_zero(pairs, labels, overlaps):
    def loss(outputs):
        return mean(
            losses.margin_ranking(outputs, jnp.asarray(labels), jnp.asarray(overlaps), pairs=pairs, min_gap=0.0)
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(outputs_of((0.1, 0.2, 0.3)))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, np.zeros((3, 2)))


def test_pairs_that_overlap_nearly_the_same_are_left_out():
    assert term((0.0, 0.0, 0.0), (1, 1, 1), (0.9, 0.8995, 0.8), margin=1.0) == (2, 2)
    assert term((0.0, 0.0, 0.0), (1, 1, 1), (0.9, 0.8995, 0.8), margin=1.0, min_gap=0.0) == (3, 3)
    assert term((0.0, 0.0, 0.0), (1, 1, 1), (0.9, 0.9, 0.8), margin=1.0, min_gap=0.0) == (2, 2)


@pytest.mark.parametrize("pairs", PAIRS)
def test_what_is_not_counted_may_be_anything(pairs):
    outputs, labels, overlaps = (np.asarray(a) for a in random_batch())
    outputs, overlaps = outputs.astype(np.float32), overlaps.astype(np.float32)
    ignored = labels == -1
    wrong = np.where(ignored[:, None], np.nan, outputs)

    def loss(outputs, overlaps):
        return losses.rankloc_loss(outputs, labels, overlaps, pairs=pairs, rank_on="probability")

    step = jax.jit(jax.value_and_grad(loss))
    expected = step(outputs, overlaps)
    found = step(wrong, np.where(ignored, np.nan, overlaps).astype(np.float32))
    assert float(found[0]) == float(expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert not np.asarray(found[1])[ignored].any()


# --- the sum of both losses ----------------------------------------------------------------------------------------


def test_the_whole_loss_is_twice_the_cross_entropy_and_once_the_ranking():
    outputs, labels, overlaps = random_batch()
    counted = labels >= 0
    share = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    cross_entropy = -np.log(share[np.arange(14), np.maximum(labels, 0)])[counted].mean()
    total, number = by_hand(outputs, labels, overlaps, "all", 0.3, 1e-3, probability=False)
    batch = (outputs.astype(np.float32), labels, overlaps.astype(np.float32))
    assert float(rankloc_loss(*batch, margin=0.3)) == pytest.approx(2 * cross_entropy + total / number, rel=1e-5)
    weighted = rankloc_loss(*batch, margin=0.3, classification_weight=1.0, ranking_weight=0.25)
    assert float(weighted) == pytest.approx(cross_entropy + 0.25 * total / number, rel=1e-5)
    terms = rankloc_terms(*batch, margin=0.3)
    assert (float(terms.classification.count), float(terms.ranking.count)) == (12, number)
    assert float(terms.classification.sum) == pytest.approx(12 * cross_entropy, rel=1e-5)


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("rank_on", ["logit", "probability"])
def test_gradients_are_those_of_central_differences(pairs, rank_on):
    outputs, labels, overlaps = random_batch(3)

    def loss(outputs):
        term = losses.margin_ranking(outputs, labels, jnp.asarray(overlaps), pairs=pairs, rank_on=rank_on)
        return mean(term)

    assert_gradients(loss, outputs)
    assert_gradients(lambda outputs: losses.rankloc_loss(outputs, labels, jnp.asarray(overlaps), pairs=pairs), outputs)


def test_unknown_choices_are_named():
    batch = (outputs_of((0.1, 0.2)), np.array([1, 1]), np.array([0.7, 0.8], np.float32))
    with pytest.raises(ValueError, match="must be all, adjacent, disjoint or cross, not 'some'"):
        losses.margin_ranking(*batch, pairs="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be 'logit' or 'probability', not 'odds'"):
        losses.margin_ranking(*batch, rank_on="odds")  # type: ignore[arg-type]
