"""Why a decision does not count: named rules, held against it in turn; the first that objects gives the reason.

Every rule is a pure function of the draft and the decision.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from riskladder.api.base import format_time
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Quorum, QuorumMember
from riskladder.policy.containment.state import may_touch
from riskladder.policy.decisions.keep import repeats, served
from riskladder.policy.draft import Draft
from riskladder.policy.quorum import close_quorum, may_sit, resume_quorum, votes_for
from riskladder.policy.signals.evaluate import rank
from riskladder.policy.snapshot import Decision

OWNERS_NEVER = (DecisionAction.ACCEPT_RISK, DecisionAction.RESUME, DecisionAction.CLOSE)
"""What an owner of the model never has a say in."""


class Refusal(NamedTuple):
    """Why a decision does not count."""

    reason: Reason
    message: str


Rule = Callable[[Draft, Decision], Refusal | None]


# --- Rules ------------------------------------------------------------------------------------------------------------


def _is_new(draft: Draft, decision: Decision) -> Refusal | None:
    known = next((d for d in draft.decisions if d.name == decision.name), None)
    if known is not None and known.uid != decision.uid:
        return Refusal(Reason.ALREADY_COUNTED, f"a decision named {decision.name} was judged before: use another name")
    if known is None and decision.name in served(draft.escalation):
        return Refusal(
            Reason.ALREADY_COUNTED, f"a decision named {decision.name} has contained before: use another name"
        )
    return None


def _is_open(draft: Draft, decision: Decision) -> Refusal | None:
    if not draft.is_closed or decision.spec.action in (DecisionAction.REVIEW, DecisionAction.COMMENT):
        return None
    return Refusal(Reason.ESCALATION_CLOSED, f"the escalation is closed: {decision.spec.action} comes too late")


def is_proved(draft: Draft, decision: Decision) -> Refusal | None:
    """Identity: stamped at admission, by a policy that was in force when the decision was made."""
    proof = draft.snapshot.proof
    if proof is None or proof.missing:
        missing = proof.missing if proof else "nobody has looked yet"
        return Refusal(Reason.NOT_PROVED, f"nothing proves who decided: {missing}")
    if decision.spec.decided_by is None:
        return Refusal(
            Reason.NOT_PROVED, "spec.decidedBy is missing: it was made while no admission policy was in force"
        )
    if proof.since is not None and decision.created <= proof.since:
        message = (
            f"made at {format_time(decision.created)}; what proves who decided holds since {format_time(proof.since)}"
        )
        return Refusal(Reason.NOT_PROVED, f"{message}, some seconds after the policy was applied: create it again")
    return None


def has_known_role(draft: Draft, decision: Decision) -> Refusal | None:
    """The role is one of the ladder the escalation was opened under."""
    known = [s.role for s in draft.policy.stakeholders]
    if decision.spec.role in known:
        return None
    return Refusal(
        Reason.UNKNOWN_ROLE, f"spec.role: {decision.spec.role} is no role of the ladder ({', '.join(known)})"
    )


def is_authorized(draft: Draft, decision: Decision) -> Refusal | None:
    """Authority: the author holds the verb on the role, as the API server's authorizer says now."""
    if decision.authorized:
        return None
    spec = decision.spec
    message = f"{by(decision)} does not hold the verb {spec.action.verb} on stakeholders.riskladder.dev/{spec.role} now"
    return Refusal(Reason.NOT_AUTHORIZED, message)


def _is_no_owner(draft: Draft, decision: Decision) -> Refusal | None:
    owners = set(draft.escalation.spec.model.owners) if draft.escalation.spec.model else set()
    for signal in draft.group.signals if draft.group else ():
        owners.update(signal.spec.model.owners if signal.spec and signal.spec.model else ())
    if by(decision) not in owners:
        return None
    return Refusal(Reason.MODEL_OWNER, f"{by(decision)} owns the model: an owner has no say in {decision.spec.action}")


def _did_not_raise_it(draft: Draft, decision: Decision) -> Refusal | None:
    manual = draft.escalation.spec.signal.manual
    if manual is None or manual.raised_by != by(decision):
        return None
    return Refusal(Reason.RAISED_IT, f"{by(decision)} raised it: accepting the risk is for others")


def _is_of_this_rung(draft: Draft, decision: Decision) -> Refusal | None:
    """Whoever decided before the rung was entered decided on other facts."""
    entered = draft.rung.entered_at.replace(microsecond=0)
    if decision.created >= entered:
        return None
    message = f"made at {format_time(decision.created)}, before tier {draft.rung.tier} was entered at"
    return Refusal(Reason.RUNG_CHANGED, f"{message} {format_time(entered)}: decide again on what is known now")


