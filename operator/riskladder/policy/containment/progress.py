"""How a containment goes: intended, applied, proved, held; each stage with its time and its entry, on each axis."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.conditions import ConditionStatus
from riskladder.api.escalation import ContainmentStatus
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import count, length
from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment import locked, state
from riskladder.policy.containment.choose import evidence_detail
from riskladder.policy.containment.departed import target_deleted, target_released
from riskladder.policy.containment.drift import holds_message, raise_contention
from riskladder.policy.containment.resume import not_contained, reason_of, take_note
from riskladder.policy.containment.unconfirmed import note
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Entry, Measure, On
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Snapshot, Stamps
from riskladder.workloads.model import Workload
from riskladder.workloads.results import Verification
from riskladder.workloads.safe_states import words
from riskladder.workloads.safe_states.network_path import seen

STILL_THERE = "still there: "


@dataclass(frozen=True, slots=True)
class IntentProgress:
    """How far one intent in force has got."""

    intent: Intent
    proof: Verification
    before: ContainmentStatus
    """As it was noted last."""
    status: ContainmentStatus

    @property
    def is_proved(self) -> bool:
        """Whether it was proved, and nothing of what was contained is to be seen."""
        return self.status.pods_gone_at is not None and self.proof.clear

    @property
    def holds(self) -> bool:
        """Whether it is applied, and still proved where it was."""
        return self.proof.applied and (self.status.pods_gone_at is None or self.proof.clear)


def advance(draft: Draft) -> None:
    """Say how the containment stands, and note every stage that is new."""
    escalation, snapshot = draft.escalation, draft.snapshot
    active = escalation.in_force
    ended = draft.resume.intent if draft.resume is not None else 0
    workload = snapshot.target
    if not active or all(intent.id <= ended for intent in active.values()):
        was = draft.conditions.get(ConditionType.CONTAINED)
        not_contained(draft)
        if workload is None and not escalation.spec.drill and not snapshot.unsupported:
            target_deleted(draft, was, None)
        return
    if workload is None:
        was = draft.conditions.get(ConditionType.CONTAINED)
        target_deleted(draft, was, max(active.values(), key=lambda intent: intent.id))
        return
    if workload.uid != escalation.spec.target.uid:
        return
    take_note(draft)
    found = [_standing(draft, workload, intent) for intent in active.values()]
    for standing in found:
        _enter_stages(draft, standing)
        draft.containments[standing.intent.action.axis] = standing.status
    _contained(draft, found)
    held = draft.conditions.get(ConditionType.CONTAINMENT_HOLDS)
    _holds(draft, found)
    target_released(draft, held)
    locked.say(draft, list(active.values()))
    raise_contention(draft)


def _standing(draft: Draft, workload: Workload, intent: Intent) -> IntentProgress:
    """Return how an intent stands now, with the time of each stage that is reached."""
    escalation, snapshot, now = draft.escalation, draft.snapshot, draft.now
    proof = state.prove(workload, escalation, intent)
    stamps = snapshot.stamps.get((escalation.uid, intent.id), Stamps())
    before = draft.containments[intent.action.axis]
    is_written = proof.applied and intent.reason not in state.NO_WRITE
    applied = (stamps.applied_at or _managed_at(snapshot, intent, now)) if is_written else None
    status = before.model_copy(
        update={
            "applied_at": before.applied_at or applied,
            "endpoints_empty_at": before.endpoints_empty_at
            or ((stamps.endpoints_empty_at or now) if proof.endpoints_empty else None),
            "pods_gone_at": before.pods_gone_at or ((stamps.pods_gone_at or now) if proof.pods_gone else None),
            "unconfirmed": note(state.concerned(workload, intent, state.quarantined_hash(escalation, intent))),
        }
    )
    return IntentProgress(intent, proof, before, status)


def _managed_at(snapshot: Snapshot, intent: Intent, now: datetime) -> datetime:
    """Return when the write was made, from managedFields (whole seconds), where the operator's own stamp was lost."""
    workload = snapshot.target
    text = ""
    if workload is not None and intent.target_ref is not None:
        found = seen(workload, intent.target_ref)
        text = found.set_at if found else ""
    elif workload is not None:
        rollback = intent.action is ContainmentAction.ROLLBACK
        text = workload.template_set_at if rollback else workload.replicas_set_at
    if not text:
        return now
    return max(datetime.fromisoformat(text), intent.intended_at)


