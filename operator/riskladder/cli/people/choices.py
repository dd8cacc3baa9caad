"""What the reader of a page may do about an escalation as it stands, with the exact commands. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from riskladder.api.decision import DecisionAction
from riskladder.cli.people.text import PROGRAM, listed
from riskladder.cli.people.view import Case
from riskladder.policy.decisions.owners import owner_named
from riskladder.policy.decisions.standing import COMMANDS, JOINT, Possible, is_for, may_sit, possible


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that somebody may do."""

    action: DecisionAction
    role: str
    command: str
    what: str


def sensible(case: Case) -> dict[DecisionAction, Possible]:
    """Return by action what makes sense as it stands, the most usual form of each."""
    found: dict[DecisionAction, Possible] = {}
    for one in possible(case.standing):
        found.setdefault(one.action, one)
    return found


def choices(
    case: Case, allowed: Iterable[tuple[str, str]], person: str, groups: Sequence[str] = ()
) -> tuple[Choice, ...]:
    """Return what this person may do, in the roles in which they may."""
    return tuple(_choices(case, frozenset(allowed), person, groups))


def _choices(case: Case, allowed: frozenset[tuple[str, str]], person: str, groups: Sequence[str]) -> Iterator[Choice]:
    standing = case.standing
    objecting = {objection.role: objection.by for objection in standing.objections()}
    blocked = f" (refused while the objection of {listed(objecting)} stands)" if objecting else ""
    blocking = {DecisionAction.ACCEPT_RISK, DecisionAction.RESUME}
    blocking |= {DecisionAction.CLOSE} if standing.is_contained else set()
    is_owner = bool(owner_named(standing.owners, person, groups))
    for action, found in sensible(case).items():
        what = found.effect + (blocked if action in blocking else "")
        has_decided = any(d.by == person for d in standing.counted(action))
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
                yield Choice(action, role, command(case, action, role, ("--withdraw",)), "withdraw the objection")
            else:
                yield Choice(action, role, command(case, action, role, found.arguments), what)


def command(case: Case, action: DecisionAction, role: str, arguments: Iterable[str] = ()) -> str:
    """Return the exact command, with the reason left open."""
    reference = f"{shlex.quote(case.name)} -n {shlex.quote(case.namespace)}"
    further = "".join(f" {shlex.quote(argument)}" for argument in arguments)
    return f"{PROGRAM} {COMMANDS[action]} {reference} --role {role}{further} -m '…'"
