"""Rules of decisions: what each action needs, and what belongs to another one."""

from __future__ import annotations

from tests.refusals.case import Case, Change, both, put
from tests.refusals.documents import TIME

_REVIEW = {"policyUpdated": True, "satisfaction": 4}

_PARTICULARS = (
    ("Escalate", "tier", "critical", "the tier to enter"),
    ("AcceptRisk", "until", TIME, "until when the risk is accepted"),
    ("Close", "resolution", "Remediated", "Remediated, FalsePositive, RiskAccepted or Retired"),
    ("Review", "review", _REVIEW, "policyUpdated, satisfaction and lessons"),
)
_BELONGS = (
    *((action, field, value) for action, field, value, _ in _PARTICULARS),
    ("Contain", "containment", "ScaleToZero"),
    ("Comment", "clock", "ai-act-art-73"),
    ("Object", "withdraw", True),
)


def _decision(name: str, change: Change, path: str, message: str) -> Case:
    return Case(name, "EscalationDecision", change, path, message)


DECISION_RULES = (
    *(
        _decision(
            f"{action.lower()}_without_{field}",
            put("action", action),
            f"spec.{field}",
            f"action {action} needs {field}: {what}",
        )
        for action, field, _, what in _PARTICULARS
    ),
    *(
        _decision(
            f"{field}_without_{action.lower()}",
            put(field, value),
            f"spec.{field}",
            f"{field} belongs to action {action} only, and this is Acknowledge",
        )
        for action, field, value in _BELONGS
    ),
    _decision(
        "risk_accepted_before_its_time",
        both(put("action", "AcceptRisk"), put("until", "1970-01-01T00:00:00Z")),
        "spec.until",
        "must be in the years 2000 to 2199",
    ),
)
