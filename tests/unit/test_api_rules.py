"""Offline validation: every rule refuses what it is for, and with the words of the API server."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api import cel_eval, validation
from riskladder.api.base import VALIDATIONS
from riskladder.api.kinds import KINDS
from riskladder.api.schema import object_schema
from riskladder.api.validation import Problem, validate
from tests import yaml_text
from tests.refusals import ROOT, RULES, STRUCTURE, Case, put, valid

EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("kind", KINDS)
def test_valid_document_has_no_problem(kind: str) -> None:
    assert validate(kind, valid(kind), unknown_fields=True) == []


@cache
def checked(case: Case) -> tuple[list[Problem], set[str]]:
    """The problems of a case, and the rules that refuse it."""
    refused: set[str] = set()

    def spy(*args: Any, **kwargs: Any) -> Iterator[cel_eval.Violation]:
        for violation in cel_eval.violations(*args, **kwargs):
            refused.add(violation.rule)
            yield violation

    with mock.patch.object(validation, "violations", spy):
        return validate(case.kind, case.document(), unknown_fields=True), refused


@pytest.mark.parametrize("case", [*RULES, *STRUCTURE], ids=lambda case: case.name)
def test_refusal(case: Case) -> None:
    assert checked(case)[0] == [Problem(case.path, case.message)]


def _rules(schema: dict[str, Any]) -> Iterator[str]:
    yield from (rule["rule"] for rule in schema.get(VALIDATIONS, ()))
    for child in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from _rules(child)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_refuses_some_case(kind: str) -> None:
    refused: set[str] = set().union(*(checked(case)[1] for case in RULES if case.kind == kind))
    offline = {rule for rule in _rules(object_schema(KINDS[kind])["properties"]["spec"]) if "oldSelf" not in rule}
    if kind == "Escalation":  # evidence links are checked on the signal; here they are a copy of what was admitted
        offline = set()
    assert offline - refused == set()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_are_valid(path: Any) -> None:
    for document in yaml_text.load_all(path.read_text()):
        if document and document.get("apiVersion", "").startswith("riskladder.dev/") and document["kind"] in KINDS:
            assert validate(document["kind"], document, unknown_fields=True) == []


def test_misspelt_field_is_reported_only_for_lint() -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][0]["onTimeOut"] = "Hold"
    document["sepc"] = {}
    assert validate("EscalationLadder", document) == []
    what = "unknown field: it would be dropped without effect; check the spelling"
    assert validate("EscalationLadder", document, unknown_fields=True) == [
        Problem("spec.tiers[0].onTimeOut", what),
        Problem("sepc", what),
    ]


def test_snake_case_is_not_an_api_field() -> None:
    document = valid("ModelRiskSignal")
    document["spec"]["observed_at"] = document["spec"].pop("observedAt")
    assert validate("ModelRiskSignal", document) == [Problem("spec.observedAt", "is required")]


def test_input_is_not_changed() -> None:
    document = valid("EscalationLadder")
    before = copy.deepcopy(document)
    validate("EscalationLadder", document, unknown_fields=True)
    assert document == before


def test_null_counts_as_absent() -> None:
    document = valid("EscalationLadder")
    document["spec"]["suspended"] = None
    document["spec"]["charter"] = None
    assert validate("EscalationLadder", document) == []


def test_whole_numbers_compare_as_numbers() -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][0]["triggers"][0].update(above=1, clearsAt=1.0)
    document["spec"]["tiers"][1]["triggers"][0].update(above=1.5, readings=2.0)
    assert validate("EscalationLadder", document) == []


def test_unquoted_yaml_dates_are_taken_as_text() -> None:
    ladder, signal = valid("EscalationLadder"), valid("ModelRiskSignal")
    ladder["spec"]["charter"]["review"]["lastReviewed"] = date(2026, 10, 1)
    signal["spec"]["observedAt"] = datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert validate("EscalationLadder", ladder) == []
    assert validate("ModelRiskSignal", signal) == []


def test_days_and_hours_are_compared_by_length() -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][0]["acknowledge"] = {"within": "24h", "remindEvery": "1d"}
    assert validate("EscalationLadder", document) == []
    document["spec"]["tiers"][0]["acknowledge"] = {"within": "99999d99999h99999m99999s", "remindEvery": "99999d"}
    assert validate("EscalationLadder", document) == []


def test_more_seats_allow_a_larger_quorum() -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][1]["decide"]["quorum"][0]["count"] = 3
    document["spec"]["stakeholders"][4]["seats"] = 2  # deputy-counsel, the alternate of legal
    assert validate("EscalationLadder", document) == []


def test_rules_are_silent_where_the_structure_is_broken() -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][1]["triggers"][0] = {"indicator": "nobody-knows", "above": "high"}
    document["spec"]["channels"][0]["secretKey"] = "not a key"
    assert [problem.path for problem in validate("EscalationLadder", document)] == [
        "spec.channels[0].secretKey",
        "spec.tiers[1].triggers[0].above",
    ]


def test_several_problems_are_all_reported() -> None:
    document = valid("EscalationLadder")
    for change in (put("charter", "owner", "nobody"), put("drillWithin", "0s"), put("channels", 2, "url", "ftp://a")):
        change(document["spec"])
    assert {problem.path for problem in validate("EscalationLadder", document)} == {
        "spec.charter.owner",
        "spec.drillWithin",
        "spec.channels[2].url",
    }


def test_ladder_name_must_fit_a_label() -> None:
    document = valid("EscalationLadder")
    document["metadata"]["name"] = "credit.scoring"
    problem = Problem(
        "",
        "metadata.name credit.scoring must be a DNS label of at most 63 characters, without dots: "
        "it becomes a label value",
    )
    assert validate("EscalationLadder", document) == [problem]


def test_status_is_not_judged() -> None:
    document = valid("EscalationLadder")
    document["status"] = {"openEscalations": "many", "colour": "red"}
    assert validate("EscalationLadder", document, unknown_fields=True) == []


def test_generated_name_is_accepted() -> None:
    for kind in ("ModelRiskSignal", "EscalationLadder"):
        document = valid(kind)
        document["metadata"] = {"generateName": "credit-"}
        assert validate(kind, document) == []


@pytest.mark.parametrize(
    ("kind", "obj", "path"),
    [
        ("Ladder", {}, "kind"),
        ("EscalationLadder", [], ""),
        ("EscalationLadder", None, ""),
        ("EscalationLadder", {"kind": "Escalation", **{"metadata": {"name": "a"}, "spec": {}}}, "kind"),
        ("EscalationLadder", {"apiVersion": "v1", "metadata": {"name": "a"}, "spec": 3}, "apiVersion"),
        ("EscalationLadder", {"metadata": {"name": "a"}}, "spec"),
        ("EscalationLadder", {"metadata": 3, "spec": {}}, "metadata"),
        ("ModelRiskSignal", {"metadata": {"name": "a"}, "spec": None}, "spec"),
        ("ModelRiskSignal", {"metadata": {"name": 3}, "spec": {}}, "metadata.name"),
    ],
)
def test_hopeless_input_is_reported(kind: str, obj: Any, path: str) -> None:
    assert path in [problem.path for problem in validate(kind, obj)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def _places(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*here, key)
        yield from _places(child, (*here, key))


@given(st.data())
def test_validation_never_raises(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    document = valid(kind)
    place = data.draw(st.sampled_from(sorted(_places(document), key=str)))
    put(*place, data.draw(json_values))(document)
    for problem in validate(kind, document, unknown_fields=True):
        assert problem.message
