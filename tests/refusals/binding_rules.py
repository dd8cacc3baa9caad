"""Rules of MonitorBindings."""

from __future__ import annotations

from tests.refusals.case import ABSENT, Case, Change, both, put
from tests.refusals.text_rules import ONE_LINE


def _binding(name: str, change: Change, path: str, message: str) -> Case:
    return Case(name, "MonitorBinding", change, path, message)


_POLL = both(put("format", "Generic"), put("sender", ABSENT), put("poll", {"endpoint": "main", "query": "up"}))
_BREACH = "as Breach takes no pick: it is 1 while the monitor says that its threshold is crossed, and 0 once it is not"
_LABELS = (
    "targetFrom needs a format whose entries have labels: Alertmanager, CloudEvents, TrustyAI, MLflow or Generic; for "
    "any other, write one binding for each model"
)
_SIGNED = "Alertmanager signs nothing: use sender.audienceToken; Grafana, which sends the same, has scheme Grafana"
_TARGET = "needs exactly one of target and targetFrom: one model, or one monitor of many models"

BINDING_RULES = (
    _binding("binding_of_nothing", put("target", ABSENT), "spec", _TARGET),
    _binding("binding_of_one_and_many", put("targetFrom", {"label": "model", "allowed": ["a"]}), "spec", _TARGET),
    _binding(
        "binding_without_sender",
        put("sender", ABSENT),
        "spec",
        "needs exactly one of sender and poll: a monitor that sends, or a query that is asked",
    ),
    _binding(
        "query_of_alerts",
        both(_POLL, put("format", "Alertmanager")),
        "spec.format",
        "a query needs format Generic: what it answers is a Prometheus vector",
    ),
    _binding(
        "labels_of_evidently",
        both(
            put("format", "Evidently"),
            put("target", ABSENT),
            put("targetFrom", {"label": "model", "allowed": ["a"]}),
        ),
        "spec.targetFrom",
        _LABELS,
    ),
    _binding(
        "binding_of_no_indicator",
        put("readings", []),
        "spec.readings",
        "readings must not be empty: say which entries are readings of which indicator",
    ),
    _binding("alias_of_alerts", put("alias", "champion"), "spec.alias", "alias belongs to format MLflow only"),
    _binding(
        "alias_of_two_lines",
        both(put("format", "MLflow"), put("alias", "a\nb")),
        "spec.alias",
        ONE_LINE,
    ),
    _binding("alertmanager_that_signs", put("sender", {"hmac": {"secretKey": "k"}}), "spec.sender", _SIGNED),
    _binding(
        "sender_without_proof",
        put("sender", {}),
        "spec.sender",
        "needs exactly one of audienceToken and hmac: a token that the kubelet rotates, or a key that both sides share",
    ),
    _binding(
        "everything_is_zero",
        put("readings", 0, "scale", 0),
        "spec.readings[0].scale",
        "scale must not be 0: every value would become 0",
    ),
    _binding("breach_that_picks", put("readings", 0, "as", "Breach"), "spec.readings[0].pick", _BREACH),
    _binding(
        "breach_in_per_cent",
        both(put("readings", 0, "pick", ABSENT), put("readings", 0, "as", "Breach"), put("readings", 0, "scale", 0.01)),
        "spec.readings[0].scale",
        "as Breach takes no scale: it is 1 or 0",
    ),
    _binding(
        "expression_that_is_not_asked_for",
        put("observedAt", {"from": "Received", "cel": "entry.at"}),
        "spec.observedAt.cel",
        "cel belongs to from: Expression, which needs it",
    ),
    _binding(
        "header_without_name",
        put("observedAt", {"from": "Header"}),
        "spec.observedAt.header",
        "header belongs to from: Header, which needs it",
    ),
    _binding(
        "query_without_pause",
        both(_POLL, put("poll", "every", "1s")),
        "spec.poll.every",
        "every (1s) must not be shorter than 5s",
    ),
    _binding(
        "query_again_at_once",
        both(_POLL, put("poll", "every", "0s")),
        "spec.poll.every",
        "must be longer than zero, for example 30m",
    ),
    _binding("expression_of_two_lines", put("heartbeat", "true\n"), "spec.heartbeat", ONE_LINE),
    _binding(
        "card_of_the_binding_without_scheme",
        put("model", "card", "wiki/credit"),
        "spec.model.card",
        "must be a link with a scheme, for example https://host/path, s3://bucket/key or models:/name/3",
    ),
)
