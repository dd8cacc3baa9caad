"""Quorum: have enough different people agreed, each in a role that was asked or one that stands in for it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.escalation import CountedDecision, PinnedPolicy
from riskladder.api.text import listed
from riskladder.api.tiers import Quorum, QuorumMember, Tier

VOTES = (DecisionAction.ACCEPT_RISK, DecisionAction.CLOSE, DecisionAction.RESUME)
"""Decisions that need a quorum."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a quorum has got."""

    filled: tuple[tuple[str, str], ...]
    """Seats taken: role asked and person."""
    missing: tuple[tuple[str, int], ...]
    """Roles of which people are still needed, and how many."""

    @property
    def met(self) -> bool:
        """Whether every seat is taken."""
        return not self.missing

    @property
    def people(self) -> tuple[str, ...]:
        """Those who fill the seats, in order of name."""
        return tuple(sorted({person for _, person in self.filled}))


def described(quorum: Iterable[QuorumMember]) -> str:
    """Return who must agree: ``one person from legal``, ``one person each from legal and executive``."""
    members = list(quorum)
    if len(members) > 1 and all(member.count == 1 for member in members):
        return f"one person each from {listed(member.role for member in members)}"
    return listed(f"one person from {m.role}" if m.count == 1 else f"{m.count} people from {m.role}" for m in members)


def alternates(policy: PinnedPolicy, role: str) -> tuple[str, ...]:
    """Return the roles that stand in for a role."""
    return next((s.alternates for s in policy.stakeholders if s.role == role), ())


def may_sit(policy: PinnedPolicy, quorum: Iterable[QuorumMember], role: str) -> bool:
    """Return whether somebody in this role can take a seat."""
    return any(role == member.role or role in alternates(policy, member.role) for member in quorum)


def tally(policy: PinnedPolicy, quorum: Quorum, votes: Iterable[tuple[str, str]]) -> Tally:
    """Seat as many people as possible (a maximum bipartite matching), each once.

    Args:
        policy: Says who stands in for whom.
        quorum: The seats.
        votes: Role and person of each vote.
    """
    roles: dict[str, set[str]] = {}
    for role, person in votes:
        roles.setdefault(person, set()).add(role)
    seats = [(member.role, number) for member in quorum for number in range(member.count)]
    taken: dict[tuple[str, int], str] = {}

    def seat(person: str, tried: set[tuple[str, int]]) -> bool:
        for member in seats:
            fits = member[0] in roles[person] or roles[person] & set(alternates(policy, member[0]))
            if fits and member not in tried:
                tried.add(member)
                if member not in taken or seat(taken[member], tried):
                    taken[member] = person
                    return True
        return False

    for person in sorted(roles):
        seat(person, set())
    missing = {member.role: member.count for member in quorum}
    for role, _ in taken:
        missing[role] -= 1
    return Tally(
        filled=tuple(sorted((role, person) for (role, _), person in taken.items())),
        missing=tuple((role, count) for role, count in missing.items() if count),
    )


def votes_for(
    decisions: Iterable[CountedDecision], action: DecisionAction, rung: int, resolution: Resolution | None = None
) -> tuple[CountedDecision, ...]:
    """Return the counted votes for an action on a rung; for Close, those that agree on the resolution."""
    return tuple(
        d for d in decisions if d.counted and d.action is action and d.rung == rung and d.resolution == resolution
    )


def resume_quorum(tier: Tier | None) -> Quorum:
    """Return who must agree to resume: ``resume.quorum``, else that of ``decide``; nobody where neither is given."""
    if tier is None:
        return ()
    if tier.resume is not None:
        return tier.resume.quorum
    return tier.decide.quorum if tier.decide is not None else ()


def answerable(policy: PinnedPolicy, tier: Tier | None) -> str:
    """Return the role that answers for a ladder: the charter's owner, else the first that may close; empty for none."""
    if policy.charter is not None:
        return policy.charter.owner
    return next((member.role for member in close_quorum(policy, tier)), "")


def close_quorum(policy: PinnedPolicy, tier: Tier | None) -> Quorum:
    """Return who must agree to close: ``decide.quorum``, else who may resume, else the owner or first notified role.

    So that every escalation can be ended by somebody.
    """
    if tier is not None and tier.decide is not None:
        return tier.decide.quorum
    if tier is not None and tier.resume is not None:
        return tier.resume.quorum
    if policy.charter is not None:
        return (QuorumMember(role=policy.charter.owner),)
    if tier is not None and tier.notify:
        return (QuorumMember(role=tier.notify[0].role),)
    return tuple(QuorumMember(role=s.role) for s in policy.stakeholders[:1])
