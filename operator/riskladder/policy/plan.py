"""What a decision asks for. Nothing here does anything: the controller executes it in the order it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from riskladder.api.decision import DecisionStatus
from riskladder.api.escalation import EscalationSpec, EscalationStatus, PinnedPolicy
from riskladder.api.hold import Hold
from riskladder.api.intent import Intent
from riskladder.api.labels import FIELD_MANAGER
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import Reason
from riskladder.api.resource import Resource
from riskladder.api.signal import SignalStatus
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.snapshot import Decision, Escalation, Signal
from riskladder.workloads.holding import with_hold
from riskladder.workloads.model import Revision, Workload
from riskladder.workloads.results import Impossible, JsonPatch, Object, ObjectWrite, Write


class On(StrEnum):
    """The object that an Event is about."""

    SIGNAL = "signal"
    ESCALATION = "escalation"
    TARGET = "target"


CLOSED_KEY = "closed"
"""The key of the entry by which an escalation is closed."""


@dataclass(frozen=True, slots=True)
class NewEscalation:
    """A new escalation: created from the hold of what has been contained, or before that where nothing carries one."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    spec: EscalationSpec


class Phase(StrEnum):
    """When an effect is carried out: the phases of one plan follow each other in this order."""

    STOP = "stop"
    FOLLOW_UP = "follow-up"
    """The second write of a containment, where its runtime needs one."""
    RESTART = "restart"
    """A pod of an isolated model is deleted, so that its open connections end."""
    RESTORE = "restore"
    COMPANION = "companion"
    """A companion workload is suspended, or runs again."""
    REHEARSE = "rehearse"
    """A dry run, for a drill."""
    UPKEEP = "upkeep"
    """What objects carry of a containment is made what it should be."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """What completes the body of a rollback: objects that are too large to be cached for every workload."""

    workload: Workload
    """As it was seen: what is read has to be the same."""
    revision: Revision
    hold: Hold | None = None
    lock: str = ""

    def body(self, live: Object, old: Object | None) -> JsonPatch | None:
        """Return the patch, or ``None`` where something has changed since it was seen.

        Args:
            live: The workload as it is stored.
            old: The stored object that holds the revision, where its runtime keeps any.
        """
        runtime, now = self.workload.runtime, self.workload.runtime.read(live)
        if (now.uid, now.digest) != (self.workload.uid, self.workload.digest):
            return None
        if old is not None and old["metadata"]["uid"] != self.revision.uid:
            return None
        write = runtime.roll_back(live, old, self.revision)
        held = with_hold(write, now, self.hold, self.lock)
        return held.patch


@dataclass(frozen=True, slots=True)
class Effect:
    """One write that a plan asks for. Its body tests what was seen, so that it is refused where that has changed."""

    phase: Phase
    resource: Resource
    name: str
    verb: Literal["create", "patch", "delete"]
    body: Any
    subresource: str | None = None
    escalation: str = ""
    """Name of the escalation that it is for."""
    on_target: bool = False
    """Whether it is on the target itself."""
    dry_run: bool = False
    rollback: Rollback | None = None
    """What completes the body, where that needs more than is cached."""
    impossible: str = ""
    """Why it cannot be done: then nothing is sent."""
    intent: int = 0
    """Of a drill, the id of the intent that is tried."""

    def __str__(self) -> str:
        """Return what it does to what, for logs."""
        part = f"/{self.subresource}" if self.subresource else ""
        return f"{self.phase}: {self.verb} {self.resource.kind}{part} {self.name}"

    @classmethod
    def of(cls, phase: Phase, write: ObjectWrite, escalation: str, *, dry_run: bool = False) -> Effect:
        """Return the effect of a write on an object."""
        return cls(
            phase,
            write.resource,
            write.name,
            write.verb,
            write.body,
            write.subresource,
            escalation,
            dry_run=dry_run,
        )

    @classmethod
    def on(cls, phase: Phase, workload: Workload, write: Write, escalation: str, *, dry_run: bool = False) -> Effect:
        """Return the effect of a patch of the target."""
        resource = workload.runtime.resource
        return cls(
            phase,
            resource,
            workload.name,
            "patch",
            write.patch,
            write.subresource,
            escalation,
            on_target=True,
            dry_run=dry_run,
        )


NOT_PLANNED = Impossible("its write is not planned yet")


@dataclass(frozen=True, slots=True)
class Stop:
    """What contains: one write on the target or on what its traffic passes, which says why in the same instant."""

    intent: Intent
    action: ContainmentAction
    severity: int
    """For the order among targets: higher goes first."""
    revision: Revision | None = None
    """For a rollback."""
    again: bool = False
    """It had been contained under this intent before: somebody reverted it."""
    reverted_by: str = ""
    """Field manager that did."""
    escalation: str = ""
    """Name of the escalation that it is done for."""
    hold: Hold | None = None
    """What the object is to carry of it, in the same write; ``None`` where that cannot be."""
    lock: str = ""
    """The action that the lock is to hold it to; empty for no lock."""
    policy: PinnedPolicy | None = None
    """What its Escalation is to be under, where that is not there yet."""
    effect: Effect | Impossible = NOT_PLANNED
    """The write, or why there is none."""
    ends: tuple[Effect, ...] = ()
    """Sent at the same time, and never waited for: the pods that are to end soon."""


class Measure(NamedTuple):
    """How long something took, for the metrics."""

    stage: str
    """notify, acknowledge, decide, contain, or resume."""
    role: str
    """The role it was waited for; empty for none."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact for the trail: a record, and an Event on each of the objects named."""

    event: Reason
    key: str
    """Identifies the act within its escalation: writing it twice is distinguished from it happening twice."""
    at: datetime
    message: str
    detail: Mapping[str, str] = field(default_factory=dict)
    actor: str = FIELD_MANAGER
    on: tuple[On, ...] = (On.ESCALATION,)
    warning: bool = False
    recorded: bool = True
    """Whether it is a record, too, or an Event only."""
    measure: Measure | None = None
    """What is measured when it is written."""


