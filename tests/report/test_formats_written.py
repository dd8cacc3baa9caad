"""Whatever people write, it is text in every format, and the same records make the same file."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from riskladder.people.charts import Mark, Point, Threshold, on_paper, readings_chart, timeline_chart
from riskladder.report import document as parts
from riskladder.report.document import Document, Section
from riskladder.report.html import html
from riskladder.report.json_form import as_json, schema
from riskladder.report.markdown import markdown
from riskladder.report.pdf import pdf, string, typst
from tests.report.golden import account, period

AT = datetime(2026, 11, 24, 6, 0, 3, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            [
                *(
                    "<script>alert(1)</script>",
                    "</td>",
                    "<!--",
                    "]]>",
                    "&lt;",
                    "\"'><img src=x onerror=y>",
                    "javascript:",
                ),
                *(
                    "# h",
                    "- x",
                    "1. x",
                    "> q",
                    "---",
                    "===",
                    "```",
                    "| a | b |",
                    "[a](http://b)",
                    "![i](http://b)",
                    "**b**",
                ),
                *(
                    "https://evil.example",
                    "www.evil.example",
                    "a@b.example",
                    "\\",
                    "`",
                    "~~s~~",
                    "    code",
                    "\n\n",
                    "\t",
                ),
                *(
                    '")',
                    '#eval("1")',
                    '#read("/x")',
                    "$x$",
                    "*b*",
                    "_i_",
                    "= h",
                    "\\u{41}",
                    "/*",
                    "//",
                    "#",
                    "@ref",
                    "<l>",
                ),
                *("{{ 7 * 7 }}", "{% raw %}", "\u202e", "\x1b[31m", "\u2028", "to be filled in by people"),
            ]
        ),
        max_size=6,
    ).map(" ".join),
)


def page(text: str) -> Document:
    """A page with the text in every place that a text may have."""
    svg = readings_chart([Point(AT, 1.0, text)], [Threshold(text, 2.0)], title=text, unit=text)
    drawn = timeline_chart([Mark(AT, text, text), Mark(AT, text, text, until=AT)], opened=AT, title=text)
    blocks = (
        parts.Paragraph(text),
        parts.Notice(text, bad=True),
        parts.Numbered([text, text]),
        parts.Bullets([text]),
        parts.Facts([(text, text)]),
        parts.Figures([(text, text)]),
        parts.Table([text, "b"], [[text, text]]),
        parts.Commands([text]),
        parts.Drawing(svg),
        parts.Drawing(drawn),
    )
    return Document(text, text, (Section(text, blocks, boxed=True), Section(text, (), level=3)), AT)


class Structure(HTMLParser):
    """The tags of a page with their attributes' names, without any text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *sorted(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


@lru_cache(maxsize=1)
def harmless_tags() -> list[object]:
    """Those of a page on which nobody means harm."""
    return tags(html(page("x")))


def tags(text: str) -> list[object]:
    parser = Structure()
    parser.feed(text)
    parser.close()
    return [tag for tag in parser.found if tag not in (("span", "class"), "/span")]  # what marks a blank


@given(HOSTILE)
def test_no_text_becomes_markup_in_html(text: str) -> None:
    assert tags(html(page(text))) == harmless_tags()


def tokens(text: str) -> list[str]:
    """The kinds of what a reader of Markdown sees, without texts."""
    found = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        inner = [
            child.type for child in token.children or () if child.type not in ("text", "softbreak", "text_special")
        ]
        found += [token.type, *inner]
    return [kind for kind in found if kind not in ("em_open", "em_close")]  # what marks a blank


@given(HOSTILE.filter(lambda text: bool(text.split())))
def test_no_text_becomes_markup_in_markdown(text: str) -> None:
    written = markdown(page(text))
    assert tokens(written) == tokens(markdown(page("x")))
    outside = re.sub(r"```console\n.*?\n```", "", written, flags=re.DOTALL)
    assert not re.search(r"https?://|www\.|[\w.]@\w|<\w", outside), "some readers of Markdown make links of these"


@given(HOSTILE)
def test_no_text_becomes_markup_in_typst(text: str) -> None:
    """Every text is one string literal: without literals, the source is the same whatever they say."""
    literal = re.compile(r'"(?:[^"\\]|\\.)*"')

    def skeleton(source: str) -> str:
        return literal.sub('""', source).replace('text(fill: luma(110), emph(""))', '""')

    assert skeleton(typst(page(text))) == skeleton(typst(page("x")))
    assert literal.fullmatch(string(text))
    assert literal.fullmatch(string(text, breakable=True))


