import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.losses import classification, ranking, regression
from jaxtrack.losses.reduction import Term, combine, mean, term


def test_a_term_adds_and_counts_what_counts():
    total, count = term(jnp.asarray([[1.0, 2.0], [4.0, 8.0]]), jnp.asarray([[True, False], [True, True]]))
    assert (float(total), float(count)) == (13, 3)
    assert float(mean(Term(total, count))) == pytest.approx(13 / 3)


def test_what_does_not_count_may_be_anything():
    values = jnp.asarray([2.0, np.nan, np.inf])
    value, gradient = jax.value_and_grad(lambda v: mean(term(v, jnp.asarray([True, False, False]))))(values)
    assert float(value) == 2
    np.testing.assert_array_equal(gradient, [1, 0, 0])


def test_the_mean_of_nothing_is_zero_and_so_is_its_gradient():
    value, gradient = jax.value_and_grad(lambda v: mean(term(v, jnp.zeros(2, bool))))(jnp.asarray([3.0, np.nan]))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, [0, 0])


def test_the_total_weighs_the_means():
    terms = {"a": Term(jnp.float32(6), jnp.float32(4)), "b": Term(jnp.float32(5), jnp.float32(2))}
    total, means = combine(terms, {"a": 2.0, "b": 0.5})
    assert float(total) == 2 * 1.5 + 0.5 * 2.5
    assert {name: float(value) for name, value in means.items()} == {"a": 1.5, "b": 2.5}


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c"), ("a", "c")])
def test_every_term_needs_a_weight_and_every_weight_a_term(names):
    terms = dict.fromkeys(("a", "b"), Term(jnp.float32(1), jnp.float32(1)))
    with pytest.raises(ValueError, match="every loss term needs a weight: got terms"):
        combine(terms, dict.fromkeys(names, 1.0))


WEIGHTS = {"positive": 0.5, "negative": 0.5, "loc": 1.2, "cr": 0.5, "score": 0.25, "iou": 0.25}
PARAMS = {"cls": jnp.asarray([1.0, 0.3]), "loc": jnp.asarray([1.0, -0.2])}


def batch():
    """Eight images of twelve samples, two for each of four devices: one device has no positives, another two images
    that rank nothing."""
    rng = np.random.default_rng(3)
    labels = rng.choice([-1, 0, 1], size=(8, 12), p=[0.2, 0.4, 0.4])
    labels[2:4][labels[2:4] == 1] = 0
    labels[6:] = [[1] + [0] * 3 + [-1] * 8] * 2
    logits = rng.normal(size=(8, 12, 2))
    logits[6:, :, 1] -= 4 * (labels[6:] == 0)
    loc = rng.normal(size=(8, 12, 4))
    weight = (labels == 1) / np.maximum((labels == 1).sum(1, keepdims=True), 1)
    arrays = (logits, loc, labels, weight)
    return tuple(jnp.asarray(a, jnp.int32 if a is labels else jnp.float32) for a in arrays)


def terms_of(params, logits, loc, labels, weight):
    logits = logits * params["cls"][0] + params["cls"][1]
    logits = logits.at[..., 0].multiply(0.5)
    loc = loc * params["loc"][0] + params["loc"][1]
    p, v = jax.nn.softmax(logits)[..., 1], jax.nn.sigmoid(loc[..., 0])
    cross_entropy = classification.select_cross_entropy(logits, labels)
    guided = ranking.iou_guided_ranking(p, labels, v)
    return {
        "positive": cross_entropy.positive,
        "negative": cross_entropy.negative,
        "loc": regression.l1(loc, jnp.zeros_like(loc), weight),
        "cr": ranking.classification_ranking(p, labels),
        "score": guided.score,
        "iou": guided.iou,
    }


def loss(params, *arrays, axis_name=None):
    return combine(terms_of(params, *arrays), WEIGHTS, axis_name)


def over_devices(function, arrays):
    """A function of parameters and a quarter of the batch, on four devices; results `[4, ...]`."""
    split = [array.reshape(4, 2, *array.shape[1:]) for array in arrays]
    return jax.pmap(function, axis_name="devices", in_axes=(None, 0, 0, 0, 0))(PARAMS, *split)


def assert_close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found, expected)


def test_shares_of_four_devices_add_up_to_the_loss_and_the_gradient_of_one():
    def step(params, *arrays):
        (share, means), gradient = jax.value_and_grad(loss, has_aux=True)(params, *arrays, axis_name="devices")
        return jax.lax.psum((share, gradient), "devices"), means

    (total, gradient), means = over_devices(step, batch())
    (expected, expected_means), expected_gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(PARAMS, *batch())
    for device in range(4):
        assert_close(total[device], expected)
        assert_close({name: value[device] for name, value in means.items()}, expected_means)
        assert_close({name: value[device] for name, value in gradient.items()}, expected_gradient)


def test_without_an_axis_every_device_takes_the_means_of_its_own_batch():
    arrays, compiled = batch(), jax.jit(loss)
    totals, means = over_devices(loss, arrays)
    for device in range(4):
        own = [array[2 * device : 2 * device + 2] for array in arrays]
        expected, expected_means = compiled(PARAMS, *own)
        assert_close(totals[device], expected)
        assert_close({name: value[device] for name, value in means.items()}, expected_means)
    # The batch tells the two normalisations apart.
    assert abs(float(jnp.mean(totals)) - float(compiled(PARAMS, *arrays)[0])) > 0.01


def test_the_means_for_the_records_have_no_gradient():
    gradient = jax.jit(jax.grad(lambda p, *arrays: sum(loss(p, *arrays)[1].values(), jnp.float32(0))))(PARAMS, *batch())
    assert_close(gradient, jax.tree.map(jnp.zeros_like, PARAMS))
