"""What the gauges of governance show of closed escalations: how they ended, and for a while how long they took.

There may be many thousands, so the sums are kept up to date with each of them, and never made anew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from riskladder.api.conditions import find
from riskladder.api.reasons import ConditionType
from riskladder.controller.caches.endpoints import Name
from riskladder.policy.response_times import ResponseTime, response_times
from riskladder.policy.snapshot import Escalation

RECENT = timedelta(hours=1)
"""For how long after its close an escalation shows how long it took: no scrape comes less often."""

MAX_RECENT = 1_000
"""Closed escalations of which that is kept, those closed last."""


class Outcome(NamedTuple):
    """How an escalation ended."""

    namespace: str
    ladder: str
    reason: str
    """Of its condition Closed, for example Remediated, Cleared or DrillExpired."""
    reviewed: bool
    drill: bool


class Reviewed(NamedTuple):
    """What a review says."""

    namespace: str
    ladder: str
    satisfaction: int
    """From 1 to 5."""
    policy_updated: bool


class Recent(NamedTuple):
    """An escalation that was closed not long ago."""

    namespace: str
    name: str
    ladder: str
    drill: bool
    closed_at: datetime
    times: tuple[ResponseTime, ...]


class Acceptance(NamedTuple):
    """A risk that is accepted until a date, in an escalation that is closed."""

    namespace: str
    ladder: str
    target: str
    """Kind and name, for example Deployment/scorer."""
    tier: str
    until: datetime


class OutcomeCache:
    """Every closed escalation that is stored, summed up."""

    def __init__(self) -> None:
        """Start empty."""
        self.ended: Counter[Outcome] = Counter()
        """How many ended so."""
        self.reviews: Counter[Reviewed] = Counter()
        """How many reviews say so."""
        self._counted: dict[str, tuple[Outcome, Reviewed | None]] = {}
        """By uid: what was counted of it."""
        self._drills: defaultdict[Name, dict[str, datetime]] = defaultdict(dict)
        """By ladder and uid: when a drill ended."""
        self._recent: dict[str, Recent] = {}

    def put(self, escalation: Escalation) -> None:
        """Take in an escalation, if it is closed."""
        status, drill = escalation.status, escalation.spec.drill
        closed = find(status.conditions, ConditionType.CLOSED)
        if closed is None or escalation.is_open:
            return
        uid, ladder = escalation.uid, (escalation.namespace, escalation.spec.ladder.name)
        at, review = status.closed_at or closed.last_transition_time, status.review
        self._count(
            uid,
            Outcome(*ladder, closed.reason, review is not None, drill),
            Reviewed(*ladder, review.satisfaction, review.policy_updated) if review is not None else None,
        )
        if drill:
            self._drills[ladder][uid] = at
        if at >= datetime.now(UTC) - RECENT:
            times = tuple(response_times(escalation))
            self._recent[uid] = Recent(escalation.namespace, escalation.name, ladder[1], drill, at, times)
            if len(self._recent) > MAX_RECENT:
                del self._recent[min(self._recent, key=lambda uid: self._recent[uid].closed_at)]

    def drop(self, uid: str) -> None:
        """Forget an escalation that was deleted; for a while it still shows how long it took."""
        outcome, _ = self._counted.get(uid, (None, None))
        if outcome is not None and outcome.drill:
            ladder = (outcome.namespace, outcome.ladder)
            self._drills[ladder].pop(uid, None)
            if not self._drills[ladder]:
                del self._drills[ladder]
        self._count(uid, None, None)

    def _count(self, uid: str, outcome: Outcome | None, review: Reviewed | None) -> None:
        """Count one in the place of what was counted of it before."""
        before, review_before = self._counted.pop(uid, (None, None))
        if before is not None:
            self.ended -= Counter({before: 1})
        if review_before is not None:
            self.reviews -= Counter({review_before: 1})
        if outcome is not None:
            self.ended[outcome] += 1
            self._counted[uid] = (outcome, review)
        if review is not None:
            self.reviews[review] += 1

    def last_drills(self) -> Mapping[Name, datetime]:
        """Return by ladder when its last drill ended."""
        return {ladder: max(ends.values()) for ladder, ends in self._drills.items()}

    def recent(self, now: datetime) -> list[Recent]:
        """Return those that were closed not long before a time in UTC, and forget the others."""
        self._recent = {uid: one for uid, one in self._recent.items() if one.closed_at >= now - RECENT}
        return list(self._recent.values())
