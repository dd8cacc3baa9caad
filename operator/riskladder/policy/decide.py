"""The decision: one snapshot and one time in, one plan out."""

from __future__ import annotations

from datetime import UTC, datetime

from riskladder.policy.contain import carry_out, open_escalation, raise_escalation
from riskladder.policy.judge import Judgement, judge
from riskladder.policy.plan import EscalationUpdate, Plan, SignalUpdate
from riskladder.policy.signals import update_signal
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.policy.trail import write_trail

_NEVER = datetime.min.replace(tzinfo=UTC)


def decide(snapshot: Snapshot, now: datetime) -> Plan:
    """What has to be done for this target now.

    Containment comes alone: a plan that touches the workload has no trail, because the trail is decided afresh from
    what the API server has acknowledged.

    Args:
        snapshot: The target and everything that bears on it.
        now: Current time, UTC.
    """
    judgement = judge(snapshot, now)
    escalation = snapshot.open
    wake = _next_change(judgement)
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
    return _trail(snapshot, judgement, escalation, now, wake)


def decide_trail(snapshot: Snapshot, now: datetime) -> Plan:
    """The trail alone, for a target whose containment keeps failing: what is known of it goes on record meanwhile."""
    judgement = judge(snapshot, now)
    return _trail(snapshot, judgement, snapshot.open, now, _next_change(judgement))


def _next_change(judgement: Judgement) -> datetime | None:
    return min((v.next_change for v in judgement.verdicts.values() if v.next_change), default=None)


def _trail(
    snapshot: Snapshot, judgement: Judgement, current: Escalation | None, now: datetime, wake: datetime | None
) -> Plan:
    """The writes of the second phase: only what differs from what is stored."""
    wakes = [wake] if wake else []
    updates: list[EscalationUpdate] = []
    for escalation in snapshot.escalations:
        written = write_trail(snapshot, judgement, escalation, now)
        if isinstance(written, datetime):
            return Plan(wake_at=min([*wakes, written]))
        update, wake_again = written
        if wake_again is not None:
            wakes.append(wake_again)
        updates.append(update)
    by_uid = {update.escalation.uid: update for update in updates}
    signals: list[SignalUpdate] = []
    for signal in snapshot.signals:
        changed = update_signal(snapshot, judgement, signal, current, by_uid.get(current.uid) if current else None, now)
        if changed.status != signal.status:
            signals.append(changed)
    # A stream is taken over before it is let go: killed between the two writes, nobody counts it from one again.
    signals.sort(key=lambda u: max((o.observed_at for o in u.status.observed), default=_NEVER), reverse=True)
    return Plan(
        escalations=tuple(u for u in updates if u.entries or u.labels or u.status != u.escalation.status),
        signals=tuple(signals),
        wake_at=min(wakes, default=None),
    )
