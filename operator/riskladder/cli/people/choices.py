"""What somebody may do about an escalation as it stands, with the commands for it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from riskladder.api.decision import DecisionAction
from riskladder.cli.people.agreement import JOINT, may_object, may_review, may_sit
from riskladder.cli.people.case import Case, Contained
from riskladder.cli.people.words import PROGRAM, listed


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that somebody may do."""

    action: DecisionAction
    role: str
    command: str
    what: str


def sensible(case: Case) -> dict[DecisionAction, tuple[str, str]]:
    """The actions that make sense as it stands: further arguments, and what each does."""
    if not case.is_open:
        comment = {DecisionAction.COMMENT: ("", "add to the record")}
        if case.status.review is not None:
            return comment
        arguments = " --policy-updated --satisfaction 4 --lessons '…'"
        return {DecisionAction.REVIEW: (arguments, "record what was learnt")} | comment
    found = {DecisionAction.ACKNOWLEDGE: ("", "seen, I take it")}
    clock = next((c for c in case.status.clocks if c.met_at is None), None)
    if case.contained is Contained.NO:
        found[DecisionAction.CONTAIN] = ("", "stop the model now")
    if case.intent is not None:
        found[DecisionAction.RESUME] = ("", "agree that the model is brought back")
    if case.pinned is not None and case.pinned.accept_risk is not None:
        found[DecisionAction.ACCEPT_RISK] = (f" --until {case.pinned.accept_risk.at_most}", "agree to accept the risk")
    if case.contained is Contained.NO:
        found[DecisionAction.CLOSE] = (" --resolution Remediated", "agree that it is over")
    else:
        found[DecisionAction.CLOSE] = (" --resolution Retired", "agree that the model does not come back")
    if higher := case.higher_tiers():
        found[DecisionAction.ESCALATE] = ("", f"raise it to tier {higher[0]}")
    found[DecisionAction.OBJECT] = ("", "block accepting and resuming")
    found[DecisionAction.COMMENT] = (
        (f" --clock {clock.name}", f"say that duty {clock.name} is met") if clock else ("", "add to the record")
    )
    return found


def choices(case: Case, allowed: Iterable[tuple[str, str]], person: str) -> tuple[Choice, ...]:
    """What this person may do, in the roles in which they may."""
    return tuple(_choices(case, frozenset(allowed), person))


def _choices(case: Case, allowed: frozenset[tuple[str, str]], person: str) -> Iterator[Choice]:
    objecting = {decision.role for decision in case.objections()}
    blocked = f" (refused while the objection of {listed(sorted(objecting))} stands)" if objecting else ""
    for action, (arguments, does) in sensible(case).items():
        what = does + (blocked if action in (DecisionAction.ACCEPT_RISK, DecisionAction.RESUME) else "")
        if action in JOINT and (person in case.owners or any(d.by == person for d in case.counted(action))):
            continue
        for role in case.roles:
            if action is DecisionAction.ACKNOWLEDGE and any(d.role == role for d in case.counted(action)):
                continue
            if (action.verb, role) not in allowed or (action in JOINT and not may_sit(case, action, role)):
                continue
            if action is DecisionAction.OBJECT and not may_object(case, role):
                continue
            if action is DecisionAction.REVIEW and not may_review(case, role):
                continue
            if action is DecisionAction.OBJECT and role in objecting:
                yield Choice(action, role, command(case, action, role, " --withdraw"), "withdraw the objection")
            else:
                yield Choice(action, role, command(case, action, role, arguments), what)


def command(case: Case, action: DecisionAction, role: str, arguments: str = "") -> str:
    """The exact command, with the reason left open."""
    place = f"{shlex.quote(case.name)} -n {shlex.quote(case.namespace)}"
    return f"{PROGRAM} {COMMANDS[action]} {place} --role {role}{arguments} -m '…'"


COMMANDS = {
    DecisionAction.ACKNOWLEDGE: "ack",
    DecisionAction.COMMENT: "comment",
    DecisionAction.CONTAIN: "contain",
    DecisionAction.ESCALATE: "escalate",
    DecisionAction.OBJECT: "object",
    DecisionAction.ACCEPT_RISK: "accept-risk",
    DecisionAction.RESUME: "resume",
    DecisionAction.CLOSE: "close",
    DecisionAction.REVIEW: "review",
}
"""The command of each action."""