@given(HOSTILE)
def test_no_text_becomes_markup_in_a_drawing(text: str) -> None:
    """It is well-formed, and has no element and no attribute but those of the maker."""
    for block in page(text).sections[0].blocks:
        if isinstance(block, parts.Drawing):
            root = ElementTree.fromstring(block.svg)  # noqa: S314 - made here
            names = {element.tag.rpartition("}")[2] for element in root.iter()}
            assert names <= {"svg", "text", "line", "circle", "rect", "polyline", "title"}
            assert not any(
                name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib
            )


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e308, -1e308])
def test_any_value_can_be_drawn(value: float) -> None:
    points = [Point(AT, value), Point(AT + timedelta(days=400), 0.5)]
    ElementTree.fromstring(readings_chart(points, [Threshold("high", value, "below")], title="x"))  # noqa: S314


def test_drawing_says_in_words_what_it_shows() -> None:
    svg = readings_chart([Point(AT, 0.3, "EscalationOpened", True)], [Threshold("high", 0.2)], title="bias")
    [label] = re.findall(r'role="img" aria-label="([^"]*)"', svg)
    assert label == ("Readings of bias: 0.3 at 2026-11-24 06:00:03 UTC (EscalationOpened). Thresholds: high above 0.2")
    assert "no reading on record" in readings_chart([], title="bias")
    drawn = timeline_chart([Mark(AT + timedelta(seconds=90), "People", "lena: Acknowledge")], opened=AT, title="All")
    assert "All: lena: Acknowledge after 2 min" in drawn
    assert "var(" not in on_paper(svg)


def test_html_brings_nothing_from_elsewhere_and_no_script() -> None:
    for text in (html(account("a")[0]), html(period()[0])):
        names = [name for tag in tags(text) if isinstance(tag, tuple) for name in tag]
        assert not {"script", "link", "iframe", "img", "src", "href", "object", "use"} & set(names)
        assert not [name for name in names if name.startswith("on")]
        assert "url(" not in text
        assert "@import" not in text
        assert "prefers-color-scheme: dark" in text
        assert "default-src 'none'" in text


def test_pdf_of_the_same_records_is_the_same_file() -> None:
    pytest.importorskip("typst", reason="the extra report is not installed")
    document, _ = account("a")
    first, second = pdf(document), pdf(document)
    assert first.startswith(b"%PDF-")
    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()
    assert b"2026-01-06T14:48" in first or b"20260106144805" in first, "dated by its last record"


def test_typst_takes_hostile_text() -> None:
    pytest.importorskip("typst", reason="the extra report is not installed")
    text = '")#eval("1") \\ \\u{41} $x$ /* // <l> @ref \u202e ```'
    assert pdf(page(text)).startswith(b"%PDF-")


def test_json_is_what_its_schema_says() -> None:
    declared = json.loads(schema())
    assert declared == json.loads((ROOT / "docs/reference/report.schema.json").read_text("utf-8"))
    for report in (account("c")[1], period()[1]):
        value = json.loads(json.dumps(as_json(report)))
        assert list(faults(value, declared, declared, "")) == []
    assert list(faults({"version": 1}, declared, declared, "")) != []


def faults(value: object, wanted: dict[str, object], root: dict[str, object], where: str) -> list[str]:
    """What a value has against a schema, as far as this one uses the vocabulary; every field is required."""
    if "$ref" in wanted:
        wanted = root["$defs"][str(wanted["$ref"]).rpartition("/")[2]]  # type: ignore[index]
    if "anyOf" in wanted:
        found = [faults(value, option, root, where) for option in wanted["anyOf"]]  # type: ignore[attr-defined]
        return min(found, key=len)
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list}
    kind = wanted["type"]
    if kind == "object":
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        properties = wanted["properties"]
        missing = [f"{where}.{name} differs" for name in set(properties) ^ set(value)]  # type: ignore[call-overload]
        inner = [f for n, v in value.items() if n in properties for f in faults(v, properties[n], root, f"{where}.{n}")]  # type: ignore[operator,index]
        return missing + inner
    if not isinstance(value, kinds[str(kind)]) or (isinstance(value, bool) and kind != "boolean"):  # type: ignore[arg-type]
        return [f"{where} is {value!r}, not {kind}"]
    if isinstance(value, list) and "items" in wanted:
        return [f for n, v in enumerate(value) for f in faults(v, wanted["items"], root, f"{where}[{n}]")]  # type: ignore[arg-type]
    return []
