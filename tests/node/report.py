"""What the tests on a real node have measured, for the summary at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.node.answers import Row

ROWS: list[Row] = []
_notes: defaultdict[str, list[str]] = defaultdict(list)


def note(title: str, line: str) -> None:
    """Add a line below a title."""
    _notes[title].append(line)


def sections() -> Iterator[tuple[str, Sequence[str]]]:
    """Return each title with its lines."""
    if ROWS:
        from tests.node.answers import table  # half a second, before any test, that only the real node is worth

        yield "what a client sees, in seconds since the signal was sent", table(ROWS)
    yield from _notes.items()
