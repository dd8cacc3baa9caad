"""Pods that a contained model no longer owns, and that may still serve: what is looked for, and what they prove.

Those that its selector matches, and those that it has made and that a Service lists as serving, however they are
labelled by now: the selector of a Service may be broader than its own, or an EndpointSlice be maintained manually.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment.state import quarantined_hash, verify
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.model import Pod, Workload
from riskladder.workloads.runtimes.replicas import HASH_LABELS, REVISION_LABEL


@dataclass(frozen=True, slots=True)
class PodSearch:
    """Which pods are looked for."""

    query: str
    """The pinned label selector of the workload."""
    quarantined: str = ""
    """Of a rollback, the hash of the revision taken out of service; empty: every pod."""
    name: str = ""
    """The name of the workload."""
    hashes: frozenset[str] = frozenset()
    """The hashes of its revisions, as far as they are known."""

    def may_be_its_own(self, pod: str) -> bool:
        """Return whether the workload may have made a pod of that name: controllers put their own name first."""
        return pod.startswith(f"{self.name}-"[:NAME_KEPT])

    def has_made(self, pod: Pod) -> bool:
        """Return whether the workload has made a pod, whatever that is labelled by now.

        A ReplicaSet names its pods after itself, and is named after the Deployment and the hash of its template; a
        StatefulSet numbers its own, and says so on each.
        """
        made_by = pod.generate_name.removesuffix("-")
        of = made_by.removeprefix(f"{self.name}-") if made_by.startswith(f"{self.name}-") else ""
        if of and of in self.hashes:
            return not self.quarantined or of == self.quarantined
        number = pod.name.removeprefix(f"{self.name}-") if pod.name.startswith(f"{self.name}-") else ""
        is_numbered = number.isdecimal() and pod.labels.get(POD_NAME_LABEL) == pod.name
        return is_numbered and self.concerns(pod.labels)

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Return whether a pod that the selector matches may run what was contained."""
        hashes = {labels[key] for key in (*HASH_LABELS, REVISION_LABEL) if key in labels}
        return not self.quarantined or self.quarantined in hashes or not hashes


POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
"""By which a StatefulSet labels each pod with its own name."""

NAME_KEPT = 40
"""Characters of the name of a workload that the names of its pods begin with, however long it is."""


def pod_search(
    escalations: Sequence[Escalation], target: Workload | None = None, *, is_gone: bool = False
) -> PodSearch | None:
    """Return what is to be looked for, of what is in force; ``None`` where nothing stops any pod.

    Args:
        escalations: The open ones of one target.
        target: The target, where it is there.
        is_gone: Whether the target was deleted: then what it has left behind is, also where nothing was contained.
    """
    found = []
    known = {revision.hash for revision in target.revisions} if target is not None else set[str]()
    for escalation in escalations:
        intent = escalation.in_force.get(Axis.WORKLOAD)
        evidence = escalation.evidence(intent) if intent is not None else None
        if intent is None or evidence is None or not evidence.selector:
            continue
        is_stop = intent.action is ContainmentAction.SCALE_TO_ZERO
        hash_of = "" if is_stop else quarantined_hash(escalation, intent)
        hashes = frozenset(h for h in (*known, *escalation.status.quarantined, evidence.pod_template_hash) if h)
        wanted = PodSearch(evidence.selector, hash_of, escalation.spec.target.name, hashes)
        found.append((-intent.action.strength, intent.intended_at, wanted))
    if found or not is_gone:
        return min(found, key=lambda item: item[:2])[2] if found else None
    left = ((e.spec.evidence, e.spec.target.name) for e in escalations if not e.spec.drill)
    return next((PodSearch(e.selector, "", name) for e, name in left if e is not None and e.selector), None)


def is_proved_otherwise(snapshot: Snapshot) -> bool:
    """Return whether nothing else of what was contained is to be seen: before that, nobody need look."""
    if snapshot.target is None:
        return True
    alone = replace(snapshot.target, strays=(), listed=(), unconfirmed=())
    for escalation in snapshot.open:
        intent = escalation.in_force.get(Axis.WORKLOAD)
        if intent is not None and not verify(alone, intent, quarantined_hash(escalation, intent)).clear:
            return False
    return True
