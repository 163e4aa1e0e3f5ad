import numpy as np
import pytest
import scipy.stats

from jaxtrack.evaluation.vot import ranks
from jaxtrack.evaluation.vot.measures import SequenceScore


def score(overlaps, failures):
    """A sequence of as many frames as overlaps, with so many failures in each repetition."""
    values = np.tile(np.asarray(overlaps, np.float64), (len(failures), 1))
    return SequenceScore(values, values, tuple(np.arange(n) for n in failures))


@pytest.mark.parametrize("seed", range(4))
def test_the_signed_rank_test_is_scipys(seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 8, (2, 60)) / 8
    expected = scipy.stats.wilcoxon(a, b, zero_method="wilcox", correction=False, method="asymptotic").pvalue
    assert ranks.signed_rank_test(a, b) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_rank_sum_test_is_scipys(seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 5, 15).astype(float), random.integers(1, 6, 12).astype(float)
    expected = scipy.stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False).pvalue
    assert ranks.rank_sum_test(a, b) == pytest.approx(expected)


def test_samples_that_do_not_differ_have_nothing_to_test():
    assert ranks.signed_rank_test(np.ones(5), np.ones(5)) == 1
    assert ranks.rank_sum_test(np.ones(3), np.ones(4)) == 1


def test_clear_differences_give_clear_ranks():
    good, middle, bad = (np.linspace(low, low + 0.1, 40) for low in (0.8, 0.5, 0.2))
    found = ranks.rank([[score(bad, [3])], [score(good, [0])], [score(middle, [1])]])
    assert [(r.accuracy, r.robustness) for r in found] == [(3, 3), (1, 1), (2, 2)]
    assert found[0].mean == 3


def test_equivalent_trackers_share_the_mean_of_their_ranks():
    random = np.random.default_rng(0)
    base = random.uniform(0.4, 0.9, 50)
    wobble = base + np.tile([0.05, -0.05], 25)  # as often better as worse
    found = ranks.rank([[score(base, [1])], [score(wobble, [1])], [score(base - 0.3, [4])]])
    assert [r.accuracy for r in found] == [1.5, 1.5, 3]
    assert [r.robustness for r in found] == [1.5, 1.5, 3]


def test_equivalence_of_neighbours_is_not_passed_on():
    # Failures: the first and the last differ clearly, the middle one from neither.
    low, middle, high = [1] * 7 + [2] * 8, [1] * 4 + [2] * 7 + [3] * 4, [2] * 8 + [3] * 7
    pairs = ((low, middle), (middle, high), (low, high))
    p = [scipy.stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False).pvalue for a, b in pairs]
    found = ranks.rank([[score([0.5] * 30, failures)] for failures in (low, middle, high)])
    assert min(p[:2]) >= 0.05 > p[2]
    assert [r.robustness for r in found] == [(1 + 2) / 2, (1 + 2 + 3) / 3, (2 + 3) / 2]


def test_accuracy_is_equivalent_down_to_a_p_of_a_twentieth():
    random = np.random.default_rng(0)
    base, noise = random.uniform(0.4, 0.9, 60), random.normal(0, 0.1, 60)
    for shift, apart in ((0.015, False), (0.035, True)):
        other = base + noise + shift
        p = scipy.stats.wilcoxon(base, other, correction=False, method="asymptotic").pvalue
        assert p < 0.05 if apart else 0.05 < p < 0.4
        found = ranks.rank([[score(base, [0])], [score(other, [0])]])
        assert [r.accuracy for r in found] == ([2, 1] if apart else [1.5, 1.5])


def test_small_differences_may_be_declared_practically_none():
    one, other = np.full(40, 0.50), np.full(40, 0.52)
    apart = ranks.rank([[score(one, [0])], [score(other, [0])]])
    together = ranks.rank([[score(one, [0])], [score(other, [0])]], practical=0.05)
    assert [r.accuracy for r in apart] == [2, 1]
    assert [r.accuracy for r in together] == [1.5, 1.5]
    limit = ranks.rank([[score(np.full(40, 0.5), [0])], [score(np.full(40, 0.75), [0])]], practical=0.25)
    assert [r.accuracy for r in limit] == [1.5, 1.5]


def test_failures_that_never_vary_differ_where_they_are_not_equal():
    found = ranks.rank([[score([0.5] * 9, [2, 2, 2])], [score([0.5] * 9, [0])]])
    assert [r.robustness for r in found] == [2, 1]


def test_ranks_are_averaged_over_sequences():
    good, bad = np.full(40, 0.9), np.full(40, 0.1)
    found = ranks.rank([[score(good, [0]), score(bad, [0])], [score(bad, [0]), score(bad, [1])]])
    assert [(r.accuracy, r.robustness) for r in found] == [(1.25, 1.25), (1.75, 1.75)]


def test_a_tracker_that_was_never_on_target_is_last():
    nowhere = np.full(40, np.nan)
    found = ranks.rank([[score(nowhere, [5])], [score([0.0] * 40, [4])]])
    assert [r.accuracy for r in found] == [2, 1]
