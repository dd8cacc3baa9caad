"""Free texts: no control characters, line separators or halves of surrogate pairs, and one line where that is meant."""

from __future__ import annotations

from tests.refusals.case import Case, Change, both, put

_NO = "must not contain control characters, line separators, or U+FFFD, which is what half of a surrogate pair becomes"
ONE_LINE = f"{_NO}, newlines and tabs included"
MULTI_LINE = f"{_NO}; newlines and tabs are allowed"


def _manual(rationale: str) -> Change:
    return both(put("readings", []), put("manual", {"tier": "high", "rationale": rationale}))


TEXT_RULES = (
    Case("scope_with_del", "EscalationLadder", put("charter", "scope", "a\x7fb"), "spec.charter.scope", MULTI_LINE),
    Case(
        "policy_url_with_c1",
        "EscalationLadder",
        put("charter", "policyUrl", "https://bank.example/a\x9fb"),
        "spec.charter.policyUrl",
        ONE_LINE,
    ),
    Case("model_name_of_two_lines", "ModelRiskSignal", put("model", "name", "a\nb"), "spec.model.name", ONE_LINE),
    Case("owner_with_escape", "ModelRiskSignal", put("model", "owners", ["a\x1bb"]), "spec.model.owners[0]", ONE_LINE),
    Case("manual_with_nel", "ModelRiskSignal", _manual("a\x85b"), "spec.manual.rationale", MULTI_LINE),
    Case(
        "line_separator",
        "EscalationDecision",
        put("rationale", "a\u2028b"),
        "spec.rationale",
        MULTI_LINE,
    ),
    Case("half_a_pair", "EscalationDecision", put("rationale", "a\ud800b"), "spec.rationale", MULTI_LINE),
    Case("rationale_with_null", "EscalationDecision", put("rationale", "a\x00b"), "spec.rationale", MULTI_LINE),
    Case("no_character", "EscalationDecision", put("rationale", "a\uffffb"), "spec.rationale", MULTI_LINE),
    Case(
        "user_name_with_tab",
        "EscalationDecision",
        put("decidedBy", {"username": "a\tb"}),
        "spec.decidedBy.username",
        ONE_LINE,
    ),
)
