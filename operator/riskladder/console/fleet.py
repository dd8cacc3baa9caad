"""Models, ladders and commitments as the lists show them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from pydantic import ValidationError

from riskladder.api.advice import Advice
from riskladder.api.conditions import Condition, ConditionStatus, find
from riskladder.api.escalation import ClockStatus, RiskAcceptance
from riskladder.api.ladder import EscalationLadderSpec, EscalationLadderStatus
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import LastKnownGood, ModelRiskSignalSpec, Observed, SignalStatus
from riskladder.api.tiers import Tier, Trigger
from riskladder.cluster.client import Object
from riskladder.people.case import Case
from riskladder.policy.advice.ladder import advise_ladder

BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Measured:
    """The last value of one indicator, from one source."""

    source: str
    observed: Observed
    is_stale: bool
    breaches: str
    """The tier that it breaches; empty for none."""


@dataclass(slots=True)
class Model:
    """One governed workload."""

    namespace: str
    target: str
    name: str = ""
    version: str = ""
    ladder: str = ""
    tier: str = BASELINE
    measured: list[Measured] = field(default_factory=list)
    last_good: LastKnownGood | None = None
    problems: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)


def models(signals: Iterable[Object], cases: Iterable[Case]) -> list[Model]:
    """Return the workloads that signals and open escalations are about, those with an open escalation first."""
    found: dict[tuple[str, str], Model] = {}
    for obj in signals:
        try:
            spec = ModelRiskSignalSpec.model_validate(obj["spec"])
            status = SignalStatus.model_validate(obj.get("status") or {})
        except ValidationError:
            continue
        if spec.drill:
            continue
        model = _of(found, obj["metadata"]["namespace"], f"{spec.target.kind}/{spec.target.name}")
        _add(model, spec, status)
    for case in cases:
        if case.is_open and not case.spec.drill:
            model = _of(found, case.namespace, case.target)
            model.cases.append(case)
            model.tier = case.tier
            model.name = model.name or case.model
            model.ladder = model.ladder or case.spec.ladder.name
    return sorted(found.values(), key=lambda m: (not m.cases, m.namespace, m.target))


def _of(found: dict[tuple[str, str], Model], namespace: str, target: str) -> Model:
    return found.setdefault((namespace, target), Model(namespace, target))


def _add(model: Model, spec: ModelRiskSignalSpec, status: SignalStatus) -> None:
    fresh = find(status.conditions, ConditionType.FRESH)
    ready = find(status.conditions, ConditionType.READY)
    stale = fresh is not None and fresh.status is ConditionStatus.FALSE
    if ready is not None and ready.status is ConditionStatus.FALSE:
        model.problems.append(f"{spec.source}: {ready.message or ready.reason}")
    if spec.model is not None:
        model.name, model.version = spec.model.name, spec.model.version or ""
    model.ladder = spec.ladder
    breached = {breach.indicator: breach.tier for breach in status.breaches}
    model.measured += [Measured(spec.source, o, stale, breached.get(o.indicator, "")) for o in status.observed]
    if status.tier and status.tier != BASELINE and not model.cases:
        model.tier = status.tier
    model.last_good = status.last_known_good or model.last_good


@dataclass(frozen=True, slots=True)
class Ladder:
    """One ladder as a person reads it."""

    namespace: str
    name: str
    spec: EscalationLadderSpec
    status: EscalationLadderStatus
    problems: tuple[Condition, ...]
    """What is wrong with it, by its conditions."""
    advice: tuple[Advice, ...]

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers, from the worst one down."""
        return tuple(reversed(self.spec.tiers))


def ladder(obj: Object, today: date) -> Ladder | None:
    """Return a ladder; ``None`` where another version of Riskladder wrote it."""
    try:
        spec = EscalationLadderSpec.model_validate(obj["spec"])
        status = EscalationLadderStatus.model_validate(obj.get("status") or {})
    except ValidationError:
        return None
    wrong = tuple(
        condition
        for condition in status.conditions
        if condition.status is not (ConditionStatus.FALSE if condition.type == "Suspended" else ConditionStatus.TRUE)
    )
    metadata = obj["metadata"]
    return Ladder(metadata["namespace"], metadata["name"], spec, status, wrong, tuple(advise_ladder(spec, today)))


def trigger_words(trigger: Trigger, units: Mapping[str, str]) -> str:
    """Return when a threshold is crossed: ``psi above 0.2, three readings in a row``."""
    side, value = ("above", trigger.above) if trigger.above is not None else ("below", trigger.below)
    unit = f" {units[trigger.indicator]}" if units.get(trigger.indicator) else ""
    times = f", {trigger.readings} readings in a row" if trigger.readings > 1 else ""
    return f"{trigger.indicator} {side} {value:g}{unit}{times}"


@dataclass(frozen=True, slots=True)
class Commitment:
    """Something that ends at a time: an accepted risk, or a duty."""

    case: Case
    at: datetime
    acceptance: RiskAcceptance | None = None
    clock: ClockStatus | None = None


def commitments(cases: Iterable[Case]) -> list[Commitment]:
    """Return what runs, with what ends first in front."""
    found = []
    for case in cases:
        if not case.is_open:
            continue
        if (acceptance := case.status.risk_acceptance) is not None:
            found.append(Commitment(case, acceptance.until, acceptance=acceptance))
        found += [Commitment(case, c.due_at, clock=c) for c in case.status.clocks if c.met_at is None]
    return sorted(found, key=lambda one: one.at)
