"""The state of an escalation in one word, for people who look at a list of them."""

from __future__ import annotations

from riskladder.api.conditions import ConditionStatus
from riskladder.api.escalation import EscalationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.draft import Draft


def state_of(draft: Draft) -> EscalationState:
    """Return the state that its conditions amount to: what is over first, then what is wrong, then what is so."""
    if draft.is_closed:
        return EscalationState.CLOSED
    if draft.escalation.spec.drill:
        return EscalationState.DRILL
    if draft.is_contained:
        return _of_containment(draft)
    if draft.is_accepted:
        return EscalationState.ACCEPTED
    if draft.resume is not None and draft.rung.decided_at is not None:
        return EscalationState.RESUMED
    return EscalationState.OPEN


def _of_containment(draft: Draft) -> EscalationState:
    """Return how far what contains the model has got."""
    contained = draft.conditions.get(ConditionType.CONTAINED)
    holds = draft.conditions.get(ConditionType.CONTAINMENT_HOLDS)
    reason = contained.reason if contained is not None else ""
    if reason == Reason.CONTAINMENT_LATE:
        return EscalationState.LATE
    if reason == Reason.CONTAINMENT_IMPOSSIBLE:
        return EscalationState.BLOCKED
    if holds is not None and holds.status == ConditionStatus.FALSE:
        return EscalationState.REVERTED
    is_proved = contained is not None and contained.status == ConditionStatus.TRUE
    return EscalationState.CONTAINED if is_proved else EscalationState.CONTAINING
