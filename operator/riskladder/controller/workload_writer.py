"""Writes on workloads: every one a compare-and-swap on what was seen, so that doing it twice or late does no harm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from riskladder.api.labels import FIELD_MANAGER
from riskladder.api.reasons import Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.cluster import resources
from riskladder.cluster.client import JSON, JSON_PATCH, Client, Conflict, Forbidden, NotFound, Object, Refused
from riskladder.cluster.resources import Resource
from riskladder.controller.caches.store import Store
from riskladder.policy.containment import companions
from riskladder.policy.containment.hold import outside
from riskladder.policy.containment.holds import of_escalation
from riskladder.policy.plan import Act, Lifting, Rehearsal, Restoring, Settlement, Switch
from riskladder.policy.snapshot import Escalation, Snapshot, TargetKey
from riskladder.workloads.companions import keda, suspend
from riskladder.workloads.companions.suspend import Beside
from riskladder.workloads.holding import ANNOTATIONS, Carried, hold_patch, release_patch
from riskladder.workloads.model import Revision, Workload
from riskladder.workloads.results import Impossible, JsonPatch, Write
from riskladder.workloads.safe_states.network_path import Outside

log = structlog.get_logger(__name__)

PROBLEM_FOR = 50.0
"""Seconds after which what could not be switched is tried again."""

SETTLE_EVERY = 2.0
"""Seconds between two second writes of a containment of one workload."""


class NotContainable(Exception):  # noqa: N818 - says what became of it
    """The kind of workload, or the version of it, cannot be taken to that safe state; the message says why."""

    def __init__(self, why: str, *, retry_after: float = 60.0) -> None:
        """Say why, and after how many seconds it is to be tried again."""
        super().__init__(why)
        self.retry_after = retry_after


REFUSED_RETRY = 5.0
"""Seconds after which a containment that was refused is tried again: what refuses it may be mended at any time."""


class Stale(Refused):
    """The object was not as it was seen: it has been read again, and is decided upon afresh."""


class WorkloadWriter:
    """Contains, restores, rehearses and suspends."""

    def __init__(self, client: Client, store: Store) -> None:
        """Write through this client, and keep the store as new as the writes."""
        self._client = client
        self._store = store
        self._problems: dict[tuple[str, str, str], tuple[float, str]] = {}
        """By namespace, kind and name: when and why a workload beside a model could not be switched."""
        self._in_vain: dict[tuple[TargetKey, str], float] = {}
        """By target and name: when a hold was written that was not kept (monotonic)."""
        self._kept: dict[tuple[TargetKey, str], str] = {}
        """By target and name: resourceVersion after the hold was written last."""
        self._settled: dict[TargetKey, float] = {}
        """When the second write of a containment was made last (monotonic)."""
        self.seeks = keda.KEDA in store.runtimes.companions
        """Whether what scales a model is looked for."""

    async def contain(self, key: TargetKey, workload: Workload, act: Act) -> None:
        """The one write that contains.

        Raises:
            ApiError: It was refused or not answered; ``Stale`` where the workload is not as it was seen.
            NotContainable: It cannot be done, or the API server refused it, or dropped what was written.
        """
        if act.intent.reason == Reason.ALREADY_AT_ZERO and not act.again:
            write, carried = _as_seen(workload), workload.carried
        else:
            write, carried = await self._write_of(key, workload, act.action, act.revision)
        stored = await self._patch(key, workload, _with_hold(write, workload, carried, act))
        if act.action is ContainmentAction.SCALE_TO_ZERO and stored.replicas > 0:
            raise NotContainable(f"{key.kind} {key.name}: what stops it was not kept: its CRD has no such field")

    async def contain_around(self, key: TargetKey, workload: Workload, act: Act) -> None:
        """The one write that contains without touching the workload.

        Raises:
            ApiError: It was refused or not answered; ``Stale`` where the object is not as it was seen.
            NotContainable: It cannot be done.
        """
        assert act.hold is not None  # noqa: S101
        write = outside(workload, act.intent, act.hold, act.lock)
        if isinstance(write, Impossible):
            raise NotContainable(f"{key.kind} {key.name}: {write.why}")
        await self._outside(key, write)

    async def lift(self, key: TargetKey, lifting: Lifting) -> None:
        """Give back what was overwritten of another object. Where it has changed meanwhile, it is looked at again."""
        write = lifting.write
        try:
            await self._outside(key, write)
        except (Refused, NotFound, Conflict):
            return
        log.info(
            "given back",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=lifting.escalation.name,
            by=f"{write.verb} {write.resource.kind}/{write.name}",
        )

    async def keep_up(self, key: TargetKey, write: Outside) -> None:
        """Make what an object carries of a containment what it should be. Where it has changed, it is looked at again.

        Raises:
            ApiError: It was not allowed, or not answered.
            NotContainable: It was refused, though nothing has changed.
        """
        try:
            stored = await self._outside(key, write)
        except (Refused, NotFound, Conflict):
            return
        if write.verb == "delete":
            return
        version, place = stored["metadata"].get("resourceVersion", ""), (key, write.name)
        was, self._kept[place] = self._kept.get(place), version
        took = all(_at(stored, s["path"]) == s.get("value") for s in write.body if s["op"] != "test")
        if not took or was == version:  # something takes it away, or what is missing is not what it carries
            self._in_vain[key, write.name] = time.monotonic()
            log.warning("hold not kept", namespace=key.namespace, on=f"{write.resource.kind}/{write.name}")
            return
        log.info(
            "hold", namespace=key.namespace, target=f"{key.kind}/{key.name}", on=f"{write.resource.kind}/{write.name}"
        )

    def is_in_vain(self, key: TargetKey, write: Outside) -> bool:
        """Return whether what an object carries was written of late, and something took it away in the same write."""
        return time.monotonic() - self._in_vain.get((key, write.name), -PROBLEM_FOR) < PROBLEM_FOR

    async def _outside(self, key: TargetKey, write: Outside, *, dry_run: bool = False) -> Object:
        """Write on an object that is not the target, and keep the cache as new as that."""
        method = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}[write.verb]
        try:
            stored = await self._client.request(
                method,
                write.resource.path(key.namespace, None if write.verb == "create" else write.name),
                verb=write.verb,
                resource=write.resource.title,
                body=write.body,
                params={"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {}),
                content_type=JSON_PATCH if write.verb == "patch" else JSON,
            )
        except (Refused, NotFound, Conflict) as error:
            if dry_run:
                raise
            found = await self.refresh(write.resource, key.namespace, write.name)
            if isinstance(error, Refused) and write.verb == "patch":
                raise _refusal(error, write.body, found) from error
            raise
        if dry_run:
            return stored
        if write.verb == "delete":
            uid = write.body["preconditions"]["uid"]
            self._store.drop(write.resource, {"metadata": {"uid": uid, "namespace": key.namespace, "name": write.name}})
        else:
            self._store.put(write.resource, stored)
        return stored

    async def _write_of(
        self, key: TargetKey, workload: Workload, action: ContainmentAction, revision: Revision | None
    ) -> tuple[Write, Carried]:
        """The PATCH that brings a safe state about, and what the object it is made for carries."""
        if action is ContainmentAction.ROLLBACK:
            assert revision is not None  # noqa: S101
            return await self._rollback(key, workload, revision)
        write = workload.runtime.stop(workload)
        if isinstance(write, Impossible):
            raise NotContainable(f"{key.kind} {key.name} cannot be stopped: {write.why}")
        return write, workload.carried

    async def _patch(self, key: TargetKey, workload: Workload, write: Write) -> Workload:
        """Write on a workload, and keep the cache as new as that; the workload as it is stored then."""
        resource = workload.runtime.resource
        try:
            stored = await self._client.json_patch(
                resource, key.namespace, key.name, write.patch, subresource=write.subresource
            )
            if write.subresource is not None:  # what comes back is the subresource alone
                stored = await self._client.get(resource, key.namespace, key.name)
        except (Refused, NotFound) as error:
            found = await self.refresh(resource, key.namespace, key.name)
            if found and write.subresource is not None and isinstance(error, NotFound):
                raise NotContainable(f"{key.kind} {key.name} has no {write.subresource}: {error}") from error
            if isinstance(error, Refused):
                raise _refusal(error, write.patch, found if write.subresource in (None, "status") else None) from error
            raise
        self._store.put(resource, stored)
        return workload.runtime.read(stored)

    async def _rollback(self, key: TargetKey, workload: Workload, to: Revision) -> tuple[Write, Carried]:
        """The patch, from the objects as they are stored: they are too large to be cached for every workload."""
        runtime = workload.runtime
        live = await self._client.get(runtime.resource, key.namespace, key.name)
        old = await self._client.get(runtime.history, key.namespace, to.name) if runtime.history else None
        seen = (workload.uid, workload.digest, to.uid if old else "")
        found = (live["metadata"]["uid"], runtime.read(live).digest, old["metadata"]["uid"] if old else "")
        if found != seen:
            raise Stale(
                422, "Changed", "changed since it was seen", verb="get", resource=runtime.resource.title, where=key.name
            )
        return runtime.roll_back(live, old, to), runtime.read(live).carried

    async def restore(self, key: TargetKey, snapshot: Snapshot, restoring: Restoring) -> None:
        """Bring back what a containment took away: a compare-and-swap on the workload as it was seen."""
        assert snapshot.target is not None  # noqa: S101
        write = snapshot.target.runtime.restore(snapshot.target, restoring.replicas, restoring.fields)
        target, hold = snapshot.target, restoring.hold
        if write.subresource is None and hold is not None:  # another escalation holds it still
            hold = hold.model_copy(update={"uid": target.uid})
            more = hold_patch(target.carried, hold, restoring.lock, version=target.resource_version)
            write = Write([*write.patch, *more])
        elif write.subresource is None:  # what is restored is held no more, in the same write
            write = Write([*write.patch, *release_patch(target.carried)])
        await self._patch(key, snapshot.target, write)
        log.info(
            "restored",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=restoring.escalation.name,
            replicas=restoring.replicas,
        )

    async def settle(self, key: TargetKey, snapshot: Snapshot, settlement: Settlement) -> float:
        """The second write of a containment; seconds after which to look again, where it has just been made.

        Raises:
            ApiError: It was refused or not answered; ``Refused`` where the workload is not as it was seen.
        """
        assert snapshot.target is not None  # noqa: S101
        wait = self._settled.get(key, -SETTLE_EVERY) + SETTLE_EVERY - time.monotonic()
        if wait > 0:  # it was not kept, or somebody takes it back over and over
            return wait
        await self._patch(key, snapshot.target, settlement.write)
        self._settled[key] = time.monotonic()
        log.info(
            "settled",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=settlement.escalation.name,
            told=[step["path"] for step in settlement.write.patch if step["op"] != "test"],
        )
        return 0.0

    async def rehearse(self, key: TargetKey, snapshot: Snapshot, rehearsal: Rehearsal) -> str:
        """The containment of a drill as a dry run: what the API server refuses, or nothing."""
        assert snapshot.target is not None  # noqa: S101
        if rehearsal.intent.through is not None:
            hold = of_escalation(rehearsal.escalation, rehearsal.intent)
            assert hold is not None  # noqa: S101 - evidence is taken when a drill is opened
            write_or_why = outside(snapshot.target, rehearsal.intent, hold, str(rehearsal.intent.action))
            if isinstance(write_or_why, Impossible):
                return write_or_why.why[:500]
            try:
                await self._outside(key, write_or_why, dry_run=True)
            except (Refused, NotFound, Forbidden, Conflict) as problem:
                return str(problem)[:500]
            return ""
        resource, action = snapshot.target.runtime.resource, rehearsal.intent.action
        if rehearsal.revision is None:
            action = ContainmentAction.SCALE_TO_ZERO
        try:
            write, _ = await self._write_of(key, snapshot.target, action, rehearsal.revision)
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

    async def look_beside(self, key: TargetKey, escalations: Sequence[Escalation]) -> dict[tuple[str, str], Beside]:
        """Return the companion workloads of the containments of a target; nothing of them is watched."""
        found = await self._look_for_scalers(key, escalations)
        for kind, name in sorted({place for e in escalations for place in companions.wanted(e)}):
            if (kind, name) in found:
                continue
            problem = self._problem(key.namespace, kind, name)
            resource = resources.SUSPENDABLE.get(kind)
            if resource is None:
                kinds = ", ".join(resources.SUSPENDABLE)
                found[kind, name] = Beside(kind, name, problem=f"a {kind} cannot be suspended ({kinds} can)")
                continue
            try:
                obj = await self._client.get(resource, key.namespace, name)
            except (NotFound, Forbidden) as error:
                found[kind, name] = Beside(kind, name, problem=str(error)[:500])
            else:
                seen = keda.read(obj) if resource is keda.SCALEDOBJECTS else suspend.read(kind, obj)
                found[kind, name] = replace(seen, problem=seen.problem or problem)
        return found

    async def _look_for_scalers(
        self, key: TargetKey, escalations: Sequence[Escalation]
    ) -> dict[tuple[str, str], Beside]:
        """The ScaledObjects that scale a target which has to stay at zero: no policy names them."""
        runtime = self._store.runtimes.by_kind.get(key.kind)
        if runtime is None or not self.seeks or not any(map(companions.sought, escalations)):
            return {}
        resource, found = keda.SCALEDOBJECTS, {}
        try:
            listed = await self._client.list(resource, key.namespace)
        except NotFound:  # KEDA is not installed (yet)
            return {}
        except Forbidden as error:
            place = (resource.kind, key.name)
            return {place: Beside(*place, problem=str(error)[:500], found=True)}
        for obj in listed:
            if keda.scales(obj, runtime.resource, key.name):
                seen = keda.read(obj, found=True)
                place = (seen.kind, seen.name)
                problem = seen.problem or self._problem(key.namespace, *place)
                found[place] = replace(seen, problem=problem)
        return found

    def _problem(self, namespace: str, kind: str, name: str) -> str:
        """Why it could not be switched of late."""
        failed_at, problem = self._problems.get((namespace, kind, name), (0.0, ""))
        return problem if time.monotonic() - failed_at < PROBLEM_FOR else ""

    async def switch(self, key: TargetKey, switch: Switch) -> None:
        """Suspend a workload, or let it run again: a compare-and-swap, as everything."""
        kind, name = switch.seen.kind, switch.seen.name
        if kind == keda.SCALEDOBJECTS.kind:
            patch = keda.switch(switch.seen, suspend=switch.suspend, value=switch.value)
        else:
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

    async def refresh(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Replace what is cached by what is stored: the cache was behind. Return that, or ``None`` for nothing."""
        try:
            found = await self._client.get(resource, namespace, name)
        except NotFound:
            self._store.drop_unless(resource, (), namespace=namespace, name=name)
            return None
        self._store.put(resource, found)
        return found


