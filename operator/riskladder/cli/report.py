"""``riskladder report``: what happened, for those who have to answer for it, from the records alone."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from riskladder.cli import files, source
from riskladder.cli.options import AllNamespaces, Namespace
from riskladder.cli.output import fail, json_text
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, access_of
from riskladder.cli.timeline import find
from riskladder.people.text import parse_since
from riskladder.report.build import report_of_period, report_on
from riskladder.report.document import Document
from riskladder.report.json_form import as_json
from riskladder.report.markdown import markdown
from riskladder.report.pdf import Missing, pdf
from riskladder.report.period import Report

BROKEN = 1
"""Exit code where a chain is broken: the report is written all the same, and says so."""


class Format(StrEnum):
    """What a report is written as."""

    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"
    JSON = "json"


class Form(StrEnum):
    """Forms of authorities."""

    AI_ACT_73_INITIAL = "ai-act-73-initial"


def report(
    name: Annotated[
        str | None, typer.Argument(help="Name of the Escalation; none with --since.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Argument(help="What riskladder export or kubectl get escr,esc -o json wrote; - is stdin. Default: live."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Report about a period from then on: a date, a time, or so long ago, such as 90d."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="End of the period: as --since. Default: now.")] = None,
    ladder: Annotated[str | None, typer.Option(help="Only the escalations of this ladder.")] = None,
    form: Annotated[
        Form | None,
        typer.Option(help="Fill in a form in place of a report: the initial one of Article 73 of the EU AI Act."),
    ] = None,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: Annotated[
        Format,
        typer.Option("--output", "-o", help="markdown, html (one file), pdf (extra report), or json for programs."),
    ] = Format.MARKDOWN,
    to: Annotated[Path | None, typer.Option("--to", help="File to write. Default: standard output.")] = None,
) -> None:
    """Report on an escalation, or on a period, from records, live or from a file.

    Of one escalation: what was measured, who knew and decided, what was done and
    proved, what is owed, and what the records do not say. Of a period: how many,
    how fast, what stalled, and what is open. Times are UTC.

    The chains are verified first. Exit code 0: all are intact; 1: one is broken
    (the report is written all the same, and says so); 2: nothing to report on.
    """
    if since is not None and file is None:
        name, file = None, name
    if (name is None) == (since is None):
        fail("give either the NAME of an Escalation or --since")
    if since is None and (until or ladder or everywhere):
        fail("--until, --ladder and --all-namespaces are about a period: give --since")
    if since is not None and form is not None:
        fail("--form is about one escalation: give its NAME")
    if everywhere and namespace:
        fail("give either --namespace or --all-namespaces")
    try:
        if file is not None:
            export = source.from_file(file, namespace)
        else:
            access = access_of(kubeconfig, context, as_user, as_group)
            export = source.from_cluster(access, namespace, everywhere=everywhere)
        where = file or ""
        if name is not None:
            document, data = report_on(export, find(export, name), source=where, form=form.value if form else "")
        else:
            now = datetime.now(UTC)
            begin, end = parse_since(since or "", now), parse_since(until, now) if until else now
            if begin >= end:
                raise ValueError("--since has to be before --until")
            document, data = report_of_period(export, begin, end, ladder=ladder or "", source=where)
        write(document, data, output, to)
    except (files.Unreadable, source.Unavailable, ValueError, LookupError, Missing, OSError) as error:
        fail(str(error.args[0]) if not isinstance(error, OSError) else f"{to}: {error.strerror or error}")
    if not all(account.verification.intact for account in data.escalations):
        raise typer.Exit(BROKEN)


def write(document: Document, data: Report, output: Format, to: Path | None) -> None:
    """Write the report to the file, or to standard output.

    Raises:
        Missing: What makes PDF files is not installed.
        ValueError: A PDF would go to a terminal.
        OSError: The file cannot be written.
    """
    if output is Format.PDF and to is None and sys.stdout.isatty():
        raise ValueError("a PDF is no text for a terminal: give --to FILE")
    from riskladder.report.html import html  # brings a template engine, which no other command needs

    made = {
        Format.MARKDOWN: lambda: markdown(document).encode(),
        Format.HTML: lambda: html(document).encode(),
        Format.PDF: lambda: pdf(document),
        Format.JSON: lambda: f"{json_text(as_json(data))}\n".encode(),
    }[output]()
    if to is not None:
        to.write_bytes(made)
    else:
        typer.echo(made, nl=False)
