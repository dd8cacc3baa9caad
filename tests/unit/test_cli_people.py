"""The commands for people, as far as they are pure: words, roles, what will happen, what somebody may do."""

from __future__ import annotations

import asyncio
import io
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import DNS_SUBDOMAIN_PATTERN
from riskladder.api.conditions import Condition
from riskladder.api.decision import DecidedBy, DecisionAction, EscalationDecisionSpec
from riskladder.api.escalation import CountedDecision
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.signal import Manual, ReportedBy, TargetRef
from riskladder.api.tiers import ContainmentAction
from riskladder.api.validation import validate
from riskladder.cli.people import options, raising, session
from riskladder.cli.people.decide import higher
from riskladder.cli.people.send import confirm
from riskladder.cluster.client import ApiError, Conflict, Forbidden, NamespaceMissing, NotFound, Refused
from riskladder.cluster.resources import DECISIONS
from riskladder.people.answers import UNANSWERED, refusal, usable
from riskladder.people.case import Case, Contained, Unreadable, read_case
from riskladder.people.choices import choices, for_others, why_none
from riskladder.people.manifests import decision_manifest, prefix, signal_manifest
from riskladder.people.outcome import Order, contained_result, judged
from riskladder.people.preview import Preview, preview_decision
from riskladder.people.text import deadline, due, listed, parse_until, past
from riskladder.policy.decisions.apply import accepted_message
from riskladder.policy.decisions.standing import COMMANDS, command_of, is_for, may_sit, possible
from tests.people import LADDER, NAME, NAMESPACE, NOW, at, condition, decided, escalation

ANN, OLGA = (DecidedBy(username=name, credential_id="JTI=0b1c") for name in ("ann", "olga"))
VIENNA = timezone(timedelta(hours=1), "CET")


def case(*arguments: Any, **changes: Any) -> Case:
    return read_case(escalation(*arguments, **changes))


def foreseen(
    subject: Case, action: str, role: str = "legal", person: str = "ann", *, credential: str = "", **more: Any
) -> Preview:
    spec = EscalationDecisionSpec.model_validate(
        {"escalation": NAME, "action": action, "role": role, "rationale": "because", **more}
    )
    me = DecidedBy(username=person, credential_id=credential)
    return preview_decision(subject, spec, me, NOW)


# --- Words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-60, "1 min late"),
        (-0.5, "now"),
        (0.4, "in 0 s"),
        (45, "in 45 s"),
        (12 * 60 + 59, "in 13 min"),
        (3599.6, "in 1 h"),
        (59.6, "in 1 min"),
        (86399, "in 1 d"),
        (7 * 86400 - 1, "in 7 d"),
        (3 * 3600 + 20 * 60, "in 3 h 20 min"),
        (3600, "in 1 h"),
        (24 * 3600 + 59, "in 1 d"),
        (5 * 86400 + 2 * 3600 + 60, "in 5 d 2 h"),
        (-8 * 60, "8 min late"),
    ],
)
def test_deadlines_are_worded_as_people_do(seconds: float, text: str) -> None:
    assert due(NOW + timedelta(seconds=seconds), NOW) == text


def test_times_are_local_and_relative() -> None:
    assert deadline(NOW, NOW - timedelta(minutes=3), VIENNA) == "2026-11-24 07:20:03 CET (in 3 min)"
    assert past(NOW, NOW + timedelta(seconds=3), VIENNA) == "2026-11-24 07:20:03 CET (3 s ago)"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-12-01", "2026-12-01T22:59:59+00:00"),
        ("2026-12-01T12:00:00Z", "2026-12-01T12:00:00+00:00"),
        ("2026-12-01T12:00:00+01:00", "2026-12-01T11:00:00+00:00"),
        ("14d", "2026-12-08T06:20:03+00:00"),
        ("1h30m", "2026-11-24T07:50:03+00:00"),
    ],
)
def test_until_is_a_date_a_time_or_a_duration(text: str, at: str) -> None:
    assert parse_until(text, NOW, VIENNA) == datetime.fromisoformat(at)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a date"),
        ("soon", "is not a date"),
        ("2026-11-23", "is past"),
        ("0d", "is past"),
        ("2026-02-30", "is no date"),
        ("2026-13-01T00:00:00Z", "is no time"),
        ("2026-12-01T12:00:00", "is not a date"),
    ],
)
def test_until_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_until(text, NOW, VIENNA)


