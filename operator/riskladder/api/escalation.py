"""Escalation: one open question about one model, from the breach to its close. Written by the operator only.

The spec is what was known and intended in the write that contained; the status is how it went. Everything that
happened is in the records (record.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from riskladder.api import escalation_rules
from riskladder.api.base import (
    ApiVersion,
    AtomicList,
    Count,
    DnsLabel,
    Duration,
    Generation,
    KindName,
    ListMap,
    ListSet,
    Model,
    ObjectName,
    PositiveDuration,
    ReasonWord,
    Rule,
    Sha256,
    Text,
    Timestamp,
    Uid,
    Username,
    WithoutRules,
)
from riskladder.api.conditions import Condition
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.foreign import Clipped, ClippedName, clips, first
from riskladder.api.intent import (
    Evidence,
    Intent,
    Restore,
    RevisionText,
    SignalRef,
)
from riskladder.api.ladder import (
    MAX_CHANNELS,
    MAX_INDICATORS,
    MAX_SOURCES,
    MAX_STAKEHOLDERS,
    MAX_TIERS,
    Channel,
    Charter,
    Governs,
    Indicator,
    Stakeholder,
)
from riskladder.api.notification import Notification
from riskladder.api.signal import Breach, ModelInfo, Observed
from riskladder.api.tiers import Axis, ContainmentAction, Tier

MAX_QUARANTINED = 64
"""Revisions that an escalation remembers as breached, the newest."""

MAX_PEOPLE = 32
MAX_OWNERS = 256
MAX_REPEATS = 8
MAX_STREAMS = 32
MAX_REPEATS_BY = 32

MAX_UNCONFIRMED = 32
"""Pods that a status names as vanished without the word of their node."""

MAX_GRACE = 1_000_000
"""Seconds."""

MAX_COMPANIONS = 32
"""Companion workloads that a tier names, and as many that are found."""


class EscalationState(StrEnum):
    """Where an escalation stands, in one word: the column STATE of `kubectl get escalations`."""

    OPEN = "Open"
    """Nothing contains the model."""
    CONTAINING = "Containing"
    """A containment is intended or applied, and not proved yet."""
    CONTAINED = "Contained"
    """Proved: the model is in its safe state."""
    LATE = "Late"
    """A containment was not proved within its time."""
    BLOCKED = "Blocked"
    """The API server refuses the containment, or nothing can be contained."""
    REVERTED = "Reverted"
    """A containment that was in force is so no more, or is not held any more."""
    ACCEPTED = "Accepted"
    """The risk is accepted until a date."""
    RESUMED = "Resumed"
    """People have restored the model; to close is next."""
    DRILL = "Drill"
    """An exercise is open; the model is not touched."""
    CLOSED = "Closed"
    """Over."""


class LadderRef(Model):
    """The version of the ladder that this escalation runs under, whatever becomes of the ladder."""

    name: DnsLabel = Field(description="Name of the EscalationLadder.")
    uid: Uid = Field(description="Its uid.")
    generation: Generation = Field(description="Its metadata.generation at opening.")
    digest: Sha256 = Field(description="SHA-256 of its spec at opening.")


class PinnedPolicy(Model):
    """The parts of the ladder that govern this escalation, copied at opening."""

    charter: Charter | None = Field(None, description="Who answers for the ladder.")
    governs: Governs | None = Field(None, description="What the ladder may touch, by label.")
    trusted_sources: Annotated[tuple[DnsLabel, ...], Field(max_length=MAX_SOURCES), ListSet()] = Field(
        (), description="Sources whose signals count. Empty: every source."
    )
    drill_within: PositiveDuration = Field(Duration("2h"), description="How long a drill may stay open. Default 2h.")
    stakeholders: Annotated[tuple[Stakeholder, ...], Field(max_length=MAX_STAKEHOLDERS), ListMap("role")] = Field(
        (), description="The roles and how each is reached."
    )
    channels: Annotated[tuple[Channel, ...], Field(max_length=MAX_CHANNELS), ListMap("name")] = Field(
        (), description="The ways to reach them."
    )
    indicators: Annotated[tuple[Indicator, ...], Field(max_length=MAX_INDICATORS), ListMap("name")] = Field(
        (), description="What is measured."
    )
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=MAX_TIERS), ListMap("name")] = Field(
        description="The levels of risk, from lowest to highest."
    )


class TargetIdentity(Model):
    """The one object this escalation is about; another of the same name is not it."""

    api_version: ApiVersion = Field(description="API group and version, for example apps/v1.")
    kind: KindName = Field(description="Kind of the workload.")
    name: ObjectName = Field(description="Name of the workload.")
    uid: Uid = Field(description="Its uid.")


class EscalationSpec(Model):
    """What was known and intended when it was opened. Immutable."""

    rules: ClassVar[tuple[Rule, ...]] = escalation_rules.ESCALATION

    ladder: LadderRef = Field(description="The version of the ladder it runs under.")
    policy: Annotated[PinnedPolicy, WithoutRules()] = Field(description="The parts of that ladder that govern it.")
    target: TargetIdentity = Field(description="The workload it is about.")
    model: Annotated[ModelInfo | None, WithoutRules()] = Field(None, description="What the workload serves.")
    signal: Annotated[SignalRef, WithoutRules()] = Field(description="The signal that opened it, as it read then.")
    drill: bool = Field(False, description="True: an exercise; containment is a dry run.")
    evidence: Evidence | None = Field(None, description="The workload as it was at opening.")
    intent: Annotated[Intent | None, WithoutRules()] = Field(
        None, description="The containment that it was opened with. Those in force are in status.containments."
    )


class Rung(Model):
    """Where on the ladder it stands. Every deadline is absolute and computed once, on entering."""

    number: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1, description="How many rungs have been entered so far, this one included. Decisions count on their rung only."
    )
    tier: DnsLabel = Field(description="The tier.")
    entered_at: Timestamp = Field(description="When it was entered.")
    reason: ReasonWord = Field(description="Why, one word.")
    acknowledge_by: Timestamp | None = Field(None, description="The deadline to acknowledge.")
    decide_by: Timestamp | None = Field(None, description="The deadline to decide.")
    acknowledge_missed_at: Timestamp | None = Field(
        None, description="When the deadline to acknowledge was found missed; that has its effect once."
    )
    decide_missed_at: Timestamp | None = Field(
        None, description="When the deadline to decide was found missed; that has its effect once."
    )
    stalled_at: Timestamp | None = Field(
        None, description="When onTimeout was applied, since nobody acknowledged or decided in time; once for a rung."
    )
    decided_at: Timestamp | None = Field(
        None, description="When a quorum decided (AcceptRisk or Resume): nobody is chased any more on this rung."
    )


class CountedDecision(Model):
    """A decision, and whether it counted."""

    name: ObjectName = Field(description="Name of the EscalationDecision.")
    uid: Uid = Field(description="Its uid.")
    action: DecisionAction = Field(description="What was decided.")
    role: DnsLabel = Field(description="In which role.")
    by: Username = Field(description="By whom, as the API server knows them.")
    at: Timestamp = Field(description="When it was counted or refused.")
    rung: Annotated[int, Field(ge=1)] = Field(1, description="On which rung, by number.")
    counted: bool = Field(description="Whether it counted.")
    reason: ReasonWord = Field(description="Why, one word: the reason of its condition Accepted.")
    refused_because: Clipped = Field("", description="Why it did not count.")
    tier: DnsLabel | None = Field(None, description="For Escalate, the tier.")
    until: Timestamp | None = Field(None, description="For AcceptRisk, until when.")
    resolution: Resolution | None = Field(None, description="For Close, the resolution.")
    containment: ContainmentAction | None = Field(None, description="For Contain, the safe state.")
    withdraw: bool = Field(False, description="For Object, whether it takes one back.")


class Drift(Model):
    """Somebody reverted the containment."""

    at: Timestamp = Field(description="When it was seen last.")
    field_manager: Annotated[str, Field(max_length=128), clips(128)] = Field(
        description="Who wrote it, by field manager."
    )
    count: Annotated[int, Field(ge=1)] = Field(1, description="How often.")


class Contention(Model):
    """Contention over the containment: reverted and re-applied, again and again."""

    since: Timestamp = Field(description="When it began; a minute without a further one ends it.")
    count: Annotated[int, Field(ge=1)] = Field(1, description="How often it was reverted since.")
    raised: bool = Field(False, description="Whether the next rung was entered because of it.")


class SuspendedStatus(Model):
    """A companion workload that is suspended."""

    kind: KindName = Field(description="Its kind.")
    name: ObjectName = Field(description="Its name.")
    uid: Annotated[str, Field(max_length=128)] = Field("", description="Its uid; empty where it was not found.")
    was: bool = Field(False, description="Whether it was suspended before: then a Resume leaves it so.")
    value: Text | None = Field(
        None,
        description="Of a ScaledObject, the annotation that pauses it as it was before; absent where there was none.",
    )
    suspended_at: Timestamp | None = Field(None, description="When it was seen suspended.")
    resumed_at: Timestamp | None = Field(None, description="When it was seen running again, after a Resume.")
    problem: Clipped = Field("", description="Why it could not be suspended or resumed.")


class UnconfirmedPod(Model):
    """A pod that the API server has forgotten, and of which no node has said that its containers have ended."""

    uid: ClippedName = Field(description="Its uid.")
    name: ClippedName = Field(description="Its name.")
    node: ClippedName = Field(description="The node on which it may still run.")
    grace_seconds: Annotated[int, Field(ge=0, le=MAX_GRACE)] = Field(
        30, description="How long it may take to end once its node is heard of again. Default 30."
    )


class ContainmentStatus(Model):
    """How the containment on one axis went, each step with its time."""

    axis: Axis = Field(description="Workload (ScaleToZero, Rollback) or Traffic (Fallback, Isolate).")
    intent: Annotated[Intent, WithoutRules()] = Field(description="What was intended, and why.")
    applied_at: Timestamp | None = Field(None, description="When the API server acknowledged the change.")
    endpoints_empty_at: Timestamp | None = Field(
        None, description="When no Service listed a pod of it as serving: proof."
    )
    pods_gone_at: Timestamp | None = Field(
        None,
        description="When the last contained pod was gone. The pods of a Fallback and of an Isolate keep running: when "
        "the fallback served, and when no NetworkPolicy allowed them anything.",
    )
    unconfirmed: Annotated[tuple[UnconfirmedPod, ...], Field(max_length=MAX_UNCONFIRMED), ListMap("uid")] = Field(
        (),
        description="Pods that vanished without their node confirming that they ended, the first 32 by name: they "
        "stand in the way of the proof until the node is heard of again.",
    )
    late_at: Timestamp | None = Field(None, description="When it was found not proved within its time.")
    drift: Annotated[tuple[Drift, ...], Field(max_length=16), ListMap("fieldManager")] = Field(
        (), description="Who reverted it, when, and how often; it was re-applied each time."
    )
    contention: Contention | None = Field(None, description="How often it was reverted recently.")


class ResumeStatus(Model):
    """The model is restored, by a counted decision."""

    intent: Annotated[int, Field(ge=1)] = Field(description="The containment that is ended, by the id of its intent.")
    at: Timestamp = Field(description="When the quorum was met; readings observed earlier no longer contain.")
    tier: DnsLabel | None = Field(
        None,
        description="The tier it stood at then: what was observed earlier of that tier or a lower one is handled. "
        "Default: the tier it stands at.",
    )
    by: Annotated[tuple[Username, ...], Field(max_length=MAX_PEOPLE), ListSet(), first(MAX_PEOPLE)] = Field(
        (), description="By whom, the first 32 by name. The records name all."
    )
    steps: Annotated[tuple[Count, ...], Field(max_length=10), AtomicList()] = Field(
        (), description="Replicas to ask for, one step after the other; none where replicas were never taken away."
    )
    done: Count = Field(0, description="How many of the steps have been carried out.")
    step_at: Timestamp | None = Field(
        None, description="When the last step was carried out; the next needs a later reading at baseline."
    )
    applied_at: Timestamp | None = Field(None, description="When all of what was there had been restored.")
    watch_until: Timestamp | None = Field(None, description="Until when the model is watched, after the last step.")
    left: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=16), AtomicList()] = Field(
        (), description="What was not restored, since somebody had changed it while the model was contained."
    )


class WithheldStatus(Model):
    """A containment that waits for people, since the ladder has contained as many targets as it may."""

    tier: DnsLabel = Field(description="The tier that demands it.")
    since: Timestamp = Field(description="Since when it waits.")
    until: Timestamp = Field(description="When it is done, whether somebody has decided or not.")
    ended_at: Timestamp | None = Field(
        None, description="When it was found to wait no longer: the model is contained, or nothing demands it any more."
    )


class RiskAcceptance(Model):
    """The risk is accepted for a time."""

    tier: DnsLabel = Field(description="Up to which tier; a worse one ends it.")
    accepted_at: Timestamp = Field(description="When the quorum was met.")
    until: Timestamp = Field(description="Until when; then it reopens.")
    by: Annotated[tuple[Username, ...], Field(max_length=MAX_PEOPLE), ListSet(), first(MAX_PEOPLE)] = Field(
        (), description="By whom, the first 32 by name. The records name all."
    )


class ClockStatus(Model):
    """A duty with a deadline."""

    name: DnsLabel = Field(description="The duty.")
    role: DnsLabel = Field(description="Who has to meet it.")
    started_at: Timestamp = Field(description="From when it counts.")
    due_at: Timestamp = Field(description="Its deadline.")
    met_at: Timestamp | None = Field(None, description="When it was met.")


class Repeat(Model):
    """A fact that has happened over and over on one rung: not each of them has a record of its own."""

    fact: ReasonWord = Field(description="What has happened, one word, for example Reminded.")
    rung: Annotated[int, Field(ge=1)] = Field(description="On which rung, by number.")
    count: Count = Field(description="How often.")
    by: Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=MAX_REPEATS_BY), AtomicList()] = (
        Field((), description="Who has had a hand in it: roles, or field managers.")
    )
    last_at: Timestamp = Field(description="When it happened last.")
    recorded: Count = Field(0, description="How many of them are on record by now.")
    recorded_at: Timestamp | None = Field(None, description="When one of them was recorded last.")


class ReviewStatus(Model):
    """The after-action review."""

    by: Username = Field(description="By whom.")
    at: Timestamp = Field(description="When.")
    policy_updated: bool = Field(description="Whether the policy was, or will be, changed because of it.")
    satisfaction: Annotated[int, Field(ge=1, le=5)] = Field(description="From 1 to 5.")


class StreamStatus(Model):
    """One indicator from one source, or a person's judgement, that has breached under this escalation."""

    source: DnsLabel = Field(description="Who reports.")
    indicator: Annotated[str, Field(max_length=63)] = Field(
        description="The indicator; empty for a person's judgement."
    )
    signal: ObjectName = Field(description="Name of the ModelRiskSignal that carried it last.")
    observed: Observed | None = Field(None, description="Its last reading that counted.")
    breaches: Annotated[tuple[Breach, ...], Field(max_length=MAX_TIERS), ListMap("tier")] = Field(
        (), description="The thresholds that it is beyond, and how many readings in a row have crossed them."
    )
    withdrawn_at: Timestamp | None = Field(
        None,
        description="When it was found that no signal carries it any more: deleted, or turned to something else. What "
        "it breached stands until it is heard again.",
    )


