"""Seal personal text outside the hash, and check it against what was committed to.

An entry of a record has its free text and the names of people in ``open``, which the hash leaves out. What is hashed is
a commitment to each value, SHA-256 over a random salt and the value. To erase a value and its salt therefore breaks no
chain, and what is left of it says nothing: without the salt even a value of few bits cannot be guessed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import rfc8785

from riskladder.api.messages import shown, shown_hash

DOMAIN = "riskladder.dev/open/v1"
"""First part of what is hashed, so that no commitment is the hash of anything else."""

SALT_BYTES = 16

_OUTSIDE_HASH = ("hash", "redactions")
_TEXTS_OF_REDACTION = ("by", "at", "reason")


def commitment(salt: str, value: str) -> str:
    """Return SHA-256, in hex, over the RFC 8785 form of the list ``[DOMAIN, salt, value]``; the salt is in hex."""
    return hashlib.sha256(rfc8785.dumps([DOMAIN, salt, value])).hexdigest()


def sealed(value: str) -> tuple[str, dict[str, str]]:
    """Return a commitment to a value under a fresh salt, and what opens it."""
    salt = secrets.token_hex(SALT_BYTES)
    return commitment(salt, value), {"salt": salt, "value": value}


def hashed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record's spec that its hash is about."""
    content = {key: value for key, value in spec.items() if key not in _OUTSIDE_HASH}
    entries = spec.get("entries")
    if isinstance(entries, list):
        content["entries"] = [
            {key: value for key, value in entry.items() if key != "open"} if isinstance(entry, Mapping) else entry
            for entry in entries
        ]
    return content


def field_path(number: int, name: str) -> str:
    """Return how a redaction names a value of an entry, for example ``entries[0].open.rationale``."""
    return f"entries[{number}].open.{name}"


def open_fields(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that stand in a record's ``open``, by path."""
    return {
        field_path(number, name): str(_mapping(pair).get("value", ""))
        for number, entry in _entries(spec)
        for name, pair in _mapping(entry.get("open")).items()
    }


def redacted_fields(spec: Mapping[str, Any]) -> set[str]:
    """Return the paths that a record has committed to and whose values are gone."""
    return {
        field_path(number, name)
        for number, entry in _entries(spec)
        for name in _mapping(entry.get("commitments"))
        if name not in _mapping(entry.get("open"))
    }


def redaction_of(spec: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return by whom, at what time and for which reason a value was erased; empty where no redaction names it."""
    redactions = spec.get("redactions")
    for redaction in redactions if isinstance(redactions, list) else ():
        fields = _mapping(redaction).get("fields")
        if isinstance(fields, list) and path in fields:
            return {name: str(redaction.get(name)) for name in _TEXTS_OF_REDACTION}
    return {}


def fault_of_open(spec: Mapping[str, Any]) -> str:
    """Return what is wrong with ``open`` and ``redactions`` of a record whose hash holds, or an empty string."""
    for number, entry in _entries(spec):
        if fault := _fault_of_entry(number, entry):
            return fault
    return _fault_of_redactions(spec)


def _fault_of_entry(number: int, entry: Mapping[str, Any]) -> str:
    where, opened, commitments = f"entries[{number}].open", entry.get("open", {}), entry.get("commitments", {})
    if not isinstance(opened, Mapping):
        return f"{where} is {_shown(opened)}, expected a map of values with their salts"
    if not isinstance(commitments, Mapping):
        return f"entries[{number}].commitments is {_shown(commitments)}, expected a map of SHA-256 in hex"
    for name, pair in opened.items():
        path = f"{where}.{_name(name)}"
        if not isinstance(pair, Mapping):
            return f"{path} is {_shown(pair)}, expected a map of salt and value"
        if name not in commitments:
            return f"{path} has no commitment: it was added"
        if set(pair) != {"salt", "value"} or not all(isinstance(text, str) for text in pair.values()):
            return f"{path} has other fields than salt and value, or they are not texts"
        try:
            found = commitment(pair["salt"], pair["value"])
        except (rfc8785.CanonicalizationError, ValueError) as error:
            return f"{path} has no canonical form: {error}"
        if found != commitments[name]:
            return f"{path} gives the commitment {found}, committed to was {shown_hash(commitments[name])}"
    return ""


def _fault_of_redactions(spec: Mapping[str, Any]) -> str:
    redactions = spec.get("redactions", [])
    if not isinstance(redactions, list):
        return f"redactions is {_shown(redactions)}, expected a list"
    gone, here = redacted_fields(spec), open_fields(spec)
    named: set[str] = set()
    for number, redaction in enumerate(redactions):
        where = f"redactions[{number}]"
        if not isinstance(redaction, Mapping):
            return f"{where} is {_shown(redaction)}, expected a map"
        for field in _TEXTS_OF_REDACTION:
            if not isinstance(redaction.get(field), str):
                return f"{where}.{field} is {_shown(redaction.get(field))}, expected text"
        fields = redaction.get("fields")
        if not isinstance(fields, list) or not fields or not all(isinstance(field, str) for field in fields):
            return f"{where}.fields is {_shown(fields)}, expected a list of paths"
        for field in fields:
            if field in here:
                return f"{where}.fields names {_name(field)}, which is still there"
            if field not in gone:
                return f"{where}.fields names {shown(field)}, to which no entry has committed"
        named.update(fields)
    if unnamed := sorted(gone - named):
        return f"{_name(unnamed[0])} is missing, and no redaction names it"
    return ""


def _entries(spec: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    entries = spec.get("entries")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, Mapping):
            yield number, entry


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name(name: Any) -> str:
    """Return a name for a message, cut short where somebody made it long."""
    text = str(name)
    return text if len(text) <= 80 else text[:79] + "…"


def _shown(value: Any) -> str:
    return shown(value) if value is None or isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
