"""What an entry becomes: a number in the unit of an indicator, of a workload, or why it becomes none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from riskladder.api.binding import Aggregate, MonitorBindingSpec
from riskladder.api.foreign import clip
from riskladder.api.reasons import Reason
from riskladder.monitors.entries import Entry
from riskladder.monitors.payload import shown


class Refused(Exception):  # noqa: N818 - reads as a sentence at the call site
    """A value, or an entry, that becomes no reading: the reason, and what was found and expected."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, clip(message, 1024)


def aggregated(how: Aggregate, values: Sequence[float]) -> float:
    """Return one value of several, as the binding says.

    Raises:
        Refused: Their mean is beyond every finite number.
    """
    match how:
        case Aggregate.MAX:
            return max(values)
        case Aggregate.MIN:
            return min(values)
        case Aggregate.MEAN:
            try:
                return statistics.fmean(values)
            except OverflowError as error:
                raise Refused(Reason.NO_READING, "found a mean of infinity, expected a finite number") from error
        case _:
            return values[-1]


def scaled(value: Any, scale: float) -> float:
    """Return a value in the unit of the indicator.

    Raises:
        Refused: It is no number, or not a finite one.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(Reason.NO_READING, f"found {shown(value)}, expected a number")
    try:
        found = float(value) * scale
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Refused(Reason.NO_READING, f"found {shown(value)}, expected a finite number")
    return found + 0.0  # never -0, which people would take for something else


def breach_of(entry: Entry) -> float:
    """Return 1 where a monitor says that its own threshold is crossed, 0 where it says that it is not.

    Raises:
        Refused: It says neither.
    """
    if entry.firing is None:
        expected = "expected a format whose entries say so: give pick, and as: Value"
        raise Refused(
            Reason.NO_READING, f"found nothing about whether the monitor's own threshold is crossed, {expected}"
        )
    return 1.0 if entry.firing else 0.0


def target_of(binding: MonitorBindingSpec, entry: Entry) -> str:
    """Return the name of the workload that an entry is about.

    Raises:
        Refused: The entry names none, or one that the binding does not allow.
    """
    if binding.target is not None:
        return binding.target.name
    wanted = binding.target_from
    assert wanted is not None  # noqa: S101 - admission demands one of the two
    name = entry.labels.get(wanted.label)
    if name is None:
        expected = f"expected the label {wanted.label} (targetFrom of the binding)"
        raise Refused(Reason.UNKNOWN_TARGET, f"found labels {', '.join(sorted(entry.labels)) or 'none'}, {expected}")
    if name not in wanted.allowed:
        expected = f"expected one of targetFrom.allowed ({', '.join(wanted.allowed)})"
        raise Refused(Reason.UNKNOWN_TARGET, f"{wanted.label}: found {name[:253]!r}, {expected}")
    return name
