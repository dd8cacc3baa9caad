"""Writes a report as PDF, by way of Typst: every text is a string of its own there, and never markup.

Nothing of this machine goes into the file: no time but the last one that the report tells of, and no font but Typst's.
So the same records make the same bytes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from riskladder.api.text import plain
from riskladder.people.charts import on_paper
from riskladder.report import document as parts
from riskladder.report.document import Block, Document

EXTRA = "a PDF needs the extra report: pip install 'riskladder[report]'"

_PREAMBLE = """\
#set page(paper: "a4", margin: (x: 18mm, y: 20mm), numbering: "1 / 1")
#set text(font: "Libertinus Serif", size: 9.5pt, lang: "en")
#set par(justify: false)
#set table(stroke: (_, y) => (bottom: 0.4pt + luma(200)), inset: (x: 4pt, y: 4pt))
#show heading.where(level: 1): set text(size: 18pt)
#show heading.where(level: 2): set text(size: 12.5pt)
#show heading.where(level: 3): set text(size: 10.5pt)
#show heading: set block(above: 1.3em, below: 0.7em)
#let box_of(body) = block(width: 100%, inset: 8pt, radius: 3pt, stroke: 0.8pt + luma(120), body)
#let note_of(body, c) = block(width: 100%, inset: (left: 8pt, y: 4pt), stroke: (left: 2pt + c), body)
"""
_WORD = 12
"""Characters of a word after which it may be broken, in a cell of a table."""
_PIECE = re.compile(rf"[^/@:.=_-]{{0,{_WORD}}}[/@:.=_-]?")


class Missing(Exception):  # noqa: N818 - reads as a sentence at the call site
    """What makes PDF files is not installed; the message names the extra."""


def pdf(report: Document) -> bytes:
    """Return the report as a PDF file.

    Raises:
        Missing: Typst is not installed.
    """
    return bytes(_compiler()(typst(report).encode(), format="pdf", ignore_system_fonts=True))


def _compiler() -> Callable[..., Any]:
    try:
        return importlib.import_module("typst").compile  # type: ignore[no-any-return]
    except ImportError as error:
        raise Missing(EXTRA) from error


def typst(report: Document) -> str:
    """Return the report as the text that Typst makes the file of."""
    lines = [f"#set document(title: {string(report.title)}, date: {_date(report)})", _PREAMBLE]
    lines += [f"#heading(level: 1, {string(report.title)})", f"#text(fill: luma(90), {string(report.lead)})"]
    for section in report.sections:
        body = [f"#heading(level: {section.level}, {string(section.heading)})"]
        body += [line for block in section.blocks for line in _block(block)]
        lines += ["#box_of[", *body, "]"] if section.boxed else body
    return "\n".join(lines) + "\n"


def string(text: str, *, breakable: bool = False) -> str:
    """Return a string of Typst in which nothing is markup, however it is meant."""
    shown = plain(" ".join(text.split()))
    if breakable:
        shown = " ".join(map(_broken, shown.split(" ")))
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\u200b", "\\u{200b}") + '"'


def _broken(word: str) -> str:
    """Return a word that may be broken: behind what joins its parts, else after so many characters."""
    return "\u200b".join(filter(None, _PIECE.findall(word))) if len(word) > _WORD else word


def _date(report: Document) -> str:
    at = report.at
    if at is None:
        return "none"
    return (
        f"datetime(year: {at.year}, month: {at.month}, day: {at.day}, "
        f"hour: {at.hour}, minute: {at.minute}, second: {at.second})"
    )


def _block(block: Block) -> Iterator[str]:
    match block:
        case parts.Paragraph(text):
            yield f"#par({string(text)})"
        case parts.Notice(text, bad):
            side = 'rgb("#b42318")' if bad else "luma(150)"
            yield f"#note_of(text({string(text)}), {side})"
        case parts.Numbered(items):
            yield f"#enum({_list(items)})" if items else ""
        case parts.Bullets(items):
            yield f"#list({_list(items)})" if items else ""
        case parts.Facts(rows):
            cells = (f"strong({string(label)}), {_value(value)}" for label, value in rows)
            yield f"#table(columns: (28%, 1fr), {', '.join(cells)})" if rows else ""
        case parts.Figures(rows):
            cells = (
                f"align(center)[#text(size: 14pt, {string(number)}) \\ #text(size: 8pt, {string(label)})]"
                for label, number in rows
            )
            yield f"#grid(columns: (1fr,) * {len(rows)}, {', '.join(cells)})" if rows else ""
        case parts.Table(headings, rows, numbers):
            yield _table(headings, rows, numbers)
        case parts.Commands(lines):
            for line in lines:
                shown = string(f"$ {line}", breakable=True)
                yield f'#text(font: "DejaVu Sans Mono", size: 7.5pt, {shown})'
                yield ""
        case parts.Drawing(svg):
            drawn = on_paper(svg).replace("\\", "\\\\").replace('"', '\\"')
            yield f'#image(bytes("{drawn}"), format: "svg", width: 100%)'


def _list(items: Iterable[str]) -> str:
    return ", ".join(map(string, items)) + ","


def _value(text: str) -> str:
    said = string(text, breakable=True)
    return f"text(fill: luma(110), emph({said}))" if text == parts.BLANK else said


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: frozenset[int]) -> str:
    align = ", ".join("right" if number in numbers else "left" for number in range(len(headings)))
    head = ", ".join(f"strong({string(heading)})" for heading in headings)
    cells = [string(cell, breakable=True) for row in rows for cell in row]
    whole = ", ".join([f"table.header({head})", *cells])
    return f"#text(size: 8pt, table(columns: {len(headings)}, align: ({align},), {whole}))"
