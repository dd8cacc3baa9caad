"""The working set of one trail: an escalation's next status in the making, and the records and Events of the change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.conditions import Conditions
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.escalation import (
    MAX_OWNERS,
    ClockStatus,
    ContainmentStatus,
    CountedDecision,
    EscalationState,
    EscalationStatus,
    PinnedPolicy,
    Repeat,
    ResumeStatus,
    ReviewStatus,
    RiskAcceptance,
    Rung,
    StatusSummary,
    StreamStatus,
    SuspendedStatus,
    WithheldStatus,
)
from riskladder.api.intent import Restore, SignalRef
from riskladder.api.notification import Notification
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import Axis, Tier
from riskladder.policy.plan import Entry
from riskladder.policy.quorum import VOTES
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.signals.groups import Group, Judgement
from riskladder.policy.snapshot import Escalation, Snapshot


def group_of(snapshot: Snapshot, judgement: Judgement, escalation: Escalation) -> Group | None:
    """Return the signals that bear on an escalation, where the target is still the same object."""
    if snapshot.target is not None and snapshot.target.uid != escalation.spec.target.uid:
        return None
    groups = judgement.drills if escalation.spec.drill else judgement.groups
    return next((g for g in groups if g.ladder.name == escalation.spec.ladder.name), None)


@dataclass(slots=True)
class Draft:
    """An escalation's next status in the making. Steps change it in turn; the last reads it off."""

    snapshot: Snapshot
    judgement: Judgement
    escalation: Escalation
    now: datetime
    conditions: Conditions
    rung: Rung
    notifications: dict[str, Notification]
    decisions: list[CountedDecision]
    clocks: dict[str, ClockStatus]
    containments: dict[Axis, ContainmentStatus]
    companions: tuple[SuspendedStatus, ...]
    withheld: WithheldStatus | None
    restore: Restore | None
    quarantined: tuple[str, ...]
    resume: ResumeStatus | None
    acceptance: RiskAcceptance | None
    resolution: Resolution | None
    closed_at: datetime | None
    review: ReviewStatus | None
    repeats: tuple[Repeat, ...]
    streams: tuple[StreamStatus, ...]
    owners: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)
    wake: list[datetime] = field(default_factory=list)
    unqueued: list[str] = field(default_factory=list)
    """Keys of the messages for which there is no room."""
    labels: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, judgement: Judgement, escalation: Escalation, rung: Rung, now: datetime) -> Draft:
        """Start from what is stored."""
        status = escalation.status
        return cls(
            snapshot=snapshot,
            judgement=judgement,
            escalation=escalation,
            now=now,
            conditions=Conditions(status.conditions, generation=escalation.generation, now=now),
            rung=rung,
            notifications={n.key: n for n in status.notifications},
            decisions=list(status.decisions),
            clocks={clock.name: clock for clock in status.clocks},
            containments={found.axis: found for found in status.containments},
            companions=status.companions,
            withheld=status.withheld,
            restore=status.restore,
            quarantined=status.quarantined,
            resume=status.resume,
            acceptance=status.risk_acceptance,
            resolution=status.resolution,
            closed_at=status.closed_at,
            review=status.review,
            repeats=status.repeats,
            streams=status.streams,
            owners=status.owners,
        )

    @property
    def is_new(self) -> bool:
        """Whether nothing has been recorded of it yet."""
        return self.escalation.status.ledger is None

    @property
    def last_record(self) -> int:
        """Sequence of the last record that the stored status knows: makes the keys of what comes next differ."""
        ledger = self.escalation.status.ledger
        return ledger.sequence if ledger is not None else 0

    @property
    def policy(self) -> PinnedPolicy:
        """The policy it runs under."""
        return self.escalation.spec.policy

    @property
    def tier(self) -> Tier | None:
        """The tier of its rung."""
        return tier_of(self.policy, self.rung.tier)

    @property
    def group(self) -> Group | None:
        """The signals that bear on it, where the target is still the same object."""
        return group_of(self.snapshot, self.judgement, self.escalation)

    @property
    def is_suspended(self) -> bool:
        """Whether the ladder, as it is now, acts on nothing."""
        return self.snapshot.is_suspended(self.escalation.spec.ladder.name)

    @property
    def time_counts(self) -> bool:
        """Whether what time alone causes is to be done."""
        return self.snapshot.time_counts

    @property
    def is_accepted(self) -> bool:
        """Whether the risk is accepted now; an acceptance does not end by a clock that is wrong."""
        return self.acceptance is not None and (self.now < self.acceptance.until or not self.time_counts)

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self.conditions.is_true(ConditionType.CLOSED)

    @property
    def is_contained(self) -> bool:
        """Whether a containment is in force, or about to be."""
        ended = self.resume.intent if self.resume else 0
        return self.escalation.last_intent > ended and not self.escalation.spec.drill

    @property
    def waits(self) -> bool:
        """Whether people are waited for on this rung: it is open, undecided, and not accepted."""
        return not self.is_closed and not self.is_accepted and self.rung.decided_at is None

    def answered(self) -> set[str]:
        """Return the roles that have answered on this rung: by any counted decision but a comment."""
        return {
            d.role
            for d in self.decisions
            if d.counted and d.rung == self.rung.number and d.action is not DecisionAction.COMMENT
        }

    def votes(self) -> list[CountedDecision]:
        """Return the votes that were counted on this rung, for whatever needs a quorum."""
        return [d for d in self.decisions if d.counted and d.rung == self.rung.number and d.action in VOTES]

    def cause(self, tier: str) -> SignalRef:
        """Return the signal that puts the target in that tier now; what was acted on last where none does."""
        group = self.group
        if group is not None and any(t.name == tier for t in group.breached()):
            return group.cause(tier).reference()
        return self.escalation.signal_at(self.now)

    def pin_owners(self) -> None:
        """Add whom any signal of the target names as an owner; nobody is ever taken off."""
        known = {*self.owners, *(self.escalation.spec.model.owners if self.escalation.spec.model else ())}
        models = (signal.spec.model for signal in self.snapshot.signals if signal.spec and signal.spec.model)
        found = {owner for model in models for owner in model.owners} - known
        self.owners = (*self.owners, *sorted(found))[:MAX_OWNERS]

    def note(self, event: Reason, key: str, message: str, **particulars: str) -> None:
        """Add an entry about the escalation: a record and an Event; particulars go into the record's detail."""
        self.entries.append(Entry(event, key, self.now, message, {k: v for k, v in particulars.items() if v}))

    def warn(self, event: Reason, key: str, message: str, **particulars: str) -> None:
        """Add an entry as a Warning."""
        self.note(event, key, message, **particulars)
        self.entries[-1] = replace(self.entries[-1], warning=True)

    def status(
        self, *, state: EscalationState, waiting_on: tuple[str, ...], next_deadline: datetime | None
    ) -> EscalationStatus:
        """Return the status as it should be."""
        due = format_time(next_deadline.replace(microsecond=0)) if next_deadline else ""
        return EscalationStatus(
            observed_generation=self.escalation.generation,
            state=state,
            summary=StatusSummary(waiting_on=", ".join(waiting_on), due=due),
            tier=self.rung.tier,
            rung=self.rung,
            waiting_on=waiting_on,
            next_deadline=next_deadline,
            notifications=tuple(self.notifications.values()),
            decisions=tuple(self.decisions),
            containments=tuple(found for _, found in sorted(self.containments.items(), reverse=True)),
            companions=self.companions,
            withheld=self.withheld,
            restore=self.restore,
            quarantined=self.quarantined,
            resume=self.resume,
            risk_acceptance=self.acceptance,
            clocks=tuple(sorted(self.clocks.values(), key=lambda clock: clock.name)),
            resolution=self.resolution,
            closed_at=self.closed_at,
            review=self.review,
            repeats=self.repeats,
            streams=self.streams,
            owners=self.owners,
            ledger=self.escalation.status.ledger,
            conditions=self.conditions.result(),
        )
