"""Gauges of people and duties: what is stored, as the leader shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from riskladder.api.escalation import ClockStatus, ReviewStatus
from riskladder.api.ladder import EscalationLadderStatus as LadderStatus
from riskladder.controller import governance_gauges
from riskladder.controller.caches.entries import LadderEntry
from riskladder.controller.caches.outcomes import Acceptance, Outcome, OutcomeCache, Reviewed
from riskladder.controller.governance_gauges import GovernanceGauges, Stored
from riskladder.controller.metrics import Metrics
from riskladder.policy.ladders import update_ladder
from riskladder.policy.snapshot import Escalation
from tests.unit.builders import NAMESPACE, NOW, Document, Scene, at, contained, ladder, signal

ABOUT = {"namespace": NAMESPACE, "ladder": "credit"}
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def stored(*escalations: Escalation, acceptances: Sequence[Acceptance] = ()) -> Stored:
    """What an operator has that has just listed these."""
    outcomes = OutcomeCache()
    for escalation in escalations:
        outcomes.put(escalation)
    return Stored((), [e for e in escalations if e.is_open], outcomes, acceptances)


async def shown(stored: Stored, now: datetime, gauges: GovernanceGauges | None = None) -> Found:
    gauges = gauges or GovernanceGauges(CollectorRegistry())
    await gauges.refresh(stored, now)
    families = text_string_to_metric_families(gauges.text().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Found, name: str, **labels: str) -> float | None:
    """The one sample that has these labels; none, if there is none."""
    matching = [v for (n, have), v in found.items() if n == name and set(labels.items()) <= have]
    assert len(matching) <= 1, f"{name} {labels}: {matching}"
    return matching[0] if matching else None


def breached(*, now: datetime = NOW, **arguments: Any) -> Scene:
    """An escalation of tier moderate, which nobody has answered."""
    scene = Scene([signal(drift=0.3, at=now)], now=now, **arguments)
    scene.run()
    return scene


async def test_deadlines_stand_until_somebody_acts() -> None:
    scene = breached()
    name = {**ABOUT, "escalation": scene.escalation.name, "tier": "moderate", "drill": "false"}
    deadline = "riskladder_escalation_deadline_timestamp_seconds"
    found = await shown(stored(scene.escalation), scene.now)
    assert value(found, deadline, **name, stage="acknowledge") == at(30).timestamp()
    assert value(found, deadline, **name, stage="decide") == at(24 * 60).timestamp()
    assert value(found, "riskladder_escalation_state", **name, state="Open", target="Deployment/scorer") == 1
    scene.now = at(7)
    scene.decide("Acknowledge", "legal")
    found = await shown(stored(scene.escalation), scene.now)
    assert value(found, deadline, **name, stage="acknowledge") is None
    assert value(found, deadline, **name, stage="decide") == at(24 * 60).timestamp()
    response = "riskladder_escalation_response_seconds"
    assert value(found, response, **name, stage="acknowledge", role="legal") == 7 * 60
    assert value(found, response, **name, stage="decide") is None


async def test_contained_and_resumed_model_shows_each_stage_once() -> None:
    scene = contained()
    since = scene.escalation.status.rung
    assert since is not None
    scene.now = since.entered_at + timedelta(minutes=20)
    scene.decide("Acknowledge", "model-risk")
    scene.now += timedelta(minutes=10)
    scene.decide("Resume", "legal")
    response, name = "riskladder_escalation_response_seconds", {"escalation": scene.escalation.name, "tier": "high"}
    found = await shown(stored(scene.escalation), scene.now)
    assert value(found, response, **name, stage="acknowledge", role="model-risk") == 1200
    assert value(found, response, **name, stage="acknowledge", role="legal") == 1800
    assert value(found, response, **name, stage="decide", role="legal") == 1800
    assert value(found, response, **name, stage="decide", role="") == 1800
    assert value(found, response, **name, stage="contain", role="") is not None
    assert value(found, response, **name, stage="resume", role="") is not None
    assert value(found, "riskladder_escalation_deadline_timestamp_seconds", **name) is None


async def test_what_a_rung_took_outlasts_it_for_an_hour() -> None:
    """A scrape that comes a minute after the next rung was entered still sees it."""
    scene, gauges = breached(), GovernanceGauges(CollectorRegistry())
    scene.now = at(5)
    scene.decide("Acknowledge", "legal")
    await shown(stored(scene.escalation), scene.now, gauges)
    scene.decide("Escalate", "model-risk", tier="high")
    acknowledged = {"stage": "acknowledge", "tier": "moderate", "role": "legal"}
    for minutes, expected in ((6, 300), (64, 300), (66, None)):
        found = await shown(stored(scene.escalation), at(minutes), gauges)
        assert value(found, "riskladder_escalation_response_seconds", **acknowledged) == expected
    gauges.clear()
    assert gauges.text() == b""


def closed(closed_at: datetime, **decision: Any) -> Scene:
    """An escalation that people have closed."""
    scene = breached(now=closed_at - timedelta(minutes=10))
    scene.now = closed_at
    scene.decide("Close", "model-risk", resolution="Remediated")
    assert not scene.escalation.is_open
    return scene


async def test_closed_escalation_is_counted_for_ever_and_timed_for_an_hour_also_after_a_restart() -> None:
    now = datetime.now(UTC)
    counted = {**ABOUT, "reason": "Remediated", "reviewed": "false", "drill": "false"}
    for ago, is_timed in ((timedelta(minutes=5), True), (timedelta(hours=2), False)):
        scene = closed(now - ago)
        found = await shown(stored(scene.escalation), now)
        assert value(found, "riskladder_closed_escalations", **counted) == 1
        times = [key for key in found if key[0] == "riskladder_escalation_response_seconds"]
        assert bool(times) is is_timed
        assert value(found, "riskladder_escalation_state", escalation=scene.escalation.name) is None


def test_sums_follow_what_is_reviewed_and_deleted() -> None:
    scene, cache = closed(NOW), OutcomeCache()
    cache.put(scene.escalation)
    ended = Outcome(NAMESPACE, "credit", "Remediated", reviewed=False, drill=False)
    assert dict(cache.ended) == {ended: 1}
    review = ReviewStatus(by="ann", at=NOW, policy_updated=True, satisfaction=4)
    reviewed = replace(scene.escalation, status=scene.escalation.status.model_copy(update={"review": review}))
    for _ in range(2):
        cache.put(reviewed)
        assert dict(cache.ended) == {ended._replace(reviewed=True): 1}
        assert dict(cache.reviews) == {Reviewed(NAMESPACE, "credit", 4, policy_updated=True): 1}
    drill = replace(reviewed, uid="drill", spec=reviewed.spec.model_copy(update={"drill": True}))
    cache.put(drill)
    assert cache.last_drills() == {(NAMESPACE, "credit"): NOW}
    for uid in (reviewed.uid, "drill", "never-seen"):
        cache.drop(uid)
    assert not cache.ended
    assert not cache.reviews
    assert not cache.last_drills()


async def test_acceptance_shows_its_end_open_or_closed_and_goes_with_it() -> None:
    def acceptable(spec: Document) -> None:
        spec["tiers"][0]["acceptRisk"] = {"atMost": "30d"}

    scene = breached(ladders=[ladder(acceptable)])
    until = at(60 * 24 * 3)
    scene.decide("AcceptRisk", "model-risk", until=until)
    metric, about = "riskladder_risk_acceptance_until_timestamp_seconds", {**ABOUT, "target": "Deployment/scorer"}
    found = await shown(stored(scene.escalation), scene.now)
    assert value(found, metric, **about, tier="moderate") == until.timestamp()
    assert value(found, "riskladder_escalation_deadline_timestamp_seconds") is None
    kept = Acceptance(NAMESPACE, "credit", "Deployment/scorer", "moderate", until)
    assert value(await shown(stored(acceptances=[kept]), at(1)), metric, **about) == until.timestamp()
    assert value(await shown(stored(acceptances=[kept]), until), metric) is None


async def test_duty_shows_when_it_is_due_until_it_is_met() -> None:
    escalation = breached().escalation
    duty = ClockStatus(name="authority", role="legal", started_at=NOW, due_at=at(72 * 60))
    metric, labels = "riskladder_clock_due_timestamp_seconds", {"clock": "authority", "role": "legal"}
    for met, expected in ((None, at(72 * 60).timestamp()), (at(60), None)):
        clock = duty.model_copy(update={"met_at": met})
        status = escalation.status.model_copy(update={"clocks": (clock,)})
        found = await shown(stored(replace(escalation, status=status)), NOW)
        assert value(found, metric, **labels) == expected


async def test_conditions_of_a_ladder_are_shown_as_they_stand() -> None:
    found_ladder = ladder()
    update, _ = update_ladder(
        found_ladder,
        LadderStatus(),
        created=NOW,
        open_escalations=0,
        missing=["patch deployments.apps in namespace models"],
        now=NOW,
    )
    entry = LadderEntry(found_ladder, update.status, NOW, 1)
    found = await shown(Stored([entry], [], OutcomeCache(), []), NOW)
    ready = {**ABOUT, "condition": "Ready", "status": "False", "reason": "PermissionMissing"}
    assert value(found, "riskladder_ladder_condition", **ready) == 1
    assert value(found, "riskladder_ladder_condition", **ABOUT, condition="Ready", status="True") is None


async def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance_gauges, "MAX_SERIES", 2)
    metrics = Metrics()
    await metrics.governance.refresh(stored(breached().escalation), NOW)
    assert len([line for line in metrics.text().splitlines() if not line.startswith(b"#")]) == 2
    assert b"riskladder_governance_series_not_exported 1.0" in generate_latest(metrics.registry)
    metrics.stand_by()
    assert metrics.text() == b""
    assert b"riskladder_governance_series_not_exported 0.0" in generate_latest(metrics.registry)
