"""Writes a report as JSON, and says what is in it as a JSON Schema. Times are RFC 3339, spans are seconds."""

from __future__ import annotations

import json
from typing import Any

from riskladder.report.period import Report


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for programs."""
    return report.model_dump(mode="json", by_alias=True)


def schema() -> str:
    """Return the JSON Schema of the report, as the documentation has it."""
    found = Report.model_json_schema(by_alias=True, mode="serialization")
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
