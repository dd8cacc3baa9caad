"""What contained models cost others: the API server's CPU for a write in a namespace where so many are held.

The writes are about Deployments that have nothing to do with any ladder, and are dry runs: they pass admission as any
other, and then nothing is stored and no controller wakes, so that what is counted is the API server's own work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import load
from bench.api import Api
from bench.contenders import Operator, machine_seconds, thread_seconds
from bench.report import FLOOR, LOCKED, OPERATOR, Results
from bench.world import BenchNamespace, deployment
from riskladder.cluster.resources import DEPLOYMENTS
from tests.cluster import LocalControlPlane
from tests.cluster.components import API_SERVER
from tests.cluster.install import install, service_account_kubeconfig

STRANGER = "stranger"
BATCH, BATCHES = 100, 20
"""Writes in a row to one of the two namespaces, and how many such rows for each kind of write: the two take turns, so
that what else the machine does in these seconds costs both the same."""

IDLE_SECONDS = 5.0
CALM, CALM_DEADLINE = 0.25, 120.0
"""It is waited, so many seconds at most, until all processes of the machine together use no more than this share of one
core: the controllers that take the pods away work for longer than the operator does."""

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
            async with (
                BenchNamespace(api, "bench-lock", targets) as world,
                BenchNamespace(api, "bench-free", []) as free,
                Operator(account, directory) as operator,
            ):
                for place in (world, free):
                    await api.request("POST", DEPLOYMENTS.path(place.name), _unrelated(STRANGER))
                contained = 0
                for step in sorted(steps):
                    if step > contained:
                        burst = await load.burst(world, targets[contained:step])
                        results.add("missed", OPERATOR, burst.missed)
                        contained = step
                    await operator.wait_until_idle()
                    pid = plane.pid(API_SERVER)
                    assert pid is not None
                    namespaces = {OPERATOR: world.name, FLOOR: free.name}
                    for what, costs in (await _costs(api, namespaces, pid)).items():
                        for where, milliseconds in costs.items():
                            results.add(f"lock_{what}_{step}", where, milliseconds)
        finally:
            await api.close()


async def _costs(api: Api, namespaces: Mapping[str, str], pid: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of the API server's CPU for a write, by what is written, and by where."""
    found = {}
    for what in LOCKED:
        await _calm()
        idle = await _used(partial(thread_seconds, pid))
        samples: dict[str, list[float]] = {where: [] for where in namespaces}
        for _ in range(BATCHES):
            for where, namespace in namespaces.items():
                request = _write(what, namespace)
                began, before = time.monotonic(), thread_seconds(pid)
                for _ in range(BATCH):
                    await api.request(*request)
                used = thread_seconds(pid) - before - idle * (time.monotonic() - began)
                samples[where].append(1000 * used / BATCH)
        found[what] = {where: median(some) for where, some in samples.items()}
    return found


def _write(what: str, namespace: str) -> tuple[str, str, Any, str]:
    """Return method, path, body and content type of a write that is about nobody's model."""
    path = DEPLOYMENTS.path(namespace)
    if what == "create":
        return "POST", f"{path}?dryRun=All", _unrelated("another"), "application/json"
    if what == "scale":
        return "PATCH", f"{path}/{STRANGER}/scale?dryRun=All", {"spec": {"replicas": 2}}, MERGE
    return "PATCH", f"{path}/{STRANGER}?dryRun=All", {"metadata": {"annotations": {"example.com/seen": "x"}}}, MERGE


async def _calm() -> None:
    """Wait until little runs on the machine, or it has been waited for long enough."""
    deadline = time.monotonic() + CALM_DEADLINE
    while await _used(machine_seconds) > CALM and time.monotonic() < deadline:
        pass


async def _used(seconds: Callable[[], float]) -> float:
    """Return seconds of CPU a second that are used while nobody asks for anything of ours."""
    before, began = seconds(), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    return (seconds() - before) / (time.monotonic() - began)


def _unrelated(name: str) -> dict[str, Any]:
    body = deployment(name)
    del body["metadata"]["labels"]["riskladder.dev/ladder"]
    body["spec"]["replicas"] = 0
    return body
