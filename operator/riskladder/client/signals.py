"""The ModelRiskSignal that a report becomes, and its name."""

from __future__ import annotations

import hashlib
from typing import Any

from riskladder.client.errors import Refused


def signal_name(source: str, ladder: str, kind: str, target: str) -> str:
    """Return the name of the signal that one source updates for one target under one ladder.

    Parts of the digest are apart from one another: ``a`` about ``b-c`` is not ``a-b`` about ``c``.
    """
    digest = hashlib.sha256("/".join((source, ladder, kind, target)).encode()).hexdigest()[:8]
    readable = f"{target}-{source}"[:200].rstrip("-.")
    return f"{readable}-{digest}"


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """Return a signal that the API server would take.

    Raises:
        Refused: It would not; in its own words, before anything is sent.
    """
    from riskladder.api.validation import validate

    problems = validate("ModelRiskSignal", body, unknown_fields=True)
    if problems:
        raise Refused(str(problems[0]), reason="Invalid")
    return body


def foreign_readings(stored: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """Return the indicators of a stored signal that others own: server-side apply leaves them where they are."""
    mine = {reading["indicator"] for reading in body["spec"]["readings"]}
    there = (stored.get("spec") or {}).get("readings") or ()
    return [reading["indicator"] for reading in there if reading["indicator"] not in mine]
