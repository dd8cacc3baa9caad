"""Looks for pods that a contained model no longer owns and that may still serve: those that its selector matches.

A pod that was relabelled, a ReplicaSet that was released and scaled, a Deployment that was deleted and left its pods
behind: none of them is to be found by owner, and a Service lists them all the same. The API server is asked and nothing
is remembered, so that the answer is the same after a restart.
"""

from __future__ import annotations

import math
import time
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
        """By target: when it was looked (monotonic), for what, and what was found."""

    def known(self, snapshot: Snapshot) -> tuple[str, ...] | None:
        """Return the names of the pods that were found; ``None`` while nobody has looked for what is sought."""
        sought = _sought(snapshot)
        if sought is None:
            self._found.pop(snapshot.key, None)
            return ()
        _, query, names = self._found.get(snapshot.key, (0.0, "", None))
        return names if query == sought.query else None

    def join(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with what is known of such pods."""
        found = self.known(snapshot)
        target = replace(snapshot.target, strays=found) if snapshot.target is not None else None
        return replace(snapshot, target=target, strays=found)

    def is_due(self, snapshot: Snapshot) -> bool:
        """Return whether it is time to look: all else is gone, and the last answer is old."""
        sought = _sought(snapshot)
        if sought is None:
            return False
        _, query, _ = self._found.get(snapshot.key, (0.0, "", ()))
        is_old = query != sought.query or self._left(snapshot.key) <= 0
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
        return at + (LOOK_AGAIN if names else LOOK_EVERY) - time.monotonic()

    async def look(self, snapshot: Snapshot) -> bool:
        """Look for them, if that is due; return whether it was.

        Raises:
            ApiError: The API server could not be asked.
        """
        sought = _sought(snapshot)
        if sought is None or not self.is_due(snapshot):
            return False
        key = snapshot.key
        listed = await self._client.list(resources.PODS, key.namespace, labels=sought.query)
        own = {pod.name for pod in snapshot.target.pods} if snapshot.target is not None else set()
        names = sorted(
            pod.name
            for obj in listed
            for pod in (read_pod(obj, labelled=True),)
            if pod.active
            and pod.name not in own
            and sought.concerns(pod.labels)
            and not self._store.workloads.is_owned(pod.owner_uid)
        )
        self._found[key] = (time.monotonic(), sought.query, tuple(names))
        return True


def _sought(snapshot: Snapshot) -> strays.Sought | None:
    return strays.sought(snapshot.open, is_gone=snapshot.target is None and not snapshot.unsupported)
