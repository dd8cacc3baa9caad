"""Transition rules of a record: nothing changes, but that a redaction removes values from ``open`` and says so.

Who may redact, and that a redaction names exactly what it removes, is up to the admission policy riskladder-records: it
knows the caller, and no estimate of costs stands in its way.
"""

from __future__ import annotations

from riskladder.api.base import Rule

MAX_ENTRIES = 16
"""Of one record: what one pass has to say beyond that goes into the next."""

MAX_OPEN = 8
"""Values outside the hash, of one entry."""

MAX_REDACTIONS = 32
"""Of one record; each may name all values that are left."""


def _each(limit: int, condition: str) -> str:
    """Return CEL for a condition on every number ``i`` below a limit: CEL has no range(), and bounds keep it cheap."""
    return f"[{', '.join(map(str, range(limit)))}].all(i, {condition})"


def _same(owner: str, field: str) -> str:
    """Return CEL for an optional field that is absent before and after, or the same."""
    new, old = f"self{owner}.{field}", f"oldSelf{owner}.{field}"
    return f"has({new}) == has({old}) && (!has({new}) || {new} == {old})"


_SAME_ENTRY = " && ".join(
    (
        *(f"self.entries[i].{field} == oldSelf.entries[i].{field}" for field in ("at", "actor", "event", "detail")),
        _same(".entries[i]", "commitments"),
    )
)

RECORD = (
    Rule(
        "self.escalation == oldSelf.escalation && self.sequence == oldSelf.sequence && self.hash == oldSelf.hash && "
        "self.previousHash == oldSelf.previousHash && "
        + _same("", "namespaceUid")
        + " && size(self.entries) == size(oldSelf.entries) && "
        + _each(MAX_ENTRIES, f"i >= size(self.entries) || ({_SAME_ENTRY})"),
        "a record is immutable: append another record instead; only a redaction removes values from open",
        reason="FieldValueForbidden",
    ),
    Rule(
        _each(
            MAX_ENTRIES,
            "i >= size(self.entries) || !has(self.entries[i].open) || (i < size(oldSelf.entries) && "
            "has(oldSelf.entries[i].open) && self.entries[i].open.all(name, name in oldSelf.entries[i].open && "
            "self.entries[i].open[name] == oldSelf.entries[i].open[name]))",
        ),
        "a value in open is never added or changed: a redaction removes it, and its salt with it",
        reason="FieldValueForbidden",
    ),
    Rule(
        "self == oldSelf || (has(self.redactions) && size(self.redactions) == (has(oldSelf.redactions) ? "
        "size(oldSelf.redactions) : 0) + 1 && (!has(oldSelf.redactions) || "
        + _each(MAX_REDACTIONS, "i >= size(oldSelf.redactions) || self.redactions[i] == oldSelf.redactions[i]")
        + "))",
        "a redaction appends one entry to redactions, with by, at, reason and the fields that it removes from open",
        reason="FieldValueForbidden",
    ),
)
