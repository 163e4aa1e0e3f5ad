import os
import re
import shutil
import subprocess

import html_pages
import pytest

from jaxtrack.errors import UserError
from jaxtrack.evaluation.report import page
from jaxtrack.evaluation.report.page import Cell, Column, Section, Table

HOSTILE = """</td><script>alert("1")</script><img src=x onerror='alert(2)'>&amp;{{ 7 * 7 }}"""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

SVG = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg width="4pt" xmlns="http://www.w3.org/2000/svg">
 <metadata><rdf>by whom</rdf></metadata>
 <g id="figure_1"><use xlink:href="#m1" clip-path="url(#p1)"/></g>
 <defs><path id="m1"/><clipPath id="p1"/></defs>
</svg>
"""


def names(*texts):
    return Table("toy", [Column("name", numeric=False)], [[Cell(text)] for text in texts])


def rendered(*blocks):
    return page.render("Toy", "A toy.", [Section("part", "Part", blocks)])


def test_every_text_is_escaped():
    blocks = [
        Table(
            HOSTILE,
            [Column(HOSTILE, mark=HOSTILE, group=HOSTILE)],
            [[Cell(HOSTILE, (HOSTILE,), mark=HOSTILE)]],
            sortable=True,
            notes=[(HOSTILE, HOSTILE)],
        ),
        page.Paragraph(HOSTILE),
        page.Figures([(HOSTILE, page.inline_svg(SVG, "a"))], folded=HOSTILE),
        page.Gallery(HOSTILE, [page.Picture("data:,", HOSTILE, HOSTILE)]),
        page.Facts(HOSTILE, [(HOSTILE, [HOSTILE])]),
    ]
    text = page.render(HOSTILE, HOSTILE, [Section("part", HOSTILE, blocks)])
    found = html_pages.parse(text)
    assert len(found.all("script")) == 1  # the page's own
    assert [image.attributes["src"] for image in found.all("img")] == ["data:,"]
    assert "onerror" not in {name for image in found.all("img") for name in image.attributes}
    [heading] = found.all("h1")
    assert heading.text == HOSTILE
    assert found.all("th")[-1].attributes["data-key"] == HOSTILE
    assert found.all("img")[0].attributes["alt"] == f"{HOSTILE}: {HOSTILE}"


def test_nothing_is_loaded_from_elsewhere():
    text = rendered(names("a"), page.Figures([("drawing", page.inline_svg(SVG, "a"))]))
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"|@import|url\((?!#)|fetch\(|<link", text)


def test_a_section_without_content_is_left_out():
    text = page.render("Toy", "", [Section("full", "Full", [names("a")]), Section("empty", "Empty", [])])
    assert [section.attributes["id"] for section in html_pages.parse(text).all("section")] == ["full"]
    assert "#empty" not in text


def test_columns_with_a_common_head_stand_below_it():
    columns = [Column("n", numeric=False), Column("A", mark="2", group="g"), Column("B", mark="2", group="g")]
    found = html_pages.parse(rendered(Table("toy", columns, [[Cell("a"), page.number(1.0), page.number(2.0)]])))
    [head] = [cell for cell in found.all("th") if cell.attributes.get("scope") == "colgroup"]
    assert (head.text, head.attributes["colspan"]) == ("g 2", "2")
    assert html_pages.rows(found) == [["a", "1.000", "2.000"]]


def test_footnotes_stand_below_the_table_and_their_numbers_in_it():
    columns = [Column("n", numeric=False), Column("A", mark="1")]
    table = Table("toy", columns, [[Cell("a", mark="2"), page.number(1.0)]], notes=[("1", "one"), ("2", "two")])
    found = html_pages.parse(rendered(table))
    marks = [mark.text for cell in found.all("th") for mark in cell.all("sup")]
    assert marks == ["1", "2"]
    [region] = [part for part in found.all("div") if part.attributes.get("class") == "scroll"]
    assert [child.tag for child in region.children if isinstance(child, html_pages.Element)] == ["table", "p", "p"]
    assert [note.text for note in region.all("p")] == ["1 one", "2 two"]
    assert found.all("tbody")[0].all("th")[0].attributes["data-key"] == "a"  # the mark does not sort


def test_a_number_that_is_undefined_is_a_dash_without_a_key():
    assert (page.number(float("nan")).text, page.number(float("nan")).key) == ("-", "")
    assert (page.number(0.12345, 2).text, page.number(0.12345, 2).key) == ("0.12", "0.12345")


def test_drawings_share_no_identifiers():
    first, second = page.inline_svg(SVG, "a"), page.inline_svg(SVG, "b")
    assert re.findall(r' id="(.*?)"', first + second) == ["a-m1", "a-p1", "b-m1", "b-p1"]
    assert 'xlink:href="#a-m1" clip-path="url(#a-p1)"' in first
    assert first.startswith("<svg ")
    assert "by whom" not in first


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report to"):
        page.write("text", tmp_path / "file")


CLICKS = """<script>
const log = [];
const note = () => log.push([...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent).join());
const click = (column) => { document.querySelectorAll("tr.heads button")[column].click(); note(); };
note(); click(1); click(1); click(0); click(0);
document.body.dataset.log = log.join(" | ");
document.body.dataset.sorted = [...document.querySelectorAll("tr.heads th")].map((head) => head.ariaSort).join();
document.body.dataset.last = document.querySelector("tfoot th").textContent;
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: a browser must sort the table")
def test_a_click_on_a_head_sorts_the_rows_in_a_browser(tmp_path):
    numbers = {"b2": 0.5, "b10": 10.0, "a": float("nan"), "c": 1e-05}
    rows = [[Cell(name), page.number(value)] for name, value in numbers.items()]
    foot = [[Cell("mean"), page.number(5.0)]]
    columns = [Column("name", numeric=False), Column("number", mark="1")]
    text = rendered(Table("toy", columns, rows, foot, sortable=True))
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{CLICKS}</body>"), "utf-8")
    [body] = html_pages.parse(in_browser(tmp_path / "page.html", tmp_path / "profile")).all("body")
    first, down, up, words, back = body.attributes["data-log"].split(" | ")
    assert first == "b2,b10,a,c"
    assert (down, up) == ("b10,b2,c,a", "c,b2,b10,a")  # as numbers, the undefined one last
    assert (words, back) == ("a,b2,b10,c", "c,b10,b2,a")
    assert body.attributes["data-sorted"] == "descending,"
    assert body.attributes["data-last"] == "mean"


def in_browser(path, profile):
    """The document as a browser has it after the page's scripts."""
    command = [CHROMIUM, "--headless=new", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # Chromium's sandbox refuses root
        command.append("--no-sandbox")
    done = subprocess.run([*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
