"""What a message says, and that it says the same whenever it is sent again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import Reason
from riskladder.notify.forms import Form
from riskladder.notify.notice import Severity, Status
from riskladder.notify.render import body
from riskladder.people.text import due
from tests.unit.notify_support import NOW, SPEC, notice


def words(**changes: Any) -> list[str]:
    return [option.command.split()[2] for option in notice(**changes).options]


@pytest.mark.parametrize(
    ("about", "status"),
    [
        (Reason.ESCALATION_OPENED, Status.FIRING),
        (Reason.REMINDED, Status.FIRING),
        (Reason.STALLED, Status.FIRING),
        (Reason.ACKNOWLEDGED, Status.ACKNOWLEDGED),
        (Reason.REMEDIATED, Status.RESOLVED),
        (Reason.FALSE_POSITIVE, Status.RESOLVED),
        (Reason.RISK_ACCEPTED, Status.RESOLVED),
        (Reason.RETIRED, Status.RESOLVED),
        (Reason.CLEARED, Status.RESOLVED),
        (Reason.TARGET_RECREATED, Status.RESOLVED),
        (Reason.RESUMED, Status.RESOLVED),
        (Reason.DRILL_COMPLETED, Status.RESOLVED),
        (Reason.DRILL_EXPIRED, Status.RESOLVED),
    ],
)
def test_status_follows_from_what_it_is_about(about: Reason, status: Status) -> None:
    assert notice(about=about.value).status is status


@pytest.mark.parametrize(
    ("tier", "severity"),
    [("critical", "critical"), ("high", "error"), ("moderate", "warning"), ("baseline", "info")],
)
def test_severity_is_counted_from_the_top_of_the_ladder(tier: str, severity: str) -> None:
    assert notice(tier=tier).severity is Severity(severity)


def test_fourth_tier_from_the_top_and_those_below_it_are_info() -> None:
    policy = {"tiers": [{"name": name} for name in "abcde"]}
    found = [notice({"policy": policy}, tier=name).severity.value for name in "abcde"]
    assert found == ["info", "info", "warning", "error", "critical"]


def test_reading_has_the_threshold_of_the_highest_tier_that_it_is_beyond() -> None:
    parity, auc = notice().readings
    assert (parity.side, parity.threshold, parity.tier) == ("above", 0.2, "high")
    assert (auc.side, auc.threshold, auc.tier) == ("", None, "")
    assert parity.description == "Difference of approval rates between groups"
    low = {**SPEC["signal"], "readings": [{"indicator": "auc", "value": 0.79}]}
    assert notice({"signal": low}).readings[0].threshold == 0.8
    edge = {**SPEC["signal"], "readings": [{"indicator": "auc", "value": 0.8}]}
    assert notice({"signal": edge}).readings[0].threshold is None


def test_reading_has_the_unit_of_its_indicator_and_says_where_it_did_not_count() -> None:
    indicators = [
        {"name": "demographic_parity_difference", "unit": "%"},
        {"name": "auc", "range": {"min": 0, "max": 1}},
    ]
    readings = [
        {"indicator": "demographic_parity_difference", "value": 0.31, "sampleSize": 900},
        {"indicator": "auc", "value": 0, "sampleSize": 0},
    ]
    signal, policy = {**SPEC["signal"], "readings": readings}, {**SPEC["policy"], "indicators": indicators}
    found = notice({"signal": signal, "policy": policy})
    parity, auc = found.readings
    assert (parity.unit, parity.not_counted) == ("%", "")
    assert (auc.side, auc.tier, auc.not_counted) == ("", "", "TooFewSamples")
    text = body(found, Form.TEXT)
    assert "demographic_parity_difference 0.31 %, above 0.2 % of tier high, 900 samples" in text
    assert "auc 0, not counted: TooFewSamples, 0 samples" in text


def test_a_judgement_takes_the_place_of_readings() -> None:
    manual = {"tier": "high", "rationale": "it answers nonsense", "raisedBy": "anna@example.com"}
    signal = {"name": "s", "uid": "u", "observedAt": "2026-11-24T12:00:00Z", "manual": manual}
    found = notice({"signal": signal})
    assert found.readings == ()
    assert found.judgement is not None
    assert (found.judgement.rationale, found.judgement.raised_by) == ("it answers nonsense", "anna@example.com")


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (timedelta(minutes=59, seconds=59), "in 1 h"),
        (timedelta(minutes=1, seconds=59.9), "in 2 min"),
        (timedelta(hours=1), "in 1 h"),
        (timedelta(hours=4, minutes=1), "in 4 h 1 min"),
        (timedelta(days=15), "in 15 d"),
        (timedelta(days=1, hours=2, minutes=3), "in 1 d 2 h"),
        (timedelta(seconds=59.9), "in 1 min"),
        (timedelta(seconds=20), "in 20 s"),
        (timedelta(0), "now"),
        (timedelta(minutes=-5), "5 min ago"),
    ],
)
def test_deadline_is_given_in_utc_and_from_when_it_was_queued(after: timedelta, text: str) -> None:
    due = NOW + after
    anywhere = {"policy": SPEC["policy"] | {"stakeholders": [{"role": "legal"}]}}
    assert notice(anywhere, due_at=due).deadline == f"by {due:%Y-%m-%d %H:%M} UTC, {text}"
    assert notice(due_at=None).deadline == ""


@given(st.floats(1, 40 * 86400))
def test_message_and_show_give_the_same_span_and_promise_hardly_more(seconds: float) -> None:
    left = timedelta(seconds=seconds)
    shown = notice(due_at=NOW + left).deadline.partition(", ")[2]
    assert shown == due(NOW + left, NOW)
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = shown.removeprefix("in ").split()
    promised = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    unit = 1 if seconds < 59.5 else 60 if seconds < 86370 else 3600
    assert abs(promised - seconds) <= unit / 2 + 1e-6


def test_options_of_a_contained_model() -> None:
    found = notice().options
    assert [o.command for o in found] == [
        "kubectl riskladder ack credit-scorer-3f9a1c2b -n models --role legal --rationale '…'",
        "kubectl riskladder accept-risk credit-scorer-3f9a1c2b -n models --role legal --until 7d --rationale '…'",
        "kubectl riskladder resume credit-scorer-3f9a1c2b -n models --role legal --rationale '…'",
        "kubectl riskladder escalate credit-scorer-3f9a1c2b -n models --role legal --tier critical --rationale '…'",
        "kubectl riskladder object credit-scorer-3f9a1c2b -n models --role legal --rationale '…'",
        "kubectl riskladder close credit-scorer-3f9a1c2b -n models --role legal --resolution Retired --rationale '…'",
        "kubectl riskladder show credit-scorer-3f9a1c2b -n models",
    ]
    who = [o.who for o in found]
    assert who[0] == "anyone who may acknowledge as legal"
    assert who[1] == "one person each from legal and executive"
    assert who[2] == "one person from legal, one person from executive and 2 people from model-risk"


def test_options_of_a_running_model() -> None:
    assert words(tier="moderate") == [
        "ack",
        "contain",
        "accept-risk",
        "escalate",
        "close",
        "close",
        "close",
        "show",
    ], "an objection is for those who are asked"
    assert "object" in words(tier="moderate", role="model-risk")


ALL_SAFE_STATES = [
    (
        {"action": "ScaleToZero"},
        "Deployment/credit-scorer is scaled to zero and locked",
        "its replicas come back",
    ),
    (
        {"action": "Rollback", "lock": False},
        "Deployment/credit-scorer is rolled back to its last good revision",
        "the revision in place serves on until another is rolled out",
    ),
    (
        {"action": "Fallback", "fallback": {"service": "scorer", "selector": {"app": "baseline"}}},
        "traffic of Service scorer goes to app=baseline, and that is locked",
        "traffic of Service scorer goes back to Deployment/credit-scorer",
    ),
    (
        {"action": "Fallback", "fallback": {"httpRoute": "scorer", "backend": "baseline"}},
        "traffic of HTTPRoute scorer goes to Service baseline, and that is locked",
        "traffic of HTTPRoute scorer goes back to Deployment/credit-scorer",
    ),
    (
        {"action": "Isolate"},
        "Deployment/credit-scorer is isolated by a NetworkPolicy (new connections are turned away; "
        "open ones may go on) and locked",
        "the NetworkPolicy is deleted",
    ),
]


@pytest.mark.parametrize(("containment", "contains", "restores"), ALL_SAFE_STATES)
def test_options_say_what_the_safe_state_of_the_tier_does(
    containment: dict[str, Any], contains: str, restores: str
) -> None:
    tier = {"name": "high", "decide": {"within": "4h", "quorum": [{"role": "legal"}]}}
    asked = {"policy": {"tiers": [tier | {"containment": containment | {"when": "OnDecision"}}]}}
    running = {option.command.split()[2]: option.what for option in notice(asked).options}
    assert running["contain"] == f"Contain the model now: {contains}"
    at_once = {"policy": {"tiers": [tier | {"containment": containment}]}}
    held = {option.command.split()[2]: option.what for option in notice(at_once).options}
    assert held["resume"] == f"Resume the model: {restores}, and the lock is removed"


def test_options_at_the_top_acknowledged_and_at_the_end() -> None:
    assert words(tier="critical", role="executive") == ["ack", "resume", "object", "close", "show"]
    assert "ack" not in words(about="Acknowledged")
    assert words(about="Remediated") == ["show"]


def test_a_role_outside_the_quorum_is_shown_whom_to_ask() -> None:
    accept = next(o for o in notice(tier="moderate").options if " accept-risk " in o.command)
    assert accept.who == "one person from model-risk"
    assert "--role model-risk " in accept.command
    deputy = next(o for o in notice(role="deputy").options if " resume " in o.command)
    assert "--role deputy " in deputy.command


def test_drill_holds_nothing_back() -> None:
    assert "resume" not in words(spec_changes={"drill": True})


def test_without_a_quorum_the_owner_of_the_charter_closes() -> None:
    tiers = [{"name": "only", "notify": [{"role": "legal"}]}]
    owner = notice({"policy": {"tiers": tiers, "charter": {"owner": "model-risk"}}}, tier="only")
    assert next(o.who for o in owner.options if " close " in o.command) == "one person from model-risk"
    first_notified = notice({"policy": {"tiers": tiers}}, tier="only")
    assert next(o.who for o in first_notified.options if " close " in o.command) == "one person from legal"


def test_one_incident_for_each_escalation_and_role() -> None:
    assert notice().dedup == "models/credit-scorer-3f9a1c2b/legal/0c5d3e4f-uid"
    assert notice(key="other", tier="critical").dedup == notice().dedup
    assert notice(role="executive").dedup != notice().dedup


def test_composed_again_it_is_the_same_byte_for_byte() -> None:
    first, again = notice().to_json(), notice().to_json()
    assert json.dumps(first) == json.dumps(again)
    tried = {"state": "Failed", "attempts": 7, "last_error": "timed out", "done_at": NOW}
    assert notice({"intent": None}, **tried) == notice()


def test_json_has_no_empty_fields_and_is_json() -> None:
    bare = notice({"model": None}, due_at=None).to_json()
    assert "model" not in bare
    assert "deadline" not in bare
    assert json.loads(json.dumps(bare)) == bare
    assert bare["readings"][0]["sampleSize"] == 5000
    assert bare["at"] == "2026-11-24T12:00:20Z"


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/Berlin", " (14:00 in Berlin)"),
        ("America/New_York", " (08:00 in New York)"),
        ("Asia/Kolkata", " (18:30 in Kolkata)"),
        ("Pacific/Kiritimati", " (2026-11-25 03:00 in Kiritimati)"),
        ("UTC", " (13:00 UTC)"),
        ("Europe/Atlantis", ""),
        ("Europe", ""),
        ("posixrules/x", ""),
    ],
)
def test_deadlines_are_given_in_the_time_of_the_reader_too(zone: str, said: str) -> None:
    stakeholders = [{"role": "legal", "timeZone": zone}, {"role": "executive"}, {"role": "model-risk"}]
    found = notice({"policy": SPEC["policy"] | {"stakeholders": stakeholders}})
    assert found.asked[0].deadline == f"by 2026-11-24 13:00 UTC{said}, in 1 h"
    assert found.deadline in body(found, Form.SHORT)


def test_what_serves_is_said_in_every_form_that_has_room() -> None:
    found = notice(serves="revision 4, which was known to be good, in place of version 3")
    for form in (Form.TEXT, Form.HTML, Form.CHAT, Form.SLACK):
        assert "What serves now: revision 4, which was known to be good, in place of version 3." in body(found, form)
    assert "What serves" not in body(notice(serves=""), Form.TEXT)
