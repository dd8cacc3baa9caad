"""EscalationRecord: one link of an escalation's append-only, hash-chained history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from riskladder.api import record_rules
from riskladder.api.base import (
    AtomicList,
    GivenTime,
    ListSet,
    LongText,
    Model,
    ObjectName,
    Rule,
    Sha256,
    Text,
    Uid,
    Username,
)
from riskladder.api.commitments import field_path, redaction_of
from riskladder.api.foreign import cleaned, clip
from riskladder.api.record_rules import MAX_ENTRIES as MAX_ENTRIES
from riskladder.api.record_rules import MAX_OPEN as MAX_OPEN
from riskladder.api.record_rules import MAX_REDACTIONS

MAX_SEQUENCE = 999_999
"""Records of one chain, at most: the name of a record has six digits for its place."""

GENESIS_HASH = "0" * 64
"""previousHash of the first record of a chain."""

MAX_DETAIL = 192
"""Particulars of one entry: the opening has five for each of 32 readings."""

POLICY = "policy"
"""The policy that an escalation runs under, as canonical JSON."""

OPEN_NAMES = frozenset({"message", "rationale", "lessons", "raisedBy", "owners", POLICY})
"""Particulars that are free text, or name people beyond the acting account: they stand in ``open``, to be erasable."""

MAX_VALUE = 4096
"""Characters of one particular, all but the policy."""

MAX_OPEN_VALUE = 131_072
"""Characters of a value in open: the pinned policy of the largest ladder fits."""

REDACTED = "redacted"
"""What a reader sees in place of a value that was erased."""


class OpenValue(Model):
    """A value outside the hash, and the salt that its commitment was made with."""

    salt: Annotated[str, Field(max_length=32, pattern=r"^[0-9a-f]{32}$")] = Field(
        description="128 random bits in hex: without it, an erased value could be guessed from its commitment."
    )
    value: Annotated[str, Field(max_length=MAX_OPEN_VALUE)] = Field(description="The value.")


class RecordEntry(Model):
    """One thing that happened."""

    at: GivenTime = Field(description="When it happened (RFC 3339, UTC).")
    actor: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Who did it: a user name as the API server knows it, a source, or the operator."
    )
    event: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")] = Field(
        description="What happened, one word, for example TierEntered; the same as the reason of its Event."
    )
    detail: Annotated[dict[str, LongText], Field(max_length=MAX_DETAIL)] = Field(
        default_factory=dict, description="The particulars.", json_schema_extra={"default": {}}
    )
    commitments: Annotated[dict[str, Sha256], Field(max_length=MAX_OPEN)] = Field(
        default_factory=dict,
        description="By name of a value in open: SHA-256, in hex, over the canonical form of the list "
        "`[riskladder.dev/open/v1, salt, value]`. It stays when the value is redacted.",
    )
    open: Annotated[dict[str, OpenValue], Field(max_length=MAX_OPEN)] = Field(
        default_factory=dict,
        description="Free text and names of people, by name. Outside of the hash, so that a redaction can remove a "
        "value and the chain still verifies.",
    )


class Redaction(Model):
    """One lawful erasure: which values were removed from open, by whom, when and why."""

    at: GivenTime = Field(description="When, by the clock of whoever redacted (RFC 3339, UTC).")
    by: Username = Field(description="Who: the user name that the API server authenticated.")
    reason: Annotated[Text, Field(min_length=1)] = Field(description="Why. It stays, so do not repeat what is erased.")
    fields: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=317)], ...],
        Field(min_length=1, max_length=MAX_ENTRIES * MAX_OPEN),
        ListSet(),
    ] = Field(description="What was removed, each as entries[NUMBER].open.NAME, with numbers from 0.")


class EscalationRecordSpec(Model):
    """What happened, once and for ever: all that one pass of the operator had to say.

    hash is SHA-256, in hex, over the RFC 8785 (canonical JSON) form of spec without hash, redactions, and the open of
    every entry. The object is named `<escalation>-<sequence, 6 digits>`, which makes an append a compare-and-swap.
    """

    rules: ClassVar[tuple[Rule, ...]] = record_rules.RECORD

    escalation: Annotated[ObjectName, Field(max_length=246)] = Field(description="The escalation, by name.")
    sequence: Annotated[int, Field(ge=1, le=MAX_SEQUENCE)] = Field(
        description="Place in the chain, from 1, without gaps."
    )
    namespace_uid: Uid | None = Field(
        None,
        description="uid of the namespace: one that was deleted and created again has chains of its own. Absent from "
        "records of before this field.",
    )
    entries: Annotated[tuple[RecordEntry, ...], Field(min_length=1, max_length=MAX_ENTRIES), AtomicList()] = Field(
        description="What happened, in order."
    )
    previous_hash: Sha256 = Field(description="hash of the record before; 64 zeros for the first.")
    hash: Sha256 = Field(
        description="SHA-256, in hex, over the canonical form of spec without hash, redactions, and the open of every "
        "entry."
    )
    redactions: Annotated[tuple[Redaction, ...], Field(max_length=MAX_REDACTIONS), AtomicList()] = Field(
        (), description="Which values were erased from open, in order. Append-only, and outside of the hash."
    )


def clipped_particulars(particulars: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the particulars of an entry within the limits of its schema: the first ones, each clipped.

    The text of the policy is whole or not there, since nobody could read the half of it.
    """
    kept: dict[str, str] = {}
    hashed = opened = 0
    for name, value in particulars:
        is_open, is_policy = name in OPEN_NAMES, name == POLICY
        if (opened if is_open else hashed) >= (MAX_OPEN if is_open else MAX_DETAIL - 1):  # one is the key of the act
            continue
        if is_policy and len(value) > MAX_OPEN_VALUE:
            continue
        opened, hashed = opened + is_open, hashed + (not is_open)
        kept[name] = cleaned(value) if is_policy else clip(value, MAX_VALUE)
    return kept


def entries_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a record's stored spec says happened, each entry with the sequence of the record.

    The open values of an entry are in its ``detail``, as if they had always been there. One that was erased reads
    ``redacted``, and ``redacted`` has by its name who did it, when and why. Entries that are no maps are left out.
    """
    entries = spec.get("entries")
    return [
        {**_joined(spec, number, entry), "sequence": spec.get("sequence")}
        for number, entry in enumerate(entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
    ]


def _joined(spec: Mapping[str, Any], number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    detail, opened = _mapping(entry.get("detail")), _mapping(entry.get("open"))
    gone = sorted(str(name) for name in _mapping(entry.get("commitments")) if name not in opened)
    values = {name: _mapping(pair).get("value", "") for name, pair in opened.items()}
    rest = {name: value for name, value in entry.items() if name not in ("commitments", "open")}
    return {
        **rest,
        "detail": {**detail, **dict.fromkeys(gone, REDACTED), **values},
        "redacted": {name: redaction_of(spec, field_path(number, name)) for name in gone},
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
