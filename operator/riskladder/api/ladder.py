"""EscalationLadder: an organisation's model-risk policy as an object (api.md; article: charter, tiers, playbooks)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from riskladder.api import ladder_rules
from riskladder.api.base import (
    MAX_EXACT_INTEGER,
    AtMost,
    Count,
    DnsLabel,
    Duration,
    FiniteNumber,
    Generation,
    GivenDate,
    HttpUrl,
    IndicatorName,
    LabelKey,
    LabelValue,
    ListMap,
    ListSet,
    Model,
    ObjectName,
    PositiveDuration,
    ReasonWord,
    Rule,
    SchemaExtension,
    SecretKey,
    Sha256,
    Text,
    Timestamp,
    TimeZone,
    Unit,
)
from riskladder.api.conditions import Condition
from riskladder.api.notification import Message
from riskladder.api.tiers import (
    AcceptRisk,
    Acknowledge,
    Clock,
    ClosesWhen,
    Containment,
    ContainmentAction,
    ContainmentWhen,
    Decide,
    Fallback,
    Notify,
    QuorumMember,
    Resume,
    SuspendedWorkload,
    Tier,
    TimeoutAction,
    Trigger,
)

__all__ = [
    "AcceptRisk",
    "Acknowledge",
    "BlastRadius",
    "Channel",
    "ChannelType",
    "Charter",
    "Clock",
    "ClosesWhen",
    "Containment",
    "ContainmentAction",
    "ContainmentWhen",
    "Decide",
    "EscalationLadderSpec",
    "EscalationLadderStatus",
    "Fallback",
    "Governs",
    "Indicator",
    "IndicatorRange",
    "LabelOperator",
    "LabelRequirement",
    "LabelSelector",
    "Notify",
    "QuorumMember",
    "Resume",
    "Review",
    "SourceContact",
    "Stakeholder",
    "StormStatus",
    "SuspendedWorkload",
    "Tier",
    "TimeoutAction",
    "Trigger",
    "UnusableSignals",
    "WhenExceeded",
]

MAX_TIERS = 8
MAX_STAKEHOLDERS = 32
MAX_CHANNELS = 32
MAX_INDICATORS = 32
MAX_SOURCES = 32
MAX_UNUSABLE = 32
MAX_MESSAGES = 32
"""Messages that the status of a ladder keeps."""


class ChannelType(StrEnum):
    """How a channel reaches people."""

    APPRISE = "Apprise"
    PAGERDUTY = "PagerDuty"
    ALERTMANAGER = "Alertmanager"
    WEBHOOK = "Webhook"
    SLACK = "Slack"


INCIDENTS = (ChannelType.PAGERDUTY, ChannelType.ALERTMANAGER)
"""Channels that keep an incident open until it is acknowledged or resolved."""


class LabelOperator(StrEnum):
    """How a label is compared (`metav1.LabelSelectorOperator`)."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Review(Model):
    """How often the policy is looked at again."""

    every: PositiveDuration = Field(
        description="Longest time between two reviews, for example 90d. Later than that the condition ReviewCurrent "
        "becomes False; nothing else changes."
    )
    last_reviewed: GivenDate | None = Field(
        None, description="Date of the last review, as 2026-10-01. Default: the day the ladder was created."
    )


class Charter(Model):
    """Who answers for the ladder, for what, and how it is kept current."""

    owner: DnsLabel = Field(
        description="The stakeholder role that answers for the policy: notified when nobody acted in time and the "
        "tier is not left for the next one, and it reviews."
    )
    scope: Text = Field("", description="What the policy covers, for readers.")
    policy_url: HttpUrl | None = Field(None, description="Where the written policy is found (http or https).")
    review: Review | None = Field(None, description="How often it is reviewed. Default: no review is due.")


class LabelRequirement(Model):
    """One label comparison (`metav1.LabelSelectorRequirement`)."""

    rules: ClassVar[tuple[Rule, ...]] = ladder_rules.LABEL_REQUIREMENT

    key: LabelKey = Field(description="The label key.")
    operator: LabelOperator = Field(description="In and NotIn compare with values; Exists and DoesNotExist take none.")
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32), ListSet()] = Field(
        (), description="What In and NotIn compare with."
    )


