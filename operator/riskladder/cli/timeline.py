"""``riskladder timeline``: who knew what when, who did what, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from riskladder.api.base import format_time
from riskladder.api.chain import ChainKey, position_of
from riskladder.api.reasons import Reason
from riskladder.cli import files, source
from riskladder.cli.layout import GAP, Hanging
from riskladder.cli.options import Namespace
from riskladder.cli.output import console, count, fail, plain, write_json
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, access_of
from riskladder.people.export import Export, end_of
from riskladder.people.record_times import clock, span
from riskladder.people.timeline import DrillResult, Step, Timeline, timeline_of
from riskladder.report.markdown import md

_STYLES: Mapping[str, str] = {
    **dict.fromkeys((Reason.DECISION_REFUSED, Reason.OBJECTED, Reason.NOTIFICATION_FAILED), "bold yellow"),
    **dict.fromkeys(
        (
            Reason.STALLED,
            Reason.HELD,
            Reason.ACKNOWLEDGEMENT_OVERDUE,
            Reason.DECISION_OVERDUE,
            Reason.CLOCK_OVERDUE,
            Reason.CONTAINMENT_LATE,
            Reason.PODS_UNCONFIRMED,
        ),
        "bold red",
    ),
}
"""Events that stand out: what was refused, objected to or did not arrive, and what is late."""

_BAD = ("never answered", "failed")

HEADER = len("Contained") + GAP
"""Columns that the headings of the header take."""

BROKEN = 1
"""Exit code where the chain is broken: the timeline is shown all the same, and marked."""


class Format(StrEnum):
    """Output formats of a timeline."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def timeline(
    name: Annotated[str, typer.Argument(help="Name of the Escalation.", show_default=False)],
    file: Annotated[
        str | None,
        typer.Argument(
            help="YAML, JSON or JSON lines exported by kubectl get escr,esc -o json; - is stdin. Default: live."
        ),
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for programs, markdown for reports.")
    ] = Format.TABLE,
) -> None:
    """Show the timeline of an escalation from its records, live or from a file.

    Times are UTC; those with a sign are relative to the opening.

    The chain is verified first. Exit code 0: it is intact; 1: it is broken (the
    timeline is shown all the same, and marked); 2: there is nothing to show.
    """
    try:
        access = access_of(kubeconfig, context, as_user, as_group)
        export = source.from_cluster(access, namespace) if file is None else source.from_file(file, namespace)
        timeline = timeline_of(export, find(export, name))
    except (files.Unreadable, source.Unavailable, ValueError, LookupError) as error:
        fail(str(error.args[0]))
    if output is Format.JSON:
        write_json(as_json(timeline))
    elif output is Format.MARKDOWN:
        typer.echo("\n".join(as_markdown(timeline)))
    else:
        show(console(), timeline)
    if not timeline.chain.intact:
        raise typer.Exit(BROKEN)


def find(export: Export, name: str) -> ChainKey:
    """Return the chain that a name means.

    Raises:
        LookupError: None has it, or those of several namespaces.
    """
    keys = {position_of(record).key for record in export.records}
    found = sorted(key for key in keys if key.escalation == name)
    if len(found) > 1:
        where = ", ".join(key.namespace for key in found)
        raise LookupError(f"several namespaces have an escalation {name}: choose with --namespace one of {where}")
    if not found:
        others = sorted({key.escalation for key in keys})
        there = (
            f"there are: {', '.join(others[:5])}{' …' if len(others) > 5 else ''}" if others else "there is none at all"
        )
        where = f" in namespace {export.namespace}" if export.namespace else ""
        raise LookupError(f"no record of an escalation {name}{where}; {there}")
    return found[0]


# --- For people ---------------------------------------------------------------------------------------------------


def show(to: Console, timeline: Timeline) -> None:
    """Print the header, then a block for each record: one line, and below it what it says, wrapped."""
    to.print(Hanging(Text(plain(str(timeline.key)), "bold"), 0))
    for heading, text in _header(timeline):
        style = ("green" if timeline.chain.intact else "bold red") if heading == "Chain" else ""
        to.print(Hanging(Text(plain(text), style), HEADER, Text(heading, "dim")))
    to.print()
    to.print(_blocks(timeline))
    if timeline.result is not None:
        to.print()
        to.print(_result_table(timeline.result))


def _header(timeline: Timeline) -> Iterator[tuple[str, str]]:
    yield "Target", timeline.target
    yield "Ladder", timeline.ladder
    yield "Tier", timeline.tier + (" (drill)" if timeline.drill else "")
    yield "Opened", format_time(timeline.opened) if timeline.opened else "unknown"
    if timeline.closed:
        yield "Closed", timeline.closed
    yield "Contained", timeline.contained
    yield "Chain", _chain(timeline)


def _result_rows(result: DrillResult) -> Iterator[tuple[str, str]]:
    """Yield the result of a drill, role by role, then what else was tried."""
    yield from result.answers
    yield "containment (dry run)", result.containment
    yield "channels that failed", result.channels_failed


