"""The decision: one snapshot and one time in, one plan out."""

from __future__ import annotations

from datetime import UTC, datetime

from riskladder.policy.containment.companions import switches
from riskladder.policy.containment.further import raise_escalation
from riskladder.policy.containment.hold import carry_out, settle
from riskladder.policy.containment.opening import open_escalation
from riskladder.policy.containment.resume import liftings, restoring
from riskladder.policy.drills import open_drill, rehearsal
from riskladder.policy.plan import DecisionUpdate, EscalationUpdate, Plan, SignalUpdate
from riskladder.policy.signals.groups import Judgement, judge
from riskladder.policy.signals.status import update_signal
from riskladder.policy.snapshot import Snapshot
from riskladder.policy.trail import write_trail

_NEVER = datetime.min.replace(tzinfo=UTC)


def decide(snapshot: Snapshot, now: datetime, *, urgent: bool = True) -> Plan:
    """What has to be done for this target now.

    Containment comes alone: a plan that touches the workload has no trail, because the trail is decided afresh from
    what the API server has acknowledged.

    Args:
        snapshot: The target and everything that bears on it.
        now: Current time, UTC.
        urgent: False: the trail alone, for a target whose containment keeps failing: what is known of it goes on record
            meanwhile.
    """
    judgement = judge(snapshot, now)
    wake = _next_change(snapshot, judgement)
    if urgent and (plan := _containment(snapshot, judgement, now, wake)):
        return plan
    return _trail(snapshot, judgement, now, wake)


def _containment(snapshot: Snapshot, judgement: Judgement, now: datetime, wake: datetime | None) -> Plan | None:
    """The writes of the first phase, if any is due; a drill is opened after everything real."""
    escalation = snapshot.open
    if escalation is None:
        opened = open_escalation(snapshot, judgement, now)
        if opened is not None:
            return Plan(opening=opened[0], act=opened[1], wake_at=wake)
    else:
        raised = raise_escalation(snapshot, judgement, escalation, now)
        if raised is not None:
            return Plan(rising=raised[0], act=raised[1], wake_at=wake)
        act = carry_out(snapshot, judgement, escalation)
        if act is not None:
            return Plan(act=act, wake_at=wake)
    drill = open_drill(snapshot, judgement, now)
    return Plan(opening=drill, wake_at=wake) if drill is not None else None


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
    drill = snapshot.drill
    return Plan(
        escalations=changed_escalations,
        signals=tuple(signals),
        decisions=tuple(judged),
        settlement=settle(snapshot, judgement),
        restoring=restoring(snapshot, judgement, now) if not changed_escalations else None,
        liftings=liftings(snapshot) if not changed_escalations else (),
        switches=tuple(switches(snapshot, now)) if not changed_escalations else (),
        rehearsal=rehearsal(snapshot, drill) if drill is not None and not changed_escalations else None,
        wake_at=min(wakes, default=None),
    )
