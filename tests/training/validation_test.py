"""What a network makes of held-out pairs, beside scipy, plain loops and cases without an answer."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import tiny_training

from jaxtrack.models import grids, siamese
from jaxtrack.training import validation
from jaxtrack.training.labels import EllipseLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.siamese import Recipe
from jaxtrack.training.validation import spearman, summary

spearman = jax.jit(spearman)


# --- Spearman's correlation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_it_is_scipys_with_many_ties_and_with_none(levels):
    random = np.random.default_rng(levels)
    for count in (3, 7, 16, 40):
        where = np.zeros(40, bool)
        where[random.permutation(40)[:count]] = True
        a, b = random.integers(0, levels, (2, 40)).astype(np.float32)
        b = b + 0.5 * a
        a[np.flatnonzero(where)[:2]] = -1, 2000  # never all equal
        b[np.flatnonzero(where)[:2]] = 2000, -1
        expected = scipy.stats.spearmanr(a[where], b[where]).statistic
        assert float(spearman(a, b, where)) == pytest.approx(expected, abs=1e-6)


def test_what_does_not_count_may_be_anything():
    where = jnp.asarray([True, False, True, True, False])
    a, b = jnp.asarray([1.0, jnp.nan, 2, 3, jnp.inf]), jnp.asarray([30.0, -jnp.inf, 20, 10, jnp.nan])
    assert float(spearman(a, b, where)) == pytest.approx(-1)


@pytest.mark.parametrize("where", [[True, True, False], [False, False, False]])
def test_fewer_than_three_have_no_correlation(where):
    values = jnp.asarray([1.0, 2.0, 3.0])
    assert np.isnan(spearman(values, values, jnp.asarray(where)))


def test_equal_values_have_no_correlation():
    values = jnp.asarray([1.0, 2.0, 3.0])
    assert np.isnan(spearman(values, jnp.ones(3), jnp.ones(3, bool)))


# --- measures of pairs ---------------------------------------------------------------------------------------------

# All candidates get a label but those between the ellipses; no draws.
RECIPE = Recipe(
    tiny_training.ARCHITECTURE, tiny_training.Squares().pairs, EllipseLabels(positives=600, total=1250), Objective()
)
COUNT = 5  # the last of them a negative pair


def tempered(variables):
    """Variables by which a network that has never learnt anything gives logits near 0 and sides near 30 pixels."""
    level = variables["params"]["head"]["level_only"]
    for branch in ("cls", "loc"):
        level[branch]["output"]["kernel"] *= 5e-4
    level["loc"]["output"]["bias"] += np.log(30.0)
    return variables


@pytest.fixture(scope="module")
def measured():
    """(pairs, class maps, box maps, measures) of a tiny network."""
    network = siamese.build(RECIPE.architecture)
    images = [jnp.zeros((1, side, side, 3)) for side in (127, 255)]
    variables = tempered(jax.jit(network.init)(jax.random.key(0), *images))
    keys = jax.random.split(jax.random.key(1), COUNT)

    @jax.jit
    def run(items):
        pairs = RECIPE.pairs(items)
        outputs = network.apply(variables, pairs.template, pairs.search)
        return pairs, outputs, validation.pair_measures(RECIPE, variables, pairs, keys)

    pairs, (cls, loc), measures = run(jnp.arange(COUNT, dtype=jnp.uint32))
    return pairs, cls, loc, jax.tree.map(np.asarray, measures)


def by_hand(cls, loc, box, negative):
    """The measures of a pair from what a tracker would decode, point by point."""
    found = grids.candidates("points", 8, cls, loc)
    scores, boxes = np.asarray(found.scores), np.asarray(found.boxes_cxcywh)
    x1, y1, x2, y2 = (float(side) - 127 for side in box)
    tx, ty, tw, th = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    overlaps = []
    for x, y, w, h in boxes.tolist():
        width = max(min(x + w / 2, x2) - max(x - w / 2, x1), 0)
        height = max(min(y + h / 2, y2) - max(y - h / 2, y1), 0)
        overlaps.append(width * height / (w * h + tw * th - width * height))
    radius = [((x - tx) / (tw / 2)) ** 2 + ((y - ty) / (th / 2)) ** 2 for x, y in grids.grid(25, 8).tolist()]
    inner, outer = np.asarray(radius) < 0.25, np.asarray(radius) > 1
    if negative:
        nothing = dict.fromkeys(("iou", "positive", "rank"), np.nan)
        return {**nothing, "negative": scores[inner].max(), "distractor": scores.max()}
    outside = [max(abs(x - tx) / tw, abs(y - ty) / th) > 0.5 for x, y in grids.grid(25, 8).tolist()]
    return {
        "iou": overlaps[int(np.argmax(scores))],
        "positive": scores[inner].mean(),
        "negative": scores[outer].max(),
        "distractor": scores[np.asarray(outside)].max(),
        "rank": scipy.stats.spearmanr(scores[inner], np.asarray(overlaps)[inner]).statistic,
    }


def test_measures_are_those_of_the_trackers_candidates_and_labels(measured):
    pairs, cls, loc, found = measured
    assert np.asarray(pairs.negative).tolist() == [False] * 4 + [True]
    for i in range(COUNT):
        expected = by_hand(cls[i], loc[i], pairs.box_xyxy[i], bool(pairs.negative[i]))
        # A rank may change where two values differ by less than float32 tells.
        tolerances = {"rank": 0.02}
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value, abs=tolerances.get(name, 1e-4), nan_ok=True), name


def test_a_pair_without_labelled_background_has_no_highest_score_there(measured):
    """A negative pair whose object is too small for any point to lie in the middle of it."""
    pairs, cls, loc, _ = measured
    tiny = dataclasses.replace(pairs, box_xyxy=jnp.tile(jnp.asarray([[130.0, 130, 132, 132]]), (COUNT, 1)))

    class Fixed:
        apply = staticmethod(lambda *_: (cls, loc))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.siamese, "build", lambda architecture: Fixed)
        keys = jax.random.split(jax.random.key(1), COUNT)
        found = jax.jit(functools.partial(validation.pair_measures, RECIPE, None))(tiny, keys)
    assert np.isnan(found["negative"]).tolist() == [False] * 4 + [True]
    assert np.isnan(found["positive"]).all()


# --- their summary -------------------------------------------------------------------------------------------------


def test_means_are_over_the_pairs_that_have_an_answer():
    nan = np.nan
    found = summary(
        {
            "iou": jnp.asarray([0.2, 0.9, nan, 0.5]),
            "positive": jnp.asarray([0.4, 0.8, nan, nan]),
            "negative": jnp.asarray([0.3, 0.1, 0.9, 0.5]),
            "rank": jnp.asarray([nan, 0.5, nan, -0.1]),
        }
    )
    assert found == pytest.approx(
        {
            "iou": 1.6 / 3,
            "success": 1 / 3,  # 0.5 is not above 0.5
            "positive": 0.6,
            "negative": 0.45,
            "margin": (0.1 + 0.7) / 2,
            "rank": 0.2,
        }
    )


def test_nothing_has_no_mean():
    nothing = jnp.full(3, jnp.nan)
    found = summary({"iou": nothing, "positive": nothing, "negative": jnp.ones(3), "rank": nothing})
    assert found.pop("negative") == 1
    assert np.isnan(list(found.values())).all()
