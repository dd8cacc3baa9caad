"""A Resume: the steps in which a model is restored, and what each of them restores."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.conditions import find
from riskladder.api.escalation import ResumeStatus
from riskladder.api.foreign import clip
from riskladder.api.intent import SignalRef
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.measurement import indicator_of, no_measurement
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import count
from riskladder.api.tiers import Axis, ContainmentAction, ContainmentWhen
from riskladder.policy.containment import restore, state
from riskladder.policy.containment.further import due_containments, is_further
from riskladder.policy.containment.holds import is_held, of_escalation
from riskladder.policy.containment.note import Noted, note
from riskladder.policy.containment.others import carrier, lock_of, of_others, stopped_by
from riskladder.policy.containment.withheld import waits_text
from riskladder.policy.containment.writes import restore_write
from riskladder.policy.draft import Draft, group_of
from riskladder.policy.plan import Effect, Entry, Measure, On, Phase
from riskladder.policy.signals.groups import Group, Judgement
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.results import ObjectWrite
from riskladder.workloads.safe_states.network_path import Conflict, NotReady

NOT_YET_RESTORED = "what restores it is refused"


def steps(draft: Draft) -> tuple[int, ...]:
    """Return the replicas to ask for, step by step (``resume.steps``): none where they were never taken away."""
    take_note(draft)
    stopped = draft.escalation.in_force.get(Axis.WORKLOAD)
    if draft.restore is None or not draft.restore.replicas:
        return ()
    broken_off = draft.resume is not None and draft.resume.applied_at is None
    if (stopped is None or stopped.action is not ContainmentAction.SCALE_TO_ZERO) and not broken_off:
        return ()
    if stopped_by(draft.snapshot, draft.escalation.name) is not None:
        return ()  # its Resume restores them
    replicas, resume = draft.restore.replicas, draft.tier.resume if draft.tier else None
    shares = [int(step.removesuffix("%")) for step in (resume.steps if resume else ())] or [100]
    return tuple(dict.fromkeys(max(math.ceil(replicas * share / 100), 1) for share in shares))


def take_note(draft: Draft) -> None:
    """Note what is in force and what a Resume restores.

    People may decide before the first trail of a containment has been written.
    """
    known = Noted(draft.containments, draft.companions, draft.restore, draft.quarantined)
    noted = note(draft.escalation, known, draft.resume)
    draft.containments, draft.companions = dict(noted.containments), noted.companions
    draft.restore, draft.quarantined = noted.restore, noted.quarantined


def resume(draft: Draft) -> None:
    """Note every step of what a counted decision restores, once it is carried out."""
    ended, workload = draft.resume, draft.snapshot.target
    if ended is None or ended.applied_at is not None or workload is None or draft.escalation.spec.drill:
        return
    if ended.done and not draft.time_counts:
        return  # each step but the first waits for time
    if draft.escalation.status.resume is None or workload.uid != draft.escalation.spec.target.uid:
        return
    left: list[str] = []
    if ended.done == 0:
        others = restore.back(draft.snapshot, workload, draft.escalation)
        if any(isinstance(found, (ObjectWrite, NotReady)) for found in others.values()):
            return
        if not ended.steps and is_held(draft.snapshot, draft.escalation, ended.intent):
            return  # nothing is free before what holds it is gone
        left = [found.why[:512] for found in others.values() if isinstance(found, Conflict)]
    _note_refusal(draft, ended)
    stop = stopped_by(draft.snapshot, draft.escalation.name)
    if ended.done < len(ended.steps) and stop is not None:
        why = f"{stop.who} has stopped the model meanwhile: the rest is restored by its Resume"
        ended, left = ended.model_copy(update={"steps": ended.steps[: ended.done]}), [*left, why]
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
        update["left"] = tuple(clip(why, 512) for why in left[:16])
    if done == len(ended.steps):
        update["applied_at"] = draft.now
    draft.resume = ended.model_copy(update=update)
    of = f" (step {done} of {len(ended.steps)})" if len(ended.steps) > 1 else ""
    holders = of_others(draft.snapshot, draft.escalation.name)
    lock = f"{holders[0].who} still contains it" if holders else "the lock is removed"
    message = f"restored{of}: {count(workload.replicas, 'replica')} asked for, {lock}"
    measure = Measure("resume", "", (draft.now - ended.at).total_seconds()) if "applied_at" in update else None
    key = f"restored/{ended.intent}/{done}"
    detail = {"intent": str(ended.intent), "replicas": str(workload.replicas)}
    draft.entries.append(Entry(Reason.RESTORED, key, draft.now, message, detail, on=(On.TARGET,), measure=measure))
    if left:
        not_contained(draft)  # says so, too


def _note_refusal(draft: Draft, ended: ResumeStatus) -> None:
    """Say once for each step that what restores the model is refused; it is tried again."""
    why = draft.snapshot.obstacle
    before = find(draft.escalation.status.conditions, ConditionType.CONTAINED)
    if why and (before is None or NOT_YET_RESTORED not in before.message):
        key = f"restore-refused/{ended.intent}/{ended.done}/{format_time(draft.now)}"
        draft.warn(Reason.NOT_RESTORED, key, f"{NOT_YET_RESTORED}, and tried again: {why}", intent=str(ended.intent))


def _next_step_is_due(group: Group | None, opened: SignalRef, ended: ResumeStatus, now: datetime) -> bool:
    """Return whether the next step is due: the first at once, others after the watch, on later readings at baseline.

    Of every indicator, that is, that was read when the escalation was opened. A model that no monitor has reported on
    has no reading to wait for.
    """
    if ended.done == 0 or ended.step_at is None:
        return True
    if ended.watch_until is not None and now < ended.watch_until:
        return False
    if group is None or not (group.withdrawn or any(s.spec and s.spec.readings for s in group.signals)):
        return True
    newest: dict[str, datetime] = {}
    for observed in (o for s in group.signals for o in group.verdicts[s.uid].observed):
        newest[observed.indicator] = max(observed.at, newest.get(observed.indicator, observed.at))
    indicators = group.policy.indicators
    read = [r for r in opened.readings if no_measurement(indicator_of(indicators, r.indicator), r) is None]
    asked = [newest.get(r.indicator, ended.at) for r in read] or [max(newest.values(), default=ended.at)]
    return not group.live_tier and min(asked) > ended.step_at


def restore_target(snapshot: Snapshot, judgement: Judgement, now: datetime) -> Effect | None:
    """Return the write that restores what a containment took away, once the decision is on record.

    Also under a ladder that is suspended: a Resume is people's word, and what held the model goes with its restoring.
    """
    found = (_restore_target(snapshot, judgement, escalation, now) for escalation in snapshot.open)
    return next((write for write in found if write is not None), None)


def _restore_target(snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime) -> Effect | None:
    workload = snapshot.target
    if workload is None or LABEL_CONTAINMENT in escalation.labels:
        return None
    if stopped_by(snapshot, escalation.name) is not None:
        return None
    ended = escalation.status.resume
    if ended is None or ended.applied_at is not None or state.is_contained(escalation):
        return None
    if ended.done and not snapshot.time_counts:
        return None
    if ended.done >= len(ended.steps) or not state.may_touch(workload, escalation):
        return None
    wanted = ended.steps[ended.done]
    group = group_of(snapshot, judgement, escalation)
    if workload.replicas >= wanted or not _next_step_is_due(group, escalation.spec.signal, ended, now):
        return None
    saved = escalation.status.restore.fields if escalation.status.restore else ()
    fields = {field.path: field.value for field in saved if not field.object}
    found = carrier(snapshot, "")
    hold = of_escalation(found.escalation, found.intent) if found is not None else None
    write = workload.runtime.restore(workload, wanted, fields)
    return restore_write(workload, escalation.name, write, hold, lock_of(snapshot, ""))


def restore_network_objects(snapshot: Snapshot) -> tuple[Effect, ...]:
    """Return the writes that restore what was overwritten of other objects, with the first step of a Resume."""
    return tuple(effect for escalation in snapshot.open for effect in _restore_network_objects(snapshot, escalation))


def _restore_network_objects(snapshot: Snapshot, escalation: Escalation) -> tuple[Effect, ...]:
    workload = snapshot.target
    if workload is None or LABEL_CONTAINMENT in escalation.labels:
        return ()
    ended = escalation.status.resume
    if ended is None or ended.applied_at is not None or ended.done or state.is_contained(escalation):
        return ()
    if not state.may_touch(workload, escalation):
        return ()
    found = restore.back(snapshot, workload, escalation).values()
    writes = (write for write in found if isinstance(write, ObjectWrite))
    return tuple(Effect.of(Phase.RESTORE, write, escalation.name) for write in writes)


def reason_of(draft: Draft) -> str:
    """Return the reason of the condition Contained as it stands."""
    found = draft.conditions.get(ConditionType.CONTAINED)
    return found.reason if found else ""


def not_contained(draft: Draft) -> None:
    """Say why nothing is contained: nothing was asked for, it is waited for, or it has been resumed."""
    containment = draft.tier.containment if draft.tier else None
    waits = waits_text(draft)
    if waits:
        reason, message = Reason.BLAST_RADIUS_EXCEEDED, waits
    elif due := _about_to_be(draft):
        reason, message = Reason.CONTAINMENT_DUE, due
    elif draft.resume is not None:
        waiting = waiting_for(draft)
        others = of_others(draft.snapshot, draft.escalation.name)
        still = f"; {others[0].who} still contains it" if others else ""
        message = f"resumed by {', '.join(draft.resume.by)}{on_the_way(draft.resume)}{waiting}{still}"
        reason = Reason.RESUMED
    elif draft.escalation.spec.drill:
        return  # drills.py says how its rehearsal went
    elif containment is None:
        reason, message = Reason.CONTAINMENT_NOT_REQUIRED, f"tier {draft.rung.tier} has no containment"
    elif draft.snapshot.target is not None and not state.may_touch(draft.snapshot.target, draft.escalation):
        reason = Reason.NOT_CONTAINED
        message = "the target no longer carries the labels that put it under the ladder: it is not touched"
    elif draft.is_suspended:
        reason, message = Reason.LADDER_SUSPENDED, "the ladder is suspended: it acts on nothing"
    elif containment.when is ContainmentWhen.ON_DECISION:
        reason, message = Reason.AWAITING_DECISION, f"{containment.action} waits for a decision"
    elif containment.when is ContainmentWhen.ON_TIMEOUT:
        reason, message = Reason.AWAITING_TIMEOUT, f"{containment.action} waits for the deadline"
    else:
        reason, message = Reason.NOT_CONTAINED, f"nothing that has been read since demands {containment.action}"
    draft.conditions.set(ConditionType.CONTAINED, False, reason, message)
    nothing = Reason.RESUMED if draft.resume is not None else Reason.NOT_CONTAINED
    draft.conditions.set(ConditionType.CONTAINMENT_HOLDS, None, nothing, "nothing is contained")
    draft.conditions.set(ConditionType.LOCKED, False, nothing, "nothing is contained")


def _about_to_be(draft: Draft) -> str:
    """Return what people, or their silence, have asked for and is carried out next; empty where nothing is."""
    workload, escalation = draft.snapshot.target, draft.escalation
    if workload is None or draft.is_suspended or not state.may_touch(workload, escalation):
        return ""
    now = {"rung": draft.rung, "decisions": tuple(draft.decisions), "resume": draft.resume}
    known = replace(escalation, status=escalation.status.model_copy(update=now))
    active = known.in_force
    due = [d.containment for d in due_containments(known) if is_further(d.containment.action, active)]
    if not due or escalation.spec.drill:
        return ""
    safest = max(due, key=lambda containment: containment.action.strength)
    other = f", or {safest.if_impossible} where that is impossible"
    is_zero = safest.action is ContainmentAction.SCALE_TO_ZERO
    return f"{safest.action} is about to be carried out{'' if is_zero else other}"


def waiting_for(draft: Draft) -> str:
    """Return what is not restored yet, or was left as somebody else has made it."""
    ended, workload = draft.resume, draft.snapshot.target
    if ended is None or workload is None or draft.escalation.spec.drill:
        return ""
    if ended.applied_at is not None or ended.done:
        return "".join(f"; {why}" for why in ended.left)
    found = restore.back(draft.snapshot, workload, draft.escalation).values()
    refused = f"; {NOT_YET_RESTORED}: {draft.snapshot.obstacle}" if draft.snapshot.obstacle else ""
    return "".join(f"; {it.why}" for it in found if isinstance(it, NotReady)) + refused


def on_the_way(resume: ResumeStatus) -> str:
    """Return where a resume in steps stands."""
    if resume.applied_at is not None or len(resume.steps) < 2:
        return ""
    waits = " once a reading observed since is at baseline" if resume.done else ""
    return f"; step {resume.done} of {len(resume.steps)}, next to {count(resume.steps[resume.done], 'replica')}{waits}"
