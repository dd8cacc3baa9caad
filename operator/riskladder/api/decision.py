"""EscalationDecision: a person's act in a role, written once and never changed (article: recorded decisions)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riskladder.api import decision_rules
from riskladder.api.base import (
    AtomicList,
    DnsLabel,
    Generation,
    GivenTime,
    ListMap,
    LongText,
    Model,
    ObjectName,
    Rule,
    Uid,
    Username,
)
from riskladder.api.conditions import Condition, find
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction


class DecisionAction(StrEnum):
    """What a person may decide. The verb that RBAC grants is the same word in lower case."""

    ACKNOWLEDGE = "Acknowledge"
    COMMENT = "Comment"
    CONTAIN = "Contain"
    ESCALATE = "Escalate"
    OBJECT = "Object"
    ACCEPT_RISK = "AcceptRisk"
    RESUME = "Resume"
    CLOSE = "Close"
    REVIEW = "Review"

    @property
    def verb(self) -> str:
        """The RBAC verb on the virtual resource stakeholders.riskladder.dev."""
        return self.value.lower()


RAISE_VERB = "raise"
"""The RBAC verb that a manual signal needs, on the same virtual resource."""


class Resolution(StrEnum):
    """How an escalation ended."""

    REMEDIATED = "Remediated"
    FALSE_POSITIVE = "FalsePositive"
    RISK_ACCEPTED = "RiskAccepted"
    RETIRED = "Retired"


class DecidedBy(Model):
    """Who decided, as the API server authenticated them (authentication/v1 UserInfo)."""

    username: Username = Field(description="User name.")
    uid: Annotated[str, Field(max_length=1024)] = Field("", description="Uid, where the authenticator gives one.")
    groups: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=512), AtomicList()] = Field(
        (), description="Groups, in the order of the authenticator."
    )
    credential_id: Annotated[str, Field(max_length=1024)] = Field(
        "",
        alias="credentialID",
        description="Which credential was used (`authentication.kubernetes.io/credential-id`), where the authenticator "
        "says so: for a token its JTI, for a certificate its SHA-256.",
    )
    via: Annotated[str, Field(max_length=253)] = Field(
        "",
        description="Through what the author was impersonated, as that says itself (`riskladder.dev/via`), for example "
        "console. The API server knows no credential of the author then.",
    )


class ReviewReport(Model):
    """What was learnt, once it is over (article: after-action reviews)."""

    policy_updated: bool = Field(description="Whether the policy was, or will be, changed because of it.")
    satisfaction: Annotated[int, Field(ge=1, le=5)] = Field(
        description="How satisfied those involved are with how it went, from 1 (not at all) to 5 (entirely)."
    )
    lessons: LongText = Field("", description="What was learnt.")


class EscalationDecisionSpec(Model):
    """One act of one person in one role. Immutable: to change one's mind is another decision."""

    rules: ClassVar[tuple[Rule, ...]] = decision_rules.DECISION

    escalation: ObjectName = Field(description="Name of the Escalation, in the same namespace.")
    action: DecisionAction = Field(
        description="What is decided. Acknowledge: seen, I take it; reminders to the role stop. Comment: adds to the "
        "record. Contain: the model is taken to a safe state now, whatever the tier says. Escalate: a higher tier is "
        "entered. Object: AcceptRisk and Resume are blocked on this rung. AcceptRisk: quiet until a date; what is "
        "contained stays so. Resume: the model is restored. Close: it is over. Review: what was learnt, after the "
        "close."
    )
    role: DnsLabel = Field(
        description="The stakeholder role in which it is decided. Needs the verb of that name (the action in lower "
        "case) on the virtual resource stakeholders.riskladder.dev, with the role as resourceName."
    )
    rationale: Annotated[LongText, Field(min_length=1)] = Field(description="Why; goes on record.")
    tier: DnsLabel | None = Field(None, description="For Escalate: the tier to enter, higher than the present one.")
    until: GivenTime | None = Field(
        None, description="For AcceptRisk: until when; at most acceptRisk.atMost of the tier from now."
    )
    containment: Literal[ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ROLLBACK] | None = Field(
        None,
        description="For Contain: the safe state. Default: that of the tier, or ScaleToZero where it has none.",
    )
    resolution: Resolution | None = Field(
        None,
        description="For Close: Remediated, FalsePositive, RiskAccepted (while an acceptance runs), or Retired (the "
        "only one for a model that is still contained).",
    )
    review: ReviewReport | None = Field(None, description="For Review: what was learnt.")
    clock: DnsLabel | None = Field(
        None, description="For Comment: the clock (a duty) that is met, which is said with it."
    )
    withdraw: bool = Field(False, description="For Object: true takes back what this role has objected.")
    decided_by: DecidedBy | None = Field(
        None,
        description="Who decided: stamped by the API server, whatever the client wrote; on a cluster without "
        "MutatingAdmissionPolicy the client gives it and anything but the caller is refused.",
    )


class DecisionStatus(Model):
    """What became of it."""

    observed_generation: Generation | None = Field(None, description="The metadata.generation this status is about.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = Field(
        (), description="Accepted: True, or False with the reason why it was not counted."
    )
    escalation_uid: Uid | None = Field(
        None,
        description="uid of the Escalation that has counted or refused it: the answer is written after the record and "
        "the status that say so. An answer without it is not believed, and the decision is judged again.",
    )

    @property
    def is_settled(self) -> bool:
        """Whether it has been answered, and what it was answered is known to be kept."""
        found = find(self.conditions, ConditionType.ACCEPTED)
        return found is not None and (bool(self.escalation_uid) or found.reason == Reason.ESCALATION_NOT_FOUND)
