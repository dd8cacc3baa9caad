"""ModelRiskSignal: what a monitor measured on a model, or what a person raises about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riskladder.api.base import (
    ApiVersion,
    AtomicMap,
    Count,
    DnsLabel,
    FiniteNumber,
    Generation,
    GivenTime,
    IndicatorName,
    KindName,
    Link,
    ListMap,
    ListSet,
    LongText,
    Model,
    ObjectName,
    PositiveDuration,
    ReasonWord,
    Rule,
    Timestamp,
    Username,
)
from riskladder.api.conditions import Condition
from riskladder.api.tiers import ContainmentAction

MAX_READINGS = 32
MAX_BREACHES = 256

VersionText = Annotated[str, Field(max_length=253)]


class TargetRef(Model):
    """The workload that serves the model, in the signal's namespace."""

    api_version: ApiVersion = Field(
        "", description="API group and version, for example apps/v1. Default: looked up, where the kind is known."
    )
    kind: KindName = Field(description="Kind of the workload, for example Deployment or InferenceService.")
    name: ObjectName = Field(description="Name of the workload, in the signal's namespace.")


class ModelInfo(Model):
    """What the workload serves, for the people who have to decide."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Name of the model in its registry.")
    version: VersionText | None = Field(None, description="Version of the model in its registry.")
    owners: Annotated[tuple[Username, ...], Field(max_length=16), ListSet()] = Field(
        (),
        description="User names, as the API server knows them, of those who own the model. They never count towards "
        "accepting its risk, resuming it or closing its escalation.",
    )
    card: Link | None = Field(None, description="Link to the model card.")
    lineage: Link | None = Field(None, description="Link to the lineage: data, training run, code.")


class Reading(Model):
    """One value of one indicator."""

    indicator: IndicatorName = Field(
        description="An indicator of the ladder, by name. A signal has one reading for each."
    )
    value: FiniteNumber = Field(
        description="The measured value, in the indicator's own unit. NaN and infinities are refused."
    )
    sample_size: Count | None = Field(None, description="How many samples it rests on.")
    window: PositiveDuration | None = Field(None, description="The span of time that it covers, up to observedAt.")
    evidence: Link | None = Field(None, description="Link to the full report.")


class Manual(Model):
    """A person's judgement in place of a reading."""

    tier: DnsLabel = Field(description="The tier to put the model in. Needs the verb raise on a stakeholder role.")
    rationale: Annotated[LongText, Field(min_length=1)] = Field(description="Why, for those who are notified.")
    role: DnsLabel | None = Field(
        None,
        description="The stakeholder role in which it is raised: needs the verb raise on the virtual resource "
        "stakeholders.riskladder.dev of that name. Default: none, which needs the verb on every role.",
    )
    containment: Literal[ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ROLLBACK] | None = Field(
        None,
        description="The stop button: contain at once, so, whatever the tier says. Needs the verb contain as well. "
        "Default: what the tier says.",
    )
    raised_by: Username | None = Field(
        None,
        description="Who raised it: stamped by the API server, whatever the client wrote. With which credential is in "
        "spec.reportedBy.",
    )


class ReportedBy(Model):
    """Who reported, as the API server authenticated them (authentication/v1 UserInfo)."""

    username: Username = Field(description="User name.")
    credential_id: Annotated[str, Field(max_length=1024)] = Field(
        "",
        alias="credentialID",
        description="Which credential was used (`authentication.kubernetes.io/credential-id`): for a token its JTI, "
        "for a certificate its SHA-256. Empty where the API server knows none, as of what is done by impersonation.",
    )


