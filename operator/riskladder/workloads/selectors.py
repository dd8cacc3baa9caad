"""Label selectors, with the semantics of ``metav1.LabelSelector``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

MAX_QUERY = 2048
"""Characters of a selector that is asked for."""


def matches(
    labels: Mapping[str, str], equal: Mapping[str, str], expressions: Iterable[tuple[str, str, Collection[str]]]
) -> bool:
    """Return whether labels meet a selector, every part of it; one without parts is met by all.

    Args:
        labels: Of an object.
        equal: ``matchLabels``.
        expressions: ``matchExpressions``: key, operator (In, NotIn, Exists or DoesNotExist) and values.
    """
    if any(labels.get(key) != value for key, value in equal.items()):
        return False
    return all(_meets(labels.get(key), operator, values) for key, operator, values in expressions)


def _meets(value: str | None, operator: str, values: Collection[str]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def query(selector: Mapping[str, Any]) -> str:
    """Return a ``metav1.LabelSelector`` as it stands in a query; empty where it selects everything, or is too long."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, operator, values = one.get("key", ""), one.get("operator", ""), ",".join(one.get("values") or ())
        words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(words.get(operator, f"!{key}"))
    text = ",".join(parts)
    return text if len(text) <= MAX_QUERY else ""
