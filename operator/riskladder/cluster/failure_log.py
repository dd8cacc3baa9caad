"""Logs a failure that goes on without filling the log: when it begins, when it changes, and now and then."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog

LOG_EVERY = 30.0
"""Seconds between two lines about one failure that goes on."""

MOST_KNOWN = 8
"""Different failures that are distinguished: one more, and the oldest is forgotten."""

log = structlog.get_logger(__name__)


class FailureLog:
    """The failures of one thing that is tried over and over."""

    def __init__(self, event: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Log under the name of an event.

        Args:
            event: What the lines are called.
            clock: Seconds, monotonic.
        """
        self._event = event
        self._clock = clock
        self._logged: dict[str, float] = {}
        """When each failure was logged last. What differs in numbers only (ports, times) is the same failure."""
        self._kept_back = 0

    def failed(self, error: str, **about: object) -> None:
        """Log a failure, unless the same one was logged less than ``LOG_EVERY`` seconds ago."""
        now, kind = self._clock(), re.sub(r"\d+", "0", error)
        last = self._logged.get(kind)
        if last is not None and now - last < LOG_EVERY:
            self._kept_back += 1
            return
        self._logged.pop(kind, None)
        if len(self._logged) >= MOST_KNOWN:
            del self._logged[next(iter(self._logged))]
        self._logged[kind] = now
        more = {"not_logged": self._kept_back} if self._kept_back else {}
        self._kept_back = 0
        log.warning(self._event, **about, error=error, **more)

    def succeeded(self, **about: object) -> None:
        """Log that it works again, where a failure had been logged."""
        if not self._logged:
            return
        more = {"not_logged": self._kept_back} if self._kept_back else {}
        self._logged.clear()
        self._kept_back = 0
        log.info(f"{self._event} works again", **about, **more)
