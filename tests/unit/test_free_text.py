"""No free text of any kind has control characters: refused where people write, cleaned where the operator does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import VALIDATIONS, Model
from riskladder.api.conditions import Condition, ConditionStatus
from riskladder.api.foreign import cleaned, clip
from riskladder.api.intent import Evidence, Image
from riskladder.api.kinds import KINDS
from riskladder.api.record import RecordEntry
from riskladder.api.schema import PLAIN_PATTERN, object_schema
from riskladder.api.validation import validate
from tests.refusals import valid
from tests.unit.builders import NOW

PEOPLE = ("EscalationLadder", "ModelRiskSignal", "EscalationDecision")
UNFIT = ["\x00", "\x07", "\x0b", "\r", "\x1b", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", "\ud800", "\udfff"]
UNFIT += ["\ufffe", "\uffff"]
Path = tuple[str, ...]


def texts(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every string of a schema whose content is free."""
    if schema.get("type") == "string" and not {"enum", "format"} & set(schema):
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from texts(child, (*path, name))
    if "items" in schema:
        yield from texts(schema["items"], (*path, "[]"))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from texts(schema["additionalProperties"], (*path, "*"))


def is_bounded(schema: dict[str, Any]) -> bool:
    """Return whether some rule or pattern says what it is made of."""
    rules = " ".join(rule["rule"] for rule in schema.get(VALIDATIONS, ()))
    return "pattern" in schema or "x7f-" in rules


def in_python(pattern: str) -> str:
    """A pattern for the API server as Python's re understands it, which knows no categories."""
    return pattern.replace(r"\p{C}", r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff")


@pytest.mark.parametrize("kind", KINDS)
def test_every_free_text_of_every_kind_says_what_it_may_not_have(kind: str) -> None:
    schema = object_schema(KINDS[kind])
    loose = [".".join(path) for path, found in texts(schema) if path[0] in ("spec", "status") and not is_bounded(found)]
    assert loose == []


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_of_names_let_no_control_character_pass(kind: str) -> None:
    import re

    for path, found in texts(object_schema(KINDS[kind])):
        if "pattern" in found and found["pattern"] != PLAIN_PATTERN:
            for unfit in ("\x00", "\x7f", "\x85"):
                assert re.search(in_python(found["pattern"]), f"a{unfit}b") is None, ".".join(path)


def filled(kind: str) -> Iterator[tuple[Path, Any]]:
    """Each free text of a valid document of a kind that people write, with how it is reached."""

    def walk(schema: dict[str, Any], value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        if isinstance(value, dict):
            for name, child in value.items():
                if name in schema.get("properties", {}):
                    yield from walk(schema["properties"][name], child, (*path, name))
        elif isinstance(value, list):
            for number, child in enumerate(value):
                yield from walk(schema["items"], child, (*path, number))
        elif isinstance(value, str) and "pattern" not in schema and not {"enum", "format"} & set(schema):
            yield path, value

    yield from walk(object_schema(KINDS[kind])["properties"]["spec"], valid(kind)["spec"], ("spec",))


CASES = [(kind, path) for kind in PEOPLE for path, _ in filled(kind)]


def spoilt(kind: str, path: Path, text: str) -> dict[str, Any]:
    document = valid(kind)
    found: Any = document
    for part in path[:-1]:
        found = found[part]
    found[path[-1]] = text
    return document


@pytest.mark.parametrize(("kind", "path"), CASES, ids=lambda value: str(value))
def test_lint_refuses_each_unfit_character_in_each_text_that_people_write(kind: str, path: Path) -> None:
    before = dict(filled(kind))[path]
    for unfit in UNFIT:
        problems = validate(kind, spoilt(kind, path, f"{before}{unfit}b"))
        assert any("control characters" in problem.message for problem in problems), (unfit, problems)


def test_texts_of_several_lines_may_have_several_lines_and_others_not() -> None:
    many = spoilt("EscalationDecision", ("spec", "rationale"), "one\n\ttwo: ü, 模型, \U0001f600, e\u0301, \u200d\n")
    assert validate("EscalationDecision", many) == []
    one = spoilt("ModelRiskSignal", ("spec", "model", "name"), "one\ntwo")
    [problem] = validate("ModelRiskSignal", one)
    assert (problem.path, "control characters" in problem.message) == ("spec.model.name", True)


# --- What the operator writes -----------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_cleaned_text_keeps_its_length_and_survives_yaml_and_json(text: str) -> None:
    found = cleaned(text)
    assert len(found) == len(text)
    assert cleaned(found) == found
    assert json.loads(json.dumps(found).encode()) == found
    assert yaml.safe_load(yaml.safe_dump(found, allow_unicode=True)) == found


@pytest.mark.parametrize("unfit", UNFIT)
def test_text_from_elsewhere_is_cleaned_where_it_is_clipped(unfit: str) -> None:
    assert clip(f"a{unfit}b", 100) == "a\ufffdb"
    assert clip(f"a{unfit}bc", 3) == "a\ufffd…"


@pytest.mark.parametrize("unfit", [c for c in UNFIT if not "\ud800" <= c <= "\udfff"])
def test_no_model_that_the_operator_makes_carries_an_unfit_character(unfit: str) -> None:
    text = f"a{unfit}b"
    made: list[Model] = [
        Image(container="c", image=text),
        Evidence(replicas=1, revision=text, ready_endpoints=0, taken_at=NOW),
        Condition(type="Ready", status=ConditionStatus.TRUE, reason="Valid", message=text, last_transition_time=NOW),
        RecordEntry(event="Notified", at=NOW, actor=text, detail={"why": text}),
    ]
    for model in made:
        shown = json.dumps(model.to_api(), ensure_ascii=False)
        assert unfit not in shown, type(model).__name__
        assert "a\ufffdb" in shown
        assert type(model).model_validate_json(json.dumps(model.to_api())) == model
