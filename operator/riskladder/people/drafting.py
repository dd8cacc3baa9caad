"""A decision as a person fills it in, before anything is sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from pydantic import ValidationError

from riskladder.api.decision import DecidedBy, DecisionAction, EscalationDecisionSpec
from riskladder.people.text import parse_until

_REVIEW = ("policyUpdated", "satisfaction", "lessons")


class Unfit(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """What was filled in is no decision; the message names the field."""


def drafted(
    escalation: str,
    action: DecisionAction,
    role: str,
    rationale: str,
    fields: Mapping[str, str],
    me: DecidedBy,
    now: datetime,
    zone: tzinfo | None = None,
) -> EscalationDecisionSpec:
    """Return the decision that was filled in.

    Args:
        escalation: Name of the escalation.
        action: What is decided.
        role: In which role.
        rationale: Why.
        fields: What the action needs besides, as the decision's spec names it; empty values are left out.
        me: Who decides.
        now: The time: an ``until`` may be a duration from it.
        zone: In which a date of ``until`` ends.

    Raises:
        Unfit: Something is missing, or is not what it should be.
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value and name not in _REVIEW}
    if "until" in given:
        try:
            given["until"] = parse_until(given["until"], now, zone)
        except ValueError as error:
            raise Unfit(f"until: {error}") from error
    if "withdraw" in given:
        given["withdraw"] = given["withdraw"] == "true"
    if action is DecisionAction.REVIEW:
        given["review"] = {
            "policyUpdated": fields.get("policyUpdated") == "true",
            "satisfaction": fields.get("satisfaction", ""),
            "lessons": fields.get("lessons", "").strip(),
        }
    if not rationale.strip():
        raise Unfit("rationale: say why; it goes on record")
    try:
        return EscalationDecisionSpec.model_validate(
            {
                "escalation": escalation,
                "action": action,
                "role": role,
                "rationale": rationale.strip(),
                "decidedBy": me,
                **given,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Unfit(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
