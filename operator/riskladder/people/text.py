"""Times and lists as people say them. Pure: the present time and the time zone are passed in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from riskladder.api.base import DURATION_PATTERN, RFC3339_PATTERN, Duration, format_time
from riskladder.api.text import length, listed
from riskladder.policy.decisions.standing import PROGRAM

__all__ = [
    "PROGRAM",
    "ago",
    "deadline",
    "due",
    "length",
    "listed",
    "local",
    "parse_since",
    "parse_until",
    "past",
    "took",
]

UNTIL_FORMS = "a date such as 2026-12-01, a time such as 2026-12-01T12:00:00Z, or a duration such as 14d"
"""What ``--until`` takes."""
SINCE_FORMS = "a date such as 2026-12-01, a time such as 2026-12-01T12:00:00Z, or a duration such as 90d, counted back"
"""What ``--since`` takes."""


def due(at: datetime, now: datetime) -> str:
    """Return ``in 12 min``, ``now``, or ``8 min late``."""
    if at > now:
        return f"in {length(at - now)}"
    return f"{length(now - at)} late" if now - at >= timedelta(seconds=1) else "now"


def ago(at: datetime, now: datetime) -> str:
    """Return ``8 min ago``, or ``in 3 s`` where clocks differ."""
    return f"{length(now - at)} ago" if at <= now else f"in {length(at - now)}"


def local(at: datetime, zone: tzinfo | None = None) -> str:
    """Return the time where the reader is, to the second, with the name of the zone."""
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def deadline(at: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """Return ``2026-11-24 13:00:00 CET (in 12 min)``."""
    return f"{local(at, zone)} ({due(at, now)})"


def past(at: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """Return ``2026-11-24 13:00:00 CET (12 min ago)``."""
    return f"{local(at, zone)} ({ago(at, now)})"


def took(seconds: float) -> str:
    """Return how long something took, as a person would say it: ``0.8 s``, ``12 s``, ``2 min``."""
    return f"{seconds:.1f} s" if seconds < 10 else length(timedelta(seconds=seconds))


def parse_until(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Return a date (the end of that day, local time), an RFC 3339 time, or a duration from now.

    Raises:
        ValueError: It is none of these, or past.
    """
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text} is no date: {error}") from error
        at = datetime.combine(day, time(23, 59, 59)).replace(tzinfo=zone).astimezone(UTC)
    elif re.fullmatch(RFC3339_PATTERN, text):
        try:
            at = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text} is no time: {error}") from error
    elif text and re.fullmatch(DURATION_PATTERN, text):
        at = (now + Duration(text).delta).astimezone(UTC).replace(microsecond=0)
    else:
        raise ValueError(f"{text!r} is not {UNTIL_FORMS}")
    if at <= now:
        raise ValueError(f"{text} is past: it is {format_time(now.replace(microsecond=0))}")
    return at


def parse_since(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Return a date (its beginning, local time), an RFC 3339 time, or so long before now.

    Raises:
        ValueError: It is none of these.
    """
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.combine(date.fromisoformat(text), time()).replace(tzinfo=zone).astimezone(UTC)
        if re.fullmatch(RFC3339_PATTERN, text):
            return datetime.fromisoformat(text).astimezone(UTC)
        if text and re.fullmatch(DURATION_PATTERN, text):
            return (now - Duration(text).delta).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text} is no time: {error}") from error
    raise ValueError(f"{text!r} is not {SINCE_FORMS}")
