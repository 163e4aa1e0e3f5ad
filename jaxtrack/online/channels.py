"""Which channels of two maps are matched, and how the two groups are balanced (TADT, sections 3.2 to 3.4)."""

import dataclasses
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxtrack.errors import UserError, check_choices, check_numbers

Rule = Literal["none", "all", "random", "regression", "ranking"]


@dataclasses.dataclass(frozen=True)
class Group:
    """Which channels of a map are matched."""

    rule: Rule = "regression"
    """None, all, some at random, those that the regression finds most important, or of these first those that the
    ranking finds important, too."""
    channels: int = 250
    """How many, at most."""

    def __post_init__(self) -> None:
        """Refuses rules that there are not."""
        check_numbers(self, positive=("channels",))
        check_choices(self, rule=Rule)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which channels are matched."""

    scale: Group = Group("ranking", 80)
    """Of the first map, conv4_1 of VGG-16: those that change with the target's scale."""
    target: Group = Group("regression", 250)
    """Of the second map, conv4_3: those that are active where the target is."""
    fewest: int = 0
    """0 takes exactly as many channels as the groups say. Otherwise as released: among those only the ones that are
    worth more than 0, and then more of the second map until there are so many altogether."""
    balance: int = 0
    """The groups are divided by the greatest sum over so many of their most important channels, as released whether
    they are matched or not; 0: over all that are matched."""

    def __post_init__(self) -> None:
        """Refuses a selection of nothing."""
        check_numbers(self, not_negative=("fewest", "balance"))
        if self.scale.rule == self.target.rule == "none":
            raise UserError("one of the two groups of channels must have a rule other than none")


class Chosen(NamedTuple):
    """Channels of a map, the most important first.

    Attributes:
      index: `int32 [K]`, which; K is 0 for none.
      weight: `float32 [K]`, by what they are multiplied; 0 for those that are not matched.
    """

    index: jax.Array
    weight: jax.Array


def ordered(group: Group, importance: jax.Array, ranks: jax.Array | None, key: jax.Array, *, exact: bool) -> Chosen:
    """The channels of a group.

    Args:
      group: which and how many.
      importance: `float32 [C]`, by the regression.
      ranks: `float32 [C]`, by the ranking; None where the rule needs none.
      key: random key.
      exact: whether to take as many as the group says, or only those that are worth more than 0.
    """
    chex.assert_rank(importance, 1)
    channels = len(importance)
    if group.rule == "none":
        return Chosen(jnp.zeros((0,), jnp.int32), jnp.zeros((0,)))
    if group.rule == "all":
        return Chosen(jnp.arange(channels, dtype=jnp.int32), jnp.ones((channels,)))
    count = min(group.channels, channels)
    if group.rule == "random":
        return Chosen(jax.random.permutation(key, channels)[:count].astype(jnp.int32), jnp.ones((count,)))
    fit = jnp.ones((channels,), bool) if ranks is None else ranks > 0
    if exact:
        order = jnp.lexsort((-importance, ~fit))
        return Chosen(order[:count].astype(jnp.int32), jnp.ones((count,)))
    order = jnp.argsort(-importance)[:count]
    return Chosen(order.astype(jnp.int32), (fit & (importance > 0))[order].astype(jnp.float32))


def filled(scale: Chosen, target: Chosen, fewest: int) -> Chosen:
    """The second group with more channels in its order, until both groups have `fewest` or it has no more."""
    here, there = (jnp.sum(group.weight > 0, dtype=jnp.int32) for group in (target, scale))
    further = jnp.cumsum(target.weight == 0, dtype=jnp.int32) <= fewest - there - here
    return target._replace(weight=((target.weight > 0) | further).astype(jnp.float32))


def balanced(chosen: Chosen, maps: jax.Array, most: int) -> Chosen:
    """The channels divided by the greatest sum over them in a cell; magnitudes, where a network has negative ones.

    Args:
      chosen: K channels.
      maps: `float32 [C, n, n]`, the first frame's.
      most: how many of the first channels are summed, matched or not, as released; 0 for all that are matched.
    """
    summed = (jnp.arange(len(chosen.index)) < most).astype(jnp.float32) if most else chosen.weight
    total = jnp.einsum("k,kij->ij", summed, jnp.abs(maps[chosen.index]))
    greatest = jnp.max(total, initial=0.0)
    return chosen._replace(weight=chosen.weight / jnp.where(greatest > 0, greatest, 1.0))


def choose(
    config: Selection,
    importance: tuple[jax.Array, jax.Array],
    ranks: tuple[jax.Array | None, jax.Array | None],
    maps: tuple[jax.Array, jax.Array],
    key: jax.Array,
) -> tuple[Chosen, Chosen]:
    """The channels of both maps with their weights.

    Args:
      config: what is asked for.
      importance: by the regression, `float32 [C]` for each map.
      ranks: by the ranking; None for a map whose rule needs none.
      maps: the first frame's, `float32 [C, n, n]` each.
      key: random key.
    """
    exact, keys = config.fewest == 0, jax.random.split(key, 2)
    groups = zip((config.scale, config.target), importance, ranks, keys, strict=True)
    scale, target = (ordered(*each, exact=exact) for each in groups)
    if not exact and config.target.rule != "none":
        target = filled(scale, target, config.fewest)
    first, second = (balanced(group, of, config.balance) for group, of in zip((scale, target), maps, strict=True))
    return first, second


def taken(chosen: tuple[Chosen, Chosen], maps: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The chosen channels of both maps `[n, n, C]`, weighted, one after the other; `float32 [D, n, n]`."""
    parts = [
        jnp.moveaxis(of[:, :, group.index], 2, 0) * group.weight[:, None, None]
        for group, of in zip(chosen, maps, strict=True)
    ]
    return jnp.concatenate(parts)
