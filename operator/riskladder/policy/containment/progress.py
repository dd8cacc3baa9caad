"""How a containment goes: intended, applied, proved, held; each stage with its time and its entry."""

from __future__ import annotations

from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.conditions import Condition
from riskladder.api.escalation import (
    ContainmentStatus,
    Intent,
)
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.containment import state
from riskladder.policy.containment.drift import holds_message, settle_contention, what_was_done
from riskladder.policy.containment.holds import is_locked_by_label
from riskladder.policy.containment.restore import kept, with_others
from riskladder.policy.containment.resume import not_contained, reason_of
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Entry, Measure, On
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Snapshot, Stamps
from riskladder.workloads.results import Verification
from riskladder.workloads.safe_states.network_path import seen


def follow(draft: Draft) -> None:
    """Say how the containment stands, and note every stage that is new."""
    escalation, snapshot, now = draft.escalation, draft.snapshot, draft.now
    intent = state.active_intent(escalation)
    before = draft.containment
    if intent is None or (draft.resume is not None and draft.resume.intent >= intent.id):
        not_contained(draft)
        return
    workload = snapshot.target
    if workload is None:
        _target_deleted(draft, intent)
        return
    if workload.uid != escalation.spec.target.uid:
        return

    proof = state.prove(workload, escalation, intent)
    stamps = snapshot.stamps.get((escalation.uid, intent.id), Stamps())
    current = before if before is not None and before.intent == intent.id else None
    at_zero = intent.reason == Reason.ALREADY_AT_ZERO
    # What was there before the first act; one step of a resume that was broken off is not that.
    ended = draft.resume
    is_same_episode = before is not None and (ended is None or ended.applied_at is None or before.intent > ended.intent)
    status = ContainmentStatus(
        intent=intent.id,
        action=intent.action,
        revision=intent.revision,
        intended_at=intent.intended_at,
        applied_at=(current.applied_at if current else None)
        or (stamps.applied_at or _managed_at(snapshot, intent, now) if proof.applied and not at_zero else None),
        endpoints_empty_at=(current.endpoints_empty_at if current else None)
        or ((stamps.endpoints_empty_at or now) if proof.endpoints_empty else None),
        pods_gone_at=(current.pods_gone_at if current else None)
        or ((stamps.pods_gone_at or now) if proof.pods_gone else None),
        undone=current.undone if current else (),
        contest=current.contest if current else None,
        beside=before.beside if before and is_same_episode else (),
        restore=with_others(escalation, kept(escalation, before if is_same_episode else None)),
    )
    _contained(draft, intent, status, proof, current, now)
    _released(draft)
    _hold(draft, intent)
    draft.containment = status
    settle_contention(draft)


def _hold(draft: Draft, intent: Intent) -> None:
    """Keep the label that switches the lock on or off as the ladder wants it, and say whether admission holds it."""
    wanted = state.is_locked(draft.snapshot, draft.escalation, intent)
    label = draft.escalation.labels.get(LABEL_CONTAINMENT)
    if wanted and label != str(intent.action):
        draft.labels[LABEL_CONTAINMENT] = str(intent.action)
    elif not wanted and label is not None:
        draft.labels[LABEL_CONTAINMENT] = None
    conditions, missing, workload = draft.conditions, draft.snapshot.lock, draft.snapshot.target
    was = conditions.get(ConditionType.LOCKED)
    if not wanted:
        message = "the ladder wants no lock: what is undone is put right and recorded"
        conditions.set(ConditionType.LOCKED, False, Reason.LOCK_NOT_WANTED, message)
    elif not missing and workload is not None and not is_locked_by_label(workload, intent):
        message = "it does not carry the label yet that the lock goes by"
        conditions.set(ConditionType.LOCKED, None, Reason.NOT_YET, message)
    elif missing is None:
        if was is None:
            conditions.set(ConditionType.LOCKED, None, Reason.NOT_YET, "nobody has looked yet")
    elif missing:
        if was is None or was.reason != Reason.LOCK_MISSING:
            key = f"unlocked/{intent.id}/{_since(was)}"
            draft.warn(Reason.LOCK_MISSING, key, f"admission does not hold the containment: {missing}")
        conditions.set(ConditionType.LOCKED, False, Reason.LOCK_MISSING, f"admission does not hold it: {missing}")
    else:
        if was is not None and was.reason == Reason.LOCK_MISSING:
            key = f"locked/{intent.id}/{_since(was)}"
            draft.note(Reason.LOCK_RESTORED, key, "admission holds the containment again")
        conditions.set(ConditionType.LOCKED, True, Reason.LOCKED, "admission refuses to undo the containment")


