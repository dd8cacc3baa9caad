"""What blast radii are counted by: which targets each ladder has contained by itself, and how many it governs.

To count is a search in a sorted list: a breach must not wait for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from riskladder.api.hold import Hold
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.controller.caches.endpoints import Name
from riskladder.policy.containment.radius import automatic_at, is_automatic
from riskladder.policy.snapshot import Escalation, Ladder, RadiusBudget, TargetKey, is_governed
from riskladder.workloads.model import Workload

_RESERVED = "reserved"
_CARRIED = "carried"


class Window:
    """When each target was contained without anybody being asked, the last time."""

    def __init__(self) -> None:
        """Start without any."""
        self._by_target: dict[TargetKey, dict[str, datetime]] = {}
        """By what says so: the uid of an escalation, what the target carries, or a decision just taken."""
        self._times: list[datetime] = []

    def put(self, target: TargetKey, says: str, at: datetime | None) -> None:
        """Take in what something says of a target; ``None``: nothing any more."""
        known = self._by_target.get(target, {})
        if known.get(says) == at:
            return
        before = max(known.values(), default=None)
        if at is not None:
            self._by_target.setdefault(target, {})[says] = at
        else:
            del known[says]
            if not known:
                del self._by_target[target]
        after = max(self._by_target.get(target, {}).values(), default=None)
        if before is not None and before != after:
            del self._times[bisect_left(self._times, before)]
        if after is not None and before != after:
            insort(self._times, after)

    def count(self, since: datetime, target: TargetKey) -> int:
        """Return how many targets were contained after a time, this one left out."""
        latest = max(self._by_target.get(target, {}).values(), default=None)
        is_one = latest is not None and latest > since
        return len(self._times) - bisect_right(self._times, since) - is_one


class RadiusCache:
    """The windows of all ladders, and of those that have a blast radius the workloads that they govern."""

    def __init__(self) -> None:
        """Start empty."""
        self._ladders: dict[Name, EscalationLadderSpec] = {}
        """Those that have a blast radius."""
        self._windows: dict[Name, Window] = defaultdict(Window)
        self._governed: dict[Name, set[TargetKey]] = defaultdict(set)

    def __bool__(self) -> bool:
        """Return whether any ladder has a blast radius."""
        return bool(self._ladders)

    # --- Feeding --------------------------------------------------------------------------------------------------

    def put_ladder(self, name: Name, ladder: Ladder | None) -> bool:
        """Take in a ladder, or forget it; return whether its workloads have to be taken in from the beginning."""
        self._governed.pop(name, None)
        if ladder is None or ladder.spec is None or ladder.spec.blast_radius is None:
            self._ladders.pop(name, None)
            return False
        self._ladders[name] = ladder.spec
        return True

    def put_escalation(self, escalation: Escalation) -> None:
        """Take in an escalation, open or closed."""
        at, target = automatic_at(escalation), escalation.spec.target
        ladder = (escalation.namespace, escalation.spec.ladder.name)
        if at is not None or ladder in self._windows:
            key = TargetKey(escalation.namespace, target.kind, target.name)
            self._windows[ladder].put(key, escalation.uid, at)

    def drop_escalation(self, ladder: Name, target: TargetKey, uid: str) -> None:
        """Forget a deleted escalation."""
        if ladder in self._windows:
            self._windows[ladder].put(target, uid, None)

    def put_workload(self, key: TargetKey, workload: Workload | None, holds: Iterable[Hold]) -> None:
        """Take in a workload, or that it is gone, with what is carried for it and may have no Escalation yet."""
        times = {hold.ladder.name: hold.intent.intended_at for hold in holds if is_automatic(hold.intent, hold.signal)}
        for name, spec in self._ladders.items():
            if name[0] != key.namespace:
                continue
            if workload is not None and is_governed(spec.governs, workload.labels):
                self._governed[name].add(key)
            else:
                self._governed[name].discard(key)
            self._windows[name].put(key, _CARRIED, times.get(name[1]))

    def reserve(self, ladder: Name, target: TargetKey, at: datetime | None) -> None:
        """Count a target that is about to be contained; ``None``: it is not, or its Escalation says so by now."""
        self._windows[ladder].put(target, _RESERVED, at)

    # --- Reading --------------------------------------------------------------------------------------------------

    def budget(self, name: Name, target: TargetKey, now: datetime) -> RadiusBudget | None:
        """Return how many more targets a ladder may contain; ``None`` where it has no blast radius."""
        spec = self._ladders.get(name)
        if spec is None or spec.blast_radius is None:
            return None
        radius = spec.blast_radius
        used = self._windows[name].count(now - radius.per.delta, target)
        return RadiusBudget(radius, radius.limit(len(self._governed[name])), used)

    def limit(self, name: Name) -> int | None:
        """Return how many targets a ladder may contain within its time; ``None`` where it has no blast radius."""
        spec = self._ladders.get(name)
        if spec is None or spec.blast_radius is None:
            return None
        return spec.blast_radius.limit(len(self._governed[name]))
