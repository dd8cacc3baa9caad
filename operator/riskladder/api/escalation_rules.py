"""CEL rules of an escalation: what was known and intended when it was opened is never rewritten."""

from __future__ import annotations

from riskladder.api.base import Rule

_REQUIRED = ("ladder", "policy", "target", "signal", "drill")
_OPTIONAL = ("model", "evidence", "intent")


def _unchanged(field: str, optional: bool) -> Rule:
    same = f"self.{field} == oldSelf.{field}"
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})" if optional else same,
        f"{field} is immutable: it is what was known when the escalation was opened",
        field_path=f".{field}",
        reason="FieldValueForbidden",
    )


ESCALATION = (
    *(_unchanged(field, optional=False) for field in _REQUIRED),
    *(_unchanged(field, optional=True) for field in _OPTIONAL),
)
