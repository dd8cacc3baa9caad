"""The kinds of the API group: names, models, printer columns and the rules that need the object's own name."""

from __future__ import annotations

from dataclasses import dataclass

from riskladder.api.base import Model, Rule
from riskladder.api.binding import MonitorBindingSpec, MonitorBindingStatus
from riskladder.api.decision import DecisionStatus, EscalationDecisionSpec
from riskladder.api.escalation import EscalationSpec, EscalationStatus
from riskladder.api.index import ContainmentIndexSpec
from riskladder.api.ladder import EscalationLadderSpec, EscalationLadderStatus
from riskladder.api.record import EscalationRecordSpec
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus

CATEGORY = "riskladder"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`.

    Its `type` date prints how long ago a time was, and `<invalid>` for one to come: deadlines are strings. A list is
    printed as JSON. So what is to be read is written into the status as text. A `priority` above 0 takes `-o wide`.
    """

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Kind:
    """One custom resource kind, always namespaced."""

    name: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[Model]
    status: type[Model] | None
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()

    @property
    def singular(self) -> str:
        """The lower-case name."""
        return self.name.lower()


AGE = Column("Age", ".metadata.creationTimestamp", "date")
WHY = Column(
    "Reason",
    '.status.conditions[?(@.type=="Ready")].reason',
    priority=1,
    description="Why it is Ready, or why it is not.",
)


def _condition(name: str, condition: str, description: str, priority: int = 0) -> Column:
    path = f'.status.conditions[?(@.type=="{condition}")].status'
    return Column(name, path, priority=priority, description=description)


LADDER = Kind(
    name="EscalationLadder",
    plural="escalationladders",
    short_names=("ladder", "ladders"),
    description="A model-risk policy: which readings put a model in which tier, who is notified, decides by when, and "
    "what happens to the running model meanwhile. It acts in its own namespace only.",
    spec=EscalationLadderSpec,
    status=EscalationLadderStatus,
    columns=(
        _condition("Ready", "Ready", "Whether the ladder is in force."),
        Column("Suspended", ".spec.suspended", "boolean", description="Whether it acts on nothing."),
        Column("Open", ".status.openEscalations", "integer", description="Open escalations."),
        AGE,
        WHY,
    ),
    rules=(
        Rule(
            "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63",
            "metadata.name must be a DNS label of at most 63 characters, without dots: it becomes a label value",
            "'metadata.name ' + self.metadata.name + "
            "' must be a DNS label of at most 63 characters, without dots: it becomes a label value'",
        ),
    ),
)

SIGNAL = Kind(
    name="ModelRiskSignal",
    plural="modelrisksignals",
    short_names=("mrs", "risksignal"),
    description="What a monitor measured on a model, or what a person raises about it. One object for each model and "
    "source, updated with each new reading; one for each reading works too.",
    spec=ModelRiskSignalSpec,
    status=SignalStatus,
    columns=(
        Column("Ladder", ".spec.ladder", description="The ladder it is read against."),
        Column("Target", ".spec.target.name", description="The workload."),
        Column("Source", ".spec.source", description="Who reports."),
        Column("Tier", ".status.tier", description="The tier the model is in."),
        _condition("Ready", "Ready", "Whether the signal is usable."),
        Column("Escalation", ".status.escalation", description="The escalation it opened or joined."),
        AGE,
        WHY,
    ),
)

ESCALATION = Kind(
    name="Escalation",
    plural="escalations",
    short_names=("esc",),
    description="One open question about one model, from the breach to its close. Written by the operator only.",
    spec=EscalationSpec,
    status=EscalationStatus,
    columns=(
        Column("State", ".status.state", description="Where it stands: Open, Contained, Late, Resumed, Closed …"),
        Column("Tier", ".status.tier", description="The tier it stands at."),
        Column("Target", ".spec.target.name", description="The workload."),
        Column("Waiting-On", ".status.summary.waitingOn", description="The roles that have to act."),
        Column("Due", ".status.summary.due", description="The next deadline."),
        AGE,
        _condition("Contained", "Contained", "Whether the model is proved to be in its safe state.", priority=1),
        Column("Ladder", ".spec.ladder.name", priority=1, description="The ladder it runs under."),
    ),
)

DECISION = Kind(
    name="EscalationDecision",
    plural="escalationdecisions",
    short_names=("escd",),
    description="A person's act on an escalation: acknowledge, comment, contain, escalate, object, accept the risk, "
    "resume, close, review. Who may do what is RBAC, who did it is stamped by the API server, and it never changes.",
    spec=EscalationDecisionSpec,
    status=DecisionStatus,
    columns=(
        Column("Escalation", ".spec.escalation", description="The escalation."),
        Column("Action", ".spec.action", description="What was decided."),
        Column("Role", ".spec.role", description="In which role."),
        Column("By", ".spec.decidedBy.username", description="By whom."),
        _condition("Accepted", "Accepted", "Whether it counted."),
        Column("Reason", '.status.conditions[?(@.type=="Accepted")].reason', description="Why, or why not."),
        AGE,
    ),
)

RECORD = Kind(
    name="EscalationRecord",
    plural="escalationrecords",
    short_names=("escr",),
    description="One link of an escalation's append-only, hash-chained history. Outlives the escalation.",
    spec=EscalationRecordSpec,
    status=None,
    columns=(
        Column("Escalation", ".spec.escalation", description="The escalation."),
        Column("Seq", ".spec.sequence", "integer", description="Place in the chain."),
        Column("Event", ".spec.entries[0].event", description="What happened, first of all."),
        Column("Actor", ".spec.entries[0].actor", description="Who did it."),
        Column("Age", ".spec.entries[0].at", "date", description="How long ago."),
    ),
    rules=(
        Rule(
            "self.metadata.name.matches('-[0-9]{6}$') && self.metadata.name.startsWith(self.spec.escalation + '-') && "
            "size(self.metadata.name) == size(self.spec.escalation) + 7 && "
            "int(self.metadata.name.substring(size(self.spec.escalation) + 1)) == self.spec.sequence",
            "metadata.name must be <escalation>-<sequence, 6 digits>",
        ),
    ),
)

INDEX = Kind(
    name="ContainmentIndex",
    plural="containmentindexes",
    short_names=("cidx",),
    description="The names of what is contained in a namespace: by them the lock knows what a request to create a "
    "workload, or to change its scale, is about. Written by the operator only, one for each namespace.",
    spec=ContainmentIndexSpec,
    status=None,
    columns=(AGE,),
)

BINDING = Kind(
    name="MonitorBinding",
    plural="monitorbindings",
    short_names=("mb",),
    description="What a monitor sends, which reading each value of it becomes, and who may send it. Ladder, target, "
    "source and model come from here, never from a payload.",
    spec=MonitorBindingSpec,
    status=MonitorBindingStatus,
    columns=(
        Column("Format", ".spec.format", description="What the monitor sends."),
        Column("Ladder", ".spec.ladder", description="The ladder it is read against."),
        Column("Source", ".spec.source", description="Who reports."),
        _condition("Ready", "Ready", "Whether the binding can be used."),
        Column("Last-Reading", ".status.lastReading.at", "date", description="How long ago a reading was stored."),
        Column("Refusals", ".status.counts.refusals", "integer", description="Values that became no reading."),
        AGE,
        WHY,
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (LADDER, SIGNAL, ESCALATION, DECISION, RECORD, INDEX, BINDING)}
"""By kind name."""
