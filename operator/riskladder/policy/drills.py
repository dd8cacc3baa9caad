"""Drills: the real ladder, deadlines and people, with a containment that is only rehearsed (article: drills, training).

A drill is an escalation of its own, marked as such, in parallel with a real one if need be. Its containment is asked of
the API server as a dry run, which proves permission and admission and changes nothing; no lock is set. It is closed
when its rung has been answered, or when the time that the ladder gives to a drill is over, with a result on record.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.escalation import ContainmentStatus
from riskladder.api.intent import Intent
from riskladder.api.labels import LABEL_DRILL, LABEL_LADDER, LABEL_TIER
from riskladder.api.notification import EVENTS
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import count
from riskladder.api.tiers import ContainmentAction, ContainmentWhen, adds
from riskladder.policy.containment import choose, opening, state
from riskladder.policy.containment.further import due_containments
from riskladder.policy.containment.holds import of_escalation
from riskladder.policy.containment.writes import rehearsal_write
from riskladder.policy.decisions.apply import close
from riskladder.policy.draft import Draft, group_of
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Effect, Entry, NewEscalation, Stop
from riskladder.policy.signals.groups import Judgement
from riskladder.policy.signals.history import history_of
from riskladder.policy.snapshot import Escalation, Signal, Snapshot
from riskladder.workloads.model import History


def drill_name(target_name: str, target_uid: str, signal: Signal) -> str:
    """Name of the drill that a signal starts: one for each observedAt, however often it is seen."""
    observed = signal.spec.observed_at if signal.spec else None
    digest = hashlib.sha256(f"drill/{target_uid}/{signal.uid}/{observed}".encode()).hexdigest()[:10]
    return f"{target_name[: opening.NAME_PREFIX_LIMIT - 6].replace('.', '-').rstrip('-')}-drill-{digest}"


def open_drill(snapshot: Snapshot, judgement: Judgement, now: datetime) -> NewEscalation | None:
    """Return the drill that a drill signal asks for, unless one is under way or it has had its drill."""
    workload = snapshot.target
    if workload is None:
        return None
    under_way = {drill.spec.ladder.name for drill in snapshot.drills}
    for group in (g for g in judgement.drills if g.ladder.name not in under_way):
        tier = next(iter(group.breached()), None)
        if tier is None or group.suspended:
            continue
        signal = group.cause(tier.name)
        name = drill_name(workload.name, workload.uid, signal)
        if name in snapshot.closed:
            continue
        intent: Intent | None = None
        if tier.containment is not None and tier.containment.when is ContainmentWhen.IMMEDIATELY:
            choice = choose.choose(tier.containment, workload, history_of(snapshot, group))
            intent = choose.intent_of(1, tier.name, choice, now)
        labels = {LABEL_LADDER: group.ladder.name, LABEL_TIER: tier.name, LABEL_DRILL: "true"}
        spec = opening.opening_spec(workload, group, signal, intent, now)
        return NewEscalation(snapshot.key.namespace, name, labels, spec)
    return None


def rehearsal(snapshot: Snapshot, judgement: Judgement) -> Effect | None:
    """Return a containment of a drill that has not been tried yet."""
    found = (_rehearsal(snapshot, judgement, drill) for drill in snapshot.drills)
    return next((effect for effect in found if effect is not None), None)


def _rehearsal(snapshot: Snapshot, judgement: Judgement, escalation: Escalation) -> Effect | None:
    workload = snapshot.target
    intent = to_rehearse(snapshot, judgement, escalation)
    if workload is None or intent is None or (escalation.uid, intent.id) in snapshot.rehearsals:
        return None
    revision = next((r for r in workload.revisions if r.hash == intent.pod_template_hash), None)
    is_back = intent.action is ContainmentAction.ROLLBACK
    action = ContainmentAction.SCALE_TO_ZERO if is_back and revision is None else intent.action
    hold = of_escalation(escalation, intent)
    stop = Stop(intent, action, 0, revision, escalation=escalation.name, hold=hold, lock=str(intent.action))
    return replace(rehearsal_write(workload, stop), intent=intent.id)


def to_rehearse(snapshot: Snapshot, judgement: Judgement, escalation: Escalation) -> Intent | None:
    """Return what the drill has to try next: that of its opening, then what a person or a deadline asks for.

    A safe state that is no safer than one that was tried is none: for real nothing further would be done.
    """
    workload = snapshot.target
    if not escalation.spec.drill or workload is None or not state.may_touch(workload, escalation):
        return None
    tried = [status.intent for status in escalation.status.containments]
    if escalation.spec.intent is not None and not tried:
        return escalation.spec.intent
    actions = [intent.action for intent in tried]
    due = [found for found in due_containments(escalation) if adds(found.containment.action, actions)]
    if not due:
        return None
    call = max(due, key=lambda found: found.containment.action.strength)
    group, rung = group_of(snapshot, judgement, escalation), escalation.status.rung
    history = history_of(snapshot, group) if group is not None else History()
    choice = choose.choose(call.containment, workload, history, by=call.reason)
    decided = (d.at for d in escalation.status.decisions if d.name == call.decision)
    since = rung.stalled_at or rung.entered_at if rung is not None else rungs.opened_at(escalation)
    number = max((intent.id for intent in tried), default=0) + 1
    intent = choose.intent_of(number, call.tier, choice, next(decided, since))
    return intent.model_copy(update={"decision": call.decision, "message": f"{choice.message}: {call.message}"[:1024]})


def advance(draft: Draft) -> None:
    """Take in the rehearsal, and end the drill when it has been answered or has lasted long enough."""
    escalation = draft.escalation
    if not escalation.spec.drill:
        return
    _rehearsed(draft)
    within = draft.policy.drill_within
    over_at = rungs.opened_at(escalation) + within.delta
    draft.wake.append(over_at)
    tier = draft.tier
    needs_decision = tier is not None and tier.decide is not None
    answered = draft.rung.decided_at is not None or (bool(draft.answered()) and not needs_decision)
    is_over = draft.now >= over_at and draft.time_counts
    if is_over and not answered:
        _end(draft, Reason.DRILL_EXPIRED, f"not answered within {within}")
    elif answered and (is_over or _still_to_rehearse(draft) is None):
        _end(draft, Reason.DRILL_COMPLETED, f"the rung of tier {draft.rung.tier} was answered")


def _as_it_will_be(draft: Draft) -> Escalation:
    """Return the drill as it is once this trail is written."""
    now = {
        "rung": draft.rung,
        "decisions": tuple(draft.decisions),
        "resume": draft.resume,
        "containments": tuple(draft.containments.values()),
    }
    return replace(draft.escalation, status=draft.escalation.status.model_copy(update=now))


def _still_to_rehearse(draft: Draft) -> Intent | None:
    return to_rehearse(draft.snapshot, draft.judgement, _as_it_will_be(draft))


def _rehearsed(draft: Draft) -> None:
    """Note what has been tried, and say how it went, or that it is about to be tried."""
    conditions = draft.conditions
    conditions.set(ConditionType.CONTAINMENT_HOLDS, None, Reason.NOT_CONTAINED, "nothing is contained")
    conditions.set(ConditionType.LOCKED, False, Reason.NOT_CONTAINED, "nothing is contained")
    intent = _still_to_rehearse(draft)
    found = draft.snapshot.rehearsals.get((draft.escalation.uid, intent.id)) if intent else None
    if intent is not None and found is not None:
        at, error = found
        axis = intent.action.axis
        draft.containments[axis] = ContainmentStatus(axis=axis, intent=intent, applied_at=None if error else at)
        message = f"{intent.action} as a dry run: {error or 'permitted and admitted'}; nothing was changed"
        detail = {"action": str(intent.action)}
        draft.entries.append(
            Entry(Reason.REHEARSED, f"rehearsed/{intent.id}", at, message, detail, warning=bool(error))
        )
        conditions.set(ConditionType.CONTAINED, False, Reason.REHEARSED, message)
    elif intent is not None:
        message = f"{intent.action} is about to be tried as a dry run: a drill touches nothing"
        conditions.set(ConditionType.CONTAINED, False, Reason.DRILL_STARTED, message)
    elif not draft.containments:
        conditions.set(ConditionType.CONTAINED, False, Reason.DRILL_STARTED, "a drill touches nothing")


def result(draft: Draft) -> dict[str, str]:
    """Return who was notified, who answered after how long, and what failed, for the drill's last record."""
    notified_roles: dict[str, datetime] = {}
    failed: set[str] = set()
    for n in draft.notifications.values():
        notified_roles[n.role] = min(notified_roles.get(n.role, n.at), n.at)
        if n.channel != EVENTS and str(n.state) == "Failed":
            failed.add(n.channel)
    opened = rungs.opened_at(draft.escalation)
    for decision in draft.decisions:  # who answered without having been notified has known of it from the opening
        if decision.counted:
            notified_roles.setdefault(decision.role, opened)
    found = {}
    for role, at in sorted(notified_roles.items())[:24]:
        first = min((d.at for d in draft.decisions if d.counted and d.role == role), default=None)
        found[f"role.{role}"] = f"answered after {round((first - at).total_seconds())} s" if first else "never answered"
    tried = draft.containments.values()
    found["containment"] = "none" if not tried else "permitted" if all(c.applied_at for c in tried) else "failed"
    found["channelsFailed"] = ", ".join(sorted(failed)) or "none"
    found["openedAt"] = format_time(opened)
    return found


def conclude(draft: Draft) -> None:
    """Record the result of a drill that people have closed themselves."""
    if draft.escalation.spec.drill:
        text, detail = _report(draft, f"closed as {draft.resolution}")
        draft.entries.append(Entry(Reason.DRILL_COMPLETED, "drill", draft.now, text, detail))


def _end(draft: Draft, reason: Reason, message: str) -> None:
    close(draft, reason, *_report(draft, message))


def _report(draft: Draft, message: str) -> tuple[str, dict[str, str]]:
    found = result(draft)
    missing = sum(text == "never answered" for text in found.values())
    return f"{message}; {count(missing, 'role')} never answered", found
