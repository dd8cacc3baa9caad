"""A tier of an escalation ladder: when it is entered, who is notified, who decides by when, and what happens meanwhile.

Shared by the ladder, which declares tiers, and by an open escalation, which pins the ones it was opened under.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riskladder.api import tier_rules
from riskladder.api.base import (
    AtomicList,
    DnsLabel,
    Duration,
    FiniteNumber,
    IndicatorName,
    KindName,
    LabelValue,
    ListMap,
    ListSet,
    Model,
    ObjectName,
    PositiveDuration,
    Rule,
    Text,
)

MAX_TRIGGERS = 32
MAX_QUORUM = 8
MAX_NOTIFY = 16


class TimeoutAction(StrEnum):
    """What a missed deadline does."""

    ESCALATE = "Escalate"
    CONTAIN = "Contain"
    HOLD = "Hold"


class ContainmentWhen(StrEnum):
    """When the running model is taken to its safe state."""

    IMMEDIATELY = "Immediately"
    ON_DECISION = "OnDecision"
    ON_TIMEOUT = "OnTimeout"


class Axis(StrEnum):
    """What a safe state acts on: the workload itself, or the traffic to it. One of each is in force side by side."""

    WORKLOAD = "Workload"
    TRAFFIC = "Traffic"


class ContainmentAction(StrEnum):
    """A safe state for a running model."""

    SCALE_TO_ZERO = "ScaleToZero"
    ROLLBACK = "Rollback"
    FALLBACK = "Fallback"
    ISOLATE = "Isolate"

    @property
    def axis(self) -> Axis:
        """The axis that the safe state is on."""
        on_workload = (ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ROLLBACK)
        return Axis.WORKLOAD if self in on_workload else Axis.TRAFFIC

    @property
    def strength(self) -> int:
        """How safe the safe state is, from 1 to 3: a further intent is only ever for a safer one."""
        return {ContainmentAction.SCALE_TO_ZERO: 3, ContainmentAction.ISOLATE: 2}.get(self, 1)


def adds(action: ContainmentAction, active: Collection[ContainmentAction]) -> bool:
    """Return whether a safe state adds to those in force: a safer one, or one as safe on the other axis."""
    strongest_now = max((one.strength for one in active), default=0)
    if action.strength == strongest_now:
        return action.axis not in {one.axis for one in active}
    return action.strength > strongest_now


class Connections(StrEnum):
    """What becomes of the connections to a model that are open when it is isolated."""

    KEEP = "Keep"
    CLOSE = "Close"


class Trigger(Model):
    """A threshold on one indicator. Crossing it, often enough in a row, breaches the tier."""

    rules: ClassVar[tuple[Rule, ...]] = tier_rules.TRIGGER

    indicator: IndicatorName = Field(
        description="Name of an indicator of this ladder. A tier has one trigger for each."
    )
    above: FiniteNumber | None = Field(
        None,
        description="Breached by a value strictly greater than this, in the indicator's own unit. Give this or below. "
        "Of two tiers that use it for one indicator, the higher tier needs the greater number.",
    )
    below: FiniteNumber | None = Field(
        None,
        description="Breached by a value strictly less than this, in the indicator's own unit. Give this or above. "
        "Of two tiers that use it for one indicator, the higher tier needs the smaller number.",
    )
    readings: Annotated[int, Field(ge=1, le=100)] = Field(
        1,
        description="How many breaching readings in a row confirm the breach; a reading counts once for each "
        "observedAt. Default 1: the first one does. More than one keeps a single outlier from waking people.",
    )
    clears_at: FiniteNumber | None = Field(
        None,
        description="The breach clears only when the value is back at or past this number, on the safe side of the "
        "threshold (hysteresis). Default: the threshold itself.",
    )

    def is_beyond(self, value: float) -> bool:
        """Return whether a value breaches."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


class Notify(Model):
    """One role to notify, and how long after the tier was entered."""

    role: DnsLabel = Field(description="The stakeholder role to notify, over its channels.")
    after: Duration = Field(
        Duration("0s"),
        description="How long after the tier was entered, unless it was decided, closed or left by then. Default 0s: "
        "now.",
    )


class Acknowledge(Model):
    """The deadline by which one of the notified roles must acknowledge."""

    rules: ClassVar[tuple[Rule, ...]] = tier_rules.ACKNOWLEDGE

    within: PositiveDuration = Field(
        description="Time from entering the tier to the first answer of any role. A role that has not answered so "
        "long after it was notified: its alternates are. Nobody at all: onTimeout applies; where alternates were "
        "notified, after the same time once more."
    )
    remind_every: PositiveDuration | None = Field(
        None,
        description="How often to remind each role that was notified, until it or an alternate has answered; no longer "
        "than within, and no shorter than 10s. Default: no reminders.",
    )


