"""The operator's own NetworkPolicy, enforced: what reaches it, and what it reaches."""

from __future__ import annotations

import asyncio

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Client
from tests.cluster.install import kubectl
from tests.cluster.node import NodeCluster
from tests.integration.world import NAMESPACES, TestNamespace
from tests.node.answers import PORT, workload
from tests.node.installation import Installation

SCRAPE = "riskladder.dev/scrape"

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
except OSError as error:
    print(type(error).__name__)
else:
    print("connected")
"""


class Peers:
    """A namespace with a pod that answers, and may ask."""

    def __init__(self, world: TestNamespace, node: NodeCluster, address: str) -> None:
        self.world, self.node, self.address = world, node, address

    async def reaches(self, address: str, port: int) -> bool:
        """Return whether a connection from the pod to an address succeeds."""
        return await connects(self.node, self.world.namespace, "deployment/peer", "python3", address, port)


async def connects(node: NodeCluster, namespace: str, pod: str, python: str, address: str, port: int) -> bool:
    command = ("exec", pod, "--", python, "-c", CONNECT, address, str(port))
    said = await asyncio.to_thread(kubectl, node.kubeconfig, f"--namespace={namespace}", *command)
    assert said.strip() in ("connected", "TimeoutError", "ConnectionRefusedError"), said  # Dropped, or rejected.
    return said.strip() == "connected"


@pytest.fixture
async def peers(world: TestNamespace, node: NodeCluster) -> Peers:
    await world.apply(workload("Deployment", "peer", None, replicas=1, grace=1))

    async def address() -> str:
        pod = (await world.client.list(resources.PODS, world.namespace, labels="app=peer"))[0]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        return pod["status"]["podIP"] if ready else ""

    return Peers(world, node, await world.until(address, "the peer to be ready"))


async def test_nobody_reaches_the_operator_but_scrapers(
    installation: Installation, peers: Peers, admin: Client
) -> None:
    await installation.use()
    [address, *_] = [pod["status"]["podIP"] for pod in await installation.pods()]
    assert await peers.reaches(peers.address, PORT), "pods reach one another where no policy forbids it"

    async def kept_out() -> bool:
        return not await peers.reaches(address, 8080)

    await peers.world.until(kept_out, "the policy to be enforced for the operator's pods")
    labels = {"metadata": {"labels": {SCRAPE: "true"}}}
    await admin.merge_patch(NAMESPACES, None, peers.world.namespace, labels)

    async def reached() -> bool:
        return await peers.reaches(address, 8080)

    await peers.world.until(reached, "a namespace with the label to reach the metrics")


async def test_the_operator_reaches_the_api_server_and_no_pods(installation: Installation, peers: Peers) -> None:
    await installation.use()
    pod = (await installation.pods())[0]["metadata"]["name"]

    async def operator_reaches(address: str, port: int) -> bool:
        python = "/opt/riskladder/bin/python"
        return await connects(installation.node, "riskladder-system", pod, python, address, port)

    assert await operator_reaches("10.96.0.1", 443), "the API server, by its Service"

    async def kept_in() -> bool:
        return not await operator_reaches(peers.address, PORT)

    await peers.world.until(kept_in, "the policy to be enforced: others reach that pod")
    assert await peers.reaches(peers.address, PORT)
