"""What a report consists of, whatever it is written as: headings, texts, tables, drawings. Pure.

Every text in it is plain text. What writes a format escapes it, all of it, and nothing else is put on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

BLANK = "to be filled in by people"
"""What stands where the records know nothing."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Numbered:
    """Sentences that are counted."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bullets:
    """Things of one kind."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels, each with what is known; ``BLANK`` where people have to say."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers, each with what it counts."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    """Columns that are aligned as numbers."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG drawing made by charts.py; its label says the same in words."""

    svg: str


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines to be copied."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that must not be overlooked."""

    text: str
    bad: bool = False


Block = Paragraph | Numbered | Bullets | Facts | Figures | Table | Drawing | Commands | Notice


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it."""

    heading: str
    blocks: Sequence[Block]
    boxed: bool = False
    """Whether it is set apart, as what one checks the rest by."""
    level: int = 2
    drawn: bool = False
    """Whether it is about a drawing alone, and left out where there are none."""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    """One line below the title."""
    sections: Sequence[Section]
    at: datetime | None
    """The last time that it tells of: what a file of it is dated by."""
