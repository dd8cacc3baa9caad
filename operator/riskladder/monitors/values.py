"""A picked value: what makes it a number in the unit of the indicator, or why it is none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from riskladder.api.binding import Aggregate
from riskladder.api.foreign import clip
from riskladder.api.reasons import Reason
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
    return found