def test_lists() -> None:
    assert [listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


# --- An escalation ------------------------------------------------------------------------------------------------


def test_what_is_contained() -> None:
    assert case().contained is Contained.YES
    assert case(contained=False).contained is Contained.NO
    assert case(conditions=[condition("Contained", False, "ContainmentApplied")]).contained is Contained.IN_PROGRESS
    raw = escalation()
    raw["spec"]["drill"] = True
    assert read_case(raw).contained is Contained.NO
    resumed = case(resume={"intent": 1, "at": at(5), "by": ["ann"]})
    assert (resumed.contained, resumed.intent) == (Contained.NO, None)


def test_objections_stand_until_their_role_withdraws() -> None:
    first, back = decided("Object", "legal", "ann"), decided("Object", "legal", "bob", minutes=6, withdraw=True)
    other = decided("Object", "executive", "eve", rung=2)
    assert [d.role for d in case(decisions=[first, other]).objections()] == ["legal"]
    assert case(decisions=[first, back]).objections() == ()


def test_object_of_another_version() -> None:
    broken = escalation()
    broken["spec"]["policy"]["tiers"] = []
    with pytest.raises(Unreadable, match=rf"{NAME} was written by another version.*policy\.tiers"):
        read_case(broken)


# --- Roles --------------------------------------------------------------------------------------------------------


def test_role_needs_every_verb() -> None:
    allowed = {("raise", "legal"), ("contain", "legal"), ("raise", "security")}
    assert usable(allowed, ["raise", "contain"], ["security", "legal"]) == ("legal",)
    assert usable(allowed, ["raise"], ["security", "legal"]) == ("security", "legal")


# --- What will happen ---------------------------------------------------------------------------------------------


def test_last_agreement_to_resume() -> None:
    subject = case(decisions=[decided("Resume", "model-risk", "max")])
    warned_first = foreseen(subject, "Resume")
    assert warned_first.doubts == ()
    assert warned_first.sentence == (
        "You agree, as legal, that credit-scorer is resumed. 1 of 2 needed agreements so far; with yours 2 of 2: "
        "replicas go back to 3, in steps of 10%, 50%, 100% with a reading at baseline between them, and the lock is "
        "removed."
    )


def test_first_agreement_says_who_is_still_needed() -> None:
    assert foreseen(case(), "Resume", "deputy-counsel").sentence.endswith(
        "0 of 2 needed agreements so far; with yours 1 of 2. Still needed: model-risk."
    )
    assert foreseen(case(), "Resume", "model-risk").sentence.endswith("Still needed: legal (or deputy-counsel).")


def test_after_a_rollback_only_the_lock_goes() -> None:
    raw = escalation(decisions=[decided("Resume", "model-risk", "max")])
    raw["status"]["containments"][0]["intent"] |= {"action": "Rollback", "revision": "3"}
    raw["status"]["restore"] = {"revision": "4"}
    says = "revision 3 serves on until another is rolled out, and the lock is removed"
    assert says in foreseen(read_case(raw), "Resume").sentence


def test_votes_of_other_rungs_do_not_count() -> None:
    subject = case(decisions=[decided("Resume", "model-risk", "max", rung=2)])
    assert "0 of 2 needed" in foreseen(subject, "Resume").sentence


def test_close_needs_the_same_resolution() -> None:
    subject = case(contained=False, decisions=[decided("Close", "executive", "eve", resolution="FalsePositive")])
    assert "with yours 1 of 2" in foreseen(subject, "Close", resolution="Remediated").sentence
    agreed = foreseen(subject, "Close", resolution="FalsePositive")
    assert agreed.sentence.endswith("with yours 2 of 2: it is over and nothing is held any more.")


def test_each_action_says_what_it_does() -> None:
    subject = case("moderate", contained=False, clocks=[clock()])
    says = {
        "Acknowledge": "reminders to legal stop",
        "Comment": "goes on record, as legal.",
        "Contain": "Deployment/credit-scorer is scaled to zero and locked at once",
    }
    for action, words in says.items():
        assert words in foreseen(subject, action).sentence
    assert "nobody can accept the risk" in foreseen(subject, "Object", "model-risk").sentence
    assert "the duty ai-act-art-73, due" in foreseen(subject, "Comment", clock="ai-act-art-73").sentence
    assert foreseen(subject, "Escalate", tier="high").sentence == (
        f"You raise {NAME}, as legal, from tier moderate to high: legal and security are notified, and "
        "Deployment/credit-scorer is rolled back to its last good revision and locked at once."
    )
    until = foreseen(case(), "AcceptRisk", until=at(60 * 24)).sentence
    assert "the risk of credit-scorer in tier high is accepted until" in until
    closed = case(conditions=[condition("Closed", True, "Remediated")])
    review = foreseen(closed, "Review", "model-risk", review={"policyUpdated": True, "satisfaction": 4})
    assert review == Preview(
        f"Your review of {NAME} goes on record, as model-risk: the policy is changed because of it, "
        "satisfaction 4 of 5."
    )
    drill = escalation()
    drill["spec"]["drill"] = True
    assert foreseen(read_case(drill), "Contain").sentence.endswith("This is a drill: the model itself is not touched.")


ALL_SAFE_STATES = [
    ({"action": "ScaleToZero"}, "Deployment/credit-scorer is scaled to zero and locked"),
    ({"action": "Rollback"}, "Deployment/credit-scorer is rolled back to its last good revision and locked"),
    (
        {"action": "Fallback", "fallback": {"service": "scorer", "selector": {"app": "baseline"}}},
        "traffic of Service scorer goes to app=baseline, and that is locked",
    ),
    (
        {"action": "Fallback", "fallback": {"httpRoute": "scorer", "backend": "baseline"}, "lock": False},
        "traffic of HTTPRoute scorer goes to Service baseline",
    ),
    (
        {"action": "Isolate"},
        "Deployment/credit-scorer is isolated by a NetworkPolicy (new connections are turned away; "
        "open ones may go on) and locked",
    ),
]


@pytest.mark.parametrize(("containment", "words"), ALL_SAFE_STATES)
def test_containing_is_announced_as_the_safe_state_that_the_tier_names(containment: dict[str, Any], words: str) -> None:
    raw = escalation(contained=False)
    raw["spec"]["policy"]["tiers"][-1]["containment"] = containment
    subject = read_case(raw)
    assert foreseen(subject, "Contain").sentence.startswith(f"You contain the model, as legal: {words} at once")
    offered = choices(subject, {("contain", "legal")}, ANN)
    assert [choice.what for choice in offered] == [f"contain the model now: {words}"]
    raw["status"]["tier"] = raw["status"]["rung"]["tier"] = "moderate"
    assert f"and {words} at once." in foreseen(read_case(raw), "Escalate", tier="high").sentence


def test_the_stop_button_that_names_an_action_announces_that_one() -> None:
    raw = escalation(contained=False)
    raw["spec"]["policy"]["tiers"][-1]["containment"] = {"action": "Isolate"}
    sentence = foreseen(read_case(raw), "Contain", containment="ScaleToZero").sentence
    assert "Deployment/credit-scorer is scaled to zero and locked at once" in sentence


def test_the_stop_button_announces_nothing_where_the_model_is_as_safe_already() -> None:
    raw = escalation()
    assert raw["status"]["containments"][0]["intent"]["action"] == "ScaleToZero"
    assert foreseen(read_case(raw), "Contain", containment="Rollback").sentence == (
        "You ask, as legal, for Rollback: Deployment/credit-scorer is contained by ScaleToZero already, so nothing "
        "further is done."
    )
    raw["status"]["containments"][0]["intent"] |= {"action": "Rollback", "revision": "3"}
    sentence = foreseen(read_case(raw), "Contain", containment="ScaleToZero").sentence
    assert "Deployment/credit-scorer is scaled to zero and locked at once" in sentence


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        ({"action": "ScaleToZero"}, "replicas go back to 3, in steps of 10%, 50%, 100%"),
        ({"action": "Rollback", "revision": "3"}, "revision 3 serves on until another is rolled out"),
        (
            {"action": "Fallback", "targetRef": {"kind": "Service", "name": "scorer", "selector": {"app": "baseline"}}},
            "traffic of Service scorer goes back to Deployment/credit-scorer, and the lock is removed",
        ),
        (
            {"action": "Isolate", "targetRef": {"kind": "NetworkPolicy", "name": "riskladder-x"}},
            "NetworkPolicy riskladder-x is deleted, and the lock is removed",
        ),
    ],
)
def test_resuming_is_announced_as_what_the_safe_state_has_changed(intent: dict[str, Any], words: str) -> None:
    raw = escalation(decisions=[decided("Resume", "model-risk", "max")])
    [contained] = raw["status"]["containments"]
    contained["intent"] |= intent
    contained["axis"] = "Workload" if intent["action"] in ("ScaleToZero", "Rollback") else "Traffic"
    assert f"with yours 2 of 2: {words}" in foreseen(read_case(raw), "Resume").sentence


