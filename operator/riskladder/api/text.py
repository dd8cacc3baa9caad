"""Text for people: what came from others made fit to be shown, and numbers and spans as people say them."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import timedelta

JOINERS = "\u200c\u200d"
"""Invisible, but part of how some scripts and emoji are written."""

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_ROUNDED = ((1, 60), (60, 86_400), (3_600, None))
"""To how many seconds a span is rounded, and below which length."""

FORGETS_NONE = (3, 12) <= sys.version_info < (3, 12, 6)
"""Whether this Python keeps every interned string until it ends (https://github.com/python/cpython/issues/113993)."""


def shared(text: str) -> str:
    """Return the one copy of a text that many objects have in common."""
    return text if FORGETS_NONE else sys.intern(text)


def length(delta: timedelta) -> str:
    """Return a span in its two largest units, rounded: ``45 s``, ``12 min``, ``3 h 20 min``, ``5 d 2 h``."""
    seconds = max(delta.total_seconds(), 0.0)
    for finest, limit in _ROUNDED:
        whole = int(seconds / finest + 0.5) * finest
        if limit is None or whole < limit:
            break
    parts = []
    for unit, size in _UNITS:
        number, whole = divmod(whole, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts) or "0 s"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def listed(items: Iterable[str], last: str = "and") -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    found = list(items)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {last} {found[-1]}"


def first(items: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """Return the first few of many: ``a, b and 3 more``."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more


def plain(text: str) -> str:
    r"""Return user text as it may be shown: control, direction and other invisible characters are escaped (``\x1b``).

    Otherwise a message could move the cursor or reorder what a reader sees.
    """
    return "".join(c if _is_visible(c) else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, limit: int = 0) -> str:
    """Return the same on one line: runs of white space become one space.

    Args:
        text: What came from others.
        limit: The most characters to keep, the ellipsis that marks a cut included; 0 keeps all.
    """
    line = plain(" ".join(text.split()))
    return line if not limit or len(line) <= limit else line[: limit - 1] + "…"


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in JOINERS
