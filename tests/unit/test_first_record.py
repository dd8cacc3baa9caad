"""What records say by themselves: the opening how it began, a re-breach its reading, a decision its credential."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from riskladder.api.chain import canonical
from riskladder.api.decision import DecidedBy
from riskladder.api.escalation import PinnedPolicy
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.reasons import Reason
from riskladder.api.record import MAX_DETAIL, MAX_OPEN_VALUE, OPEN_NAMES, EscalationRecordSpec, clipped_particulars
from riskladder.api.signal import MAX_READINGS, ModelRiskSignalSpec, Reading
from riskladder.api.tiers import Tier, Trigger
from riskladder.cluster.ledger import LedgerEntry, record_object
from riskladder.policy.signals.particulars import reading_particulars
from tests.refusals.largest import largest_ladder
from tests.unit.builders import NOW, Document, Scene, at, ladder, recorded, signal, signal_document, workload
from tests.unit.test_people import HIGH, later, scene

MODEL = {
    "name": "credit-scorer",
    "version": "2026.11.3",
    "owners": ["olga", "otto"],
    "card": "https://models.example/credit",
    "lineage": "models:/credit/3",
}
READINGS = [
    {"indicator": "bias", "value": 0.3, "sampleSize": 5000, "window": "24h", "evidence": "s3://reports/1"},
    {"indicator": "drift", "value": 0.05},
]


def opened(**more: Any) -> Document:
    """The detail of the first record of a breach."""
    found = Scene(ladders=[ladder()], target=workload(), signals=[])
    spec = signal_document(bias=0.3) | {"readings": READINGS, "model": MODEL} | more
    found.signals = [replace(signal(), spec=ModelRiskSignalSpec.model_validate(spec))]
    found.run()
    return dict(recorded(found.entries, "opened").detail)


def test_opening_carries_the_whole_story() -> None:
    detail = opened()
    expected = {
        "reading.bias": "0.3",
        "threshold.bias": "above 0.2",
        "sampleSize.bias": "5000",
        "window.bias": "24h",
        "evidence.bias": "s3://reports/1",
        "reading.drift": "0.05",
        "model": "credit-scorer",
        "modelVersion": "2026.11.3",
        "modelCard": "https://models.example/credit",
        "modelLineage": "models:/credit/3",
        "owners": "olga, otto",
        "ladderDigest": ladder().digest,
    }
    assert {key: detail.get(key) for key in expected} == expected
    assert "threshold.drift" not in detail, "tier high has none for it"
    assert "owners" in OPEN_NAMES


def test_opening_keeps_the_policy_that_it_runs_under_for_when_escalation_and_ladder_are_gone() -> None:
    policy = json.loads(opened()["policy"])
    spec = ladder().spec
    assert spec is not None
    pinned = PinnedPolicy.model_validate(policy)
    assert (pinned.tiers, pinned.charter, pinned.stakeholders) == (spec.tiers, spec.charter, spec.stakeholders)
    assert opened()["policy"] == canonical(policy), "anybody can write the same text again"
    assert "policy" in OPEN_NAMES, "it names people"


def test_policy_of_the_largest_ladder_fits_a_record() -> None:
    spec = EscalationLadderSpec.model_validate(largest_ladder()["spec"]).to_api()
    kept = {name: spec[name] for name in spec if name in PinnedPolicy.model_json_schema()["properties"]}
    assert "tiers" in kept
    assert 50_000 < len(canonical(PinnedPolicy.model_validate(kept).to_api())) <= MAX_OPEN_VALUE


def test_opening_without_a_model_names_none() -> None:
    detail = opened(model=None)
    assert not {"model", "modelVersion", "owners"} & set(detail)


def test_threshold_says_how_many_readings_confirm_it() -> None:
    tier = ladder().spec.tiers[0]  # type: ignore[union-attr]
    found = reading_particulars(signal(bias=0.15, drift=0.3).reference(), tier)
    assert found["threshold.bias"] == "above 0.1, 2 readings in a row"
    assert found["threshold.drift"] == "above 0.2"


def test_largest_opening_fits_a_record() -> None:
    long = "s3://" + "x" * 2040
    names = [f"i{number}" for number in range(MAX_READINGS)]
    full = {"value": 0.1, "sampleSize": 1, "window": "24h", "evidence": long}
    owners = [f"{number}" + "o" * 1020 for number in range(16)]
    detail = opened(model=MODEL | {"owners": owners, "card": long, "lineage": long})
    rest = {key: text for key, text in detail.items() if "." not in key}
    every = signal(bias=0.3).reference().model_copy(update={"readings": [Reading(indicator=n, **full) for n in names]})
    tier = Tier(name="high", triggers=tuple(Trigger(indicator=name, above=0.2) for name in names))
    readings = reading_particulars(every, tier)
    assert len(readings) == 5 * MAX_READINGS
    everything = {**rest, **readings, "message": "m"}
    kept = clipped_particulars(everything.items())
    assert kept.keys() == everything.keys(), "nothing of it is left out"
    act = LedgerEntry("EscalationOpened", "k", NOW, "riskladder", kept)
    spec = record_object("models", "uid", "scorer-1", [act], None)["spec"]
    assert len(EscalationRecordSpec.model_validate(spec).entries[0].detail) <= MAX_DETAIL - 10


def test_breach_after_a_resume_carries_its_reading() -> None:
    found = scene(**HIGH)
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    found.signals = [signal(at=at(20), status=found.signals[0].status, bias=0.4)]
    later(found, 20)
    again = next(entry for entry in found.entries if entry.event is Reason.BREACHED_AGAIN)
    assert (again.detail["reading.bias"], again.detail["signal"]) == ("0.4", "fairness")
    assert again.detail["threshold.bias"].startswith("above 0.")
    assert again.message.endswith("was entered again: BreachedAgain: signal fairness reads bias=0.4")


def test_breach_after_a_resume_that_nothing_contains_carries_its_reading() -> None:
    found = scene(edit=lambda spec: spec["tiers"][1]["containment"].update(when="OnDecision"), **HIGH)
    found.decide("Contain", "legal")
    found.decide("Resume", "legal")
    found.decide("Resume", "model-risk")
    found.signals = [signal(at=at(20), status=found.signals[0].status, bias=0.4)]
    later(found, 20)
    again = next(entry for entry in found.entries if entry.event is Reason.BREACHED_AGAIN)
    assert again.detail["reading.bias"] == "0.4"


@pytest.mark.parametrize("credential", ["JTI=0b1c", ""])
def test_decision_carries_credential_and_groups(credential: str) -> None:
    found = scene(**HIGH)
    by = {"username": "ann", "groups": ["legal", "system:authenticated"], "credentialID": credential}
    found.decide("Acknowledge", "legal", decidedBy=by)
    entry = next(entry for entry in found.entries if entry.event is Reason.ACKNOWLEDGED)
    assert entry.detail["groups"] == "legal, system:authenticated"
    assert entry.detail.get("credential", "") == credential


def test_credential_is_spelt_as_in_the_api() -> None:
    by = DecidedBy.model_validate({"username": "ann", "credentialID": "JTI=0b1c"})
    assert by.credential_id == "JTI=0b1c"
    assert by.to_api()["credentialID"] == "JTI=0b1c"
