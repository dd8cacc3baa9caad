"""What became of a decision: whether it counts, and whether the model is contained. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from riskladder.api.conditions import Condition, ConditionStatus
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.people.answers import REFUSED, UNANSWERED
from riskladder.people.case import Case, Contained
from riskladder.people.text import PROGRAM, local, took


@dataclass(frozen=True, slots=True)
class Result:
    """What became of it."""

    code: int
    sentence: str
    facts: dict[str, Any]


def judged(case: Case, name: str, accepted: Condition | None, timeout: float, *, is_stop: bool = False) -> Result:
    """Return the answer as a sentence."""
    if accepted is None:
        follows = "The stop stands, and takes effect" if is_stop else "It is answered"
        sentence = (
            f"Sent as {name}, and not answered within {timeout:g} s: does the operator run? {follows} as soon as "
            f"it does: {PROGRAM} show {case.name} -n {case.namespace}"
        )
        return Result(UNANSWERED, sentence, {"accepted": None, "reason": None, "message": sentence})
    facts = {
        "accepted": accepted.status is ConditionStatus.TRUE,
        "reason": accepted.reason,
        "message": accepted.message,
    }
    if accepted.status is not ConditionStatus.TRUE:
        return Result(REFUSED, f"not accepted ({accepted.reason}): {accepted.message or 'no reason was given'}", facts)
    short = "it counts, and with it enough have agreed" if accepted.reason == Reason.QUORUM_MET else "it counts"
    return Result(0, f"Accepted: {accepted.message or short}{'' if accepted.message.endswith('.') else '.'}", facts)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody has asked for, and which intents of the operator come of it."""

    action: ContainmentAction
    """The safe state asked for."""
    decision: str = ""
    """Name of the decision that asks for it."""
    signal: str = ""
    """uid of the signal that asks for it."""

    def intent(self, case: Case) -> Intent | None:
        """Return the last intent that was made because of it."""
        return next((intent for intent in reversed(case.intents) if self._is_own(case, intent)), None)

    def _is_own(self, case: Case, intent: Intent) -> bool:
        if self.decision and intent.decision == self.decision:
            return True
        opened = case.spec.signal if intent.id == 1 and intent.decision is None else None
        cause = intent.signal or opened
        return bool(self.signal) and cause is not None and cause.uid == self.signal

    def proved(self, case: Case) -> Intent | None:
        """Return the intent in force, once it is proved and as safe as what was asked for; not one proved before.

        Where no intent was made because of the order, the state in force must be as safe already, and hold.
        """
        last = case.intent
        noted = [found.intent for found in case.status.containments]
        if case.spec.drill:  # what was tried as a dry run: for as safe a state nothing further is tried
            tried = [intent for intent in noted if intent.action.strength >= self.action.strength]
            return max(tried, key=lambda intent: intent.action.strength, default=None)
        if last is None or last not in noted or case.contained is not Contained.YES:
            return None
        if self.intent(case) is not None:
            return last
        holds = case.condition(ConditionType.CONTAINMENT_HOLDS)
        is_reverted = holds is not None and holds.status is ConditionStatus.FALSE
        strongest = max(noted, key=lambda intent: intent.action.strength)
        return strongest if strongest.action.strength >= self.action.strength and not is_reverted else None


def contained_result(case: Case, order: Order, seconds: float) -> Result:
    """Return the result of a containment that is proved, or of a drill tried."""
    facts: dict[str, Any]
    found = case.condition(ConditionType.CONTAINED)
    said = f" ({found.message})" if found and found.message else ""
    if case.spec.drill:
        sentence = f"It was tried in the drill, and {case.target} was not touched{said}."
        facts = {"contained": False, "seconds": round(seconds, 3), "escalation": case.name, "drill": True}
        return Result(0, f"{sentence} {PROGRAM} show {case.name} -n {case.namespace}", facts)
    proved, is_new = order.proved(case), order.intent(case) is not None
    facts = {"contained": True, "seconds": round(seconds, 3), "escalation": case.name}
    facts |= {"already": not is_new, "intent": proved.id if proved else None}
    if is_new or proved is None:
        sentence = f"{case.target} is contained, proved {took(seconds)} after it was sent{said}."
    else:
        sentence = (
            f"{case.target} is contained already, by {proved.action} intended {local(proved.intended_at)}{said}: that "
            "is as safe as what you ask for."
        )
    return Result(0, f"{sentence} {PROGRAM} show {case.name} -n {case.namespace}", facts)
