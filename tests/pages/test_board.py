"""What the pages of the console draw, and what a form becomes, without a cluster."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import format_time
from riskladder.api.decision import DecidedBy, DecisionAction
from riskladder.cluster.authority import granted
from riskladder.console import board, fleet
from riskladder.people.case import read_case
from riskladder.people.changes import NEUTRAL, since
from riskladder.people.choices import choices, why_no_say
from riskladder.people.drafting import Unfit, drafted
from riskladder.people.headline import headline, state
from tests import people
from tests.pages.cases import MAKERS, ME, case_in, everything, objects, told
from tests.unit.builders import LADDER, NAMESPACE, NOW, at, edited, signal_document

# --- The board --------------------------------------------------------------------------------------------------------


def test_worst_tier_has_the_same_accent_in_every_ladder() -> None:
    two, three = case_in("contained").policy, case_in("two axes").policy
    assert [board.accent(two, name) for name in ("high", "moderate")] == ["high", "moderate"]
    assert [board.accent(three, name) for name in ("severe", "high", "moderate")] == ["high", "moderate", "low"]
    assert board.accent(two, "unknown") == "none"


def test_rungs_show_where_it_stands_and_where_it_ends() -> None:
    case = case_in("contained")
    drawn = {rung.name: rung for rung in board.rungs(case, told(*objects("contained")))}
    assert [(name, rung.state) for name, rung in drawn.items()] == [
        ("high", "now"),
        ("moderate", "ahead"),
        ("baseline", "past"),
    ]
    assert drawn["high"].entered == NOW
    assert drawn["high"].note == "legal, then executive"
    over = {rung.name: rung.state for rung in board.rungs(case_in("closed"), None)}
    assert over == {"high": "past", "moderate": "ahead", "baseline": "now"}


@pytest.mark.parametrize("name", MAKERS)
def test_exactly_one_rung_is_now(name: str) -> None:
    assert [rung.state for rung in board.rungs(case_in(name), None)].count("now") == 1


def test_roles_show_how_far_they_got() -> None:
    found = {shown.role: shown for shown in board.roles(case_in("answered"), ["legal"])}
    assert (found["legal"].state, found["legal"].is_mine) == ("answered", True)
    assert found["legal"].who == "legal@bank.example: Acknowledge"
    assert found["executive"].who == "executive@bank.example: Object"
    assert found["model-risk"].state == "none", "a comment is no answer"
    first = {shown.role: shown.state for shown in board.roles(case_in("contained"), [])}
    assert (first["legal"], first["executive"], first["data-science"]) == ("asked", "later", "none")
    assert not any(shown.is_mine for shown in board.roles(case_in("contained"), []))


def test_role_whose_channels_fail_is_said_to_have_heard_nothing() -> None:
    sent = [people.notified("security", "pager", "Failed", lastError="no such host")]
    [shown] = [r for r in board.roles(read_case(people.escalation(notifications=sent)), []) if r.role == "security"]
    assert shown.state == "failed"


@pytest.mark.parametrize("name", MAKERS)
def test_every_option_has_a_key_of_its_own_and_is_drawn_with_its_effect(name: str) -> None:
    case = case_in(name)
    found = board.options(case, choices(case, everything(case), ME), ME, at(5))
    keys = [option.key for option in found]
    assert len(keys) == len(set(keys))
    assert all(option.roles and option.title for option in found)
    offered = {choice.action for choice in choices(case, everything(case), ME)}
    assert {option.action for option in found} == offered


def test_option_offers_each_role_once_and_asks_for_what_is_still_missing() -> None:
    case = case_in("contained")
    found = {option.action: option for option in board.options(case, choices(case, everything(case), ME), ME, at(5))}
    assert found[DecisionAction.ACCEPT_RISK].needs == ("until",)
    assert found[DecisionAction.ACCEPT_RISK].limit
    assert "until" not in found[DecisionAction.ACCEPT_RISK].fields
    assert set(found[DecisionAction.RESUME].roles) == {"legal", "model-risk", "deputy"}
    closed = case_in("closed")
    [review] = board.options(closed, choices(closed, {("review", "model-risk")}, ME), ME, at(5))
    assert (review.needs, dict(review.fields)) == (("review",), {})


def test_deadline_says_how_much_of_the_time_is_gone() -> None:
    case = case_in("contained")
    found = board.deadline(case, at(5))
    assert found is not None
    assert found.passed == 50
    late = board.deadline(case, at(10))
    assert late is not None
    assert late.demand.by > found.demand.by, "the next one runs"
    assert 0 < late.passed < 100
    assert board.deadline(case_in("closed"), at(5)) is None


@given(minutes=st.integers(-10_000, 10_000_000), name=st.sampled_from(list(MAKERS)))
def test_part_of_the_time_is_never_less_than_none_or_more_than_all(minutes: int, name: str) -> None:
    found = board.deadline(case_in(name), at(minutes))
    assert found is None or 0 <= found.passed <= 100


def test_owner_is_told_why_there_is_no_say() -> None:
    olga = DecidedBy(username="olga@bank.example")
    others = ": others decide whether its risk is accepted, and whether it is resumed or closed"
    assert why_no_say(case_in("contained"), olga) == f"You own credit{others}"
    assert why_no_say(case_in("closed"), olga) == ""
    assert why_no_say(case_in("contained"), ME) == ""
    group = read_case(people.escalation(owners=["group:legal"]))
    assert why_no_say(group, ME) == f"You own credit-scorer (as group:legal){others}"


# --- In a sentence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("open", "credit is in tier moderate and not contained"),
        ("contained", "credit is stopped"),
        ("resumed", "scorer is resumed"),
        ("rolled back", "scorer is rolled back"),
        ("two axes", "scorer is replaced by its fallback and is stopped"),
        ("drill", "Drill: scorer is taken to be in tier high"),
        ("withheld", "scorer is in tier high and not contained"),
        ("suspended", "scorer is in tier high and not contained"),
        ("closed", "credit: closed as Remediated"),
    ],
)
def test_state_is_said_in_one_sentence(name: str, says: str) -> None:
    assert state(case_in(name)) == says


def test_headline_asks_those_who_have_not_answered() -> None:
    assert headline(case_in("contained"), at(1)) == "credit is stopped. Legal is asked to acknowledge."
    assert headline(case_in("answered"), at(8)) == "credit is stopped. Executive and legal are asked to decide."
    assert headline(case_in("agreeing"), at(1)) == (
        "credit is stopped. To restore it, 1 of 2 have agreed: model-risk is still needed."
    ), "whom to call, and not who might decide something else"
    assert headline(case_in("closed"), at(1)) == "credit: closed as Remediated."


# --- What a form becomes ----------------------------------------------------------------------------------------------


def draft(action: str, rationale: str = "as discussed", **fields: str) -> Any:
    return drafted("scorer-1", DecisionAction(action), "legal", rationale, fields, ME, NOW)


def test_form_becomes_a_decision() -> None:
    spec = draft("AcceptRisk", "  for the quarter\n", until="14d", tier="", resolution="")
    assert (spec.escalation, spec.role, spec.rationale) == ("scorer-1", "legal", "for the quarter")
    assert (spec.until, spec.tier, spec.decided_by) == (NOW + timedelta(days=14), None, ME)
    assert draft("Object", withdraw="true").withdraw is True
    assert not draft("Object", withdraw="no").withdraw
    review = draft("Review", policyUpdated="true", satisfaction="4", lessons=" look earlier ").review
    assert review.to_api() == {"policyUpdated": True, "satisfaction": 4, "lessons": "look earlier"}


@pytest.mark.parametrize(
    ("action", "rationale", "fields", "names"),
    [
        ("Acknowledge", " \n", {}, "rationale: say why"),
        ("Acknowledge", "x" * 4097, {}, "rationale: "),
        ("AcceptRisk", "x", {"until": "soon"}, "until: 'soon' is not a date"),
        ("AcceptRisk", "x", {"until": "2020-01-01"}, "until: 2020-01-01 is past"),
        ("Escalate", "x", {"tier": "Not A Name"}, "tier: "),
        ("Close", "x", {"resolution": "Shrugged"}, "resolution: "),
        ("Review", "x", {"satisfaction": "9"}, "review.satisfaction: "),
        ("Review", "x", {"satisfaction": "nine"}, "review.satisfaction: "),
        ("Contain", "x", {"containment": "Explode"}, "containment: "),
    ],
)
def test_unfit_form_says_which_field(action: str, rationale: str, fields: dict[str, str], names: str) -> None:
    with pytest.raises(Unfit) as unfit:
        draft(action, rationale, **fields)
    assert str(unfit.value).startswith(names)


@given(
    action=st.sampled_from(list(DecisionAction)),
    rationale=st.text(max_size=40),
    fields=st.dictionaries(
        st.sampled_from(("tier", "until", "containment", "resolution", "clock", "withdraw", "satisfaction", "lessons")),
        st.text(max_size=12) | st.from_regex(r"[0-9]{4,5}-[0-9]{2}-[0-9]{2}", fullmatch=True),
    ),
)
def test_whatever_is_typed_is_a_decision_or_unfit(
    action: DecisionAction, rationale: str, fields: dict[str, str]
) -> None:
    try:
        spec = drafted("scorer-1", action, "legal", rationale, fields, ME, NOW)
    except Unfit:
        return
    assert spec.rationale
    assert spec.decided_by == ME


# --- What has happened since ------------------------------------------------------------------------------------------


def test_changes_are_those_after_the_record_that_was_seen_without_who_was_reached() -> None:
    timeline = told(*objects("answered"))
    last = timeline.steps[-1].sequence
    assert since(timeline, last) == ()
    everything_since = [step.event for step in since(timeline, 0)]
    assert everything_since[0] == "EscalationOpened"
    assert not NEUTRAL.intersection(everything_since)
    assert {step.event for step in timeline.steps} & NEUTRAL, "some were left out"
    first = timeline.steps[0].sequence
    assert [step.event for step in since(timeline, first)] == everything_since[1:]


# --- The fleet --------------------------------------------------------------------------------------------------------


def signal_object(name: str = "fairness", value: float = 0.3, **more: Any) -> dict[str, Any]:
    status = {
        "tier": "high",
        "observed": [{"indicator": "bias", "value": value, "observedAt": format_time(NOW)}],
        "breaches": [{"indicator": "bias", "tier": "high"}],
        "conditions": [],
    }
    spec = {**signal_document(bias=value), "model": {"name": "credit", "version": "7"}}
    found = {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": spec, "status": status}
    found["spec"].update(more.pop("spec", {}))
    found["status"].update(more)
    return found


def test_models_are_those_of_signals_and_of_open_escalations() -> None:
    other = signal_object(spec={"target": {"kind": "Deployment", "name": "another"}, "model": None}, tier="baseline")
    found = fleet.models([other, signal_object()], [case_in("contained"), case_in("closed"), case_in("drill")])
    assert [(m.target, m.tier, len(m.cases)) for m in found] == [
        ("Deployment/scorer", "high", 1),
        ("Deployment/another", "baseline", 0),
    ]
    assert (found[0].name, found[0].version, found[0].ladder) == ("credit", "7", "credit")
    [measured] = found[0].measured
    assert (measured.source, measured.breaches, measured.is_stale) == ("monitor", "high", False)


def test_model_says_what_is_silent_and_what_is_not_used() -> None:
    silent = [people.condition("Fresh", False, "Stale"), people.condition("Ready", False, "UntrustedSource", "no")]
    [model] = fleet.models([signal_object(conditions=silent)], [])
    assert model.problems == ["monitor: no"]
    assert model.measured[0].is_stale


def test_what_another_version_wrote_and_drills_are_left_out() -> None:
    assert fleet.models([{"metadata": {}, "spec": {"strange": 1}}, signal_object(spec={"drill": True})], []) == []
    assert fleet.ladder({"metadata": {}, "spec": {}}, date(2026, 11, 24)) is None


def test_ladder_is_shown_with_what_is_wrong_and_advised() -> None:
    obj = {
        "metadata": {"namespace": NAMESPACE, "name": "credit"},
        "spec": copy.deepcopy(LADDER),
        "status": {
            "conditions": [
                people.condition("Ready", True, "Accepted"),
                people.condition("Suspended", False, "Active"),
                people.condition("ChannelsReady", False, "SecretMissing", "there is no Secret"),
            ]
        },
    }
    found = fleet.ladder(obj, date(2026, 11, 24))
    assert found is not None
    assert [tier.name for tier in found.tiers] == ["high", "moderate"]
    assert [problem.type for problem in found.problems] == ["ChannelsReady"]
    assert found.advice


def test_trigger_is_said_in_words() -> None:
    tiers = fleet.ladder({"metadata": {"namespace": "a", "name": "b"}, "spec": edited(LADDER, None)}, date.min)
    assert tiers is not None
    [twice, drift] = tiers.tiers[1].triggers
    assert fleet.trigger_words(twice, {}) == "bias above 0.1, 2 readings in a row"
    assert fleet.trigger_words(drift, {"drift": "psi"}) == "drift above 0.2 psi"


def test_commitments_are_what_runs_with_the_first_end_in_front() -> None:
    found = fleet.commitments([case_in("accepted"), case_in("closed"), case_in("contained")])
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert [(one.acceptance is not None, one.clock is not None) for one in found] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert all(one.case.is_open for one in found)
    assert min(one.at for one in found) > datetime(2026, 1, 1, tzinfo=UTC)


# --- Roles ------------------------------------------------------------------------------------------------------------

_WORDS = ("*", "riskladder.dev", "apps", "", "stakeholders", "escalations", "contain", "resume", "get", "legal", "risk")
_RULES = st.fixed_dictionaries(
    {"verbs": st.lists(st.sampled_from(_WORDS), max_size=2)},
    optional={
        "apiGroups": st.lists(st.sampled_from(_WORDS), max_size=2) | st.none(),
        "resources": st.lists(st.sampled_from(_WORDS), max_size=2) | st.none(),
        "resourceNames": st.lists(st.sampled_from(_WORDS), max_size=2) | st.none(),
    },
)


def rbac_allows(rule: dict[str, list[str] | None], verb: str, role: str) -> bool:
    """As k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac does: verb, group, resource and name all match."""

    def matches(key: str, wanted: str) -> bool:
        return any(one in ("*", wanted) for one in rule.get(key) or [])

    names = rule.get("resourceNames") or []
    named = len(names) == 0 or any(name == role for name in names)
    return (
        matches("verbs", verb)
        and matches("apiGroups", "riskladder.dev")
        and matches("resources", "stakeholders")
        and named
    )


@given(st.lists(_RULES, max_size=4))
def test_roles_are_held_as_rbac_grants_them(rules: list[dict[str, list[str] | None]]) -> None:
    verbs, roles = ("contain", "resume"), ("legal", "risk", "*")
    wanted = {(v, r) for v in verbs for r in roles if any(rbac_allows(rule, v, r) for rule in rules)}
    assert granted(rules, verbs, roles) == wanted


def test_rule_with_the_wildcard_as_a_name_grants_nothing() -> None:
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert granted([rule], ["contain"], ["legal"]) == {("contain", "legal")}
    assert granted([rule | {"resourceNames": ["*"]}], ["contain"], ["legal"]) == set()
    assert granted([rule | {"resourceNames": ["legal"]}], ["contain"], ["legal", "risk"]) == {("contain", "legal")}
