"""Evaluates the CEL rules of a structural schema offline, as the API server does at admission.

The rules are read from the generated schema, so that there is no second list of them. Values are converted by the
schema as the API server's CEL does: `type: number` is a double even when the JSON says 1, date-times are timestamps.
Transition rules (`oldSelf`) are skipped: offline there is no old object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from riskladder.api.base import VALIDATIONS
from riskladder.api.cel_library import STDLIB_FUNCTIONS, cel

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

# CEL's reserved words, which the API server escapes as __word__ where they name a property.
_ESCAPED = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return"),
    }
)


class Violation(NamedTuple):
    """A rule that failed: where, as the API server would say, what to do about it, and the rule itself."""

    path: Path
    message: str
    rule: str


def violations(schema: Schema, value: Any, path: Path, *, usable: Callable[[Path], bool]) -> Iterator[Violation]:
    """Yield every rule below `schema` that `value` fails.

    `value` must have its defaults applied. `usable(path)` says whether the structure below a path is sound: rules over
    broken structure are not evaluated, as on the API server.
    """
    if schema.get(VALIDATIONS) and usable(path):
        yield from _failed(schema[VALIDATIONS], _to_cel(schema, value), path)
    if isinstance(value, Mapping):
        for name, child in value.items():
            if (child_schema := _child(schema, name)) is not None:
                yield from violations(child_schema, child, (*path, name), usable=usable)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from violations(schema["items"], item, (*path, index), usable=usable)


def _failed(rules: Sequence[Mapping[str, Any]], subject: Any, path: Path) -> Iterator[Violation]:
    context = cel.Context({"self": subject}, _FUNCTIONS)
    for rule in rules:
        if re.search(r"\boldSelf\b", rule["rule"]):
            continue
        where = (*path, *_field_path(rule.get("fieldPath", "")))
        try:
            passed = _program(rule["rule"]).execute(context)
        except Exception as error:  # cel raises TypeError, ValueError, RuntimeError and its own
            yield Violation(where, f"{rule['message']} (the rule could not be evaluated: {error})", rule["rule"])
            continue
        if passed is not True:
            yield Violation(where, _message(rule, context), rule["rule"])


def _message(rule: Mapping[str, Any], context: cel.Context) -> str:
    """Return the messageExpression's result, or the message where there is none or it fails, as on the API server."""
    expression = rule.get("messageExpression")
    if expression:
        try:
            message = _program(expression).execute(context)
        except Exception:
            return str(rule["message"])
        if isinstance(message, str) and message.strip() and "\n" not in message:
            return message
    return str(rule["message"])


@cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _child(schema: Schema, name: str) -> Schema | None:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    return properties.get(name, extra if isinstance(extra, Mapping) else None)


def _to_cel(schema: Schema, value: Any) -> Any:
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        return {
            f"__{name}__" if name in _ESCAPED and name in known else name: _to_cel(_child(schema, name) or {}, child)
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_to_cel(schema.get("items", {}), item) for item in value]
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    if schema.get("format") == "date-time":
        return datetime.fromisoformat(value)
    if schema.get("format") == "date":
        return datetime.combine(date.fromisoformat(value), time(), UTC)
    return value


def _field_path(text: str) -> Path:
    return tuple(part for part in text.split(".") if part)


def _is_sorted(values: list[Any]) -> bool:
    """Implement `isSorted` of the Kubernetes list library."""
    return all(not later < earlier for earlier, later in pairwise(values))


# What the rules use of the Kubernetes CEL libraries beyond the core; registering more costs time at each evaluation.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "isSorted": _is_sorted,
    **{name: STDLIB_FUNCTIONS[name] for name in ("indexOf", "substring", "sum")},
}
