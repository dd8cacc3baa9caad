"""MonitorBinding: the one reviewed place that says what the words of a monitor mean."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riskladder.api import binding_rules
from riskladder.api.base import (
    Count,
    DnsLabel,
    FiniteNumber,
    Generation,
    IndicatorName,
    KindName,
    LabelKey,
    ListMap,
    ListSet,
    Model,
    ObjectName,
    PositiveDuration,
    ReasonWord,
    Rule,
    SecretKey,
    Text,
    Timestamp,
)
from riskladder.api.conditions import Condition
from riskladder.api.signal import MAX_READINGS, ModelInfo, TargetRef

MAX_TARGETS = 1000
"""Targets that one binding may name."""

Expression = Annotated[str, Field(min_length=1, max_length=1024)]
"""A CEL expression over ``entry``, one measurement or alert of the payload, and ``body``, all of it."""


class MonitorFormat(StrEnum):
    """What a monitor sends: each is a preset that knows the shape of the payload."""

    ALERTMANAGER = "Alertmanager"
    CLOUD_EVENTS = "CloudEvents"
    EVIDENTLY = "Evidently"
    NANNYML = "NannyML"
    ALIBI_DETECT = "AlibiDetect"
    TRUSTYAI = "TrustyAI"
    SAGEMAKER = "SageMaker"
    VERTEX_AI = "VertexAI"
    MLFLOW = "MLflow"
    GENERIC = "Generic"


class ReadingKind(StrEnum):
    """What a binding makes of what it picks."""

    VALUE = "Value"
    BREACH = "Breach"


class Aggregate(StrEnum):
    """What to do where several entries of a payload are of one indicator."""

    ONLY = "Only"
    MAX = "Max"
    MIN = "Min"
    MEAN = "Mean"
    LAST = "Last"


class TimeSource(StrEnum):
    """Where the time of a measurement comes from."""

    PAYLOAD = "Payload"
    EXPRESSION = "Expression"
    HEADER = "Header"
    RECEIVED = "Received"


class HmacScheme(StrEnum):
    """How a payload is signed with a shared key."""

    STANDARD_WEBHOOKS = "StandardWebhooks"
    GRAFANA = "Grafana"
    MLFLOW = "MLflow"


class TargetFrom(Model):
    """One monitor of many models: a label of the payload names the workload, and only those listed are taken."""

    label: LabelKey = Field(
        description="Label of an alert, a sample or a metric, or a top-level field of a CloudEvent, that holds the "
        "name of the workload."
    )
    kind: KindName = Field("Deployment", description="Kind of the workloads.")
    allowed: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=MAX_TARGETS), ListSet()] = Field(
        description="Names of workloads that the label may hold. Any other is refused."
    )


class AudienceToken(Model):
    """A service-account token with the audience riskladder-ingest, which is worth nothing at the API server."""

    namespace: DnsLabel | None = Field(
        None, description="Namespace of the service account that sends. Default: that of serviceAccount."
    )
    name: ObjectName | None = Field(
        None, description="Name of the service account that sends. Default: serviceAccount of the binding."
    )


class Hmac(Model):
    """A signature with a key that both sides share."""

    secret_key: SecretKey = Field(
        description="Key of the Secret riskladder-ingest in the namespace of the binding that holds the signing key."
    )
    scheme: HmacScheme = Field(
        HmacScheme.STANDARD_WEBHOOKS,
        description="How it is signed: StandardWebhooks (standardwebhooks.com), Grafana (contact points of type "
        "webhook, with the timestamp header X-Grafana-Alerting-Timestamp), or MLflow (registry webhooks).",
    )


class Sender(Model):
    """How a sender proves who it is. Exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = binding_rules.SENDER

    audience_token: AudienceToken | None = Field(
        None, description="By a projected service-account token, which the kubelet rotates."
    )
    hmac: Hmac | None = Field(None, description="By a signature over identifier, time and body.")


class BoundReading(Model):
    """Which entries of a payload are readings of an indicator."""

    rules: ClassVar[tuple[Rule, ...]] = binding_rules.READING

    indicator: IndicatorName = Field(description="Indicator of the ladder.")
    where: Expression | None = Field(
        None, description="CEL, true for the entries that are of this indicator. Default: every entry."
    )
    pick: Expression | None = Field(
        None,
        description="CEL, the value: a number, or a list of numbers to aggregate. Default: entry.value, which the "
        "preset fills in where it knows it.",
    )
    as_: ReadingKind = Field(
        ReadingKind.VALUE,
        alias="as",
        description="Value: the number that is picked. Breach: 1 while the monitor says that its own threshold is "
        "crossed, 0 once it says that it no longer is; for alerts without a number.",
    )
    aggregate: Aggregate = Field(
        Aggregate.ONLY,
        description="What to make of several entries of one time: Only refuses them, Max, Min, Mean and Last choose.",
    )
    scale: FiniteNumber = Field(
        1.0, description="Factor from the unit of the monitor to that of the indicator, such as 0.01 for per cent."
    )


