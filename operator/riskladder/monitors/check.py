"""What is wrong with a binding that its schema cannot say: expressions that do not compile, or ask for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.validation import Problem
from riskladder.monitors.entries import MEMBERS, Entry
from riskladder.monitors.expressions import BadExpression, Scope, compiled, members
from riskladder.monitors.times import NoTime, zone_of

_UNDEFINED = re.compile(r"Undefined variable or function: '([^']*)'")


def problems(spec: MonitorBindingSpec) -> list[Problem]:
    """Return everything that is wrong with a binding that the API server has taken."""
    found = [problem for path, expression in expressions(spec) for problem in _expression(path, expression)]
    try:
        zone_of(spec.time_zone)
    except NoTime as error:
        found.append(Problem("spec.timeZone", str(error)))
    return found


def expressions(spec: MonitorBindingSpec) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a binding, each with its field."""
    for i, reading in enumerate(spec.readings):
        if reading.where is not None:
            yield f"spec.readings[{i}].where", reading.where
        if reading.pick is not None:
            yield f"spec.readings[{i}].pick", reading.pick
    if spec.observed_at.cel is not None:
        yield "spec.observedAt.cel", spec.observed_at.cel
    if spec.heartbeat is not None:
        yield "spec.heartbeat", spec.heartbeat


def _expression(path: str, expression: str) -> Iterator[Problem]:
    try:
        compiled(expression)
    except BadExpression as error:
        yield Problem(path, str(error))
        return
    for name in members(expression):
        if name not in MEMBERS:
            yield Problem(path, f"found entry.{name}, expected one of entry.{', entry.'.join(MEMBERS)}")
    try:
        Scope([Entry("").to_cel()], {}, 0).evaluate(expression, 0)
    except BadExpression as error:  # on an entry without anything most expressions fail, which says nothing
        if undefined := _UNDEFINED.search(str(error)):
            yield Problem(path, f"found {undefined[1]}, which is neither a function nor one of entry and body")
