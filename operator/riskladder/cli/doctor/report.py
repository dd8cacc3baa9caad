"""What a check has found, and how all of it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import typer
import yaml
from rich.text import Text

from riskladder.cli.layout import GAP, Hanging
from riskladder.cli.output import console, plain, write_json
from riskladder.cli.people.options import Form


class Outcome(StrEnum):
    """What came of a check."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


STYLES = {Outcome.OK: "green", Outcome.WARN: "yellow", Outcome.FAIL: "bold red", Outcome.SKIPPED: "dim"}

_RESULT = max(map(len, Outcome)) + GAP
"""Columns of the outcome."""

TO_MEND, NOTHING_SEEN = 1, 2
"""Exit codes: a check failed; none could be made."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    outcome: Outcome
    what: str
    """What was found, for people."""
    remedy: str = ""
    """What mends it: a command where there is one."""


def ok(name: str, what: str) -> Check:
    """Return that all is well."""
    return Check(name, Outcome.OK, what)


def warn(name: str, what: str, remedy: str = "") -> Check:
    """Return what works, and not as well as it might."""
    return Check(name, Outcome.WARN, what, remedy)


def bad(name: str, what: str, remedy: str = "") -> Check:
    """Return what has to be mended."""
    return Check(name, Outcome.FAIL, what, remedy)


def skipped(name: str, why: str, remedy: str = "") -> Check:
    """Return that a check could not be made, and why."""
    return Check(name, Outcome.SKIPPED, why, remedy)


def exit_code(checks: Iterable[Check]) -> int:
    """Return 1 where something has to be mended, 2 where nothing could be looked at, else 0."""
    outcomes = {check.outcome for check in checks}
    if Outcome.FAIL in outcomes:
        return TO_MEND
    return 0 if outcomes - {Outcome.SKIPPED} else NOTHING_SEEN


def show(checks: Sequence[Check], form: Form) -> None:
    """Print the report."""
    if form is Form.JSON:
        write_json(as_data(checks))
    elif form is Form.YAML:
        typer.echo(yaml.safe_dump(as_data(checks), sort_keys=False, allow_unicode=False, width=10_000), nl=False)
    else:
        _table(checks)


def as_data(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the report for programs."""
    numbers = {str(outcome).lower(): sum(c.outcome is outcome for c in checks) for outcome in Outcome}
    found = [{"check": c.name, "outcome": str(c.outcome), "found": c.what, "remedy": c.remedy or None} for c in checks]
    return {"summary": numbers, "checks": found}


def _table(checks: Sequence[Check]) -> None:
    to = console()
    widest = max((len(check.name) for check in checks), default=0)
    to.print(Text(f"{'RESULT':<{_RESULT}}{'CHECK':<{widest + GAP}}FOUND", "bold"), crop=False)
    for check in checks:
        label = Text.assemble((f"{check.outcome:<{_RESULT}}", STYLES[check.outcome]), plain(check.name))
        what = Text(plain(check.what))
        if check.remedy:
            what.append(f"\n→ {plain(check.remedy)}", "bold")
        to.print(Hanging(what, _RESULT + widest + GAP, label), crop=False)
    numbers = [(outcome, sum(check.outcome is outcome for check in checks)) for outcome in Outcome]
    words = {Outcome.OK: "ok", Outcome.WARN: "to know", Outcome.FAIL: "to mend", Outcome.SKIPPED: "skipped"}
    to.print(Text(f"\n{', '.join(f'{number} {words[outcome]}' for outcome, number in numbers if number)}."))
