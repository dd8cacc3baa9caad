"""What a client sees of a containment: when a stopped model answers for the last time, and what the record says.

The clients run in a pod, so that what enforces NetworkPolicies applies to them; each asks through the model's Service.
All times are of the same machine's clock, in seconds since the signal was sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from riskladder.cluster.resources import Resource
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.runtimes.statefulset import STATEFULSET
from tests.cluster.install import kubectl
from tests.integration.world import LABEL, LADDER, SERVICES, TestNamespace, signal
from tests.integration.world import ladder as ladder_of
from tests.patience import PATIENCE

IMAGE = "model:1"
PORT = 8000
KINDS = {"Deployment": resources.DEPLOYMENTS, "StatefulSet": STATEFULSET.resource}
STOPS = ("ScaleToZero", "Rollback")
"""Actions that end pods. The pods of Fallback and Isolate go on."""

RULES = "rules"
"""What answers instead of a model that fell back."""

WATCHED_FOR = 8.0
"""Seconds for which clients of a model whose pods go on are watched."""

SILENCE = 1.5
"""Seconds without an answer after which a client's last one was the last."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model, and what is done to it."""

    action: str
    kind: str
    on_term: str
    """What its server does on SIGTERM: honor, drain or ignore."""

    connections: str = "Keep"
    """What is to become of open connections under an Isolate."""

    @property
    def name(self) -> str:
        return f"{self.on_term}-{self.kind}".lower()


@dataclass(slots=True)
class Row:
    """What was seen of one case, in seconds since its signal was sent; None where it did not happen."""

    case: Case
    written: float | None = None
    """When a watching client saw the change that contains the model."""

    new: float | None = None
    """The last answer of a contained pod on a new connection."""

    kept: float | None = None
    """The last one on a connection that was opened before."""

    goes_on: set[str] = field(default_factory=set)
    """`new` and `kept`, where the contained pods still answered when the clients were looked at."""

    recorded: dict[str, float] = field(default_factory=dict)
    """What the escalation's status says: appliedAt, endpointsEmptyAt, podsGoneAt."""


