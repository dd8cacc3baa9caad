"""Bytes of a monitor to JSON values, within bounds that are checked before anything else costs time or memory.

Monitors write what Python's ``json.dumps`` writes: bare ``NaN`` and ``Infinity`` are read, so that each can be named
where it is refused, and are never a number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from riskladder.api.base import MAX_EXACT_INTEGER
from riskladder.api.text import one_line

T = TypeVar("T")

MAX_BYTES = 1024 * 1024
"""Bytes of a payload, at most."""
MAX_DEPTH = 32
"""Lists and objects inside each other, at most."""
MAX_ENTRIES = 256
"""Alerts, events, metrics, rows or samples of a payload, at most."""
MAX_VALUES = 2048
"""Values that the entries of a report or a table may come to, at most: one metric may have one for each column."""
MAX_INTEGER = 2**63 - 1
"""Beyond this an integer is read as a double, as every other reader of JSON does."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


class Malformed(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """A payload that no monitor sends: where it is wrong, what was found, and what was expected; on one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, 500))


class TooLarge(Malformed):
    """More bytes, levels or entries than a payload may have."""


def decode(raw: bytes, *, limit: int = MAX_BYTES) -> Any:
    """Return the JSON value of a payload of so many bytes at most.

    Raises:
        TooLarge: It has more bytes, or lists and objects inside each other, than are taken.
        Malformed: It is not UTF-8, not JSON, or gives a key twice in one object.
    """
    text = text_of(raw, limit=limit)
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_int=_integer)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise Malformed("found half a surrogate pair (\\ud800 to \\udfff) in a text, expected Unicode") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"found no JSON at line {error.lineno}, column {error.colno} ({error.msg})") from error
    except RecursionError as error:  # pragma: no cover - the depth was checked
        raise TooLarge(f"found more than {MAX_DEPTH} lists and objects inside each other") from error


def text_of(raw: bytes, *, limit: int = MAX_BYTES) -> str:
    """Return the text of a payload of so many bytes at most.

    Raises:
        TooLarge: It has more bytes than are taken.
        Malformed: It is not UTF-8, or empty.
    """
    if len(raw) > limit:
        raise TooLarge(f"found {len(raw)} bytes, expected at most {limit}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"found no UTF-8 at byte {error.start} ({error.reason})") from error
    if not text.strip():
        raise Malformed("found an empty body")
    return text


def check_bounds(raw: bytes, *, is_json: bool) -> None:
    """Refuse a payload that is too large or nested too deeply, before a sender is proved or anything is parsed.

    Raises:
        TooLarge: It is.
        Malformed: It is not UTF-8, or empty.
    """
    text = text_of(raw)
    if is_json:
        _check_depth(text)


def _check_depth(text: str) -> None:
    """Refuse what is nested too deeply, before a parser goes down there."""
    depth = 0
    for character in re.findall(r"[\[{\]}]", _STRING.sub("", text)):
        depth += 1 if character in "[{" else -1
        if depth > MAX_DEPTH:
            raise TooLarge(f"found more than {MAX_DEPTH} lists and objects inside each other")


def _integer(text: str) -> int | float:
    if len(text) <= 20 and -MAX_INTEGER <= (number := int(text)) <= MAX_INTEGER:
        return number
    return float(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Malformed(f"found the key {key[:64]!r} twice in one object")
        found[key] = value
    return found


def bounded(entries: list[T], what: str, limit: int = MAX_ENTRIES) -> list[T]:
    """Return the entries of a payload.

    Raises:
        TooLarge: There are more than are taken.
    """
    if len(entries) > limit:
        raise TooLarge(f"{what}: found {len(entries)}, expected at most {limit}")
    return entries


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def text_in(found: Mapping[str, Any], key: str) -> str:
    """Return a member that is a text; an empty one where it is none."""
    value = found.get(key)
    return value if isinstance(value, str) else ""


def count_in(found: Mapping[str, Any], *keys: str) -> int | None:
    """Return the first of some members that is a number of things."""
    for key in keys:
        value = found.get(key)
        if isinstance(value, float) and value.is_integer():  # as pandas writes a column with a gap
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_EXACT_INTEGER:
            return value
    return None


def member(value: Any, path: str, kind: type[T], expected: str) -> T:
    """Return a value that has to be of one JSON type.

    Raises:
        Malformed: It is of another one, or missing (``None``).
    """
    if not isinstance(value, kind) or (kind in (int, float) and isinstance(value, bool)):
        raise Malformed(f"{path}: found {shown(value)}, expected {expected}")
    return value


def shown(value: Any) -> str:
    """Return a short word for a JSON value, for a message: its type, and the value where that is short."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:64]!r}" + ("…" if len(value) > 64 else "")
    return repr(value)[:64]


def inside(path: str, key: str) -> str:
    """Return where a member is: ``metrics[0].value`` and ``share`` are ``metrics[0].value.share``."""
    return f"{path}.{one_line(key, 64)}"
