"""What the reader of a page may do about an escalation as it stands, with the exact commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from riskladder.api.decision import DecidedBy, DecisionAction, Resolution
from riskladder.api.tiers import QuorumMember
from riskladder.people.case import Case
from riskladder.people.text import listed
from riskladder.policy.decisions.owners import owner_named
from riskladder.policy.decisions.standing import (
    COMMANDS,
    JOINT,
    Possible,
    agreement,
    arguments_of,
    command_of,
    is_for,
    may_sit,
    needs_credential,
    possible,
    who_may,
)
from riskladder.policy.quorum import described


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that somebody may do."""

    action: DecisionAction
    role: str
    command: str
    what: str
    fields: tuple[tuple[str, str], ...] = ()
    """What it needs besides the role and the rationale, as a decision's spec names it."""


def sensible(case: Case) -> tuple[Possible, ...]:
    """Return what makes sense as it stands, which is what messages offer, too."""
    return tuple(possible(case.standing))


def why_none(case: Case, allowed: Iterable[tuple[str, str]], person: str) -> str:
    """Return why somebody has no options."""
    if not case.roles:
        return "none, because the policy has no role"
    if not list(allowed):
        verbs = listed(dict.fromkeys(found.action.verb for found in sensible(case)), "or")
        return (
            f"none, because {person} holds no role of this ladder ({', '.join(case.roles)}): that takes {verbs} on "
            f"stakeholders.riskladder.dev in namespace {case.namespace}"
        )
    return f"none, because {person} has decided, or is not asked, about all that is left to decide"


def for_others(case: Case, mine: Iterable[Choice]) -> tuple[tuple[str, str], ...]:
    """Return what makes sense and somebody cannot do: what, and who may."""
    standing, offered, found = case.standing, {choice.action for choice in mine}, []
    for one in sensible(case):
        taken = [d.role for d in standing.counted(one.action)] if one.action is DecisionAction.ACKNOWLEDGE else []
        roles = [r for r in case.roles if may_sit(standing, one.action, r) and is_for(standing, r, one)]
        roles = [role for role in roles if role not in taken]
        if one.action in offered or one.action is DecisionAction.COMMENT:
            continue
        if roles:
            found.append((one.effect, _still_needed(case, one) or who_may(standing, one, roles)))
    return tuple(found)


def why_no_say(case: Case, me: DecidedBy) -> str:
    """Return why somebody has no say in what is decided together; empty where that is so for no reason of their own."""
    owner = owner_named(case.owners, me.username, me.groups)
    asked = [found.action for found in sensible(case) if found.action in JOINT]
    if not owner or not asked:
        return ""
    known_as = f" (as {owner})" if owner != me.username else ""
    decided = "others decide whether its risk is accepted, and whether it is resumed or closed"
    return f"You own {case.model}{known_as}: {decided}"


def _still_needed(case: Case, one: Possible) -> str:
    """Return who has still to agree where some have; empty where nobody has."""
    if one.action not in JOINT:
        return ""
    resolution = next((Resolution(value) for name, value in one.fields if name == "resolution"), None)
    found = agreement(case.standing, one.action, resolution)
    if not found.given:
        return ""
    return described(QuorumMember(role=role, count=number) for role, number in found.tally.missing)


def choices(case: Case, allowed: Iterable[tuple[str, str]], me: DecidedBy) -> tuple[Choice, ...]:
    """Return what this person may do, in the roles in which they may."""
    return tuple(_choices(case, frozenset(allowed), me))


def _choices(case: Case, allowed: frozenset[tuple[str, str]], me: DecidedBy) -> Iterator[Choice]:
    standing, person = case.standing, me.username
    objecting = {objection.role: objection.by for objection in standing.objections()}
    blocked = f" (refused while the objection of {listed(objecting)} stands)" if objecting else ""
    blocking = {DecisionAction.ACCEPT_RISK, DecisionAction.RESUME}
    blocking |= {DecisionAction.CLOSE} if standing.is_contained else set()
    is_owner = bool(owner_named(standing.owners, person, me.groups))
    for found in sensible(case):
        action = found.action
        what = found.effect + (blocked if action in blocking else "")
        if not me.credential_id and needs_credential(standing, action):
            what += " (refused while you impersonate: the ladder asks for a credential)"
        meant = [
            d for d in standing.counted(action) if not d.resolution or ("resolution", str(d.resolution)) in found.fields
        ]
        has_decided = any(d.by == person for d in meant)
        if action in JOINT and (is_owner or has_decided):
            continue
        for role in case.roles:
            if action is DecisionAction.ACKNOWLEDGE and any(d.role == role for d in standing.counted(action)):
                continue
            if (action.verb, role) not in allowed or not may_sit(standing, action, role):
                continue
            if not is_for(standing, role, found):
                continue
            if action is DecisionAction.OBJECT and role in objecting:
                if is_owner and objecting[role] != person:
                    continue
                yield _choice(case, action, role, "withdraw the objection", (("withdraw", "true"),))
            else:
                yield _choice(case, action, role, what, found.fields)


def _choice(case: Case, action: DecisionAction, role: str, what: str, fields: tuple[tuple[str, str], ...]) -> Choice:
    return Choice(action, role, command(case, action, role, arguments_of(fields)), what, fields)


def command(case: Case, action: DecisionAction, role: str, arguments: Iterable[str] = ()) -> str:
    """Return the exact command, with the reason left open."""
    return command_of(COMMANDS[action], case.namespace, case.name, role=role, arguments=arguments)