def _has_seat(quorum: Callable[[Draft], Quorum]) -> Rule:
    def rule(draft: Draft, decision: Decision) -> Refusal | None:
        seats = quorum(draft)
        if may_sit(draft.policy, seats, decision.spec.role):
            return None
        asked = ", ".join(f"{m.count} x {m.role}" for m in seats) or "nobody"
        message = f"{decision.spec.role} is not asked for {decision.spec.action} in tier {draft.rung.tier}"
        return Refusal(Reason.NOT_IN_QUORUM, f"{message}; asked are: {asked}")

    return rule


def _has_not_voted(draft: Draft, decision: Decision) -> Refusal | None:
    """One person counts once for each quorum; to close otherwise than before is another question."""
    spec = decision.spec
    before = votes_for(draft.decisions, spec.action, draft.rung.number, spec.resolution)
    if any(vote.by == by(decision) for vote in before):
        return Refusal(
            Reason.ALREADY_COUNTED, f"{by(decision)} has been counted for {spec.action} on this rung already"
        )
    return None


def _has_not_acknowledged(draft: Draft, decision: Decision) -> Refusal | None:
    """One person acknowledges once in a role: to say it again says nothing."""
    spec = decision.spec
    if repeats(draft, spec.action, spec.role, by(decision)) is None:
        return None
    return Refusal(Reason.ALREADY_COUNTED, f"{by(decision)} has acknowledged as {spec.role} on this rung already")


def _is_not_met(draft: Draft, decision: Decision) -> Refusal | None:
    """A quorum is met once on a rung: whoever comes after that has nothing left to decide."""
    action, number = decision.spec.action, draft.rung.number
    if any((d.action, d.rung, d.reason) == (action, number, Reason.QUORUM_MET) for d in draft.decisions):
        return Refusal(Reason.ALREADY_COUNTED, f"the quorum for {action} has been met on this rung already")
    return None


def objections(draft: Draft) -> set[str]:
    """The roles whose objection stands on this rung."""
    standing: set[str] = set()
    for decision in draft.decisions:
        if decision.counted and decision.action is DecisionAction.OBJECT and decision.rung == draft.rung.number:
            (standing.discard if decision.withdraw else standing.add)(decision.role)
    return standing


def _nobody_objects(draft: Draft, decision: Decision) -> Refusal | None:
    standing = objections(draft)
    if not standing:
        return None
    message = f"{', '.join(sorted(standing))} objected: it has to be withdrawn, or overruled by a higher rung"
    return Refusal(Reason.OBJECTION_STANDS, message)


def _may_object(draft: Draft, decision: Decision) -> Refusal | None:
    if decision.spec.withdraw and decision.spec.role not in objections(draft):
        return Refusal(Reason.NOTHING_TO_WITHDRAW, f"no objection of {decision.spec.role} stands on this rung")
    return None


def _is_higher(draft: Draft, decision: Decision) -> Refusal | None:
    tier = decision.spec.tier or ""
    known = [t.name for t in draft.policy.tiers]
    if tier not in known:
        return Refusal(Reason.UNKNOWN_TIER, f"spec.tier: {tier} is no tier of the ladder ({', '.join(known)})")
    if rank(draft.policy, tier) <= rank(draft.policy, draft.rung.tier):
        return Refusal(
            Reason.TIER_NOT_HIGHER, f"spec.tier: {tier} is not higher than the present tier {draft.rung.tier}"
        )
    return None


def _is_acceptable(draft: Draft, decision: Decision) -> Refusal | None:
    allowed = draft.tier.accept_risk if draft.tier else None
    until = decision.spec.until
    if allowed is None or until is None:
        return Refusal(Reason.NOT_ACCEPTABLE, f"tier {draft.rung.tier} has no acceptRisk: its risk may not be accepted")
    longest = (draft.now + allowed.at_most.delta).replace(microsecond=0)
    if not draft.now < until <= longest + timedelta(minutes=1):
        message = f"spec.until: {format_time(until)} must lie ahead and not after {format_time(longest)}"
        return Refusal(
            Reason.NOT_ACCEPTABLE, f"{message} (acceptRisk.atMost of tier {draft.rung.tier}: {allowed.at_most})"
        )
    return None


def _is_contained(draft: Draft, decision: Decision) -> Refusal | None:
    if draft.is_contained or draft.escalation.spec.drill:
        return None
    return Refusal(Reason.NOTHING_TO_RESUME, "no containment is in force")


def _is_coming_back(draft: Draft) -> bool:
    """Whether a resume is still being carried out; it never is on a target that is gone, or not ours to touch."""
    ended, workload, escalation = draft.resume, draft.snapshot.target, draft.escalation
    if ended is None or ended.applied_at is not None or escalation.spec.drill or workload is None:
        return False
    return may_touch(workload, escalation)