def clock(**more: Any) -> dict[str, Any]:
    return {"name": "ai-act-art-73", "role": "legal", "startedAt": at(), "dueAt": at(60 * 24 * 15), **more}


RESUME_BY_ANN = decided("Resume", "legal", "ann")
OBJECTION = decided("Object", "executive", "eve")


@pytest.mark.parametrize(
    ("changes", "action", "more", "says"),
    [
        ({}, "Resume", {"person": "olga"}, "olga owns the model: an owner has no say in Resume"),
        ({}, "Resume", {"role": "security"}, "security is not asked for Resume in tier high; asked are: legal"),
        ({"decisions": [RESUME_BY_ANN]}, "Resume", {}, "ann has been counted for Resume on this rung already"),
        ({"decisions": [OBJECTION]}, "Resume", {}, "executive objected: it has to be withdrawn"),
        ({"contained": False}, "Resume", {}, "no containment is in force"),
        ({}, "Close", {"resolution": "Remediated"}, "the model is contained: resume it first"),
        ({"contained": False}, "Close", {"resolution": "RiskAccepted"}, "no acceptance of the risk is running"),
        ({"contained": False, "clocks": [clock()]}, "Close", {"resolution": "Remediated"}, "has not been met"),
        ({"tier": "moderate"}, "AcceptRisk", {"role": "model-risk", "until": at(60)}, "its risk may not be accepted"),
        ({}, "AcceptRisk", {"until": at(60 * 24 * 31)}, "(acceptRisk.atMost of tier high: 30d)"),
        ({}, "Object", {"withdraw": True}, "no objection of legal stands on this rung"),
        ({}, "Object", {"role": "security"}, "security is not asked for Object in tier high"),
        ({}, "Comment", {"clock": "gdpr"}, "spec.clock: the escalation has no clock gdpr; it has none at all"),
        ({}, "Review", {"review": {"policyUpdated": True, "satisfaction": 4}}, "the escalation is still open"),
        (
            {"conditions": [condition("Closed", True, "Cleared")]},
            "Review",
            {"review": {"policyUpdated": True, "satisfaction": 4}},
            "the charter's owner reviews, and that is model-risk",
        ),
        (
            {"conditions": [condition("Closed", True, "Cleared")]},
            "Acknowledge",
            {},
            "the escalation is closed: Acknowledge comes too late",
        ),
    ],
)
def test_what_will_be_refused_is_said_before(
    changes: dict[str, Any], action: str, more: dict[str, Any], says: str
) -> None:
    doubts = foreseen(case(**changes), action, **more).doubts
    assert any(says in doubt for doubt in doubts), doubts


