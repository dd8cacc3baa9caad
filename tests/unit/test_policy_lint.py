"""The advice on policies and signals: each rule once, on the example ladder with one thing changed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from riskladder.api.base import API_VERSION
from riskladder.api.kinds import KINDS
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.schema import object_schema
from riskladder.api.signal import ModelRiskSignalSpec
from riskladder.api.validation import validate
from riskladder.cli import files
from riskladder.policy.advice.ladder import Advice, advise_ladder
from riskladder.policy.advice.signal import advise_signal
from tests.trails import Document

ROOT = Path(__file__).parents[2]
LADDER = ROOT / "examples" / "ladders" / "credit-scoring.yaml"
SIGNAL = ROOT / "examples" / "monitor" / "signal-breach.yaml"
TODAY = date(2026, 11, 24)

Change = Callable[[Document], Any]


def changed(file: Path, *changes: Change) -> Document:
    document: Document = files.read(str(file))[0].value
    for change in changes:
        change(document["spec"])
    return document


def advice(*changes: Change) -> list[Advice]:
    """Return what is said about the example ladder once it is changed; it must still be valid."""
    document = changed(LADDER, *changes)
    assert validate("EscalationLadder", document, unknown_fields=True) == []
    return advise_ladder(EscalationLadderSpec.model_validate(document["spec"]), TODAY)


def signal_advice(*changes: Change, with_ladder: bool = True) -> list[Advice]:
    ladder = EscalationLadderSpec.model_validate(changed(LADDER)["spec"]) if with_ladder else None
    return advise_signal(ModelRiskSignalSpec.model_validate(changed(SIGNAL, *changes)["spec"]), ladder)


def test_the_example_needs_no_advice() -> None:
    assert advice() == []
    assert signal_advice() == []


CASES: list[tuple[str, str, str, Change]] = [
    ("no-charter", "spec", "nobody answers", lambda s: s.pop("charter")),
    ("no-review", "spec.charter", "never reviewed", lambda s: s["charter"].pop("review")),
    (
        "review-overdue",
        "spec.charter.review",
        "it was due on 2026-11-23",
        lambda s: s["charter"]["review"].update(lastReviewed="2026-08-25"),
    ),
    (
        "review-in-future",
        "spec.charter.review.lastReviewed",
        "2026-11-25, which is still to come",
        lambda s: s["charter"]["review"].update(lastReviewed="2026-11-25"),
    ),
    (
        "stakeholder-unused",
        "spec.stakeholders[7]",
        "role privacy is neither notified nor asked",
        lambda s: s["stakeholders"].append({"role": "privacy", "notify": ["exec-email"]}),
    ),
    (
        "stakeholder-without-channel",
        "spec.stakeholders[5]",
        "role security is notified through Events only",
        lambda s: (s["stakeholders"][5].pop("notify"), s["channels"].pop(2)),
    ),
    (
        "time-zone-unknown",
        "spec.stakeholders[0].timeZone",
        "no time zone is named Europe/Atlantis",
        lambda s: s["stakeholders"][0].update(timeZone="Europe/Atlantis"),
    ),
    (
        "channel-unused",
        "spec.channels[5]",
        "channel pager reaches nobody",
        lambda s: s["channels"].append({"name": "pager", "type": "PagerDuty", "secretKey": "x"}),
    ),
    (
        "impersonation-allowed",
        "spec",
        "whoever may impersonate somebody of a role resumes the model in their name",
        lambda s: s.pop("decisions"),
    ),
    (
        "silence-unnoticed",
        "spec.indicators[1]",
        "population_stability_index is never stale",
        lambda s: s["indicators"][1].pop("staleAfter"),
    ),
    (
        "indicator-unused",
        "spec.indicators[2]",
        "auc has no trigger",
        lambda s: s["indicators"].append({"name": "auc", "staleAfter": "1h"}),
    ),
    (
        "threshold-outside-range",
        "spec.tiers[1].triggers[0].above",
        "demographic_parity_difference counts from 0.0 to 0.2: no such value is above 0.2, so that the tier is never",
        lambda s: bounded(s, 0, 0.2),
    ),
    (
        "containment-delayed",
        "spec.tiers[1].triggers[0].readings",
        "until 3 readings in a row",
        lambda s: s["tiers"][1]["triggers"][0].update(readings=3),
    ),
    ("nobody-notified", "spec.tiers[1]", "contained and nobody is notified", lambda s: unnotify(s, 1)),
    ("nobody-notified", "spec.tiers[0]", "tier moderate: nobody is notified", lambda s: unnotify(s, 0)),
    (
        "decider-not-notified",
        "spec.tiers[0].decide.quorum[1]",
        "role legal has to decide and is not notified",
        lambda s: s["tiers"][0]["decide"]["quorum"].append({"role": "legal"}),
    ),
    (
        "decider-notified-too-late",
        "spec.tiers[1].notify[2].after",
        "role executive is notified after 1h and has to decide within 1h",
        lambda s: s["tiers"][1]["notify"][2].update(after="1h"),
    ),
    (
        "decide-without-acknowledge",
        "spec.tiers[0]",
        "shows only after 24h",
        lambda s: s["tiers"][0].pop("acknowledge"),
    ),
    (
        "no-deadline",
        "spec.tiers[1]",
        "nobody has to take notice or to decide",
        lambda s: [s["tiers"][1].pop(part) for part in ("acknowledge", "decide", "acceptRisk")],
    ),
    (
        "no-decision",
        "spec.tiers[1]",
        "nobody is asked for a decision",
        lambda s: [s["tiers"][1].pop(part) for part in ("decide", "acceptRisk")],
    ),
    (
        "lock-off",
        "spec.tiers[1].containment.lock",
        "can revert the containment",
        lambda s: s["tiers"][1]["containment"].update(lock=False),
    ),
    (
        "cannot-suspend",
        "spec.tiers[1].containment.alsoSuspend[0]",
        "a Deployment cannot be suspended",
        lambda s: s["tiers"][1]["containment"].update(alsoSuspend=[{"kind": "Deployment", "name": "collector"}]),
    ),
    (
        "rollback-may-stop-the-model",
        "spec.tiers[1].containment",
        "becomes ScaleToZero, the default",
        lambda s: s["tiers"][1]["containment"].pop("ifImpossible"),
    ),
    (
        "if-impossible-unused",
        "spec.tiers[1].containment.ifImpossible",
        "ScaleToZero is always possible",
        lambda s: s["tiers"][1]["containment"].update(action="ScaleToZero", ifImpossible="Isolate"),
    ),
    (
        "connections-unused",
        "spec.tiers[1].containment.connections",
        "this tier never isolates",
        lambda s: s["tiers"][1]["containment"].update(connections="Close"),
    ),
    (
        "no-blast-radius",
        "spec",
        "one broken monitor may stop all of them",
        lambda s: s.pop("blastRadius"),
    ),
    (
        "blast-radius-without-fallback",
        "spec.blastRadius.whenExceeded",
        "Fallback is as AskFirst",
        lambda s: s["blastRadius"].update(whenExceeded="Fallback"),
    ),
    (
        "closes-when-unused",
        "spec.tiers[1].closesWhen",
        "never closes by itself",
        lambda s: s["tiers"][1].update(closesWhen={"cleared": True}),
    ),
]


def bounded(spec: Document, least: float | None, most: float | None, indicator: int = 0) -> None:
    """The range of an indicator."""
    ends = {"min": least, "max": most}
    spec["indicators"][indicator]["range"] = {name: end for name, end in ends.items() if end is not None}


def unnotify(spec: Document, tier: int) -> None:
    """Nobody is notified, while the roles stay in use elsewhere."""
    other = spec["tiers"][1 - tier]["notify"]
    known = {entry["role"] for entry in other}
    other += [entry for entry in spec["tiers"][tier].pop("notify") if entry["role"] not in known]


@pytest.mark.parametrize(("rule", "path", "message", "change"), CASES, ids=[case[0] for case in CASES])
def test_advice(rule: str, path: str, message: str, change: Change) -> None:
    [found] = advice(change)
    assert (found.id, found.path) == (rule, path)
    assert message in found.message
    assert found.remedy


def filled(schema: Document, value: Any) -> Any:
    """The value with the defaults of the schema, as the API server stores it."""
    if isinstance(value, dict) and "properties" in schema:
        absent = {n: copy.deepcopy(s["default"]) for n, s in schema["properties"].items() if "default" in s}
        return {n: filled(schema["properties"].get(n, {}), v) for n, v in (absent | value).items()}
    if isinstance(value, list):
        return [filled(schema.get("items", {}), item) for item in value]
    return value


def exported(document: Document) -> Document:
    """The object as `kubectl get --output yaml --show-managed-fields` writes it."""
    manager = {"manager": "kubectl", "operation": "Apply", "apiVersion": API_VERSION, "fieldsV1": {"f:spec": {}}}
    metadata = {"uid": "1", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-11-24T06:00:00Z"}
    status = {"openEscalations": 0, "conditions": []}
    spec = filled(object_schema(KINDS["EscalationLadder"])["properties"]["spec"], document["spec"])
    return document | {
        "metadata": document["metadata"] | metadata | {"managedFields": [manager]},
        "spec": spec,
        "status": status,
    }


@pytest.mark.parametrize(
    "change",
    [lambda _: None, *(case[3] for case in CASES), lambda s: s["tiers"][1]["containment"].update(action="ScaleToZero")],
    ids=["example", *(case[0] for case in CASES), "stopped"],
)
def test_defaults_that_the_api_server_fills_in_draw_no_advice(change: Change) -> None:
    written = changed(LADDER, change)
    written["spec"]["tiers"][1]["containment"].pop("ifImpossible", None)
    stored = exported(written)
    assert validate("EscalationLadder", stored, unknown_fields=True) == []
    of_written, of_stored = (
        advise_ladder(EscalationLadderSpec.model_validate(document["spec"]), TODAY) for document in (written, stored)
    )
    assert set(of_stored) <= set(of_written)


@pytest.mark.parametrize("action", ["ScaleToZero", "Isolate"])
def test_default_remedy_of_an_action_that_needs_none_draws_no_advice(action: str) -> None:
    assert advice(lambda s: s["tiers"][1]["containment"].update(action=action, ifImpossible="ScaleToZero")) == []


def test_every_rule_has_a_case() -> None:
    source = Path(advise_ladder.__code__.co_filename).read_text()
    assert set(re.findall(r'Advice\(\s*"([a-z-]+)"', source)) == {case[0] for case in CASES}


def test_review_is_current_on_its_last_day() -> None:
    assert advice(lambda s: s["charter"]["review"].update(lastReviewed="2026-08-26")) == []
    assert advice(lambda s: s["charter"]["review"].pop("lastReviewed")) == []


def test_containment_that_waits_may_need_several_readings_and_may_close() -> None:
    def wait(spec: Document) -> None:
        spec["tiers"][1]["containment"]["when"] = "OnDecision"
        spec["tiers"][1]["triggers"][0]["readings"] = 3
        spec["tiers"][1]["closesWhen"] = {"cleared": True}

    assert advice(wait) == []


def test_silence_that_raises_a_tier_is_a_use_of_an_indicator() -> None:
    silent = {"name": "heartbeat", "staleAfter": "1h", "whenStale": "moderate"}
    assert advice(lambda s: s["indicators"].append(silent)) == []


@pytest.mark.parametrize(
    ("trigger", "bounds", "field", "said"),
    [
        ({"above": 30}, (0, 1), "above", "never breached"),
        ({"above": -0.5}, (0, 1), "above", "always breached"),
        ({"below": 0}, (0, 1), "below", "never breached"),
        ({"below": 70}, (0, 1), "below", "always breached"),
        ({"above": 0.3, "clearsAt": -0.1}, (0, None), "clearsAt", "never clears"),
        ({"below": 0.3, "clearsAt": 1.5}, (None, 1), "clearsAt", "never clears"),
        ({"above": 0.3, "clearsAt": 0}, (0, 1), "", ""),
        ({"above": 0}, (0, 1), "", ""),
        ({"below": 1}, (0, 1), "", ""),
        ({"above": 3000}, (0, None), "", ""),
    ],
)
def test_threshold_and_range_agree(
    trigger: Document, bounds: tuple[float | None, float | None], field: str, said: str
) -> None:
    def change(spec: Document) -> None:
        name = spec["indicators"][1]["name"]
        spec["tiers"][0]["triggers"] = [{"indicator": name, **trigger}]
        spec["tiers"][1]["triggers"] = [t for t in spec["tiers"][1]["triggers"] if t["indicator"] != name]
        bounded(spec, *bounds, indicator=1)
        spec["indicators"][0].pop("range", None)

    found = advice(change)
    assert [a.path for a in found] == ([f"spec.tiers[0].triggers[0].{field}"] if field else [])
    assert all(said in a.message for a in found)


def test_low_tier_without_deadlines_is_fine() -> None:
    assert advice(lambda s: [s["tiers"][0].pop(p) for p in ("acknowledge", "decide", "onTimeout")]) == []


@pytest.mark.parametrize(
    ("rule", "path", "message", "change"),
    [
        ("source-untrusted", "spec.source", "does not trust source script", lambda s: s.update(source="script")),
        (
            "indicator-unknown",
            "spec.readings[1].indicator",
            "has no indicator psi, only demographic_parity_difference, population_stability_index",
            lambda s: s["readings"][1].update(indicator="psi"),
        ),
        (
            "reading-outside-range",
            "spec.readings[0].value",
            "found 24.0, expected from 0.0 to 1.0 (range of the indicator)",
            lambda s: s["readings"][0].update(value=24),
        ),
        (
            "samples-too-few",
            "spec.readings[0].sampleSize",
            "found 0 samples, expected at least 30",
            lambda s: s["readings"][0].update(sampleSize=0),
        ),
        (
            "sample-size-missing",
            "spec.readings[0]",
            "asks for at least 30 samples, and the reading does not say",
            lambda s: s["readings"][0].pop("sampleSize"),
        ),
        (
            "tier-unknown",
            "spec.manual.tier",
            "has no tier severe, only moderate, high",
            lambda s: (s.pop("readings"), s.update(manual={"tier": "severe", "rationale": "x"})),
        ),
    ],
)
def test_signal_advice(rule: str, path: str, message: str, change: Change) -> None:
    [found] = signal_advice(change)
    assert (found.id, found.path) == (rule, path)
    assert message in found.message


@pytest.mark.parametrize(
    ("value", "thresholds", "is_suspicious"),
    [
        (0.83, [{"above": 30}], True),
        (83, [{"above": 0.3}], True),
        (65, [{"above": 0.1}, {"above": 0.2}], True),
        (85, [{"below": 0.7}], True),
        (0.85, [{"below": 70}], True),
        (20, [{"above": 0.2}], True),
        (0.2, [{"above": 20}], True),
        (-50, [{"above": 0.3}], False),
        (0, [{"above": 30}], False),
        (0.002, [{"above": 0.2}], False),  # a healthy model
        (1.8, [{"above": 0.2}], False),  # a bad one
        (0.9, [{"below": 0.7}], False),
        (3, [{"above": 30}], False),
        (90000, [{"above": 0.2}], False),  # nor is it this
        (15, [{"above": 0.1}, {"above": 10}], False),
    ],
)
def test_value_and_thresholds_a_hundred_apart(value: float, thresholds: list[Document], *, is_suspicious: bool) -> None:
    def change(spec: Document) -> None:
        spec["indicators"][0].pop("range", None)
        for tier, threshold in zip(spec["tiers"], thresholds, strict=False):
            tier["triggers"] = [{"indicator": spec["indicators"][0]["name"], **threshold}]
        if len(thresholds) == 1:
            spec["tiers"][1]["triggers"] = []

    ladder = EscalationLadderSpec.model_validate(changed(LADDER, change)["spec"])
    signal = changed(SIGNAL, lambda s: s["readings"][0].update(value=value))
    found = advise_signal(ModelRiskSignalSpec.model_validate(signal["spec"]), ladder)
    assert [a.id for a in found] == (["unit-suspicious"] if is_suspicious else [])


def test_value_within_the_range_of_its_indicator_is_not_suspicious() -> None:
    def change(spec: Document) -> None:
        spec["tiers"][0]["triggers"] = [{"indicator": spec["indicators"][0]["name"], "above": 30}]
        spec["tiers"][1]["triggers"] = []
        bounded(spec, 0, 100)

    ladder = EscalationLadderSpec.model_validate(changed(LADDER, change)["spec"])
    signal = changed(SIGNAL, lambda s: s["readings"][0].update(value=0.83))
    assert advise_signal(ModelRiskSignalSpec.model_validate(signal["spec"]), ladder) == []


def test_signal_without_its_ladder() -> None:
    [found] = signal_advice(with_ladder=False)
    assert (found.id, found.path) == ("ladder-missing", "spec.ladder")
