"""One escalation in one or two sentences: what state the model is in now, and who is asked for what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from riskladder.api.decision import DecisionAction
from riskladder.api.text import listed
from riskladder.api.tiers import ContainmentAction
from riskladder.people.case import Case, Contained
from riskladder.people.preview import missing
from riskladder.policy.decisions.standing import agreements

_IS = {
    ContainmentAction.SCALE_TO_ZERO: ("is stopped", "is being stopped"),
    ContainmentAction.ROLLBACK: ("is rolled back", "is being rolled back"),
    ContainmentAction.FALLBACK: ("is replaced by its fallback", "is being replaced by its fallback"),
    ContainmentAction.ISOLATE: ("is isolated", "is being isolated"),
}
_TO: Mapping[DecisionAction, str] = {
    DecisionAction.ACCEPT_RISK: "accept the risk",
    DecisionAction.RESUME: "restore it",
    DecisionAction.CLOSE: "close it",
}


def headline(case: Case, now: datetime) -> str:
    """Return what a person reads first."""
    return f"{state(case)}.{_asked(case, now)}"


def state(case: Case) -> str:
    """Return the model and the state that it is in, without a full stop."""
    actions = [intent.action for intent in case.standing.intents]
    if not case.is_open:
        ending = f" as {case.status.resolution}" if case.status.resolution else ""
        left = f" and {_state_of(actions, done=True)}" if case.contained is Contained.YES else ""
        return f"{case.model}: closed{ending}{left}"
    if case.spec.drill:
        return f"Drill: {case.model} is taken to be in tier {case.tier}"
    if case.contained is Contained.GONE:
        return f"{case.model} was deleted"
    if case.contained is Contained.NO:
        resumed = case.status.resume is not None and case.status.resume.applied_at is not None
        return f"{case.model} is {'resumed' if resumed else f'in tier {case.tier} and not contained'}"
    return f"{case.model} {_state_of(actions, done=case.contained is Contained.YES)}"


def _state_of(actions: Iterable[ContainmentAction], *, done: bool) -> str:
    return listed(_IS[action][0 if done else 1] for action in actions) or "is contained"


def _asked(case: Case, now: datetime) -> str:
    begun = [found for found in agreements(case.standing) if case.is_open and found.given and found.tally.missing]
    if begun:
        return "".join(
            f" To {_TO[found.action]}, {found.given} of {found.needed} have agreed: "
            f"{missing(case, found)} {'is' if found.needed - found.given == 1 else 'are'} still needed."
            for found in begun
        )
    roles = case.waiting_on
    asked = [demand for demand in case.demands(now) if not demand.is_duty]
    if not roles or not asked:
        return ""
    who = listed(roles)
    is_or_are = "is" if len(roles) == 1 else "are"
    return f" {who[:1].upper()}{who[1:]} {is_or_are} asked to {asked[0].what}."
