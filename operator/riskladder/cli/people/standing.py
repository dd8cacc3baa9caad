"""How far an agreement has got, and what somebody may do about an escalation as it stands. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.tiers import Quorum, QuorumMember
from riskladder.cli.people.text import PROGRAM, listed
from riskladder.cli.people.view import Case, Contained
from riskladder.policy import quorum

JOINT = (DecisionAction.ACCEPT_RISK, DecisionAction.RESUME, DecisionAction.CLOSE)
"""What nobody decides alone where the policy asks for several."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of those needed have agreed."""

    action: DecisionAction
    resolution: Resolution | None
    seats: Quorum
    tally: quorum.Tally

    @property
    def needed(self) -> int:
        """How many must agree."""
        return sum(member.count for member in self.seats)

    @property
    def given(self) -> int:
        """How many have."""
        return len(self.tally.filled)

    def missing(self, case: Case) -> str:
        """Who has still to agree: ``legal (or deputy-counsel) and 2 × executive``."""
        return listed(
            case.or_alternates(role) if count == 1 else f"{count} × {case.or_alternates(role)}"
            for role, count in self.tally.missing
        )


def seats_of(case: Case, action: DecisionAction) -> Quorum:
    """Who must agree, by the policy of the rung."""
    tier = case.pinned
    if action is DecisionAction.RESUME:
        return quorum.resume_quorum(tier)
    if action is DecisionAction.CLOSE:
        return quorum.close_quorum(case.policy, tier)
    return tier.decide.quorum if tier is not None and tier.decide is not None else ()


def agreement(
    case: Case,
    action: DecisionAction,
    resolution: Resolution | None = None,
    *,
    further: Iterable[tuple[str, str]] = (),
) -> Agreement:
    """How far it has got on this rung, with ``further`` votes (role and person) added."""
    seats = seats_of(case, action)
    votes = [(d.role, d.by) for d in quorum.votes_for(case.status.decisions, action, case.number, resolution)]
    return Agreement(action, resolution, seats, quorum.tally(case.policy, seats, [*votes, *further]))


def agreements(case: Case) -> tuple[Agreement, ...]:
    """What is worth showing: each joint decision that is possible here, and Close for each resolution voted for."""
    found = []
    tier = case.pinned
    if tier is not None and tier.accept_risk is not None:
        found.append(agreement(case, DecisionAction.ACCEPT_RISK))
    if case.intent is not None or (case.spec.drill and case.is_open):
        found.append(agreement(case, DecisionAction.RESUME))
    voted = dict.fromkeys(d.resolution for d in case.counted(DecisionAction.CLOSE))
    found += [agreement(case, DecisionAction.CLOSE, resolution) for resolution in voted or (None,)]
    return tuple(found)


def may_sit(case: Case, action: DecisionAction, role: str) -> bool:
    """Whether a role is asked, or stands in for one that is."""
    return quorum.may_sit(case.policy, seats_of(case, action), role)


def may_object(case: Case, role: str) -> bool:
    """Whether a role is asked to accept the risk or to resume, and so may object to both."""
    return any(may_sit(case, action, role) for action in (DecisionAction.ACCEPT_RISK, DecisionAction.RESUME))


def may_review(case: Case, role: str) -> bool:
    """Whether a role answers for the policy, or stands in for who does; without a charter, everybody may."""
    owner = case.policy.charter.owner if case.policy.charter else None
    return owner is None or quorum.may_sit(case.policy, (QuorumMember(role=owner),), role)


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
