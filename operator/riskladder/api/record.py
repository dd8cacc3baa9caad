"""EscalationRecord: one link of an escalation's append-only, hash-chained history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from riskladder.api.base import AtomicList, GivenTime, LongText, Model, ObjectName, Rule, Sha256

GENESIS_HASH = "0" * 64
"""previousHash of the first record of a chain."""


MAX_ENTRIES = 16
"""Of one record: what one pass has to say beyond that goes into the next."""


class RecordEntry(Model):
    """One thing that happened."""

    at: GivenTime = Field(description="When it happened (RFC 3339, UTC).")
    actor: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Who did it: a user name as the API server knows it, a source, or the operator."
    )
    event: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")] = Field(
        description="What happened, one word, for example TierEntered; the same as the reason of its Event."
    )
    detail: Annotated[dict[str, LongText], Field(max_length=32)] = Field(
        default_factory=dict, description="The particulars.", json_schema_extra={"default": {}}
    )


class EscalationRecordSpec(Model):
    """What happened, once and for ever: all that one pass of the operator had to say.

    hash is SHA-256, in hex, over the RFC 8785 (canonical JSON) form of spec without hash. The object is named
    `<escalation>-<sequence, 6 digits>`, which makes an append a compare-and-swap.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self == oldSelf",
            "a record is immutable: append another record instead",
            reason="FieldValueForbidden",
        ),
    )

    escalation: Annotated[ObjectName, Field(max_length=246)] = Field(description="The escalation, by name.")
    sequence: Annotated[int, Field(ge=1, le=999_999)] = Field(description="Place in the chain, from 1, without gaps.")
    entries: Annotated[tuple[RecordEntry, ...], Field(min_length=1, max_length=MAX_ENTRIES), AtomicList()] = Field(
        description="What happened, in order."
    )
    previous_hash: Sha256 = Field(description="hash of the record before; 64 zeros for the first.")
    hash: Sha256 = Field(description="SHA-256 over the canonical form of spec without hash, in hex.")


def acts_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a record's spec as stored, each with the sequence of the record; none that are no maps."""
    entries = spec.get("entries")
    found = entries if isinstance(entries, list) else ()
    return [{**entry, "sequence": spec.get("sequence")} for entry in found if isinstance(entry, Mapping)]
