"""One escalation in one or two sentences: what state the model is in now, and who is asked for what. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from riskladder.api.text import listed
from riskladder.api.tiers import ContainmentAction
from riskladder.people.case import Case, Contained

_IS = {
    ContainmentAction.SCALE_TO_ZERO: ("is stopped", "is being stopped"),
    ContainmentAction.ROLLBACK: ("is rolled back", "is being rolled back"),
    ContainmentAction.FALLBACK: ("is replaced by its fallback", "is being replaced by its fallback"),
    ContainmentAction.ISOLATE: ("is isolated", "is being isolated"),
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
    roles = case.waiting_on
    asked = [demand for demand in case.demands(now) if not demand.is_duty]
    if not roles or not asked:
        return ""
    who = listed(roles)
    is_or_are = "is" if len(roles) == 1 else "are"
    return f" {who[:1].upper()}{who[1:]} {is_or_are} asked to {asked[0].what}."
