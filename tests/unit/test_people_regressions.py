"""Bugs that random decision scenarios have found, each as a plain example."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import yaml

from riskladder.api.labels import LABEL_TIER
from riskladder.api.reasons import ConditionType, Reason
from tests.unit.builders import Document, at, edited, ladder
from tests.unit.decision_scenario import DecisionScenario

LADDER = yaml.safe_load("""
charter: {owner: risk}
governs: {selector: {matchLabels: {ladder: credit}}}
stakeholders:
- {role: risk, notify: [chat], seats: 3}
- {role: legal, notify: [chat]}
channels: [{name: chat, type: Apprise, secretKey: chat}]
indicators: [{name: bias}]
tiers:
- name: low
  triggers: [{indicator: bias, above: 0.1}]
  notify: [{role: risk}, {role: legal, after: 2h}]
  acknowledge: {within: 1h, remindEvery: 10m}
  decide: {within: 3h, quorum: [{role: risk}]}
  acceptRisk: {atMost: 30d}
- name: high
  triggers: [{indicator: bias, above: 0.2}]
  notify: [{role: risk}, {role: legal, after: 2h}]
  decide: {within: 4h, quorum: [{role: risk}]}
  containment: {action: ScaleToZero}
  resume: {quorum: [{role: risk}]}
  acceptRisk: {atMost: 30d}