class Models:
    """Models of one namespace, each with a ladder, a Service and clients of its own."""

    def __init__(
        self,
        world: TestNamespace,
        kubeconfig: Path,
        cases: Sequence[Case],
        *,
        replicas: int,
        grace: int,
        pause: float = 0.05,
    ) -> None:
        """`grace`: seconds that a pod may take to end. `pause`: seconds between two requests of a client."""
        self._world, self._kubeconfig, self.cases = world, kubeconfig, cases
        self._replicas, self._grace, self._pause = replicas, grace, pause
        self._pods: dict[str, dict[str, str]] = {}
        """By model: the uid of each pod that is to be contained, and what its answers call it."""

        self._watching = 0
        """How many watches have listed what is there, or have nothing to list and begin with the first there is."""

    async def serve(self) -> None:
        """Have every model answer its clients, on new and on kept connections."""
        if any(case.action == "Fallback" for case in self.cases):
            await self._world.apply(workload("Deployment", RULES, None, replicas=1, grace=1))
        for case in self.cases:
            await self._world.apply(self._ladder(case))
            await self._world.apply(service(case.name))
            await self._world.apply(self._model(case, "1"))
        for case in self.cases:
            await self._rolled_out(case)
        for case in self.cases:
            await self._world.ladder_ready(case.name)
        if rolled_back := [case for case in self.cases if case.action == "Rollback"]:
            for case in rolled_back:
                await self._world.apply(self._model(case, "2"))
            for case in rolled_back:
                await self._rolled_out(case)
        for case in self.cases:
            self._pods[case.name] = await self._world.until(
                lambda case=case: self._has_pods_alone(case), f"pods of {case.name} alone"
            )
        await self._start_clients()

    async def contain(self) -> list[Row]:
        """Have every model breach, and return what its clients saw."""
        async with asyncio.TaskGroup() as tasks:
            written = {case.name: tasks.create_task(self._written(case)) for case in self.cases}
            await self._world.until(self._all_watch, "the watches to be open")
            sent = await self.send()
        await self._ended(max(sent.values()))
        rows = self.rows(sent, await self.facts(since=time.time() + SILENCE))
        for row in rows:
            name = row.case.name
            row.written = written[name].result() - sent[name]
            row.recorded = await self.recorded(row.case, sent[name])
        return rows

    async def send(self) -> dict[str, float]:
        """Report a breach of every model. Return when each was sent, in seconds since the epoch."""
        sent: dict[str, float] = {}
        for case in self.cases:
            body = signal(f"fairness-{case.name}", case.name, 0.31)
            body["spec"]["ladder"] = case.name
            body["spec"]["target"]["kind"] = case.kind
            sent[case.name] = time.time()
            await self._world.client.create(resources.SIGNALS, self._world.namespace, body)
        return sent

    def rows(self, sent: dict[str, float], facts: dict[str, Any]) -> list[Row]:
        """Return what clients saw of each model that was sent a breach."""
        rows = [Row(case) for case in self.cases]
        for row in rows:
            self._fill(row, sent[row.case.name], facts)
        return rows

    async def until_silent(self) -> dict[str, Any]:
        """Wait until no client has had an answer for a while. Return what they know."""

        async def silent() -> dict[str, Any] | None:
            facts = await self.facts(since=time.time())
            last = [times[1] for client in facts["clients"] for times in client["pods"].values()]
            return facts if facts["at"] - max(last) > SILENCE else None

        return await self._world.until(silent, "the last answer")

    # What there is

    def _ladder(self, case: Case) -> Object:
        body = ladder_of(case.name, case.action, lock=True)
        if case.action == "Fallback":
            to = {"service": case.name, "selector": {"app": RULES}}
            body["spec"]["tiers"][1]["containment"]["fallback"] = to
        if case.connections != "Keep":
            body["spec"]["tiers"][1]["containment"]["connections"] = case.connections
        return body

    def _model(self, case: Case, version: str) -> Object:
        return workload(
            case.kind,
            case.name,
            case.name,
            replicas=self._replicas,
            grace=self._grace,
            on_term=case.on_term,
            version=version,
        )

    async def _rolled_out(self, case: Case) -> None:
        what = f"{case.kind.lower()}/{case.name}"
        await self.kubectl("rollout", "status", what, f"--timeout={PATIENCE:.0f}s")

    async def _has_pods_alone(self, case: Case) -> dict[str, str] | None:
        """The model's pods, once none is left of an earlier revision."""
        pods = await self._world.client.list(resources.PODS, self._world.namespace, labels=f"app={case.name}")
        if len(pods) != self._replicas or any(pod["metadata"].get("deletionTimestamp") for pod in pods):
            return None
        version = "2" if case.action == "Rollback" else "1"
        return {pod["metadata"]["uid"]: f"{pod['metadata']['name']}@{version}" for pod in pods}

    # Clients

    async def _start_clients(self) -> None:
        addresses = []
        for case in self.cases:
            service = await self._world.get(SERVICES, case.name)
            addresses.append(f"{case.name}={service['spec']['clusterIP']}:80")
        await self._world.client.create(resources.PODS, self._world.namespace, _clients(addresses, self._pause))
        await self.kubectl("wait", "--for=condition=Ready", "pod/clients", f"--timeout={PATIENCE:.0f}s")

        async def all_answered() -> bool:
            facts = await self.facts()
            return all(
                client["answers"]
                and (client["kept"] or set(client["pods"]) >= set(self._pods[client["model"]].values()))
                for client in facts["clients"]
            )

        await self._world.until(all_answered, "every client to be answered, by every pod")

    async def facts(self, since: float = 0.0) -> dict[str, Any]:
        """Return what the clients know, at a time after `since`."""

        async def answered() -> dict[str, Any] | None:
            line = await self.kubectl("logs", "clients", "--tail=1")
            found: dict[str, Any] | None = json.loads(line) if line.strip() else None
            return found if found and found["at"] > since else None

        return await self._world.until(answered, "the clients to say what they know")

    def _fill(self, row: Row, sent: float, facts: dict[str, Any]) -> None:
        contained = self._pods[row.case.name].values()
        for kept, name in ((False, "new"), (True, "kept")):
            last = [
                times[1]
                for client in facts["clients"]
                if client["model"] == row.case.name and client["kept"] is kept
                for pod, times in client["pods"].items()
                if pod in contained
            ]
            setattr(row, name, max(last) - sent)
            if facts["at"] - max(last) < SILENCE:
                row.goes_on.add(name)

    # The containment

    async def _all_watch(self) -> bool:
        return self._watching == len(self.cases)

    async def _written(self, case: Case) -> float:
        """Return when the write that contains a model is seen."""
        first: Object | None = None
        resource = _written_to(case)
        self._watching += resource is NETWORKPOLICIES  # There is nothing yet that a watch could begin with.
        async for _, obj in self._world.client.watch(resource, self._world.namespace):
            if resource is NETWORKPOLICIES:
                if obj["spec"]["podSelector"].get("matchLabels", {}).get("app") == case.name:
                    return time.time()
            elif obj["metadata"]["name"] == case.name:
                if first is None:
                    first = obj
                    self._watching += 1
                elif _is_contained(case, first, obj):
                    return time.time()
        raise AssertionError(f"the watch of {resource.title} ended")

    async def _ended(self, sent: float) -> None:
        """Wait until the contained pods are gone, or, where they go on, for as long as they are watched."""
        stops = [case for case in self.cases if case.action in STOPS]

        async def gone() -> bool:
            pods = await self._world.client.list(resources.PODS, self._world.namespace)
            left = {pod["metadata"]["uid"] for pod in pods}
            return not any(left & self._pods[case.name].keys() for case in stops)

        if stops:
            await self._world.until(gone, "the contained pods to go")
        if len(stops) < len(self.cases):
            await self.facts(since=sent + WATCHED_FOR)

    async def recorded(self, case: Case, sent: float) -> dict[str, float]:
        """Return the times that the status of the escalation names, as soon as it has its proof."""

        async def contained() -> Object | None:
            for escalation in await self._world.escalations(case.name):
                conditions = escalation["status"].get("conditions") or ()
                if any(c["type"] == "Contained" and c["status"] == "True" for c in conditions):
                    found: Object = escalation["status"]["containments"][0]
                    return found
            return None

        status = await self._world.until(contained, f"{case.name} to be Contained")
        names = ("appliedAt", "endpointsEmptyAt", "podsGoneAt")
        return {name: _seconds(status[name]) - sent for name in names if status.get(name)}

    async def kubectl(self, *arguments: str) -> str:
        """Return what kubectl prints for the namespace of the models."""
        return await asyncio.to_thread(kubectl, self._kubeconfig, f"--namespace={self._world.namespace}", *arguments)


