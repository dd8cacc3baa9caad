"""The operator in pods: installed from an overlay of this checkout, and the pods that it runs in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

from demo import install as product
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from tests.cluster.install import NAMESPACE, ROOT, kubectl
from tests.cluster.node import NodeCluster
from tests.patience import PATIENCE

DEFAULT = "default"
PODS = "app.kubernetes.io/name=riskladder,app.kubernetes.io/component=operator"


class Installation:
    """At most one installation at a time; asked for the one that is there, nothing is done."""

    def __init__(self, node: NodeCluster, admin: Client) -> None:
        self.node, self._admin = node, admin
        self._current: tuple[str, tuple[str, ...]] | None = None

    async def use(self, overlay: str = DEFAULT, components: Sequence[str] = ()) -> None:
        """Install an overlay with components, in place of what is installed, and wait until all replicas are ready."""
        wanted = (overlay, tuple(components))
        if self._current != wanted:
            if self._current is not None:
                await self.remove()
            directory = f"manifests/overlays/{overlay}"
            self._current = wanted
            await asyncio.to_thread(
                product.install, self.node.kubeconfig, ROOT, overlay=directory, components=components
            )
        await self.ready()

    async def remove(self) -> None:
        """Remove what is installed, however it was."""
        directory = f"manifests/overlays/{self._current[0] if self._current else DEFAULT}"
        await asyncio.to_thread(product.uninstall, self.node.kubeconfig, ROOT, overlay=directory)
        self._current = None

    async def kubectl(self, *arguments: str) -> str:
        """Return what kubectl prints for the operator's namespace."""
        return await asyncio.to_thread(kubectl, self.node.kubeconfig, f"--namespace={NAMESPACE}", *arguments)

    async def ready(self) -> None:
        await self.kubectl("rollout", "status", "deployment/riskladder", f"--timeout={PATIENCE:.0f}s")

    async def pods(self) -> list[Object]:
        """Return the operator's pods, without those that are ending."""
        found = await self._admin.list(resources.PODS, NAMESPACE, labels=PODS)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def leader(self, *, other_than: str = "") -> str:
        """Return the name of the pod that leads, once one does."""
        deadline = time.monotonic() + PATIENCE
        while True:
            holder = ""
            lease = await self._admin.list(resources.LEASES, NAMESPACE)
            if lease:
                holder = str(lease[0]["spec"].get("holderIdentity") or "")
            if holder and holder != other_than:
                return holder
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE:g} s in vain for a leader")
            await asyncio.sleep(0.05)

    def process(self, pod: Object) -> int:
        """Return the id, inside the node, of the process that is PID 1 of the pod's only container."""
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        tasks = self.node.inside("ctr", "--namespace=k8s.io", "tasks", "ls")
        return next(int(line.split()[1]) for line in tasks.splitlines() if line.startswith(container))

    def kill(self, pod: Object, signal: str) -> None:
        """Send a signal to the operator in a pod, as the kernel or a kubelet would."""
        self.node.inside("kill", f"-{signal}", str(self.process(pod)))

    async def restarted(self, name: str, before: int) -> Object:
        """Return the status of a pod's container once it has been started again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pod = json.loads(await self.kubectl("get", "pod", name, "-o", "json"))
            status: Object = pod["status"]["containerStatuses"][0]
            if status["restartCount"] > before and status["ready"]:
                return status
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE:g} s in vain for {name} to be started again: {status}")
            await asyncio.sleep(0.1)
