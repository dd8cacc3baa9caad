"""How far the agreement has got that accepting a risk, resuming or closing needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.tiers import Quorum, QuorumMember
from riskladder.cli.people.case import Case
from riskladder.cli.people.words import listed
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
