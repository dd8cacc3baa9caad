"""An escalation as people look at it: its object, and the questions that are asked of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from riskladder.api.base import Timestamp
from riskladder.api.conditions import Condition, ConditionStatus, find, is_true
from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import CountedDecision, EscalationSpec, EscalationStatus, PinnedPolicy, Rung, intents_of
from riskladder.api.intent import Intent
from riskladder.api.labels import LABEL_TIER
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import Tier
from riskladder.policy.decisions.standing import Standing
from riskladder.policy.escalation.demands import Demand, demands
from riskladder.policy.quorum import alternates
from riskladder.policy.signals.evaluate import tier_of

Object = dict[str, Any]

_TIME: TypeAdapter[datetime] = TypeAdapter(Timestamp)


class Unreadable(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The stored object is not one that this version understands."""


class Contained(StrEnum):
    """Whether the model is in its safe state."""

    YES = "yes"
    NO = "no"
    IN_PROGRESS = "in progress"
    GONE = "deleted"
    """The workload was deleted, and nothing of it is left."""


@dataclass(frozen=True, slots=True)
class Case:
    """One escalation."""

    namespace: str
    name: str
    opened: datetime
    spec: EscalationSpec
    status: EscalationStatus
    tier: str
    """The tier it stands at."""

    @property
    def is_open(self) -> bool:
        """Whether it still waits for somebody or something."""
        return not is_true(self.status.conditions, ConditionType.CLOSED)

    @property
    def policy(self) -> PinnedPolicy:
        """The policy that it was opened under."""
        return self.spec.policy

    @property
    def pinned(self) -> Tier | None:
        """Its tier as the policy declares it."""
        return tier_of(self.policy, self.tier)

    @property
    def rung(self) -> Rung | None:
        """Its rung, once the operator has written one."""
        return self.status.rung

    @property
    def number(self) -> int:
        """The number of its rung: decisions count on it only."""
        return self.status.rung.number if self.status.rung else 1

    @property
    def target(self) -> str:
        """The workload, as ``Deployment/name``."""
        return f"{self.spec.target.kind}/{self.spec.target.name}"

    @property
    def model(self) -> str:
        """What to call the model in a sentence."""
        return self.spec.model.name if self.spec.model else self.spec.target.name

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles in which somebody can decide."""
        return tuple(s.role for s in self.policy.stakeholders)

    @property
    def owners(self) -> tuple[str, ...]:
        """Who owns the model, by any signal since it was opened."""
        return tuple(dict.fromkeys((*(self.spec.model.owners if self.spec.model else ()), *self.status.owners)))

    @property
    def intents(self) -> tuple[Intent, ...]:
        """What was intended recently, in order: of each axis, the newest."""
        return intents_of(self.spec, self.status)

    @property
    def intent(self) -> Intent | None:
        """The containment in force, or about to be: the last intent that no Resume has ended."""
        ended = self.status.resume.intent if self.status.resume else 0
        return next((intent for intent in reversed(self.intents) if intent.id > ended), None)

    @property
    def contained(self) -> Contained:
        """Whether the model is in its safe state now; never by a drill, which touches nothing."""
        if self.intent is None or self.spec.drill:
            return Contained.NO
        found = self.condition(ConditionType.CONTAINED)
        is_so = found is not None and found.status is ConditionStatus.TRUE
        if found is not None and found.reason == Reason.TARGET_DELETED:
            return Contained.GONE if is_so else Contained.NO
        return Contained.YES if is_so else Contained.IN_PROGRESS

    @property
    def due_at(self) -> datetime | None:
        """The next time at which something happens by itself."""
        return self.status.next_deadline if self.is_open else None

    @property
    def standing(self) -> Standing:
        """Where it stands for those who decide."""
        return Standing.of(self.spec, self.status, self.tier)

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return one of its conditions."""
        return find(self.status.conditions, kind)

    @property
    def is_suspended(self) -> bool:
        """Whether its ladder acts on nothing."""
        found = self.condition(ConditionType.LADDER_ACTIVE)
        return self.is_open and found is not None and found.reason == Reason.LADDER_SUSPENDED

    @property
    def is_answered(self) -> bool:
        """Whether some role has answered on its rung, which meets the deadline to acknowledge."""
        counted = (d for d in self.status.decisions if d.counted and d.rung == self.number)
        return any(d.action is not DecisionAction.COMMENT for d in counted)

    def demands(self, now: datetime) -> tuple[Demand, ...]:
        """Return what is asked of people, by when, and what happens otherwise."""
        rung, status = self.rung, self.status
        if rung is None or not self.is_open:
            return ()
        return demands(
            self.spec,
            rung,
            now,
            waits=status.risk_acceptance is None and rung.decided_at is None,
            answered=self.is_answered,
            contained=[intent.action for intent in self.standing.intents if not self.spec.drill],
            withheld=status.withheld,
            clocks=status.clocks,
        )

    def higher_tiers(self) -> tuple[str, ...]:
        """Return the tiers above the present one, lowest first."""
        return self.standing.higher_tiers()

    def objections(self) -> tuple[CountedDecision, ...]:
        """Return the objections that stand on this rung: the last word of each role."""
        return self.standing.objections()

    @property
    def waiting_on(self) -> tuple[str, ...]:
        """The roles that have to act now, without those that are asked only as an alternate of another one."""
        asked = self.status.waiting_on
        return tuple(r for r in asked if not any(self._only_stands_in(r, other) for other in asked if other != r))

    def _only_stands_in(self, role: str, other: str) -> bool:
        return role in alternates(self.policy, other) and other not in alternates(self.policy, role)

    def or_alternates(self, role: str) -> str:
        """Return a role, and who may stand in for it: ``legal (or deputy-counsel)``."""
        others = alternates(self.policy, role)
        return f"{role} (or {', '.join(others)})" if others else role


def read_case(obj: Object) -> Case:
    """Return what an Escalation object says.

    Raises:
        Unreadable: It does not validate; another version wrote it.
    """
    metadata = obj["metadata"]
    try:
        spec = EscalationSpec.model_validate(obj["spec"])
        status = EscalationStatus.model_validate(obj.get("status") or {})
        opened = _TIME.validate_python(metadata["creationTimestamp"])
    except (ValidationError, KeyError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": error.args, "msg": "is missing"}
        where = ".".join(str(part) for part in first["loc"])
        raise Unreadable(
            f"escalation {metadata.get('name')} was written by another version of Riskladder: {where}: {first['msg']}"
        ) from error
    labels = metadata.get("labels") or {}
    tier = status.tier or (status.rung.tier if status.rung else "") or labels.get(LABEL_TIER, "")
    return Case(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        opened=opened,
        spec=spec,
        status=status,
        tier=tier or spec.policy.tiers[0].name,
    )
