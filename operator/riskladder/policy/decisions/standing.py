"""Where an escalation stands for those who decide: who may do what now, and what it will do.

The operator, the command line and messages all ask here, so that none of them promises what another one refuses.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from riskladder.api.conditions import find, is_true
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.escalation import (
    ClockStatus,
    CountedDecision,
    EscalationSpec,
    EscalationStatus,
    PinnedPolicy,
    intents_of,
)
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import listed
from riskladder.api.tiers import ContainmentAction, Quorum, QuorumMember, Tier
from riskladder.policy import quorum
from riskladder.policy.decisions.effects import adds, containment_of, contains, restores
from riskladder.policy.signals.evaluate import rank, tier_of

JOINT = quorum.VOTES
"""What nobody decides alone where the policy asks for several, and where an owner of the model has no say."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An escalation as far as it matters to those who decide."""

    spec: EscalationSpec
    tier_name: str
    rung: int
    """The number of its rung: votes count on it only."""
    decisions: Sequence[CountedDecision]
    clocks: Sequence[ClockStatus]
    intents: Sequence[Intent]
    """What no Resume has ended, in order; of a drill, too."""
    is_open: bool
    is_contained: bool
    """Whether a containment is in force, or about to be; never by a drill."""
    is_accepted: bool = False
    is_restoring: bool = False
    """Whether a Resume is still being carried out."""
    is_reviewed: bool = False
    is_gone: bool = False
    """Whether the target was deleted."""
    entered_at: datetime | None = None
    owners: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: EscalationSpec, status: EscalationStatus, tier: str) -> Standing:
        """Return where an escalation stands as it is stored.

        Args:
            spec: Its spec.
            status: Its status.
            tier: The tier it stands at.
        """
        resume, ended = status.resume, status.resume.intent if status.resume else 0
        current = [intent for intent in intents_of(spec, status) if intent.id > ended]
        replaced = {intent.replaces for intent in current}
        intents = tuple(intent for intent in current if intent.id not in replaced)
        return cls(
            spec=spec,
            tier_name=tier,
            rung=status.rung.number if status.rung else 1,
            decisions=status.decisions,
            clocks=status.clocks,
            intents=intents,
            is_open=not is_true(status.conditions, ConditionType.CLOSED),
            is_contained=bool(intents) and not spec.drill,
            is_accepted=status.risk_acceptance is not None,
            is_restoring=resume is not None and resume.applied_at is None and not spec.drill,
            is_reviewed=status.review is not None,
            is_gone=(found := find(status.conditions, ConditionType.CONTAINED)) is not None
            and found.reason == Reason.TARGET_DELETED,
            owners=frozenset((*(spec.model.owners if spec.model else ()), *status.owners)),
        )

    @property
    def policy(self) -> PinnedPolicy:
        """The policy that it was opened under."""
        return self.spec.policy

    @property
    def tier(self) -> Tier | None:
        """Its tier as the policy declares it."""
        return tier_of(self.policy, self.tier_name)

    @property
    def target(self) -> str:
        """The workload, as ``Kind/name``."""
        return f"{self.spec.target.kind}/{self.spec.target.name}"

    def counted(self, action: DecisionAction) -> list[CountedDecision]:
        """Return the decisions that counted on this rung, in their order."""
        return [d for d in self.decisions if d.counted and d.action is action and d.rung == self.rung]

    def votes(self, action: DecisionAction, resolution: Resolution | None = None) -> tuple[CountedDecision, ...]:
        """Return the votes that counted for an action on this rung."""
        return quorum.votes_for(self.decisions, action, self.rung, resolution)

    def objections(self) -> tuple[CountedDecision, ...]:
        """Return the objections that stand on this rung, the last word of each role, by role."""
        last = {decision.role: decision for decision in self.counted(DecisionAction.OBJECT)}
        return tuple(decision for _, decision in sorted(last.items()) if not decision.withdraw)

    def running(self) -> list[str]:
        """Return the names of the duties that have not been met, in order."""
        return sorted(clock.name for clock in self.clocks if clock.met_at is None)

    def higher_tiers(self) -> tuple[str, ...]:
        """Return the tiers above the present one, lowest first."""
        now = rank(self.policy, self.tier_name)
        return tuple(tier.name for tier in self.policy.tiers if rank(self.policy, tier.name) > now)


# --- Who --------------------------------------------------------------------------------------------------------------


