"""Which intents are in force on an escalation, how far each has got, and whether the target may be touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from riskladder.api.escalation import PinnedPolicy
from riskladder.api.intent import Intent
from riskladder.api.reasons import Reason
from riskladder.api.text import count, first
from riskladder.api.tiers import Connections, Containment, ContainmentAction
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Escalation, Snapshot, Stamps, is_governed
from riskladder.workloads.model import Pod, Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.results import Verification
from riskladder.workloads.safe_states import fallback, isolate, network_path


def is_contained(escalation: Escalation) -> bool:
    """Return whether any intent of an escalation is in force."""
    return bool(escalation.in_force)


def declared_for(policy: PinnedPolicy | None, intent: Intent) -> Containment:
    """Return how the tier of an intent is contained, as pinned; where it says nothing, by the action of the intent."""
    pinned = tier_of(policy, intent.tier) if policy is not None else None
    return (pinned.containment if pinned else None) or Containment(action=intent.action)


def wants_lock(policy: PinnedPolicy, intent: Intent) -> bool:
    """Return whether the policy that was pinned wants a containment to be held by admission."""
    pinned = tier_of(policy, intent.tier)
    return pinned is None or pinned.containment is None or pinned.containment.lock


def is_locked(snapshot: Snapshot, escalation: Escalation, intent: Intent) -> bool:
    """Return whether admission holds the containment: as pinned, unless the ladder has dropped the lock since."""
    wanted = wants_lock(escalation.spec.policy, intent)
    ladder = snapshot.ladders.get(escalation.spec.ladder.name)
    if ladder is None or ladder.spec is None or ladder.uid != escalation.spec.ladder.uid:
        return wanted
    now = next((t for t in ladder.spec.tiers if t.name == intent.tier), None)
    return wanted and (now is None or now.containment is None or now.containment.lock)


def quarantined_hash(escalation: Escalation, intent: Intent) -> str:
    """Return ``pod-template-hash`` of the revision that a rollback takes out of service."""
    evidence = escalation.evidence(intent)
    return (evidence.pod_template_hash or "") if evidence else ""


def prove(workload: Workload, escalation: Escalation, intent: Intent) -> Verification:
    """Return how far an intent of an escalation has got on the workload as it is now."""
    return verify(workload, intent, quarantined_hash(escalation, intent))


def verify(workload: Workload, intent: Intent, quarantined: str) -> Verification:
    """Return how far an intent has got on the workload as it is now.

    Args:
        workload: As it is now.
        intent: What was intended.
        quarantined: Hash of the revision that a rollback takes out of service.
    """
    if intent.target_ref is not None:
        if intent.target_ref.kind == NETWORKPOLICIES.kind:
            found = isolate.prove(workload, intent.target_ref, close=intent.connections is Connections.CLOSE)
            return _confirmed(found, concerned(workload, intent, quarantined))
        return fallback.prove(workload, intent.target_ref)
    if intent.action is ContainmentAction.ROLLBACK:
        wanted = intent.pod_template_hash or ""
        found = workload.runtime.prove_rolled_back(workload, quarantined=quarantined, wanted=wanted)
    else:
        found = workload.runtime.prove_stopped(workload)
    return _confirmed(_without(workload, found), concerned(workload, intent, quarantined))


VANISHED_BEFORE = timedelta(minutes=1)
"""How long before an intent a pod of the model may have vanished and still stand in the way of its proof."""


def concerned(workload: Workload, intent: Intent, quarantined: str) -> tuple[Pod, ...]:
    """Return the pods of what an intent stops that have vanished, and of which no node has said that they have ended.

    Args:
        workload: As it is now.
        intent: What was intended.
        quarantined: Hash of the revision that a rollback takes out of service.
    """
    if not workload.unconfirmed or not ends_pods(intent):
        return ()
    since = intent.intended_at - VANISHED_BEFORE
    found = [pod for pod in workload.unconfirmed if pod.vanished_at is None or pod.vanished_at >= since]
    if intent.action is ContainmentAction.ROLLBACK:
        return tuple(workload.of_revision(found, quarantined))
    if intent.target_ref is None:
        return tuple(found)
    policy = network_path.seen(workload, intent.target_ref)
    return tuple(pod for pod in found if isolate.is_from_before(pod, policy.created if policy else None))


def ends_pods(intent: Intent) -> bool:
    """Return whether an intent is proved only once pods have ended."""
    return intent.target_ref is None or intent.connections is Connections.CLOSE


def _confirmed(found: Verification, pods: Sequence[Pod]) -> Verification:
    """Return a proof that holds only if no pod has vanished without the word of its node."""
    if not pods:
        return found
    left = unconfirmed_left(pods)
    left = left if found.clear or not found.left else f"{found.left}; {left}"
    return replace(found, pods_gone=False, clear=False, left=left, is_unconfirmed=found.clear)


def unconfirmed_left(pods: Sequence[Pod]) -> str:
    """Return what is said of pods that have vanished, and of which no node has said that they have ended."""
    named = [f"{pod.name} ({pod.node})" for pod in sorted(pods, key=lambda pod: pod.name)]
    return f"{count(len(named), 'pod')} vanished without their node confirming that they ended: {_first(named)}"


def _without(workload: Workload, found: Verification) -> Verification:
    """Return a proof that holds only if no pod is left that the workload no longer owns."""
    if workload.strays is None:  # nobody has looked: what was proved before stays so
        return replace(found, pods_gone=False)
    if not workload.strays and not workload.listed:
        return found
    left = strays_left(workload.strays, workload.listed)
    left = f"{found.left}; {left}" if found.left else left
    return replace(found, endpoints_empty=False, pods_gone=False, clear=False, left=left)


def strays_left(names: Sequence[str], listed: Sequence[str] = ()) -> str:
    """Return what is said of pods that a workload no longer owns.

    Args:
        names: Those that its selector matches.
        listed: Those that a Service lists as serving.
    """
    parts = (
        (names, "that its selector matches and it no longer owns"),
        (listed, "that it has made and no longer owns, and that a Service still lists as serving"),
    )
    return "; ".join(f"{count(len(found), 'pod')} {what}: {_first(found)}" for found, what in parts if found)


def _first(names: Sequence[str]) -> str:
    return first(names, 3)


def may_touch(workload: Workload, escalation: Escalation) -> bool:
    """Return whether the workload is the object of the escalation and still has the labels that opted it in."""
    governs = escalation.spec.policy.governs
    return workload.uid == escalation.spec.target.uid and governs is not None and is_governed(governs, workload.labels)


def may_act(snapshot: Snapshot, escalation: Escalation) -> bool:
    """Return whether an intent may be carried out: on the same object, for a governing ladder, not suspended."""
    workload = snapshot.target
    if workload is None or not may_touch(workload, escalation):
        return False
    return not snapshot.is_suspended(escalation.spec.ladder.name)


NO_WRITE = (Reason.ALREADY_AT_ZERO, Reason.ALREADY_CONTAINED)
"""The reasons of intents that need no write: the target is in that state already."""


def was_applied(snapshot: Snapshot, escalation: Escalation, intent: Intent) -> bool:
    """Return whether the intent's write is known to have been accepted, now or in an earlier life of the operator."""
    contained = escalation.status.containment(intent.action.axis)
    if contained is not None and contained.intent.id == intent.id:
        at = contained.pods_gone_at if intent.reason in NO_WRITE else contained.applied_at
        if at is not None:
            return True
    return snapshot.stamps.get((escalation.uid, intent.id), Stamps()).applied_at is not None


def reverted_by(workload: Workload, intent: Intent) -> str:
    """Return the field manager that has last written what an intent changed, or ``unknown``."""
    if intent.target_ref is not None:
        found = network_path.seen(workload, intent.target_ref)
        return (found.set_by if found else "") or "unknown"  # a deletion leaves no name
    rollback = intent.action is ContainmentAction.ROLLBACK
    return (workload.template_set_by if rollback else workload.replicas_set_by) or "unknown"