def test_impersonation_that_the_ladder_refuses_is_said_before() -> None:
    raw = escalation()
    raw["spec"]["policy"]["decisions"] = {"allowImpersonated": False}
    subject = read_case(raw)
    [doubt] = foreseen(subject, "Resume").doubts
    assert doubt.startswith("spec.decidedBy.credentialID: found none for ann, expected that of a token or a client ")
    assert foreseen(subject, "Resume", credential="JTI=0b1c").doubts == ()
    assert foreseen(subject, "Contain").doubts == ()


def test_options_say_that_impersonation_is_refused() -> None:
    raw = escalation()
    raw["spec"]["policy"]["decisions"] = {"allowImpersonated": False}
    everything = {(action.verb, "legal") for action in DecisionAction}
    for me, refused in ((DecidedBy(username="ann"), True), (ANN, False)):
        said = {c.action: "refused while you impersonate" in c.what for c in choices(read_case(raw), everything, me)}
        assert said[DecisionAction.RESUME] is refused
        assert not said[DecisionAction.ACKNOWLEDGE]


def test_who_raised_it_does_not_accept_it() -> None:
    raw = escalation()
    raw["spec"]["signal"] |= {"readings": [], "manual": {"tier": "high", "rationale": "x", "raisedBy": "ann"}}
    assert (
        "ann raised it: accepting the risk is for others" in foreseen(read_case(raw), "AcceptRisk", until=at(60)).doubts
    )


@pytest.mark.parametrize(
    ("changes", "action", "more"),
    [
        ({}, "AcceptRisk", {"until": at(60 * 24 * 31)}),
        ({}, "Resume", {"person": "olga"}),
        ({"decisions": [decided("Resume", "model-risk", "max"), OBJECTION]}, "Resume", {}),
        ({"decisions": [decided("Acknowledge", "legal", "ann")]}, "Acknowledge", {}),
        ({}, "Object", {"withdraw": True}),
        ({}, "Object", {"role": "security"}),
        ({}, "Escalate", {"tier": "moderate"}),
        ({}, "Comment", {"clock": "gdpr"}),
        ({}, "Close", {"resolution": "Remediated"}),
        ({"conditions": [condition("Closed", True, "Cleared")]}, "Contain", {}),
    ],
)
def test_nothing_is_promised_of_what_will_be_refused(
    changes: dict[str, Any], action: str, more: dict[str, Any]
) -> None:
    found = foreseen(case(**changes), action, **more)
    assert found.doubts
    for promise in ("with yours", "nobody is asked again", "go back", "stop", "counts", "at once", "until anybody"):
        assert promise not in found.sentence, found.sentence


def test_a_duty_that_was_met_already_is_not_met_again() -> None:
    met = foreseen(case(clocks=[clock(metAt=at(1))]), "Comment", clock="ai-act-art-73").sentence
    assert ("counts as met" not in met, "was met already, 2026-11-24 06:01:03" in met) == (True, True), met


def test_an_objection_that_is_withdrawn_is_said_to_be() -> None:
    judged = {"name": "d", "uid": "u", "action": "Object", "role": "legal", "by": "ann", "at": at(), "rung": 1}
    judged |= {"counted": True, "reason": "Counted"}
    assert accepted_message(CountedDecision.model_validate(judged)) == "Object was counted for legal"
    withdrawn = CountedDecision.model_validate(judged | {"withdraw": True})
    assert accepted_message(withdrawn) == "the objection of legal is withdrawn"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("output", list(options.Form))
def test_what_will_be_refused_is_not_sent_where_nobody_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, output: options.Form
) -> None:
    refused = Preview("You agree.", ("ann owns the model",))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(typer.Exit) as ended:
        confirm(options.How(output=output), refused)
    assert ended.value.exit_code == 1
    confirm(options.How(output=output, yes=True), refused)
    confirm(options.How(output=output, dry_run=True), refused)
    confirm(options.How(output=output), refused, is_stop=True)
    confirm(options.How(output=output), Preview("You agree."))
    monkeypatch.setattr("sys.stdin", Terminal())
    asked: list[str] = []
    monkeypatch.setattr(typer, "confirm", lambda question, **more: asked.append(question))
    confirm(options.How(output=output), refused)
    assert asked == ["Go on?"]


