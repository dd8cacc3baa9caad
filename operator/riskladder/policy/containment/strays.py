"""Pods that a contained model no longer owns, and that still serve: what is looked for, and what they prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment.state import in_force, quarantined_hash, verify
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.runtimes.replicas import HASH_LABELS, REVISION_LABEL


@dataclass(frozen=True, slots=True)
class Sought:
    """The pods that are looked for."""

    query: str
    """The pinned label selector of the workload."""
    quarantined: str = ""
    """Of a rollback, the hash of the revision taken out of service; empty: every pod."""

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Return whether a pod that the selector matches may run what was contained."""
        hashes = {labels[key] for key in (*HASH_LABELS, REVISION_LABEL) if key in labels}
        return not self.quarantined or self.quarantined in hashes or not hashes


def sought(escalations: Sequence[Escalation], *, is_gone: bool = False) -> Sought | None:
    """Return what is to be looked for, of what is in force; ``None`` where nothing stops any pod.

    Args:
        escalations: The open ones.
        is_gone: Whether the target was deleted: then what it has left behind is, also where nothing was contained.
    """
    found = []
    for escalation in escalations:
        intent = in_force(escalation).get(Axis.WORKLOAD)
        evidence = escalation.evidence(intent) if intent is not None else None
        if intent is None or evidence is None or not evidence.selector:
            continue
        is_stop = intent.action is ContainmentAction.SCALE_TO_ZERO
        hash_of = "" if is_stop else quarantined_hash(escalation, intent)
        found.append((-intent.action.strength, intent.intended_at, Sought(evidence.selector, hash_of)))
    if found or not is_gone:
        return min(found, key=lambda item: item[:2])[2] if found else None
    selectors = (e.spec.evidence.selector for e in escalations if not e.spec.drill and e.spec.evidence is not None)
    return next((Sought(selector) for selector in selectors if selector), None)


def is_proved_otherwise(snapshot: Snapshot) -> bool:
    """Return whether nothing else of what was contained is to be seen: before that, nobody need look."""
    if snapshot.target is None:
        return True
    alone = replace(snapshot.target, strays=())
    for escalation in snapshot.open:
        intent = in_force(escalation).get(Axis.WORKLOAD)
        if intent is not None and not verify(alone, intent, quarantined_hash(escalation, intent)).clear:
            return False
    return True
