"""``riskladder export``: everything of a period in one archive, to be checked without a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from riskladder import __version__
from riskladder.api.base import format_time
from riskladder.cli import files, source
from riskladder.cli.options import AllNamespaces, Namespace
from riskladder.cli.output import count, fail
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, access_of
from riskladder.people.text import parse_since
from riskladder.report.archive import KINDS, of_kind, pack
from riskladder.report.select import of_period

Object = dict[str, Any]


def export(
    to: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File to write, such as 2026.tar.gz.")],
    file: Annotated[
        str | None,
        typer.Argument(
            help="What kubectl get escr,esc,escd,ladder -o json or riskladder export wrote; - is stdin. Default: live."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what has a record since: a date, a time, or so long ago, such as 90d.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what has a record before: as --since. Default: now.")] = None,
    ladder: Annotated[str | None, typer.Option(help="Only the escalations of this ladder.")] = None,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
) -> None:
    """Write records, escalations, decisions and ladders into one archive.

    The chain of an escalation that has a record in the period, or is open in it, is
    written whole, since a part of one cannot be verified. The same objects make the same file, to the byte.
    report, verify and timeline read it.

    Exit code 0: it is written; 2: it is not.
    """
    if everywhere and namespace:
        fail("give either --namespace or --all-namespaces")
    try:
        if file is not None:
            found = source.everything_in(file, namespace)
        else:
            access = access_of(kubeconfig, context, as_user, as_group)
            found = source.everything_on(access, namespace, everywhere=everywhere)
        now = datetime.now(UTC)
        begin = parse_since(since, now) if since else None
        end = parse_since(until, now) if until else None
        if begin is not None and begin >= (end or now):
            raise ValueError("--since has to be before --until")
        chosen = of_period(found, since=begin, until=end, ladder=ladder or "")
        if not any(obj["kind"] == "EscalationRecord" for obj in chosen):
            raise ValueError("no record is in that period")
        times = {"since": format_time(begin) if begin else "", "until": format_time(end) if end else ""}
        to.write_bytes(pack(chosen, **times, ladder=ladder or "", version=__version__))
    except (files.Unreadable, source.Unavailable, ValueError) as error:
        fail(str(error.args[0]))
    except OSError as error:
        fail(f"{to}: cannot be written: {error.strerror or error}")
    kinds = [(len(of_kind(kind, chosen)), kind) for kind in KINDS.values()]
    typer.echo(f"{to}: {', '.join(count(number, kind) for number, kind in kinds)}")
