"""What is generated is up to date, and is what CustomResourceDefinitions may say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from riskladder.api.base import LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS, Model
from riskladder.api.kinds import KINDS, Kind
from riskladder.api.schema import PLAIN_PATTERN, object_schema, structural
from riskladder.generate import crd, reference
from riskladder.generate.__main__ import main as generate
from tests import yaml_text
from tests.refusals import ROOT

Node = tuple[str, dict[str, Any]]

# "Specifying a structural schema": what may stand at any level; the rest of JSON Schema is refused or pruned.
ALLOWED = {
    *("type", "format", "description", "default", "enum", "pattern", "required", "properties", "items"),
    *("additionalProperties", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "multipleOf", "nullable"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    "x-kubernetes-int-or-string",
}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[Node]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


ALL = [
    pytest.param(path, node, id=f"{kind.name}{path}")
    for kind in KINDS.values()
    for part in ("spec", "status")
    if part in object_schema(kind)["properties"]
    for path, node in nodes(object_schema(kind)["properties"][part], f".{part}")
]


def test_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(["--root", str(ROOT), "--check"]) == 0, capsys.readouterr().err
    assert sorted(path.name for path in (ROOT / "crds").glob("riskladder.dev_*.yaml")) == sorted(
        f"riskladder.dev_{kind.plural}.yaml" for kind in KINDS.values()
    )


def test_check_names_the_files_that_are_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(["--root", str(tmp_path)]) == 0
    parts = ("crds/riskladder.dev_escalations.yaml", "manifests/base/rbac.yaml", "docs/reference/api.md")
    edited = [tmp_path / part for part in parts]
    for file in edited:
        file.write_text("# edited manually\n")
    capsys.readouterr()
    assert generate(["--root", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == "".join(f"{file}: out of date, run `make generate`\n" for file in edited)
    assert [file.read_text() for file in edited] == ["# edited manually\n"] * 3


def test_every_level_is_structural() -> None:
    for path, node in (parameter.values for parameter in ALL):
        assert set(node) <= ALLOWED, path
        is_either = node.get("x-kubernetes-int-or-string", False)
        assert is_either or node["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
        assert not (is_either and "type" in node), path
        assert not ({"properties", "additionalProperties"} <= set(node)), path
        assert node.get("default", ...) is not None, path


def test_every_list_is_bounded_and_says_how_it_merges() -> None:
    for path, node in (parameter.values for parameter in ALL):
        if node.get("type") == "array":
            assert node["maxItems"] > 0, path
            assert node[LIST_TYPE] in {"map", "set", "atomic"}, path
            for key in node.get(LIST_MAP_KEYS, ()):
                is_given = key in node["items"]["required"] or "default" in node["items"]["properties"][key]
                assert is_given, f"{path}: {key}"
        if isinstance(node.get("additionalProperties"), dict):
            assert node["maxProperties"] > 0, path


def test_every_string_is_bounded() -> None:
    for path, node in (parameter.values for parameter in ALL):
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node or node.get("format") in {"date", "date-time"}, path


def test_every_field_is_explained() -> None:
    for kind in KINDS.values():
        for path, node in nodes(object_schema(kind)):
            if path and not path.endswith((".*", "[]", ".metadata")):
                assert re.match(r".+[.)\"]$", node.get("description", "")), f"{kind.name}{path}"


def test_copy_of_a_policy_is_never_refused_by_rule() -> None:
    spec = object_schema(KINDS["Escalation"])["properties"]["spec"]
    for part in ("policy", "model", "signal"):
        assert [path for path, node in nodes(spec["properties"][part]) if VALIDATIONS in node] == []
    policy, ladder = spec["properties"]["policy"], object_schema(KINDS["EscalationLadder"])["properties"]["spec"]
    for name, pinned in policy["properties"].items():
        assert _without_rules(pinned) == _without_rules(ladder["properties"][name]), name


def _without_rules(node: Any) -> Any:
    if isinstance(node, dict):
        dropped = {VALIDATIONS, "description"}
        kept = {key: value for key, value in node.items() if key not in dropped and value != PLAIN_PATTERN}
        return {key: _without_rules(value) for key, value in kept.items()}
    return [_without_rules(item) for item in node] if isinstance(node, list) else node


def test_rules_are_within_the_limits_of_the_api() -> None:
    for path, node in (parameter.values for parameter in ALL):
        for rule in node.get(VALIDATIONS, ()):
            assert 0 < len(rule["message"]) <= 2048, path
            assert "\n" not in rule["message"], path
            assert len(rule["rule"]) <= 4096, path
            assert not re.search(r"\.\?|\[\?|\bcel\.bind\b|\btwoVar\b", rule["rule"]), f"{path}: newer than 1.30"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_definition(kind: Kind) -> None:
    definition = yaml_text.load((ROOT / "crds" / f"riskladder.dev_{kind.plural}.yaml").read_text())
    assert definition == json.loads(json.dumps(crd.crd(kind)))
    spec = definition["spec"]
    assert (spec["group"], spec["scope"]) == ("riskladder.dev", "Namespaced")
    assert spec["names"]["categories"] == ["riskladder"]
    (version,) = spec["versions"]
    assert version["name"] == "v1alpha1"
    assert ("subresources" in version) == (kind.status is not None)
    assert all(column["jsonPath"].startswith(".") for column in version["additionalPrinterColumns"])


def test_short_names_and_columns_are_those_of_the_contract() -> None:
    assert {kind.name: kind.short_names for kind in KINDS.values()} == {
        "EscalationLadder": ("ladder", "ladders"),
        "ModelRiskSignal": ("mrs", "risksignal"),
        "Escalation": ("esc",),
        "MonitorBinding": ("mb",),
        "EscalationDecision": ("escd",),
        "EscalationRecord": ("escr",),
        "ContainmentIndex": ("cidx",),
    }
    columns = [column.name.upper() for column in KINDS["Escalation"].columns if not column.priority]
    assert columns == ["STATE", "TIER", "TARGET", "WAITING-ON", "DUE", "AGE"]


def test_deadline_column_is_not_a_date() -> None:
    """`kubectl get` prints a date column as an age, and a date to come as <invalid>."""
    due = next(column for column in KINDS["Escalation"].columns if column.name == "Due")
    assert due.type == "string"


def test_what_a_structural_schema_cannot_say_is_an_error() -> None:
    class Either(Model):
        value: int | str

    class Keys(Model):
        value: dict[Annotated[str, Field(pattern="^a")], str]

    with pytest.raises(ValueError, match=r"Either\.value: a union of types"):
        structural(Either)
    with pytest.raises(ValueError, match=r"Keys\.value: patternProperties"):
        structural(Keys)


def test_reference_covers_every_field() -> None:
    text = reference.reference()
    for kind in KINDS.values():
        assert f"\n## {kind.name}\n" in text
        for path, _node in nodes(object_schema(kind)):
            if (name := path.rsplit(".", 1)[-1].removesuffix("[]")) and name != "*":
                assert f"| `{name}`" in text or name in {"apiVersion", "kind", "metadata", "spec", "status"}, path
