"""Work on the target of thousands of signals, done so that the event loop goes on with all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from riskladder.policy.decide import decide
from riskladder.policy.plan import Plan
from riskladder.policy.snapshot import Snapshot

SLICE = 16
"""Pieces of work between which the event loop gets its turn."""

MANY_SIGNALS = 256
"""Signals of one target from which on a plan for its trail is made in a thread."""


async def in_slices(work: Iterable[Callable[[], object]]) -> None:
    """Do the pieces one after the other, with the event loop in between."""
    for number, piece in enumerate(work, start=1):
        piece()
        if number % SLICE == 0:
            await asyncio.sleep(0)


async def decided(snapshot: Snapshot, now: datetime) -> Plan:
    """Return what ``decide`` does: it is pure, so that a long one can be made in a thread."""
    if len(snapshot.signals) < MANY_SIGNALS:
        return decide(snapshot, now)
    return await asyncio.to_thread(decide, snapshot, now)
