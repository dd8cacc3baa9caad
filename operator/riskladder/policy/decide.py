"""The decision: one snapshot and one time in, one plan out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_TIER
from riskladder.api.reasons import Reason
from riskladder.policy.containment.companions import switches
from riskladder.policy.containment.further import raise_escalation
from riskladder.policy.containment.hold import carry_out, settle
from riskladder.policy.containment.holds import (
    adopted,
    is_carried,
    of_escalation,
    of_opening,
    reverted,
    upkeep,
    with_hold,
)
from riskladder.policy.containment.opening import open_escalation
from riskladder.policy.containment.resume import liftings, restoring
from riskladder.policy.drills import open_drill, rehearsal
from riskladder.policy.plan import DecisionUpdate, EscalationUpdate, Opening, Plan, Rising, SignalUpdate
from riskladder.policy.signals.groups import Judgement, judge
from riskladder.policy.signals.status import update_signal
from riskladder.policy.snapshot import Snapshot
from riskladder.policy.trail import write_trail

_NEVER = datetime.min.replace(tzinfo=UTC)


def decide(snapshot: Snapshot, now: datetime, *, urgent: bool = True) -> Plan:
    """What has to be done for this target now.

    Containment comes alone, and so does an Escalation: what follows is decided afresh from what the API server has
    acknowledged.

    Args:
        snapshot: The target and everything that bears on it.
        now: Current time, UTC.
        urgent: False: the trail alone, for a target whose containment keeps failing: what is known of it goes on record
            meanwhile.
    """
    judgement = judge(snapshot, now)
    wake = _next_change(snapshot, judgement)
    if urgent and (again := reverted(snapshot)) is not None:
        return Plan(act=again, wake_at=wake)
    found = adopted(snapshot)
    if isinstance(found, Opening):
        return Plan(opening=found, wake_at=wake)
    if isinstance(found, Rising):
        return Plan(rising=found, wake_at=wake)
    if urgent and (plan := _containment(snapshot, judgement, now, wake)):
        return plan
    return _trail(snapshot, judgement, now, wake)


def _containment(snapshot: Snapshot, judgement: Judgement, now: datetime, wake: datetime | None) -> Plan | None:
    """The writes of the first phase, if any is due; a drill is opened after everything real."""
    escalation = snapshot.open
    if escalation is None:
        opened = open_escalation(snapshot, judgement, now)
        if opened is not None:
            return _act_first(snapshot, Plan(opening=opened[0], act=opened[1], wake_at=wake))
    else:
        raised = raise_escalation(snapshot, judgement, escalation, now)
        if raised is not None:
            return _act_first(snapshot, Plan(rising=raised[0], act=raised[1], wake_at=wake))
        act = carry_out(snapshot, judgement, escalation)
        if act is not None:
            return Plan(act=act, wake_at=wake)
    drill = open_drill(snapshot, judgement, now)
    return Plan(opening=drill, wake_at=wake) if drill is not None else None


def _act_first(snapshot: Snapshot, plan: Plan) -> Plan:
    """The act alone, with a hold from which the rest is saved afterwards; the Escalation first where that cannot be.

    Of some kinds only the scale is written. And where the write has been refused, people must hear of that, so that the
    Escalation waits for it no longer.
    """
    act, workload = plan.act, snapshot.target
    if act is None or workload is None:
        return plan
    is_done = act.intent.reason == Reason.ALREADY_AT_ZERO
    if snapshot.obstacle or not is_carried(workload, act.intent):
        return replace(plan, act=None if is_done or snapshot.obstacle else act)
    if plan.opening is not None:
        hold, act = of_opening(plan.opening, act.intent), replace(act, policy=plan.opening.spec.policy)
        locked = LABEL_CONTAINMENT in plan.opening.labels
    else:
        assert plan.rising is not None  # noqa: S101
        tier = plan.rising.labels[LABEL_TIER]
        found = of_escalation(plan.rising.escalation, act.intent, tier)
        locked = LABEL_CONTAINMENT in plan.rising.labels
        if found is None:
            return plan
        hold = found
    return Plan(act=with_hold(act, hold, locked=locked), wake_at=plan.wake_at)


def _next_change(snapshot: Snapshot, judgement: Judgement) -> datetime | None:
    changes = [v.next_change for v in judgement.verdicts.values() if v.next_change]
    if snapshot.settled.acceptance is not None:
        changes.append(snapshot.settled.acceptance.until)
    return min(changes, default=None)


def _trail(snapshot: Snapshot, judgement: Judgement, now: datetime, wake: datetime | None) -> Plan:
    """The writes of the second phase: only what differs from what is stored."""
    current = snapshot.open
    wakes = [wake] if wake and wake > now else []
    updates: list[EscalationUpdate] = []
    judged: list[DecisionUpdate] = []
    for escalation in snapshot.escalations:
        written = write_trail(snapshot, judgement, escalation, now)
        if isinstance(written, datetime):
            return Plan(settlement=settle(snapshot, judgement), wake_at=min([*wakes, written]))
        if written.wake_at is not None:
            wakes.append(written.wake_at)
        updates.append(written.update)
        judged += written.decisions
    by_uid = {update.escalation.uid: update for update in updates}
    signals: list[SignalUpdate] = []
    for signal in snapshot.signals:
        changed = update_signal(snapshot, judgement, signal, current, by_uid.get(current.uid) if current else None, now)
        if changed.status != signal.status:
            signals.append(changed)
    # A stream is taken over before it is let go: killed between the two writes, nobody counts it from one again.
    signals.sort(key=lambda u: max((o.observed_at for o in u.status.observed), default=_NEVER), reverse=True)
    changed_escalations = tuple(u for u in updates if u.entries or u.labels or u.status != u.escalation.status)
    drill, settled = snapshot.drill, not changed_escalations
    back = restoring(snapshot, judgement, now) if settled else None
    given_back = liftings(snapshot) if settled else ()
    return Plan(
        escalations=changed_escalations,
        signals=tuple(signals),
        decisions=tuple(judged),
        settlement=settle(snapshot, judgement),
        restoring=back,
        liftings=given_back,
        upkeep=tuple(upkeep(snapshot)) if settled and not back and not given_back else (),
        switches=tuple(switches(snapshot, now)) if settled else (),
        rehearsal=rehearsal(snapshot, drill) if drill is not None and settled else None,
        wake_at=min(wakes, default=None),
    )
