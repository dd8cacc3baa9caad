"""What a decision is made from: one target and everything that bears on it, as the caches saw it last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from riskladder.api.conditions import is_true
from riskladder.api.decision import DecisionStatus, EscalationDecisionSpec, Resolution
from riskladder.api.escalation import (
    CountedDecision,
    EscalationSpec,
    EscalationStatus,
    PinnedPolicy,
    RiskAcceptance,
    intents_of,
    signal_at,
)
from riskladder.api.hold import Hold
from riskladder.api.intent import Evidence, Intent, SignalRef
from riskladder.api.ladder import BlastRadius, EscalationLadderSpec, Governs
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.api.tiers import Axis
from riskladder.workloads.companions.suspend import Companion
from riskladder.workloads.model import Pod, Workload
from riskladder.workloads.network import NetworkObject
from riskladder.workloads.selectors import matches

AXES = tuple(Axis)
"""The workload first. (To iterate over the enumeration itself takes longer than the rest of what is asked here.)"""

LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""Before everything that has a time: the place of what has none."""


class TargetKey(NamedTuple):
    """Names one target: the unit of work. Everything that happens only enqueues such a key."""

    namespace: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """An EscalationLadder; ``spec`` is ``None`` where the stored object does not validate."""

    namespace: str
    name: str
    uid: str
    generation: int
    digest: str = ""
    spec: EscalationLadderSpec | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """A ModelRiskSignal; ``spec`` is ``None`` where the stored object does not validate."""

    namespace: str
    name: str
    uid: str
    generation: int
    status: SignalStatus
    spec: ModelRiskSignalSpec | None = None
    problems: tuple[str, ...] = ()
    computed: SignalStatus | None = None
    """The status as computed last, where that is not stored yet: what the next reading is counted from."""
    resource_version: str = ""
    received_at: datetime | None = None
    """When the API server stored observedAt as it stands, in whole seconds, where that is known."""
    binding: str = ""
    """The MonitorBinding through which it was reported, as an annotation says."""

    def __post_init__(self) -> None:
        """Leave out a status that is about another stream: turned to it, the signal carries nothing along."""
        if self.spec is None:
            return
        if self.status.counted_for is not None and not self.status.counted_for.is_of(self.spec):
            object.__setattr__(self, "status", SignalStatus())
        computed = self.computed
        if computed is not None and computed.counted_for is not None and not computed.counted_for.is_of(self.spec):
            object.__setattr__(self, "computed", None)

    @property
    def carried(self) -> SignalStatus:
        """The newest known state of its readings."""
        return self.computed or self.status

    def reference(self) -> SignalRef:
        """Return the signal as it reads now, for an intent."""
        assert self.spec is not None  # noqa: S101 - only valid signals cause anything
        by = self.spec.reported_by
        return SignalRef(
            name=self.name,
            uid=self.uid,
            source=self.spec.source,
            observed_at=self.spec.observed_at,
            readings=self.spec.readings,
            manual=self.spec.manual,
            reported_by=by,
            # With a credential of its own it came from the monitor, and the annotation from whoever wrote it before.
            binding=None if by is not None and by.credential_id else self.binding or None,
        )


@dataclass(frozen=True, slots=True)
class Stamps:
    """What the operator has seen of a containment since it started; never the only copy of a fact, only its time."""

    applied_at: datetime | None = None
    endpoints_empty_at: datetime | None = None
    pods_gone_at: datetime | None = None