@dataclass(frozen=True, slots=True)
class EscalationUpdate:
    """What the trail of one escalation lacks. ``status.ledger`` is filled in as the records are written."""

    escalation: Escalation
    status: EscalationStatus
    entries: tuple[Entry, ...] = ()
    labels: Mapping[str, str | None] | None = None
    """Labels to change (``None`` removes one), or ``None`` for no change."""


@dataclass(frozen=True, slots=True)
class DecisionUpdate:
    """What became of a decision, to be said on the decision itself."""

    decision: Decision
    status: DecisionStatus


@dataclass(frozen=True, slots=True)
class SignalUpdate:
    """A signal's status as it should be, and the Events of the change."""

    signal: Signal
    status: SignalStatus
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class LadderUpdate:
    """A ladder's status as it should be, and the Events of the change."""

    status: EscalationLadderStatus
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one pass over a target has to do.

    Containment comes first. When none waits anywhere, the Escalation follows that says so, and after it the trail and
    the effects.
    """

    stop: Stop | None = None
    opening: NewEscalation | None = None
    noted: EscalationUpdate | None = None
    """A further intent, in the status before the act where nothing carries a hold."""
    escalations: tuple[EscalationUpdate, ...] = ()
    signals: tuple[SignalUpdate, ...] = ()
    decisions: tuple[DecisionUpdate, ...] = ()
    effects: tuple[Effect, ...] = ()
    """In the order of their phases."""
    wake_at: datetime | None = None
    """When to look again without any event: the next deadline, staleness, or the end of a grace period."""

    @property
    def urgent(self) -> bool:
        """Whether the plan has a containment, which must not wait."""
        return self.stop is not None

    @property
    def opens(self) -> bool:
        """Whether an Escalation, or a further intent of one, is to be saved first."""
        return self.opening is not None or self.noted is not None

    @property
    def has_trail(self) -> bool:
        """Whether the plan has writes that wait until nothing is left to contain."""
        return bool(self.escalations or self.signals or self.decisions or self.effects or self.opens)

    def of(self, phase: Phase) -> tuple[Effect, ...]:
        """Return the effects of a phase."""
        return tuple(effect for effect in self.effects if effect.phase is phase)
