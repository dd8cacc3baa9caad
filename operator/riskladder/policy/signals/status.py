"""A signal's status as it should be: what its readings say, whether they could be used, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.conditions import Conditions, find
from riskladder.api.ladder import Indicator
from riskladder.api.measurement import indicator_of, with_unit
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import Breach, CountedFor, LastKnownGood, SignalStatus
from riskladder.api.text import count
from riskladder.policy.plan import Entry, EscalationUpdate, On, SignalUpdate
from riskladder.policy.signals.evaluate import Verdict
from riskladder.policy.signals.groups import Judgement
from riskladder.policy.signals.history import is_outdated
from riskladder.policy.signals.unused import SUPERSEDED, would_breach
from riskladder.policy.snapshot import Escalation, Signal, Snapshot, pin

BASELINE = "baseline"
"""What ``status.tier`` says of a signal that has been judged and breaches nothing."""


def update_signal(
    snapshot: Snapshot,
    judgement: Judgement,
    signal: Signal,
    escalation: Escalation | None,
    update: EscalationUpdate | None,
    now: datetime,
    *,
    contained: bool = False,
) -> SignalUpdate:
    """Return the signal's next status and the Events of the change.

    Args:
        snapshot: The target and all that bears on it.
        judgement: The verdicts.
        signal: The signal in question.
        escalation: The open escalation of its ladder, if there is one.
        update: What is about to be written to it.
        now: Current time, UTC.
        contained: Whether the target is contained though no escalation of it could be saved.
    """
    verdict = judgement.verdicts[signal.uid]
    entries: list[Entry] = []
    conditions = Conditions(signal.status.conditions, generation=signal.generation, now=now)
    was_ready = find(signal.status.conditions, ConditionType.READY)
    conditions.set(ConditionType.READY, verdict.usable, verdict.reason, verdict.message)
    if not verdict.usable and (was_ready is None or was_ready.reason != verdict.reason):
        entries.append(_warning(verdict.reason, f"ready/{signal.generation}/{verdict.reason}", verdict.message, now))
    if verdict.stale and not _was_stale(signal):
        message = f"silent for longer than the ladder allows: {', '.join(verdict.stale)}"
        heard = signal.spec.heard_at if signal.spec else None
        last = max((*(o.observed_at for o in verdict.observed), *((heard,) if heard else ())))
        entries.append(_warning(Reason.READINGS_STALE, f"stale/{last.isoformat()}", message, now))
    if snapshot.time_counts or conditions.get(ConditionType.FRESH) is None:
        _fresh(conditions, signal, verdict)
    group = judgement.group_of(signal)
    _breached(conditions, signal, verdict, group.policy.indicators if group else ())
    joined = _joined(signal, verdict, escalation)
    _contained(conditions, joined, update)
    closed = [s for s in snapshot.handled_under(signal.spec.ladder if signal.spec else "") if s.closed]
    if joined is None and verdict.tier and closed:
        at = format_time(closed[-1].until)
        message = f"no escalation is open: it was observed before the last one was closed, at {at}"
        conditions.set(ConditionType.CONTAINED, False, Reason.NOT_CONTAINED, message)

    if joined is None and verdict.tier and snapshot.unsaved:
        what = f"its Escalation cannot be saved, so that nobody is notified: {snapshot.unsaved}"
        entries += _refused(conditions, signal, what, now, contained=contained)
    elif joined is not None and joined.uid in snapshot.unwritten:
        what = f"nobody is notified of what is new, since it cannot be recorded: {snapshot.unwritten[joined.uid]}"
        entries += _refused(conditions, signal, f"escalation {joined.name}: {what}", now, contained=contained)
    tier = verdict.tier or (BASELINE if verdict.usable else None)
    since = signal.carried.since if signal.carried.tier == tier and signal.carried.since else (now if tier else None)
    status = SignalStatus(
        observed_generation=signal.generation,
        counted_for=CountedFor.of(signal.spec) if signal.spec else signal.status.counted_for,
        tier=tier,
        since=since,
        observed=verdict.observed,
        breaches=verdict.breaches,
        escalation=joined.name if joined else signal.status.escalation,
        last_known_good=_known_good(snapshot, judgement, signal, verdict, now),
        unusable=_unusable(snapshot, signal, verdict),
        conditions=conditions.result(),
    )
    return SignalUpdate(signal, status, tuple(entries))


def _warning(reason: Reason, key: str, message: str, now: datetime) -> Entry:
    return Entry(reason, key, now, message, on=(On.SIGNAL,), warning=True, recorded=False)


def _refused(conditions: Conditions, signal: Signal, what: str, now: datetime, *, contained: bool) -> Iterator[Entry]:
    """Say that nobody is notified, since the API server does not take the escalation, or what is new of it."""
    done = "the model is contained" if contained else "it is not proved that the model is contained"
    message = f"{done}, and {what}"[:1024]
    was = find(signal.status.conditions, ConditionType.CONTAINED)
    if was is None or was.reason != Reason.ESCALATION_REFUSED:
        yield _warning(Reason.ESCALATION_REFUSED, f"refused/{signal.generation}/{format_time(now)}", message, now)
    conditions.set(ConditionType.CONTAINED, contained, Reason.ESCALATION_REFUSED, message)


def _was_stale(signal: Signal) -> bool:
    before = find(signal.status.conditions, ConditionType.FRESH)
    return before is not None and before.reason == Reason.READINGS_STALE


def _fresh(conditions: Conditions, signal: Signal, verdict: Verdict) -> None:
    if verdict.stale:
        message = f"silent for longer than the ladder allows: {', '.join(verdict.stale)}"
        conditions.set(ConditionType.FRESH, False, Reason.READINGS_STALE, message)
    elif verdict.observed:
        conditions.set(ConditionType.FRESH, True, Reason.READINGS_CURRENT, "every indicator has been heard in time")
    elif signal.spec is not None and signal.spec.manual is not None:
        conditions.set(ConditionType.FRESH, True, Reason.RAISED_MANUALLY, "raised manually: stands until it is deleted")
    else:
        conditions.set(ConditionType.FRESH, None, verdict.reason, "no reading has been accepted yet")


def _breached(conditions: Conditions, signal: Signal, verdict: Verdict, indicators: Sequence[Indicator]) -> None:
    def said(breach: Breach, value: float) -> str:
        return with_unit(value, indicator_of(indicators, breach.indicator))

    confirmed = [b for b in verdict.breaches if b.confirmed and b.tier == verdict.tier]
    drill = " (drill: acts on nothing)" if signal.spec is not None and signal.spec.drill else ""
    if confirmed and all(b.stale for b in confirmed):
        names = ", ".join(b.indicator for b in confirmed)
        conditions.set(ConditionType.BREACHED, True, Reason.SILENCE, f"{verdict.tier}: {names} has gone silent{drill}")
    elif confirmed:
        text = ", ".join(
            f"{b.indicator} {said(b, b.value)} (threshold {said(b, b.threshold)})"
            for b in confirmed
            if b.value is not None and b.threshold is not None
        )
        conditions.set(ConditionType.BREACHED, True, Reason.THRESHOLD_BREACHED, f"{verdict.tier}: {text}{drill}")
    elif verdict.tier:
        conditions.set(ConditionType.BREACHED, True, Reason.RAISED_MANUALLY, f"{verdict.tier}: raised manually{drill}")
    elif verdict.breaches:
        text = ", ".join(
            f"{b.indicator} {said(b, b.value)} for {b.tier} ({count(b.readings, 'reading')} so far)"
            for b in verdict.breaches
            if b.value is not None
        )
        conditions.set(
            ConditionType.BREACHED, False, Reason.BREACH_UNCONFIRMED, f"beyond a threshold, not confirmed yet: {text}"
        )
    elif verdict.usable or verdict.observed:
        conditions.set(ConditionType.BREACHED, False, Reason.AT_BASELINE, "no threshold is breached")
    else:
        conditions.set(ConditionType.BREACHED, None, verdict.reason, "no reading has been accepted yet")


def _joined(signal: Signal, verdict: Verdict, escalation: Escalation | None) -> Escalation | None:
    """Return the open escalation this signal belongs to: it breaches under its ladder now, or has joined it before."""
    if escalation is None or signal.spec is None or signal.spec.drill:
        return None
    if signal.status.escalation == escalation.name or verdict.tier:
        return escalation
    return None


def _contained(conditions: Conditions, joined: Escalation | None, update: EscalationUpdate | None) -> None:
    if joined is None:
        conditions.set(ConditionType.CONTAINED, False, Reason.NOT_CONTAINED, "no escalation is open for it")
        return
    source = update.status.conditions if update is not None else joined.status.conditions
    found = find(source, ConditionType.CONTAINED)
    if found is not None:
        value = {"True": True, "False": False}.get(str(found.status))
        conditions.set(
            ConditionType.CONTAINED, value, Reason(found.reason), f"escalation {joined.name}: {found.message}"
        )


def _unusable(snapshot: Snapshot, signal: Signal, verdict: Verdict) -> Reason | None:
    """Return why people have to be notified of an unused signal: something in it would breach, or is unknown."""
    spec = signal.spec
    if verdict.usable or verdict.reason in SUPERSEDED or (spec is not None and spec.drill):
        return None
    if spec is None:
        return verdict.reason
    escalation, ladder = snapshot.open_under(spec.ladder), snapshot.ladders.get(spec.ladder)
    policy = escalation.spec.policy if escalation is not None else None
    if policy is None and ladder is not None and ladder.spec is not None:
        policy = pin(ladder.spec)
    used = {one.indicator for one in verdict.observed if one.observed_at == spec.observed_at}
    return verdict.reason if policy is not None and would_breach(policy, signal, used) else None


def _known_good(
    snapshot: Snapshot, judgement: Judgement, signal: Signal, verdict: Verdict, now: datetime
) -> LastKnownGood | None:
    """Return the revision that a rollback goes back to: one that served while all readings were at baseline.

    Readings are about a revision if they were observed while it served: after its rollout was complete and every
    replica available. The newest reading of every stream has to be. A note ends with a breach of that revision.
    """
    before, workload = signal.status.last_known_good, snapshot.target
    if before is not None and _has_breached(snapshot, judgement, before):
        before = None
    if workload is None or workload.current is None or workload.replicas == 0 or not workload.is_available:
        return before
    if not verdict.usable or not verdict.observed or verdict.breaches or verdict.stale or not judgement.at_baseline:
        return before
    if signal.spec is None or signal.spec.drill:
        return before
    current, since = workload.current, workload.available_since
    if before is not None and before.digest == current.hash:
        return before
    if since is None or judgement.heard_since < since:
        return before
    return LastKnownGood(revision=str(current.number), digest=current.hash, since=now)


def _has_breached(snapshot: Snapshot, judgement: Judgement, note: LastKnownGood) -> bool:
    """Return whether a revision has breached since it was noted as good: was taken out of service, or breaches now."""
    workload = snapshot.target
    if is_outdated(snapshot, note):
        return True
    if workload is None or workload.current is None or workload.current.hash != note.digest:
        return False
    since = workload.template_since
    return since is not None and any(at >= since for at in judgement.observed_at)
