"""The details of one escalation, for people: headings with lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from riskladder.cli.layout import GAP, Hanging
from riskladder.cli.output import plain
from riskladder.people.sections import FOR_OTHERS, OPTIONS, sections
from riskladder.people.view import View

_WORST = ("late", "failed", "refused", "NOT ")


def details(view: View, now: datetime) -> RenderableType:
    """Return the details as they are shown."""
    case = view.case
    title = Text(plain(f"{case.namespace}/{case.name}"), "bold")
    if case.spec.drill:
        title.append("  DRILL: the model is not touched", "bold yellow")
    blocks: list[RenderableType] = [Hanging(title, 0)]
    found = sections(view, now)
    apart = (OPTIONS, FOR_OTHERS)
    labels = [label for section in found if section.heading not in apart for label, _ in section.lines]
    widest = min(max((len(plain(label)) for label in labels), default=0) + 2, 28)
    for section in found:
        blocks.append(Text(f"\n{section.heading}", "bold cyan"))
        if section.heading == OPTIONS:
            blocks += [part for label, text in section.lines for part in _option(label, text)]
            continue
        if section.heading == FOR_OTHERS:
            blocks += [Hanging(Text(plain(f"{label}: {text}"), "dim"), 2) for label, text in section.lines]
            continue
        for label, text in section.lines:
            blocks.append(Hanging(Text(plain(text), _style(text)), widest + GAP, Text("  " + plain(label), "dim")))
    return Group(*blocks)


def _option(label: str, command: str) -> Iterator[RenderableType]:
    """Yield an option; its command is never wrapped, so that it can be copied."""
    yield Hanging(Text(plain(label), "dim"), 2)
    if not command:
        return
    yield Text(f"    {plain(command)}", no_wrap=True, overflow="ignore")


def _style(text: str) -> str:
    return "red" if any(word in text for word in _WORST) else ""
