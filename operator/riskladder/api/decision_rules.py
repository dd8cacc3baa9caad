"""CEL rules of a decision: each action has its own particulars, and what was decided is never rewritten."""

from __future__ import annotations

from riskladder.api.base import Rule

_PARTICULARS = (
    ("Escalate", "tier", "the tier to enter"),
    ("AcceptRisk", "until", "until when the risk is accepted"),
    ("Close", "resolution", "Remediated, FalsePositive, RiskAccepted or Retired"),
    ("Review", "review", "policyUpdated, satisfaction and lessons"),
)


def _needs(action: str, field: str, what: str) -> Rule:
    return Rule(
        f"self.action != '{action}' || has(self.{field})",
        f"action {action} needs {field}: {what}",
        field_path=f".{field}",
        reason="FieldValueRequired",
    )


def _only(action: str, field: str, given: str) -> Rule:
    return Rule(
        f"self.action == '{action}' || !{given}",
        f"{field} belongs to action {action} only",
        f"'{field} belongs to action {action} only, and this is ' + self.action",
        field_path=f".{field}",
        reason="FieldValueForbidden",
    )


DECISION = (
    *(_needs(action, field, what) for action, field, what in _PARTICULARS),
    *(_only(action, field, f"has(self.{field})") for action, field, _ in _PARTICULARS),
    _only("Contain", "containment", "has(self.containment)"),
    _only("Comment", "clock", "has(self.clock)"),
    _only("Object", "withdraw", "self.withdraw"),
    Rule(
        "self == oldSelf",
        "a decision is immutable: to change your mind, create another one",
        reason="FieldValueForbidden",
    ),
)
