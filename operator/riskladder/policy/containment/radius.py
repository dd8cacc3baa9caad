"""The blast radius: how many targets a ladder may contain by itself within some time, and what is done beyond that.

What is counted is stored: the intents of escalations, open or closed. So every replica counts the same, whenever it was
started. What people ask for, what is contained already and what needs no write is never held up.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from riskladder.api.intent import Intent, SignalRef
from riskladder.api.ladder import WhenExceeded
from riskladder.api.reasons import Reason
from riskladder.policy.containment.choose import Choice
from riskladder.policy.containment.failing import failing
from riskladder.policy.containment.state import NO_WRITE
from riskladder.policy.signals.evaluate import rank
from riskladder.policy.signals.groups import Demand
from riskladder.policy.snapshot import Escalation, RadiusBudget, Snapshot
from riskladder.policy.storm import Demanded, Waiting

_NOT_COUNTED = frozenset(
    (
        *NO_WRITE,
        Reason.CONTAINED_MANUALLY,
        Reason.ESCALATED_MANUALLY,
        Reason.TARGET_RECREATED,
        Reason.BLAST_RADIUS_EXCEEDED,
    )
)
"""Reasons of intents that stop nothing, that a person demands, or that go on with what was there."""


def is_automatic(intent: Intent, signal: SignalRef) -> bool:
    """Return whether an intent counts against the blast radius of its ladder.

    Args:
        intent: The intent.
        signal: The signal of its escalation, which caused it where it names no other one.
    """
    by_hand = intent.decision is not None or (intent.signal or signal).manual is not None
    return not by_hand and intent.reason not in _NOT_COUNTED


def automatic_at(escalation: Escalation) -> datetime | None:
    """Return when an escalation has contained its target without anybody being asked, the last time."""
    spec = escalation.spec
    if spec.drill:
        return None
    known = [spec.intent] if spec.intent is not None else []
    known += [*(found.intent for found in escalation.status.containments), *escalation.unsaved]
    return max((i.intended_at for i in known if is_automatic(i, spec.signal)), default=None)


class RadiusDecision(StrEnum):
    """Whether a containment that a breach demands may be carried out."""

    NOW = "now"
    LATE = "late"
    """It has waited for a decision, and its time is over."""
    REPLACED = "replaced"
    """It is one too many; traffic goes to the fallback in its place."""
    WAIT = "wait"
    """It is one too many, and waits for a decision or its deadline."""
    DONE = "done"
    """Traffic goes to the fallback in its place already."""


def check_radius(
    snapshot: Snapshot, demand: Demand, choice: Choice, escalation: Escalation | None, now: datetime
) -> RadiusDecision:
    """Return whether a containment may be carried out now.

    Args:
        snapshot: The target and everything that bears on it.
        demand: What a breached tier asks for.
        choice: What would be done.
        escalation: For which open escalation, if there is one.
        now: Current time, UTC.
    """
    budget = snapshot.radius_budgets.get(demand.group.ladder.name)
    if budget is None or _is_manual(demand) or choice.reason in NO_WRITE:
        return RadiusDecision.NOW
    held = [intent for other in snapshot.open for intent in other.in_force.values()]
    if any(intent.reason != Reason.BLAST_RADIUS_EXCEEDED for intent in held):
        return RadiusDecision.NOW  # it is contained already, and may become safer
    own = list(escalation.in_force.values()) if escalation is not None else []
    if escalation is not None and _is_replaced(demand, escalation, own):
        return RadiusDecision.DONE
    waiting = escalation.status.waiting if escalation is not None else None
    if waiting is not None:
        return RadiusDecision.LATE if now >= waiting.until and snapshot.time_counts else RadiusDecision.WAIT
    if budget.is_open:
        return RadiusDecision.NOW
    return (
        RadiusDecision.REPLACED
        if budget.radius.when_exceeded is WhenExceeded.FALLBACK and not own
        else RadiusDecision.WAIT
    )


def _is_manual(demand: Demand) -> bool:
    """Return whether a person asks for it, by a signal that is raised manually to that tier."""
    if demand.reason is not Reason.THRESHOLD_BREACHED:
        return True
    group = demand.group
    raised = (s for s in group.signals if s.spec is not None and s.spec.manual is not None)
    return any(group.verdicts[s.uid].tier == demand.tier.name for s in raised)


def _is_replaced(demand: Demand, escalation: Escalation, own: list[Intent]) -> bool:
    """Return whether a fallback is in force in place of what is demanded, and works."""
    broken = {found.intent.id for found in failing(escalation, demand.group)}
    policy = demand.group.policy
    return any(i.id not in broken and rank(policy, i.tier) >= rank(policy, demand.tier.name) for i in own)


def exceeded(budget: RadiusBudget) -> str:
    """Return what the blast radius allows, in words."""
    models = "1 model" if budget.limit == 1 else f"{budget.limit} models"
    share = f" ({budget.radius.at_most})" if isinstance(budget.radius.at_most, str) else ""
    return f"its ladder contains at most {models}{share} within {budget.radius.per} without asking"


def demanded(escalations: Iterable[Escalation], limit: int) -> Demanded:
    """Return what the open escalations of a ladder say of containments beyond its blast radius.

    Args:
        escalations: The open ones.
        limit: How many targets it is, of those that are governed now.
    """
    waiting, times = [], []
    for escalation in escalations:
        target, held = escalation.spec.target, escalation.status.withheld
        if held is not None:
            times.append(held.since)
        if (now := escalation.status.waiting) is not None:
            waiting.append(Waiting(f"{target.kind}/{target.name}", now.until))
        known = [escalation.spec.intent, *(c.intent for c in escalation.status.containments)]
        times += [i.intended_at for i in known if i is not None and i.reason == Reason.BLAST_RADIUS_EXCEEDED]
    return Demanded(waiting, max(times, default=None), limit)