def _can_be_closed(draft: Draft, decision: Decision) -> Refusal | None:
    resolution = decision.spec.resolution
    if draft.is_contained and resolution is not Resolution.RETIRED:
        message = "the model is contained: resume it first, or close with resolution Retired"
        return Refusal(Reason.STILL_CONTAINED, message)
    if _is_coming_back(draft) and resolution is not Resolution.RETIRED:
        return Refusal(
            Reason.STILL_CONTAINED, "the model is still being brought back, step by step: close it after that"
        )
    if resolution is Resolution.RISK_ACCEPTED and not draft.is_accepted:
        return Refusal(Reason.NO_ACCEPTANCE, "no acceptance of the risk is running: AcceptRisk comes first")
    running = [c.name for c in draft.clocks.values() if c.met_at is None]
    if running and resolution is not Resolution.FALSE_POSITIVE:
        message = f"{', '.join(sorted(running))} has not been met: comment with the clock's name first"
        return Refusal(Reason.CLOCK_RUNNING, message)
    return None


def _knows_clock(draft: Draft, decision: Decision) -> Refusal | None:
    clock = decision.spec.clock
    if clock is None:
        return None
    if clock in draft.clocks:
        role = draft.clocks[clock].role
        if may_sit(draft.policy, (QuorumMember(role=role),), decision.spec.role):
            return None
        return Refusal(Reason.NOT_IN_QUORUM, f"to meet {clock} is for {role}, and this is {decision.spec.role}")
    running = ", ".join(sorted(draft.clocks)) or "none"
    return Refusal(Reason.UNKNOWN_CLOCK, f"spec.clock: {clock} is no clock of the escalation ({running})")


def _is_over(draft: Draft, decision: Decision) -> Refusal | None:
    if draft.is_closed:
        return None
    return Refusal(Reason.ESCALATION_OPEN, "a review comes after the close: the escalation is still open")


def _answers_for_the_ladder(draft: Draft, decision: Decision) -> Refusal | None:
    owner = draft.policy.charter.owner if draft.policy.charter else None
    if owner is None or may_sit(draft.policy, (QuorumMember(role=owner),), decision.spec.role):
        return None
    return Refusal(Reason.NOT_IN_QUORUM, f"the charter's owner reviews, and that is {owner}")


def _decide_quorum(draft: Draft) -> Quorum:
    return draft.tier.decide.quorum if draft.tier and draft.tier.decide else ()


def _resume_quorum(draft: Draft) -> Quorum:
    return resume_quorum(draft.tier)


def _close_quorum(draft: Draft) -> Quorum:
    return close_quorum(draft.policy, draft.tier)


def _any_quorum(draft: Draft) -> Quorum:
    return (*_decide_quorum(draft), *_resume_quorum(draft))


QUORUMS = {
    DecisionAction.ACCEPT_RISK: _decide_quorum,
    DecisionAction.RESUME: _resume_quorum,
    DecisionAction.CLOSE: _close_quorum,
}

COMMON: tuple[Rule, ...] = (_is_new, _is_open, is_proved, has_known_role, is_authorized)
_VOTE: tuple[Rule, ...] = (_is_of_this_rung, _is_no_owner)
RULES: dict[DecisionAction, tuple[Rule, ...]] = {
    DecisionAction.ACKNOWLEDGE: (_has_not_acknowledged,),
    DecisionAction.COMMENT: (_knows_clock,),
    DecisionAction.CONTAIN: (),
    DecisionAction.ESCALATE: (_is_higher,),
    DecisionAction.OBJECT: (_has_seat(_any_quorum), _may_object),
    DecisionAction.ACCEPT_RISK: (
        *_VOTE,
        _did_not_raise_it,
        _is_acceptable,
        _has_seat(_decide_quorum),
        _nobody_objects,
        _has_not_voted,
        _is_not_met,
    ),
    DecisionAction.RESUME: (
        *_VOTE,
        _is_contained,
        _has_seat(_resume_quorum),
        _nobody_objects,
        _has_not_voted,
        _is_not_met,
    ),
    DecisionAction.CLOSE: (*_VOTE, _can_be_closed, _has_seat(_close_quorum), _has_not_voted),
    DecisionAction.REVIEW: (_is_over, _answers_for_the_ladder),
}


def refuse(draft: Draft, decision: Decision, rules: tuple[Rule, ...]) -> Refusal | None:
    """The first objection of the rules, or ``None``."""
    return next((refusal for rule in rules if (refusal := rule(draft, decision))), None)


def by(decision: Decision) -> str:
    """Who decided."""
    return decision.spec.decided_by.username if decision.spec.decided_by else "unknown"
