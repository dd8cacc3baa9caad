"""What the reader of a message can do: each act with who may take it and the exact command.

Whether one will count is decided when it is taken: the escalation may have moved on since the message was queued.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import ClockStatus
from riskladder.api.notification import Notification
from riskladder.api.reasons import Reason
from riskladder.api.tiers import ContainmentWhen, TimeoutAction
from riskladder.policy.decisions.standing import (
    COMMANDS,
    JOINT,
    Possible,
    Standing,
    command_of,
    is_for,
    may_sit,
    possible,
    seats,
    who_may,
)
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Escalation

CONTAINED = frozenset(
    {
        Reason.CONTAINMENT_INTENDED,
        Reason.CONTAINMENT_APPLIED,
        Reason.CONTAINMENT_IMPOSSIBLE,
        Reason.CONTAINMENT_LATE,
        Reason.CONTAINMENT_INEFFECTIVE,
        Reason.CONTAINMENT_REVERTED,
        Reason.CONTAINMENT_REAPPLIED,
        Reason.CONTAINED_MANUALLY,
        Reason.INTERIM_CONTAINMENT,
        Reason.SCALED_TO_ZERO,
        Reason.ROLLED_BACK,
        Reason.FELL_BACK,
        Reason.ISOLATED,
        Reason.ALREADY_AT_ZERO,
        Reason.BREACHED_AGAIN,
    }
)
"""The reasons of messages that say the model is held, whatever its tier says."""


AFTER_A_RESUME = (DecisionAction.CONTAIN, DecisionAction.CLOSE)
"""What is left to be decided once the model is resumed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One act that a message offers."""

    what: str
    who: str
    command: str


def offers(
    escalation: Escalation, notification: Notification, *, is_over: bool, is_acknowledged: bool
) -> Iterator[Offer]:
    """Yield what a message offers, from what was so when it was queued, and not from what was decided since.

    Args:
        escalation: The escalation.
        notification: The message, as it was queued.
        is_over: Whether the message says that nobody is waited for any more.
        is_acknowledged: Whether the message says that somebody has taken it.
    """
    standing, name, namespace = _standing(escalation, notification), escalation.name, escalation.namespace
    for found in possible(standing) if not is_over or notification.about == Reason.RESUMED else ():
        if (is_over and found.action not in AFTER_A_RESUME) or _is_objected_to(standing, found):
            continue
        is_taken = found.action is DecisionAction.ACKNOWLEDGE and is_acknowledged
        is_news = found.action is not DecisionAction.COMMENT or bool(found.arguments)
        if is_news and not is_taken and is_for(standing, notification.role, found):
            yield _offer(namespace, name, standing, notification.role, found)
    yield Offer("See all of it", "anyone who may read escalations", command_of("show", namespace, name))


def _standing(escalation: Escalation, notification: Notification) -> Standing:
    """Return where the escalation stood for the reader when the message was queued."""
    current = [intent for intent in escalation.saved if intent.id > escalation.ended_intent]
    intents = tuple(intent for intent in current if intent.intended_at <= notification.at)
    is_contained = not escalation.spec.drill and (bool(intents) or _is_contained(escalation, notification))
    return Standing(
        spec=escalation.spec,
        tier_name=notification.tier,
        rung=notification.rung,
        decisions=tuple(d for d in escalation.status.decisions if d.at <= notification.at),
        clocks=tuple(clock for clock in escalation.status.clocks if _was_running(clock, notification.at)),
        intents=intents if is_contained else (),
        is_open=True,
        is_contained=is_contained,
        is_restoring=notification.about == Reason.RESUMED and _has_steps(escalation),
    )


def _is_objected_to(standing: Standing, found: Possible) -> bool:
    """Return whether an objection stood in the way of an act: of a close where that lets the model go."""
    blocked = found.action in (DecisionAction.ACCEPT_RISK, DecisionAction.RESUME)
    lets_go = found.action is DecisionAction.CLOSE and standing.is_contained
    return bool(standing.objections()) and (blocked or lets_go)


def _has_steps(escalation: Escalation) -> bool:
    """Return whether the model comes back step by step, so that the close has to wait."""
    resume = escalation.status.resume
    return resume is not None and len(resume.steps) > 1


def _was_running(clock: ClockStatus, at: datetime) -> bool:
    return clock.started_at <= at and (clock.met_at is None or clock.met_at > at)


def _is_contained(escalation: Escalation, notification: Notification) -> bool:
    """Return whether it was about to be, where no intent says so any more."""
    if notification.about == Reason.RESUMED or _is_withheld(escalation, notification):
        return False
    manual = escalation.signal_at(notification.at).manual
    if notification.about in CONTAINED or (manual is not None and manual.containment is not None):
        return True
    decided = (d for d in escalation.status.decisions if d.counted and d.action is DecisionAction.CONTAIN)
    if any(d.rung == notification.rung and d.at <= notification.at for d in decided):
        return True
    tier = tier_of(escalation.spec.policy, notification.tier)
    containment = tier.containment if tier is not None else None
    if containment is None or tier is None:
        return False
    rung = escalation.status.rung
    is_stalled = (
        rung is not None
        and rung.number == notification.rung
        and rung.stalled_at is not None
        and rung.stalled_at <= notification.at
    )
    return containment.when is ContainmentWhen.IMMEDIATELY or (is_stalled and tier.on_timeout is TimeoutAction.CONTAIN)


def _is_withheld(escalation: Escalation, notification: Notification) -> bool:
    """Return whether the containment waited for people when the message was queued, because of the blast radius."""
    waiting = escalation.status.withheld
    if waiting is None or notification.at < waiting.since or notification.about in CONTAINED:
        return False
    return waiting.ended_at is None or notification.at < waiting.ended_at


def _offer(namespace: str, name: str, standing: Standing, role: str, found: Possible) -> Offer:
    what = found.effect[:1].upper() + found.effect[1:]
    who = who_may(standing, found, [role])
    if found.action in JOINT and not may_sit(standing, found.action, role):
        role = seats(standing, found.action)[0].role
    command = command_of(COMMANDS[found.action], namespace, name, role=role, arguments=found.arguments)
    return Offer(what, who, command)