class QuorumMember(Model):
    """A role whose agreement is needed."""

    role: DnsLabel = Field(
        description="A stakeholder role. Who holds it is RBAC: a verb on stakeholders.riskladder.dev."
    )
    count: Annotated[int, Field(ge=1, le=16)] = Field(
        1,
        description="How many different people must agree in this role; each counts once. At most the seats of the "
        "role and of its alternates together. Default 1.",
    )


Quorum = Annotated[
    tuple[QuorumMember, ...],
    Field(min_length=1, max_length=MAX_QUORUM),
    ListMap("role"),
]


class Decide(Model):
    """The deadline by which the quorum must have decided."""

    within: PositiveDuration = Field(
        description="Time from entering the tier to a decision: the risk is accepted, the model resumed, or it is "
        "closed. Missed: onTimeout applies, unless it has before."
    )
    quorum: Quorum = Field(
        description="Who must agree to accept the risk or to close, and to resume where resume is not given. Every "
        "entry must be met. An owner of the model never counts."
    )


class ClosesWhen(Model):
    """When an escalation closes by itself."""

    cleared: bool = Field(
        True,
        description="Close when every breach has cleared, nothing was ever contained and no clock runs. Default true. "
        "False: only people close it.",
    )
    for_: Duration = Field(
        Duration("0s"), alias="for", description="How long the breaches must have stayed cleared first. Default 0s."
    )


class Fallback(Model):
    """Where traffic goes under action Fallback: give service and selector, or httpRoute and backend."""

    rules: ClassVar[tuple[Rule, ...]] = tier_rules.FALLBACK

    service: ObjectName | None = Field(
        None, description="The Service of this namespace whose selector is switched. Needs selector."
    )
    selector: Annotated[dict[str, LabelValue], Field(min_length=1, max_length=16)] | None = Field(
        None, description="The labels of the pods that serve instead, for example a rule-based baseline. Needs service."
    )
    http_route: ObjectName | None = Field(
        None, description="The Gateway API HTTPRoute of this namespace whose backend is switched. Needs backend."
    )
    backend: ObjectName | None = Field(
        None, description="The Service that the HTTPRoute sends traffic to. Needs httpRoute."
    )


class SuspendedWorkload(Model):
    """A workload stopped with the model."""

    kind: KindName = Field(description="Its kind, for example CronJob or Job.")
    name: ObjectName = Field(description="Its name, in the ladder's namespace.")


OWN_GRACE = "Own"
"""Pods of a stopped model end when they ask to."""

Grace = Annotated[str, Field(max_length=5, pattern=r"^(Own|[1-9][0-9]{0,3}s|[1-9]m|[1-5][0-9]m|60m)$")]


class Containment(Model):
    """What happens to the running model, when, and how firmly it is kept so."""

    rules: ClassVar[tuple[Rule, ...]] = tier_rules.CONTAINMENT

    when: ContainmentWhen = Field(
        ContainmentWhen.IMMEDIATELY,
        description="Immediately (default): as soon as the tier is entered, before anyone is asked; evidence is saved "
        "first. OnDecision: when someone with authority decides Contain; needs decide. OnTimeout: when onTimeout "
        "applies; needs onTimeout: Contain. A person may always contain sooner.",
    )
    action: ContainmentAction = Field(
        description="The safe state. ScaleToZero: no replica is left. Rollback: back to the last revision known to be "
        "good. Fallback: traffic goes to what fallback names. Isolate: pods keep running, and a NetworkPolicy "
        "turns away new connections, in and out. Fallback and Isolate need a component of the operator "
        "(docs/runtimes.md): without it ifImpossible is done."
    )
    if_impossible: Literal[ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ISOLATE] = Field(
        ContainmentAction.SCALE_TO_ZERO,
        description="What to do instead where the action cannot be done, for example a Rollback with no known good "
        "revision. ScaleToZero (default) or Isolate; where that cannot be done either, ScaleToZero.",
    )
    fallback: Fallback | None = Field(
        None,
        description="Where traffic goes. Required by action Fallback, unused by the others. Naming the Service or "
        "HTTPRoute here is what permits Riskladder to change it.",
    )
    lock: bool = Field(
        True,
        description="Admission refuses to revert the containment (raising replicas, changing what is served, or where "
        "traffic was sent), also to "
        "administrators and autoscalers, until a counted decision (Resume or Close). Default true. False, also where "
        "the ladder is changed to it later: reverting it is only recorded, and re-applied.",
    )
    within: PositiveDuration = Field(
        Duration("2m"),
        description="Time from the intent to proof that it took effect (for ScaleToZero no pod, and none listed by a "
        "Service as serving). "
        "Not proved by then: the next tier is entered. Default 2m.",
    )
    grace: Grace = Field(
        "5s",
        description="For ScaleToZero, and for Isolate with connections Close: how long a pod may take to end before it "
        "is killed, 1s to 60m; its kubelet takes 2s at least. Own: what the pod asks for itself "
        "(terminationGracePeriodSeconds), a StatefulSet one pod after the other. Needs the component prompt-stop of "
        "the operator (docs/runtimes.md): without it Own. Default 5s.",
    )
    connections: Connections = Field(
        Connections.KEEP,
        description="For Isolate: a NetworkPolicy turns new connections away; whether open ones go on depends on the "
        "network plugin. Keep (default): they may. Close: the pods that run are deleted once the policy is in place, "
        "with grace, so that their connections end; those that take their place come up isolated. Needs the component "
        "prompt-stop of the operator (docs/runtimes.md): without it Keep.",
    )
    also_suspend: Annotated[tuple[SuspendedWorkload, ...], Field(max_length=16), ListMap("kind", "name")] = Field(
        (),
        description="Workloads to suspend with the model (spec.suspend of a CronJob, Job or Argo CronWorkflow), for "
        "example retraining or data collection. Looked at every minute; what ran before runs again after a Resume.",
    )