class LabelSelector(Model):
    """A label query with the usual meaning (`metav1.LabelSelector`): all parts must match."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] = Field(
        default_factory=dict, description="Labels and the values they must have.", json_schema_extra={"default": {}}
    )
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] = Field(
        (),
        description="Further comparisons, all of which must hold.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Governs(Model):
    """What the ladder may touch. A workload opts in by carrying the labels."""

    rules: ClassVar[tuple[Rule, ...]] = ladder_rules.GOVERNS

    selector: Annotated[LabelSelector, SchemaExtension((("x-kubernetes-map-type", "atomic"),))] = Field(
        description="Labels of the workloads of this namespace that the ladder governs; nothing else is ever touched. "
        "An empty selector is refused: it would govern everything."
    )


class Stakeholder(Model):
    """A role that is notified, asked, or both. Who holds it is RBAC; how it is reached is here."""

    role: DnsLabel = Field(description="Name of the role, for example legal.")
    notify: Annotated[tuple[DnsLabel, ...], Field(max_length=8), ListSet()] = Field(
        (),
        description="Channels of this ladder that reach it; all are used at once. None: it is notified through Events "
        "only. Where none works, its alternates are notified.",
    )
    alternates: Annotated[tuple[DnsLabel, ...], Field(max_length=8), ListSet()] = Field(
        (),
        description="Roles notified in its place when it does not answer in time (acknowledge.within) or cannot be "
        "reached. They answer for it, and count towards its quorum at any time.",
    )
    seats: Annotated[int, Field(ge=1, le=1000)] = Field(
        1,
        description="How many people hold the role. A quorum for it cannot be larger than its seats plus those of its "
        "alternates. Default 1.",
    )
    time_zone: TimeZone | None = Field(
        None,
        description="Where its people are, by its IANA name, for example Europe/Berlin: messages give deadlines in its "
        "local time next to UTC. One that is not known changes nothing.",
    )


class Channel(Model):
    """A way to reach people. Secrets stay in the Secret named riskladder-channels of the ladder's namespace."""

    rules: ClassVar[tuple[Rule, ...]] = ladder_rules.CHANNEL

    name: DnsLabel = Field(description="Name of the channel, for example legal-pager.")
    type: ChannelType = Field(
        description="Apprise (email, Teams, Slack and others; the Apprise URL is in the Secret), PagerDuty (Events "
        "API v2; the routing key is in the Secret), Alertmanager (needs url), Webhook (a CloudEvent to url, signed "
        "with the key in the Secret) or Slack (a bot, with one thread for each escalation; its token and the "
        "conversation are in the Secret)."
    )
    url: HttpUrl | None = Field(None, description="Where to send, http or https. Needed by Alertmanager and Webhook.")
    secret_key: SecretKey | None = Field(
        None,
        description="Key in the Secret riskladder-channels. Needed by Apprise, PagerDuty, Webhook and Slack; for "
        "Alertmanager an optional bearer token. The key of the same name with .for appended says for which type and "
        "hosts it is.",
    )


