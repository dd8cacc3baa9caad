"""Drills: the real ladder, deadlines and people, with a containment that is only rehearsed (article: drills, training).

A drill is an escalation of its own, marked as such, in parallel with a real one if need be. Its containment is asked of
the API server as a dry run, which proves permission and admission and changes nothing; no lock is set. It is closed
when its rung has been answered, or when the time that the ladder gives to a drill is over, with a result on record.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.escalation import ContainmentStatus
from riskladder.api.intent import Intent
from riskladder.api.labels import LABEL_DRILL, LABEL_LADDER, LABEL_TIER
from riskladder.api.notification import EVENTS
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction, ContainmentWhen
from riskladder.policy.containment import choose, opening, state
from riskladder.policy.containment.holds import of_escalation
from riskladder.policy.containment.writes import rehearsal_write
from riskladder.policy.decisions.apply import close
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Effect, Entry, NewEscalation, Stop
from riskladder.policy.signals.groups import Judgement
from riskladder.policy.signals.history import history_of
from riskladder.policy.snapshot import Escalation, Signal, Snapshot


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


def rehearsal(snapshot: Snapshot) -> Effect | None:
    """Return the containment of a drill that has not been tried yet."""
    found = (_rehearsal(snapshot, drill) for drill in snapshot.drills)
    return next((effect for effect in found if effect is not None), None)


def _rehearsal(snapshot: Snapshot, escalation: Escalation) -> Effect | None:
    intent = next(iter(escalation.intents), None)
    workload = snapshot.target
    if not escalation.spec.drill or intent is None or workload is None or escalation.status.containments:
        return None
    if (escalation.uid, intent.id) in snapshot.rehearsals or not state.may_touch(workload, escalation):
        return None
    revision = next((r for r in workload.revisions if r.hash == intent.pod_template_hash), None)
    is_back = intent.action is ContainmentAction.ROLLBACK
    action = ContainmentAction.SCALE_TO_ZERO if is_back and revision is None else intent.action
    hold = of_escalation(escalation, intent)
    stop = Stop(intent, action, 0, revision, escalation=escalation.name, hold=hold, lock=str(intent.action))
    return rehearsal_write(workload, stop)


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
    if answered:
        _end(draft, Reason.DRILL_COMPLETED, f"the rung of tier {draft.rung.tier} was answered")
    elif draft.now >= over_at and draft.time_counts:
        _end(draft, Reason.DRILL_EXPIRED, f"not answered within {within}")


def _rehearsed(draft: Draft) -> None:
    intent = next(iter(draft.escalation.intents), None)
    found = draft.snapshot.rehearsals.get((draft.escalation.uid, intent.id)) if intent else None
    conditions = draft.conditions
    conditions.set(ConditionType.CONTAINMENT_HOLDS, None, Reason.NOT_CONTAINED, "nothing is contained")
    conditions.set(ConditionType.LOCKED, False, Reason.NOT_CONTAINED, "nothing is contained")
    if draft.containments:
        return
    if intent is None or found is None:
        conditions.set(ConditionType.CONTAINED, False, Reason.DRILL_STARTED, "a drill touches nothing")
        return
    at, error = found
    draft.containments[intent.action.axis] = ContainmentStatus(
        axis=intent.action.axis,
        intent=intent,
        applied_at=None if error else at,
    )
    message = f"{intent.action} as a dry run: {error or 'permitted and admitted'}; nothing was changed"
    detail = {"action": str(intent.action)}
    key = f"rehearsed/{intent.id}"
    draft.entries.append(Entry(Reason.REHEARSED, key, at, message, detail, warning=bool(error)))
    conditions.set(ConditionType.CONTAINED, False, Reason.REHEARSED, message)


def result(draft: Draft) -> dict[str, str]:
    """Return who was notified, who answered after how long, and what failed, for the drill's last record."""
    notified_roles: dict[str, datetime] = {}
    failed: set[str] = set()
    for n in draft.notifications.values():
        notified_roles[n.role] = min(notified_roles.get(n.role, n.at), n.at)
        if n.channel != EVENTS and str(n.state) == "Failed":
            failed.add(n.channel)
    found = {}
    for role, at in sorted(notified_roles.items())[:24]:
        first = min((d.at for d in draft.decisions if d.counted and d.role == role), default=None)
        found[f"role.{role}"] = f"answered after {round((first - at).total_seconds())} s" if first else "never answered"
    containment = next(iter(draft.containments.values()), None)
    found["containment"] = "none" if containment is None else "permitted" if containment.applied_at else "failed"
    found["channelsFailed"] = ", ".join(sorted(failed)) or "none"
    found["openedAt"] = format_time(rungs.opened_at(draft.escalation))
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
    return f"{message}; {missing} role(s) never answered", found
