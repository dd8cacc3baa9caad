"""When something was measured, as monitors write it: RFC 3339, naive, an HTTP date, or seconds since 1970."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EARLIEST, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""What a ModelRiskSignal takes as observedAt."""
SKEW = timedelta(minutes=5)
"""How far ahead a measurement may be (API contract: InvalidReading)."""

_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s?(Z|z|UTC|[+-]\d{2}:?\d{2})?", re.ASCII
)


class NoTime(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """No time at which anything can have been measured: what was found, and what was expected."""


def zone_of(name: str) -> ZoneInfo | None:
    """Return the time zone of that IANA name; ``None`` for no name.

    Raises:
        NoTime: There is no such zone.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise NoTime(f"found no time zone {name!r}, expected an IANA name such as Europe/Berlin") from error


def parse(value: Any, zone: ZoneInfo | None, received_at: datetime | None) -> datetime:
    """Return when something was measured, in UTC.

    Args:
        value: A text, or a number of seconds since 1970.
        zone: Of a time that names none; without one it is refused.
        received_at: When it arrived: nothing was measured more than five minutes later.

    Raises:
        NoTime: It is no time, names no zone, or lies where no measurement can.
    """
    at = _parsed(value, zone)
    if not EARLIEST <= at < END:
        raise NoTime(f"found {_text(at)}, expected a time in the years 2000 to 2199")
    if received_at is not None and at > received_at + SKEW:
        raise NoTime(f"found {_text(at)}, expected no time in the future: it was received at {_text(received_at)}")
    return at


def _parsed(value: Any, zone: ZoneInfo | None) -> datetime:
    if isinstance(value, datetime):
        return _in_utc(value, zone, str(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _since_epoch(value)
    if not isinstance(value, str):
        raise NoTime("found no time, expected RFC 3339 such as 2026-11-24T06:00:00Z, or seconds since 1970")
    text = value.strip()[:64]
    if match := _ISO.fullmatch(text):
        day, clock, offset = match.groups()
        offset = "+00:00" if offset in ("Z", "z", "UTC") else offset or ""
        try:
            at = datetime.fromisoformat(f"{day}T{clock}{offset}")
        except (ValueError, OverflowError) as error:
            raise NoTime(f"found {text!r}, which is no time of the calendar") from error
        return _in_utc(at, zone, text)
    if re.fullmatch(r"\d{9,10}(\.\d+)?", text, re.ASCII):
        return _since_epoch(float(text))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise NoTime(f"found {text!r}, expected RFC 3339 such as 2026-11-24T06:00:00Z") from error
    return _in_utc(at, zone, text)


def _since_epoch(value: float) -> datetime:
    if not math.isfinite(value) or not 0 <= value < END.timestamp():
        hint = "; milliseconds must be divided by 1000" if math.isfinite(value) and value >= END.timestamp() else ""
        raise NoTime(f"found {value!r}, expected seconds since 1970{hint}")
    return datetime.fromtimestamp(value, UTC)


def _in_utc(value: datetime, zone: ZoneInfo | None, text: str) -> datetime:
    if value.tzinfo is None:
        if zone is None:
            raise NoTime(
                f"found {text!r}, which names no time zone: set spec.timeZone of the binding to that of the monitor"
            )
        value = value.replace(tzinfo=zone)
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise NoTime(f"found {text!r}, which is no time of the calendar") from error


def _text(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(window: tuple[str, str] | None, zone: ZoneInfo | None) -> str | None:
    """Return how long a window is, as a duration of the API such as 30d5h; ``None`` where it cannot be said."""
    if window is None:
        return None
    try:
        start, end = (_parsed(value, zone or ZoneInfo("UTC")) for value in window)
    except NoTime:
        return None
    seconds = int((end - start).total_seconds())
    if seconds < 1 or seconds >= 99_999 * 86_400:
        return None
    parts = (
        (seconds // 86_400, "d"),
        (seconds % 86_400 // 3600, "h"),
        (seconds % 3600 // 60, "m"),
        (seconds % 60, "s"),
    )
    return "".join(f"{number}{unit}" for number, unit in parts if number)
