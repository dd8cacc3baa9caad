"""What the page of an escalation draws: rungs, people, options, the deadline. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from riskladder.api.decision import DecidedBy, DecisionAction
from riskladder.api.escalation import PinnedPolicy
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.notification import NotificationState
from riskladder.api.reasons import Reason
from riskladder.api.text import listed
from riskladder.api.tiers import Trigger
from riskladder.people.case import Case
from riskladder.people.choices import Choice
from riskladder.people.drafting import Unfit, drafted
from riskladder.people.preview import Preview, preview_decision
from riskladder.people.story import episodes
from riskladder.people.timeline import Step, Timeline
from riskladder.policy.escalation.demands import Demand

_ACCENTS = ("high", "moderate", "low")
"""Accents of tiers, from the worst one down; further ones have the last."""


def accent(policy: PinnedPolicy | EscalationLadderSpec, tier: str) -> str:
    """Return the accent of a tier: the worst one of a ladder always has the same."""
    names = [known.name for known in reversed(policy.tiers)]
    return _ACCENTS[min(names.index(tier), len(_ACCENTS) - 1)] if tier in names else "none"


def beyond(case: Case) -> tuple[str, ...]:
    """Return how lines begin that tell of readings beyond a threshold: ``psi = ``."""
    crossed = {trigger.indicator for tier in case.policy.tiers for trigger in tier.triggers if _crosses(case, trigger)}
    return tuple(f"{name} = " for name in sorted(crossed))


def _crosses(case: Case, trigger: Trigger) -> bool:
    signals = (case.spec.signal, *(intent.signal for intent in case.intents if intent.signal is not None))
    values = [r.value for signal in signals for r in signal.readings if r.indicator == trigger.indicator]
    above, below = trigger.above, trigger.below
    return any((above is not None and v > above) or (below is not None and v < below) for v in values)


@dataclass(frozen=True, slots=True)
class RungDrawn:
    """One tier of the ladder as it is drawn."""

    name: str
    state: str
    """``now``, ``past`` or ``ahead``."""
    accent: str
    entered: datetime | None = None
    note: str = ""


def rungs(case: Case, timeline: Timeline | None) -> tuple[RungDrawn, ...]:
    """Return the tiers from the worst one down to the baseline, with where it stands and has stood."""
    entered: dict[str, datetime] = {}
    for step in episodes(timeline)[-1].steps if timeline is not None else ():
        name = step.detail.get("tier")
        if name and "decision" not in step.detail and step.at is not None and name not in entered:
            entered[name] = step.at
    found = []
    for tier in reversed(case.policy.tiers):
        is_now = tier.name == case.tier
        at = case.rung.entered_at if is_now and case.rung is not None else entered.get(tier.name)
        state = "now" if is_now and case.is_open else "past" if at is not None else "ahead"
        waves: dict[timedelta, list[str]] = {}
        for one in tier.notify:
            waves.setdefault(one.after.delta, []).append(one.role)
        told = ", then ".join(listed(dict.fromkeys(waves[after])) for after in sorted(waves))
        found.append(RungDrawn(tier.name, state, accent(case.policy, tier.name), at, told))
    found.append(RungDrawn("baseline", "past" if case.is_open else "now", "none"))
    return tuple(found)


def newest(timeline: Timeline) -> list[Step]:
    """Return what has happened, the newest first; who was notified of the same over the same channel is one step."""
    found: list[Step] = []
    for step in timeline.steps:
        last = found[-1] if found else None
        if last is not None and _same_message(last, step):
            roles = [*last.detail.get("role", "").replace(" and ", ", ").split(", "), step.detail.get("role", "")]
            together = listed(dict.fromkeys(roles))
            found[-1] = replace(
                last, detail={**last.detail, "role": together}, verified=last.verified and step.verified
            )
        else:
            found.append(step)
    return found[::-1]


def _same_message(one: Step, other: Step) -> bool:
    if one.event != Reason.NOTIFIED or other.event != Reason.NOTIFIED:
        return False
    return all(one.detail.get(name) == other.detail.get(name) for name in ("about", "channel"))


@dataclass(frozen=True, slots=True)
class RoleShown:
    """A role and how far it got."""

    role: str
    state: str
    """``answered``, ``asked``, ``notified``, ``failed``, ``later`` or ``none``."""
    who: str = ""
    at: datetime | None = None
    is_mine: bool = False


def roles(case: Case, held: Iterable[str]) -> tuple[RoleShown, ...]:
    """Return what is known of each role on this rung: who has answered, who is waited for, who hears of it later.

    Args:
        case: The escalation.
        held: The roles in which the visitor may act.
    """
    mine = set(held)
    return tuple(_role(case, role, is_mine=role in mine) for role in case.roles)


def _role(case: Case, role: str, *, is_mine: bool) -> RoleShown:
    counted = [
        d
        for d in case.status.decisions
        if d.counted and d.rung == case.number and d.role == role and d.action is not DecisionAction.COMMENT
    ]
    if counted:
        last = counted[-1]
        return RoleShown(role, "answered", f"{last.by}: {last.action}", last.at, is_mine)
    sent = [n for n in case.status.notifications if n.role == role]
    done = [n.done_at or n.at for n in sent if n.state is NotificationState.DELIVERED]
    if role in case.status.waiting_on and case.is_open:
        return RoleShown(role, "asked", "", min(done, default=None), is_mine)
    if done:
        return RoleShown(role, "notified", "", min(done), is_mine)
    if any(n.state is NotificationState.FAILED for n in sent):
        return RoleShown(role, "failed", "", None, is_mine)
    planned = next((n for n in (case.pinned.notify if case.pinned else ()) if n.role == role), None)
    if planned is not None and case.rung is not None and case.is_open:
        return RoleShown(role, "later", "", case.rung.entered_at + planned.after.delta, is_mine)
    return RoleShown(role, "none", "", None, is_mine)


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that the visitor may do, with what it will do."""

    key: str
    action: DecisionAction
    title: str
    hint: str
    roles: tuple[str, ...]
    fields: Mapping[str, str]
    """Set already, whatever is typed."""
    effect: str
    doubts: tuple[str, ...]
    limit: str = ""
    """The longest time for which a risk can be accepted."""
    is_stop: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields that are asked for."""
        asked = {DecisionAction.ACCEPT_RISK: ("until",), DecisionAction.REVIEW: ("review",)}
        return asked.get(self.action, ())


def options(case: Case, choices: Sequence[Choice], me: DecidedBy, now: datetime) -> tuple[Option, ...]:
    """Return the choices, those that differ by the role only as one."""
    together: dict[tuple[DecisionAction, tuple[tuple[str, str], ...], str], list[Choice]] = {}
    for choice in choices:
        together.setdefault((choice.action, choice.fields, choice.what), []).append(choice)
    return tuple(_option(case, found, me, now) for found in together.values())


def _option(case: Case, found: Sequence[Choice], me: DecidedBy, now: datetime) -> Option:
    first = found[0]
    title, _, hint = first.what.partition(": ")
    given = dict(first.fields)
    preview = _preview(case, first, me, now)
    asked = {"until"} if first.action is DecisionAction.ACCEPT_RISK else set()
    asked |= {"policyUpdated", "satisfaction", "lessons"} if first.action is DecisionAction.REVIEW else set()
    return Option(
        key="-".join([first.action.verb, *(v for k, v in first.fields if k not in asked)]).lower(),
        action=first.action,
        title=title[:1].upper() + title[1:],
        hint=hint,
        roles=tuple(choice.role for choice in found),
        fields={name: value for name, value in given.items() if name not in asked},
        effect=preview.sentence,
        doubts=preview.doubts,
        limit=given.get("until", "") if first.action is DecisionAction.ACCEPT_RISK else "",
        is_stop=first.action is DecisionAction.CONTAIN,
    )


def _preview(case: Case, choice: Choice, me: DecidedBy, now: datetime) -> Preview:
    try:
        spec = drafted(case.name, choice.action, choice.role, "…", dict(choice.fields), me, now)
    except Unfit:  # what has still to be typed
        return Preview("")
    return preview_decision(case, spec, me, now)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The next deadline, as it is drawn."""

    demand: Demand
    passed: int
    """Percent of the time that has passed since the rung was entered."""


def deadline(case: Case, now: datetime) -> Deadline | None:
    """Return what is asked for next, with how much of the time is gone."""
    asked = [demand for demand in case.demands(now) if not demand.is_duty]
    if not asked or case.rung is None:
        return None
    whole = max(asked[0].by - case.rung.entered_at, timedelta(seconds=1))
    gone = round(100 * ((now - case.rung.entered_at) / whole))
    return Deadline(asked[0], min(max(gone, 0), 100))