class ObservedAt(Model):
    """Where the time of a measurement comes from."""

    rules: ClassVar[tuple[Rule, ...]] = binding_rules.OBSERVED_AT

    source: TimeSource = Field(
        TimeSource.PAYLOAD,
        alias="from",
        description="Payload: where the preset knows it to be. Expression: what cel gives. Header: the HTTP header of "
        "that name. Received: when it was received, for monitors that give no time at all.",
    )
    cel: Expression | None = Field(
        None, description="CEL, an RFC 3339 time as text, or seconds since 1970 as a number. For Expression."
    )
    header: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")] | None = Field(
        None, description="Name of the HTTP header, an RFC 3339 time, an HTTP date, or seconds since 1970. For Header."
    )


class Poll(Model):
    """A query that is asked again and again, in place of a sender."""

    rules: ClassVar[tuple[Rule, ...]] = binding_rules.POLL

    endpoint: DnsLabel = Field(
        description="Name of an endpoint in the configuration of riskladder poll: its address and its credentials are "
        "the administrator's, and are written nowhere else."
    )
    query: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="PromQL, an instant query. Exactly one finite sample for each target is a reading."
    )
    every: PositiveDuration = Field("60s", description="How often; at least 5s.", validate_default=True)
    on_warnings: Literal["Refuse", "Accept"] = Field(
        "Refuse",
        description="What a result is worth that comes with warnings, such as one of which a part was not reachable.",
    )


class MonitorBindingSpec(Model):
    """What a monitor sends, which reading each value of it becomes, and who may send it."""

    rules: ClassVar[tuple[Rule, ...]] = binding_rules.BINDING

    format: MonitorFormat = Field(description="What it sends.")
    ladder: DnsLabel = Field(description="Name of the EscalationLadder, in the same namespace.")
    target: TargetRef | None = Field(None, description="The workload that serves the model. Give this or targetFrom.")
    target_from: TargetFrom | None = Field(None, description="One monitor of many models. Give this or target.")
    model: ModelInfo | None = Field(None, description="What the workload serves, for the people who have to decide.")
    source: DnsLabel = Field(
        description="Who reports. The service account needs the verb report on the virtual resource "
        "sources.riskladder.dev of that name."
    )
    service_account: ObjectName = Field(
        description="The service account under whose name and with whose permissions the signals are written."
    )
    service_account_namespace: DnsLabel | None = Field(
        None,
        description="Its namespace. One of its own keeps those who may deploy models here from acting as it. Default: "
        "that of the binding.",
    )
    sender: Sender | None = Field(None, description="How the sender proves who it is. Give this or poll.")
    poll: Poll | None = Field(None, description="What to ask, and whom. Give this or sender.")
    readings: Annotated[tuple[BoundReading, ...], Field(max_length=MAX_READINGS), ListMap("indicator")] = Field(
        (),
        description="Which entries of the payload are readings of which indicator. Only MLflow's, a registry's, may be "
        "without: it says which version of the model serves, in the signals of the same source and target.",
    )
    alias: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        None,
        description="For MLflow: the alias that names the version which serves, such as champion. Default: whatever "
        "alias is set.",
    )
    observed_at: ObservedAt = Field(
        ObservedAt(), description="Where the time of a measurement comes from. Default: where the preset knows it."
    )
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^([A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*)?$")] = Field(
        "",
        description="IANA time zone of times that name none, for example Europe/Berlin. Default: such a time is "
        "refused.",
    )
    heartbeat: Expression | None = Field(
        None,
        description="CEL, true for the entries that only say that the monitor is alive, such as an alert that always "
        "fires: they keep every reading of the binding fresh.",
    )


class LastReading(Model):
    """The last reading that the API server has stored."""

    at: Timestamp = Field(description="When it was stored.")
    signal: ObjectName = Field(description="Name of the ModelRiskSignal.")
    indicator: IndicatorName = Field(description="The indicator.")
    value: FiniteNumber = Field(description="The value, in the unit of the indicator.")
    observed_at: Timestamp = Field(description="When it was observed.")


class LastRefusal(Model):
    """The last thing that became no reading."""

    at: Timestamp = Field(description="When it was refused.")
    reason: ReasonWord = Field(description="Why, one word.")
    message: Text = Field(description="What was found, where, and what was expected.")


class BindingCounts(Model):
    """How often, since the binding was created."""

    deliveries: Count = Field(0, description="Payloads of a proved sender, or answers to a query.")
    readings: Count = Field(0, description="Readings that the API server has stored.")
    refusals: Count = Field(0, description="Values that became no reading.")


class MonitorBindingStatus(Model):
    """What came of it."""

    observed_generation: Generation | None = Field(None, description="The metadata.generation this status is about.")
    last_reading: LastReading | None = Field(None, description="The last reading that was stored.")
    last_refusal: LastRefusal | None = Field(None, description="The last thing that became no reading.")
    counts: BindingCounts = Field(BindingCounts(), description="How often, since the binding was created.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = Field(
        (), description="Ready, Receiving, QueryOk."
    )
