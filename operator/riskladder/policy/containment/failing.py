"""Containments that do not work: not proved in time, no longer proved, or breached. A safer state follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from riskladder.api.base import format_time
from riskladder.api.escalation import ContainmentStatus, PinnedPolicy
from riskladder.api.intent import Intent
from riskladder.api.measurement import indicator_of, with_unit
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Containment, ContainmentAction, ContainmentWhen
from riskladder.policy.containment.state import declared_for
from riskladder.policy.signals.evaluate import is_beyond
from riskladder.policy.signals.groups import Group
from riskladder.policy.snapshot import Escalation


@dataclass(frozen=True, slots=True)
class Failing:
    """An intent in force that does not contain the model."""

    intent: Intent
    reason: Reason
    message: str


def failing(escalation: Escalation, group: Group | None) -> Iterator[Failing]:
    """Yield the intents in force that do not work.

    Args:
        escalation: With its status, which says what was late.
        group: The signals that bear on it.
    """
    for axis, intent in escalation.in_force.items():
        status = escalation.status.containment(axis)
        if status is None or status.intent.id != intent.id:
            continue
        if status.late_at is not None:
            message = f"{intent.action} was not proved by {format_time(status.late_at)}"
            yield Failing(intent, Reason.CONTAINMENT_LATE, message)
        elif group is not None and (reading := _breached(escalation.spec.policy, group, status)):
            message = f"the revision rolled back to breaches itself: {reading}"
            yield Failing(intent, Reason.CONTAINMENT_INEFFECTIVE, message)


def _breached(policy: PinnedPolicy, group: Group, status: ContainmentStatus) -> str:
    """Return the reading by which a proved rollback breaches a tier that contains at once; empty for none.

    It has to have been observed after the proof: an earlier one is about the revision that was taken out of service.
    """
    if status.intent.action is not ContainmentAction.ROLLBACK or status.pods_gone_at is None:
        return ""
    for tier in group.breached():
        if tier.containment is None or tier.containment.when is not ContainmentWhen.IMMEDIATELY:
            continue
        for signal in group.signals:
            for breach in group.verdicts[signal.uid].breaches:
                at = breach.observed_at
                is_of_it = breach.tier == tier.name and breach.confirmed and not breach.stale
                if is_of_it and at is not None and at > status.pods_gone_at and is_beyond(policy, breach):
                    value = with_unit(breach.value or 0.0, indicator_of(policy.indicators, breach.indicator))
                    return f"{breach.indicator}={value} at {format_time(at)} (signal {signal.name})"
    return ""


def safer(policy: PinnedPolicy, intent: Intent) -> Containment:
    """Return the containment that follows one that does not work: ``ifImpossible`` where that is safer, else a stop."""
    declared = declared_for(policy, intent)
    named = declared.if_impossible
    action = named if named.strength > intent.action.strength else ContainmentAction.SCALE_TO_ZERO
    return declared.model_copy(update={"action": action})