def _result_table(result: DrillResult) -> RenderableType:
    rows = list(_result_rows(result))
    indent = max(len(plain(what)) for what, _ in rows) + GAP
    lines = (Hanging(Text(plain(how), "red" if how in _BAD else ""), indent, Text(plain(what))) for what, how in rows)
    return Group(Text("Result of the drill", "bold"), *lines)


def _chain(timeline: Timeline) -> str:
    chain = timeline.chain
    if not chain.intact:
        return f"BROKEN: {chain.error}"
    redacted = f", {count(chain.redacted, 'field')} redacted" if chain.redacted else ""
    return f"verified, {count(chain.length, 'record')}, {end_of(chain)}{redacted}"


def _blocks(timeline: Timeline) -> RenderableType:
    blocks = []
    left = max((len(str(step.sequence or "?")) for step in timeline.steps), default=1)
    widest = max((len(plain(step.event)) for step in timeline.steps), default=0)
    for step in timeline.steps:
        event = Text(f"{plain(step.event):<{widest}}", _STYLES.get(step.event, "bold"))
        head = Text("  ").join([_at(step), Text(f"{_since(step):<12}"), event, Text(plain(step.actor))])
        lines = (
            [head] if step.verified else [head, Text("not verified: the chain is broken before or here", "bold red")]
        )
        if step.says:
            lines.append(Text(plain(step.says)))
        lines += [Text.assemble((f"{p.heading} ", "cyan"), (plain(p.text), "dim")) for p in step.particulars]
        blocks.append(Hanging(Text("\n").join(lines), left + GAP, Text(f"{step.sequence or '?':>{left}}")))
    return Group(*blocks)


def _at(step: Step) -> Text:
    if step.at is None:
        return Text(plain(step.at_text))
    return Text.assemble((step.at.strftime("%Y-%m-%d "), "dim"), clock(step.at))


def _since(step: Step) -> str:
    return span(step.since) if step.since is not None else "?"


# --- For programs and reports -------------------------------------------------------------------------------------


def as_json(timeline: Timeline) -> dict[str, object]:
    """Return everything, with times in RFC 3339 and spans in seconds."""
    chain = timeline.chain
    return {
        "namespace": timeline.key.namespace,
        "escalation": timeline.key.escalation,
        "target": timeline.target,
        "ladder": timeline.ladder,
        "tier": timeline.tier,
        "drill": timeline.drill,
        "drillResult": _json_result(timeline.result),
        "opened": _json_time(timeline.opened),
        "closed": timeline.closed or None,
        "contained": timeline.contained,
        "chain": {
            "intact": chain.intact,
            "length": chain.length,
            "head": chain.head,
            "notedHead": chain.noted or None,
            "firstBadRecord": chain.record or None,
            "error": chain.error or None,
            "redacted": chain.redacted,
        },
        "records": [
            {
                "sequence": step.sequence,
                "at": _json_time(step.at) or step.at_text,
                "secondsSinceOpening": step.since.total_seconds() if step.since is not None else None,
                "event": step.event,
                "actor": step.actor,
                "message": step.message,
                "detail": dict(step.detail),
                "redacted": {name: dict(how) for name, how in step.redacted.items()},
                "verified": step.verified,
            }
            for step in timeline.steps
        ],
    }


def _json_result(result: DrillResult | None) -> dict[str, object] | None:
    if result is None:
        return None
    return {
        "answers": dict(result.answers),
        "neverAnswered": result.never_answered,
        "containment": result.containment,
        "channelsFailed": result.channels_failed,
    }


def _json_time(at: datetime | None) -> str | None:
    return format_time(at) if at else None


def as_markdown(timeline: Timeline) -> Iterator[str]:
    """Yield a section with a table, to be pasted into a report."""
    yield f"## Timeline of {md(str(timeline.key))}"
    yield ""
    for heading, text in _header(timeline):
        yield f"- **{heading}:** {md(text)}"
    yield ""
    yield "| # | At (UTC) | Since | Event | Actor | What happened |"
    yield "| ---: | --- | ---: | --- | --- | --- |"
    for step in timeline.steps:
        what = [md(step.says)] if step.says else []
        what += [f"*{p.heading}:* {md(p.text)}" for p in step.particulars]
        at = f"{step.at:%Y-%m-%d} {clock(step.at)}" if step.at else md(step.at_text)
        event = md(step.event) + ("" if step.verified else " **(unverified)**")
        cells = (str(step.sequence or "?"), at, _since(step), event, md(step.actor), "<br>".join(what))
        yield "| " + " | ".join(cells) + " |"
    if timeline.result is not None:
        yield from ("", "### Result of the drill", "", "| Who or what | Result |", "| --- | --- |")
        for what_, how in _result_rows(timeline.result):
            yield f"| {md(what_)} | {md(how)} |"
