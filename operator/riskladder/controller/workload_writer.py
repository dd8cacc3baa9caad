"""Writes on workloads: every one a compare-and-swap on what was seen, so that doing it twice or late does no harm."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import structlog

from riskladder.api.tiers import ContainmentAction
from riskladder.cluster import resources
from riskladder.cluster.client import FIELD_MANAGER, JSON_PATCH, Client, Forbidden, NotFound, Refused
from riskladder.cluster.resources import Resource
from riskladder.controller.store import Store
from riskladder.policy import beside
from riskladder.policy.plan import Act, Rehearsal, Restoring, Switch
from riskladder.policy.snapshot import Escalation, Snapshot, TargetKey
from riskladder.workloads import deployment, suspend
from riskladder.workloads.facts import Revision, Workload
from riskladder.workloads.suspend import Beside

log = structlog.get_logger(__name__)

PROBLEM_FOR = 50.0
"""Seconds after which what could not be switched is tried again."""


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
        """
        try:
            if act.action is ContainmentAction.ROLLBACK:
                assert act.revision is not None  # noqa: S101
                patch = await self._rollback_patch(key, workload, act.revision)
            else:
                patch = deployment.scale_to_zero(workload)
            stored = await self._client.json_patch(resources.DEPLOYMENTS, key.namespace, key.name, patch)
        except (Refused, NotFound):
            await self.refresh(resources.DEPLOYMENTS, key.namespace, key.name)
            raise
        self._store.put(resources.DEPLOYMENTS, stored)

    async def _rollback_patch(self, key: TargetKey, workload: Workload, to: Revision) -> list[dict[str, Any]]:
        """The patch, from the templates as they are stored: they are too large to be cached for every workload."""
        live = await self._client.get(resources.DEPLOYMENTS, key.namespace, key.name)
        old = await self._client.get(resources.REPLICASETS, key.namespace, to.name)
        seen = (workload.uid, workload.digest, to.uid)
        found = (live["metadata"]["uid"], deployment.template_digest(live["spec"]["template"]), old["metadata"]["uid"])
        if found != seen:
            raise Refused(
                422, "Changed", "changed since it was seen", verb="get", resource="deployments.apps", where=key.name
            )
        return deployment.roll_back(live, old)

    async def restore(self, key: TargetKey, snapshot: Snapshot, restoring: Restoring) -> None:
        """Bring back what a containment took away: a compare-and-swap on the workload as it was seen."""
        assert snapshot.target is not None  # noqa: S101
        patch = deployment.restore_replicas(snapshot.target, restoring.replicas)
        try:
            stored = await self._client.json_patch(resources.DEPLOYMENTS, key.namespace, key.name, patch)
        except (Refused, NotFound):
            await self.refresh(resources.DEPLOYMENTS, key.namespace, key.name)
            raise
        log.info(
            "restored",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=restoring.escalation.name,
            replicas=restoring.replicas,
        )
        self._store.put(resources.DEPLOYMENTS, stored)

    async def rehearse(self, key: TargetKey, snapshot: Snapshot, rehearsal: Rehearsal) -> str:
        """The containment of a drill as a dry run: what the API server refuses, or nothing."""
        assert snapshot.target is not None  # noqa: S101
        error, intent = "", rehearsal.intent
        try:
            patch = deployment.scale_to_zero(snapshot.target)
            if intent.action is ContainmentAction.ROLLBACK and rehearsal.revision is not None:
                patch = await self._rollback_patch(key, snapshot.target, rehearsal.revision)
            await self._client.request(
                "PATCH",
                resources.DEPLOYMENTS.path(key.namespace, key.name),
                verb="patch",
                resource=resources.DEPLOYMENTS.title,
                body=patch,
                content_type=JSON_PATCH,
                params={"fieldManager": FIELD_MANAGER, "dryRun": "All"},
            )
        except (Refused, NotFound, Forbidden) as problem:
            error = str(problem)[:500]
        return error

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