class ModelRiskSignalSpec(Model):
    """Readings of one model from one source. Update it with each new reading, or create one for each: both work."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.manual) != (size(self.readings) > 0)",
            "needs exactly one of readings and manual: a monitor gives readings, a person gives manual",
        ),
        Rule(
            "!has(self.heardAt) || self.heardAt >= self.observedAt",
            "heardAt must not lie before observedAt: it says how long what was observed has stood since",
            field_path=".heardAt",
        ),
    )

    ladder: DnsLabel = Field(description="Name of the EscalationLadder, in the same namespace.")
    target: TargetRef = Field(description="The workload that serves the model; the ladder must govern it.")
    model: ModelInfo | None = Field(None, description="What it serves, for the people who have to decide.")
    source: DnsLabel = Field(
        description="Who reports, for example fairness-monitor. Needs the verb report on the virtual resource "
        "sources.riskladder.dev of that name."
    )
    observed_at: GivenTime = Field(
        description="When it was observed (RFC 3339). Not more than 5 minutes ahead, not older than the last accepted "
        "reading, and when it is first seen not older than maxAge of the indicator (manual: 7d). Where it is ahead, it "
        "counts as observed when it is received. A reading counts once for each indicator and observedAt."
    )
    heard_at: GivenTime | None = Field(
        None,
        description="When the source last said that nothing has changed since observedAt, as an alert that still fires "
        "is repeated: staleAfter counts from here. No reading itself. Default: observedAt.",
    )
    readings: Annotated[tuple[Reading, ...], Field(max_length=MAX_READINGS), ListMap("indicator")] = Field(
        (), description="The measured values. Give these or manual."
    )
    drill: bool = Field(
        False, description="True: an exercise. The real ladder runs, marked as a drill, and containment is a dry run."
    )
    manual: Manual | None = Field(None, description="A person's judgement. Give this or readings.")
    reported_by: Annotated[ReportedBy | None, AtomicMap()] = Field(
        None,
        description="Who changed the spec last, a heartbeat included: stamped by the API server, whatever the client "
        "wrote; on a cluster without MutatingAdmissionPolicy it may be left out, and nobody but the caller is taken.",
    )


class Observed(Model):
    """The last accepted value of an indicator, so that a reading counts once also after a restart."""

    indicator: IndicatorName = Field(description="The indicator.")
    value: FiniteNumber = Field(description="Its last accepted value.")
    observed_at: Timestamp = Field(description="When that was observed, as the signal said.")
    received_at: Timestamp | None = Field(
        None,
        description="When it counts as observed, where that is not observedAt: when it was received, if observedAt was "
        "ahead of that, or just after a reading that was ahead. So a monitor whose clock is ahead outranks no later "
        "reading and reverts no Resume.",
    )

    @property
    def at(self) -> datetime:
        """When it counts as observed."""
        return self.received_at or self.observed_at

    @property
    def order(self) -> tuple[datetime, datetime]:
        """Where it stands among the readings of its stream."""
        return self.at, self.observed_at


class Breach(Model):
    """A threshold that is crossed, confirmed or not yet, or an indicator gone silent."""

    indicator: IndicatorName = Field(description="The indicator.")
    tier: DnsLabel = Field(description="The tier whose threshold it crossed.")
    value: FiniteNumber | None = Field(
        None, description="The value of the last reading that counted; absent if there is none."
    )
    threshold: FiniteNumber | None = Field(None, description="The threshold; absent for staleness.")
    readings: Count = Field(0, description="How many readings in a row have crossed it.")
    confirmed: bool = Field(False, description="True once they are as many as the trigger asks for.")
    observed_at: Timestamp | None = Field(None, description="When the last reading that counted was observed.")
    stale: bool = Field(False, description="True if silence, not a value, put it here (whenStale).")
    heard_at: Timestamp | None = Field(
        None, description="For silence: when the source was last heard, where that is later than observedAt."
    )


class LastKnownGood(Model):
    """The revision to go back to."""

    revision: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Revision of the workload, for a Deployment its deployment.kubernetes.io/revision."
    )
    digest: Annotated[str, Field(max_length=253)] | None = Field(None, description="Hash of its pod template.")
    since: Timestamp | None = Field(None, description="Since when it has been without a breach.")


class CountedFor(Model):
    """Whose streams a status is about: turned to others, a signal carries nothing along."""

    ladder: DnsLabel = Field(description="Name of the ladder.")
    kind: KindName = Field(description="Kind of the target.")
    name: ObjectName = Field(description="Name of the target.")
    source: DnsLabel = Field(description="Who reports.")
    drill: bool = Field(False, description="Whether it is an exercise.")

    @classmethod
    def of(cls, spec: ModelRiskSignalSpec) -> CountedFor:
        """Return whose streams the readings of a signal belong to."""
        target = spec.target
        return cls(ladder=spec.ladder, kind=target.kind, name=target.name, source=spec.source, drill=spec.drill)

    def is_of(self, spec: ModelRiskSignalSpec) -> bool:
        """Return whether the readings of a signal belong to these streams."""
        mine = (self.ladder, self.kind, self.name, self.source, self.drill)
        return mine == (spec.ladder, spec.target.kind, spec.target.name, spec.source, spec.drill)


class SignalStatus(Model):
    """What the operator makes of the signal."""

    observed_generation: Generation | None = Field(None, description="The metadata.generation this status is about.")
    counted_for: CountedFor | None = Field(
        None,
        description="What the rest of this status is about. Where the signal names another ladder, target or source by "
        "now, nothing of it counts any more.",
    )
    tier: DnsLabel | None = Field(None, description="The tier the readings put the model in; absent or baseline: none.")
    since: Timestamp | None = Field(None, description="Since when.")
    observed: Annotated[tuple[Observed, ...], Field(max_length=MAX_READINGS), ListMap("indicator")] = Field(
        (), description="The last accepted value of each indicator."
    )
    breaches: Annotated[tuple[Breach, ...], Field(max_length=MAX_BREACHES), ListMap("indicator", "tier")] = Field(
        (), description="The thresholds that are crossed, and the indicators gone silent."
    )
    escalation: ObjectName | None = Field(None, description="The Escalation that this signal opened or joined.")
    last_known_good: LastKnownGood | None = Field(None, description="The revision a Rollback goes back to.")
    unusable: ReasonWord | None = Field(
        None,
        description="Why what it reports is not used though it lies beyond a threshold, or is of no indicator of the "
        "ladder, one word: the owner of the ladder and the contact of the source are notified of it.",
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = Field(
        (), description="Ready, Fresh, Breached, Contained."
    )
