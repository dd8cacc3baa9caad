"""Bytes of a monitor to JSON values, within bounds that are checked before anything else costs time or memory.

Monitors write what Python's ``json.dumps`` writes: bare ``NaN`` and ``Infinity`` are read, so that each can be named
where it is refused, and are never a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_BYTES = 1024 * 1024
"""Bytes of a payload, at most."""
MAX_DEPTH = 32
"""Lists and objects inside each other, at most."""
MAX_ENTRIES = 256
"""Alerts, events, metrics, rows or samples of a payload, at most."""
MAX_DIGITS = 400
"""Digits of a number, at most: Python's own limit for integers is far beyond every double."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Malformed(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """A payload that no monitor sends: where it is wrong, what was found, and what was expected."""


class TooLarge(Malformed):
    """More bytes, levels or entries than a payload may have."""


def decode(raw: bytes) -> Any:
    """Return the JSON value of a payload.

    Raises:
        TooLarge: It has more bytes, or lists and objects inside each other, than are taken.
        Malformed: It is not UTF-8, not JSON, or gives a key twice in one object.
    """
    text = text_of(raw)
    _check_depth(text)
    try:
        return json.loads(text, object_pairs_hook=_once, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise Malformed(f"found no JSON at line {error.lineno}, column {error.colno} ({error.msg})") from error
    except RecursionError as error:  # pragma: no cover - the depth was checked
        raise TooLarge(f"found more than {MAX_DEPTH} lists and objects inside each other") from error


def text_of(raw: bytes) -> str:
    """Return the text of a payload.

    Raises:
        TooLarge: It has more bytes than are taken.
        Malformed: It is not UTF-8, or empty.
    """
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"found {len(raw)} bytes, expected at most {MAX_BYTES}")
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
    return int(text) if len(text) <= MAX_DIGITS else float(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Malformed(f"found the key {twice[:64]!r} twice in one object")
    return found


def bounded(entries: list[Any], what: str) -> list[Any]:
    """Return the entries of a payload.

    Raises:
        TooLarge: There are more than are taken.
    """
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"{what}: found {len(entries)}, expected at most {MAX_ENTRIES}")
    return entries


def member(value: Any, path: str, kind: type, expected: str) -> Any:
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