class IndicatorRange(Model):
    """The values that an indicator can have. One side may be left open."""

    rules: ClassVar[tuple[Rule, ...]] = ladder_rules.INDICATOR_RANGE

    min: FiniteNumber | None = Field(None, description="The least value that counts. Default: no limit.")
    max: FiniteNumber | None = Field(None, description="The greatest value that counts. Default: no limit.")

    def takes(self, value: float) -> bool:
        """Return whether a value lies within the range, its ends included."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        if self.max is None:
            return f"at least {self.min!r}"
        return f"at most {self.max!r}" if self.min is None else f"from {self.min!r} to {self.max!r}"


class Indicator(Model):
    """A measurement that monitors report, for example a fairness or drift metric."""

    rules: ClassVar[tuple[Rule, ...]] = ladder_rules.INDICATOR

    name: IndicatorName = Field(description="Its name, exactly as the monitors write it.")
    description: Text = Field("", description="What it measures, for those who are notified.")
    unit: Unit = Field(
        "",
        description="The unit of its values, thresholds and range, for people: for example % or ms. Shown with each "
        "value; nothing is converted.",
    )
    range: IndicatorRange | None = Field(
        None,
        description="The values that it can have. A reading outside of it is not counted (OutOfRange): it is in "
        "another unit, or no measurement. Default: every number.",
    )
    min_samples: Annotated[int, Field(ge=1, le=MAX_EXACT_INTEGER)] = Field(
        1,
        description="A reading whose sampleSize is smaller is not counted (TooFewSamples); one that does not say its "
        "sampleSize is. Default 1: what rests on no sample is no measurement.",
    )
    stale_after: PositiveDuration | None = Field(
        None,
        description="Silence longer than this, counted from the last observedAt, makes it stale (condition "
        "Fresh=False). Default: never stale.",
    )
    max_age: PositiveDuration = Field(
        Duration("7d"),
        description="A reading that is older than this when it is first seen is not counted (ReadingTooOld): what was "
        "measured long ago says nothing of the model that serves now. No shorter than 1m. Default 7d.",
    )
    when_stale: DnsLabel | None = Field(
        None, description="The tier that silence puts the model in: no reading is no proof of safety. Needs staleAfter."
    )


class SourceContact(Model):
    """The role that answers for a source of readings: notified where what the source reports cannot be used."""

    source: DnsLabel = Field(description="The source, as its signals name it.")
    role: DnsLabel = Field(description="The stakeholder role that keeps it working.")


class WhenExceeded(StrEnum):
    """What is done with a containment that is one too many."""

    ASK_FIRST = "AskFirst"
    FALLBACK = "Fallback"


class BlastRadius(Model):
    """How many models the ladder may contain by itself within some time: one broken monitor must not stop a fleet."""

    at_most: AtMost = Field(
        description="How many targets may be contained without anybody being asked, within per: a number, or a share "
        "of the workloads that the ladder governs, for example 30%, which is one at least."
    )
    per: PositiveDuration = Field(
        Duration("1h"), description="The time, ending now, in which they are counted. Default 1h."
    )
    when_exceeded: WhenExceeded = Field(
        WhenExceeded.ASK_FIRST,
        description="What is done with one more. AskFirst (default): it waits for a decision Contain, and is done when "
        "decideWithin has passed. Fallback: traffic goes to what the tier's containment names in fallback; where it "
        "names none, or that cannot be done, AskFirst.",
    )
    decide_within: PositiveDuration = Field(
        Duration("15m"),
        description="How long it waits for a decision before it is done all the same: nothing waits for ever. Default "
        "15m.",
    )

    def limit(self, governed: int) -> int:
        """Return how many targets that is, of so many governed ones."""
        if isinstance(self.at_most, int):
            return self.at_most
        return max(governed * int(self.at_most.removesuffix("%")) // 100, 1)


class DecisionRules(Model):
    """What is asked of decisions, whatever the tier."""

    allow_impersonated: bool = Field(
        True,
        description="False: AcceptRisk, Resume and Close count only where the API server knows with which credential "
        "they were made (decidedBy.credentialID), which it does not where somebody impersonates the author; else they "
        "are refused (Impersonated). Where people are authenticated by a webhook it knows none, and false refuses "
        "everybody. Default true.",
    )


class EscalationLadderSpec(Model):
    """The policy: what is measured, who is notified, who decides by when, and what happens to the model meanwhile."""

    rules: ClassVar[tuple[Rule, ...]] = ladder_rules.LADDER

    suspended: bool = Field(
        False,
        description="True: evaluate and record; contain nothing, notify nobody, let no deadline have its effect. "
        "Decisions still count, and a Resume restores. Default false.",
    )
    charter: Charter | None = Field(None, description="Who answers for the ladder and how it is kept current.")
    governs: Governs = Field(description="What the ladder may touch, by label and in its own namespace only.")
    trusted_sources: Annotated[tuple[DnsLabel, ...], Field(max_length=MAX_SOURCES), ListSet()] = Field(
        (), description="Sources whose signals count. Empty (default): every source that RBAC lets report."
    )
    source_contacts: Annotated[tuple[SourceContact, ...], Field(max_length=MAX_SOURCES), ListMap("source")] = Field(
        (),
        description="Who answers for each source: notified, with the charter's owner, where a breach that it reports "
        "cannot be used (SignalsUnusable). Default: the owner alone.",
    )
    blast_radius: BlastRadius | None = Field(
        None,
        description="How many targets may be contained within some time before people are asked first. It bounds what "
        "readings demand by themselves: decisions, manual signals and what is contained already are never held up. "
        "Default: no limit.",
    )
    drill_within: PositiveDuration = Field(
        Duration("2h"), description="How long a drill may stay open before it is closed by itself. Default 2h."
    )
    decisions: DecisionRules | None = Field(
        None, description="What is asked of decisions, whatever the tier. Default: what each of its fields says."
    )
    stakeholders: Annotated[tuple[Stakeholder, ...], Field(max_length=MAX_STAKEHOLDERS), ListMap("role")] = Field(
        (), description="The roles this ladder speaks of, and how each is reached."
    )
    channels: Annotated[tuple[Channel, ...], Field(max_length=MAX_CHANNELS), ListMap("name")] = Field(
        (), description="The ways to reach them."
    )
    indicators: Annotated[tuple[Indicator, ...], Field(max_length=MAX_INDICATORS), ListMap("name")] = Field(
        (), description="What is measured. A signal that reports anything else is refused by name."
    )
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=MAX_TIERS), ListMap("name")] = Field(
        description="The levels of risk, from lowest to highest. A model in none of them is at baseline."
    )


class UnusableSignals(Model):
    """Signals of one source whose readings cannot be used, for one reason."""

    source: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="The source; `*` for all others, where there are too many."
    )
    reason: ReasonWord = Field(description="Why, one word: the reason of their condition Ready.")
    signals: Count = Field(description="How many there are now.")
    example: ObjectName = Field(description="Name of one of them.")
    since: Timestamp = Field(description="Since when there has been one without interruption.")
    notified_at: Timestamp | None = Field(
        None, description="When the owner and the source's contact were notified; once, until all can be used again."
    )


class StormStatus(Model):
    """More containments are demanded than the blast radius allows."""

    since: Timestamp = Field(description="When the first of them was held up.")
    last_at: Timestamp = Field(description="When the last one was.")


class EscalationLadderStatus(Model):
    """What the operator makes of the ladder."""

    observed_generation: Generation | None = Field(None, description="The metadata.generation this status is about.")
    digest: Sha256 | None = Field(None, description="SHA-256 of the spec; escalations are pinned to it.")
    open_escalations: Count = Field(0, description="How many escalations are open under this ladder.")
    storm: StormStatus | None = Field(
        None,
        description="Since when more containments are demanded than blastRadius allows. It is over when nothing waits, "
        "and no further one was held up for as long as blastRadius.per.",
    )
    unusable: Annotated[tuple[UnusableSignals, ...], Field(max_length=MAX_UNUSABLE), ListMap("source", "reason")] = (
        Field(
            (),
            description="Signals that report a breach, or something of an unknown indicator, and cannot be used.",
        )
    )
    notifications: Annotated[tuple[Message, ...], Field(max_length=MAX_MESSAGES), ListMap("key")] = Field(
        (),
        description="What concerns the ladder and no escalation, to whom, over which channel, and how far it got: the "
        "oldest of what is done leaves where there is no room.",
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = Field(
        (),
        description="Ready, ReviewCurrent, ChannelsAvailable, ClockAgrees, CustomResourcesCurrent, DecisionsCount, "
        "PoliciesInForce, StopsPromptly, Suspended, WithinBlastRadius.",
    )
