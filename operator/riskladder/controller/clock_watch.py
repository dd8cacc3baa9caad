"""The time that the operator acts on: its own, or the API server's where its own is wrong.

Whatever is stamped or compared must agree with the times that the API server gives, such as when a decision was
created. So while the clocks differ by more than is tolerated, the API server's time is used, and policy gets to know,
which then does nothing that time alone would cause.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from riskladder.cluster.server_clock import TOLERANCE, ServerClock
from riskladder.controller.metrics import Metrics

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds between looks at whether the clocks agree."""


class ClockWatch:
    """Compares the clocks, and says when they stop agreeing and when they agree again."""

    def __init__(
        self, clock: ServerClock, metrics: Metrics, *, now: Callable[[], datetime], changed: Callable[[], None]
    ) -> None:
        """Watch a clock.

        Args:
            clock: The estimate of the API server's time.
            metrics: Where the difference is shown.
            now: The operator's own time, UTC.
            changed: Called when the clock has become wrong, or right again: everything has to be looked at.
        """
        self._clock = clock
        self._metrics = metrics
        self._now = now
        self._changed = changed
        self._was_wrong = False

    def error(self) -> timedelta:
        """Return by how much the operator's clock is ahead; zero while the clocks agree well enough."""
        return self._clock.error()

    def now(self) -> datetime:
        """Return the current time, UTC: the API server's where the operator's own is wrong."""
        return self._now() - self._clock.error()

    def look(self) -> None:
        """Set the metric, and report a change."""
        skew, is_wrong = self._clock.skew, bool(self._clock.error())
        self._metrics.clock_skew.set(skew)
        if is_wrong == self._was_wrong:
            return
        self._was_wrong = is_wrong
        if is_wrong:
            log.error(
                "clock wrong",
                seconds_ahead=round(skew, 1),
                tolerated=TOLERANCE,
                effect="nothing is done that time alone would cause",
                remedy="set the clock of the operator's node, or of the API server's",
            )
        else:
            log.info("clock right again", seconds_ahead=round(skew, 1))
        self._changed()
