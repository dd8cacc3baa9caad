"""``riskladder``: one command, a subcommand for each thing people do."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from riskladder import __version__
from riskladder.cli.program import Program


class Riskladder(Program):
    """All of them, in the order in which help lists them."""

    subcommands: ClassVar[dict[str, str]] = {
        "operator": "riskladder.cli.operator:operator",
        "ingest": "riskladder.cli.ingest:ingest",
        "poll": "riskladder.cli.poll:poll",
        "console": "riskladder.cli.console:console",
        "signal": "riskladder.cli.signal:signal",
        "lint": "riskladder.cli.lint:lint",
        "doctor": "riskladder.cli.doctor.command:doctor",
        "timeline": "riskladder.cli.timeline:timeline",
        "verify": "riskladder.cli.verify:verify",
        "report": "riskladder.cli.report:report",
        "export": "riskladder.cli.export:export",
        "redact": "riskladder.cli.redact:redact",
        "status": "riskladder.cli.people.status:status",
        "show": "riskladder.cli.people.show:show",
        "ack": "riskladder.cli.people.decide:ack",
        "comment": "riskladder.cli.people.decide:comment",
        "escalate": "riskladder.cli.people.decide:escalate",
        "object": "riskladder.cli.people.decide:object_",
        "accept-risk": "riskladder.cli.people.decide:accept_risk",
        "resume": "riskladder.cli.people.decide:resume",
        "close": "riskladder.cli.people.decide:close",
        "review": "riskladder.cli.people.decide:review",
        "contain": "riskladder.cli.people.contain:contain",
        "drill": "riskladder.cli.people.drill:drill",
        "bind": "riskladder.cli.bind:bind",
        "notify": "riskladder.cli.notify:notify",
    }


app = typer.Typer(
    name="riskladder",
    cls=Riskladder,
    help="Model-risk policy that a Kubernetes cluster enforces.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # its columns cut names of options at 80 columns; these never do
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"riskladder {__version__}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Model-risk policy that a Kubernetes cluster enforces."""
