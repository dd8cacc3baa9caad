"""Drift: a containment that somebody has reverted, how often, and when it is left to people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.conditions import Conditions
from riskladder.api.escalation import ContainmentStatus, Contention, Drift
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import count as number_of
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Entry, EscalationUpdate, On
from riskladder.policy.repeats import repeat
from riskladder.policy.snapshot import Escalation
from riskladder.workloads.safe_states import words

CONTENTION_LIMIT, CONTENTION_WITHIN = 10, timedelta(minutes=1)
"""So many reverts, none so long after the one before, are contention that the operator does not end."""


MAX_DRIFT = 16


OTHERS = "others"
"""Stands in the status for all field managers beyond the limit; the records name each."""


def raise_contention(draft: Draft) -> None:
    """Enter the next rung where contention over the containment lasts, since people must resolve it."""
    for containment in list(draft.containments.values()):
        _follow_up(draft, containment)


def _follow_up(draft: Draft, containment: ContainmentStatus) -> None:
    contention = containment.contention
    if contention is None or contention.raised or contention.count < CONTENTION_LIMIT:
        return
    contention = contention.model_copy(update={"raised": True})
    draft.containments[containment.axis] = containment.model_copy(update={"contention": contention})
    key = f"contention/{containment.intent.id}/{format_time(contention.since)}"
    message = f"reverted {contention.count} times without a minute in between: people must resolve it"
    draft.warn(Reason.CONTENTION, key, message, count=str(contention.count))
    higher = rungs.next_tier(draft, draft.rung.tier)
    if higher is not None:
        rungs.move(draft, higher, Reason.CONTENTION)


def holds_message(statuses: Iterable[ContainmentStatus]) -> str:
    """Return who has reverted a containment, and how often, for people."""
    reverted = [found for status in statuses for found in status.drift]
    if not reverted:
        return "nobody has reverted it"
    last = max(reverted, key=lambda u: u.at)
    times = number_of(sum(u.count for u in reverted), "time")
    return f"reverted {times}, last by {last.field_manager}; contained again each time"


def record_drift(escalation: Escalation, intent: Intent, reverted_by: str, at: datetime) -> EscalationUpdate | None:
    """Return the status and entry after a containment was reverted by somebody and re-applied."""
    before = escalation.status.containment(intent.action.axis)
    if before is None or before.intent.id != intent.id:
        return None
    counts = {u.field_manager: u for u in before.drift}
    manager = reverted_by[:128]
    listed = manager if manager in counts or len(counts) < MAX_DRIFT - 1 else OTHERS
    count = counts[listed].count + 1 if listed in counts else 1
    counts[listed] = Drift(at=at, field_manager=listed, count=count)
    reverted = tuple(sorted(counts.values(), key=lambda u: u.field_manager))
    contention = before.contention
    last = max((u.at for u in before.drift), default=at)
    # One that has not been raised goes on until a minute without one: the longer waits of the operator do not end it.
    if contention is None or at - (contention.since if contention.raised else last) > CONTENTION_WITHIN:
        contention = Contention(since=at)
    else:
        contention = contention.model_copy(update={"count": contention.count + 1})
    containment = before.model_copy(update={"drift": reverted, "contention": contention})
    total = sum(u.count for u in reverted)
    known = escalation.status.containments
    containments = tuple(containment if found.axis is before.axis else found for found in known)
    # False and then True: the time of the transition shows when it was broken last.
    broken = Conditions(escalation.status.conditions, generation=escalation.generation, now=at)
    broken.set(ConditionType.CONTAINMENT_HOLDS, False, Reason.CONTAINMENT_REVERTED, f"reverted by {manager}")
    conditions = Conditions(broken.result(), generation=escalation.generation, now=at)
    conditions.set(ConditionType.CONTAINMENT_HOLDS, True, Reason.CONTAINMENT_REAPPLIED, holds_message(containments))
    entry = Entry(
        event=Reason.CONTAINMENT_REAPPLIED,
        key=f"reverted/{intent.id}/{total}",
        at=at,
        message=f"{manager} reverted the containment ({number_of(total, 'time')} in all); {words.done(intent)} again",
        detail={"intent": str(intent.id), "fieldManager": manager, "count": str(total)},
        on=(On.ESCALATION, On.TARGET),
        warning=True,
    )
    rung = escalation.status.rung.number if escalation.status.rung else 1
    repeats, entry = repeat(escalation.status.repeats, entry, rung, manager)
    update = {"containments": containments, "conditions": conditions.result(), "repeats": repeats}
    status = escalation.status.model_copy(update=update)
    return EscalationUpdate(escalation, status, (entry,))
