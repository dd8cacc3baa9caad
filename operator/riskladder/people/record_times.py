"""Times of a record as a timeline shows them: of the day, and since something."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from riskladder.api.base import Timestamp

_TIME: TypeAdapter[datetime] = TypeAdapter(Timestamp)


def clock(at: datetime) -> str:
    """Return the time of day in UTC, to the millisecond."""
    return at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03d}"


def span(delta: timedelta) -> str:
    """Return a time that passed: ``+0.042 s``, ``+2 min 05 s``, ``+1 h 02 min``, ``+3 d 04 h``."""
    sign = "-" if delta < timedelta(0) else "+"
    delta = timedelta(milliseconds=round(abs(delta) / timedelta(milliseconds=1)))
    seconds = int(delta.total_seconds())
    if seconds < 60:
        return f"{sign}{delta.total_seconds():.3f} s"
    if seconds < 3600:
        return f"{sign}{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{sign}{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{sign}{seconds // 86400} d {seconds % 86400 // 3600:02d} h"


def between(delta: timedelta) -> str:
    """Return a span, in milliseconds up to ten seconds."""
    return f"{round(delta / timedelta(milliseconds=1)):+d} ms" if abs(delta) < timedelta(seconds=10) else span(delta)


def time_in_record(value: object) -> datetime | None:
    """Return the time that a value of a record is; ``None`` where it is none."""
    try:
        return _TIME.validate_python(value)
    except (ValidationError, OverflowError):
        return None
