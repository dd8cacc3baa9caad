"""What a decision asks for. Nothing here does anything: the controller executes it in the order it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from riskladder.api.decision import DecisionStatus
from riskladder.api.escalation import EscalationSpec, EscalationStatus, Intent, PinnedPolicy
from riskladder.api.hold import Hold
from riskladder.api.labels import FIELD_MANAGER
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import Reason
from riskladder.api.signal import SignalStatus
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.snapshot import Decision, Escalation, Signal
from riskladder.workloads.companions.suspend import Beside
from riskladder.workloads.model import Revision
from riskladder.workloads.results import Write
from riskladder.workloads.safe_states.network_path import Outside

"""The operator, as an actor in records."""


class On(StrEnum):
    """The object that an Event is about."""

    SIGNAL = "signal"
    ESCALATION = "escalation"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Opening:
    """A new escalation: created from the hold of what has been contained, or before that where nothing carries one."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    spec: EscalationSpec


@dataclass(frozen=True, slots=True)
class Rising:
    """A further intent of an open escalation, noted in its status before the act where nothing carries a hold."""

    escalation: Escalation
    status: EscalationStatus
    intent: Intent


@dataclass(frozen=True, slots=True)
class Act:
    """One containment write, a compare-and-swap on the workload, which says why in the same instant."""

    intent: Intent
    action: ContainmentAction
    tier_rank: int
    """Severity, for the order among targets: higher goes first."""
    revision: Revision | None = None
    """For a rollback."""
    again: bool = False
    """It had been contained under this intent before: somebody undid it."""
    undone_by: str = ""
    """Field manager that did."""
    escalation: str = ""
    """Name of the escalation that it is done for."""
    hold: Hold | None = None
    """What the object is to carry of it, in the same write; ``None`` where that cannot be."""
    lock: str = ""
    """The action that the lock is to hold it to; empty for no lock."""
    policy: PinnedPolicy | None = None
    """What its Escalation is to be under, where that is not there yet."""


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
    """Identifies the act within its escalation, so that writing it twice can be told from it happening twice."""
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
class Restoring:
    """Restore what a containment took away: a counted decision ended it."""

    escalation: Escalation
    replicas: int
    fields: Mapping[str, str | None] = field(default_factory=dict)
    """Further fields as they were: JSON by JSON Pointer, ``None`` where it was absent."""
    hold: Hold | None = None
    """The hold of another escalation that the workload is to carry afterwards."""
    lock: str = ""
    """The action that the lock is to hold it to then."""


@dataclass(frozen=True, slots=True)
class Lifting:
    """Give back what was overwritten of an object that is not the workload."""

    escalation: Escalation
    write: Outside


@dataclass(frozen=True, slots=True)
class Settlement:
    """The second write of a containment, where its runtime needs one."""

    escalation: Escalation
    write: Write


@dataclass(frozen=True, slots=True)
class Switch:
    """Suspend a workload beside the model, or let it run again."""

    escalation: Escalation
    seen: Beside
    suspend: bool
    value: str | None = None
    """What stood where it is suspended, before: that is given back, where it is no switch."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The containment of a drill: asked of the API server as a dry run, which proves permission and admission."""

    escalation: Escalation
    intent: Intent
    revision: Revision | None = None


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
    """Everything one pass over a target has to do: containment first; when none waits anywhere, then the Escalation
    that says so, and after it the trail."""

    opening: Opening | None = None
    rising: Rising | None = None
    act: Act | None = None
    escalations: tuple[EscalationUpdate, ...] = ()
    signals: tuple[SignalUpdate, ...] = ()
    decisions: tuple[DecisionUpdate, ...] = ()
    settlement: Settlement | None = None
    restoring: Restoring | None = None
    liftings: tuple[Lifting, ...] = ()
    upkeep: tuple[Outside, ...] = ()
    """What makes the holds that objects carry what they should be."""
    switches: tuple[Switch, ...] = ()
    rehearsal: Rehearsal | None = None
    wake_at: datetime | None = None
    """When to look again without any event: the next deadline, staleness, or settling time."""

    @property
    def urgent(self) -> bool:
        """Whether the plan has a containment, which must not wait."""
        return self.act is not None

    @property
    def opens(self) -> bool:
        """Whether an Escalation, or a further intent of one, is to be saved first."""
        return self.opening is not None or self.rising is not None

    @property
    def has_trail(self) -> bool:
        """Whether the plan has writes that wait until nothing is left to contain."""
        further = self.settlement or self.restoring or self.liftings or self.upkeep or self.switches or self.rehearsal
        return bool(self.escalations or self.signals or self.decisions or further or self.opens)
