"""A client of the demo's model, where containers really run: when does it get its last answer?

The operator's record says when the write was acknowledged and when it was out of service. Whether the model still
answers is another matter, of the model server and its grace period, and only a client can see.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.install import InstallError, kubectl
from demo.scene import SERVICES
from demo.stage import PATIENCE, Stage
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object

POD = "client"
SILENCE = 1.5
"""Seconds without an answer after which the last one was the last."""

POLL = 0.1

GRACE_SECONDS = 10
"""How long the model server may take to end: a third of what Kubernetes allows by default, since people watch."""

SERVER_PORT = 8000
ON_TERM = ("honor", "drain", "ignore")
"""What the model server may do on SIGTERM: end at once, answer for five more seconds, or not notice."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The last answers of the model, in seconds since the epoch."""

    new: float | None
    """On a new connection for each request; None if there was none."""
    kept: float | None
    """On connections that were opened before the breach; None if there was none."""


class ModelClient:
    """A pod that asks the model all the time, by new connections and by kept ones."""

    def __init__(self, stage: Stage, client: Client, kubeconfig: Path, namespace: str, image: str) -> None:
        """Prepare; nothing is created before ``start``.

        Args:
            stage: Where it is shown.
            client: An administrator's.
            kubeconfig: The same administrator's.
            namespace: Where the model is.
            image: An image with the model server and its client, as tests/cluster/images/model makes it.
        """
        self._stage, self._client, self._kubeconfig = stage, client, kubeconfig
        self._namespace, self._image = namespace, image
        self._on_term = ""

    def serve(self, workload: Object, on_term: str) -> None:
        """Put the model server into a workload that only stands in for one."""
        pod = workload["spec"]["template"]["spec"]
        pod["terminationGracePeriodSeconds"] = GRACE_SECONDS
        container = pod["containers"][0]
        del container["command"]
        container |= {
            "image": self._image,
            "ports": [{"name": "http", "containerPort": SERVER_PORT}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        }
        container["env"].append({"name": "ON_TERM", "value": on_term})
        self._on_term = on_term

    async def start(self, model: str) -> None:
        """Create the pod, and return once all its connections have been answered."""
        service = await self._client.get(SERVICES, self._namespace, model)
        address = f"{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
        container = {"name": POD, "image": self._image, "command": ["python3", "/client.py", f"{model}={address}"]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
        }
        await self._client.create(resources.PODS, self._namespace, body)
        await self._stage.until("the client to be answered", self._is_answered)
        facts = await self._facts()
        pods = {pod for client in facts["clients"] for pod in client["pods"]}
        number = sum(client["answers"] for client in facts["clients"])
        self._stage.detail(f"a client in a pod has {number} answers from {len(pods)} pods, and goes on asking")
        self._stage.detail(f"the model server is to {self._on_term} SIGTERM; its pods ask for {GRACE_SECONDS} s to end")

    async def last_answers(self, since: float, version: str | None = None) -> Answers:
        """Wait until the model has answered for the last time.

        Args:
            since: When the breach was reported, in seconds since the epoch.
            version: Only answers of this version of the model count; by default all.

        Raises:
            InstallError: It still answers when patience is at its end.
        """
        found: list[Answers] = []

        async def silent() -> bool:
            facts = await self._facts()
            new, kept = (_last(facts, version, kept=kept) for kept in (False, True))
            if facts["at"] - max(since, new or since, kept or since) < SILENCE:
                return False
            found.append(Answers(new, kept))
            return True

        await self._stage.until("the last answer to the client", silent)
        return found[0]

    async def answered_again(self, since: float) -> float:
        """Wait until the model answers on a new connection; the seconds since ``since``."""
        begun: list[float] = []

        async def again() -> bool:
            last = _last(await self._facts(), None, kept=False)
            if last is not None and last > since:
                begun.append(last - since)
            return bool(begun)

        await self._stage.until("the client to be answered again", again)
        return begun[0]

    async def _is_answered(self) -> bool:
        return all(client["answers"] for client in (await self._facts())["clients"])

    async def _facts(self) -> Any:
        """Return what the client printed last, which it does ten times a second."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pod = await self._client.get(resources.PODS, self._namespace, POD)
            if (pod.get("status") or {}).get("phase") == "Running":
                logs = ("-n", self._namespace, "logs", POD, "--tail=1")
                if line := (await asyncio.to_thread(kubectl, self._kubeconfig, *logs)).strip():
                    return json.loads(line)
            if time.monotonic() > deadline:
                raise InstallError(f"the client has printed nothing for {PATIENCE:g} s")
            await asyncio.sleep(POLL)


def _last(facts: Any, version: str | None, *, kept: bool) -> float | None:
    """Return when a client of one sort was answered last: by any pod, or by those of a version."""
    times = [
        last
        for client in facts["clients"]
        if client["kept"] is kept
        for pod, (_, last) in client["pods"].items()
        if version in (None, pod.rpartition("@")[2])
    ]
    return float(max(times)) if times else None
