"""Every reason Riskladder gives, once.

A reason is one CamelCase constant shared by the condition, the Event and the record of the same change, so that
``kubectl get events``, ``kubectl get -o yaml`` and the record chain can be searched with the same word (Kubernetes API
conventions, "Typical status properties").
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """The condition types, by the kind that carries them."""

    READY = "Ready"
    """Ladder, signal: usable, or the reason says what is wrong."""
    REVIEW_CURRENT = "ReviewCurrent"
    """Ladder: its charter's review is not overdue."""
    SUSPENDED = "Suspended"
    """Ladder: evaluates and records, acts on nothing."""
    FRESH = "Fresh"
    """Signal: no indicator has been silent for longer than its ladder allows."""
    BREACHED = "Breached"
    """Signal: its readings put the model in a tier above baseline."""
    CONTAINED = "Contained"
    """Signal, escalation: proved, no ready endpoint and no running pod of the contained revision is left."""
    ACKNOWLEDGED = "Acknowledged"
    """Escalation: somebody of the rung has taken notice."""
    DECIDED = "Decided"
    """Escalation: the rung's quorum has decided."""
    CONTAINMENT_HOLDS = "ContainmentHolds"
    """Escalation: nobody has undone the containment."""
    STALLED = "Stalled"
    """Escalation: a deadline has passed without the act it asked for."""
    CLOSED = "Closed"
    """Escalation: over; nothing is held any more."""
    REVIEW_DONE = "ReviewDone"
    """Escalation: the after-action review is on record."""


class Reason(StrEnum):
    """The reasons, in the order in which a story meets them."""

    # A ladder.
    VALID = "Valid"
    INVALID = "Invalid"
    PERMISSION_MISSING = "PermissionMissing"
    REVIEW_RECENT = "ReviewRecent"
    REVIEW_OVERDUE = "ReviewOverdue"
    NO_REVIEW_CADENCE = "NoReviewCadence"
    ACTIVE = "Active"
    SUSPENDED = "Suspended"

    # A signal: why it is or is not usable.
    ACCEPTED = "Accepted"
    LADDER_NOT_FOUND = "LadderNotFound"
    LADDER_INVALID = "LadderInvalid"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_NOT_GOVERNED = "TargetNotGoverned"
    TARGET_NOT_SUPPORTED = "TargetNotSupported"
    UNTRUSTED_SOURCE = "UntrustedSource"
    UNKNOWN_INDICATOR = "UnknownIndicator"
    UNKNOWN_TIER = "UnknownTier"
    INVALID_READING = "InvalidReading"
    OUT_OF_ORDER = "OutOfOrder"

    # A signal: what its readings say.
    READINGS_CURRENT = "ReadingsCurrent"
    READINGS_STALE = "ReadingsStale"
    AT_BASELINE = "AtBaseline"
    BREACH_UNCONFIRMED = "BreachUnconfirmed"
    THRESHOLD_BREACHED = "ThresholdBreached"
    SILENCE = "Silence"
    RAISED_BY_HAND = "RaisedByHand"

    # An escalation opens, rises, is contained.
    ESCALATION_OPENED = "EscalationOpened"
    TIER_RAISED = "TierRaised"
    NOT_CONTAINED = "NotContained"
    CONTAINMENT_NOT_REQUIRED = "ContainmentNotRequired"
    AWAITING_DECISION = "AwaitingDecision"
    AWAITING_TIMEOUT = "AwaitingTimeout"
    LADDER_SUSPENDED = "LadderSuspended"
    CONTAINMENT_INTENDED = "ContainmentIntended"
    CONTAINMENT_APPLIED = "ContainmentApplied"
    SCALED_TO_ZERO = "ScaledToZero"
    ROLLED_BACK = "RolledBack"
    ALREADY_AT_ZERO = "AlreadyAtZero"
    ROLLBACK_IMPOSSIBLE = "RollbackImpossible"
    ACTION_NOT_SUPPORTED = "ActionNotSupported"
    EVIDENCE_OUTDATED = "EvidenceOutdated"
    CONTAINMENT_LATE = "ContainmentLate"
    CONTAINMENT_UNDONE = "ContainmentUndone"
    CONTAINED_AGAIN = "ContainedAgain"
    HOLDS = "Holds"
    TARGET_RELEASED = "TargetReleased"
    TARGET_DELETED = "TargetDeleted"
    TARGET_RECREATED = "TargetRecreated"

    # An escalation waits for people, and ends.
    NOT_YET = "NotYet"
    ON_TIME = "OnTime"
    OVERDUE = "Overdue"
    OPEN = "Open"
    CLEARED = "Cleared"
    ESCALATION_DELETED = "EscalationDeleted"
