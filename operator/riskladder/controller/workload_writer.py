"""Writes on workloads: every one a compare-and-swap on what was seen, so that doing it twice or late does no harm."""

from __future__ import annotations

import time
from dataclasses import replace

import structlog

from riskladder.api.tiers import ContainmentAction
from riskladder.cluster import resources
from riskladder.cluster.client import FIELD_MANAGER, JSON_PATCH, Client, Forbidden, NotFound, Refused
from riskladder.cluster.resources import Resource
from riskladder.controller.store import Store
from riskladder.policy import beside
from riskladder.policy.plan import Act, Rehearsal, Restoring, Switch
from riskladder.policy.snapshot import Escalation, Snapshot, TargetKey
from riskladder.workloads import suspend
from riskladder.workloads.facts import Revision, Workload
from riskladder.workloads.runtime import Impossible, Write
from riskladder.workloads.suspend import Beside

log = structlog.get_logger(__name__)

PROBLEM_FOR = 50.0
"""Seconds after which what could not be switched is tried again."""


class NotContainable(Exception):  # noqa: N818 - says what became of it
    """The kind of workload, or the version of it, cannot be taken to that safe state; the message says why."""

    retry_after = 60.0
    """Seconds after which it is tried again."""


class WorkloadWriter:
    """Contains, restores, rehearses and suspends."""

    def __init__(self, client: Client, store: Store) -> None:
        """Write through this client, and keep the store as new as the writes."""
        self._client = client
        self._store = store
        self._problems: dict[tuple[str, str, str], tuple[float, str]] = {}
        """By namespace, kind and name: when and why a workload beside a model could not be switched."""

    async def contain(self, key: TargetKey, workload: Workload, act: Act) -> None:
        """The one write that contains.

        Raises:
            ApiError: It was refused or not answered; ``Refused`` where the workload is not as it was seen.
            NotContainable: It cannot be done, or the API server dropped what was written.
        """
        write = await self._write_of(key, workload, act.action, act.revision)
        stored = await self._patch(key, workload, write)
        if act.action is ContainmentAction.SCALE_TO_ZERO and stored.replicas > 0:
            raise NotContainable(f"{key.kind} {key.name}: what stops it was not kept: its CRD has no such field")

    async def _write_of(
        self, key: TargetKey, workload: Workload, action: ContainmentAction, revision: Revision | None
    ) -> Write:
        """The PATCH that brings a safe state about."""
        if action is ContainmentAction.ROLLBACK:
            assert revision is not None  # noqa: S101
            return await self._rollback(key, workload, revision)
        write = workload.runtime.stop(workload)
        if isinstance(write, Impossible):
            raise NotContainable(f"{key.kind} {key.name} cannot be stopped: {write.why}")
        return write

    async def _patch(self, key: TargetKey, workload: Workload, write: Write) -> Workload:
        """Write on a workload, and keep the cache as new as that; the workload as it is stored then."""
        resource = workload.runtime.resource
        try:
            stored = await self._client.json_patch(
                resource, key.namespace, key.name, write.patch, subresource=write.subresource
            )
            if write.subresource is not None:  # what comes back is the subresource alone
                stored = await self._client.get(resource, key.namespace, key.name)
        except (Refused, NotFound):
            await self.refresh(resource, key.namespace, key.name)
            raise
        self._store.put(resource, stored)
        return workload.runtime.read(stored)

    async def _rollback(self, key: TargetKey, workload: Workload, to: Revision) -> Write:
        """The patch, from the objects as they are stored: they are too large to be cached for every workload."""
        runtime = workload.runtime
        live = await self._client.get(runtime.resource, key.namespace, key.name)
        old = await self._client.get(runtime.history, key.namespace, to.name) if runtime.history else None
        seen = (workload.uid, workload.digest, to.uid if old else "")
        found = (live["metadata"]["uid"], runtime.read(live).digest, old["metadata"]["uid"] if old else "")
        if found != seen:
            raise Refused(
                422, "Changed", "changed since it was seen", verb="get", resource=runtime.resource.title, where=key.name
            )
        return runtime.roll_back(live, old, to)

    async def restore(self, key: TargetKey, snapshot: Snapshot, restoring: Restoring) -> None:
        """Bring back what a containment took away: a compare-and-swap on the workload as it was seen."""
        assert snapshot.target is not None  # noqa: S101
        write = snapshot.target.runtime.restore(snapshot.target, restoring.replicas, restoring.fields)
        await self._patch(key, snapshot.target, write)
        log.info(
            "restored",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=restoring.escalation.name,
            replicas=restoring.replicas,
        )

    async def rehearse(self, key: TargetKey, snapshot: Snapshot, rehearsal: Rehearsal) -> str:
        """The containment of a drill as a dry run: what the API server refuses, or nothing."""
        assert snapshot.target is not None  # noqa: S101
        resource, action = snapshot.target.runtime.resource, rehearsal.intent.action
        if rehearsal.revision is None:
            action = ContainmentAction.SCALE_TO_ZERO
        try:
            write = await self._write_of(key, snapshot.target, action, rehearsal.revision)
            await self._client.request(
                "PATCH",
                resource.path(key.namespace, key.name, write.subresource),
                verb="patch",
                resource=resource.title,
                body=write.patch,
                content_type=JSON_PATCH,
                params={"fieldManager": FIELD_MANAGER, "dryRun": "All"},
            )
        except (Refused, NotFound, Forbidden, NotContainable) as problem:
            return str(problem)[:500]
        return ""

    async def look_beside(self, key: TargetKey, escalation: Escalation | None) -> dict[tuple[str, str], Beside]:
        """See what belongs to a containment beside the model; nothing of it is watched."""
        found = {}
        for kind, name in beside.wanted(escalation) if escalation else ():
            failed_at, problem = self._problems.get((key.namespace, kind, name), (0.0, ""))
            problem = problem if time.monotonic() - failed_at < PROBLEM_FOR else ""
            resource = resources.SUSPENDABLE.get(kind)
            if resource is None:
                kinds = ", ".join(resources.SUSPENDABLE)
                found[kind, name] = Beside(kind, name, problem=f"a {kind} cannot be suspended ({kinds} can)")
                continue
            try:
                seen = suspend.read(kind, await self._client.get(resource, key.namespace, name))
            except (NotFound, Forbidden) as error:
                found[kind, name] = Beside(kind, name, problem=str(error)[:500])
            else:
                found[kind, name] = replace(seen, problem=problem)
        return found

    async def switch(self, key: TargetKey, switch: Switch) -> None:
        """Suspend a workload, or let it run again: a compare-and-swap, as everything."""
        kind, name = switch.seen.kind, switch.seen.name
        patch = suspend.switch(switch.seen, suspend=switch.suspend)
        place = (key.namespace, kind, name)
        try:
            await self._client.json_patch(resources.SUSPENDABLE[kind], key.namespace, name, patch)
        except (Refused, NotFound):
            return  # changed meanwhile: it is looked at again
        except Forbidden as error:
            self._problems[place] = (time.monotonic(), str(error)[:500])
            return
        self._problems.pop(place, None)
        log.info("switched", namespace=key.namespace, kind=kind, name=name, suspend=switch.suspend)

    async def refresh(self, resource: Resource, namespace: str, name: str) -> None:
        """Replace what is cached by what is stored: the cache was behind."""
        try:
            self._store.put(resource, await self._client.get(resource, namespace, name))
        except NotFound:
            self._store.drop_unless(resource, (), namespace=namespace, name=name)
