"""The decision: one snapshot and one time in, one plan out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_TIER
from riskladder.api.reasons import Reason
from riskladder.policy.containment.companions import switches
from riskladder.policy.containment.connections import restarts
from riskladder.policy.containment.further import noted_first, raise_escalation
from riskladder.policy.containment.hold import carry_out, follow_up
from riskladder.policy.containment.holds import (
    adopted,
    is_carried,
    is_proved,
    of_escalation,
    of_opening,
    reverted,
    upkeep,
    with_hold,
    with_holds,
)
from riskladder.policy.containment.opening import openings
from riskladder.policy.containment.others import lock_of, object_of
from riskladder.policy.containment.resume import restore_network_objects, restore_target
from riskladder.policy.containment.state import NO_WRITE
from riskladder.policy.containment.writes import with_write
from riskladder.policy.drills import open_drill, rehearsal
from riskladder.policy.plan import DecisionUpdate, Effect, EscalationUpdate, NewEscalation, Plan, SignalUpdate, Stop
from riskladder.policy.signals.evaluate import rank
from riskladder.policy.signals.groups import Judgement, judge
from riskladder.policy.signals.status import update_signal
from riskladder.policy.snapshot import LONG_AGO, Escalation, Snapshot
from riskladder.policy.trail import write_trail


def decide(snapshot: Snapshot, now: datetime, *, urgent: bool = True) -> Plan:
    """Return what has to be done for this target now.

    Containment comes alone, and so does an Escalation: what follows is decided again from what the API server has
    acknowledged.

    Args:
        snapshot: The target and everything that bears on it.
        now: Current time, UTC.
        urgent: False: the trail alone, for a target whose containment keeps failing: what is known of it goes on record
            meanwhile.
    """
    snapshot = with_holds(snapshot)
    return with_write(snapshot, _decide(snapshot, now, urgent=urgent))


def _decide(snapshot: Snapshot, now: datetime, *, urgent: bool) -> Plan:
    judgement = judge(snapshot, now)
    wake = _next_change(snapshot, judgement)
    if urgent and (again := reverted(snapshot)) is not None:
        return Plan(stop=again, wake_at=wake)
    if (opening := adopted(snapshot)) is not None:
        return _saying_refusal(snapshot, judgement, Plan(opening=opening, wake_at=wake), now)
    if urgent and (plan := _containment(snapshot, judgement, now)):
        return _saying_refusal(snapshot, judgement, replace(plan, wake_at=wake), now)
    return _trail(snapshot, judgement, now, wake)


def _containment(snapshot: Snapshot, judgement: Judgement, now: datetime) -> Plan | None:
    """Return the writes of the first phase, if any is due: of all ladders, what leads to the safest state comes first.

    What needs no act comes after that, and a drill after everything real.
    """
    plans = [plan for e in snapshot.open if (plan := _further(snapshot, judgement, e, now)) is not None]
    plans += [_open_with(snapshot, opening, act) for opening, act in openings(snapshot, judgement, now)]
    if plans:
        return max(plans, key=lambda plan: (plan.stop.action.strength, plan.stop.severity) if plan.stop else (0, 0))
    drill = open_drill(snapshot, judgement, now)
    return Plan(opening=drill) if drill is not None else None


def _further(snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime) -> Plan | None:
    """Return the writes of the first phase that an open escalation still needs, if any."""
    if (raised := raise_escalation(snapshot, judgement, escalation, now)) is not None:
        return _raise_with(snapshot, escalation, *raised)
    act = carry_out(snapshot, escalation)
    return Plan(stop=act) if act is not None else None


def _open_with(snapshot: Snapshot, opening: NewEscalation, act: Stop | None) -> Plan:
    """Return the act alone, with a hold from which the Escalation is opened; the Escalation first where that cannot be.

    Of some kinds only the scale is written. And where the write has been refused, people must hear of that, so that the
    Escalation waits for it no longer.
    """
    if act is None or not _says_why(snapshot, act):
        return Plan(opening=opening, stop=_after_saving(snapshot, act))
    own = act.intent if LABEL_CONTAINMENT in opening.labels else None
    lock = lock_of(snapshot, object_of(act.intent), own=own)
    return Plan(stop=with_hold(replace(act, policy=opening.spec.policy), of_opening(opening, act.intent), lock=lock))


def _raise_with(snapshot: Snapshot, escalation: Escalation, act: Stop, lock: bool) -> Plan:
    """Return the act alone, with the hold of a further intent; the intent first where nothing can carry it."""
    policy, known = escalation.spec.policy, escalation.labels.get(LABEL_TIER, "")
    tier = max((known, act.intent.tier), key=lambda name: rank(policy, name))
    hold = of_escalation(escalation, act.intent, tier) if _says_why(snapshot, act) else None
    if hold is None:
        return Plan(noted=noted_first(escalation, act.intent), stop=_after_saving(snapshot, act))
    object_title = object_of(act.intent)
    return Plan(stop=with_hold(act, hold, lock=lock_of(snapshot, object_title, own=act.intent if lock else None)))


def _says_why(snapshot: Snapshot, act: Stop) -> bool:
    """Return whether there is a write that contains, and it can say why in the same instant."""
    if act.intent.reason == Reason.ALREADY_CONTAINED:
        return False
    return snapshot.target is not None and not snapshot.obstacle and is_carried(snapshot.target, act.intent)


def _after_saving(snapshot: Snapshot, act: Stop | None) -> Stop | None:
    """Return the act that follows once it is saved why: none where nothing is left to do, or it was refused."""
    is_done = act is not None and act.intent.reason in NO_WRITE
    return None if is_done or snapshot.obstacle else act


def _next_change(snapshot: Snapshot, judgement: Judgement) -> datetime | None:
    changes = [v.next_change for v in judgement.verdicts.values() if v.next_change]
    changes += [found.acceptance.until for found in snapshot.handled if found.acceptance is not None]
    return min(changes, default=None)


def _trail(snapshot: Snapshot, judgement: Judgement, now: datetime, wake: datetime | None) -> Plan:
    """Return the writes of the second phase: only what differs from what is stored."""
    wakes = [wake] if wake and wake > now else []
    updates: list[EscalationUpdate] = []
    judged: list[DecisionUpdate] = []
    for escalation in snapshot.escalations:
        written = write_trail(snapshot, judgement, escalation, now)
        if isinstance(written, datetime):
            return Plan(effects=_present(follow_up(snapshot)), wake_at=min([*wakes, written]))
        if written.wake_at is not None:
            wakes.append(written.wake_at)
        updates.append(written.update)
        judged += written.decisions
    restarting, due = restarts(snapshot, now)
    if due is not None:
        wakes.append(due)
    by_uid = {update.escalation.uid: update for update in updates}
    changed_escalations = tuple(u for u in updates if u.entries or u.labels or u.status != u.escalation.status)
    return Plan(
        escalations=changed_escalations,
        signals=_signals(snapshot, judgement, by_uid, now),
        decisions=tuple(judged),
        effects=(*restarting, *_effects(snapshot, judgement, now, is_recorded=not changed_escalations)),
        wake_at=min(wakes, default=None),
    )


def _signals(
    snapshot: Snapshot, judgement: Judgement, updates: Mapping[str, EscalationUpdate], now: datetime
) -> tuple[SignalUpdate, ...]:
    """Return the statuses of signals that differ from what is stored.

    A stream is taken over before it is let go: killed between the two writes, nobody counts it from one again.
    """
    found, contained = [], bool(snapshot.unsaved or snapshot.unwritten) and is_proved(snapshot)
    for signal in snapshot.signals:
        current = snapshot.open_under(signal.spec.ladder) if signal.spec else None
        update = updates.get(current.uid) if current else None
        changed = update_signal(snapshot, judgement, signal, current, update, now, contained=contained)
        if changed.status != signal.status:
            found.append(changed)
    found.sort(key=lambda u: max((o.observed_at for o in u.status.observed), default=LONG_AGO), reverse=True)
    return tuple(found)


def _saying_refusal(snapshot: Snapshot, judgement: Judgement, plan: Plan, now: datetime) -> Plan:
    """Return a plan that saves an escalation, with what its signals say where that has been refused."""
    if not (snapshot.unsaved or snapshot.unwritten) or not plan.opens:
        return plan
    return replace(plan, signals=_signals(snapshot, judgement, {}, now))


def _effects(snapshot: Snapshot, judgement: Judgement, now: datetime, *, is_recorded: bool) -> tuple[Effect, ...]:
    """Return the further writes in the order of their phases: most of them once nothing is left to be recorded."""
    found = _present(follow_up(snapshot))
    if not is_recorded:
        return found
    restored = (*_present(restore_target(snapshot, judgement, now)), *restore_network_objects(snapshot))
    found += (*restored, *switches(snapshot), *_present(rehearsal(snapshot, judgement)))
    return found if restored else (*found, *upkeep(snapshot))


def _present(effect: Effect | None) -> tuple[Effect, ...]:
    return (effect,) if effect is not None else ()
