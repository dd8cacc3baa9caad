"""``riskladder bind test``: which reading each value of a sample becomes, or why not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from riskladder.api.base import format_time
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.measurement import indicator_of, no_measurement, with_unit
from riskladder.api.reasons import Reason
from riskladder.api.signal import Reading
from riskladder.cli.bind import sample
from riskladder.cli.bind.sample import Bound
from riskladder.cli.layout import Hanging, Rows
from riskladder.cli.output import console, count, fail, plain
from riskladder.monitors.formats import FORMATS
from riskladder.monitors.observations import Observation, Refusal, Translation, reading_of
from riskladder.monitors.payload import Malformed
from riskladder.monitors.times import NoTime, parse
from riskladder.monitors.translate import translate

_HEADINGS = ("INDICATOR", "VALUE", "OBSERVED AT", "TARGET", "PATH")

REFUSED = 1
"""Exit code where a value was refused, or none became a reading."""


def trial(
    binding: Annotated[str, typer.Argument(metavar="BINDING", help="File with one MonitorBinding.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sample of what the monitor sends, or - for stdin.")],
    header: Annotated[
        list[str] | None, typer.Option("--header", help="'Name: value' that comes with it; repeatable.")
    ] = None,
    ladder: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with the ladder, to compare readings with its indicators.")
    ] = None,
    received_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it arrives, in RFC 3339. Default: now.")
    ] = None,
) -> None:
    """Show offline which reading each value of a sample becomes, or why it becomes none.

    Exit code 0: at least one reading, and nothing was refused; 1: a value was
    refused, or none became a reading; 2: a file could not be used.

    \b
    riskladder bind test binding.yaml report.json --ladder ladder.yaml
    """
    found = sample.bindings(binding)
    if len(found) > 1:
        fail(f"{binding}: holds {len(found)} bindings, expected one")
    bound = found[0]
    policy = sample.ladder(ladder, bound.spec.ladder) if ladder is not None else None
    try:
        now = parse(received_at, None, None) if received_at is not None else datetime.now(UTC)
    except NoTime as error:
        fail(f"--received-at: {error}")
    delivery = sample.delivery(file, header or (), now)
    try:
        content = FORMATS[bound.spec.format].read(delivery)
    except Malformed as error:
        translation = Translation((), refusals=(Refusal("", Reason.MALFORMED, str(error)),))
    else:
        translation = judged(translate(bound.spec, content, delivery), policy)
    show(console(), bound, translation, policy)
    if translation.refusals or not translation.observations:
        raise typer.Exit(REFUSED)


def judged(found: Translation, policy: EscalationLadderSpec | None) -> Translation:
    """Return what is left once readings have been compared with the indicators of their ladder."""
    if policy is None:
        return found
    kept, refused = [], []
    for one in found.observations:
        indicator = indicator_of(policy.indicators, one.indicator)
        why = (
            (Reason.UNKNOWN_INDICATOR, f"the ladder has no indicator {one.indicator}")
            if indicator is None
            else no_measurement(indicator, Reading.model_validate(reading_of(one)))
        )
        if why is None:
            kept.append(one)
        else:
            refused.append(Refusal(one.path, why[0], why[1], one.indicator, one.target))
    return found._replace(observations=tuple(kept), refusals=(*found.refusals, *refused))


def show(to: Console, bound: Bound, found: Translation, policy: EscalationLadderSpec | None) -> None:
    """Print the readings, and below them whatever became none."""
    if found.observations:
        to.print(Rows(_HEADINGS, [_row(one, policy) for one in found.observations], wraps=("PATH",)))
    _list(to, "Refused", "red", (_refusal(refusal) for refusal in found.refusals))
    _list(to, "Heartbeats", "green", ((one.path, format_time(one.heard_at)) for one in found.heartbeats))
    said = ((one.path, f"{one.target}: {one.name} {one.alias} is version {one.version}") for one in found.versions)
    _list(to, "Versions", "green", said)
    _list(to, "Not bound", "dim", ((path, "no reading of the binding is about it") for path in found.unbound))
    summary = (
        f"{count(len(found.observations), 'reading')}, {len(found.refusals)} refused, {len(found.unbound)} not bound."
    )
    style = "bold green" if found.observations and not found.refusals else "bold red"
    to.print(Text(f"{plain(bound.name or 'binding')}: {summary}", style))


def _row(one: Observation, policy: EscalationLadderSpec | None) -> Sequence[Text]:
    indicator = indicator_of(policy.indicators, one.indicator) if policy is not None else None
    cells = (one.indicator, with_unit(one.value, indicator), format_time(one.observed_at), one.target, one.path)
    return [Text(plain(cell)) for cell in cells]


def _refusal(refusal: Refusal) -> tuple[str, str]:
    about = f"{refusal.indicator}: " if refusal.indicator else ""
    return refusal.path or "payload", f"{about}{refusal.message} ({refusal.reason})"


def _list(to: Console, heading: str, style: str, lines: Iterable[tuple[str, str]]) -> None:
    found = [(plain(path), plain(text)) for path, text in lines]
    if not found:
        return
    to.print(Text(f"\n{heading}", f"bold {style}"))
    indent = min(max(len(path) for path, _ in found) + 4, 32)
    for path, text in found:
        to.print(Hanging(Text(text), indent, Text(f"  {path}")))