def test_next_higher_tier() -> None:
    low, top = case("moderate", contained=False), case()
    assert (higher(low, None), higher(low, "high")) == ("high", "high")
    with pytest.raises(ValueError, match="moderate is no tier above moderate; above it: high"):
        higher(low, "moderate")
    with pytest.raises(ValueError, match="the highest tier"):
        higher(top, None)
    for subject in (low, top):
        with pytest.raises(ValueError, match="has no tier nosuch, only moderate and high"):
            higher(subject, "nosuch")


# --- Options for you ----------------------------------------------------------------------------------------------


def test_options_are_those_of_the_role_that_make_sense() -> None:
    everything = {(action.verb, role) for action in DecisionAction for role in ("legal", "security")}
    commands = [c.command for c in choices(case(clocks=[clock()]), everything, ANN)]
    place = f"{NAME} -n {NAMESPACE} --role"
    assert commands == [
        f"kubectl riskladder ack {place} legal --rationale '…'",
        f"kubectl riskladder ack {place} security --rationale '…'",
        f"kubectl riskladder accept-risk {place} legal --until 30d --rationale '…'",
        f"kubectl riskladder resume {place} legal --rationale '…'",
        f"kubectl riskladder object {place} legal --rationale '…'",
        f"kubectl riskladder comment {place} legal --clock ai-act-art-73 --rationale '…'",
    ]
    met = [c.command for c in choices(case(clocks=[clock(metAt=at(1))]), everything, ANN)]
    assert f"kubectl riskladder close {place} legal --resolution Retired --rationale '…'" in met
    assert choices(case(), set(), ANN) == ()


def test_options_of_owners_and_of_those_who_have_agreed() -> None:
    everything = {(action.verb, "legal") for action in DecisionAction}
    owner = {c.action for c in choices(case(), everything, OLGA)}
    assert owner == {"Acknowledge", "Object", "Comment"}
    has_decided = [RESUME_BY_ANN, decided("Acknowledge", "legal", "bob")]
    left = {c.action for c in choices(case(decisions=has_decided), everything, ANN)}
    assert not {"Resume", "Acknowledge"} & left
    objecting = choices(case(decisions=[decided("Object", "legal", "bob")]), everything, ANN)
    assert [c.command for c in objecting if c.action == "Object"] == [
        f"kubectl riskladder object {NAME} -n {NAMESPACE} --role legal --withdraw --rationale '…'"
    ]


def test_options_after_the_close() -> None:
    everything = {(action.verb, "legal") for action in DecisionAction}
    closed = case(conditions=[condition("Closed", True, "Remediated")])
    assert [c.action for c in choices(closed, everything, ANN)] == ["Comment"]
    owner = {(action.verb, "model-risk") for action in DecisionAction}
    assert [c.action for c in choices(closed, owner, DecidedBy(username="max"))] == ["Review", "Comment"]


def test_messages_and_the_page_offer_the_same_to_whoever_holds_every_verb() -> None:
    """What a message offers to a role, the page shows as an option, or under what others may do."""
    everything = {(action.verb, "legal") for action in DecisionAction}
    subjects = [
        case(),
        case(contained=False),
        case("moderate", contained=False),
        case(clocks=[clock()]),
        case("moderate", contained=False, clocks=[clock()]),
    ]
    for subject in subjects:
        mine = choices(subject, everything, ANN)
        shown = {choice.what for choice in mine} | {what for what, _ in for_others(subject, mine)}
        standing = subject.standing
        offered = {one.effect for one in possible(standing) if one.action is not DecisionAction.COMMENT}
        assert offered <= shown, offered - shown
        commands = {choice.command for choice in mine}
        for one in possible(standing):
            sat = may_sit(standing, one.action, "legal") and is_for(standing, "legal", one)
            word = COMMANDS[one.action]
            mail = command_of(word, subject.namespace, subject.name, role="legal", arguments=one.arguments)
            assert (mail in commands) is sat, mail


def test_who_can_do_nothing_is_told_why_and_who_can() -> None:
    subject = case()
    assert why_none(subject, set(), "rita").startswith("none, because rita holds no role of this ladder (model-risk, ")
    others = dict(for_others(subject, ()))
    assert others["acknowledge: you take it"].startswith("anyone who may acknowledge as model-risk, ")
    resume = {who for what, who in others.items() if what.startswith("resume")}
    assert resume == {"one person each from legal and model-risk"}


def test_others_are_told_what_is_left_and_nobody_what_nobody_can_do() -> None:
    """What everybody would be refused is offered to nobody; of what is half agreed, the other half."""
    by_ann = case(decisions=[RESUME_BY_ANN, decided("Acknowledge", "legal", "ann")])
    everything = {(action.verb, "legal") for action in DecisionAction}
    others = dict(for_others(by_ann, choices(by_ann, everything, ANN)))
    assert others[next(what for what in others if what.startswith("resume"))] == "one person from model-risk"
    assert "legal" not in others["acknowledge: you take it"]
    votes = [decided("AcceptRisk", "legal", "ann"), decided("AcceptRisk", "executive", "eve", reason="QuorumMet")]
    acceptance = {"tier": "high", "acceptedAt": at(6), "until": at(600), "by": ["ann", "eve"]}
    accepted = case(decisions=votes, riskAcceptance=acceptance)
    assert foreseen(accepted, "AcceptRisk", person="zoe", until=at(600)).doubts
    assert not any("accept the risk" in what for what, _ in for_others(accepted, ()))


