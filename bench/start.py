"""What a start costs in memory where many objects exist that only a few of concern: the ReplicaSets of old rollouts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bench.api import Api, each
from bench.contenders import Operator
from bench.report import OPERATOR, Results
from bench.world import BenchNamespace, deployment
from riskladder.cluster.resources import REPLICASETS
from tests.cluster import LocalControlPlane
from tests.cluster.components import CONTROLLER_MANAGER
from tests.cluster.install import install, service_account_kubeconfig

DELETED_AT_ONCE = 1_000
"""ReplicaSets: to delete all of them in one request would take longer than a request may."""


async def start(directory: Path, results: Results, replicasets: int, say: Any) -> None:
    """Measure on a plane of its own, whose controllers are not running while the ReplicaSets are written."""
    say(f"a start among {replicasets} ReplicaSets")
    with LocalControlPlane(nodes=1) as plane:
        await asyncio.to_thread(install, plane.kubeconfig)
        account = await asyncio.to_thread(service_account_kubeconfig, plane.kubeconfig, directory / "start.json")
        api = await Api.open(str(plane.kubeconfig))
        try:
            world = BenchNamespace(api, "bench-start", ["model"])
            async with world:
                plane.pause(CONTROLLER_MANAGER)
                try:
                    path = REPLICASETS.path(world.name)
                    await each(range(replicasets), lambda number: api.request("POST", path, _old(f"old-{number:05}")))
                    async with Operator(account, directory) as operator:
                        await operator.wait_until_idle()
                        results.add("rss_peak", OPERATOR, operator.rss_peak() / 2**20)
                    for _ in range(0, replicasets, DELETED_AT_ONCE):
                        await api.request("DELETE", f"{path}?limit={DELETED_AT_ONCE}")
                finally:
                    plane.resume(CONTROLLER_MANAGER)
        finally:
            await api.close()


def _old(name: str) -> dict[str, Any]:
    """Return a ReplicaSet as a Deployment leaves it behind, with the metadata that a rollout of a usual size has."""
    body = deployment(name)
    body["kind"] = "ReplicaSet"
    labels = {"app": name, "pod-template-hash": "6f7d8c9b5d"}
    body["metadata"]["labels"] = labels
    body["metadata"]["annotations"] = {
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
        "deployment.kubernetes.io/revision": "7",
    }
    body["spec"]["replicas"] = 0
    body["spec"]["selector"]["matchLabels"] = labels
    body["spec"]["template"]["metadata"]["labels"] = labels
    return body
