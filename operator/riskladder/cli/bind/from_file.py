"""``riskladder bind from``: a MonitorBinding that names every value of a sample."""

from __future__ import annotations

from typing import Annotated

import typer

from riskladder.api.binding import MonitorFormat
from riskladder.cli.bind import sample
from riskladder.cli.bind.write import Choices, NothingToBind, written
from riskladder.cli.output import fail
from riskladder.monitors.formats import FORMATS, detect
from riskladder.monitors.payload import Malformed


def from_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sample of what the monitor sends, or - for stdin.")],
    name: Annotated[str | None, typer.Option(help="Name of the binding.")] = None,
    ladder: Annotated[str | None, typer.Option(help="Name of the EscalationLadder.")] = None,
    target: Annotated[str | None, typer.Option(help="The workload that serves the model: NAME or KIND/NAME.")] = None,
    source: Annotated[str | None, typer.Option(help="Who reports, as the ladder knows it.")] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Under whose name signals are written. Default: the source.")
    ] = None,
    format_: Annotated[
        MonitorFormat | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"What it is: {', '.join(MonitorFormat)}. Default: what it looks like.",
        ),
    ] = None,
) -> None:
    """Write a MonitorBinding from a sample file: every value in it, and where it stands.

    What you have to choose is CHANGE-ME, which neither the API server nor lint
    takes. Comments say what the format knows: the method, which side is bad, the range.

    Exit code 0: written; 2: the sample could not be read, or holds no value.

    \b
    riskladder bind from report.json --ladder credit-scoring --target credit-scorer
    """
    found = sample.delivery(file)
    chosen = format_ or detect(found)
    kind, _, workload = (target or "").rpartition("/")
    choices = Choices(name, ladder, kind or "Deployment", workload or None, source, service_account)
    try:
        text = written(chosen, FORMATS[chosen].read(found), choices)
    except (Malformed, NothingToBind) as error:
        fail(f"{file}: {error}")
    typer.echo(text, nl=False)