def _as_seen(workload: Workload) -> Write:
    """A patch that changes nothing, if the workload is as it was seen: it has no replicas, and is only held."""
    seen = {"/metadata/uid": workload.uid, "/metadata/resourceVersion": workload.resource_version}
    return Write([{"op": "test", "path": path, "value": value} for path, value in seen.items()])


def _with_hold(write: Write, workload: Workload, carried: Carried, act: Act) -> Write:
    """The same patch with the hold, where the object can carry it."""
    if act.hold is None or write.subresource is not None:
        return write
    hold = act.hold.model_copy(update={"uid": workload.uid})
    made = any(step["op"] == "add" and step["path"] == ANNOTATIONS for step in write.patch)
    version = workload.resource_version
    more = hold_patch(carried, hold, act.lock, version=version, has_annotations=made)
    return Write([*write.patch, *more])


def _refusal(error: Refused, patch: JsonPatch, found: Object | None) -> Exception:
    """Tell a refusal from staleness: where every test of the patch holds on the object as it is, something refused it.

    Args:
        error: What was answered.
        patch: What was sent.
        found: The object as it is now; ``None`` where that says nothing.
    """
    if found is not None and all(_at(found, step["path"]) == step["value"] for step in patch if step["op"] == "test"):
        return NotContainable(error.message, retry_after=REFUSED_RETRY)
    return Stale(
        error.status, error.reason, error.message, verb=error.verb, resource=error.resource, where="as it was seen"
    )


def _at(obj: Object, path: str) -> Any:
    """What stands at a JSON Pointer; ``None`` for nothing."""
    found: Any = obj
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(name)] if name.isdigit() and int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found