# --- Entries ----------------------------------------------------------------------------------------------------------


def _enter_stages(draft: Draft, standing: IntentProgress) -> None:
    """Add the entries of the stages that are new: applied, and proved."""
    intent, status, before = standing.intent, standing.status, standing.before
    detail = {"intent": str(intent.id), "action": str(intent.action), "tier": intent.tier}
    if intent.message:
        detail["why"] = intent.message
    if intent.revision:
        detail |= {"revision": intent.revision, "podTemplateHash": intent.pod_template_hash or ""}
    if status.applied_at and before.applied_at is None:
        took = _milliseconds(intent.intended_at, status.applied_at)
        draft.entries.append(
            Entry(
                event=Reason.CONTAINMENT_APPLIED,
                key=f"applied/{intent.id}",
                at=status.applied_at,
                message=f"{words.done(intent)} {took} ms after the intent ({intent.message})",
                detail=evidence_detail(intent.evidence) | detail | {"intendedAt": format_time(intent.intended_at)},
                on=(On.TARGET,),
                warning=True,
            )
        )
    if new := {pod.uid for pod in status.unconfirmed} - {pod.uid for pod in before.unconfirmed}:
        key = f"unconfirmed/{intent.id}/{hashlib.sha256(' '.join(sorted(new)).encode()).hexdigest()[:12]}"
        nodes = " ".join(sorted({pod.node for pod in status.unconfirmed}))
        draft.warn(Reason.PODS_UNCONFIRMED, key, standing.proof.left, intent=str(intent.id), nodes=nodes)
    if not standing.is_proved or before.pods_gone_at is not None or status.pods_gone_at is None:
        return
    shown = standing.proof.shown
    if before.unconfirmed:
        vanished = count(len(before.unconfirmed), "pod")
        shown += f"; {vanished} had vanished unconfirmed, and their node has been heard of since"
    target = draft.snapshot.target
    times = _times(intent, status)
    draft.entries.append(
        Entry(
            event=_proved(intent),
            key=f"contained/{intent.id}",
            at=status.pods_gone_at,
            message=f"{words.done(intent)}: proved, {shown}",
            detail=detail
            | ({"requested": ", ".join(sorted(target.requested))} if target and target.requested else {})
            | {key: format_time(at) for key, at in times.items() if at},
            measure=Measure("contain", "", (status.pods_gone_at - intent.intended_at).total_seconds()),
        )
    )


def _times(intent: Intent, status: ContainmentStatus) -> dict[str, datetime | None]:
    """Return the times of a containment under the names of what happened then.

    The pods go on running under a Fallback and an Isolate: no record may say that they have gone.
    """
    if intent.action.axis is Axis.TRAFFIC:
        return {"appliedAt": status.applied_at, "provedAt": status.pods_gone_at}
    names = ("appliedAt", "endpointsEmptyAt", "podsGoneAt")
    return dict(zip(names, (status.applied_at, status.endpoints_empty_at, status.pods_gone_at), strict=True))


# --- Conditions -------------------------------------------------------------------------------------------------------


def _contained(draft: Draft, found: Sequence[IntentProgress]) -> None:
    """Set the condition Contained: true once all in force is proved, else what is not, the workload first."""
    open_ones = [standing for standing in found if not standing.is_proved]
    if not open_ones:
        message = "; ".join(f"{words.done(s.intent)}: {s.proof.shown}" for s in found)
        draft.conditions.set(ConditionType.CONTAINED, True, _proved(found[0].intent), message)
        return
    reason, message = _why_not(draft, open_ones[0])
    draft.conditions.set(ConditionType.CONTAINED, False, reason, message)


