"""Which channels TADT matches, by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.online import channels
from jaxtrack.online.channels import Chosen, Group, Selection

KEY = jax.random.key(0)
IMPORTANCE = jnp.asarray([0.1, 0.5, -0.2, 0.4, 0.3, -0.1])  # in order: 1, 3, 4, 0, 5, 2
RANKS = jnp.asarray([1.0, -1.0, 1.0, -1.0, 1.0, 1.0])


def chosen(*index, weights=None):
    return Chosen(jnp.asarray(index, jnp.int32), jnp.ones((len(index),)) if weights is None else jnp.asarray(weights))


def indices(group):
    """The channels that count, in order."""
    return [int(i) for i, weight in zip(group.index, group.weight, strict=True) if weight > 0]


def test_the_paper_takes_exactly_so_many_in_the_regressions_order():
    found = channels.ordered(Group("regression", 4), IMPORTANCE, None, KEY, exact=True)
    assert indices(found) == [1, 3, 4, 0]
    assert indices(channels.ordered(Group("regression", 99), IMPORTANCE, None, KEY, exact=True)) == [1, 3, 4, 0, 5, 2]


def test_of_the_ranking_those_go_first_that_it_finds_important():
    found = channels.ordered(Group("ranking", 5), IMPORTANCE, RANKS, KEY, exact=True)
    assert indices(found) == [4, 0, 5, 2, 1]


def test_the_released_program_takes_what_is_worth_something_among_the_first():
    found = channels.ordered(Group("regression", 5), IMPORTANCE, None, KEY, exact=False)
    assert indices(found) == [1, 3, 4, 0]
    found = channels.ordered(Group("ranking", 4), IMPORTANCE, RANKS, KEY, exact=False)
    assert indices(found) == [4, 0]
    assert len(found.index) == 4


def test_the_released_program_adds_channels_of_the_second_map_until_there_are_enough():
    target = channels.ordered(Group("regression", 6), IMPORTANCE, None, KEY, exact=False)
    assert indices(channels.filled(chosen(7, weights=[1.0]), target, 6)) == [1, 3, 4, 0, 5]
    assert indices(channels.filled(chosen(7, weights=[0.0]), target, 6)) == [1, 3, 4, 0, 5, 2]
    assert indices(channels.filled(chosen(7, weights=[1.0]), target, 3)) == [1, 3, 4, 0]
    # Those that the ranking has chosen stay, however far behind; the first of the others come in addition.
    ranked = channels.ordered(Group("ranking", 6), IMPORTANCE, RANKS, KEY, exact=False)
    assert indices(ranked) == [4, 0]
    assert indices(channels.filled(chosen(7, weights=[1.0]), ranked, 4)) == [1, 4, 0]
    assert indices(channels.filled(chosen(7, weights=[1.0]), ranked, 3)) == [4, 0]


def test_random_channels_are_as_many_and_others_under_another_key():
    group, importance = Group("random", 30), jnp.zeros((100,))
    found = [indices(channels.ordered(group, importance, None, jax.random.key(i), exact=True)) for i in range(20)]
    assert all(len(set(one)) == 30 for one in found)
    assert found[0] != found[1]
    counts = np.bincount(np.concatenate(found), minlength=100)
    assert counts.max() <= 15  # of 20; 6 on average


def test_none_and_all():
    assert indices(channels.ordered(Group("none"), IMPORTANCE, None, KEY, exact=True)) == []
    assert indices(channels.ordered(Group("all", 2), IMPORTANCE, None, KEY, exact=True)) == [0, 1, 2, 3, 4, 5]


def test_groups_are_divided_by_their_greatest_sum_over_the_most_important():
    maps = jnp.zeros((4, 3, 3)).at[1, 0, 0].set(4.0).at[2, 0, 0].set(2.0).at[3, 1, 1].set(-5.0)
    group = chosen(1, 2, 3)
    np.testing.assert_allclose(channels.balanced(group, maps, 0).weight, [1 / 6] * 3)
    np.testing.assert_allclose(channels.balanced(group, maps, 1).weight, [1 / 4] * 3)
    half = chosen(1, 2, 3, weights=[0.0, 1.0, 1.0])
    np.testing.assert_allclose(channels.balanced(half, maps, 0).weight, [0, 1 / 5, 1 / 5])
    # As released, the most important by the regression, though the ranking leaves the first of them out.
    np.testing.assert_allclose(channels.balanced(half, maps, 2).weight, [0, 1 / 6, 1 / 6])
    np.testing.assert_allclose(channels.balanced(half, maps, 99).weight, [0, 1 / 6, 1 / 6])
    np.testing.assert_array_equal(channels.balanced(chosen(0), maps, 0).weight, 1)  # a map of zeros


def test_channels_of_both_maps_are_chosen_balanced_and_stacked():
    first, second = jnp.full((2, 3, 3), 10.0), jnp.full((6, 3, 3), 2.0)
    config = Selection(Group("regression", 1), Group("regression", 2))
    found = channels.choose(config, (jnp.asarray([0.0, 1.0]), IMPORTANCE), (None, None), (first, second), KEY)
    assert [indices(group) for group in found] == [[1], [1, 3]]
    seen = tuple(jnp.moveaxis(maps, 0, 2) for maps in (first, second))
    np.testing.assert_allclose(channels.taken(found, seen), np.stack([np.ones((3, 3))] + [np.full((3, 3), 0.5)] * 2))
    config = dataclasses.replace(config, balance=1)
    found = channels.choose(config, (jnp.asarray([0.0, 1.0]), IMPORTANCE), (None, None), (first, second), KEY)
    np.testing.assert_allclose(channels.taken(found, seen), np.ones((3, 3, 3)))


def test_a_group_of_none_leaves_the_other():
    config = Selection(Group("none"), Group("all"), fewest=9)
    maps = (jnp.ones((2, 3, 3)), jnp.ones((4, 3, 3)))
    found = channels.choose(config, (jnp.zeros(2), jnp.zeros(4)), (None, None), maps, KEY)
    assert channels.taken(found, tuple(jnp.moveaxis(one, 0, 2) for one in maps)).shape == (4, 3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Group("best"), "rule of Group must be one of none, all, random, regression, ranking, not 'best'"),
        (lambda: Group(channels=0), "channels of Group must be greater than 0"),
        (lambda: Selection(Group("none"), Group("none")), "one of the two groups of channels must have a rule"),
        (lambda: Selection(fewest=-1), "fewest of Selection must be at least 0"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        change()
