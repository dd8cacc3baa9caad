"""What is wrong with a binding beyond what the API server sees: expressions, and time zones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from riskladder.api.binding import MonitorBindingSpec
from riskladder.monitors.expressions import BadExpression, compiled
from riskladder.monitors.times import NoTime, zone_of


class Problem(NamedTuple):
    """One thing that is wrong: the field, and what was found and expected."""

    field: str
    message: str


def problems(spec: MonitorBindingSpec) -> list[Problem]:
    """Return what is wrong with a binding."""
    return list(_problems(spec))


def _problems(spec: MonitorBindingSpec) -> Iterator[Problem]:
    try:
        zone_of(spec.time_zone)
    except NoTime as error:
        yield Problem("spec.timeZone", str(error))
    for field, expression in _expressions(spec):
        try:
            compiled(expression)
        except BadExpression as error:
            yield Problem(field, str(error))


def _expressions(spec: MonitorBindingSpec) -> Iterator[tuple[str, str]]:
    for number, reading in enumerate(spec.readings):
        for name, expression in (("where", reading.where), ("pick", reading.pick)):
            if expression is not None:
                yield f"spec.readings[{number}].{name}", expression
    if spec.observed_at.cel is not None:
        yield "spec.observedAt.cel", spec.observed_at.cel
    if spec.heartbeat is not None:
        yield "spec.heartbeat", spec.heartbeat
