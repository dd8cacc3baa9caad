"""How a containment goes: intended, applied, proved, held, undone, ended; each stage with its time and its entry."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.conditions import Condition, Conditions
from riskladder.api.escalation import (
    ContainmentStatus,
    Contest,
    Evidence,
    Intent,
    Restore,
    ResumeStatus,
    SignalRef,
    Undone,
)
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction, ContainmentWhen
from riskladder.policy.containment import restore, state
from riskladder.policy.draft import Draft, group_of
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Entry, EscalationUpdate, Lifting, Measure, On, Restoring
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.signals.groups import Group, Judgement
from riskladder.policy.snapshot import Escalation, Snapshot, Stamps
from riskladder.workloads.results import Verification
from riskladder.workloads.safe_states import fallback
from riskladder.workloads.safe_states.network_path import Left, Outside, Waits, seen

FIGHT, FIGHT_WITHIN = 10, timedelta(minutes=1)
"""So many undoings, none so long after the one before, are a fight that the operator does not settle."""

MAX_UNDONE = 16
OTHERS = "others"
"""Stands in the status for all field managers beyond the limit; the records name each."""


def follow(draft: Draft) -> None:
    """Say how the containment stands, and note every stage that is new."""
    escalation, snapshot, now = draft.escalation, draft.snapshot, draft.now
    intent = state.active_intent(escalation)
    before = draft.containment
    if intent is None or (draft.resume is not None and draft.resume.intent >= intent.id):
        _not_contained(draft)
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
        restore=_with_others(escalation, _kept(escalation, before if is_same_episode else None)),
    )
    _contained(draft, intent, status, proof, current, now)
    _released(draft)
    _hold(draft, intent)
    draft.containment = status
    _settle_fight(draft)


def _settle_fight(draft: Draft) -> None:
    """A lasting fight over the containment enters the next rung, since people must settle it."""
    containment = draft.containment
    contest = containment.contest if containment else None
    if containment is None or contest is None or contest.raised or contest.count < FIGHT:
        return
    contest = contest.model_copy(update={"raised": True})
    draft.containment = containment.model_copy(update={"contest": contest})
    key = f"contested/{containment.intent}/{format_time(contest.since)}"
    message = f"undone {contest.count} times without a minute of peace: people must settle it"
    draft.warn(Reason.CONTESTED, key, message, count=str(contest.count))
    higher = rungs.next_tier(draft, draft.rung.tier)
    if higher is not None:
        rungs.move(draft, higher, Reason.CONTESTED)


def _hold(draft: Draft, intent: Intent) -> None:
    """Keep the label that switches the lock on or off as the ladder wants it, and say whether admission holds it."""
    wanted = state.is_locked(draft.snapshot, draft.escalation, intent)
    label = draft.escalation.labels.get(LABEL_CONTAINMENT)
    if wanted and label != str(intent.action):
        draft.labels[LABEL_CONTAINMENT] = str(intent.action)
    elif not wanted and label is not None:
        draft.labels[LABEL_CONTAINMENT] = None
    conditions, missing = draft.conditions, draft.snapshot.lock
    was = conditions.get(ConditionType.LOCKED)
    if not wanted:
        message = "the ladder wants no lock: what is undone is put right and recorded"
        conditions.set(ConditionType.LOCKED, False, Reason.LOCK_NOT_WANTED, message)
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
    if not draft.conditions.is_true(ConditionType.CONTAINED) or _reason(draft) != Reason.TARGET_DELETED:
        message = f"{target.kind} {target.name} was deleted: nothing is left to contain"
        draft.warn(Reason.TARGET_DELETED, f"deleted/{intent.id}", message, intent=str(intent.id))
    draft.conditions.set(
        ConditionType.CONTAINED, True, Reason.TARGET_DELETED, "the target was deleted: nothing is left to contain"
    )


# --- Bringing it back -------------------------------------------------------------------------------------------------


def steps(draft: Draft) -> tuple[int, ...]:
    """Replicas to ask for, step by step (``resume.steps``): none where the replicas were never taken away."""
    _take_note(draft)
    containment = draft.containment
    restore = containment.restore if containment is not None else None
    if containment is None or restore is None:
        return ()
    broken_off = draft.resume is not None and draft.resume.applied_at is None
    if containment.action is not ContainmentAction.SCALE_TO_ZERO and not broken_off:
        return ()
    resume = draft.tier.resume if draft.tier else None
    shares = [int(step.removesuffix("%")) for step in (resume.steps if resume else ())] or [100]
    wanted = [max(math.ceil((restore.replicas or 0) * share / 100), 1) for share in shares]
    return tuple(dict.fromkeys(wanted)) if restore.replicas else ()


def _take_note(draft: Draft) -> None:
    """What there is to bring back, where people decide before the first trail of the containment has been written."""
    intent, before, ended = state.active_intent(draft.escalation), draft.containment, draft.resume
    if intent is None or (before is not None and before.intent == intent.id):
        return
    is_same_episode = before is not None and (ended is None or ended.applied_at is None or before.intent > ended.intent)
    draft.containment = ContainmentStatus(
        intent=intent.id,
        action=intent.action,
        revision=intent.revision,
        intended_at=intent.intended_at,
        beside=before.beside if before and is_same_episode else (),
        restore=_with_others(draft.escalation, _kept(draft.escalation, before if is_same_episode else None)),
    )


def resume(draft: Draft) -> None:
    """Note every step of what a counted decision brings back, once it is carried out."""
    ended, workload = draft.resume, draft.snapshot.target
    if ended is None or ended.applied_at is not None or workload is None or draft.escalation.spec.drill:
        return
    if draft.escalation.status.resume is None or workload.uid != draft.escalation.spec.target.uid:
        return
    left: list[str] = []
    if ended.done == 0:
        others = restore.back(workload, draft.escalation)
        if any(isinstance(found, (Outside, Waits)) for found in others.values()):
            return
        left = [found.why[:512] for found in others.values() if isinstance(found, Left)]
    if ended.done < len(ended.steps):
        if ended.watch_until is not None:
            draft.wake.append(ended.watch_until)
        if workload.replicas < ended.steps[ended.done] or not _next_step_is_due(
            draft.group, draft.escalation.spec.signal, ended, draft.now
        ):
            return
    watch = draft.tier.resume.watch_for if draft.tier and draft.tier.resume else None
    done = min(ended.done + 1, len(ended.steps))
    update: dict[str, object] = {
        "done": done,
        "step_at": draft.now,
        "watch_until": draft.now + watch.delta if watch else None,
    }
    for why in left:
        draft.warn(Reason.NOT_RESTORED, f"not-restored/{ended.intent}/{why[:60]}", why, intent=str(ended.intent))
    if left:
        update["left"] = tuple(left)
    if done == len(ended.steps):
        update["applied_at"] = draft.now
    draft.resume = ended.model_copy(update=update)
    of = f" (step {done} of {len(ended.steps)})" if len(ended.steps) > 1 else ""
    message = f"restored{of}: {workload.replicas} replica(s) asked for, the lock is lifted"
    measure = Measure("resume", "", (draft.now - ended.at).total_seconds()) if "applied_at" in update else None
    key = f"restored/{ended.intent}/{done}"
    detail = {"intent": str(ended.intent), "replicas": str(workload.replicas)}
    draft.entries.append(Entry(Reason.RESTORED, key, draft.now, message, detail, on=(On.TARGET,), measure=measure))
    if left:
        _not_contained(draft)  # says so, too


def _next_step_is_due(group: Group | None, opened: SignalRef, ended: ResumeStatus, now: datetime) -> bool:
    """The first step at once; each other one after the watch, on readings at baseline that were observed since.

    Of every indicator, that is, that was read when the escalation was opened. A model that no monitor reports on has
    no reading to wait for.
    """
    if ended.done == 0 or ended.step_at is None:
        return True
    if ended.watch_until is not None and now < ended.watch_until:
        return False
    if group is None or not any(s.spec and s.spec.readings for s in group.signals):
        return True
    newest: dict[str, datetime] = {}
    for observed in (o for s in group.signals for o in group.verdicts[s.uid].observed):
        newest[observed.indicator] = max(observed.observed_at, newest.get(observed.indicator, observed.observed_at))
    asked = [newest.get(r.indicator, ended.at) for r in opened.readings] or [max(newest.values(), default=ended.at)]
    return not group.live_tier and min(asked) > ended.step_at


def restoring(snapshot: Snapshot, judgement: Judgement, now: datetime) -> Restoring | None:
    """The write that brings back what a containment took away, once the lock is off and the decision is on record."""
    escalation, workload = snapshot.open, snapshot.target
    if escalation is None or workload is None or LABEL_CONTAINMENT in escalation.labels:
        return None
    ended = escalation.status.resume
    if ended is None or ended.applied_at is not None or state.active_intent(escalation) is not None:
        return None
    if ended.done >= len(ended.steps) or not state.may_touch(workload, escalation):
        return None
    if snapshot.is_suspended(escalation.spec.ladder.name):
        return None
    wanted = ended.steps[ended.done]
    group = group_of(snapshot, judgement, escalation)
    if workload.replicas >= wanted or not _next_step_is_due(group, escalation.spec.signal, ended, now):
        return None
    containment = escalation.status.containment
    saved = containment.restore.fields if containment and containment.restore else ()
    return Restoring(escalation, wanted, {field.path: field.value for field in saved if not field.on})


def liftings(snapshot: Snapshot) -> tuple[Lifting, ...]:
    """The writes that give back what was overwritten of other objects, with the first step of a Resume."""
    escalation, workload = snapshot.open, snapshot.target
    if escalation is None or workload is None or LABEL_CONTAINMENT in escalation.labels:
        return ()
    ended = escalation.status.resume
    if ended is None or ended.applied_at is not None or ended.done or state.active_intent(escalation) is not None:
        return ()
    if not state.may_touch(workload, escalation) or snapshot.is_suspended(escalation.spec.ladder.name):
        return ()
    found = restore.back(workload, escalation).values()
    return tuple(Lifting(escalation, write) for write in found if isinstance(write, Outside))


def _reason(draft: Draft) -> str:
    found = draft.conditions.get(ConditionType.CONTAINED)
    return found.reason if found else ""


def _not_contained(draft: Draft) -> None:
    containment = draft.tier.containment if draft.tier else None
    if draft.resume is not None:
        waiting = _waiting(draft)
        message = f"resumed by {', '.join(draft.resume.by)}{_on_the_way(draft.resume)}{waiting}"
        reason = Reason.RESUMED
    elif draft.escalation.spec.drill:
        return  # drills.py says how its rehearsal went
    elif containment is None:
        reason, message = Reason.CONTAINMENT_NOT_REQUIRED, f"tier {draft.rung.tier} has no containment"
    elif draft.is_suspended:
        reason, message = Reason.LADDER_SUSPENDED, "the ladder is suspended: it acts on nothing"
    elif containment.when is ContainmentWhen.ON_DECISION:
        reason, message = Reason.AWAITING_DECISION, f"{containment.action} waits for a decision"
    elif containment.when is ContainmentWhen.ON_TIMEOUT:
        reason, message = Reason.AWAITING_TIMEOUT, f"{containment.action} waits for the deadline"
    else:
        reason, message = Reason.NOT_CONTAINED, f"{containment.action} is not under way"
    draft.conditions.set(ConditionType.CONTAINED, False, reason, message)
    nothing = Reason.RESUMED if draft.resume is not None else Reason.NOT_CONTAINED
    draft.conditions.set(ConditionType.CONTAINMENT_HOLDS, None, nothing, "nothing is contained")
    draft.conditions.set(ConditionType.LOCKED, False, nothing, "nothing is contained")


def _waiting(draft: Draft) -> str:
    """What is not given back yet, or was left as somebody else has made it."""
    ended, workload = draft.resume, draft.snapshot.target
    if ended is None or workload is None or draft.escalation.spec.drill:
        return ""
    if ended.applied_at is not None or ended.done:
        return "".join(f"; {why}" for why in ended.left)
    found = restore.back(workload, draft.escalation).values()
    return "".join(f"; {it.why}" for it in found if isinstance(it, Waits))


def _on_the_way(resume: ResumeStatus) -> str:
    """Where a resume in steps stands."""
    if resume.applied_at is not None or len(resume.steps) < 2:
        return ""
    waits = " once a reading observed since is at baseline" if resume.done else ""
    return f"; step {resume.done} of {len(resume.steps)}, next to {resume.steps[resume.done]} replica(s){waits}"


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


def restore_of(escalation: Escalation) -> Restore | None:
    """What a Resume has to bring back: the state before the first act, never a contained one.

    The evidence of the earliest intent counts, since a later one was taken on a workload that was contained already; an
    intent renewed on fresh evidence replaces those before it, which were never carried out.
    """
    evidence: Evidence | None = None
    ended = escalation.status.resume.intent if escalation.status.resume else 0
    for intent in sorted(escalation.spec.intents, key=lambda i: i.id, reverse=True):
        if intent.id <= ended:
            break
        if evidence is not None and intent.through is not None:
            continue  # it did not touch the workload, which has had its own way since
        evidence = intent.evidence or escalation.spec.evidence
        if intent.reason == Reason.EVIDENCE_OUTDATED:
            break
    if evidence is None or not evidence.replicas:
        return None
    return Restore(
        replicas=evidence.replicas,
        revision=evidence.revision,
        pod_template_hash=evidence.pod_template_hash,
        fields=tuple(field for field in evidence.fields if not field.on),
    )


def _kept(escalation: Escalation, before: ContainmentStatus | None) -> Restore | None:
    """What there is to bring back of the workload: as before, unless only what is around it was changed so far."""
    ended = escalation.status.resume
    broken_off = ended is not None and ended.applied_at is None
    touched = [i for i in escalation.spec.intents if before and i.id == before.intent and i.through is None]
    kept = before.restore if before is not None and (touched or broken_off) else None
    fresh = kept or restore_of(escalation)
    others = tuple(f for f in (before.restore.fields if before and before.restore else ()) if f.on)
    if fresh is None:
        return Restore(fields=others) if others else None
    return fresh.model_copy(update={"fields": (*(f for f in fresh.fields if not f.on), *others)})


def _with_others(escalation: Escalation, restore: Restore | None) -> Restore | None:
    """With what the intents since the last Resume overwrite of other objects, as it was before the first of them."""
    ended = escalation.status.resume.intent if escalation.status.resume else 0
    found = {(f.on, f.path): f for f in (restore.fields if restore else ())}
    for intent in escalation.spec.intents:
        evidence = (intent.evidence or escalation.spec.evidence) if intent.id > ended else None
        fresh = {(f.on, f.path): f for f in (evidence.fields if evidence else ()) if f.on}
        found = {**found, **fresh} if intent.reason == Reason.EVIDENCE_OUTDATED else {**fresh, **found}
    fields = tuple(found.values())
    if not fields or (restore is not None and fields == restore.fields):
        return restore
    return (restore or Restore()).model_copy(update={"fields": fields})


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
                message=f"{_done(intent)} {took} ms after the intent ({intent.message})",
                detail=detail | {"intendedAt": format_time(intent.intended_at)},
                on=(On.TARGET,),
                warning=True,
            )
        )
    target = draft.snapshot.target
    proved = Reason.ALREADY_AT_ZERO if intent.reason == Reason.ALREADY_AT_ZERO else _proved(intent)
    if status.pods_gone_at and proof.clear:
        conditions.set(ConditionType.CONTAINED, True, proved, f"{_done(intent)}: {proof.shown}")
        if before is None or before.pods_gone_at is None:
            times = {"appliedAt": status.applied_at, "endpointsEmptyAt": status.endpoints_empty_at}
            draft.entries.append(
                Entry(
                    event=proved,
                    key=f"contained/{intent.id}",
                    at=status.pods_gone_at,
                    message=f"{_done(intent)}: proved, {proof.shown}",
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
        was_late = before is not None and _reason(draft) == Reason.CONTAINMENT_LATE
        _not_proved(draft, intent, proof, now, was_late=was_late)
    holds = conditions.get(ConditionType.CONTAINMENT_HOLDS)
    if proof.applied:
        reason = Reason.CONTAINED_AGAIN if holds is not None and status.undone else Reason.HOLDS
        conditions.set(ConditionType.CONTAINMENT_HOLDS, True, reason, _holds_message(status))
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
    if was_late or now >= late_at:
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
            ConditionType.CONTAINED, False, Reason.CONTAINMENT_APPLIED, f"{_done(intent)}; still there: {proof.left}"
        )
    elif draft.snapshot.obstacle:
        message = f"not contained: {_in_the_way(draft, proof)}"
        if _reason(draft) != Reason.CONTAINMENT_IMPOSSIBLE:
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


def _done(intent: Intent) -> str:
    if intent.through is not None and intent.action is ContainmentAction.ISOLATE:
        return f"isolated by NetworkPolicy {intent.through.name}"
    if intent.through is not None:
        return fallback.done(intent.through)
    if intent.action is ContainmentAction.ROLLBACK:
        return f"rolled back to revision {intent.revision}"
    return "scaled to zero"


def _holds_message(status: ContainmentStatus) -> str:
    if not status.undone:
        return "nobody has undone it"
    last = max(status.undone, key=lambda u: u.at)
    return (
        f"undone {sum(u.count for u in status.undone)} time(s), last by {last.field_manager}; contained again each time"
    )


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)


def record_undone(escalation: Escalation, intent: Intent, undone_by: str, at: datetime) -> EscalationUpdate | None:
    """The status and entry after a containment was undone by somebody and put right again."""
    before = escalation.status.containment
    if before is None or before.intent != intent.id:
        return None
    counts = {u.field_manager: u for u in before.undone}
    manager = undone_by[:128]
    listed = manager if manager in counts or len(counts) < MAX_UNDONE - 1 else OTHERS
    count = counts[listed].count + 1 if listed in counts else 1
    counts[listed] = Undone(at=at, field_manager=listed, count=count)
    undone = tuple(sorted(counts.values(), key=lambda u: u.field_manager))
    contest = before.contest
    last = max((u.at for u in before.undone), default=at)
    # One that has not been settled goes on until a minute of peace: the longer waits of the operator do not end it.
    if contest is None or at - (contest.since if contest.raised else last) > FIGHT_WITHIN:
        contest = Contest(since=at)
    else:
        contest = contest.model_copy(update={"count": contest.count + 1})
    containment = before.model_copy(update={"undone": undone, "contest": contest})
    total = sum(u.count for u in undone)
    # False and then True: the time of the transition shows when it was broken last.
    broken = Conditions(escalation.status.conditions, generation=escalation.generation, now=at)
    broken.set(ConditionType.CONTAINMENT_HOLDS, False, Reason.CONTAINMENT_UNDONE, f"undone by {manager}")
    conditions = Conditions(broken.result(), generation=escalation.generation, now=at)
    conditions.set(ConditionType.CONTAINMENT_HOLDS, True, Reason.CONTAINED_AGAIN, _holds_message(containment))
    entry = Entry(
        event=Reason.CONTAINED_AGAIN,
        key=f"undone/{intent.id}/{total}",
        at=at,
        message=f"{manager} undid the containment ({total} time(s) in all); {_done(intent)} again",
        detail={"intent": str(intent.id), "fieldManager": manager, "count": str(total)},
        on=(On.ESCALATION, On.TARGET),
        warning=True,
    )
    status = escalation.status.model_copy(update={"containment": containment, "conditions": conditions.result()})
    return EscalationUpdate(escalation, status, (entry,))
