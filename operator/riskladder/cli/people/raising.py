"""Raising something: for which workload, under which ladder, in which tier, and the signal that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from riskladder.api.conditions import Condition, ConditionStatus, find
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import Manual, ReportedBy, SignalStatus, TargetRef
from riskladder.api.tiers import ContainmentAction, Tier
from riskladder.cli.people.options import Form, How
from riskladder.cli.people.send import DRY_RUN, described, finish, rationale_of
from riskladder.cli.people.session import Session, choose_role, end
from riskladder.cluster.authority import who_am_i
from riskladder.cluster.client import NotFound
from riskladder.cluster.resources import LADDERS, SIGNALS
from riskladder.people.answers import COULD_NOT_ASK
from riskladder.people.case import Case, Object
from riskladder.people.outcome import Result
from riskladder.people.text import listed
from riskladder.policy.snapshot import is_governed
from riskladder.workloads.registry import ALL_RUNTIMES

_SHORT = {"deploy": "Deployment", "sts": "StatefulSet", "ro": "Rollout", "isvc": "InferenceService"}
"""Short names that the kinds have with kubectl, too."""

_RESOURCES = {runtime.resource.kind: runtime.resource for runtime in ALL_RUNTIMES}
_KINDS = _SHORT | {
    name: resource.kind
    for resource in _RESOURCES.values()
    for name in (resource.kind.lower(), resource.plural, resource.title, f"{resource.kind.lower()}.{resource.group}")
}


@dataclass(frozen=True, slots=True)
class Ladder:
    """A ladder that may be chosen."""

    name: str
    spec: EscalationLadderSpec

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles in which somebody can raise something."""
        return tuple(s.role for s in self.spec.stakeholders)

    def tier(self, name: str | None) -> Tier:
        """Return the tier of that name, or the one that a person means who names none.

        Raises:
            ValueError: It has no such tier.
        """
        if name is None:
            return default_tier(self.spec.tiers)
        found = next((t for t in self.spec.tiers if t.name == name), None)
        if found is None:
            raise ValueError(f"ladder {self.name} has no tier {name}, only {listed(t.name for t in self.spec.tiers)}")
        return found


def parse_target(text: str) -> TargetRef:
    """Parse ``deployment/NAME``, ``statefulset/NAME``, or another kind of serving runtime.

    Raises:
        ValueError: It is not, or of a kind that cannot be contained.
    """
    kind, slash, name = text.partition("/")
    if not name:
        example = f"deployment/{text}" if text and not slash else "deployment/NAME"
        raise ValueError(f"{text!r} names no workload: expected KIND/NAME, for example {example}")
    if kind.lower() not in _KINDS:
        known = ", ".join(sorted(kind.lower() for kind in _RESOURCES))
        raise ValueError(f"{text}: {kind} is not a kind of workload that is known here ({known})")
    try:
        return TargetRef(kind=_KINDS[kind.lower()], name=name)
    except ValidationError as error:
        raise ValueError(f"{name!r} is no name of a {_KINDS[kind.lower()]}") from error


def default_tier(tiers: Iterable[Tier]) -> Tier:
    """Return the lowest tier that contains and says who may restore the model, else the highest."""
    found = list(tiers)
    ready = (t for t in found if t.containment is not None and (t.resume is not None or t.decide is not None))
    return next(ready, found[-1])


def action_of(tier: Tier, given: ContainmentAction | None) -> ContainmentAction:
    """Return the safe state to ask for: a signal may name only two, and the tier's own is taken where it is one."""
    declared = tier.containment.action if tier.containment else ContainmentAction.SCALE_TO_ZERO
    is_rollback = declared is ContainmentAction.ROLLBACK
    return given or (ContainmentAction.ROLLBACK if is_rollback else ContainmentAction.SCALE_TO_ZERO)


def choose_ladder(objects: Iterable[Object], labels: Mapping[str, str], given: str | None, target: str) -> Ladder:
    """Return the ladder given, else the only one that governs a workload of these labels.

    Raises:
        ValueError: There is none, or several, or the one given does not govern it.
    """
    found: dict[str, Ladder] = {}
    broken: dict[str, str] = {}
    for obj in objects:
        name = str(obj["metadata"]["name"])
        try:
            found[name] = Ladder(name, EscalationLadderSpec.model_validate(obj.get("spec") or {}))
        except ValidationError as error:
            broken[name] = f"{'.'.join(str(p) for p in error.errors()[0]['loc'])}: {error.errors()[0]['msg']}"
    fitting = {name: ladder for name, ladder in found.items() if is_governed(ladder.spec.governs, labels)}
    if given is not None:
        if given in broken:
            raise ValueError(f"ladder {given} is not valid: {broken[given]}")
        if given not in found:
            raise ValueError(f"there is no ladder {given}; there are: {listed(sorted(found)) or 'none'}")
        if given not in fitting:
            raise ValueError(f"ladder {given} does not govern {target}: its labels do not match spec.governs.selector")
        return found[given]
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not fitting:
        there = f"; ladders there: {listed(sorted(found))}" if found else "; there is no ladder at all"
        raise ValueError(f"no ladder of the namespace governs {target}: its labels match none{there}")
    raise ValueError(f"several ladders govern {target}: choose with --ladder one of {listed(sorted(fitting), 'or')}")


