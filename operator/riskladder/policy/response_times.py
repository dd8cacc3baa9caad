"""How long people, and what waited for them, took under one escalation, as far as its status says so.

The status speaks of the rung that the escalation stands on: what an earlier rung took is in the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from riskladder.api.decision import DecisionAction
from riskladder.api.notification import NotificationState
from riskladder.policy.quorum import VOTES
from riskladder.policy.snapshot import Escalation


class ResponseTime(NamedTuple):
    """How long one stage took."""

    tier: str
    stage: str
    """``notify``, ``acknowledge``, ``decide``, ``contain`` or ``resume``."""
    role: str
    """Who; empty for all together, or where nobody is waited for."""
    seconds: float


def response_times(escalation: Escalation) -> Iterator[ResponseTime]:
    """Yield what the stages took that are over.

    ``notify`` counts from queueing a message of the rung to its delivery to the role, the quickest where there are
    several. ``acknowledge`` and ``decide`` count from entering the rung: to the first answer of each role, to its first
    vote, and to the quorum. ``contain`` counts from the intent to the proof, ``resume`` from the quorum to the last
    step.
    """
    status = escalation.status
    if (rung := status.rung) is not None:
        notified: dict[str, float] = {}
        for message in status.notifications:
            if message.rung == rung.number and message.state is NotificationState.DELIVERED and message.done_at:
                seconds = (message.done_at - message.at).total_seconds()
                notified[message.role] = min(seconds, notified.get(message.role, seconds))
        for role, seconds in sorted(notified.items()):
            yield ResponseTime(rung.tier, "notify", role, max(seconds, 0.0))
        answered: dict[tuple[str, str], datetime] = {}
        for decision in status.decisions:
            if not decision.counted or decision.rung != rung.number or decision.action is DecisionAction.COMMENT:
                continue
            for stage in ("acknowledge", "decide")[: 1 + (decision.action in VOTES)]:
                answered[stage, decision.role] = min(decision.at, answered.get((stage, decision.role), decision.at))
        decided = rung.decided_at or (status.closed_at if status.resolution is not None else None)
        if decided is not None:
            answered["decide", ""] = decided
        for (stage, role), at in sorted(answered.items()):
            yield _time(rung.tier, stage, role, rung.entered_at, at)
    for containment in status.containments:
        if containment.pods_gone_at is not None:
            intent = containment.intent
            yield _time(intent.tier, "contain", "", intent.intended_at, containment.pods_gone_at)
    if (resume := status.resume) is not None and resume.applied_at is not None:
        yield _time(resume.tier or status.tier or "unknown", "resume", "", resume.at, resume.applied_at)


def _time(tier: str, stage: str, role: str, since: datetime, until: datetime) -> ResponseTime:
    return ResponseTime(tier, stage, role, max((until - since).total_seconds(), 0.0))