class LedgerHead(Model):
    """The last record of the chain, so that a truncated chain shows."""

    sequence: Annotated[int, Field(ge=0, le=999_999)] = Field(description="Its sequence; 0: no record yet.")
    hash: Sha256 = Field(description="Its hash; 64 zeros: no record yet.")


class StatusSummary(Model):
    """The same as `waitingOn` and `nextDeadline`, in the form in which `kubectl get` shows them."""

    waiting_on: Annotated[str, Field(max_length=2080)] = Field(
        "", description="The roles of waitingOn, separated by commas."
    )
    due: Annotated[str, Field(max_length=32)] = Field("", description="The nextDeadline, to the second.")


class EscalationStatus(Model):
    """How it stands and how it went."""

    observed_generation: Generation | None = Field(None, description="The metadata.generation this status is about.")
    state: EscalationState | None = Field(
        None,
        description="Where it stands, in one word. Open: nothing contains the model. Containing, Contained: before and "
        "after the proof. Late: not proved in time. Blocked: refused or impossible. Reverted: in force no more. "
        "Accepted, Resumed: by a decision of people. Drill: an open exercise. Closed: over.",
    )
    tier: DnsLabel | None = Field(None, description="The tier it stands at.")
    rung: Rung | None = Field(None, description="Since when, why, and by when people must act.")
    waiting_on: Annotated[tuple[DnsLabel, ...], Field(max_length=MAX_STAKEHOLDERS), ListSet()] = Field(
        (), description="The roles that have to act now."
    )
    next_deadline: Timestamp | None = Field(
        None, description="The next time by which they have to act, or the last one that was missed."
    )
    summary: StatusSummary | None = Field(None, description="Both as text, for the columns of `kubectl get`.")
    notifications: Annotated[tuple[Notification, ...], Field(max_length=512), ListMap("key")] = Field(
        (),
        description="Who is notified, over which channel, and how far it got: what is done leaves once nothing "
        "depends on it. The records keep all.",
    )
    decisions: Annotated[tuple[CountedDecision, ...], Field(max_length=256), ListMap("name")] = Field(
        (), description="What people decided: what still has an effect, and a few more. The records keep all."
    )
    containments: Annotated[tuple[ContainmentStatus, ...], Field(max_length=2), ListMap("axis")] = Field(
        (), description="How the containment on each axis went: both hold, side by side, until a Resume."
    )
    withheld: WithheldStatus | None = Field(
        None, description="A containment that waits, or has waited, because of the ladder's blastRadius."
    )
    companions: Annotated[tuple[SuspendedStatus, ...], Field(max_length=MAX_COMPANIONS), ListMap("kind", "name")] = (
        Field((), description="Companion workloads that are suspended (alsoSuspend, and what scales the model).")
    )
    restore: Restore | None = Field(None, description="What a Resume restores.")
    quarantined: Annotated[tuple[RevisionText, ...], Field(max_length=MAX_QUARANTINED), AtomicList()] = Field(
        (), description="Hashes of the pod templates that were contained, oldest first: no Rollback goes back to them."
    )
    resume: ResumeStatus | None = Field(None, description="How the model was restored, the last time.")
    risk_acceptance: RiskAcceptance | None = Field(None, description="The risk is accepted until a date.")
    clocks: Annotated[tuple[ClockStatus, ...], Field(max_length=128), ListMap("name")] = Field(
        (), description="Duties with a deadline."
    )
    resolution: Resolution | None = Field(None, description="How it ended, if people closed it.")
    closed_at: Timestamp | None = Field(
        None, description="When it was closed; readings observed earlier open no further escalation."
    )
    review: ReviewStatus | None = Field(None, description="The after-action review.")
    repeats: Annotated[tuple[Repeat, ...], Field(max_length=MAX_REPEATS), ListMap("fact", "rung")] = Field(
        (),
        description="Facts that repeat, and how many of them are on record: at most one an hour after the first three.",
    )
    streams: Annotated[
        tuple[StreamStatus, ...], Field(max_length=MAX_STREAMS), ListMap("source", "indicator", "signal")
    ] = Field(
        (),
        description="What has breached under this escalation, as it was read last: kept here, so that nothing is "
        "forgotten with the signals.",
    )
    owners: Annotated[tuple[Username, ...], Field(max_length=MAX_OWNERS), AtomicList()] = Field(
        (),
        description="Who owns the model, beyond spec.model, by any signal of the target since it was opened: only ever "
        "added to. They have no say, whatever prefix or case their name is written in.",
    )
    ledger: LedgerHead | None = Field(None, description="The last record of the chain.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = Field(
        (),
        description="Acknowledged, Decided, Contained, ContainmentHolds, Locked, Stalled, WithinLimits, Closed, "
        "LadderActive, ReviewDone.",
    )

    def containment(self, axis: Axis) -> ContainmentStatus | None:
        """Return how the containment on an axis went, or ``None`` where there is none."""
        return next((found for found in self.containments if found.axis is axis), None)

    @property
    def waiting(self) -> WithheldStatus | None:
        """The containment that waits now because of the ladder's blastRadius, if one does."""
        return self.withheld if self.withheld is not None and self.withheld.ended_at is None else None


def intents_of(spec: EscalationSpec, status: EscalationStatus) -> tuple[Intent, ...]:
    """Return the intents that an Escalation names, in the order of the ids: of each axis, the newest."""
    if not status.containments and status.resume is None:
        return (spec.intent,) if spec.intent else ()
    return tuple(sorted((found.intent for found in status.containments), key=lambda i: i.id))


def signal_at(spec: EscalationSpec, intents: Iterable[Intent], at: datetime) -> SignalRef:
    """Return the signal acted on by then: that of the last intent that names one, else the one that opened it."""
    acted = [intent.signal for intent in intents if intent.signal is not None and intent.intended_at <= at]
    return acted[-1] if acted else spec.signal
