"""The record chain: canonical form, hashes, and the check that anyone can repeat offline.

A record's hash is SHA-256 over the RFC 8785 form of its spec without ``hash`` and what may be erased
(commitments.py); it contains the hash of the record before, so that no record can be changed, removed, inserted or
moved without breaking every later one. What a chain cannot show by itself is a missing end, or that all of it was
rewritten: for that its hashes are compared with heads noted elsewhere, in ``Escalation.status.ledger`` or in the
operator's log.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import rfc8785

from riskladder.api.commitments import fault_of_open, hashed, redacted_fields
from riskladder.api.messages import shown, shown_hash
from riskladder.api.record import GENESIS_HASH

_TEXTS = ("escalation", "previousHash", "hash")
_TEXTS_OF_ENTRY = ("at", "actor", "event")
_NAME = re.compile(r"(?P<escalation>.+)-(?P<sequence>[0-9]{6})")


def canonical(value: Any) -> str:
    """Return a JSON value in its RFC 8785 form: keys sorted, no white space."""
    return rfc8785.dumps(value).decode()


def digest(value: Any) -> str:
    """Return the SHA-256, in hex, of the RFC 8785 form of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def record_hash(spec: Mapping[str, Any]) -> str:
    """Return the hash that a record's spec must carry."""
    return digest(hashed(spec))


def record_name(escalation: str, sequence: int) -> str:
    """Name of the record object: the same for everyone who would append it, so that an append is a compare-and-swap."""
    return f"{escalation}-{sequence:06d}"


class ChainKey(NamedTuple):
    """What identifies a chain: an escalation's name is unique in its namespace only."""

    namespace: str
    escalation: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.escalation}" if self.namespace else self.escalation


class Head(NamedTuple):
    """A record's place and hash as noted somewhere else at some time. Later records may well follow it."""

    sequence: int
    hash: str
    origin: str = "the status of the escalation"
    """Where it was noted, for messages."""


class ChainPosition(NamedTuple):
    """Where a record belongs."""

    key: ChainKey
    sequence: int
    """From 1; 0 where neither its content nor its name says."""


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The outcome of checking one escalation's chain."""

    key: ChainKey
    length: int
    """How many records from the beginning are good."""
    head: str
    """Hash of the last good record; 64 zeros if there is none."""
    error: str = ""
    """What is wrong with the first bad record, or empty."""
    record: str = ""
    """Name of the first bad or missing record, or empty."""
    noted: int = 0
    """Sequence of the last noted head that the chain agrees with; 0: none was known, a missing end would not show."""
    origins: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """By where a head was noted: the sequence of the last one there that the chain agrees with."""
    redacted: int = 0
    """How many values of the good records were erased, each by a redaction that says so."""
    namespace_uid: str = ""
    """uid of the namespace that the good records name, or empty."""

    @property
    def escalation(self) -> str:
        """Name of the escalation."""
        return self.key.escalation

    @property
    def intact(self) -> bool:
        """Whether every record is in its place and unchanged."""
        return not self.error


def position_of(record: Mapping[str, Any]) -> ChainPosition:
    """Return where a record belongs: what its content says if its hash holds, else what its name says."""
    link = _Link.of(record)
    return ChainPosition(link.key, link.position)


