"""How long a second operator takes to act after the first was killed, on a fast link and on a slow one.

Everything that either of them asks passes through a proxy that keeps each request back for as long as a far API server
would take. The clock runs from the kill to the moment in which a model that breached right after it is seen stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.api import Api
from bench.contenders import Operator
from bench.report import OPERATOR, TAKEOVER_LATENCIES, Results
from bench.world import BREACH, BenchNamespace
from tests.cluster import LocalControlPlane
from tests.cluster.chaos import Chaos
from tests.cluster.install import install, service_account_kubeconfig

ROUNDS = 3
STOP_DEADLINE = 60.0


async def takeover(directory: Path, results: Results, say: Any) -> None:
    """Measure on a plane of its own, and for each latency several times."""
    with LocalControlPlane(nodes=1) as plane:
        await asyncio.to_thread(install, plane.kubeconfig)
        account = await asyncio.to_thread(service_account_kubeconfig, plane.kubeconfig, directory / "takeover.json")
        api = await Api.open(str(plane.kubeconfig))
        try:
            for milliseconds in TAKEOVER_LATENCIES:
                say(f"takeover, {ROUNDS} times, with {milliseconds} ms more for every request")
                with Chaos(plane.server, plane.ca_file) as proxy:
                    through = proxy.kubeconfig(account, directory / f"takeover-{milliseconds}.json")
                    targets = [f"model-{number}" for number in range(ROUNDS + 1)]
                    proxy.latency = milliseconds / 1000
                    async with BenchNamespace(api, f"bench-takeover-{milliseconds}", targets) as world:
                        for seconds in await _kills(world, through, directory, targets):
                            results.add(f"takeover_{milliseconds}", OPERATOR, seconds)
        finally:
            await api.close()


async def _kills(world: BenchNamespace, kubeconfig: Path, directory: Path, targets: Sequence[str]) -> list[float]:
    """Return seconds from each kill to the stop of a model that breached right after it."""
    seen, first, *others = world.observer, *targets
    leader = await _start(kubeconfig, directory / "0")
    taken: list[float] = []
    try:
        await world.report(first, BREACH)
        await seen.until(lambda: first in seen.stopped, STOP_DEADLINE, "the first operator to lead")
        for number, target in enumerate(others, 1):
            standby = await _start(kubeconfig, directory / str(number))
            killed = time.monotonic()
            leader.kill()
            leader = standby
            await world.report(target, BREACH)
            await seen.until(partial(_is_stopped, world, target), STOP_DEADLINE, "the second one to act")
            taken.append(seen.stopped[target] - killed)
    finally:
        leader.kill()
    return taken


def _is_stopped(world: BenchNamespace, target: str) -> bool:
    return target in world.observer.stopped


async def _start(kubeconfig: Path, directory: Path) -> Operator:
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    operator = Operator(kubeconfig, directory)
    return await operator.__aenter__()
