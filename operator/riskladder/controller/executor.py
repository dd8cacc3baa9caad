"""Carries out the effects of plans: the one place that writes on targets, on their traffic and on companion workloads.

Every write is a compare-and-swap on what was seen, so that doing it twice or late does no harm. What comes back is fed
to the caches. A refusal is distinguished from staleness by the patch itself.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import structlog

from riskladder.api.base import API_VERSION
from riskladder.api.labels import FIELD_MANAGER
from riskladder.api.tiers import ContainmentAction
from riskladder.cluster import resources
from riskladder.cluster.client import JSON, JSON_PATCH, ApiError, Client, Conflict, NotFound, Object, Refused
from riskladder.cluster.resources import Resource
from riskladder.controller.caches.store import Store
from riskladder.policy.plan import Effect, NewEscalation, Phase, Stop
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.model import Workload
from riskladder.workloads.results import Impossible, JsonPatch

log = structlog.get_logger(__name__)

PROBLEM_FOR = 50.0
"""Seconds after which what could not be switched or held is tried again."""

FOLLOW_UP_EVERY = 2.0
"""Seconds between two second writes of a containment of one workload."""

REFUSED_RETRY = 5.0
"""Seconds after which a containment that was refused is tried again: what refuses it may change at any time."""

METHODS = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}


class NotContainable(Exception):  # noqa: N818 - says what became of it
    """A write cannot be done, or the API server refuses it though nothing has changed; the message says why."""

    def __init__(self, why: str, *, retry_after: float = 60.0) -> None:
        """Say why, and after how many seconds it is to be tried again."""
        super().__init__(why)
        self.retry_after = retry_after


class Stale(Refused):
    """The object was not as it was seen: it has been read again, and is decided again."""


class Executor:
    """Sends effects to one API server, and keeps the caches as new as what it answers."""

    def __init__(self, client: Client, store: Store) -> None:
        """Write through this client, and feed the answers to this store."""
        self._client = client
        self._store = store
        self._problems: dict[tuple[str, str, str], tuple[float, str]] = {}
        """By namespace, kind and name: when and why a companion workload could not be switched."""
        self._in_vain: dict[tuple[TargetKey, str], float] = {}
        """By target and name: when a hold was written that was not kept (monotonic)."""
        self._kept: dict[tuple[TargetKey, str], str] = {}
        """By target and name: resourceVersion after the hold was written last."""
        self._ending: set[asyncio.Task[None]] = set()
        """Deletions of pods that are under way."""
        self._followed_up: dict[TargetKey, float] = {}
        """When the second write of a containment was made last (monotonic)."""

    # --- Escalations ----------------------------------------------------------------------------------------------

    async def open(self, opening: NewEscalation) -> bool:
        """Create an Escalation; return whether it was this operator that did.

        Raises:
            ApiError: It was refused or not answered.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": resources.ESCALATIONS.kind,
            "metadata": {"namespace": opening.namespace, "name": opening.name, "labels": dict(opening.labels)},
            "spec": opening.spec.to_api(),
        }
        try:
            stored = await self._client.create(resources.ESCALATIONS, opening.namespace, body)
        except Conflict:
            # Somebody opened it before us, or we did and never heard: it is theirs or ours, but it is this one.
            stored = await self._client.get(resources.ESCALATIONS, opening.namespace, opening.name)
            self._store.put(resources.ESCALATIONS, stored)
            if not self._store.escalations.is_known(opening.namespace, opening.name):
                raise  # written by an operator of another version: not to be asked for over and over at full speed
            return False
        self._store.put(resources.ESCALATIONS, stored)
        return True

    async def namespace_uid(self, namespace: str) -> str | None:
        """Return the uid of a namespace; ``None`` where it is gone, and nothing where that could not be asked."""
        try:
            return str((await self._client.get(resources.NAMESPACES, None, namespace))["metadata"]["uid"])
        except NotFound:
            return None
        except ApiError:
            return ""

    # --- Containing -----------------------------------------------------------------------------------------------

    async def stop(self, key: TargetKey, workload: Workload, stop: Stop) -> None:
        """Send the one write that contains.

        Raises:
            ApiError: It was refused or not answered; ``Stale`` where the object is not as it was seen.
            NotContainable: It cannot be done, or the API server refused it, or dropped what was written.
        """
        if isinstance(stop.effect, Impossible):
            raise NotContainable(stop.effect.why)
        stored = await self._sent_with(key, stop.effect, stop.ends)
        is_at_zero = stop.effect.on_target and stop.action is ContainmentAction.SCALE_TO_ZERO
        if is_at_zero and workload.runtime.read(stored).replicas > 0:
            why = "what stops it was not kept: its CRD has no such field, or admission changes it"
            raise NotContainable(f"{key.kind} {key.name}: {why}")

    async def _sent_with(self, key: TargetKey, effect: Effect, ends: Sequence[Effect]) -> Object:
        """Send the write of a stop and, behind it and not after its answer, the deletions of pods."""
        if not ends:
            return await self._send(key, effect)
        write = asyncio.ensure_future(self._send(key, effect))
        for end in ends:
            task = asyncio.ensure_future(self._end(key, end))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        return await write

    async def _end(self, key: TargetKey, effect: Effect) -> None:
        """End a pod of a stopped model soon; where that fails, it ends when it asks to."""
        path = effect.resource.path(key.namespace, effect.name)
        try:
            await self._client.request("DELETE", path, verb="delete", resource=effect.resource.title, body=effect.body)
        except (NotFound, Conflict):
            return  # it has ended, or is another one
        except (ApiError, OSError) as error:
            log.warning("pod not ended", namespace=key.namespace, pod=effect.name, problem=str(error)[:500])

    async def _restart(self, key: TargetKey, effect: Effect) -> None:
        """Delete a pod of an isolated model, so that another takes its place: the cache has it until it has ended."""
        path = effect.resource.path(key.namespace, effect.name)
        try:
            await self._client.request("DELETE", path, verb="delete", resource=effect.resource.title, body=effect.body)
        except (NotFound, Conflict):
            return  # it has ended, or is another one
        self._log("restarted", key, effect)

    # --- Further effects ------------------------------------------------------------------------------------------

    async def carry_out(self, key: TargetKey, effect: Effect) -> bool:
        """Carry out a further effect; return whether that may have changed anything.

        Where an object has changed meanwhile, it is looked at again.

        Raises:
            ApiError: It was not allowed, or not answered.
            NotContainable: It was refused, though nothing has changed.
        """
        match effect.phase:
            case Phase.COMPANION:
                await self._switch(key, effect)
            case Phase.UPKEEP:
                return await self._keep_up(key, effect)
            case Phase.RESTART:
                await self._restart(key, effect)
                return False  # the watch says once it is ending
            case Phase.RESTORE if not effect.on_target:
                try:
                    await self._send(key, effect)
                except (Stale, NotFound, Conflict):
                    return True
                self._log("restored", key, effect)
            case _:
                await self._send(key, effect)
                self._log("restored", key, effect)
        return True

    async def follow_up(self, key: TargetKey, effect: Effect) -> float:
        """Send the second write of a containment; return the seconds after which to look, where it was just made.

        Raises:
            ApiError: It was refused or not answered; ``Stale`` where the workload is not as it was seen.
            NotContainable: It was refused, though nothing has changed.
        """
        wait = self._followed_up.get(key, -FOLLOW_UP_EVERY) + FOLLOW_UP_EVERY - time.monotonic()
        if wait > 0:  # it was not kept, or somebody reverts it over and over
            return wait
        await self._send(key, effect)
        self._followed_up[key] = time.monotonic()
        self._log("followed up", key, effect)
        return 0.0

    async def rehearse(self, key: TargetKey, effect: Effect) -> str:
        """Send a dry run; return what the API server refuses, or would store in place of what was asked; or nothing.

        Raises:
            ApiError: There was no answer, or none that says anything about the containment.
        """
        if effect.impossible:
            return effect.impossible[:500]
        try:
            await self._send(key, effect)
        except (ApiError, NotContainable) as problem:
            if isinstance(problem, ApiError) and problem.is_transient:
                raise
            return str(problem)[:500]
        return ""

    async def _switch(self, key: TargetKey, effect: Effect) -> None:
        """Suspend a companion workload, or let it run again."""
        object_key = (key.namespace, effect.resource.kind, effect.name)
        try:
            await self._client.json_patch(effect.resource, key.namespace, effect.name, effect.body)
        except NotFound:
            return  # deleted meanwhile: it is looked at again
        except Refused as error:
            found = await self._client.get(effect.resource, key.namespace, effect.name)
            refusal = _refusal(error, effect.body, found)
            if isinstance(refusal, NotContainable):
                self._problems[object_key] = (time.monotonic(), str(refusal)[:500])
            return  # else it was changed meanwhile, and is looked at again
        except Conflict:
            return  # the same
        except ApiError as error:
            if error.is_transient:
                raise
            self._problems[object_key] = (time.monotonic(), str(error)[:500])
            return
        self._problems.pop(object_key, None)
        self._log("switched", key, effect)

    def problem(self, namespace: str, kind: str, name: str) -> str:
        """Return why a companion workload could not be switched recently."""
        failed_at, problem = self._problems.get((namespace, kind, name), (0.0, ""))
        return problem if time.monotonic() - failed_at < PROBLEM_FOR else ""

    async def _keep_up(self, key: TargetKey, effect: Effect) -> bool:
        """Make what an object carries what it should be, unless something takes it away in the same write."""
        object_key = (key, effect.name)
        if time.monotonic() - self._in_vain.get(object_key, -PROBLEM_FOR) < PROBLEM_FOR:
            return False
        try:
            stored = await self._send(key, effect)
        except (Stale, NotFound, Conflict):
            return True
        if effect.verb == "delete":
            return True
        version = stored["metadata"].get("resourceVersion", "")
        was, self._kept[object_key] = self._kept.get(object_key), version
        took = all(at(stored, s["path"]) == s.get("value") for s in effect.body if s["op"] != "test")
        if not took or was == version:  # something takes it away, or what is missing is not what it carries
            self._in_vain[object_key] = time.monotonic()
            self._log("hold not kept", key, effect)
            return True
        self._log("hold", key, effect)
        return True

    # --- Sending --------------------------------------------------------------------------------------------------

    async def _send(self, key: TargetKey, effect: Effect) -> Object:
        """Send one effect; return the object as it is stored then."""
        body = await self._completed(key, effect)
        params = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if effect.dry_run else {})
        name = None if effect.verb == "create" else effect.name
        try:
            stored = await self._client.request(
                METHODS[effect.verb],
                effect.resource.path(key.namespace, name, effect.subresource),
                verb=effect.verb,
                resource=effect.resource.title,
                body=body,
                params=params,
                content_type=JSON_PATCH if effect.verb == "patch" else JSON,
            )
        except (Refused, NotFound, Conflict) as error:
            if effect.dry_run:
                raise
            found = await self.refresh(effect.resource, key.namespace, effect.name)
            if found and effect.subresource is not None and isinstance(error, NotFound):
                why = f"{key.kind} {key.name} has no {effect.subresource}: {error}"
                raise NotContainable(why) from error
            if isinstance(error, Refused):
                # Only a patch tests what was seen; and what denies it says so also where the object is not to be seen.
                judged = found if effect.subresource in (None, "status") else None
                if effect.verb != "patch" or error.is_denial:
                    raise NotContainable(error.message, retry_after=REFUSED_RETRY) from error
                raise _refusal(error, body, judged) from error
            raise
        if not effect.dry_run:
            return await self._fed(key, effect, stored)
        if effect.verb == "patch" and (what := altered(body, stored)):
            raise NotContainable(f"admitted, but not as it was asked for: {what}")
        return stored

    async def _completed(self, key: TargetKey, effect: Effect) -> Any:
        """Return the body of an effect; that of a rollback is made from the objects as they are stored."""
        rollback = effect.rollback
        if rollback is None:
            return effect.body
        runtime = rollback.workload.runtime
        live = await self._client.get(runtime.resource, key.namespace, key.name)
        history, revision = runtime.history, rollback.revision.name
        old = await self._client.get(history, key.namespace, revision) if history else None
        body = rollback.body(live, old)
        if body is None:
            title = runtime.resource.title
            raise Stale(422, "Changed", "changed since it was seen", verb="get", resource=title, where=key.name)
        return body

    async def _fed(self, key: TargetKey, effect: Effect, stored: Object) -> Object:
        """Keep the caches as new as what was written."""
        if effect.verb == "delete":
            uid = effect.body["preconditions"]["uid"]
            gone = {"metadata": {"uid": uid, "namespace": key.namespace, "name": effect.name}}
            self._store.drop(effect.resource, gone)
            return stored
        if effect.subresource is not None:  # what comes back is the subresource alone
            stored = await self._client.get(effect.resource, key.namespace, effect.name)
        self._store.put(effect.resource, stored)
        return stored

    async def refresh(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Replace what is cached by what is stored: the cache was behind. Return that, or ``None`` for nothing."""
        try:
            found = await self._client.get(resource, namespace, name)
        except NotFound:
            self._store.drop_unless(resource, (), namespace=namespace, name=name)
            return None
        self._store.put(resource, found)
        return found

    def _log(self, what: str, key: TargetKey, effect: Effect) -> None:
        log.info(
            what,
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=effect.escalation,
            by=f"{effect.verb} {effect.resource.kind}/{effect.name}",
        )


def _refusal(error: Refused, patch: JsonPatch, found: Object | None) -> Exception:
    """Distinguish a refusal from staleness: where every test of the patch holds, something refused it.

    Args:
        error: What was answered.
        patch: What was sent.
        found: The object as it is now; ``None`` where that says nothing.
    """
    if found is not None and all(at(found, step["path"]) == step["value"] for step in patch if step["op"] == "test"):
        return NotContainable(error.message, retry_after=REFUSED_RETRY)
    return Stale(
        error.status, error.reason, error.message, verb=error.verb, resource=error.resource, where="as it was seen"
    )


def at(obj: Object, path: str) -> Any:
    """Return what stands at a JSON Pointer; ``None`` for nothing."""
    found: Any = obj
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(name)] if name.isdigit() and int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found


def altered(patch: JsonPatch, stored: Object) -> str:
    """Return the first thing that a patch asks for and that is not stored; empty for nothing. More may be stored."""
    for step in patch:
        path = step["path"]
        if step["op"] == "test" or path.endswith("/-"):
            continue
        found = at(stored, path)
        if step["op"] == "remove":
            if found is not None and not path.rpartition("/")[2].isdigit():  # the next item takes the place of one
                return f"{path} would stay"
        elif what := _differing(step["value"], found, path):
            return what
    return ""


def _differing(asked: Any, found: Any, path: str) -> str:
    """Return where something that was asked for is lacking or another; empty for nowhere."""
    if isinstance(asked, dict) and isinstance(found, dict):
        parts = (
            _differing(value, found.get(key), f"{path}/{key}") for key, value in asked.items() if value is not None
        )
        return next(filter(None, parts), "")
    if isinstance(asked, list) and isinstance(found, list) and len(asked) == len(found):
        parts = (_differing(one, other, f"{path}/{n}") for n, (one, other) in enumerate(zip(asked, found, strict=True)))
        return next(filter(None, parts), "")
    if asked == found or (not asked and not found):  # a zero or an empty list may be left out of what is answered
        return ""
    return f"{path} would be {json.dumps(found)[:120]}"
