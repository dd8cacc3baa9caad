"""Listens for nodes: of a pod that has vanished without their word, they alone can say whether it has ended.

A kubelet renews the Lease of its node every ten seconds. One that is heard of again learns that the API server has
forgotten a pod, and ends it within the grace period that the pod asks for. So a pod counts as ended once its node has
been heard of after it vanished, and once more when that time is over. The clocks of nodes are not compared with ours:
a Lease has been renewed where its time is another one than before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from riskladder.cluster import resources
from riskladder.cluster.client import Client, Forbidden, NotFound
from riskladder.controller.caches.store import Store
from riskladder.policy.containment.unconfirmed import outstanding
from riskladder.policy.snapshot import Snapshot, TargetKey
from riskladder.workloads.model import Pod

log = structlog.get_logger(__name__)

LOOK_EVERY = 3.0
"""Seconds between two looks at the Leases of the nodes of one target."""

BELIEVED_FOR = 1.0
"""Seconds for which what was read of a node serves other targets as well."""

MARGIN = 3.0
"""Seconds that a kubelet may take beyond the grace period of a pod, at least two of which are its own."""

MAX_CONFIRMED = 4096
"""Pods of which it is remembered that their node was heard of."""


@dataclass(slots=True)
class _Heard:
    """What was heard of the node of a pod since that has vanished."""

    first: str
    """When its Lease had been renewed, as it was seen first."""
    again: str = ""
    """And when it was seen to have been renewed since."""
    at: float = 0.0
    """When that was seen (monotonic)."""


class NodeLookup:
    """Reads the Leases of the nodes on which pods of one target have vanished."""

    def __init__(self, client: Client, store: Store) -> None:
        """Read through this client; the store knows which pods have vanished."""
        self._client = client
        self._store = store
        self._heard: dict[str, _Heard] = {}
        """By uid of the pod."""
        self._confirmed: dict[str, None] = {}
        """uids of the pods that have ended, oldest first: a status may still name them."""
        self._leases: dict[str, tuple[float, str]] = {}
        """By node: when its Lease was read last (monotonic), and when that had been renewed."""
        self._looked: dict[TargetKey, float] = {}
        """The targets that wait for a node, and when they were looked at last (monotonic)."""

    def join(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with the pods that stand in the way of a proof."""
        target = snapshot.target
        if target is not None:
            seen: Sequence[Pod] = target.unconfirmed
        else:
            uids = {escalation.spec.target.uid for escalation in snapshot.open if escalation.in_force}
            seen = [pod for uid in uids for pod in self._store.workloads.vanished(uid)]
        pods = tuple(pod for pod in outstanding(snapshot, seen) if pod.uid not in self._confirmed)
        if pods:
            self._looked.setdefault(snapshot.key, -math.inf)
        else:
            self._looked.pop(snapshot.key, None)
            if not seen:
                return snapshot
        target = replace(target, unconfirmed=pods) if target is not None else None
        return replace(snapshot, target=target, unconfirmed=pods)

    def is_due(self, snapshot: Snapshot) -> bool:
        """Return whether it is time to look."""
        return bool(snapshot.unconfirmed) and self._left(snapshot.key) <= 0

    def wait(self, key: TargetKey) -> float:
        """Return the seconds until it is time to look; infinitely many where nothing waits for a node."""
        return max(self._left(key), 0.0)

    def _left(self, key: TargetKey) -> float:
        return self._looked[key] + LOOK_EVERY - time.monotonic() if key in self._looked else math.inf

    async def look(self, snapshot: Snapshot) -> bool:
        """Look for the nodes, if that is due; return whether it was.

        Raises:
            ApiError: The API server could not be asked.
        """
        if not self.is_due(snapshot):
            return False
        self._looked[snapshot.key] = time.monotonic()
        fresh = {pod.node for pod in snapshot.unconfirmed if pod.uid not in self._heard}
        nodes = sorted({pod.node for pod in snapshot.unconfirmed})
        renewed = {node: await self._renewed(node, fresh=node in fresh) for node in nodes}
        for pod in snapshot.unconfirmed:
            if (at := renewed[pod.node]) and self._has_ended(pod, at):
                self._heard.pop(pod.uid, None)
                self._confirm(pod)
        return True

    async def _renewed(self, node: str, *, fresh: bool) -> str:
        """Return when the Lease of a node was renewed; empty where it has none, or may not be read.

        Args:
            node: Its name.
            fresh: Whether it has to be read now: what was read before a pod vanished says nothing of that.
        """
        read_at, known = self._leases.get(node, (-math.inf, ""))
        if not fresh and time.monotonic() - read_at < BELIEVED_FOR:
            return known
        self._leases[node] = (time.monotonic(), found := await self._read(node))
        return found

    async def _read(self, node: str) -> str:
        try:
            lease = await self._client.get(resources.LEASES, resources.NODE_LEASES, node)
        except NotFound:
            return ""
        except Forbidden as error:
            log.warning("node not seen", node=node, error=str(error))
            return ""
        return str((lease.get("spec") or {}).get("renewTime") or "")

    def _has_ended(self, pod: Pod, renewed: str) -> bool:
        """Return whether the node of a pod has had the time to end it since it was heard of again."""
        known = self._heard.setdefault(pod.uid, _Heard(renewed))
        if not known.again and renewed != known.first:
            known.again, known.at = renewed, time.monotonic()
        is_over = bool(known.again) and time.monotonic() - known.at >= pod.grace + MARGIN
        return is_over and renewed != known.again

    def _confirm(self, pod: Pod) -> None:
        log.info("node heard of again", pod=pod.name, node=pod.node)
        self._store.workloads.confirm(pod.uid)
        self._confirmed[pod.uid] = None
        if len(self._confirmed) > MAX_CONFIRMED:
            del self._confirmed[next(iter(self._confirmed))]
