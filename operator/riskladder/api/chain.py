"""The record chain: canonical form, hashes, and the check that anyone can repeat offline.

A record's hash is SHA-256 over the RFC 8785 form of its spec without ``hash``; it contains the hash of the record before, so
that no record can be changed, removed, inserted or moved without breaking every later one. What the chain itself cannot show
is a missing end: compare its last hash with ``Escalation.status.ledger`` or with the operator's log.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785

from riskladder.api.record import GENESIS_HASH


def digest(value: Any) -> str:
    """SHA-256, in hex, over the RFC 8785 form of a JSON value."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def record_hash(spec: Mapping[str, Any]) -> str:
    """The hash that a record's spec must carry."""
    return digest({key: value for key, value in spec.items() if key != "hash"})


def record_name(escalation: str, sequence: int) -> str:
    """Name of the record object: the same for everyone who would append it, so that an append is a compare-and-swap."""
    return f"{escalation}-{sequence:06d}"


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The outcome of checking one escalation's chain."""

    escalation: str
    length: int
    head: str
    """Hash of the last good record."""
    error: str = ""
    """What is wrong with the first bad record, or empty."""

    @property
    def intact(self) -> bool:
        """Whether every record is in its place and unchanged."""
        return not self.error


def verify_chains(
    records: Iterable[Mapping[str, Any]], heads: Mapping[str, tuple[int, str]] | None = None
) -> list[ChainResult]:
    """Check the chains of all escalations among the records.

    Args:
        records: EscalationRecord objects, in any order of escalations; within one escalation, in any order (they are
            sorted by sequence, and a sequence that does not match its place is reported).
        heads: Where known, the sequence and hash of each escalation's last record, to show a truncated chain.
    """
    chains: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        spec = record.get("spec") or {}
        chains[str(spec.get("escalation", ""))].append(record)
    for name in heads or {}:
        chains.setdefault(name, [])
    return [_verify(name, chains[name], (heads or {}).get(name)) for name in sorted(chains)]


def _verify(escalation: str, records: list[Mapping[str, Any]], head: tuple[int, str] | None) -> ChainResult:
    previous, length = GENESIS_HASH, 0

    def broken(why: str) -> ChainResult:
        return ChainResult(escalation, length, previous, why)

    for record in sorted(records, key=_sequence):
        spec = record.get("spec") or {}
        name = (record.get("metadata") or {}).get("name", "(no name)")
        sequence = spec.get("sequence")
        if sequence != length + 1:
            if isinstance(sequence, int) and sequence > length + 1:
                return broken(f"record {length + 1} is missing: after {length} comes {name} with sequence {sequence}")
            return broken(f"record {name} has sequence {sequence!r}, a second time or out of place")
        if name != record_name(escalation, sequence):
            return broken(
                f"record {name} is misnamed: sequence {sequence} of {escalation} is {record_name(escalation, sequence)}"
            )
        if spec.get("previousHash") != previous:
            return broken(
                f"record {name} does not follow the one before: previousHash is {spec.get('previousHash')!r}, expected {previous}"
            )
        try:
            expected = record_hash(spec)
        except (rfc8785.CanonicalizationError, TypeError, ValueError) as error:
            return broken(f"record {name} has no canonical form: {error}")
        if spec.get("hash") != expected:
            return broken(f"record {name} was changed: its hash is {spec.get('hash')!r}, its content gives {expected}")
        previous, length = expected, sequence
    if head is not None and head != (length, previous):
        if head[0] > length:
            return broken(f"the end is missing: {escalation} has {length} record(s), its status says {head[0]}")
        if head[0] == length:
            return broken(f"the last record is not the one in the status of {escalation}: {previous}, not {head[1]}")
    return ChainResult(escalation, length, previous)


def _sequence(record: Mapping[str, Any]) -> int:
    sequence = (record.get("spec") or {}).get("sequence")
    return sequence if isinstance(sequence, int) else 0
