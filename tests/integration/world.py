"""A namespace of the real cluster and the few things tests do in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from riskladder.api.base import format_time
from riskladder.api.chain import noted_heads, verify_chains
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, Conflict, Forbidden, NotFound, Object
from riskladder.cluster.resources import Resource
from tests.patience import PATIENCE
from tests.trails import said

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SERVICES = Resource("", "v1", "services", "Service")
LADDER = "credit"
LABEL = "riskladder.dev/ladder"
INDICATOR = "demographic_parity_difference"
SOON, SELDOM = 0.03, 0.25
"""Seconds between two looks: at first, and after some two seconds."""

T = TypeVar("T")


def ladder(name: str = LADDER, action: str = "ScaleToZero", *, lock: bool = False, **changes: Any) -> Object:
    """A ladder with a moderate tier above 0.10 (two readings) and a containing tier above 0.20.

    Without a lock, unless asked for, so that other clients can revert what it contains.
    """
    spec: Object = {
        "governs": {"selector": {"matchLabels": {LABEL: name}}},
        "stakeholders": [{"role": "legal"}, {"role": "data-science"}],
        "indicators": [{"name": INDICATOR}, {"name": "population_stability_index"}],
        "tiers": [
            {
                "name": "moderate",
                "triggers": [{"indicator": INDICATOR, "above": 0.10, "readings": 2, "clearsAt": 0.08}],
                "notify": [{"role": "data-science"}],
                "closesWhen": {"cleared": True, "for": "1s"},
            },
            {
                "name": "high",
                "triggers": [{"indicator": INDICATOR, "above": 0.20}],
                "notify": [{"role": "legal"}],
                "decide": {"within": "1h", "quorum": [{"role": "legal"}]},
                "containment": {"action": action, "lock": lock},
            },
        ],
    }
    return _object(resources.LADDERS, name, spec | changes)


def deployment(
    name: str, *, replicas: int = 1, image: str = "registry.example/model:1", label: str | None = LADDER, **spec: Any
) -> Object:
    """A Deployment that opted in to a ladder."""
    body = _object(
        resources.DEPLOYMENTS,
        name,
        {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "model", "image": image}]},
            },
            **spec,
        },
    )
    body["metadata"]["labels"] = {LABEL: label} if label else {}
    return body


def signal(name: str, target: str, value: float | None, *, at: datetime | None = None, **changes: Any) -> Object:
    """A signal with one reading."""
    spec: Object = {
        "ladder": LADDER,
        "target": {"kind": "Deployment", "name": target},
        "source": "fairness-monitor",
        "observedAt": format_time(at or datetime.now(UTC)),
    }
    if value is not None:
        spec["readings"] = [{"indicator": INDICATOR, "value": value}]
    return _object(resources.SIGNALS, name, spec | changes)


def _object(resource: Resource, name: str, spec: Object) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def condition(obj: Object, kind: str) -> Object:
    """The condition of that type, or an empty one."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {"status": "", "reason": "", "message": ""})


