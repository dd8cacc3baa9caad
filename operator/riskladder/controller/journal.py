"""The journal of readings: one log line for each that counts, and for each signal that is refused.

A signal holds its newest reading only. What it has said before is in the log, and in Prometheus. Lines are written
behind the work: nothing that contains a model waits for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import structlog

from riskladder.api.base import format_time
from riskladder.api.conditions import ConditionStatus, find
from riskladder.api.foreign import clip
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import Observed, SignalStatus
from riskladder.policy.plan import SignalUpdate
from riskladder.policy.signals.status import BASELINE
from riskladder.policy.snapshot import Signal

log = structlog.get_logger(__name__)

READING, REFUSED = "reading", "reading refused"
"""The words in ``event``."""

MESSAGE_LIMIT = 400
"""Characters of a message that are kept."""

LIMIT = 50_000
"""Changes of signals that wait to be looked at, at most."""

EVERY = timedelta(milliseconds=200)
"""How long a change may wait."""

SLICE = 32
"""Changes between which the event loop gets its turn."""

Line = dict[str, Any]


class Journal:
    """Writes what signals come to, some time after it was decided."""

    def __init__(self, *, enabled: bool = True, limit: int = LIMIT) -> None:
        """Start with nothing to write.

        Args:
            enabled: False: write nothing, since another replica does.
            limit: How many changes may wait.
        """
        self._enabled, self._limit = enabled, limit
        self._waiting: deque[SignalUpdate] = deque()
        self._left_out = 0

    def note(self, update: SignalUpdate) -> None:
        """Take in what a signal comes to; it costs next to nothing."""
        if not self._enabled:
            return
        if len(self._waiting) < self._limit:
            self._waiting.append(update)
        else:
            self._left_out += 1

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            while self._waiting:
                self._write(SLICE)
                await asyncio.sleep(0)
            self._say_left_out()

    def flush(self) -> None:
        """Write all that waits, at once."""
        self._write(len(self._waiting))
        self._say_left_out()

    def _write(self, most: int) -> None:
        for _ in range(min(most, len(self._waiting))):
            update = self._waiting.popleft()
            for line in lines_of(update.signal, update.status):
                log.info(**line)

    def _say_left_out(self) -> None:
        if self._left_out:
            log.warning("readings not logged", number=self._left_out, reason=f"more than {self._limit} waited")
            self._left_out = 0


def lines_of(signal: Signal, status: SignalStatus) -> Iterator[Line]:
    """Yield what the journal says of a signal that comes to a status: what was not known of it before.

    Args:
        signal: The signal, with what is known of it so far.
        status: What it comes to.
    """
    spec = signal.spec
    if spec is None or spec.manual is not None:
        return
    about: Line = {
        "namespace": signal.namespace,
        "ladder": spec.ladder,
        "target": f"{spec.target.kind}/{spec.target.name}",
        "source": spec.source,
        "signal": signal.name,
        **({"drill": True} if spec.drill else {}),
    }
    known = {(observed.indicator, observed.observed_at) for observed in signal.carried.observed}
    sizes = {reading.indicator: reading.sample_size for reading in spec.readings}
    for observed in status.observed:
        if (observed.indicator, observed.observed_at) in known:
            continue
        size = sizes.get(observed.indicator)
        yield {
            "event": READING,
            **about,
            "indicator": observed.indicator,
            "value": observed.value,
            "observedAt": format_time(observed.observed_at),
            **({"sampleSize": size} if size is not None else {}),
            "tier": _tier(observed, status),
        }
    ready = find(status.conditions, ConditionType.READY)
    if ready is None or ready.status is not ConditionStatus.FALSE:
        return
    before, was = signal.carried, find(signal.carried.conditions, ConditionType.READY)
    if before.observed_generation == signal.generation and was is not None and was.status is ConditionStatus.FALSE:
        return
    message = clip(ready.message, MESSAGE_LIMIT)
    observed_at = format_time(spec.observed_at)
    yield {"event": REFUSED, **about, "observedAt": observed_at, "reason": ready.reason, "message": message}


def _tier(observed: Observed, status: SignalStatus) -> str:
    """Return the worst tier that an indicator has confirmed by its values."""
    found = [b.tier for b in status.breaches if b.indicator == observed.indicator and b.confirmed and not b.stale]
    return found[-1] if found else BASELINE  # of one indicator they are in the order of the tiers
