"""The commands for people, put into the program."""

from __future__ import annotations

import typer

from riskladder.cli.people import act, drill, show, status, stop
from riskladder.cli.people.options import DECIDE, EXERCISE, LOOK


def register(app: typer.Typer) -> None:
    """Add them all, under their headings."""
    app.command(rich_help_panel=LOOK)(status.status)
    app.command(rich_help_panel=LOOK)(show.show)
    for name, command in (
        ("ack", act.ack),
        ("comment", act.comment),
        ("escalate", act.escalate),
        ("object", act.object_),
        ("accept-risk", act.accept_risk),
        ("resume", act.resume),
        ("close", act.close),
        ("review", act.review),
    ):
        app.command(name, rich_help_panel=DECIDE)(command)
    app.command(rich_help_panel=EXERCISE)(stop.contain)
    app.command(rich_help_panel=EXERCISE)(drill.drill)