@dataclass(frozen=True)
class Escalation:
    """An Escalation as stored."""

    namespace: str
    name: str
    uid: str
    generation: int
    labels: Mapping[str, str]
    spec: EscalationSpec
    status: EscalationStatus
    resource_version: str = ""
    unsaved: tuple[Intent, ...] = ()
    """The intents that objects carry for it and its status does not name yet, in the order of the ids."""
    pressed: tuple[CountedDecision, ...] = ()
    """What was decided for a stop, and counts, and could not be written yet: the stop does not wait for that."""

    @cached_property
    def saved(self) -> tuple[Intent, ...]:
        """The intents that the object itself names, in the order of the ids: of each axis, the newest."""
        return intents_of(self.spec, self.status)

    @cached_property
    def intents(self) -> tuple[Intent, ...]:
        """The intents that are known, in the order of the ids."""
        return (*self.saved, *self.unsaved)

    @cached_property
    def last_intent(self) -> int:
        """The id of the last intent; 0 where nothing was ever to be contained."""
        return max((self.last_saved, *(intent.id for intent in self.unsaved)))

    @cached_property
    def last_saved(self) -> int:
        """The same of what the object itself names."""
        return max((*(intent.id for intent in self.saved), self.ended_intent))

    def signal_at(self, at: datetime) -> SignalRef:
        """Return the signal acted on by then: of the last intent that names one, else the one it was opened with."""
        return signal_at(self.spec, self.intents, at)

    @property
    def ended_intent(self) -> int:
        """The id of the last intent that a Resume has ended; 0 for none."""
        return self.status.resume.intent if self.status.resume else 0

    @property
    def in_force(self) -> dict[Axis, Intent]:
        """The intents in force by axis, the workload first: the newest on each axis that no Resume has ended.

        One that could no longer be carried out ended with the one that replaced it. A drill has none in force.
        """
        if self.spec.drill:
            return {}
        current = [intent for intent in self.intents if intent.id > self.ended_intent]
        replaced = {intent.replaces for intent in current}
        newest = {intent.action.axis: intent for intent in current if intent.id not in replaced}
        return {axis: newest[axis] for axis in AXES if axis in newest}

    def evidence(self, intent: Intent) -> Evidence | None:
        """Return the workload as it was before an intent; ``None`` where that was never taken."""
        return intent.evidence or self.spec.evidence

    @cached_property
    def is_open(self) -> bool:
        """Not closed: it still binds its target."""
        return not is_true(self.status.conditions, ConditionType.CLOSED)


@dataclass(frozen=True, slots=True)
class Decision:
    """An EscalationDecision as stored, and what the API server's authorizer says of its author now."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    """Whole seconds, as the API server keeps it."""
    spec: EscalationDecisionSpec
    status: DecisionStatus
    authorized: bool | None = None
    """Whether the author holds the verb on the role; ``None`` until the authorizer has been asked."""


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """Whether the admission policy that proves who decided is in force."""

    missing: str = ""
    """What is missing of it, in one sentence; empty while it is in force."""
    since: datetime | None = None
    """Since when it has been in force unchanged: a decision made earlier proves nothing."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the attempts to deliver a notification since the operator started."""

    attempts: int
    """All attempts so far, those of earlier lives included."""
    at: datetime
    """When the last one ended."""
    error: str = ""
    """Empty: it was delivered to all."""
    given_up: bool = False
    receipts: tuple[str, ...] = ()
    """Who has taken which part of it; none, where nobody has."""
    thread: str = ""
    """In which thread it stands, where the service keeps them."""


@dataclass(frozen=True, slots=True)
class Handled:
    """Breaches of a target of that name that people have handled, under one ladder, by a close or a Resume."""

    ladder: str
    tier: str
    until: datetime
    """Breaches observed until then, of that tier or a lower one, have been dealt with."""
    acceptance: RiskAcceptance | None = None
    """A risk acceptance that outlasts the escalation it was given in."""
    closed: bool = True
    """Whether it was by a close."""


def handled_by(escalation: Escalation) -> tuple[Handled, ...]:
    """Return which breaches people handled with an escalation that is over: none with a drill."""
    status, ladder = escalation.status, escalation.spec.ladder.name
    tier, found = status.tier or "", []
    if escalation.spec.drill:
        return ()
    if status.resume is not None:
        found.append(Handled(ladder, status.resume.tier or tier, status.resume.at, closed=False))
    if status.resolution is not None and status.closed_at is not None:
        accepted = status.risk_acceptance if status.resolution is Resolution.RISK_ACCEPTED else None
        found.append(Handled(ladder, tier, status.closed_at, accepted))
    return tuple(found)


