"""One rule for the spellings of a name: `Jogging-1`, `jogging_1` and `Jogging.1` are the same."""

import difflib
from collections.abc import Iterable, Mapping

from jaxtrack.errors import UserError

_NAMES_IN_A_MESSAGE = 12


def plain(name: str) -> str:
    """`name` without case and punctuation, the form in which spellings are compared.

    >>> plain("Jogging-1") == plain("jogging_1") == plain("Jogging.1")
    True
    """
    return "".join(character for character in name.casefold() if character.isalnum())


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
