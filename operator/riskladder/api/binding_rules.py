"""CEL rules of a MonitorBinding."""

from __future__ import annotations

from riskladder.api.base import Rule
from riskladder.api.tier_rules import seconds

SENDER = (
    Rule(
        "has(self.audienceToken) != has(self.hmac)",
        "needs exactly one of audienceToken and hmac: a token that the kubelet rotates, or a key that both sides share",
    ),
)

READING = (
    Rule(
        "self.scale != 0.0",
        "scale must not be 0: every value would become 0",
        field_path=".scale",
    ),
    Rule(
        "self.__as__ != 'Breach' || !has(self.pick)",
        "as Breach takes no pick: it is 1 while the monitor says that its threshold is crossed, and 0 once it is not",
        field_path=".pick",
        reason="FieldValueForbidden",
    ),
    Rule(
        "self.__as__ != 'Breach' || self.scale == 1.0",
        "as Breach takes no scale: it is 1 or 0",
        field_path=".scale",
        reason="FieldValueForbidden",
    ),
)

OBSERVED_AT = (
    Rule(
        "(self.from == 'Expression') == has(self.cel)",
        "cel belongs to from: Expression, which needs it",
        field_path=".cel",
    ),
    Rule(
        "(self.from == 'Header') == has(self.header)",
        "header belongs to from: Header, which needs it",
        field_path=".header",
    ),
)

POLL = (
    Rule(
        f"!self.every.matches('[1-9]') || {seconds('self.every')} >= 5",
        "every must not be shorter than 5s",
        "'every (' + self.every + ') must not be shorter than 5s'",
        field_path=".every",
    ),
)

BINDING = (
    Rule(
        "has(self.target) != has(self.targetFrom)",
        "needs exactly one of target and targetFrom: one model, or one monitor of many models",
    ),
    Rule(
        "has(self.sender) != has(self.poll)",
        "needs exactly one of sender and poll: a monitor that sends, or a query that is asked",
    ),
    Rule(
        "size(self.readings) > 0 || self.format == 'MLflow'",
        "readings must not be empty: say which entries are readings of which indicator",
        field_path=".readings",
        reason="FieldValueRequired",
    ),
    Rule(
        "!has(self.alias) || self.format == 'MLflow'",
        "alias belongs to format MLflow only",
        field_path=".alias",
        reason="FieldValueForbidden",
    ),
    Rule(
        "!has(self.poll) || self.format == 'Generic'",
        "a query needs format Generic: what it answers is a Prometheus vector",
        field_path=".format",
    ),
    Rule(
        "!has(self.targetFrom) || has(self.poll) || "
        "self.format in ['Alertmanager', 'CloudEvents', 'TrustyAI', 'MLflow', 'Generic']",
        "targetFrom needs a format whose entries have labels: Alertmanager, CloudEvents, TrustyAI, MLflow or Generic; "
        "for any other, write one binding for each model",
        field_path=".targetFrom",
    ),
    Rule(
        "!has(self.sender) || !has(self.sender.hmac) || self.format != 'Alertmanager' || "
        "self.sender.hmac.scheme == 'Grafana'",
        "Alertmanager signs nothing: use sender.audienceToken; Grafana, which sends the same, has scheme Grafana",
        field_path=".sender",
    ),
)
