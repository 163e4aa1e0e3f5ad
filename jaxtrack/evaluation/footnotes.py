"""Remarks on the rows of a table: a number beside the name, and what it stands for once below the table."""

from collections.abc import Iterable

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Footnotes:
    """The remarks of a table, numbered from 1 in the order of its rows; rows with the same remark share a number.

    >>> notes = Footnotes(["tuned on A", "", "tuned on A", "tuned on B"])
    >>> notes.mark("tuned on B"), notes.mark(""), notes.raised("tuned on A")
    ('2', '', '¹')
    >>> notes.lines
    ['¹ tuned on A', '² tuned on B']
    """

    def __init__(self, remarks: Iterable[str]):
        self._texts = list(dict.fromkeys(text for text in remarks if text))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(number, remark) of each."""
        return [(self.mark(text), text) for text in self._texts]

    @property
    def lines(self) -> list[str]:
        """What stands below a table of plain text."""
        return [f"{self.raised(text)} {text}" for text in self._texts]

    def mark(self, remark: str) -> str:
        """The number of a remark; "" for none."""
        return str(self._texts.index(remark) + 1) if remark else ""

    def raised(self, remark: str) -> str:
        """The number in raised digits, for plain text."""
        return self.mark(remark).translate(_RAISED)
