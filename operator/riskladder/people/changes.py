"""What has happened since somebody looked, as far as it matters to a decision. Pure."""

from __future__ import annotations

from riskladder.api.reasons import Reason
from riskladder.people.timeline import Step, Timeline

NEUTRAL = frozenset(
    {
        Reason.NOTIFIED,
        Reason.REMINDED,
        Reason.ALTERNATES_NOTIFIED,
        Reason.NOTIFICATION_FAILED,
        Reason.CLOCK_REMINDED,
        Reason.COMMENTED,
        Reason.DECISION_REFUSED,
    }
)
"""What changes nothing that a decision rests on: who was reached, and what did not count."""


def since(timeline: Timeline, sequence: int) -> tuple[Step, ...]:
    """Return what happened after a record, and could change somebody's mind."""
    return tuple(step for step in timeline.steps if step.sequence > sequence and step.event not in NEUTRAL)