def distinct(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the records without repetitions: the same object with the same content, from exports that overlap.

    A sound record and what a redaction has left of it are the same one, of which the redacted copy is kept.
    """
    found: list[Mapping[str, Any]] = []
    known: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in records:
        metadata, spec = _mapping(record.get("metadata")), _mapping(record.get("spec"))
        same = known[_text(metadata.get("namespace")), _text(metadata.get("name"))]
        specs = {place: _mapping(found[place].get("spec")) for place in same}
        if spec in specs.values():
            continue
        twin = next((place for place, other in specs.items() if _are_one(spec, other)), None)
        if twin is None:
            same.append(len(found))
            found.append(record)
        elif len(redacted_fields(spec)) > len(redacted_fields(specs[twin])):
            found[twin] = record
    return found


def _are_one(spec: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two copies of a record are sound and say the same, but for what was redacted of either."""
    return spec.get("hash") == other.get("hash") and not _fault(spec) and not _fault(other)


def noted_heads(
    escalations: Iterable[Mapping[str, Any]], origin: str = "the status of the escalation"
) -> dict[ChainKey, list[Head]]:
    """Return the heads that ``status.ledger`` of Escalation objects notes.

    Args:
        escalations: The objects.
        origin: Where they come from, for messages.

    Raises:
        ValueError: A ledger is not one; the message names the escalation.
    """
    heads: dict[ChainKey, list[Head]] = defaultdict(list)
    for escalation in escalations:
        metadata, status = _mapping(escalation.get("metadata")), _mapping(escalation.get("status"))
        key = ChainKey(_text(metadata.get("namespace")), _text(metadata.get("name")))
        ledger = status.get("ledger")
        if ledger is None:
            continue
        sequence, value = _mapping(ledger).get("sequence"), _mapping(ledger).get("hash")
        if type(sequence) is not int or not isinstance(value, str):
            raise ValueError(f"escalation {key}: status.ledger is {_shown(ledger)}, expected a sequence and a hash")
        if sequence > 0:
            heads[key].append(Head(sequence, value, origin))
    return dict(heads)


def verify_chains(
    records: Iterable[Mapping[str, Any]],
    heads: Mapping[ChainKey, Sequence[Head]] | None = None,
) -> list[ChainResult]:
    """Check the chains of all escalations among the records.

    Args:
        records: EscalationRecord objects in any order: a record's place is its sequence, not where it stands in a file.
            One that is there several times, the same each time, counts once: exports may overlap.
        heads: Where known, heads noted elsewhere, to show a missing end or a chain rewritten. A chain of which only
            a head is known is reported as missing.

    Returns:
        One result for each chain, sorted by namespace and escalation. Nothing raises on bad records.
    """
    chains: dict[ChainKey, list[_Link]] = defaultdict(list)
    for record in distinct(records):
        link = _Link.of(record)
        chains[link.key].append(link)
    noted = heads or {}
    return [_verify(key, chains.get(key, []), noted.get(key, ())) for key in sorted({*chains, *noted})]


@dataclass(frozen=True, slots=True)
class _Link:
    """A record as far as it can be understood."""

    name: str
    spec: Mapping[str, Any]
    key: ChainKey
    position: int
    fault: str
    """What is wrong with the record by itself, or empty."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> _Link:
        metadata, spec = _mapping(record.get("metadata")), _mapping(record.get("spec"))
        name, namespace = _text(metadata.get("name")), _text(metadata.get("namespace"))
        fault = _fault(spec)
        escalation, sequence = spec.get("escalation"), spec.get("sequence")
        if fault and (named := _NAME.fullmatch(name)):
            escalation, sequence = named["escalation"], int(named["sequence"])
        position = sequence if type(sequence) is int and sequence > 0 else 0
        return cls(name or "(no name)", spec, ChainKey(namespace, _text(escalation)), position, fault)


def _fault(spec: Mapping[str, Any]) -> str:
    """Return what is wrong with a record by itself: a field of the wrong type, or a hash that is not its own."""
    for field in _TEXTS:
        if not isinstance(spec.get(field), str):
            return f"{field} is {_shown(spec.get(field))}, expected text"
    if type(spec.get("sequence")) is not int:
        return f"sequence is {_shown(spec.get('sequence'))}, expected an integer"
    entries = spec.get("entries")
    if not isinstance(entries, list) or not entries:
        return f"entries is {_shown(entries)}, expected a list of what happened"
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            return f"entries[{number}] is {_shown(entry)}, expected a map"
        for field in _TEXTS_OF_ENTRY:
            if not isinstance(entry.get(field), str):
                return f"entries[{number}].{field} is {_shown(entry.get(field))}, expected text"
        if fault := _not_plain({key: value for key, value in entry.items() if key != "open"}):
            return f"entries[{number}].{fault}"
    if fault := _not_plain({key: value for key, value in spec.items() if key not in ("entries", "redactions")}):
        return fault
    try:
        expected = record_hash(spec)
    except (rfc8785.CanonicalizationError, TypeError, ValueError) as error:
        return f"it has no canonical form: {error}"
    if spec["hash"] != expected:
        return f"its content gives {expected}, its hash says {shown_hash(spec['hash'])}"
    return fault_of_open(spec)


def _not_plain(values: Mapping[str, Any]) -> str:
    """Return which field is neither text nor a map of texts, or empty: such a value may be too big to write out."""
    for field, value in values.items():
        plain = all(map(_is_scalar, (*value, *value.values()))) if isinstance(value, Mapping) else _is_scalar(value)
        if not plain:
            return f"{_shown(field)} is {_shown(value)}, expected text or a map of texts"
    return ""


def _verify(key: ChainKey, links: Sequence[_Link], heads: Sequence[Head]) -> ChainResult:
    by_position: dict[int, list[_Link]] = defaultdict(list)
    for link in links:
        by_position[link.position].append(link)
    noted: dict[int, list[Head]] = defaultdict(list)
    for head in heads:
        noted[head.sequence].append(head)

    good = ChainResult(key, 0, GENESIS_HASH)
    last = max(by_position, default=0)
    for sequence in range(1, last + 1):
        name = record_name(key.escalation, sequence)
        error = _wrong_at(name, by_position[sequence], good, by_position)
        if not error:
            error = _unlike(name, by_position[sequence][0].spec["hash"], noted[sequence])
        if error:
            return replace(good, error=error, record=name)
        spec = by_position[sequence][0].spec
        good = ChainResult(
            key,
            sequence,
            spec["hash"],
            noted=sequence if noted[sequence] else good.noted,
            origins={**good.origins, **{head.origin: sequence for head in noted[sequence]}},
            redacted=good.redacted + len(redacted_fields(spec)),
            namespace_uid=good.namespace_uid or _text(spec.get("namespaceUid")),
        )
    if by_position[0]:
        link = by_position[0][0]
        fault = link.fault or f"its sequence is {_shown(link.spec.get('sequence'))}"
        return replace(good, error=f"record {link.name} has no place: {fault}", record=link.name)
    beyond = max((h for h in heads if h.sequence > last), default=None)
    if beyond is not None:
        name = record_name(key.escalation, last + 1)
        count = f"{last} record{'' if last == 1 else 's'}"
        error = (
            f"record {name} is missing: the end is cut off, there are {count}, {beyond.origin} says {beyond.sequence}"
        )
        return replace(good, error=error, record=name)
    return good


def _unlike(name: str, found: str, heads: Iterable[Head]) -> str:
    """Return which noted head differs from the record at its place, or empty."""
    other = next((head for head in heads if head.hash != found), None)
    return f"record {name} is not the one noted in {other.origin}: {found}, not {other.hash}" if other else ""


def _wrong_at(name: str, found: Sequence[_Link], good: ChainResult, by_position: Mapping[int, Sequence[_Link]]) -> str:
    """Return what is wrong at the place behind the good records of a chain, or an empty string."""
    sequence, previous = good.length + 1, good.head
    if not found:
        following = by_position[
            min(position for position in by_position if position > sequence and by_position[position])
        ][0].name
        return f"record {name} is missing: " + (
            f"the first one is {following}" if sequence == 1 else f"after {sequence - 1} comes {following}"
        )
    if len(found) > 1:
        names = sorted({link.name for link in found})
        if len(names) > 1:
            return f"record {name} is not alone: place {sequence} is taken by {' and by '.join(names)}"
        if len({_text(link.spec.get("namespaceUid")) for link in found}) > 1:
            return f"record {name} is there {len(found)} times, of two namespaces of that name: check each by itself"
        return f"record {name} is there {len(found)} times, with different content"
    link = found[0]
    if link.fault:
        return f"record {name} was changed: {link.fault}"
    if link.name != name:
        return f"record {name} was renamed: it is called {link.name}"
    uid = _text(link.spec.get("namespaceUid"))
    if good.namespace_uid not in ("", uid):
        return (
            f"record {name} belongs to another namespace of that name: its namespaceUid is {shown(uid)}, that of the "
            f"records before is {shown(good.namespace_uid)}"
        )
    if link.spec["previousHash"] != previous:
        before = "be the first: 64 zeros" if sequence == 1 else f"follow {sequence - 1}: {previous}"
        has = shown_hash(link.spec["previousHash"])
        return f"record {name} does not join on: its previousHash is {has}, it would have to {before}"
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _shown(value: Any) -> str:
    """Return a value for a message; a list or map by its type only, since aliases may have made it too big."""
    return shown(value) if _is_scalar(value) else f"a {type(value).__name__}"
