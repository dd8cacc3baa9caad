"""Text that others wrote, cleaned and clipped in one place as it goes into evidence, messages, records and Events.

What an author of a workload may write has other limits than what an Escalation keeps, or none. A value that is too
long must be shortened and never refused: a validation error here would be a model that cannot be stopped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

ACTOR_LIMIT = 1024
"""Characters of who did it."""

NUMBER_LIMIT = 15
"""Digits of a number in text, at most: more are no number that any controller has written."""


_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def cleaned(text: str) -> str:
    """Return the text with U+FFFD in place of control characters, line separators and halves of surrogate pairs.

    Newlines and tabs stay. One such character in any object makes a YAML export of all of them fail, or read otherwise.
    """
    return _UNFIT.sub("\ufffd", text) if _UNFIT.search(text) else text


def clip(text: str, limit: int) -> str:
    """Return the text, cleaned, and cut to so many characters; an ellipsis, which is one of them, marks the cut."""
    text = cleaned(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clips(limit: int) -> BeforeValidator:
    """Return the validator that clips text, and leaves everything else to be validated."""
    return BeforeValidator(lambda value: clip(value, limit) if isinstance(value, str) else value)


def distinct(*keys: str, limit: int) -> BeforeValidator:
    """Return the validator that keeps the first item of each key, and so many items at most."""

    def part(item: Any, key: str) -> Any:
        return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)

    def keep(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        found: dict[Any, Any] = {}
        for item in value:
            found.setdefault(tuple(part(item, key) for key in keys), item)
        return tuple(found.values())[:limit]

    return BeforeValidator(keep)


def first(limit: int) -> BeforeValidator:
    """Return the validator that keeps so many items at most."""
    return BeforeValidator(lambda value: tuple(value)[:limit] if isinstance(value, (list, tuple)) else value)


Clipped = Annotated[str, Field(max_length=1024), clips(1024)]
"""Text of at most 1,024 characters, from wherever it comes."""

ClippedName = Annotated[str, Field(max_length=253), clips(253)]
"""A name, a revision or a hash as others have written it."""


def time_in(text: Any) -> datetime | None:
    """Return the time that a text of the API server is (RFC 3339); ``None`` where it is none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def number_in(text: str) -> int:
    """Return the number that a text is, such as a revision in an annotation; 0 where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= NUMBER_LIMIT else 0
