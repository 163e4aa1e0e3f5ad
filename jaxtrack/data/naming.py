"""One rule for the spellings of a name: `Jogging-1`, `jogging_1` and `Jogging.1` are the same."""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jaxtrack.errors import UserError

_NAMES_IN_A_MESSAGE = 12
_WORD = re.compile(r"[^\W_]+")
_Value = TypeVar("_Value")


def plain(name: str) -> str:
    """`name` without case and punctuation, the form in which spellings are compared.

    Two numbers stay two: UAV123 has both a `car1_1` and a `car11`.

    >>> plain("Jogging-1") == plain("jogging_1") == plain("Jogging.1")
    True
    >>> plain("car1_1"), plain("CAR11")
    ('car1_1', 'car11')
    """
    words = _WORD.findall(name.casefold())
    numbers = [before[-1].isdigit() and word[0].isdigit() for before, word in itertools.pairwise(words)]
    return "".join(f"_{word}" if apart else word for apart, word in zip([False, *numbers], words, strict=False))


def match_name(spelling: str, names: Iterable[str], *, what: str, aliases: Mapping[str, str] | None = None) -> str:
    """The one of `names` that `spelling` means, or `UserError` with a suggestion.

    Args:
      spelling: what the user wrote.
      names: the official names.
      what: what the names are names of, for the message, e.g. `"sequence of OTB-100"`.
      aliases: other names (beyond spelling) and the official name that each stands for.
    """
    names = list(names)
    known = {plain(alias): name for alias, name in (aliases or {}).items()}
    known |= {plain(name): name for name in names}
    if plain(spelling) in known:
        return known[plain(spelling)]
    close = difflib.get_close_matches(plain(spelling), known, n=3, cutoff=0.6)
    if close:
        hint = f"did you mean {' or '.join(dict.fromkeys(known[key] for key in close))}?"
    else:
        more = ", …" if len(names) > _NAMES_IN_A_MESSAGE else ""
        hint = f"there are {', '.join(names[:_NAMES_IN_A_MESSAGE])}{more}"
    raise UserError(f"There is no {what} called {spelling!r}: {hint}")


class Named(dict[str, _Value]):
    """A dictionary that takes any spelling of its names, and answers others by `UserError` with a suggestion.

    >>> Named("fruit", {"red-apple": 1})["Red_Apple"]
    1
    """

    def __init__(self, what: str, values: Mapping[str, _Value]):
        """Prepares the dictionary.

        Args:
          what: what the names are names of, for the message.
          values: the values by their official names.
        """
        super().__init__(values)
        self._what = what

    def __missing__(self, name: Any) -> _Value:
        return self[match_name(str(name), self, what=self._what)]
