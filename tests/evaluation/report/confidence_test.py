import numpy as np
import pytest
import scipy.stats

from jaxtrack.evaluation.report import confidence


def test_two_sequences_span_the_interval():
    # A quarter of the resamples is (a, a), a quarter (b, b): both ends lie among them.
    assert confidence.interval(np.array([0.2, 0.6])) == confidence.Interval(0.2, pytest.approx(0.6))


@pytest.mark.parametrize(("sequences", "hits"), [(40, 10), (100, 63)])
def test_the_mean_of_zeros_and_ones_is_binomial(sequences, hits):
    found = confidence.interval(np.repeat([1.0, 0.0], [hits, sequences - hits]))
    low, high = scipy.stats.binom.ppf([0.025, 0.975], sequences, hits / sequences) / sequences
    assert (found.low, found.high) == pytest.approx((low, high), abs=1.01 / sequences)


def test_the_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(3).beta(4, 2, 30)
    reference = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    found = confidence.interval(values)
    expected = tuple(reference.confidence_interval)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.05 * (expected[1] - expected[0]))


def test_the_interval_is_that_of_a_loop_over_the_same_draws():
    values = np.array([0.1, 0.9, 0.4, 0.7, 0.35])
    random = np.random.default_rng(confidence.SEED)
    means = []
    for _ in range(confidence.RESAMPLES):
        times = random.multinomial(5, [0.2] * 5)
        means.append(sum(t * v for t, v in zip(times, values, strict=True)) / 5)
    means.sort()
    found = confidence.interval(values)
    # 2.5 % of 10000 resamples lie below the 251st.
    assert (found.low, found.high) == pytest.approx((means[250], means[-251]), abs=0.005)


def test_the_same_numbers_give_the_same_interval():
    values = np.linspace(0, 1, 12)
    first = confidence.interval(values)
    confidence._draws.cache_clear()
    assert confidence.interval(values) == first


def test_numbers_that_are_undefined_are_left_out():
    assert confidence.interval(np.array([0.2, np.nan, 0.6])) == confidence.interval(np.array([0.2, 0.6]))


def test_weights_weigh_each_resample():
    # Resamples of two sequences: twice the first, twice the second, or 3/4 of the first and 1/4 of the second.
    values, weights = np.array([0.2, 0.6]), np.array([3.0, 1.0])
    ends = confidence.interval(values, weights)
    assert (ends.low, ends.high) == pytest.approx((0.2, 0.6))
    three = np.array([0.0, 0.0, 1.0])
    heavy = confidence.interval(three, np.array([1.0, 1.0, 8.0]))
    assert heavy.high == 1.0
    equal = confidence.interval(np.array([0.0, 1.0] * 20), np.array([1.0, 9.0] * 20))
    assert equal.low > 0.75  # the mean is 0.9
    assert confidence.interval(three, np.full(3, 7.0)) == confidence.interval(three)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, np.nan]])
def test_one_sequence_has_no_interval(values):
    found = confidence.interval(np.array(values))
    assert np.isnan([found.low, found.high]).all()
    assert str(found) == "-"
