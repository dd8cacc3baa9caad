"""The API reference, generated from the models of the kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator

from riskladder.api.base import API_VERSION, DURATION_PATTERN, LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS
from riskladder.api.kinds import KINDS, Kind
from riskladder.api.schema import NO_CONTROL, Schema, object_schema

INTRODUCTION = f"""\
<!-- Generated from operator/riskladder/api by `make generate`. Do not edit. -->

# API reference

Group and version: `{API_VERSION}`. Every kind is namespaced and in the category `riskladder`, so that
`kubectl get riskladder` lists them all. `kubectl explain` shows the same texts.

Durations are written `90s`, `30m`, `24h`, `15d`, or combined from the largest unit to the smallest (`1h30m`); a day is
24 hours. Times are RFC 3339. A field marked **required** must be given; every other may be left out. *Key* names the
fields that identify the items of a list: server-side apply merges such a list item by item.

No text that people or monitors write may contain control characters, line separators (U+2028, U+2029) or U+FFFD,
which is what half of a surrogate pair becomes. Texts for readers (1024 or 4096 characters) may have newlines and tabs.
The operator puts U+FFFD in the place of such characters in what it copies from elsewhere.
"""

Seen = dict[str, str]


def reference() -> str:
    """Return the whole page."""
    seen: Seen = {}
    parts = [INTRODUCTION, *(part for kind in KINDS.values() for part in _kind(kind, seen))]
    return "\n".join(parts)


def _kind(kind: Kind, seen: Seen) -> Iterator[str]:
    schema = object_schema(kind)
    yield f"## {kind.name}\n"
    yield f"{kind.description}\n"
    columns = ", ".join(column.name.upper() for column in kind.columns)
    yield f"Short names: {_codes(kind.short_names)}. Columns of `kubectl get`: {columns}.\n"
    for part in ("spec", "status"):
        if part in schema["properties"]:
            yield from _object(kind, part, schema["properties"][part], seen)
    if rules := list(_rules(schema, "")):
        yield f"### {kind.name}: rules\n"
        yield "Checked by the API server at admission, and by `riskladder lint` with the same words.\n"
        yield "| Where | Rule |\n| --- | --- |"
        yield "".join(f"| `{where}` | {_cell(message)} |\n" for where, message in rules)


def _object(kind: Kind, path: str, schema: Schema, seen: Seen) -> Iterator[str]:
    """Yield the table of one object and, after it, those of the objects in it."""
    yield f"### {kind.name} `{path}`\n"
    if "." not in path or path.endswith("[]"):  # elsewhere the field's own row has said it
        yield f"{schema['description']}\n"
    yield "| Field | Type | Meaning |\n| --- | --- | --- |"
    required = schema.get("required", ())
    nested: list[tuple[str, Schema]] = []
    rows = []
    for name, field in schema["properties"].items():
        meaning = [_cell(field.get("description", ""))]
        inner, suffix = (field["items"], "[]") if field.get("type") == "array" else (field, "")
        if isinstance(field.get("additionalProperties"), dict) and "properties" in field["additionalProperties"]:
            inner, suffix = field["additionalProperties"], ".*"
        if "properties" in inner:
            meaning.append(_where(kind, f"{path}.{name}{suffix}", inner, seen, nested))
        meaning.append(_limits(field))
        flag = " **required**" if name in required else ""
        rows.append(f"| `{name}`{flag} | {_type(field)} | {' '.join(filter(None, meaning))} |\n")
    yield "".join(rows)
    for child_path, child in nested:
        yield from _object(kind, child_path, child, seen)


def _where(kind: Kind, path: str, schema: Schema, seen: Seen, nested: list[tuple[str, Schema]]) -> str:
    """Return where the fields of an inner object are listed: below, or where the same object came up first."""
    shape = json.dumps(_shape(schema), sort_keys=True)
    here = f"{kind.name} `{path}`"
    if shape in seen:
        return f"Fields as in {seen[shape]}."
    seen[shape] = here
    nested.append((path, schema))
    return ""


def _shape(schema: Schema) -> Schema:
    """Return a schema without what may differ where it is used: its own description, and the rules left out below."""
    return {
        key: {name: _shape(child) for name, child in value.items()}
        if key == "properties"
        else (_shape(value) if key == "items" else value)
        for key, value in schema.items()
        if key not in ("description", VALIDATIONS)
    }


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get(VALIDATIONS, ()):
        if rule["message"].startswith(NO_CONTROL):
            continue  # of every text, and said at the top
        yield (path + rule.get("fieldPath", "")).lstrip(".") or "metadata", rule["message"]
    for name, child in schema.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")
    if "items" in schema:
        yield from _rules(schema["items"], f"{path}[]")


def _type(field: Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field["type"] == "array":
        kind = {"map": "list", "set": "set", "atomic": "list"}.get(field.get(LIST_TYPE, ""), "list")
        inner = "object" if "properties" in field["items"] else _type(field["items"])
        return f"{kind} of {inner}"
    if field.get("pattern") == DURATION_PATTERN:
        return "duration"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map of {_type(field['additionalProperties'])}"
    if field.get("format") in ("date", "date-time"):
        return {"date": "date", "date-time": "time"}[field["format"]]
    return str(field["type"])


def _limits(field: Schema) -> str:
    """Return the key, range and size of a field, as far as it has them."""
    found = []
    if LIST_MAP_KEYS in field:
        found.append(f"*Key: {_codes(field[LIST_MAP_KEYS])}.*")
    if "minimum" in field and "maximum" in field:
        found.append(f"*{field['minimum']} to {field['maximum']}.*")
    for bound, unit in (("maxItems", "items"), ("maxLength", "characters"), ("maxProperties", "entries")):
        if bound in field and "enum" not in field and field.get("pattern") != DURATION_PATTERN:
            found.append(f"*At most {field[bound]} {unit}.*")
    return " ".join(found)


def _codes(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
