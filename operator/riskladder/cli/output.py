"""What all subcommands write alike: errors, JSON, and text for people that no user text can break out of."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

COULD_NOT_CHECK = 2
"""Exit code where the question itself could not be answered: an unreadable file, no permission, no cluster."""

JOINERS = "\u200c\u200d"
"""Invisible, but part of how some scripts and emoji are written."""


def fail(message: str) -> NoReturn:
    """Say in one sentence why the command could not do its work, and exit with 2."""
    complain(message)
    raise typer.Exit(COULD_NOT_CHECK)


def complain(message: str) -> None:
    """Write an error to stderr."""
    typer.echo(f"error: {plain(message)}", err=True)


def write_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> Console:
    """The console for stdout as it is now; nothing in what is printed is taken for markup, emoji codes or numbers."""
    return Console(markup=False, emoji=False, highlight=False)


def plain(text: str) -> str:
    r"""User text as it may be shown: control, direction and other invisible characters are escaped (``\x1b``).

    Otherwise a message could move the cursor or reorder what an auditor reads.
    """
    return "".join(c if _is_visible(c) else c.encode("unicode_escape").decode() for c in text)


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in JOINERS


def indented(text: Text, by: int) -> RenderableType:
    """The text wrapped to the width of the console, all of it indented."""
    return Padding(text, (0, 0, 0, by))


def count(number: int, noun: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