class AcceptRisk(Model):
    """Permission to accept the risk for a limited time."""

    at_most: PositiveDuration = Field(
        description="The longest time a risk may be accepted for. The tier is then entered again; a worse tier ends "
        "the acceptance at once."
    )


StepPercent = Annotated[str, Field(max_length=4, pattern=r"^([1-9][0-9]?|100)%$")]


class Resume(Model):
    """Who may restore a contained model, and how carefully."""

    rules: ClassVar[tuple[Rule, ...]] = tier_rules.RESUME

    quorum: Quorum = Field(
        description="Who must agree to resume. Every entry must be met. An owner of the model never counts. Resuming "
        "may need more than halting."
    )
    watch_for: PositiveDuration | None = Field(
        None,
        description="How long the model is watched after each step of a Resume: the next step waits for the end of it. "
        "A later reading that breaches contains it again, in that time and after it. Default: no such time.",
    )
    steps: Annotated[tuple[StepPercent, ...], Field(max_length=10), AtomicList()] = Field(
        (),
        description="Shares of the former replicas to restore one after the other, strictly growing and ending with "
        "100%, for example [10%, 50%, 100%]; rounded up. Each but the first waits for watchFor, and for a reading at "
        "baseline that was observed since the one before. Default: all at once.",
    )


class Clock(Model):
    """A duty with a deadline, such as a report to a regulator, that runs from the moment of becoming aware."""

    name: DnsLabel = Field(description="Name of the duty, for example ai-act-art-73.")
    within: PositiveDuration = Field(
        description="Time from the opening of the escalation (awareness) to the duty being met, for example 15d, 10d "
        "or 2d under Article 73 of the EU AI Act."
    )
    role: DnsLabel = Field(
        description="The stakeholder role that has to meet it and is reminded of it: at half time, a day before, and "
        "when it is overdue."
    )


class Tier(Model):
    """A level of risk and the response to it. Tiers are ordered from lowest to highest."""

    rules: ClassVar[tuple[Rule, ...]] = tier_rules.TIER

    name: DnsLabel = Field(description="Name of the tier, for example moderate. Not baseline: that is no tier at all.")
    triggers: Annotated[tuple[Trigger, ...], Field(max_length=MAX_TRIGGERS), ListMap("indicator")] = Field(
        (), description="Any of them breaches the tier. None: only a stale indicator or a person raises it."
    )
    notify: Annotated[tuple[Notify, ...], Field(max_length=MAX_NOTIFY), ListMap("role")] = Field(
        (), description="Who is notified, in what order."
    )
    remedies: Annotated[tuple[Annotated[Text, Field(min_length=1)], ...], Field(max_length=16), ListSet()] = Field(
        (), description="What to try, proposed to those who are notified."
    )
    acknowledge: Acknowledge | None = Field(
        None, description="By when somebody must have answered. Default: nobody need."
    )
    decide: Decide | None = Field(None, description="By when who must have decided. Default: no decision is asked for.")
    on_timeout: TimeoutAction = Field(
        TimeoutAction.HOLD,
        description="What a missed deadline (acknowledge or decide) does, once each time the tier is entered. "
        "Escalate: the next tier is entered; in the highest one as Hold. Contain: the containment of this tier is "
        "carried out; the charter's owner is notified. Hold (default): the model is left as it is, and the charter's "
        "owner is notified.",
    )
    closes_when: ClosesWhen | None = Field(
        None, description="When the escalation closes by itself. Default: only people close it."
    )
    containment: Containment | None = Field(
        None,
        description="What happens to the running model: the safe state (action), when it is taken there (when: "
        "Immediately by default), the proof it must reach in time (within, 2m), and the lock that keeps it there until "
        "a counted decision. Default: the model keeps running.",
    )
    accept_risk: AcceptRisk | None = Field(
        None, description="Whether the quorum of decide may accept the risk, and for how long. Default: it may not."
    )
    resume: Resume | None = Field(
        None,
        description="Who may restore a contained model. Default: the quorum of decide; nobody where there is none.",
    )
    clocks: Annotated[tuple[Clock, ...], Field(max_length=16), ListMap("name")] = Field(
        (),
        description="Duties with a deadline. They start when the tier is entered, and count from the opening of the "
        "escalation.",
    )