async def workload(session: Session, target: TargetRef) -> Object:
    """Return the workload as it is; end the command where there is none."""
    try:
        return await session.client.get(_RESOURCES[target.kind], session.namespace, target.name)
    except NotFound:
        end(COULD_NOT_ASK, f"there is no {target.kind} {target.name} in namespace {session.namespace}")


async def ladder_for(session: Session, obj: Object, given: str | None, target: TargetRef) -> Ladder:
    """Return the ladder under which to raise it; end the command where that is not clear."""
    labels: dict[str, Any] = obj["metadata"].get("labels") or {}
    try:
        return choose_ladder(
            await session.client.list(LADDERS, session.namespace), labels, given, f"{target.kind}/{target.name}"
        )
    except ValueError as error:
        end(COULD_NOT_ASK, str(error))


def target_of(text: str) -> TargetRef:
    """Return the workload that is named; end the command where none is."""
    try:
        return parse_target(text)
    except ValueError as error:
        end(COULD_NOT_ASK, str(error))


def tier_of(ladder: Ladder, name: str | None) -> Tier:
    """Return the tier meant; end the command where the ladder has none of that name."""
    try:
        return ladder.tier(name)
    except ValueError as error:
        end(COULD_NOT_ASK, str(error))


async def open_for(
    session: Session, uid: str, *, ladder: str | None = None, role: str | None = None, drill: bool = False
) -> Case | None:
    """Return the open escalation of a workload; ends the command where several may be meant.

    Args:
        session: Where to look.
        uid: uid of the workload.
        ladder: Its ladder: each has an escalation of its own.
        role: The role in which somebody acts.
        drill: Look for a drill.
    """
    found = [c for c in await session.cases(quiet=True) if c.is_open and c.spec.target.uid == uid]
    found = [c for c in found if c.spec.drill is drill and ladder in (None, c.spec.ladder.name)]
    if len(found) > 1 and role is not None:
        found = [c for c in found if role in c.roles]
    if len(found) > 1:
        names = listed(f"{c.name} (ladder {c.spec.ladder.name})" for c in found)
        end(COULD_NOT_ASK, f"{names} are open for {found[0].target}: give --ladder, or the name of one")
    return next(iter(found), None)


async def manual(
    session: Session,
    how: How,
    ladder: Ladder,
    tier: Tier,
    verbs: list[str],
    role: str | None,
    rationale: str | None,
    containment: ContainmentAction | None,
) -> tuple[Manual, ReportedBy | None]:
    """Return what a person raises, in a role for which they have the verbs, and who they are, if that is to be said."""
    is_stop = containment is not None
    chosen = await choose_role(session, role, verbs, ladder.roles, is_asked=how.decides and not is_stop)
    me = await who_am_i(session.client)
    try:
        raised = Manual.model_validate(
            {
                "tier": tier.name,
                "rationale": rationale_of(rationale),
                "role": chosen,
                "containment": containment,
                "raised_by": me.username if how.decided_by else None,
            }
        )
    except ValidationError as error:
        end(COULD_NOT_ASK, described(error))
    if not how.decided_by or how.output is Form.YAML:  # whoever applies it has another credential by then
        return raised, None
    return raised, ReportedBy(username=me.username, credential_id=me.credential_id)


async def refused(session: Session, signal: str) -> Condition | None:
    """Return why a signal is not used, once the operator has looked at it."""
    try:
        obj = await session.client.get(SIGNALS, session.namespace, signal)
    except NotFound:
        end(COULD_NOT_ASK, f"signal {signal} was deleted before anything came of it")
    ready = find(SignalStatus.model_validate(obj.get("status") or {}).conditions, ConditionType.READY)
    return ready if ready is not None and ready.status is ConditionStatus.FALSE else None


def is_done(how: How, facts: dict[str, Any]) -> bool:
    """End here where nothing is to be waited for."""
    if how.dry_run:
        finish(how, Result(0, DRY_RUN, facts | {"dryRun": True}))
    elif not how.wait:
        finish(how, Result(0, f"Sent as signal {facts['signal']}.", facts))
    return how.dry_run or not how.wait
