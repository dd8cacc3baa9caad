"""What contained models cost others: the API server's CPU for a write in a namespace where so many are held.

The writes are about Deployments that have nothing to do with any ladder, and are dry runs: they pass admission as any
other, and then nothing is stored and no controller wakes, so that what is counted is the API server's own work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import load
from bench.api import Api
from bench.contenders import Operator, cpu_seconds
from bench.report import OPERATOR, Results
from bench.world import BenchNamespace, deployment
from riskladder.cluster.resources import DEPLOYMENTS
from tests.cluster import LocalControlPlane
from tests.cluster.components import API_SERVER
from tests.cluster.install import install, service_account_kubeconfig

STRANGER = "stranger"
WRITES = 200
"""Writes of one kind at a time: the kernel counts CPU in hundredths of a second."""

REPEATS = 3
IDLE_SECONDS = 5.0
CALM, CALM_DEADLINE = 1.25, 120.0
"""It is waited, so many seconds at most, until the API server uses no more than this times what it did before any model
was stopped: the controllers that take the pods away work for longer than the operator does."""

MERGE = "application/merge-patch+json"


async def lock(directory: Path, results: Results, steps: Sequence[int], say: Any) -> None:
    """Measure on a plane of its own, with 0 models contained in the namespace, and then ever more of them."""
    say(f"the lock, with {', '.join(map(str, steps))} models contained in one namespace")
    targets = [f"held-{number:04}" for number in range(max(steps))]
    with LocalControlPlane(nodes=1) as plane:
        await asyncio.to_thread(install, plane.kubeconfig)
        account = await asyncio.to_thread(service_account_kubeconfig, plane.kubeconfig, directory / "lock.json")
        api = await Api.open(str(plane.kubeconfig))
        try:
            async with BenchNamespace(api, "bench-lock", targets) as world, Operator(account, directory) as operator:
                await api.request("POST", DEPLOYMENTS.path(world.name), _unrelated(STRANGER))
                contained, calm = 0, 0.0
                for step in sorted(steps):
                    if step > contained:
                        burst = await load.burst(world, targets[contained:step])
                        results.add("missed", OPERATOR, burst.missed)
                        contained = step
                    await operator.wait_until_idle()
                    pid = plane.pid(API_SERVER)
                    assert pid is not None
                    calm = calm or CALM * await _idle(pid)
                    for what, milliseconds in (await _costs(api, world.name, pid, calm)).items():
                        results.add(f"lock_{what}_{step}", OPERATOR, milliseconds)
        finally:
            await api.close()


async def _costs(api: Api, namespace: str, pid: int, calm: float) -> dict[str, float]:
    """Return the milliseconds of the API server's CPU for a write, by what is written."""
    path = DEPLOYMENTS.path(namespace)
    body = {"metadata": {"annotations": {"example.com/seen": "x"}}}
    scale = {"spec": {"replicas": 2}}
    requests: dict[str, tuple[str, str, Any, str]] = {
        "update": ("PATCH", f"{path}/{STRANGER}?dryRun=All", body, MERGE),
        "create": ("POST", f"{path}?dryRun=All", _unrelated("another"), "application/json"),
        "scale": ("PATCH", f"{path}/{STRANGER}/scale?dryRun=All", scale, MERGE),
    }
    await _calm(pid, calm)
    found = {}
    for what, request in requests.items():
        samples = []
        for _ in range(REPEATS):
            idle = await _idle(pid)
            began, before = time.monotonic(), cpu_seconds(pid)
            for _ in range(WRITES):
                await api.request(*request)
            used = cpu_seconds(pid) - before - idle * (time.monotonic() - began)
            samples.append(1000 * used / WRITES)
        found[what] = median(samples)
    return found


async def _calm(pid: int, most: float) -> None:
    """Wait until that is no more than so much, or it has been waited for long enough."""
    deadline = time.monotonic() + CALM_DEADLINE
    while await _idle(pid) > most and time.monotonic() < deadline:
        pass


async def _idle(pid: int) -> float:
    """Return seconds of CPU a second that the API server uses while nobody asks for anything of ours."""
    before, began = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)


def _unrelated(name: str) -> dict[str, Any]:
    body = deployment(name)
    del body["metadata"]["labels"]["riskladder.dev/ladder"]
    body["spec"]["replicas"] = 0
    return body