""")
LOW, HIGH = 0.15, 0.3


def scenario(value: float, edit: Any = None) -> DecisionScenario:
    """An escalation that has just been opened; every step is checked as in the random scenarios."""
    document: Document = edited(LADDER, edit)
    found = DecisionScenario(ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))])
    found.read(value)
    found.run()
    return found


def later(found: DecisionScenario, minutes: float) -> None:
    found.now = at(minutes)
    found.run()


# --- Deciding ---------------------------------------------------------------------------------------------------------


def test_vote_after_the_quorum_was_met_does_not_decide_it_again() -> None:
    found = scenario(LOW)
    found.decide("AcceptRisk", "risk", by="ann", until="2026-12-01T00:00:00Z")
    again = found.decide("AcceptRisk", "risk", by="ben", until="2026-11-25T00:00:00Z")
    assert found.verdict(again) == ("False", Reason.ALREADY_COUNTED)
    assert found.trail().count("accepted/1") == 1
    acceptance = found.escalation.status.risk_acceptance
    assert acceptance is not None
    assert acceptance.by == ("ann",)


def test_votes_beyond_the_quorum_of_a_drill_end_it_once() -> None:
    found = scenario(0.05)
    found.read(HIGH, name="exercise", drill=True)
    found.run()
    for person in ("ann", "ben"):  # both before anybody looks
        found.say("Resume", "risk", person)
    found.run()
    assert found.trail().count("resumed/1") == 1
    assert not found.escalation.is_open


def test_stop_button_that_is_judged_together_with_a_resume_before_it_contains() -> None:
    found = scenario(HIGH)
    found.say("Resume", "risk", "ann")
    found.say("Contain", "legal", "ben")
    found.run()
    assert [i.reason for i in found.escalation.intents] == [Reason.ALREADY_AT_ZERO]
    assert found.target is not None
    assert found.target.replicas == 0
    found.wait(1)
    found.decide("Resume", "risk", by="ann")
    assert found.target.replicas == 3, "what was there before the first act"


def test_rung_is_entered_once_where_the_clock_of_who_contains_again_is_behind() -> None:
    found = scenario(HIGH)
    found.decide("Resume", "risk", by="ann")
    found.say("Contain", "legal", "ben")
    found.now -= timedelta(seconds=1)
    found.run()
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.number, rung.reason) == (2, Reason.CONTAINED_MANUALLY)


def test_rung_is_entered_once_where_the_clock_of_who_sees_the_next_breach_is_behind() -> None:
    on_decision = {"when": "OnDecision", "action": "ScaleToZero"}
    found = scenario(HIGH, lambda spec: spec["tiers"][1].update(containment=on_decision))
    found.decide("Contain", "risk", by="ann")
    found.decide("Resume", "risk", by="ann")
    found.now += timedelta(seconds=1)
    found.read(HIGH)
    found.now -= timedelta(seconds=2)
    found.run()
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.number, rung.reason) == (2, Reason.BREACHED_AGAIN)


# --- Ending -----------------------------------------------------------------------------------------------------------


def test_escalation_of_a_deleted_target_can_be_closed_and_not_resumed() -> None:
    found = scenario(HIGH)
    found.delete()
    assert found.verdict(found.decide("Resume", "risk", by="ann")) == ("False", Reason.NOTHING_TO_RESUME)
    closed = found.decide("Close", "risk", by="ann", resolution="Remediated")
    assert found.verdict(closed) == ("True", Reason.QUORUM_MET)


def test_escalation_of_a_released_target_can_be_closed_after_a_resume() -> None:
    found = scenario(HIGH)
    found.release({})
    found.decide("Resume", "risk", by="ann")
    closed = found.decide("Close", "risk", by="ann", resolution="Remediated")
    assert found.verdict(closed) == ("True", Reason.QUORUM_MET)


# --- Notifying --------------------------------------------------------------------------------------------------------


def test_reminder_after_the_deadline_to_decide_has_a_key_of_its_own() -> None:
    """Reminders for an answer were counted, one was forgotten, and its key came back with other words."""
    found = scenario(LOW, lambda spec: spec["tiers"][0].update(decide={"within": "35m", "quorum": [{"role": "legal"}]}))
    keys = []
    for minutes in (11, 21, 31, 34):
        later(found, minutes)
        found.attempt(error="", given_up=False, channels=("chat",))
        found.run()
    found.decide("Acknowledge", "risk", by="ann")
    for minutes in (46, 56, 66, 121, 131, 141):
        later(found, minutes)
        keys += found.deliver()
    assert len(keys) == len(set(keys))


def test_resume_is_notified_where_the_risk_was_accepted_before() -> None:
    found = scenario(HIGH)
    found.decide("AcceptRisk", "risk", by="ann", until="2026-12-01T00:00:00Z")
    assert "accepted-1/risk/chat" in found.pending()
    found.wait(60)
    found.decide("Resume", "risk", by="ann")
    assert "resumed-1/risk/chat" in found.pending()


def test_who_is_due_after_people_have_decided_hears_nothing_of_old_drift() -> None:
    found = scenario(HIGH)
    found.rival(3)
    found.run()
    assert "1/risk/reverted-1-1/chat" in found.pending()
    found.decide("AcceptRisk", "risk", by="ann", until="2026-12-01T00:00:00Z")
    later(found, 121)
    assert not [key for key in found.pending() if key.startswith("1/legal/")]


# --- What is stored ---------------------------------------------------------------------------------------------------


def test_released_target_is_written_about_once() -> None:
    """Its condition changed forth and back in every pass, and each was a write."""
    found = scenario(HIGH)
    found.release({})
    found.run()
    assert found.reason(ConditionType.CONTAINMENT_HOLDS) == ("False", Reason.TARGET_RELEASED)
    found.wait(60)
    assert found.run() == []


def test_tier_label_that_was_written_before_a_crash_decides_nothing() -> None:
    """The label goes before the records: whoever goes on must enter the rung for the same reason as the first."""
    found = scenario(LOW)
    found.say("Escalate", "risk", "ann", tier="high")
    plan = found.plan()
    [update] = plan.escalations
    assert update.labels == {LABEL_TIER: "high"}
    labels = {**found.escalation.labels, LABEL_TIER: "high"}
    found.escalations = [replace(found.escalation, labels=labels)]  # and then it dies
    found.run()
    assert found.verdict(found.decisions[0]) == ("True", Reason.ESCALATED_MANUALLY)
    rung = found.escalation.status.rung
    assert rung is not None
    assert (rung.tier, rung.reason) == ("high", Reason.ESCALATED_MANUALLY)
    assert found.target is not None
    assert found.target.replicas == 0


def test_label_of_a_first_trail_stays_the_tier_it_was_opened_at_until_that_is_stored() -> None:
    found = DecisionScenario(ladders=[ladder(lambda spec: (spec.clear(), spec.update(edited(LADDER, _escalates))))])
    found.read(LOW)
    plan = found.plan()
    assert plan.opening is not None
    found.carry_out(plan)
    found.now = at(61)  # nobody looked for an hour
    [update] = found.plan().escalations
    assert update.status.tier == "high"
    assert update.labels is None
    found.run()
    assert found.escalation.labels[LABEL_TIER] == "high"


def _escalates(spec: Document) -> None:
    spec["tiers"][0]["onTimeout"] = "Escalate"
