"""How text for people is laid out on a terminal: lines break between words, and no name that fits a line is split.

A name that is split cannot be copied, searched for, or distinguished from another. So a word that is longer than its
column gets a line of its own, from further left. Only what is wider than the terminal itself is split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

LEAST_ROOM = 24
"""Columns that text gets at least, however narrow the terminal is."""

GAP = 2
"""Columns between two columns."""

_WORD = re.compile(r"\s*\S+\s*")
_PART = re.compile(r"\s*[^\s/]*/?\s*")


@dataclass(frozen=True, slots=True)
class Hanging:
    """A label, and a text whose lines are indented alike. Text with ``overflow="fold"`` may be split, as a hash may."""

    text: Text
    indent: int
    label: Text | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield its lines."""
        width = options.max_width
        indent = max(min(self.indent, width - LEAST_ROOM), 0)
        room = width - indent
        if self.text.overflow == "fold":
            lines = list(self.text.wrap(console, room))
        else:
            lines = [line for whole in self.text.split("\n", allow_blank=True) for line in wrapped(whole, room, width)]
        label = self.label or Text()
        if cell_len(label.plain) > max(indent - GAP, 0) and label.plain.strip():
            yield _line(label)
            label = Text()
        for line in lines or [Text()]:
            left = indent if cell_len(line.plain) <= room else width - cell_len(line.plain)
            if label.plain and left < cell_len(label.plain) + GAP:
                yield _line(label)
                label = Text()
            yield _line(Text.assemble(label, " " * (left - cell_len(label.plain)), line))
            label = Text()


@dataclass(frozen=True, slots=True)
class Rows:
    """A table where it fits, else a block for each row, which begins with its first cell."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Text]]
    wraps: Iterable[str] = ()
    """The headings of the columns that hold words, and not one name."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, or the blocks."""
        wraps = set(self.wraps)
        widths = []
        for number, heading in enumerate(self.headings):
            cells = [row[number].plain for row in self.rows]
            parts = [word for cell in cells for word in cell.split()] if heading in wraps else cells
            widths.append(max(map(cell_len, (heading, *parts))))
        if sum(widths) + GAP * (len(widths) - 1) <= options.max_width:
            yield self._table(widths, wraps)
            return
        indent = max(map(cell_len, self.headings)) + 2 * GAP
        for number, row in enumerate(self.rows):
            if number:
                yield Text()
            yield _line(row[0])
            for heading, cell in zip(self.headings[1:], row[1:], strict=True):
                yield Hanging(cell, indent, Text(f"  {heading}", "dim"))

    def _table(self, widths: Sequence[int], wraps: set[str]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for heading, width in zip(self.headings, widths, strict=True):
            table.add_column(heading, no_wrap=heading not in wraps, min_width=width)
        for row in self.rows:
            table.add_row(*row)
        return table


def wrapped(text: Text, room: int, width: int) -> Iterator[Text]:
    """Yield the lines of a text: broken between words, where need be behind a slash, and last of all anywhere."""
    for line in _broken(text, _WORD, room):
        if cell_len(line.plain) <= width:
            yield line
            continue
        for part in _broken(line, _PART, room):
            while cell_len(part.plain) > width:
                first, part = part.divide([room])
                yield first
            yield part


def _broken(text: Text, piece: re.Pattern[str], room: int) -> Iterable[Text]:
    """Return a text in lines of so many columns; a piece that is longer has a line of its own."""
    offsets, column = [], 0
    for match in piece.finditer(text.plain):
        if column and column + cell_len(match[0].rstrip()) > room:
            offsets.append(match.start())
            column = 0
        column += cell_len(match[0])
    lines = text.divide(offsets)
    for line in lines:
        line.rstrip()
    return lines


def _line(text: Text) -> Text:
    """Return text that stays on one line, however wide the terminal is."""
    text.no_wrap, text.overflow = True, "ignore"
    return text
