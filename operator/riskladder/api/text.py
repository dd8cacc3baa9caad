"""Text that came from others, made fit to be shown to people."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""Invisible, but part of how some scripts and emoji are written."""


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