def _since(condition: Condition | None) -> str:
    """Tells one change of a condition from the next, also when it is written again after a crash."""
    return format_time(condition.last_transition_time) if condition else "first"


def _target_deleted(draft: Draft, intent: Intent) -> None:
    target = draft.escalation.spec.target
    if not draft.conditions.is_true(ConditionType.CONTAINED) or reason_of(draft) != Reason.TARGET_DELETED:
        message = f"{target.kind} {target.name} was deleted: nothing is left to contain"
        draft.warn(Reason.TARGET_DELETED, f"deleted/{intent.id}", message, intent=str(intent.id))
    draft.conditions.set(
        ConditionType.CONTAINED, True, Reason.TARGET_DELETED, "the target was deleted: nothing is left to contain"
    )


def _managed_at(snapshot: Snapshot, intent: Intent, now: datetime) -> datetime:
    """When the write was made, from managedFields (whole seconds), where the operator's own stamp was lost."""
    workload = snapshot.target
    text = ""
    if workload is not None and intent.through is not None:
        found = seen(workload, intent.through)
        text = found.set_at if found else ""
    elif workload is not None:
        rollback = intent.action is ContainmentAction.ROLLBACK
        text = workload.template_set_at if rollback else workload.replicas_set_at
    if not text:
        return now
    return max(datetime.fromisoformat(text), intent.intended_at)


def _contained(
    draft: Draft,
    intent: Intent,
    status: ContainmentStatus,
    proof: Verification,
    before: ContainmentStatus | None,
    now: datetime,
) -> None:
    """Conditions and entries of a containment that is intended, applied, proved, or late."""
    conditions = draft.conditions
    detail = {"intent": str(intent.id), "action": str(intent.action), "tier": intent.tier}
    if intent.message:
        detail["why"] = intent.message
    if intent.revision:
        detail |= {"revision": intent.revision, "podTemplateHash": intent.pod_template_hash or ""}
    if status.applied_at and (before is None or before.applied_at is None):
        took = _milliseconds(intent.intended_at, status.applied_at)
        draft.entries.append(
            Entry(
                event=Reason.CONTAINMENT_APPLIED,
                key=f"applied/{intent.id}",
                at=status.applied_at,
                message=f"{what_was_done(intent)} {took} ms after the intent ({intent.message})",
                detail=detail | {"intendedAt": format_time(intent.intended_at)},
                on=(On.TARGET,),
                warning=True,
            )
        )
    target = draft.snapshot.target
    proved = Reason.ALREADY_AT_ZERO if intent.reason == Reason.ALREADY_AT_ZERO else _proved(intent)
    if status.pods_gone_at and proof.clear:
        conditions.set(ConditionType.CONTAINED, True, proved, f"{what_was_done(intent)}: {proof.shown}")
        if before is None or before.pods_gone_at is None:
            times = {"appliedAt": status.applied_at, "endpointsEmptyAt": status.endpoints_empty_at}
            draft.entries.append(
                Entry(
                    event=proved,
                    key=f"contained/{intent.id}",
                    at=status.pods_gone_at,
                    message=f"{what_was_done(intent)}: proved, {proof.shown}",
                    detail=detail
                    | ({"told": ", ".join(sorted(target.told))} if target and target.told else {})
                    | {key: format_time(at) for key, at in times.items() if at}
                    | {"podsGoneAt": format_time(status.pods_gone_at)},
                    measure=Measure("contain", "", (status.pods_gone_at - intent.intended_at).total_seconds()),
                )
            )
    elif status.pods_gone_at:
        reason = Reason.CONTAINMENT_APPLIED if proof.applied else Reason.CONTAINMENT_UNDONE
        conditions.set(ConditionType.CONTAINED, False, reason, f"was proved and is not any more: {proof.left}")
    else:
        was_late = before is not None and reason_of(draft) == Reason.CONTAINMENT_LATE
        _not_proved(draft, intent, proof, now, was_late=was_late)
    holds = conditions.get(ConditionType.CONTAINMENT_HOLDS)
    if proof.applied:
        reason = Reason.CONTAINED_AGAIN if holds is not None and status.undone else Reason.HOLDS
        conditions.set(ConditionType.CONTAINMENT_HOLDS, True, reason, holds_message(status))
    elif status.applied_at:
        conditions.set(ConditionType.CONTAINMENT_HOLDS, False, Reason.CONTAINMENT_UNDONE, f"undone: {proof.left}")
    else:
        conditions.set(ConditionType.CONTAINMENT_HOLDS, None, Reason.NOT_CONTAINED, "nothing is contained yet")


