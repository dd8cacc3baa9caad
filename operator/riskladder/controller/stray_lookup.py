"""Looks for pods that a contained model no longer owns and that may still serve: those that its selector matches.

And for those that it has made and that a Service lists as serving, whatever they are labelled by now.

A pod that was relabelled, a ReplicaSet that was released and scaled, a Deployment that was deleted and left its pods
behind: none of them is to be found by owner, and a Service lists them all the same. The API server is asked and nothing
is remembered, so that the answer is the same after a restart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import replace

from riskladder.cluster import resources
from riskladder.cluster.client import Client
from riskladder.controller.caches.store import Store
from riskladder.policy.containment import strays
from riskladder.policy.snapshot import Snapshot, TargetKey
from riskladder.workloads.runtimes.replicas import read_pod

LOOK_EVERY = 60.0
"""Seconds for which it holds that there are none."""

LOOK_AGAIN = 2.0
"""Seconds after which those that were found are looked for again."""


class StrayLookup:
    """Lists the pods of one target at a time, and keeps the answer for a while."""

    def __init__(self, client: Client, store: Store) -> None:
        """Read through this client; the store knows whose a pod is."""
        self._client = client
        self._store = store
        self._found: dict[TargetKey, tuple[float, str, tuple[str, ...]]] = {}
        """By target: when it was looked (monotonic), for what, and what was found by the selector."""
        self._listed: dict[TargetKey, tuple[str, ...]] = {}
        """By target: what else was found then, and is listed by a Service."""

    def known(self, snapshot: Snapshot) -> tuple[str, ...] | None:
        """Return the names of the pods that were found; ``None`` while nobody has looked for what is search."""
        search = _pod_search(snapshot)
        if search is None:
            self._found.pop(snapshot.key, None)
            self._listed.pop(snapshot.key, None)
            return ()
        _, query, names = self._found.get(snapshot.key, (0.0, "", None))
        return names if query == search.query else None

    def join(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with what is known of such pods."""
        found = self.known(snapshot)
        listed = self._listed.get(snapshot.key, ()) if found is not None else ()
        target = replace(snapshot.target, strays=found, listed=listed) if snapshot.target is not None else None
        return replace(snapshot, target=target, strays=found, listed=listed)

    def is_due(self, snapshot: Snapshot) -> bool:
        """Return whether it is time to look: all else is gone, and the last answer is old."""
        search = _pod_search(snapshot)
        if search is None:
            return False
        _, query, _ = self._found.get(snapshot.key, (0.0, "", ()))
        is_old = query != search.query or self._left(snapshot.key) <= 0
        return is_old and strays.is_proved_otherwise(snapshot)

    def wait(self, key: TargetKey) -> float:
        """Return the seconds until it may be time to look once more; infinitely many where nobody has looked."""
        left = self._left(key)
        return left if left > 0 else LOOK_EVERY  # its own pods are back: they come first

    def _left(self, key: TargetKey) -> float:
        """Return the seconds for which the last answer holds on."""
        if key not in self._found:
            return math.inf
        at, _, names = self._found[key]
        return at + (LOOK_AGAIN if names or self._listed.get(key) else LOOK_EVERY) - time.monotonic()

    async def look(self, snapshot: Snapshot) -> bool:
        """Look for them, if that is due; return whether it was.

        Raises:
            ApiError: The API server could not be asked.
        """
        search = _pod_search(snapshot)
        if search is None or not self.is_due(snapshot):
            return False
        key = snapshot.key
        listed = await self._client.list(resources.PODS, key.namespace, labels=search.query)
        own = {pod.name for pod in snapshot.target.pods} if snapshot.target is not None else set()
        names = sorted(
            pod.name
            for obj in listed
            for pod in (read_pod(obj, labelled=True),)
            if pod.active
            and pod.name not in own
            and search.concerns(pod.labels)
            and not self._store.workloads.is_owned(pod.owner_uid)
        )
        own.update(obj["metadata"]["name"] for obj in listed)
        self._listed[key] = await self._listed_of(key, search, own)
        self._found[key] = (time.monotonic(), search.query, tuple(names))
        return True

    async def _listed_of(self, key: TargetKey, search: strays.PodSearch, seen: Collection[str]) -> tuple[str, ...]:
        """Return the names of the pods that Services list as serving and that the target has made, but for those seen.

        Where no name looks like it, nothing is asked for.
        """
        serving = self._store.workloads.serving_names(key.namespace)
        addresses = self._store.workloads.serving_addresses(key.namespace)
        if not addresses and not any(name not in seen and search.may_be_its_own(name) for name in serving):
            return ()
        pods = [
            pod
            for obj in await self._client.list(resources.PODS, key.namespace)
            if (name := obj["metadata"]["name"]) not in seen and search.may_be_its_own(name)
            for pod in (read_pod(obj, labelled=True),)
            if name in serving or not addresses.isdisjoint(pod.ips)
        ]
        return tuple(
            sorted(
                pod.name
                for pod in pods
                if pod.active and search.has_made(pod) and not self._store.workloads.is_owned(pod.owner_uid)
            )
        )


def _pod_search(snapshot: Snapshot) -> strays.PodSearch | None:
    is_gone = snapshot.target is None and not snapshot.unsupported
    return strays.pod_search(snapshot.open, snapshot.target, is_gone=is_gone)
