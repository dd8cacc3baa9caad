"""What is a reading, and what is none: a finite number of a named indicator. Nothing becomes a quiet zero."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, SupportsFloat, SupportsIndex

from riskladder.client.errors import Refused

Number = SupportsFloat | SupportsIndex
"""A number of any kind: int, float, Decimal, a NumPy scalar, a tensor of one value without dimensions."""

_WINDOW = re.compile(r"(?=.*[1-9])(\d{1,5}d)?(\d{1,5}h)?(\d{1,5}m)?(\d{1,5}s)?")


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one indicator, with what is known of it."""

    indicator: str
    """Name of an indicator of the ladder."""
    value: Number
    """In the unit of the indicator; NaN and infinities are refused."""
    samples: Number | None = None
    """How many samples it rests on."""
    window: timedelta | str | None = None
    """The span of time that it covers, up to ``observed_at``; as text such as ``24h``."""
    evidence: str | None = None
    """Link to the full report."""


Readings = Mapping[str, Number] | Iterable[Reading]
"""Values by indicator, or readings with particulars of their own."""


def items(
    readings: Readings, *, samples: Number | None, window: timedelta | str | None, evidence: str | None
) -> list[dict[str, Any]]:
    """Return the items of ``spec.readings``.

    Args:
        readings: Values by indicator, or readings.
        samples: For the readings that do not say their own; so ``window`` and ``evidence``.
        window: The span of time that they cover.
        evidence: Link to the full report.

    Raises:
        Refused: One of them is no reading.
    """
    if isinstance(readings, Mapping):
        readings = [Reading(str(name), value) for name, value in readings.items()]
    found: dict[str, dict[str, Any]] = {}
    for one in readings:
        if one.indicator in found:
            raise Refused(f"{one.indicator}: found twice, expected one reading of it", reason="InvalidReading")
        size = samples if one.samples is None else one.samples
        span = window if one.window is None else one.window
        further = {
            "sampleSize": None if size is None else sample_size(size),
            "window": None if span is None else span_text(span),
            "evidence": evidence if one.evidence is None else one.evidence,
        }
        known = {name: value for name, value in further.items() if value is not None}
        found[one.indicator] = {"indicator": one.indicator, "value": number(one.indicator, one.value), **known}
    if not found:
        raise Refused("found no readings, expected at least one", reason="NoReading")
    return list(found.values())


def number(indicator: str, value: Any) -> float:
    """Return a value as a double.

    Raises:
        Refused: It is no finite number.
    """
    refused = f"expected a finite number: it is no reading of {indicator}, so send nothing and let it become stale"
    try:
        if not _is_scalar(value):
            raise TypeError
        converted = float(value)
    except OverflowError:
        shown = "a number beyond what a double can hold"
        raise Refused(f"{indicator}: found {shown}, {refused}", reason="NoReading") from None
    except (TypeError, ValueError, ArithmeticError):
        raise Refused(f"{indicator}: found {_shown(value)}, {refused}", reason="NoReading") from None
    if not math.isfinite(converted):
        raise Refused(f"{indicator}: found {converted}, {refused}", reason="NoReading")
    return converted


def sample_size(value: Any) -> int:
    """Return a number of samples.

    Raises:
        Refused: It is no whole number, or less than 1.
    """
    try:
        if not _is_scalar(value):
            raise TypeError
        size = int(value) if float(value).is_integer() else operator.index(value)
    except (TypeError, ValueError, ArithmeticError):
        raise Refused(f"samples: found {_shown(value)}, expected a whole number", reason="InvalidReading") from None
    if size < 1:
        message = f"samples: found {size}, expected at least 1: what rests on nothing is no reading"
        raise Refused(message, reason="NoReading")
    return size


def span_text(value: Any) -> str:
    """Return a span of time as ``1d12h30m15s``.

    Raises:
        Refused: It is none, or not of whole seconds.
    """
    expected = "expected a timedelta of whole seconds, or a text such as 24h, 30m or 1d12h"
    if isinstance(value, str):
        expected = "expected a span of time such as 24h, 30m or 1d12h"
        if _WINDOW.fullmatch(value) is None:
            raise Refused(f"window: found {_shown(value)}, {expected}", reason="InvalidReading")
        return value
    if not isinstance(value, timedelta) or value < timedelta(seconds=1) or value.microseconds:
        raise Refused(f"window: found {_shown(value)}, {expected}", reason="InvalidReading")
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((value.days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def utc(value: Any) -> datetime:
    """Return a time in UTC.

    Raises:
        Refused: It is no time, or one without a zone.
    """
    if not isinstance(value, datetime):
        message = f"observed_at: found {_shown(value)}, expected a datetime with a zone"
        raise Refused(message, reason="InvalidReading")
    if value.utcoffset() is None:
        message = (
            f"observed_at: found {value.isoformat()}, expected a time with a zone, such as datetime.now(timezone.utc)"
        )
        raise Refused(message, reason="InvalidReading")
    return value.astimezone(UTC)


def _is_scalar(value: Any) -> bool:
    """Return whether a value is one number: true, text and arrays would convert as well, and say something else."""
    if isinstance(value, (bool, str, bytes, bytearray)):
        return False
    kind = str(getattr(value, "dtype", ""))
    return getattr(value, "ndim", 0) == 0 and not kind.endswith(("bool", "complex64", "complex128", "]"))


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value[:64]!r}" + ("…" if len(value) > 64 else "")
    if isinstance(value, (bytes, bytearray)) or getattr(value, "ndim", False) or isinstance(value, (list, tuple, dict)):
        return f"a value of type {type(value).__name__}"
    if isinstance(value, complex):
        return f"the complex {value}"
    return str(value)[:64]