def _released(draft: Draft) -> None:
    workload, escalation = draft.snapshot.target, draft.escalation
    if workload is None or state.may_touch(workload, escalation):
        return
    if not state.is_demanded_elsewhere(draft.judgement, escalation):
        draft.conditions.set(
            ConditionType.CONTAINMENT_HOLDS,
            False,
            Reason.TARGET_RELEASED,
            "the target no longer carries the labels that put it under the ladder: it is not touched any more",
        )


def _not_proved(draft: Draft, intent: Intent, proof: Verification, now: datetime, *, was_late: bool) -> None:
    pinned = tier_of(draft.policy, intent.tier)
    within = pinned.containment.within.delta if pinned and pinned.containment else timedelta(minutes=2)
    late_at = intent.intended_at + within
    if was_late or (now >= late_at and draft.time_counts):
        message = f"not proved within {within}: {_in_the_way(draft, proof)}"
        draft.conditions.set(ConditionType.CONTAINED, False, Reason.CONTAINMENT_LATE, message)
        if not was_late:
            draft.warn(Reason.CONTAINMENT_LATE, f"late/{intent.id}", message, intent=str(intent.id))
            higher = rungs.next_tier(draft, draft.rung.tier)
            if higher is not None:
                rungs.move(draft, higher, Reason.CONTAINMENT_LATE)
        return
    draft.wake.append(late_at)
    if proof.applied:
        draft.conditions.set(
            ConditionType.CONTAINED,
            False,
            Reason.CONTAINMENT_APPLIED,
            f"{what_was_done(intent)}; still there: {proof.left}",
        )
    elif draft.snapshot.obstacle:
        message = f"not contained: {_in_the_way(draft, proof)}"
        if reason_of(draft) != Reason.CONTAINMENT_IMPOSSIBLE:
            draft.warn(Reason.CONTAINMENT_IMPOSSIBLE, f"impossible/{intent.id}", message, intent=str(intent.id))
        draft.conditions.set(ConditionType.CONTAINED, False, Reason.CONTAINMENT_IMPOSSIBLE, message)
    else:
        draft.conditions.set(
            ConditionType.CONTAINED, False, Reason.CONTAINMENT_INTENDED, f"intended, not applied yet: {proof.left}"
        )


def _in_the_way(draft: Draft, proof: Verification) -> str:
    """What is still there, and why it could not be stopped, if that is known."""
    return f"{draft.snapshot.obstacle}; still there: {proof.left}" if draft.snapshot.obstacle else proof.left


def _proved(intent: Intent) -> Reason:
    return _PROVED[intent.action]


_PROVED = {
    ContainmentAction.ROLLBACK: Reason.ROLLED_BACK,
    ContainmentAction.FALLBACK: Reason.FELL_BACK,
    ContainmentAction.ISOLATE: Reason.ISOLATED,
    ContainmentAction.SCALE_TO_ZERO: Reason.SCALED_TO_ZERO,
}


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)