async def stopped_by_a_breach(world: TestNamespace) -> tuple[float, Object]:
    """Serve `scorer` under the ladder of the namespace, and report a breach.

    Return after how many seconds it had no replicas, and its escalation, once that is proven to be contained.
    """
    await world.apply(service("scorer"))
    await world.apply(workload("Deployment", "scorer", LADDER, replicas=1, grace=2))
    await world.until(lambda: world.endpoints("scorer"), "scorer to serve")
    since = time.monotonic()
    await world.apply(signal("scorer", "scorer", 0.31))
    await world.stopped("scorer")
    took = time.monotonic() - since
    return took, await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows as lines of a Markdown table."""
    head = (
        "safe state",
        "kind",
        "on SIGTERM",
        "write seen",
        "last answer, new",
        "last answer, kept",
        "record: applied",
        "record: out of service",
        "record: pods gone",
    )
    body = [
        (
            row.case.action,
            row.case.kind,
            row.case.on_term if row.case.action in STOPS else "-",
            _cell(row.written),
            "goes on" if "new" in row.goes_on else _cell(row.new),
            "goes on" if "kept" in row.goes_on else _cell(row.kept),
            *(_cell(row.recorded.get(name)) for name in ("appliedAt", "endpointsEmptyAt", "podsGoneAt")),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *body)]
    ruler = "-|-".join("-" * width for width in widths)
    return [f"| {line} |" for line in (lines[0], ruler, *lines[1:])]


def _cell(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _written_to(case: Case) -> Resource:
    """Return the kind of object that contains a model."""
    return {"Fallback": SERVICES, "Isolate": NETWORKPOLICIES}.get(case.action) or KINDS[case.kind]


def _is_contained(case: Case, first: Object, now: Object) -> bool:
    if case.action == "Fallback":
        return bool(now["spec"]["selector"] != first["spec"]["selector"])
    if case.action == "Rollback":
        return bool(now["spec"]["template"] != first["spec"]["template"])
    return bool(now["spec"]["replicas"] == 0)


def workload(
    kind: str, name: str, ladder: str | None, *, replicas: int, grace: int, on_term: str = "honor", version: str = "1"
) -> Object:
    container = {
        "name": "model",
        "image": IMAGE,
        "env": [{"name": "ON_TERM", "value": on_term}, {"name": "MODEL_VERSION", "value": version}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        # Without a share of the CPU it is the busy control plane that decides when it can end.
        "resources": {"requests": {"cpu": "50m"}},
    }
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": grace, "containers": [container]},
        },
    }
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "OrderedReady"}
    labels = {LABEL: ladder} if ladder else {}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}


def service(name: str) -> Object:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _clients(addresses: list[str], pause: float) -> Object:
    container = {
        "name": "clients",
        "image": IMAGE,
        "command": ["python3", "/client.py", *addresses],
        "env": [{"name": "PAUSE_SECONDS", "value": str(pause)}],
    }
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "clients"}, "spec": spec}