def latest(handled: Iterable[Handled]) -> tuple[Handled, ...]:
    """Return the latest entry of each ladder and tier, in the order of their times."""
    found: dict[tuple[str, str], Handled] = {}
    for one in sorted(handled, key=lambda s: s.until):
        found[one.ladder, one.tier] = one
    return tuple(sorted(found.values(), key=lambda s: s.until))


def breached_by(escalation: Escalation) -> frozenset[str]:
    """Return the hashes of the pod templates that an escalation was about; none for a false alarm or a drill."""
    if escalation.spec.drill or escalation.status.resolution is Resolution.FALSE_POSITIVE:
        return frozenset()
    taken = (escalation.spec.evidence, *(intent.evidence for intent in escalation.intents))
    fresh = (evidence.pod_template_hash for evidence in taken if evidence and evidence.pod_template_hash)
    return frozenset((*escalation.status.quarantined, *fresh))


@dataclass(frozen=True, slots=True)
class RadiusBudget:
    """How many targets a ladder has contained by itself recently, and how many it may."""

    radius: BlastRadius
    limit: int
    """How many it may contain within ``radius.per``."""
    used: int
    """How many others than the target of the snapshot it has."""

    @property
    def is_open(self) -> bool:
        """Whether the target may be contained, too."""
        return self.used < self.limit


