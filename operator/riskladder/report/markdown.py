"""Writes a report as Markdown (CommonMark with tables). Every text is escaped: none is markup."""

from __future__ import annotations

import re
from collections.abc import Iterator

from riskladder.api.text import plain
from riskladder.report import document as parts
from riskladder.report.document import Block, Document

_SPECIAL = re.compile(r"([\\`*_\[\]()#|~!$])")
_LINK = re.compile(r":(?=//)|(?<=[wW]{3})\.", re.ASCII)
_FIRST = re.compile(r"^(\s*)([-+=>]|\d{1,9}(?=[.)]))")


def md(text: str) -> str:
    """Return user text as text: no markup, no HTML, no links, no new table cell."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = _SPECIAL.sub(r"\\\1", escaped)
    return _LINK.sub(lambda found: f"\\{found[0]}", escaped).replace("@", "&#64;")


def _line(text: str) -> str:
    """Return text that may stand at the beginning of a line: neither list, heading, rule nor quotation."""
    escaped = md(" ".join(text.split()))
    return _FIRST.sub(lambda found: f"{found[1]}{_harmless(found[2])}", escaped)


def _harmless(first: str) -> str:
    return f"&#{ord(first[0])};{first[1:]}"


def markdown(report: Document) -> str:
    """Return the report as Markdown."""
    lines = [f"# {md(report.title)}", "", _line(report.lead)]
    for section in report.sections:
        if section.drawn:
            continue  # tables elsewhere say the same
        lines += ["", f"{'#' * section.level} {md(section.heading)}"]
        for block in section.blocks:
            written = list(_block(block))
            lines += ["", *written] if written else []
    return "\n".join(lines) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case parts.Paragraph(text):
            yield _line(text)
        case parts.Notice(text, bad):
            yield f"> **{'Attention' if bad else 'Note'}:** {_inline(text)}"
        case parts.Numbered(items):
            yield from (f"{number}. {_line(item)}" for number, item in enumerate(items, start=1))
        case parts.Bullets(items):
            yield from (f"- {_line(item)}" for item in items)
        case parts.Facts(rows):
            yield from (f"- **{_inline(label)}:** {_value(value)}" for label, value in rows)
        case parts.Figures(rows):
            yield from (f"- **{_inline(label)}:** {_inline(number)}" for label, number in rows)
        case parts.Table(headings, rows, numbers):
            yield _row([md(heading) for heading in headings])
            yield _row(["---:" if n in numbers else "---" for n in range(len(headings))])
            yield from (_row([_inline(cell) for cell in row]) for row in rows)
        case parts.Commands(lines):
            yield "```console"
            yield from (f"$ {_one_line(line)}" for line in lines)
            yield "```"
        case parts.Drawing():
            pass  # the table beside it says the same


def _inline(text: str) -> str:
    return md(" ".join(text.split()))


def _value(text: str) -> str:
    return f"*{parts.BLANK}*" if text == parts.BLANK else _inline(text)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _one_line(text: str) -> str:
    """Return a command on one line, which cannot end the block that it stands in."""
    return plain(" ".join(text.split())).replace("```", "'''")
