"""``status``: what is open, and who is waited on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from riskladder.api.base import format_time
from riskladder.cli.layout import Rows
from riskladder.cli.options import Output, OutputOption
from riskladder.cli.output import count, fail, plain
from riskladder.cli.people.follow import show
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, Namespace, Watch, access_of
from riskladder.cli.people.session import Session
from riskladder.people.case import Case, Contained
from riskladder.people.text import due, length

_STYLES = {Contained.YES: "green", Contained.IN_PROGRESS: "yellow", Contained.NO: "", Contained.GONE: ""}


def status(
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")] = False,
    watch: Watch = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the open escalations, and who is waited on. What is due first comes first.

    \b
    kubectl riskladder status --all-namespaces
    """
    if everywhere and namespace:
        fail("give either --namespace or --all-namespaces")

    async def look(session: Session) -> tuple[str, list[Case]]:
        cases = await session.cases(everywhere=everywhere)
        return ("the cluster" if everywhere else f"namespace {session.namespace}"), in_order(
            c for c in cases if c.is_open
        )

    show(
        access_of(kubeconfig, context, as_user, as_group),
        namespace,
        look,
        render=lambda found: table(found[1], found[0], datetime.now(UTC), everywhere=everywhere),
        facts=lambda found: {"escalations": [as_json(case) for case in found[1]]},
        output=output,
        watch=watch,
        everywhere=everywhere,
    )


def in_order(cases: Iterable[Case]) -> list[Case]:
    """Return what is due first, then what has waited longest."""
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(cases, key=lambda case: (case.due_at or never, case.opened, case.namespace, case.name))


def table(cases: Sequence[Case], where: str, now: datetime, *, everywhere: bool = False) -> RenderableType:
    """Return one line for each where the terminal is wide enough, else a block."""
    if not cases:
        return Text(f"No escalation is open in {plain(where)}.")
    headings = ("NAMESPACE",) * everywhere + ("NAME", "TIER", "TARGET", "CONTAINED", "WAITING ON", "DUE", "AGE")
    rows = []
    for case in cases:
        late = case.due_at is not None and case.due_at <= now
        cells = [Text(plain(case.namespace))] * everywhere + [
            Text(plain(case.name), "bold"),
            Text(plain(case.tier) + (" (drill)" if case.spec.drill else "")),
            Text(plain(case.target)),
            Text(case.contained, _STYLES[case.contained]),
            Text(plain(", ".join(case.waiting_on)) or "nobody"),
            Text("suspended", "yellow")
            if case.is_suspended
            else Text(due(case.due_at, now) if case.due_at else "-", "bold red" if late else ""),
            Text(length(now - case.opened)),
        ]
        rows.append(cells)
    drills = sum(case.spec.drill for case in cases)
    note = f", {count(drills, 'drill')} among them" if drills else ""
    suspended = sum(case.is_suspended for case in cases)
    if suspended:
        note += (
            f". The ladder of {suspended} is suspended: nobody is notified, and no deadline has its effect meanwhile"
        )
    return Group(
        Rows(headings, rows, wraps=("WAITING ON",)), Text(f"\n{count(len(cases), 'escalation')} open{note}.", "dim")
    )


def as_json(case: Case) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "namespace": case.namespace,
        "name": case.name,
        "tier": case.tier,
        "drill": case.spec.drill,
        "target": {"kind": case.spec.target.kind, "name": case.spec.target.name},
        "contained": str(case.contained),
        "suspended": case.is_suspended,
        "waitingOn": list(case.status.waiting_on),
        "dueAt": format_time(case.due_at) if case.due_at else None,
        "openedAt": format_time(case.opened),
    }
