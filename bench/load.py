"""The three loads: one breach at a time, many at once, and one that matters among many that do not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.api import AT_ONCE, each
from bench.world import BASELINE, BREACH, BenchNamespace

PAUSE = (0.2, 0.5)
"""Seconds between breaches that come one at a time: random, so that they do not fall into step with anything."""

ONE_DEADLINE = 30.0
BURST_DEADLINE = 180.0


@dataclass(slots=True)
class Burst:
    """What became of many breaches at once. Seconds."""

    latencies: list[float]
    """From sending each signal to seeing its model stopped."""
    sending: float
    """From the first signal sent to the last one acknowledged."""
    last_stopped: float
    """From the first signal sent to the last model seen stopped."""
    missed: int

    @property
    def throughput(self) -> float:
        """Models stopped in a second."""
        return len(self.latencies) / self.last_stopped


async def breach(world: BenchNamespace, target: str) -> float | None:
    """Return seconds from sending one breaching signal to seeing its model stopped, or None if it was not in time."""
    sent = time.monotonic()
    await world.report(target, BREACH)
    if not await world.observer.seen(lambda: target in world.observer.stopped, ONE_DEADLINE):
        return None
    return world.observer.stopped[target] - sent


async def idle(world: BenchNamespace, targets: Sequence[str]) -> list[float | None]:
    """Measure one breach at a time."""
    latencies = []
    for target in targets:
        await asyncio.sleep(random.uniform(*PAUSE))
        latencies.append(await breach(world, target))
    return latencies


async def burst(world: BenchNamespace, targets: Sequence[str]) -> Burst:
    """Have all targets breach as fast as their signals can be written."""
    sent: dict[str, float] = {}

    async def send(target: str) -> None:
        sent[target] = time.monotonic()
        await world.report(target, BREACH)

    await each(targets, send)
    sending = time.monotonic() - min(sent.values())
    stopped = world.observer.stopped
    await world.observer.seen(lambda: all(target in stopped for target in targets), BURST_DEADLINE)
    latencies = [stopped[target] - sent[target] for target in targets if target in stopped]
    last = max((stopped[target] for target in targets if target in stopped), default=time.monotonic())
    return Burst(latencies, sending, last - min(sent.values()), len(targets) - len(latencies))


async def priority(world: BenchNamespace, updated: Sequence[str], targets: Sequence[str]) -> list[float | None]:
    """Breach each of `targets` in turn, while the signals of `updated` get another reading at baseline.

    The breaches are spread over the time that the updates take to be written and judged: one at its beginning, and each
    further one after the same share of the updates.
    """
    done = 0
    latencies: list[float | None] = []

    async def update(target: str) -> None:
        nonlocal done
        await world.update(target, BASELINE)
        done += 1

    async def breaches() -> None:
        for number, target in enumerate(targets):
            share = len(updated) * (number + 0.5) / len(targets)
            await world.observer.until(lambda share=share: done >= share, BURST_DEADLINE, "the updates")  # type: ignore[misc]
            latencies.append(await breach(world, target))

    async with asyncio.TaskGroup() as group:
        group.create_task(each(updated, update, AT_ONCE))
        group.create_task(breaches())
    return latencies
