"""From pydantic models to structural schemas, the subset of OpenAPI v3 that CustomResourceDefinitions take.

Structural means: no $ref, no titles, a type at every level, no oneOf/anyOf that carries structure, booleans for
exclusiveMinimum. See "Specifying a structural schema" in the Kubernetes documentation of CustomResourceDefinitions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from riskladder.api.base import MULTI_LINE, VALIDATIONS, Model
from riskladder.api.kinds import Kind

Schema = dict[str, Any]

WRITTEN_BY_PEOPLE = frozenset({"EscalationLadder", "ModelRiskSignal", "EscalationDecision", "MonitorBinding"})
"""The kinds of which people and monitors write the spec: a text is refused there in a sentence."""

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
PLAIN_PATTERN = rf"^[^{_CONTROL}]*$"
"""Of every text that the operator writes. It cleans each one (``foreign.py``), so this refuses nothing of its own."""

NO_CONTROL = (
    "must not contain control characters, line separators, or U+FFFD, which is what half of a surrogate pair becomes"
)
_OTHERS = r"\u2028\u2029\ufffd-\uffff"
"""Line separators, what is no character, and U+FFFD: the API server puts that in place of half a surrogate pair."""


def _text_rule(*, multi_line: bool) -> Schema:
    """Return the rule of a free text; CEL takes one level of backslashes off its literal."""
    escaped = _CONTROL.replace("\\", "\\\\") + _OTHERS + ("" if multi_line else "\\\\t\\\\n")
    but = "; newlines and tabs are allowed" if multi_line else ", newlines and tabs included"
    return {"rule": f"!self.matches('[{escaped}]')", "message": f"{NO_CONTROL}{but}"}


_KEPT = (
    "description",
    "type",
    "format",
    "default",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_NUMBER_FORMATS = {"integer": "int64", "number": "double"}


def structural(model: type[Model], *, by_people: bool = False) -> Schema:
    """Return the structural schema of a model.

    Args:
        model: The model.
        by_people: Whether people write it, so that a text is to be refused by a rule, with a sentence.

    Raises:
        ValueError: the model uses something that a structural schema cannot say.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _bounded(_convert(document, document.get("$defs", {}), model.__name__, rules=True), by_people=by_people)


def _bounded(schema: Schema, *, by_people: bool) -> Schema:
    """Give every free text below a schema the rule or the pattern that keeps control characters out."""
    multi_line = schema.pop(MULTI_LINE, False)
    for child in schema.get("properties", {}).values():
        _bounded(child, by_people=by_people)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            _bounded(schema[inner], by_people=by_people)
    if schema.get("type") == "string" and not {"enum", "format", "pattern"} & set(schema):
        if by_people:
            schema[VALIDATIONS] = [*schema.get(VALIDATIONS, ()), _text_rule(multi_line=multi_line)]
        else:
            schema["pattern"] = PLAIN_PATTERN
    return schema


@cache
def object_schema(kind: Kind) -> Schema:
    """Return the schema of the whole object: apiVersion, kind, metadata, spec, and status where the kind has one."""
    properties: Schema = {
        "apiVersion": {"type": "string", "description": "API group and version of this object."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
        "spec": structural(kind.spec, by_people=kind.name in WRITTEN_BY_PEOPLE),
    }
    if kind.status is not None:
        properties["status"] = structural(kind.status)
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": properties,
    }
    if kind.rules:
        schema[VALIDATIONS] = [rule.to_schema() for rule in kind.rules]
    return schema


def _convert(source: Schema, definitions: Schema, where: str, *, rules: bool) -> Schema:
    node = _inline(source, definitions, where)
    unknown = set(node) - {
        *_KEPT,
        *("$defs", "title", "enum", "const", "exclusiveMinimum", "exclusiveMaximum", "properties", "required"),
        *("items", "additionalProperties"),
    }
    if refused := {key for key in unknown if not key.startswith("x-")}:
        raise ValueError(f"{where}: {', '.join(sorted(refused))} cannot be said in a structural schema")
    rules = rules and not node.get("x-riskladder-without-rules", False)

    result: Schema = {key: node[key] for key in _KEPT if key in node}
    if "description" in result:
        result["description"] = " ".join(str(result["description"]).split())
    if result.get("default", ...) is None:
        del result["default"]
    elif isinstance(result.get("default"), dict):  # of a model: what it leaves out is absent, not null
        result["default"] = {name: value for name, value in result["default"].items() if value is not None}
    is_either = node.get("x-kubernetes-int-or-string", False)
    if "type" not in result and not is_either:
        raise ValueError(f"{where}: a structural schema needs a type")
    if result.get("type") in _NUMBER_FORMATS:
        result.setdefault("format", _NUMBER_FORMATS[result["type"]])
    if "const" in node:
        result["enum"] = [node["const"]]
    elif "enum" in node:
        result["enum"] = list(node["enum"])
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            result[bound], result[exclusive] = node[exclusive], True

    if "properties" in node:
        if node.get("required"):
            result["required"] = list(node["required"])
        result["properties"] = {
            name: _convert(child, definitions, f"{where}.{name}", rules=rules)
            for name, child in node["properties"].items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], definitions, f"{where}.*", rules=rules)
    if "items" in node:
        result["items"] = _convert(node["items"], definitions, f"{where}[]", rules=rules)
    if node.get(MULTI_LINE):
        result[MULTI_LINE] = True
    result.update({key: node[key] for key in node if key.startswith("x-kubernetes-") and (rules or key != VALIDATIONS)})
    return result


def _inline(node: Schema, definitions: Schema, where: str) -> Schema:
    """Replace $ref, and the anyOf of an optional field, by what they stand for; what the field says itself wins."""
    while "$ref" in node or "anyOf" in node or "allOf" in node:
        own = {key: value for key, value in node.items() if key not in ("$ref", "anyOf", "allOf")}
        if "$ref" in node:
            target = definitions[str(node["$ref"]).removeprefix("#/$defs/")]
        else:
            choices = [choice for choice in (node.get("anyOf") or node["allOf"]) if choice != {"type": "null"}]
            if len(choices) != 1:
                raise ValueError(f"{where}: a union of types cannot be said in a structural schema")
            target = choices[0]
        node = {**target, **own}
        if VALIDATIONS in target and VALIDATIONS in own:
            node[VALIDATIONS] = [*target[VALIDATIONS], *own[VALIDATIONS]]
    return node