def test_preview_says_that_somebody_has_agreed_to_something_else() -> None:
    votes = [decided("AcceptRisk", "executive", "eve"), decided("Close", "model-risk", "max", resolution="Retired")]
    sentence = foreseen(case(decisions=votes), "Resume").sentence
    assert "executive has agreed to accept the risk and model-risk has agreed to close it as Retired" in sentence
    assert "does not add to yours" in sentence
    assert "Note that" not in foreseen(case(decisions=[decided("Resume", "model-risk", "max")]), "Resume").sentence


def test_preview_of_an_acceptance_says_that_a_stopped_model_stays_so() -> None:
    votes = [decided("AcceptRisk", "executive", "eve")]
    sentence = foreseen(case(decisions=votes), "AcceptRisk", until=at(600)).sentence
    assert "stays contained until it is resumed" in sentence
    assert "which ends the acceptance" in sentence
    running = foreseen(case(contained=False, decisions=votes), "AcceptRisk", until=at(600)).sentence
    assert "stays contained" not in running


def test_preview_of_a_second_review_names_the_first() -> None:
    before = {"by": "max", "at": at(10), "policyUpdated": True, "satisfaction": 2}
    closed = {"conditions": [condition("Closed", True, "Cleared")], "review": before}
    again = {"policyUpdated": False, "satisfaction": 5}
    sentence = foreseen(case(**closed), "Review", role="model-risk", review=again).sentence
    assert "There is a review already, by max" in sentence
    assert "the policy is changed, satisfaction 2 of 5" in sentence


def test_objections_of_several_are_several() -> None:
    objections = [decided("Object", "executive", "eve"), decided("Object", "model-risk", "max")]
    [doubt] = foreseen(case(decisions=objections), "Resume").doubts
    assert (
        doubt == "executive and model-risk objected: the objections have to be withdrawn, or overruled by a higher rung"
    )


def test_stop_that_nobody_has_answered_stands() -> None:
    code, sentence = judged(case(), "d1", None, 10).code, judged(case(), "d1", None, 10, is_stop=True).sentence
    assert code == UNANSWERED
    assert "The stop stands, and takes effect as soon as it does" in sentence
    assert "The stop stands" not in judged(case(), "d1", None, 10).sentence


# --- What is sent -------------------------------------------------------------------------------------------------


@given(st.from_regex(DNS_SUBDOMAIN_PATTERN, fullmatch=True).filter(lambda n: len(n) <= 253), st.sampled_from("ab"))
def test_names_stay_valid_whatever_the_escalation_is_called(name: str, word: str) -> None:
    start = prefix(name, f"acceptrisk{word}")
    assert len(start) <= 58
    assert start.endswith(f"-acceptrisk{word}-")
    assert re.fullmatch(DNS_SUBDOMAIN_PATTERN, start + "x7k2p")


def test_decision_is_what_the_schema_takes() -> None:
    me = DecidedBy(username="ann", groups=("system:authenticated",))
    spec = EscalationDecisionSpec(
        escalation=NAME, action=DecisionAction.RESUME, role="legal", rationale="fixed", decided_by=me
    )
    manifest = decision_manifest(NAMESPACE, spec)
    assert manifest["metadata"] == {"namespace": NAMESPACE, "generateName": f"{NAME}-resume-"}
    assert manifest["spec"] == {
        "escalation": NAME,
        "action": "Resume",
        "role": "legal",
        "rationale": "fixed",
        "decidedBy": {"username": "ann", "groups": ["system:authenticated"]},
    }
    named = decision_manifest(NAMESPACE, spec, named=True)
    assert re.fullmatch(rf"{NAME}-resume-[a-z0-9]{{5}}", named["metadata"]["name"])
    assert list(validate("EscalationDecision", named, unknown_fields=True)) == []


def test_signal_is_what_the_schema_takes() -> None:
    raised = Manual.model_validate({"tier": "high", "rationale": "wrong", "role": "legal", "containment": "Rollback"})
    target = TargetRef(kind="Deployment", name="credit-scorer")
    stop = signal_manifest(NAMESPACE, "credit-scoring", target, raised, NOW)
    assert re.fullmatch(r"credit-scorer-stop-[a-z0-9]{5}", stop["metadata"]["name"])
    assert (stop["spec"]["source"], stop["spec"]["observedAt"]) == ("manual", "2026-11-24T06:20:03Z")
    drill = signal_manifest(NAMESPACE, "credit-scoring", target, raised, NOW, drill=True)
    by = ReportedBy(username="ann", credential_id="JTI=0b1c")
    own = signal_manifest(NAMESPACE, "credit-scoring", target, raised, NOW, by=by)
    assert own["spec"]["reportedBy"] == {"username": "ann", "credentialID": "JTI=0b1c"}
    impersonated = signal_manifest(NAMESPACE, "credit-scoring", target, raised, NOW, by=ReportedBy(username="ann"))
    assert impersonated["spec"]["reportedBy"] == {"username": "ann"}
    assert not validate("ModelRiskSignal", own)
    assert drill["spec"]["drill"] is True
    for manifest in (stop, drill):
        assert list(validate("ModelRiskSignal", manifest, unknown_fields=True)) == []


