"""The commands for people, put into the program."""

from __future__ import annotations

import typer

from riskladder.cli.people import contain, decide, drill, show, status
from riskladder.cli.people.options import DECIDE, EXERCISE, LOOK


def register(app: typer.Typer) -> None:
    """Add them all, under their headings."""
    app.command(rich_help_panel=LOOK)(status.status)
    app.command(rich_help_panel=LOOK)(show.show)
    for name, command in (
        ("ack", decide.ack),
        ("comment", decide.comment),
        ("escalate", decide.escalate),
        ("object", decide.object_),
        ("accept-risk", decide.accept_risk),
        ("resume", decide.resume),
        ("close", decide.close),
        ("review", decide.review),
    ):
        app.command(name, rich_help_panel=DECIDE)(command)
    app.command(rich_help_panel=EXERCISE)(contain.contain)
    app.command(rich_help_panel=EXERCISE)(drill.drill)
