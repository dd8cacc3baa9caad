"""Checks an object offline with the rules and messages that the API server applies at admission.

Used by lint before anything is applied, and by the operator for stored objects that an older schema let in. Nothing
here raises on bad input: the input is what is being judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from riskladder.api.base import API_VERSION, DNS_SUBDOMAIN_PATTERN, LIST_MAP_KEYS, LIST_TYPE, format_time
from riskladder.api.cel_eval import Path, Schema, violations
from riskladder.api.kinds import KINDS
from riskladder.api.messages import PATTERN_HELP, describe, shown
from riskladder.api.schema import object_schema


class Problem(NamedTuple):
    """One thing that is wrong: `spec.tiers[0].decide.within`, and what was found, what was expected, what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def validate(kind: str, obj: Mapping[str, Any], *, unknown_fields: bool = False) -> list[Problem]:
    """Return everything that is wrong with an object of that kind; empty when the API server would take it.

    Args:
        kind: the kind it is meant to be, for example EscalationLadder.
        obj: the whole object, as read from YAML or from the API server. Not changed.
        unknown_fields: also report fields that the kind does not have. The API server prunes them with at most a
            warning, which is how a misspelt deadline goes unnoticed.

    Not checked are the status, which the API server drops from what people write, and transition rules (immutability),
    which need the old object.
    """
    if kind not in KINDS:
        return [Problem("kind", f"found {shown(kind)}, expected one of {', '.join(KINDS)}")]
    if not isinstance(obj, Mapping):
        return [Problem("", f"found {shown(obj)}, expected an object of kind {kind}")]
    try:
        return _validate(kind, obj, unknown_fields=unknown_fields)
    except RecursionError:
        return [Problem("", "nested too deeply")]


def _validate(kind: str, obj: Mapping[str, Any], *, unknown_fields: bool) -> list[Problem]:
    schema = object_schema(KINDS[kind])
    found: list[tuple[Path, str]] = []
    for field, expected in (("kind", kind), ("apiVersion", API_VERSION)):
        if field in obj and obj[field] != expected:
            found.append(((field,), f"found {shown(obj[field])}, expected {expected}"))

    document = _plain(obj)
    unknown: list[Path] = []
    strangers: list[Path] = [(name,) for name in document if name not in schema["properties"]]
    document = {part: document[part] for part in ("metadata", "spec") if part in document}
    if "spec" in document:
        document["spec"] = _prepared(schema["properties"]["spec"], document["spec"], ("spec",), unknown)
    if unknown_fields:
        what = "unknown field: it would be dropped without effect; check the spelling"
        found += [(path, what) for path in (*unknown, *strangers)]

    structural = [*_metadata(document), *_structure(kind, document)]
    structural += _duplicates(schema["properties"]["spec"], document.get("spec"), ("spec",))
    broken = [path for path, _ in structural]
    found += structural
    for violation in violations(
        schema, document, (), usable=lambda path: not any(other[: len(path)] == path for other in broken)
    ):
        found.append((violation.path, violation.message))
    return [Problem(path_text(path), message) for path, message in found]


def path_text(path: Path) -> str:
    """Return a path as Kubernetes writes it: `spec.tiers[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _metadata(document: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield what the API server checks of every object's metadata, as far as it can be wrong in a file."""
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        yield ("metadata",), "is required" if metadata is None else f"found {shown(metadata)}, expected an object"
    elif "name" in metadata:
        name = metadata["name"]
        if not isinstance(name, str) or len(name) > 253 or re.fullmatch(DNS_SUBDOMAIN_PATTERN, name) is None:
            yield ("metadata", "name"), f"found {shown(name)}, expected {PATTERN_HELP[DNS_SUBDOMAIN_PATTERN]}"
    elif "generateName" in metadata:
        document["metadata"] = {**metadata, "name": f"{metadata['generateName']}x7k2q"}  # as the API server will
    else:
        yield ("metadata", "name"), "is required"


def _structure(kind: str, document: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    if "spec" not in document:
        yield ("spec",), "is required"
        return
    try:
        KINDS[kind].spec.model_validate_json(json.dumps(document["spec"]), strict=True, by_name=False, by_alias=True)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            given = item.get("input")
            if item["type"] == "too_short" and isinstance(given, list) and len(given) >= item["ctx"]["min_length"]:
                continue  # there are enough, of which some are wrong: each of those says why
            yield ("spec", *item["loc"]), describe(item, pattern=_pattern_at(kind, item["loc"]))
    except ValueError as error:  # an integer with too many digits to be written
        yield ("spec",), f"cannot be written as JSON: {error}"


def _pattern_at(kind: str, path: Path) -> str:
    """Return the pattern of a field; empty for none."""
    schema: Schema = object_schema(KINDS[kind])["properties"]["spec"]
    for part in path:
        found = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        if not isinstance(found, Mapping):
            return ""
        schema = found
    return str(schema.get("pattern", ""))


def _duplicates(schema: Schema, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Mapping):
        for name, child in value.items():
            child_schema = schema.get("properties", {}).get(name)
            if child_schema is not None:
                yield from _duplicates(child_schema, child, (*path, name))
    elif isinstance(value, list) and "items" in schema:
        seen: set[str] = set()
        for index, item in enumerate(value):
            identity = _identity(schema, item)
            if identity is not None and identity in seen:
                yield (*path, index), f"Duplicate value: {identity}"
            elif identity is not None:
                seen.add(identity)
            yield from _duplicates(schema["items"], item, (*path, index))


def _identity(schema: Schema, item: Any) -> str | None:
    """Return what identifies an item of a set or list map, as the API server prints it; None where nothing does."""
    if schema.get(LIST_TYPE) == "set":
        return json.dumps(item)
    if schema.get(LIST_TYPE) == "map" and isinstance(item, Mapping):
        return json.dumps({key: item.get(key) for key in sorted(schema[LIST_MAP_KEYS])}, separators=(",", ":"))
    return None


def _plain(value: Any) -> Any:
    """Return JSON types only, without nulls in objects: the API server prunes those of fields that are not nullable."""
    if isinstance(value, Mapping):
        return {_text(str(name)): _plain(child) for name, child in value.items() if child is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):  # YAML reads unquoted times as such; kubectl keeps them text
        return format_time(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _text(str(value))


def _text(value: str) -> str:
    """Return text as it arrives: surrogate pairs joined, half ones replaced, as the API server's decoder does."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _prepared(schema: Schema, value: Any, path: Path, unknown: list[Path]) -> Any:
    """Return the value with unknown fields pruned and noted, and defaults applied: what the API server judges."""
    if isinstance(value, Mapping) and "properties" in schema:
        properties: Mapping[str, Schema] = schema["properties"]
        unknown += [(*path, name) for name in value if name not in properties]
        result = {
            name: _prepared(properties[name], child, (*path, name), unknown)
            for name, child in value.items()
            if name in properties
        }
        for name, child_schema in properties.items():
            if name not in result and "default" in child_schema:
                result[name] = json.loads(json.dumps(child_schema["default"]))
        return result
    if isinstance(value, list) and "items" in schema:
        return [_prepared(schema["items"], item, (*path, index), unknown) for index, item in enumerate(value)]
    if schema.get("type") == "integer" and isinstance(value, float) and value.is_integer():  # kubectl writes 2.0 as 2
        return int(value)
    return value