# --- The stop button ----------------------------------------------------------------------------------------------


def ladder(name: str, labels: dict[str, str], **changes: Any) -> dict[str, Any]:
    spec = {**LADDER["spec"], "governs": {"selector": {"matchLabels": labels}}, **changes}
    return {"metadata": {"name": name}, "spec": spec}


def test_ladder_is_the_only_one_that_governs() -> None:
    ladders = [ladder("credit", {"a": "1"}), ladder("other", {"a": "2"}), ladder("broken", {"a": "1"}, tiers=[])]

    def choose(labels: dict[str, str], given: str | None = None) -> str:
        return raising.choose_ladder(ladders, labels, given, "Deployment/x").name

    assert choose({"a": "1"}) == choose({"a": "1"}, "credit") == "credit"
    for labels, name, says in (
        ({}, None, "no ladder of the namespace governs Deployment/x: its labels match none; ladders there: credit"),
        ({"a": "2"}, "credit", "does not govern Deployment/x"),
        ({"a": "1"}, "none", "there is no ladder none; there are: credit and other"),
        ({"a": "1"}, "broken", "is not valid: tiers"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            choose(labels, name)
    ladders.append(ladder("second", {"a": "1"}))
    with pytest.raises(ValueError, match="choose with --ladder one of credit or second"):
        choose({"a": "1"})


def test_tier_is_the_lowest_that_contains_and_says_who_resumes() -> None:
    spec = EscalationLadderSpec.model_validate(LADDER["spec"])
    assert raising.default_tier(spec.tiers).name == "high"
    assert raising.default_tier(spec.tiers[:1]).name == "moderate"
    found = raising.Ladder("credit", spec)
    assert (found.tier("moderate").name, raising.action_of(found.tier(None), None)) == ("moderate", "Rollback")
    assert raising.action_of(found.tier("moderate"), None) == "ScaleToZero"
    with pytest.raises(ValueError, match="has no tier top, only moderate and high"):
        found.tier("top")


def test_targets() -> None:
    assert raising.parse_target("deploy/x") == TargetRef(kind="Deployment", name="x")
    assert raising.parse_target("sts/x") == TargetRef(kind="StatefulSet", name="x")
    assert raising.parse_target("rollouts.argoproj.io/x") == TargetRef(kind="Rollout", name="x")
    assert raising.parse_target("isvc/x") == TargetRef(kind="InferenceService", name="x")
    for word, says in (
        ("x", "for example deployment/x$"),
        ("x/", "for example deployment/NAME$"),
        ("pod/x", "pod is not a kind of workload"),
        ("sts/X!", "no name"),
    ):
        with pytest.raises(ValueError, match=says):
            raising.parse_target(word)


# --- Answers ------------------------------------------------------------------------------------------------------

HOW_ASKED = {"verb": "create", "resource": "escalationdecisions.riskladder.dev", "where": "/x"}


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            Forbidden(
                403,
                "Forbidden",
                'escalationdecisions.riskladder.dev "x-1" is forbidden: ValidatingAdmissionPolicy '
                "'riskladder-decisions' with binding 'decisions' denied request: ann may not resume as legal",
                **HOW_ASKED,
            ),
            1,
            "refused: ann may not resume as legal",
        ),
        (
            Forbidden(
                403,
                "Forbidden",
                'escalationdecisions.riskladder.dev is forbidden: User "ann" cannot create resource '
                '"escalationdecisions" in API group "riskladder.dev" in the namespace "models"',
                **HOW_ASKED,
            ),
            1,
            "ann may not create escalationdecisions in namespace models: ask an administrator for the role that "
            "allows it",
        ),
        (
            Refused(
                422,
                "Invalid",
                'EscalationDecision.riskladder.dev "x-1" is invalid: spec.until: Required value: action AcceptRisk '
                "needs until",
                **HOW_ASKED,
            ),
            1,
            "refused: spec.until: Required value: action AcceptRisk needs until",
        ),
        (Conflict(409, "AlreadyExists", "x", **HOW_ASKED), 2, "somebody was faster"),
        (
            NamespaceMissing(404, "NotFound", 'namespaces "models" not found', **HOW_ASKED),
            2,
            "there is no namespace models",
        ),
        (NotFound(404, "NotFound", "404 page not found", **HOW_ASKED), 2, "install Riskladder's CRDs first"),
        (ApiError(0, "Unreachable", "refused", **HOW_ASKED), 2, "the cluster does not answer: refused"),
    ],
)
def test_refusals_are_sentences(error: ApiError, code: int, says: str) -> None:
    found = refusal(error, NAMESPACE)
    assert found[0] == code
    assert says in found[1]