def seats(standing: Standing, action: DecisionAction) -> Quorum:
    """Return who must agree, by the policy of the rung; nobody where the action is none of several people."""
    tier = standing.tier
    if action is DecisionAction.RESUME:
        return quorum.resume_quorum(tier)
    if action is DecisionAction.CLOSE:  # to close while it is contained lets it go, as to resume it does
        let_go = quorum.resume_quorum(tier) if standing.is_contained else ()
        return let_go or quorum.close_quorum(standing.policy, tier)
    if action is DecisionAction.ACCEPT_RISK:
        return tier.decide.quorum if tier is not None and tier.decide is not None else ()
    if action is DecisionAction.OBJECT:  # whoever is asked for what an objection blocks
        return (*seats(standing, DecisionAction.ACCEPT_RISK), *seats(standing, DecisionAction.RESUME))
    if action is DecisionAction.REVIEW and standing.policy.charter is not None:
        return (QuorumMember(role=standing.policy.charter.owner),)
    return ()


SEATED = (*JOINT, DecisionAction.OBJECT)
"""What only those decide who are asked, or stand in for one that is."""


def may_sit(standing: Standing, action: DecisionAction, role: str) -> bool:
    """Return whether a role is asked for an action, or stands in for one that is."""
    asked = seats(standing, action)
    if action not in SEATED and not asked:
        return True
    return quorum.may_sit(standing.policy, asked, role)


def needs_credential(standing: Standing, action: DecisionAction) -> bool:
    """Return whether an action counts only with a credential of whoever decides: not if somebody impersonates them."""
    rules = standing.policy.decisions
    return action in JOINT and rules is not None and not rules.allow_impersonated


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


def agreement(
    standing: Standing,
    action: DecisionAction,
    resolution: Resolution | None = None,
    *,
    further: Iterable[tuple[str, str]] = (),
) -> Agreement:
    """Return how far people have agreed on this rung.

    Args:
        standing: Where the escalation stands.
        action: What they agree to.
        resolution: For Close, how it ended.
        further: Role and person of votes to add.
    """
    asked = seats(standing, action)
    votes = [(vote.role, vote.by) for vote in standing.votes(action, resolution)]
    return Agreement(action, resolution, asked, quorum.tally(standing.policy, asked, [*votes, *further]))


def agreements(standing: Standing) -> tuple[Agreement, ...]:
    """Return what is worth showing: each joint decision that is possible, and Close for each resolution voted for."""
    found = []
    if standing.tier is not None and standing.tier.accept_risk is not None:
        found.append(agreement(standing, DecisionAction.ACCEPT_RISK))
    if (standing.intents and not standing.is_gone) or (standing.spec.drill and standing.is_open):
        found.append(agreement(standing, DecisionAction.RESUME))
    voted = dict.fromkeys(d.resolution for d in standing.counted(DecisionAction.CLOSE))
    found += [agreement(standing, DecisionAction.CLOSE, resolution) for resolution in voted or (None,)]
    return tuple(found)


def why_open(standing: Standing, resolution: Resolution | None) -> tuple[Reason, str] | None:
    """Return why an escalation cannot be closed with a resolution as it stands, one word and for people; or nothing."""
    if standing.is_gone:
        pass  # nothing is left that is contained, or to be restored
    elif standing.is_contained and resolution is not Resolution.RETIRED:
        return Reason.STILL_CONTAINED, "the model is contained: resume it first, or close with resolution Retired"
    elif standing.is_restoring and resolution is not Resolution.RETIRED:
        return Reason.STILL_CONTAINED, "the model is still being restored, step by step: close it after that"
    if resolution is Resolution.RISK_ACCEPTED and not standing.is_accepted:
        return Reason.NO_ACCEPTANCE, "no acceptance of the risk is running: AcceptRisk comes first"
    running = standing.running()
    if running and resolution is not Resolution.FALSE_POSITIVE:
        return Reason.CLOCK_RUNNING, f"{', '.join(running)} has not been met: comment with the clock's name first"
    return None


# --- What -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Possible:
    """An act that makes sense as the escalation stands, whoever may take it."""

    action: DecisionAction
    effect: str
    """What it does, in words that follow a colon."""
    fields: tuple[tuple[str, str], ...] = ()
    """What it needs besides the role and the rationale, as a decision's spec names it."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The same for the command."""
        return arguments_of(self.fields)


_FLAGS = {"containment": "--action", "policyUpdated": "--policy-updated", "withdraw": "--withdraw"}
_SWITCHES = ("policyUpdated", "withdraw")


