"""What all subcommands write alike: errors, JSON, and text for people that no user text can break out of."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from riskladder.api.text import count, plain
from riskladder.cli.layout import Hanging

__all__ = ["COULD_NOT_CHECK", "complain", "console", "count", "fail", "indented", "json_text", "plain", "write_json"]

COULD_NOT_CHECK = 2
"""Exit code where the question itself could not be answered: an unreadable file, no permission, no cluster."""


def fail(message: str) -> NoReturn:
    """Say in one sentence why the command could not do its work, and exit with 2."""
    complain(message)
    raise typer.Exit(COULD_NOT_CHECK)


def complain(message: str) -> None:
    """Write an error to stderr."""
    typer.echo(f"error: {plain(message)}", err=True)


def write_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    typer.echo(json_text(value))


def json_text(value: Any) -> str:
    """Return one JSON document; invisible characters are escaped, as JSON has it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if plain(text.replace("\n", " ")) != text.replace("\n", " "):  # outside of strings there are only line ends
        text = "".join(c if c == "\n" or plain(c) == c else json.dumps(c)[1:-1] for c in text)
    return text


def console() -> Console:
    """Return the console for stdout as it is now; what is printed is not taken for markup, emoji codes or numbers."""
    return Console(markup=False, emoji=False, highlight=False)


def indented(text: Text, by: int) -> RenderableType:
    """Return the text wrapped to the width of the console, all of it indented."""
    return Hanging(text, by)
