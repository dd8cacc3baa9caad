"""Rules of signals, escalations and records."""

from __future__ import annotations

from tests.refusals.case import Case, put

_BAD_LINK = "must be a link with a scheme, for example https://host/path, s3://bucket/key or models:/name/3"

OTHER_RULES = (
    Case(
        "signal_without_readings",
        "ModelRiskSignal",
        put("readings", []),
        "spec",
        "needs exactly one of readings and manual: a monitor gives readings, a person gives manual",
    ),
    Case(
        "signal_with_readings_and_manual",
        "ModelRiskSignal",
        put("manual", {"tier": "high", "rationale": "Complaints from three branches"}),
        "spec",
        "needs exactly one of readings and manual: a monitor gives readings, a person gives manual",
    ),
    Case(
        "observed_before_its_time",
        "ModelRiskSignal",
        put("observedAt", "1970-01-01T00:00:00Z"),
        "spec.observedAt",
        "must be in the years 2000 to 2199",
    ),
    Case(
        "observed_at_the_end_of_time",
        "ModelRiskSignal",
        put("observedAt", "9999-12-31T00:00:00Z"),
        "spec.observedAt",
        "must be in the years 2000 to 2199",
    ),
    Case(
        "heard_before_it_was_observed",
        "ModelRiskSignal",
        put("heardAt", "2026-11-24T05:59:59Z"),
        "spec.heardAt",
        "heardAt must not lie before observedAt: it says how long what was observed has stood since",
    ),
    Case("card_without_scheme", "ModelRiskSignal", put("model", "card", "wiki/credit"), "spec.model.card", _BAD_LINK),
    Case(
        "card_that_is_a_script",
        "ModelRiskSignal",
        put("model", "card", "JavaScript:/**/alert(1)"),
        "spec.model.card",
        _BAD_LINK,
    ),
    Case(
        "reading_over_no_time",
        "ModelRiskSignal",
        put("readings", 0, "window", "0s"),
        "spec.readings[0].window",
        "must be longer than zero, for example 30m",
    ),
    Case(
        "recorded_before_its_time",
        "EscalationRecord",
        put("entries", 0, "at", "1999-12-31T23:59:59.999999Z"),
        "spec.entries[0].at",
        "must be in the years 2000 to 2199",
    ),
    Case(
        "record_name_of_another_sequence",
        "EscalationRecord",
        put("sequence", 2),
        "",
        "metadata.name must be <escalation>-<sequence, 6 digits>",
    ),
    Case(
        "record_name_of_another_escalation",
        "EscalationRecord",
        put("escalation", "credit-scorer-2"),
        "",
        "metadata.name must be <escalation>-<sequence, 6 digits>",
    ),
)
