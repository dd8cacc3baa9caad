"""What the stop button and a drill have in common: a signal that a person raises."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from riskladder.api.conditions import Condition, ConditionStatus, find
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import Manual, SignalStatus, TargetRef
from riskladder.api.tiers import ContainmentAction, Tier
from riskladder.cli.people.case import Case
from riskladder.cli.people.desk import Desk, end
from riskladder.cli.people.options import How
from riskladder.cli.people.raising import Ladder, parse_target
from riskladder.cli.people.refusals import COULD_NOT_ASK
from riskladder.cli.people.roles import choose_role
from riskladder.cli.people.send import Result, described, finish, rationale_of
from riskladder.cluster.authority import who_am_i
from riskladder.cluster.client import NotFound
from riskladder.cluster.resources import SIGNALS


def target_of(text: str) -> TargetRef:
    """The workload that is named; ends the command where none is."""
    try:
        return parse_target(text)
    except ValueError as error:
        end(COULD_NOT_ASK, str(error))


def tier_of(ladder: Ladder, name: str | None) -> Tier:
    """The tier meant; ends the command where the ladder has none of that name."""
    try:
        return ladder.tier(name)
    except ValueError as error:
        end(COULD_NOT_ASK, str(error))


async def open_for(desk: Desk, uid: str, *, drill: bool = False) -> Case | None:
    """The open escalation of a workload."""
    for case in await desk.cases(quiet=True):
        if case.is_open and case.spec.target.uid == uid and case.spec.drill is drill:
            return case
    return None


async def manual(
    desk: Desk,
    how: How,
    ladder: Ladder,
    tier: Tier,
    verbs: list[str],
    role: str | None,
    rationale: str | None,
    containment: ContainmentAction | None,
) -> Manual:
    """What a person raises, in a role for which they have the verbs."""
    chosen = await choose_role(desk, role, verbs, ladder.roles)
    me = await who_am_i(desk.client)
    try:
        return Manual.model_validate(
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


async def refused(desk: Desk, signal: str) -> Condition | None:
    """Why a signal is not used, once the operator has looked at it."""
    try:
        obj = await desk.client.get(SIGNALS, desk.namespace, signal)
    except NotFound:
        end(COULD_NOT_ASK, f"signal {signal} was deleted before anything came of it")
    ready = find(SignalStatus.model_validate(obj.get("status") or {}).conditions, ConditionType.READY)
    return ready if ready is not None and ready.status is ConditionStatus.FALSE else None


def is_done(how: How, facts: dict[str, Any]) -> bool:
    """End here where nothing is to be waited for."""
    if how.dry_run:
        finish(how, Result(0, "The API server would take it; nothing was sent.", facts | {"dryRun": True}))
    elif not how.wait:
        finish(how, Result(0, f"Sent as signal {facts['signal']}.", facts))
    return how.dry_run or not how.wait
