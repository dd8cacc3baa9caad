"""What the ContainmentIndex of each namespace has to say, kept up to date as escalations change.

A namespace may have thousands of escalations, and each change of one is asked whether it changes the index: so the
answer is worked out from that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from riskladder.api.index import IndexedTarget, index_key
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment.state import quarantined_hash
from riskladder.policy.snapshot import Escalation
from riskladder.workloads.model import Runtime


class Indexed(NamedTuple):
    """An entry of an index; where several escalations hold one workload, the greatest counts: of the safest state."""

    strength: int
    escalation: str
    key: str
    target: IndexedTarget


class IndexedTargets:
    """The workloads that open escalations contain and lock, by namespace."""

    def __init__(self, runtimes: Mapping[str, Runtime]) -> None:
        """Start empty, for targets of these kinds."""
        self._runtimes = runtimes
        self._entries: dict[str, dict[str, Indexed]] = defaultdict(dict)
        """By namespace and name of the escalation."""
        self._versions: dict[str, int] = defaultdict(int)

    def put(self, escalation: Escalation) -> bool:
        """Take in an escalation; return whether that changes the index of its namespace."""
        entry = self._entry(escalation) if escalation.is_open else None
        return self._set(escalation.namespace, escalation.name, entry)

    def drop(self, namespace: str, name: str) -> bool:
        """Forget an escalation; return whether that changes the index of its namespace."""
        return self._set(namespace, name, None)

    def of(self, namespace: str) -> dict[str, IndexedTarget]:
        """Return all entries of a namespace, sorted by key."""
        found = sorted(self._entries.get(namespace, {}).values(), key=lambda entry: entry[:2])
        return dict(sorted({entry.key: entry.target for entry in found}.items()))

    def version(self, namespace: str) -> int:
        """Return a number that changes whenever an entry of the namespace does."""
        return self._versions[namespace]

    def _set(self, namespace: str, name: str, entry: Indexed | None) -> bool:
        entries = self._entries[namespace]
        if entries.get(name) == entry:
            return False
        if entry is None:
            del entries[name]
        else:
            entries[name] = entry
        self._versions[namespace] += 1
        return True

    def _entry(self, escalation: Escalation) -> Indexed | None:
        intent = escalation.in_force.get(Axis.WORKLOAD)
        target = escalation.spec.target
        runtime = self._runtimes.get(target.kind)
        if intent is None or runtime is None or LABEL_CONTAINMENT not in escalation.labels:
            return None
        is_back = intent.action is ContainmentAction.ROLLBACK
        held = IndexedTarget(
            kind=target.kind,
            escalation=escalation.name,
            tier=escalation.status.tier or intent.tier,
            action=intent.action,
            quarantined=quarantined_hash(escalation, intent) or None if is_back else None,
        )
        key = index_key(runtime.resource.plural, runtime.resource.group, target.name)
        return Indexed(intent.action.strength, escalation.name, key, held)
