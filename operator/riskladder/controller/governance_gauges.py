"""Gauges of how people and their duties stand, made from what is stored and from nothing else.

So a restart loses nothing, a standby that takes over shows the same, and since the leader alone shows them, a sum over
replicas counts nothing twice. A duration has a series for each escalation, and stays for an hour after its last change:
an average over time is one over escalations, each of which counts once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Gauge

from riskladder.controller.caches.entries import LadderEntry
from riskladder.controller.caches.outcomes import RECENT, Acceptance, OutcomeCache
from riskladder.controller.rendered_gauge import SLICE, RenderedGauge
from riskladder.policy.response_times import ResponseTime, response_times
from riskladder.policy.snapshot import Escalation

log = structlog.get_logger(__name__)

MAX_SERIES = 20_000
"""Series that are exported of all gauges together."""

ABOUT = ("namespace", "ladder", "escalation")

Values = tuple[str, ...]
Sample = tuple[RenderedGauge, Values, float]


class Stored(NamedTuple):
    """What the gauges are made from."""

    ladders: Collection[LadderEntry]
    open: Sequence[Escalation]
    outcomes: OutcomeCache
    acceptances: Sequence[Acceptance]


class GovernanceGauges:
    """The gauges, and how many series they lack."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register everything."""
        self.conditions = RenderedGauge(
            "riskladder_ladder_condition",
            "Conditions of ladders: 1 for how each stands.",
            ["namespace", "ladder", "condition", "status", "reason"],
            registry,
        )
        self.state = RenderedGauge(
            "riskladder_escalation_state",
            "Open escalations: 1 for where each stands.",
            [*ABOUT, "target", "tier", "state", "drill"],
            registry,
        )
        self.deadline = RenderedGauge(
            "riskladder_escalation_deadline_timestamp_seconds",
            "By when somebody has to acknowledge, or people have to decide, as long as they have not.",
            [*ABOUT, "tier", "stage", "drill"],
            registry,
        )
        self.clock = RenderedGauge(
            "riskladder_clock_due_timestamp_seconds",
            "By when a duty of an open escalation is due, as long as it is not met.",
            [*ABOUT, "clock", "role", "drill"],
            registry,
        )
        self.acceptance = RenderedGauge(
            "riskladder_risk_acceptance_until_timestamp_seconds",
            "Until when the risk of a target is accepted.",
            ["namespace", "ladder", "target", "tier"],
            registry,
        )
        self.response = RenderedGauge(
            "riskladder_escalation_response_seconds",
            "How long each stage of an escalation took, once it is over.",
            [*ABOUT, "tier", "stage", "role", "drill"],
            registry,
        )
        self.closed = RenderedGauge(
            "riskladder_closed_escalations",
            "Closed escalations that are stored, by how they ended and whether they were reviewed.",
            ["namespace", "ladder", "reason", "reviewed", "drill"],
            registry,
        )
        self.reviews = RenderedGauge(
            "riskladder_stored_reviews",
            "Reviews of closed escalations that are stored, by satisfaction and whether the policy is changed.",
            ["namespace", "ladder", "satisfaction", "policy_updated"],
            registry,
        )
        self.last_drill = RenderedGauge(
            "riskladder_last_drill_timestamp_seconds",
            "When the last drill of a ladder ended, of those that are stored.",
            ["namespace", "ladder"],
            registry,
        )
        self.not_exported = Gauge(
            "riskladder_governance_series_not_exported",
            "Series of escalations and ladders that are not shown, since there are too many.",
            registry=registry,
        )
        self._seen: dict[Values, tuple[float, datetime]] = {}
        """Durations, and when each was found last."""
        self._left_out = 0
        self._text = b""

    def text(self) -> bytes:
        """Return what a scrape shows, as of the last refresh."""
        return self._text

    def clear(self) -> None:
        """Show nothing: another replica leads."""
        self._seen, self._text = {}, b""
        self.not_exported.set(0)

    async def refresh(self, stored: Stored, now: datetime) -> None:
        """Show how all stands now.

        Args:
            stored: What the API server has.
            now: Current time, UTC.
        """
        texts: defaultdict[RenderedGauge, bytearray] = defaultdict(bytearray)
        number = 0
        for number, (gauge, values, value) in enumerate(self._samples(stored, now), start=1):
            if number <= MAX_SERIES:
                gauge.add(texts[gauge], values, value)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._say_left_out(max(number - MAX_SERIES, 0))
        self._text = b"".join(texts.values())

    def _say_left_out(self, number: int) -> None:
        if number and not self._left_out:
            log.warning("governance not exported", not_exported=number, reason=f"{MAX_SERIES} series")
        self._left_out = number
        self.not_exported.set(number)

    def _samples(self, stored: Stored, now: datetime) -> Iterator[Sample]:
        """Yield every sample, what matters most first: at the end there may be no room."""
        yield from self._of_ladders(stored)
        for escalation in stored.open:
            yield from self._of_open(escalation, now)
        yield from self._acceptances(stored, now)
        yield from self._durations(stored, now)

    def _of_ladders(self, stored: Stored) -> Iterator[Sample]:
        for entry in stored.ladders:
            about = (entry.ladder.namespace, entry.ladder.name)
            for one in entry.status.conditions:
                yield self.conditions, (*about, one.type, str(one.status), one.reason), 1
        for ended, number in list(stored.outcomes.ended.items()):
            reviewed, drill = _flag(ended.reviewed), _flag(ended.drill)
            yield self.closed, (ended.namespace, ended.ladder, ended.reason, reviewed, drill), number
        for review, number in list(stored.outcomes.reviews.items()):
            said = (str(review.satisfaction), _flag(review.policy_updated))
            yield self.reviews, (review.namespace, review.ladder, *said), number
        for ladder, at in stored.outcomes.last_drills().items():
            yield self.last_drill, ladder, at.timestamp()

    def _of_open(self, escalation: Escalation, now: datetime) -> Iterator[Sample]:
        status, drill = escalation.status, _flag(escalation.spec.drill)
        about = (escalation.namespace, escalation.spec.ladder.name, escalation.name)
        tier, state = status.tier or "unknown", str(status.state or "unknown")
        yield self.state, (*about, _target(escalation), tier, state, drill), 1
        times = tuple(response_times(escalation))
        self._note(about, escalation.spec.drill, times, now)
        rung, accepted = status.rung, status.risk_acceptance
        is_accepted = accepted is not None and now < accepted.until
        if rung is not None and rung.decided_at is None and not is_accepted:
            is_answered = any(time.stage == "acknowledge" for time in times)
            if rung.acknowledge_by is not None and not is_answered:
                yield self.deadline, (*about, rung.tier, "acknowledge", drill), rung.acknowledge_by.timestamp()
            if rung.decide_by is not None:
                yield self.deadline, (*about, rung.tier, "decide", drill), rung.decide_by.timestamp()
        for clock in status.clocks:
            if clock.met_at is None:
                yield self.clock, (*about, clock.name, clock.role, drill), clock.due_at.timestamp()

    def _acceptances(self, stored: Stored, now: datetime) -> Iterator[Sample]:
        found: dict[Values, tuple[str, datetime]] = {
            (one.namespace, one.ladder, one.target): (one.tier, one.until) for one in stored.acceptances
        }
        for escalation in stored.open:
            if (accepted := escalation.status.risk_acceptance) is not None and not escalation.spec.drill:
                key = (escalation.namespace, escalation.spec.ladder.name, _target(escalation))
                found[key] = (accepted.tier, accepted.until)
        for (namespace, ladder, target), (tier, until) in found.items():
            if now < until:
                yield self.acceptance, (namespace, ladder, target, tier), until.timestamp()

    def _durations(self, stored: Stored, now: datetime) -> Iterator[Sample]:
        for one in stored.outcomes.recent(now):
            self._note((one.namespace, one.ladder, one.name), one.drill, one.times, now)
        self._seen = {values: found for values, found in self._seen.items() if found[1] >= now - RECENT}
        for values, (seconds, _) in list(self._seen.items()):
            yield self.response, values, seconds

    def _note(self, about: Values, drill: bool, times: Sequence[ResponseTime], now: datetime) -> None:
        for time in times:
            self._seen[*about, time.tier, time.stage, time.role, _flag(drill)] = (time.seconds, now)


def _target(escalation: Escalation) -> str:
    return f"{escalation.spec.target.kind}/{escalation.spec.target.name}"


def _flag(value: bool) -> str:
    return str(value).lower()
