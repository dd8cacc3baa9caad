"""``riskladder bind``: write a MonitorBinding from a sample, try it on one, and grant what it needs."""

from __future__ import annotations

import typer

from riskladder.cli.bind.from_file import from_file
from riskladder.cli.bind.rbac import rbac
from riskladder.cli.bind.trial import trial
from riskladder.cli.program import Group

bind = typer.Typer(
    name="bind",
    cls=Group,
    help="What a monitor's words mean: write a binding from a sample, try it offline, grant what it needs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
bind.command("from")(from_file)
bind.command("test")(trial)
bind.command("rbac")(rbac)