def arguments_of(fields: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the options of a command that set fields of a decision."""
    found: list[str] = []
    for name, value in fields:
        found.append(_FLAGS.get(name, f"--{name}"))
        found += [] if name in _SWITCHES else [value]
    return tuple(found)


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

PROGRAM = "kubectl riskladder"
"""How texts call the command line."""


def command_of(word: str, namespace: str, name: str, *, role: str | None = None, arguments: Iterable[str] = ()) -> str:
    """Return the exact command about an escalation, to be copied; where it decides, with the reason left open."""
    parts = [word, name, "-n", namespace, *(("--role", role) if role is not None else ()), *arguments]
    return f"{PROGRAM} {shlex.join(parts)}" + (" --rationale '…'" if role is not None else "")


def who_may(standing: Standing, found: Possible, roles: Sequence[str]) -> str:
    """Return who may take an act: those who must agree, or whoever holds its verb on one of the roles."""
    if found.action in JOINT:
        return quorum.described(seats(standing, found.action))
    return f"anyone who may {found.action.verb} as {listed(roles, 'or')}"


_CLOSE = {
    Resolution.REMEDIATED: "close it: the cause is removed",
    Resolution.FALSE_POSITIVE: "close it: it was a false alarm",
    Resolution.RETIRED: "close it: the model is given up",
}


def _is_safer(standing: Standing, action: ContainmentAction) -> bool:
    """Return whether a safe state is safer than what is in force, or is about to be as the tier declares."""
    if standing.intents:
        return adds(containment_of(standing.tier, action), standing.intents)
    declared = standing.tier.containment if standing.tier is not None else None
    return declared is None or declared.action.strength < action.strength


def possible(standing: Standing) -> Iterator[Possible]:
    """Yield the acts that make sense as it stands, the most pressing first."""
    if not standing.is_open:
        if not standing.is_reviewed:
            fields = (("policyUpdated", "true"), ("satisfaction", "4"), ("lessons", "…"))
            yield Possible(DecisionAction.REVIEW, "record what was learnt", fields)
        yield Possible(DecisionAction.COMMENT, "add to the record")
        return
    tier = standing.tier
    yield Possible(DecisionAction.ACKNOWLEDGE, "acknowledge: you take it")
    if standing.is_gone:
        pass  # nothing is left that the operator could stop
    elif not standing.is_contained:
        drill = standing.spec.drill
        effect = contains(standing.target, containment_of(tier, None), rehearsed=drill)
        ask = "contain the model now, as a dry run" if drill else "contain the model now"
        yield Possible(DecisionAction.CONTAIN, f"{ask}: {effect}")
    elif _is_safer(standing, ContainmentAction.SCALE_TO_ZERO):
        effect = contains(standing.target, containment_of(tier, ContainmentAction.SCALE_TO_ZERO))
        stop = (("containment", ContainmentAction.SCALE_TO_ZERO.value),)
        yield Possible(DecisionAction.CONTAIN, f"stop the model now: {effect}", stop)
    may_accept = seats(standing, DecisionAction.ACCEPT_RISK) and not _is_decided(standing)
    if tier is not None and tier.accept_risk is not None and may_accept:
        # A duration counts from when the command is run; a date would be past the limit by the end of its day.
        longest = str(tier.accept_risk.at_most)
        yield Possible(DecisionAction.ACCEPT_RISK, f"accept the risk, for at most {longest}", (("until", longest),))
    is_there = not standing.is_gone  # else nothing is left that could be restored
    if is_there and (standing.intents or standing.is_contained) and seats(standing, DecisionAction.RESUME):
        effect = restores(standing.spec, standing.intents, declared=tier.containment if tier else None)
        yield Possible(DecisionAction.RESUME, f"resume the model: {effect}")
    if tier is not None and (higher := standing.higher_tiers()):
        yield Possible(DecisionAction.ESCALATE, f"enter tier {higher[0]}", (("tier", higher[0]),))
    yield Possible(DecisionAction.OBJECT, "object: no risk is accepted, nothing resumed")
    if seats(standing, DecisionAction.CLOSE):
        for resolution in (Resolution.RETIRED,) if standing.is_contained and is_there else _CLOSE:
            if why_open(standing, resolution) is None:
                yield Possible(DecisionAction.CLOSE, _CLOSE[resolution], (("resolution", resolution.value),))
    running = standing.running()
    if running:
        yield Possible(DecisionAction.COMMENT, f"say that duty {running[0]} is met", (("clock", running[0]),))
    else:
        yield Possible(DecisionAction.COMMENT, "add to the record")


def _is_decided(standing: Standing) -> bool:
    """Return whether enough have accepted the risk on this rung: what is left is until when."""
    return any(vote.reason == Reason.QUORUM_MET for vote in standing.counted(DecisionAction.ACCEPT_RISK))


def is_for(standing: Standing, role: str, found: Possible) -> bool:
    """Return whether an act is worth offering to a role: an objection to those who are asked, a duty to whose it is.

    What several have to agree to is offered to all, with whom to ask.
    """
    if found.action is DecisionAction.COMMENT and found.fields:
        return any(("clock", clock.name) in found.fields and clock.role == role for clock in standing.clocks)
    return found.action is not DecisionAction.OBJECT or may_sit(standing, found.action, role)
