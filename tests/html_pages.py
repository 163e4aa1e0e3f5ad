"""Pages of HTML as trees, read by the standard library; a page whose elements do not close in order is refused."""

import dataclasses
import html.parser

_VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclasses.dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = dataclasses.field(default_factory=list)

    def all(self, tag):
        """The elements with this tag below, in order."""
        below = [child for child in self.children if isinstance(child, Element)]
        return [found for child in below for found in ([child] if child.tag == tag else []) + child.all(tag)]

    @property
    def text(self):
        return " ".join("".join(self._texts()).split())

    def _texts(self):
        for child in self.children:
            yield from [child] if isinstance(child, str) else [" ", *child._texts(), " "]


class _Parser(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag == self.open[-1].tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(text):
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert len(parser.open) == 1, f"<{parser.open[-1].tag}> is not closed"
    return parser.open[0]


def section(page, anchor):
    [found] = [element for element in page.all("section") if element.attributes.get("id") == anchor]
    return found


def rows(table):
    """The texts of the cells of the table's body, row by row."""
    [body] = table.all("tbody")
    return [[cell.text for cell in row.children if isinstance(cell, Element)] for row in body.all("tr")]
