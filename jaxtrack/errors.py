"""The exceptions that are messages for the user, and checks of configurations that raise them."""

import math
from typing import Any


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
            if not math.isfinite(number) or number < 0 or (number == 0 and name in positive):
                bound = "greater than 0" if name in positive else "at least 0"
                raise UserError(f"{name} of {type(config).__name__} must be {bound}, not {number:g}")