@dataclass(frozen=True)
class Snapshot:
    """One target with its signals, ladders and escalations."""

    key: TargetKey
    target: Workload | None
    ladders: Mapping[str, Ladder]
    signals: tuple[Signal, ...]
    escalations: tuple[Escalation, ...]
    """The open escalations of targets of this kind and name, whatever their uid."""
    last_closed: Mapping[str, str] = field(default_factory=dict)
    """By ladder: uid of its newest closed escalation of this very target (same uid)."""
    stamps: Mapping[tuple[str, int], Stamps] = field(default_factory=dict)
    """By escalation uid and intent id."""
    strays: tuple[str, ...] | None = ()
    """The same as of the target, also where that is gone."""
    listed: tuple[str, ...] = ()
    """The same as of the target, also where that is gone."""
    unconfirmed: tuple[Pod, ...] = ()
    """The same as of the target, also where that is gone."""
    ends_pods: bool = False
    """Whether the operator may end the pods of a stopped model."""
    unsupported: str = ""
    """Why the target's kind is not dealt with; empty where it is."""
    handled: tuple[Handled, ...] = ()
    """Breaches of targets of this name that people have handled, the latest of each ladder and tier."""
    closed: frozenset[str] = frozenset()
    """Names of the closed escalations of this very target."""
    rehearsals: Mapping[tuple[str, int], tuple[datetime, str]] = field(default_factory=dict)
    """By escalation uid and intent id: when the containment of a drill was tried as a dry run, and what was refused."""
    decisions: Mapping[str, tuple[Decision, ...]] = field(default_factory=dict)
    """By escalation name, in the order in which they were made."""
    proof: PolicyInForce | None = None
    """``None`` until somebody has looked; nothing is decided about decisions before."""
    obstacle: str = ""
    """Why it could not be contained the last time, where trying again at once is of no use."""
    unsaved: str = ""
    """Why an Escalation could not be saved the last time."""
    unwritten: Mapping[str, str] = field(default_factory=dict)
    """By uid of the escalation: why its records or its status could not be written the last time."""
    companions: Mapping[tuple[str, str], Companion] = field(default_factory=dict)
    """By kind and name: the companion workloads of the containments, if somebody has looked."""
    pending: Hold | None = None
    """The hold of a containment write that the API server has acknowledged, until its Escalation says so."""
    pending_policy: PinnedPolicy | None = None
    """The policy that it was under."""
    carrying: tuple[NetworkObject, ...] = ()
    """What its traffic passes, as far as that carries a hold for it: also where the target itself is gone."""
    seeks: bool = False
    """Whether what scales the model is looked for: it may be created at any time."""
    breached: frozenset[str] = frozenset()
    """Hashes of the pod templates that an escalation of this very target was about, false alarms left out."""
    lock: str | None = None
    """What is missing of the admission policy that holds a contained workload; empty while it is in force, ``None``
    until somebody has looked."""
    deliveries: Mapping[tuple[str, str], Delivery] = field(default_factory=dict)
    """By escalation uid and notification key."""
    radius_budgets: Mapping[str, RadiusBudget] = field(default_factory=dict)
    """By ladder, of those that have a blast radius."""

    knows_credentials: bool = False
    """Whether the API server says with which credential somebody calls, as it does of the operator."""
    clock_error: timedelta = timedelta()
    """By how much the operator's clock is ahead of the API server's; zero while they agree well enough. Every time in
    the snapshot, and the one that it is judged at, is the API server's."""

    @property
    def time_counts(self) -> bool:
        """Whether what time alone causes is to be done: not while the operator's clock is wrong."""
        return not self.clock_error

    def is_suspended(self, ladder: str) -> bool:
        """Return whether the ladder of that name, as it is now, acts on nothing. A deleted ladder suspends nothing."""
        found = self.ladders.get(ladder)
        return found is not None and found.spec is not None and found.spec.suspended

    @cached_property
    def open(self) -> tuple[Escalation, ...]:
        """The escalations that bind the target as it is now, one for each ladder: open, and of the same uid.

        Where the target does not exist, those of any uid.
        """
        return self._open(drill=False)

    @property
    def is_restoring(self) -> bool:
        """Whether something is still to be restored by a Resume."""
        resumed = [escalation.status.resume for escalation in self.open]
        return any(resume is not None and resume.applied_at is None for resume in resumed)

    @cached_property
    def drills(self) -> tuple[Escalation, ...]:
        """The drills that are under way on the target, one for each ladder."""
        return self._open(drill=True)

    def open_under(self, ladder: str) -> Escalation | None:
        """Return the escalation of that ladder that binds the target, if there is one."""
        return next((e for e in self.open if e.spec.ladder.name == ladder), None)

    def handled_under(self, ladder: str) -> tuple[Handled, ...]:
        """Return which breaches people have handled under that ladder, in the order of their times."""
        return tuple(s for s in self.handled if s.ladder == ladder)

    def _open(self, *, drill: bool) -> tuple[Escalation, ...]:
        found: dict[str, Escalation] = {}
        for escalation in sorted(self.escalations, key=lambda e: e.name):
            is_other = self.target is not None and escalation.spec.target.uid != self.target.uid
            if escalation.is_open and escalation.spec.drill is drill and not is_other:
                found.setdefault(escalation.spec.ladder.name, escalation)
        return tuple(found.values())


def pin(spec: EscalationLadderSpec) -> PinnedPolicy:
    """Return the part of a ladder that an escalation keeps for its life, however the ladder is edited."""
    return PinnedPolicy(
        charter=spec.charter,
        governs=spec.governs,
        trusted_sources=spec.trusted_sources,
        stakeholders=spec.stakeholders,
        channels=spec.channels,
        indicators=spec.indicators,
        tiers=spec.tiers,
        drill_within=spec.drill_within,
        decisions=spec.decisions,
    )


def is_governed(governs: Governs, labels: Mapping[str, str]) -> bool:
    """Return whether the labels match the selector, with the semantics of ``metav1.LabelSelector``.

    An empty selector governs nothing: a ladder is opt-in.
    """
    selector = governs.selector
    if not selector.match_labels and not selector.match_expressions:
        return False
    expressions = ((r.key, str(r.operator), r.values) for r in selector.match_expressions)
    return matches(labels, selector.match_labels, expressions)
