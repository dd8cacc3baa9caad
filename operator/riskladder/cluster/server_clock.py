"""The clock of the API server, read off the ``Date`` header of ordinary responses.

A header says the second in which the API server answered, somewhere between the request and the response. So one
response bounds the server's time from both sides, and the width of the bounds is the latency and the second that the
header leaves out. The bounds are kept against the monotonic clock, which no adjustment moves: a jump of the operator's
own clock shows with the next look at it, and not with the next response.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from statistics import median
from typing import NamedTuple

SAMPLES = 9
"""Responses that an estimate rests on, at most: the median of them, so that a few odd ones do not move it."""

ENOUGH = 3
"""Responses without which nothing is said."""

TOLERANCE = 30.0
"""Seconds by which the clocks may differ."""

RECOVERED = 20.0
"""Seconds below which a clock that was wrong counts as right again."""


class _Bounds(NamedTuple):
    """The least and the greatest time of the server at one response, less the monotonic time of the operator."""

    least: float
    greatest: float


class ServerClock:
    """A small robust estimate of how far the operator's clock is from the API server's."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Start without an estimate.

        Args:
            wall: The operator's clock, in seconds since the epoch.
            monotonic: A clock that nobody adjusts.
        """
        self._wall = wall
        self._monotonic = monotonic
        self._bounds: deque[_Bounds] = deque(maxlen=SAMPLES)
        self._wrong = False

    def now(self) -> float:
        """Return the monotonic time that ``note`` takes as the time of a request."""
        return self._monotonic()

    def note(self, date: str | None, sent: float) -> None:
        """Take in the ``Date`` header of a response that has just come.

        Args:
            date: The header; anything that is none is ignored.
            sent: Monotonic time of the request.
        """
        try:
            at = parsedate_to_datetime(date or "")
        except ValueError:
            return
        stated = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        self._bounds.append(_Bounds(stated - self._monotonic(), stated + 1.0 - sent))

    @property
    def skew(self) -> float:
        """Seconds by which the operator's clock is certainly ahead (negative: behind); 0 where none is certain."""
        if len(self._bounds) < ENOUGH:
            return 0.0
        offset = self._wall() - self._monotonic()
        ahead = offset - median(bounds.greatest for bounds in self._bounds)
        behind = offset - median(bounds.least for bounds in self._bounds)
        return ahead if ahead > 0 else min(behind, 0.0)

    def error(self) -> timedelta:
        """Return by how much the operator's clock is ahead of the server's; zero while they agree well enough."""
        skew = self.skew
        self._wrong = abs(skew) > (RECOVERED if self._wrong else TOLERANCE)
        return timedelta(seconds=skew) if self._wrong else timedelta()
