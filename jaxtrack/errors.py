"""The exceptions that are messages for the user, and checks of configurations that raise them."""

import math
import numbers
from typing import Any, get_args


class UserError(Exception):
    """A user's mistake, as one clear sentence: what was wrong, where, what was expected, what to do.

    The scripts print the sentence alone, without a traceback, and exit with code 2.
    """


class MissingWeightsError(UserError):
    """A tracker's weights have not been imported."""


def check_numbers(config: Any, *, positive: tuple[str, ...] = (), not_negative: tuple[str, ...] = ()) -> None:
    """Raises `UserError` where a field of a configuration, or a number in it, is not finite or too small.

    Args:
      config: a dataclass instance.
      positive: names of fields that must be greater than 0.
      not_negative: names of fields that must be at least 0.
    """
    for name in (*positive, *not_negative):
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, numbers.Real):
                raise UserError(f"{name} of {type(config).__name__} must be a number, not {number!r}")
            if not math.isfinite(number) or number < 0 or (number == 0 and name in positive):
                bound = "greater than 0" if name in positive else "at least 0"
                raise UserError(f"{name} of {type(config).__name__} must be {bound}, not {number:g}")


def check_whole(config: Any, *names: str) -> None:
    """Raises `UserError` where a field of a configuration is no whole number."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise UserError(f"{name} of {type(config).__name__} must be a whole number, not {value!r}")


def check_shares(config: Any, *names: str) -> None:
    """Raises `UserError` where a field of a configuration, such as an IoU, is not from 0 to 1."""
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise UserError(f"{name} of {type(config).__name__} must be from 0 to 1, not {value:g}")


def check_choices(config: Any, **kinds: Any) -> None:
    """Raises `UserError` where a field of a configuration is none of its choices.

    Args:
      config: a dataclass instance.
      **kinds: the choices of fields, each a `Literal`, by the fields' names.
    """
    for name, kind in kinds.items():
        value, choices = getattr(config, name), get_args(kind)
        if value not in choices:
            raise UserError(f"{name} of {type(config).__name__} must be one of {', '.join(choices)}, not {value!r}")