def test_verdicts_are_sentences() -> None:
    def verdict(status: bool, reason: str, message: str = "") -> tuple[int, str]:
        found = judged(case(), "d-1", Condition.model_validate(condition("Accepted", status, reason, message)), 30)
        return found.code, found.sentence

    assert verdict(True, "Counted") == (0, "Accepted: it counts.")
    assert verdict(True, "QuorumMet") == (0, "Accepted: it counts, and with it enough have agreed.")
    assert verdict(True, "QuorumMet", "Resume was counted for legal: the quorum is met")[1] == (
        "Accepted: Resume was counted for legal: the quorum is met."
    )
    assert verdict(False, "ModelOwner", "ann owns the model") == (1, "not accepted (ModelOwner): ann owns the model")
    silent = judged(case(), "d-1", None, 30)
    assert (silent.code, "not answered within 30 s: does the operator run?" in silent.sentence) == (3, True)


def test_closing_is_refused_for_the_first_reason_of_the_operator() -> None:
    clock = {"name": "art-73", "role": "legal", "startedAt": at(), "dueAt": at(60)}
    assert foreseen(case(clocks=[clock]), "Close", resolution="Remediated").doubts == (
        "the model is contained: resume it first, or close with resolution Retired",
    )
    assert foreseen(case(clocks=[clock]), "Close", resolution="Retired").doubts == (
        "art-73 has not been met: comment with the clock's name first",
    )
    coming = case(resume={"intent": 1, "at": at(5), "by": ["ann"], "steps": [1, 3], "done": 1})
    [doubt] = foreseen(coming, "Close", resolution="Remediated").doubts
    assert "step by step" in doubt
    assert foreseen(coming, "Close", resolution="Retired").doubts == ()


def test_an_api_server_that_is_not_ready_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["not found. There can be a delay", "not found. There can be a delay", ""]
    monkeypatch.setattr(session, "AGAIN_AFTER", 0.0)

    class Starting:
        async def request(self, *arguments: Any, **more: Any) -> dict[str, Any]:
            if message := answers.pop(0):
                raise ApiError(503, "ServiceUnavailable", message, verb="create", resource="x", where="y")
            return {"created": True}

    at_it = session.Session(None, Starting(), NAMESPACE)  # type: ignore[arg-type]
    assert asyncio.run(at_it.create(DECISIONS, {})) == {"created": True}
    answers[:] = ["overloaded"]
    with pytest.raises(typer.Exit):
        asyncio.run(at_it.create(DECISIONS, {}))


def test_alternates_are_listed_once() -> None:
    assert case(waitingOn=["deputy-counsel", "legal"]).waiting_on == ("legal",)
    assert case(waitingOn=["deputy-counsel"]).waiting_on == ("deputy-counsel",)


# --- What a stop button waits for ---------------------------------------------------------------------------------


def stopping(*intents: dict[str, Any], proved: bool = True, **changes: Any) -> Case:
    """An escalation whose last intent is in force, and proved or not."""
    raw = escalation(**changes)
    [*_, last] = [raw["spec"]["intent"] | {"id": n, **more} for n, more in enumerate(intents, 1)]
    raw["status"]["containments"] = [{"axis": "Workload", "intent": last, "appliedAt": at()}]
    if not proved:
        raw["status"]["conditions"] = [condition("Contained", False, "ContainmentApplied")]
    return read_case(raw)


ZERO = ContainmentAction.SCALE_TO_ZERO
ROLLED_BACK = {"action": "Rollback", "revision": "2"}


def test_proof_of_an_older_containment_is_none() -> None:
    order = Order(ZERO, decision="stop-1")
    before = stopping(ROLLED_BACK)
    assert (order.intent(before), order.proved(before)) == (None, None)
    saved = stopping(ROLLED_BACK, {"decision": "stop-1"}, proved=False)
    assert order.intent(saved) is not None
    assert order.proved(saved) is None
    done = stopping(ROLLED_BACK, {"decision": "stop-1"})
    assert order.proved(done) == order.intent(done)
    assert contained_result(done, order, 0.4).sentence.startswith(
        "Deployment/credit-scorer is contained, proved 0.4 s after it was sent."
    )


def test_a_signal_is_known_by_its_uid() -> None:
    by_signal = {"name": "stop", "uid": "u9", "observedAt": at()}
    risen = stopping({}, {"signal": by_signal})
    assert [Order(ZERO, signal=uid).intent(risen) for uid in ("u3", "u9", "u8", "")] == [
        None,
        risen.intent,
        None,
        None,
    ]
    by_hand = stopping({"decision": "d"})
    assert Order(ZERO, signal="u3").intent(by_hand) is None


def test_what_is_as_safe_already_is_said_to_be() -> None:
    order = Order(ZERO, decision="stop-1")
    already = stopping({})
    assert order.proved(already) is not None
    result = contained_result(already, order, 0.4)
    assert result.facts == {"contained": True, "seconds": 0.4, "escalation": NAME, "already": True, "intent": 1}
    assert "is contained already, by ScaleToZero intended" in result.sentence
    reverted = [condition("Contained", True, "x"), condition("ContainmentHolds", False, "ContainmentReverted")]
    assert order.proved(stopping({}, conditions=reverted)) is None
    resumed = stopping({}, resume={"intent": 1, "at": at(5), "by": ["ann"]})
    assert order.proved(resumed) is None
