"""pydantic's findings in the words of this API: what was found, what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from riskladder.api import base

_HASH = re.compile(r"[0-9a-f]{64}")

PATTERN_HELP = {
    base.DURATION_PATTERN: "a duration such as 90s, 30m, 24h, 15d or 1h30m",
    base.DNS_LABEL_PATTERN: "a DNS label: lower-case letters, digits and '-', not at either end",
    base.DNS_SUBDOMAIN_PATTERN: "an object name: lower-case letters, digits, '-' and '.', neither of these at an end",
    base.UNIT_PATTERN: "a unit such as % or ms: printable characters, no white space at either end",
}

_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "finite_number": "a finite number",
    "date_type": "a date such as 2026-10-01",
    "date_parsing": "a date such as 2026-10-01",
    "date_from_datetime_parsing": "a date such as 2026-10-01",
    "date_from_datetime_inexact": "a date such as 2026-10-01",
}

_LIMITS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda c: f"at least {c['ge']}",
    "less_than_equal": lambda c: f"at most {c['le']}",
    "greater_than": lambda c: f"more than {c['gt']}",
    "less_than": lambda c: f"less than {c['lt']}",
    "string_too_short": lambda c: _count("at least", c["min_length"], "character"),
    "string_too_long": lambda c: _count("at most", c["max_length"], "character"),
    "too_short": lambda c: _count("at least", c["min_length"], "item"),
    "too_long": lambda c: _count("at most", c["max_length"], "item"),
    "enum": lambda c: f"one of {_choices(c['expected'])}",
    "literal_error": lambda c: f"one of {_choices(c['expected'])}",
    "string_pattern_mismatch": lambda c: PATTERN_HELP.get(c["pattern"], f"something that matches {c['pattern']}"),
}


def describe(error: ErrorDetails, pattern: str = "") -> str:
    """Return one finding of pydantic as `found …, expected …`.

    Args:
        error: The finding.
        pattern: That of the field, by which it is known what its text has to be.
    """
    kind, found = error["type"], error.get("input")
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return f"found {shown(found)}, {context['error']}"
    if kind in _LIMITS:
        what = _count("", len(found), "item") if kind in ("too_short", "too_long") and _sized(found) else shown(found)
        return f"found {what}, expected {_LIMITS[kind](context)}"
    if kind == "string_type" and pattern in PATTERN_HELP:
        return f"found {shown(found)}, expected {PATTERN_HELP[pattern]}"
    if kind in _TYPES:
        return f"found {shown(found)}, expected {_TYPES[kind]}"
    return f"found {shown(found)}: {error['msg']}"


def shown(value: Any, limit: int = 80) -> str:
    """Return a value as JSON, cut short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown_hash(value: Any) -> str:
    """Return a hash as it stands, so that it can be compared with another one; anything else quoted."""
    return value if isinstance(value, str) and _HASH.fullmatch(value) else shown(value)


def _sized(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict))


def _count(bound: str, number: int, noun: str) -> str:
    return f"{bound} {number} {noun}{'' if number == 1 else 's'}".strip()


def _choices(expected: str) -> str:
    """Return `'A', 'B' or 'C'` as pydantic says it, without the quotes and the Python in it."""
    parts = expected.replace(" or ", ", ").split(", ")
    return ", ".join(part.rsplit("'", 2)[-2] if "'" in part else part for part in parts)
