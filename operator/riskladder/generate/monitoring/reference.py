"""The page on boards and alerts, generated from them."""

from __future__ import annotations

from collections.abc import Iterator

from riskladder.generate.monitoring.alerts import GROUPS
from riskladder.generate.monitoring.boards import BOARDS

INTRODUCTION = """\
<!-- Generated from operator/riskladder/generate/monitoring by `make generate`. Do not edit. -->

# Boards and alerts

What the component `monitoring` brings. [Operations](../operations.md#monitoring) says how to enable it, and
[what to do](../operations.md#runbook) about each alert.
"""


def reference() -> str:
    """Return the whole page."""
    return "\n".join((INTRODUCTION, *_boards(), *_alerts()))


def _boards() -> Iterator[str]:
    for board in BOARDS:
        yield f"## Board {board.title}\n\n{board.about} Its uid is `{board.uid}`.\n"
        yield "| Panel | Shows |\n|---|---|"
        for row in board.rows:
            yield f"| **{row.title}** | |"
            yield from (f"| {panel.title} | {panel.about} |" for panel in row.panels)
        yield ""


def _alerts() -> Iterator[str]:
    yield "## Alerts\n"
    yield "`for` says how long the expression has to be true before somebody is paged.\n"
    yield "| Alert | Severity | Expression | For | Why this threshold |\n|---|---|---|---|---|"
    for alerts in GROUPS.values():
        for alert in alerts:
            expression = " ".join(alert.expression.split()).replace("|", "\\|")
            name = f"[{alert.name}](../operations.md#{alert.anchor})"
            yield f"| {name} | {alert.severity} | `{expression}` | {alert.lasts} | {alert.why} |"
    yield ""