def _why_not(draft: Draft, standing: IntentProgress) -> tuple[Reason, str]:
    """Return why what is in force on an axis is not proved; what is late enters the next rung."""
    intent, proof = standing.intent, standing.proof
    since = _unproved_since(draft, standing)
    late_at = since + _within(draft, intent)
    if standing.status.late_at is not None or (draft.now >= late_at and draft.time_counts):
        message = f"not proved within {length(late_at - since)}: {_left(draft, proof)}"
        if standing.status.late_at is None:
            noted = standing.status.model_copy(update={"late_at": draft.now})
            draft.containments[intent.action.axis] = noted
            draft.warn(Reason.CONTAINMENT_LATE, f"late/{intent.id}", message, intent=str(intent.id))
            higher = rungs.next_tier(draft, draft.rung.tier)
            if higher is not None:
                rungs.move(draft, higher, Reason.CONTAINMENT_LATE)
        return Reason.CONTAINMENT_LATE, message
    draft.wake.append(late_at)
    if proof.is_unconfirmed and proof.applied:
        return Reason.PODS_UNCONFIRMED, f"{words.done(intent)}; {proof.left}"
    if standing.status.pods_gone_at:
        reason = Reason.CONTAINMENT_APPLIED if proof.applied else Reason.CONTAINMENT_REVERTED
        return reason, f"it was proved, and is no longer: {STILL_THERE}{proof.left}"
    if proof.applied:
        return Reason.CONTAINMENT_APPLIED, f"{words.done(intent)}; {_left(draft, proof)}"
    if draft.snapshot.obstacle:
        message = f"it cannot be contained: {_left(draft, proof)}"
        if reason_of(draft) != Reason.CONTAINMENT_IMPOSSIBLE:
            head = draft.escalation.status.ledger  # it may become so again: the same key in every attempt at this pass
            key = f"impossible/{intent.id}/{head.sequence if head else 0}"
            draft.warn(Reason.CONTAINMENT_IMPOSSIBLE, key, message, intent=str(intent.id))
        return Reason.CONTAINMENT_IMPOSSIBLE, message
    return Reason.CONTAINMENT_INTENDED, f"{intent.action} is about to be carried out; {STILL_THERE}{proof.left}"


def _unproved_since(draft: Draft, standing: IntentProgress) -> datetime:
    """Return since when an intent has not been proved: from the intent on, or since it was seen not to be any more."""
    if standing.status.pods_gone_at is None:
        return standing.intent.intended_at
    was = draft.conditions.get(ConditionType.CONTAINED)
    return was.last_transition_time if was is not None and was.status == ConditionStatus.FALSE else draft.now


def _within(draft: Draft, intent: Intent) -> timedelta:
    """Return the time within which an intent has to be proved (``containment.within``)."""
    pinned = tier_of(draft.policy, intent.tier)
    return pinned.containment.within.delta if pinned and pinned.containment else timedelta(minutes=2)


def _left(draft: Draft, proof: Verification) -> str:
    """Return what is still there, and why it could not be stopped, if that is known."""
    why = f"{draft.snapshot.obstacle}; " if draft.snapshot.obstacle else ""
    return f"{why}{STILL_THERE}{proof.left}"


def _holds(draft: Draft, found: Sequence[IntentProgress]) -> None:
    """Set the condition ContainmentHolds: applied and still proved, on each axis."""
    conditions, was = draft.conditions, draft.conditions.get(ConditionType.CONTAINMENT_HOLDS)
    broken = next((s for s in found if not s.holds), None)
    if broken is None:
        statuses = [standing.status for standing in found]
        reason = Reason.CONTAINMENT_REAPPLIED if was is not None and any(s.drift for s in statuses) else Reason.HOLDS
        conditions.set(ConditionType.CONTAINMENT_HOLDS, True, reason, holds_message(statuses))
    elif broken.status.applied_at or broken.status.pods_gone_at:
        message = f"{'not proved any more' if broken.proof.applied else 'reverted'}: {broken.proof.left}"
        conditions.set(ConditionType.CONTAINMENT_HOLDS, False, Reason.CONTAINMENT_REVERTED, message)
    else:
        conditions.set(ConditionType.CONTAINMENT_HOLDS, None, Reason.NOT_CONTAINED, "nothing is contained yet")


def _proved(intent: Intent) -> Reason:
    if intent.reason == Reason.ALREADY_AT_ZERO:
        return Reason.ALREADY_AT_ZERO
    return _PROVED[intent.action]


_PROVED = {
    ContainmentAction.ROLLBACK: Reason.ROLLED_BACK,
    ContainmentAction.FALLBACK: Reason.FELL_BACK,
    ContainmentAction.ISOLATE: Reason.ISOLATED,
    ContainmentAction.SCALE_TO_ZERO: Reason.SCALED_TO_ZERO,
}


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)
