"""Pods that the API server has forgotten, or calls ended, though their node never said so: they may still answer.

Whoever deletes a pod with ``--force``, and the garbage collector of pods where a node is gone, have the API server
forget it at once. Only its node knows whether its containers have ended. So a containment is not proved while such a
pod is outstanding: until its node is heard of again, which ends what the API server has forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from riskladder.api.escalation import MAX_GRACE, MAX_UNCONFIRMED, ContainmentStatus, UnconfirmedPod
from riskladder.api.intent import Intent
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.containment.state import ends_pods, quarantined_hash
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.model import Pod


def outstanding(snapshot: Snapshot, seen: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the pods that stand in the way of a proof: those seen to vanish, and those that a status still names.

    A status outlives the operator that saw them vanish.

    Args:
        snapshot: The target and everything that bears on it.
        seen: The pods that were seen to vanish, whenever.
    """
    found: dict[str, Pod] = {}
    vanished = tuple(seen)
    for escalation in snapshot.open:
        for axis, intent in escalation.in_force.items():
            if not ends_pods(intent):
                continue
            status = escalation.status.containment(axis)
            known = status if status is not None and status.intent.id == intent.id else None
            found |= {pod.uid: pod for pod in vanished if not _was_handled(pod, known)}
            found |= {pod.uid: pod for pod in _noted(escalation, intent, known) if pod.uid not in found}
    return tuple(found[uid] for uid in sorted(found))


def _was_handled(pod: Pod, status: ContainmentStatus | None) -> bool:
    """Return whether a pod had vanished, and was no obstacle any more, when the containment was proved."""
    proved_at = status.pods_gone_at if status is not None else None
    return proved_at is not None and pod.vanished_at is not None and pod.vanished_at <= proved_at


def _noted(escalation: Escalation, intent: Intent, status: ContainmentStatus | None) -> Iterator[Pod]:
    revision = quarantined_hash(escalation, intent) if intent.action is ContainmentAction.ROLLBACK else ""
    for pod in status.unconfirmed if status is not None else ():
        yield Pod(pod.name, "", active=False, uid=pod.uid, node=pod.node, grace=pod.grace_seconds, revision=revision)


def note(pods: Sequence[Pod]) -> tuple[UnconfirmedPod, ...]:
    """Return pods as a status names them."""
    return tuple(
        UnconfirmedPod(uid=pod.uid, name=pod.name, node=pod.node, grace_seconds=min(pod.grace, MAX_GRACE))
        for pod in sorted(pods, key=lambda pod: pod.name)[:MAX_UNCONFIRMED]
    )
