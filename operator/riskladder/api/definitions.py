"""What the CustomResourceDefinition of a kind has to say, and how another one differs from it. Pure.

Only what decides what the API server stores is compared: fields, types, limits and rules. Descriptions, messages and
printer columns may differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from riskladder.api.base import GROUP, VALIDATIONS, VERSION
from riskladder.api.kinds import Kind
from riskladder.api.schema import Schema, object_schema

SCHEMA_HASH = f"{GROUP}/schema-hash"
"""Annotation of a CustomResourceDefinition: the digest of its schema as it was shipped."""

_FOR_PEOPLE = frozenset({"description", "message", "messageExpression"})
_CHILDREN = frozenset({"properties", "items", "additionalProperties"})


@dataclass(frozen=True, slots=True)
class Differences:
    """How a stored schema differs from the one that is expected: paths of fields, for example ``status.storm``."""

    lacking: tuple[str, ...] = ()
    """Fields that are expected and not there: what is written to them is dropped."""
    unknown: tuple[str, ...] = ()
    """Fields that are there and not expected."""
    changed: tuple[str, ...] = ()
    """Fields whose type, limits or rules differ, each with the keywords that do."""

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.lacking or self.unknown or self.changed)


def definition_name(kind: Kind) -> str:
    """Return the name of the CustomResourceDefinition of a kind, for example ``escalations.riskladder.dev``."""
    return f"{kind.plural}.{GROUP}"


def schema_hash(schema: Mapping[str, Any]) -> str:
    """Return a digest by which two schemas that store the same are equal, for example ``sha256:06ee9f1185a5ccba``."""
    text = json.dumps(_normal(schema), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def stored_schema(kind: Kind, definition: Mapping[str, Any]) -> Schema | str:
    """Return the schema by which the API server stores our version of a kind, or why there is none.

    Args:
        kind: The kind.
        definition: Its CustomResourceDefinition as stored.
    """
    versions = {version.get("name"): version for version in (definition.get("spec") or {}).get("versions") or ()}
    version = versions.get(VERSION)
    if version is None:
        return f"has no version {VERSION}, only {', '.join(sorted(map(str, versions)))}"
    if not version.get("served"):
        return f"does not serve version {VERSION}"
    if kind.status is not None and "status" not in (version.get("subresources") or {}):
        return "has no subresource status"
    return dict((version.get("schema") or {}).get("openAPIV3Schema") or {})


def compare(kind: Kind, found: Mapping[str, Any]) -> Differences:
    """Return how the stored schema of a kind differs from the one of this version."""
    differences: dict[str, list[str]] = {"lacking": [], "unknown": [], "changed": []}
    for which, path in _walk(_normal(object_schema(kind)), _normal(found), ""):
        differences[which].append(path)
    return Differences(**{which: tuple(paths) for which, paths in differences.items()})


def _normal(node: Any) -> Any:
    """Return a schema without what is for people, and with numbers as the API server writes them."""
    if isinstance(node, Mapping):
        found = {}
        for key, value in node.items():
            if key == "properties" and isinstance(value, Mapping):  # names of fields, and not keywords
                found[key] = {name: _normal(child) for name, child in value.items()}
            elif key not in _FOR_PEOPLE and value is not False:
                found[key] = _normal(value)
        return found
    if isinstance(node, list | tuple):
        return [_normal(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def _walk(expected: Schema, found: Schema, path: str) -> Iterator[tuple[str, str]]:
    changed = sorted(key for key in {*expected, *found} - _CHILDREN if _keyword(expected, key) != _keyword(found, key))
    if changed:
        yield "changed", f"{path.lstrip('.') or 'the object'} ({', '.join(changed)})"
    ours, theirs = expected.get("properties") or {}, found.get("properties") or {}
    for name in ours:
        if name not in theirs:
            yield "lacking", f"{path}.{name}".lstrip(".")
        else:
            yield from _walk(ours[name], theirs[name], f"{path}.{name}")
    for name in sorted(set(theirs) - set(ours)):
        yield "unknown", f"{path}.{name}".lstrip(".")
    for key, sign in (("items", "[]"), ("additionalProperties", ".*")):
        mine, other = expected.get(key), found.get(key)
        if isinstance(mine, dict) and isinstance(other, dict):
            yield from _walk(mine, other, f"{path}{sign}")
        elif mine != other:
            yield "changed", f"{path.lstrip('.') or 'the object'} ({key})"


def _keyword(node: Schema, key: str) -> Any:
    """Return what a keyword says; the order of required fields and of rules means nothing."""
    value = node.get(key)
    if key in ("required", VALIDATIONS) and isinstance(value, list):
        return sorted(value, key=lambda entry: json.dumps(entry, sort_keys=True))
    return value
