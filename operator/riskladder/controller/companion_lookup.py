"""Looks up companion workloads: what a tier suspends along with a model, and what scales it. None is watched."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, NotFound, Object, drained
from riskladder.cluster.resources import Resource
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor
from riskladder.policy.containment import companions
from riskladder.policy.snapshot import Escalation, TargetKey
from riskladder.workloads.companions import keda, suspend
from riskladder.workloads.companions.suspend import Companion

SCALERS_FOR = 15.0
"""Seconds for which it is believed which ScaledObjects there are in a namespace."""


class CompanionLookup:
    """Reads the companion workloads of one target at a time."""

    def __init__(self, client: Client, store: Store, executor: Executor) -> None:
        """Read through this client; the executor knows what could not be switched recently."""
        self._client = client
        self._store = store
        self._executor = executor
        self.seeks = keda.KEDA in store.runtimes.companions
        """Whether what scales a model is looked for."""
        self._scalers: dict[str, tuple[float, dict[str, list[Object]]]] = {}
        """By namespace: when ScaledObjects were listed (monotonic), and what they scale, by the name of that."""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By namespace: one list at a time."""

    async def look(self, key: TargetKey, escalations: Sequence[Escalation]) -> dict[tuple[str, str], Companion]:
        """Return the companion workloads of the containments of a target, by kind and name.

        Raises:
            ApiError: The API server did not answer.
        """
        found = await self._look_for_scalers(key, escalations)
        for kind, name in sorted({companion_key for e in escalations for companion_key in companions.wanted(e)}):
            if (kind, name) in found:
                continue
            problem = self._executor.problem(key.namespace, kind, name)
            resource = resources.SUSPENDABLE.get(kind)
            if resource is None:
                kinds = ", ".join(resources.SUSPENDABLE)
                found[kind, name] = Companion(kind, name, problem=f"a {kind} cannot be suspended ({kinds} can)")
                continue
            try:
                obj = await self._client.get(resource, key.namespace, name)
            except ApiError as error:
                if error.is_transient:
                    raise
                found[kind, name] = Companion(kind, name, problem=str(error)[:500])
            else:
                seen = keda.read(obj) if resource is keda.SCALEDOBJECTS else suspend.read(kind, obj)
                found[kind, name] = replace(seen, problem=seen.problem or problem)
        return found

    async def _look_for_scalers(
        self, key: TargetKey, escalations: Sequence[Escalation]
    ) -> dict[tuple[str, str], Companion]:
        """Return the ScaledObjects that scale a target which has to stay at zero: no policy names them."""
        runtime = self._store.runtimes.by_kind.get(key.kind)
        if runtime is None or not self.seeks or not any(map(companions.looks_for_scalers, escalations)):
            return {}
        resource, found = keda.SCALEDOBJECTS, {}
        try:
            listed = await self._scalers_of(key, runtime.resource)
        except NotFound:  # KEDA is not installed (yet)
            return {}
        except ApiError as error:
            if error.is_transient:
                raise
            companion_key = (resource.kind, key.name)
            return {companion_key: Companion(*companion_key, problem=str(error)[:500], found=True)}
        for obj in listed:
            seen = keda.read(obj, found=True)
            companion_key = (seen.kind, seen.name)
            problem = seen.problem or self._executor.problem(key.namespace, *companion_key)
            found[companion_key] = replace(seen, problem=problem)
        return found

    async def _scalers_of(self, key: TargetKey, target: Resource) -> list[Object]:
        """Return the ScaledObjects that scale a target, as they are now.

        Which ones those are is believed for some seconds, so that a namespace with a thousand stopped models is not
        listed for each of them.
        """
        namespace = key.namespace
        async with self._turns[namespace]:
            at, known = self._scalers.get(namespace, (-SCALERS_FOR, {}))
            if time.monotonic() - at >= SCALERS_FOR:
                known = defaultdict(list)
                async for items, _ in self._client.pages(keda.SCALEDOBJECTS, namespace):
                    for obj in drained(items):
                        reference = (obj.get("spec") or {}).get("scaleTargetRef") or {}
                        facts = {"metadata": {"name": obj["metadata"]["name"]}, "spec": {"scaleTargetRef": reference}}
                        known[reference.get("name", "")].append(facts)
                self._scalers[namespace] = (time.monotonic(), known)
        found = []
        for facts in known.get(key.name, ()):
            if keda.scales(facts, target, key.name):
                with contextlib.suppress(NotFound):
                    found.append(await self._client.get(keda.SCALEDOBJECTS, namespace, facts["metadata"]["name"]))
        return found