class TestNamespace:
    """One namespace; everything in it goes with it."""

    __test__ = False

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    async def __aenter__(self) -> Self:
        await self.client.create(NAMESPACES, None, {"metadata": {"name": self.namespace}})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.delete(NAMESPACES, None, self.namespace)

    # --- Doing ---

    async def apply(self, body: Object, manager: str = "tests") -> Object:
        resource = next(r for r in (*resources.CACHED, resources.BINDINGS, SERVICES) if r.kind == body["kind"])
        return await self.client.apply(resource, self.namespace, body, manager=manager)

    async def serve(self, name: str, *, replicas: int = 1, **arguments: Any) -> Object:
        """A Deployment behind a Service, ready with all its endpoints."""
        await self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
            }
        )
        await self.apply(deployment(name, replicas=replicas, **arguments))
        return await self.ready(name, replicas)

    async def serve_without_waiting(self, name: str) -> None:
        """A Deployment that may be stopped before it ever serves."""
        await self.apply(deployment(name))

    async def ready(self, name: str, replicas: int) -> Object:
        """Wait until that many endpoints are ready and the rollout is complete."""

        async def check() -> Object | None:
            obj = await self.deployment(name)
            status = obj.get("status") or {}
            complete = (
                status.get("observedGeneration", 0) >= obj["metadata"]["generation"]
                and status.get("updatedReplicas", 0) == status.get("replicas", 0) == replicas
            )
            return obj if complete and len(await self.endpoints(name)) == replicas else None

        return await self.until(check, f"{replicas} ready endpoints of {name}")

    async def deploy(self, name: str, image: str, replicas: int) -> Object:
        """Roll out another image and wait until it serves."""
        await self.client.merge_patch(
            resources.DEPLOYMENTS,
            self.namespace,
            name,
            {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": image}]}}}},
        )
        return await self.ready(name, replicas)

    async def scale(self, name: str, replicas: int) -> None:
        await self.client.merge_patch(resources.DEPLOYMENTS, self.namespace, name, {"spec": {"replicas": replicas}})

    # --- Reading ---

    async def get(self, resource: Resource, name: str) -> Object:
        return await self.client.get(resource, self.namespace, name)

    async def deployment(self, name: str) -> Object:
        return await self.get(resources.DEPLOYMENTS, name)

    async def signal(self, name: str) -> Object:
        return await self.get(resources.SIGNALS, name)

    async def escalations(self, target: str | None = None) -> list[Object]:
        found = await self.client.list(resources.ESCALATIONS, self.namespace)
        return [e for e in found if target in (None, e["spec"]["target"]["name"])]

    async def records(self, escalation: str) -> list[Object]:
        """All that is on record of an escalation, in order, each as if it had a record of its own."""
        return said(await self.chain(escalation))

    async def chain(self, escalation: str) -> list[Object]:
        """The records of an escalation, as they are stored."""
        found = await self.client.list(resources.RECORDS, self.namespace)
        mine = [r for r in found if r["spec"]["escalation"] == escalation]
        return sorted(mine, key=lambda r: r["spec"]["sequence"])

    async def events(self, name: str | None = None) -> list[Object]:
        """Our Events, of one object or all."""
        found = await self.client.list(resources.EVENTS, self.namespace)
        ours = [e for e in found if str(e.get("reportingController")).startswith("riskladder.dev")]
        return [e for e in ours if name in (None, e["regarding"]["name"])]

    async def endpoints(self, service: str) -> set[str]:
        """Names of the pods that are ready behind a Service."""
        slices = await self.client.list(
            resources.ENDPOINTSLICES, self.namespace, labels=f"kubernetes.io/service-name={service}"
        )
        return {
            e["targetRef"]["name"]
            for s in slices
            for e in s.get("endpoints") or ()
            if (e.get("conditions") or {}).get("ready")
        }

    # --- Waiting ---

    async def until(self, check: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Wait for a condition, looking less often the longer it takes; its value."""
        deadline, pause = time.monotonic() + PATIENCE, SOON
        while True:
            try:
                found = await check()
            except (NotFound, LookupError):  # the object, or what is looked for in it, is not there yet
                found = None
            except ApiError as error:
                if not error.is_transient:
                    raise
                found = None
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE:g} s in vain for {what}; {await self._stands()}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.1, SELDOM)

    async def _stands(self) -> str:
        """What the escalations say, for whoever reads that something was waited for in vain."""
        try:
            found = await self.escalations()
        except ApiError as error:
            return f"escalations: {error}"
        lines = ["what its escalations say:" if found else "there are no escalations"]
        for e in found:
            lines.append(f"{e['metadata']['name']} of {e['spec']['target']}")
            conditions = (e.get("status") or {}).get("conditions") or ()
            lines += [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions]
        return "\n".join(lines)

    async def ladder_ready(self, name: str = LADDER) -> Object:
        """The ladder, once it is Ready: just after an installation it may have to look at permissions a few times."""
        says: Object = {}

        async def check() -> Object | None:
            obj = await self.get(resources.LADDERS, name)
            says.update({c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()})
            return obj if condition(obj, "Ready")["status"] == "True" else None

        try:
            return await self.until(check, f"ladder {name} to be Ready")
        except AssertionError as error:
            raise AssertionError(f"{error}: it says {says or 'nothing'}") from None

    async def signal_says(self, name: str, kind: str, status: str, reason: str | None = None) -> Object:
        async def check() -> Object | None:
            obj = await self.signal(name)
            found = condition(obj, kind)
            current = (obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"]
            return obj if current and found["status"] == status and reason in (None, found["reason"]) else None

        return await self.until(check, f"signal {name} to say {kind}={status} {reason or ''}")

    async def tier(self, name: str, tier: str) -> Object:
        async def check() -> Object | None:
            obj = await self.signal(name)
            status = obj.get("status") or {}
            current = status.get("observedGeneration") == obj["metadata"]["generation"]
            return obj if current and status.get("tier") == tier else None

        return await self.until(check, f"signal {name} to be in tier {tier}")

    async def known_good(self, name: str, target: str) -> Object:
        """Report at baseline until the operator has noted the revision in place as known good; what it noted."""

        async def check() -> Object | None:
            await self.apply(signal(name, target, 0.05))
            obj = await self.tier(name, "baseline")
            found: Object | None = obj["status"].get("lastKnownGood")
            return found

        return await self.until(check, f"a known good revision of {target}")

    async def escalation_says(self, target: str, kind: str, status: str, reason: str | None = None) -> Object:
        async def check() -> Object | None:
            for obj in await self.escalations(target):
                found = condition(obj, kind)
                if found["status"] == status and reason in (None, found["reason"]):
                    return obj
            return None

        return await self.until(check, f"the escalation of {target} to say {kind}={status} {reason or ''}")

    async def quiet(self) -> None:
        """Wait until the operator has nothing more to write in this namespace: two equal looks in a row."""

        async def versions() -> list[tuple[str, str]]:
            found = []
            for resource in (resources.SIGNALS, resources.ESCALATIONS, resources.RECORDS, resources.EVENTS):
                for obj in await self.client.list(resource, self.namespace):
                    found.append((obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]))
            return sorted(found)

        before: list[tuple[str, str]] = []
        since = time.monotonic()

        async def check() -> bool:
            nonlocal before, since
            now = await versions()
            if now != before:
                before, since = now, time.monotonic()
            return time.monotonic() - since > 1.5

        await self.until(check, "the operator to fall quiet")

    async def gone(self) -> None:
        """Wait until this namespace has been deleted."""

        async def check() -> bool:
            return self.namespace not in {n["metadata"]["name"] for n in await self.client.list(NAMESPACES)}

        await self.until(check, f"namespace {self.namespace} to go")

    async def stopped(self, name: str) -> None:
        """Wait until a Deployment is asked for no replicas."""

        async def check() -> bool:
            return bool((await self.deployment(name))["spec"]["replicas"] == 0)

        await self.until(check, f"{name} to be stopped")

    async def held_by_name(self, attempt: Callable[[Client], Awaitable[object]]) -> None:
        """Wait until the lock refuses an attempt, made as a dry run, on what it holds by name.

        It goes by the index of the namespace there, which the API server takes a moment to read.
        """
        dry = Client(self.client._connection, dry_run=True)

        async def refused() -> bool:
            try:
                await attempt(dry)
            except Forbidden as error:
                return "is contained by Escalation" in error.message
            except Conflict:  # it is still there, and nothing refuses to create it
                return False
            return False

        await self.until(refused, "the API server to have read what is held by name")

    async def alone(self) -> None:
        """Wait until no namespace is being deleted any more: the operator still has work in one that is."""

        async def check() -> bool:
            namespaces = await self.client.list(NAMESPACES)
            return not any(namespace["metadata"].get("deletionTimestamp") for namespace in namespaces)

        await self.until(check, "the namespaces of earlier tests to go")

    async def verified(self, escalation: Object) -> list[Object]:
        """The records of an escalation, proved unbroken up to the head in its status."""
        records = await self.chain(escalation["metadata"]["name"])
        [result] = verify_chains(records, noted_heads([escalation]))
        assert result.intact, result.error
        return said(records)
