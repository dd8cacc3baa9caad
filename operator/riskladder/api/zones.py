"""Local time, by the name of a time zone in the IANA database."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def local(at: datetime, zone: str) -> datetime | None:
    """Return a time as clocks show it in a zone; ``None`` where no zone of that name is known.

    Args:
        at: With a zone of its own.
        zone: For example ``Europe/Berlin``.
    """
    try:
        return at.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError, OverflowError):  # unknown, malformed, a directory, or beyond the calendar
        return None
