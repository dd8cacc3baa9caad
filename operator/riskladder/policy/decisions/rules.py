"""Why a decision does not count: named rules, held against it in turn; the first that objects gives the reason.

Every rule is a pure function of where the escalation stands and of what somebody decides. The operator applies them to
each decision, and the command line before it sends one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from riskladder.api.base import format_time
from riskladder.api.decision import DecisionAction, EscalationDecisionSpec
from riskladder.api.reasons import Reason
from riskladder.api.text import listed
from riskladder.api.tiers import QuorumMember
from riskladder.policy.decisions.owners import owner_named
from riskladder.policy.decisions.standing import Standing, may_sit, needs_credential, seats, why_open
from riskladder.policy.quorum import may_sit as may_take
from riskladder.policy.signals.evaluate import rank


class CastDecision(NamedTuple):
    """What somebody decides."""

    spec: EscalationDecisionSpec
    person: str
    at: datetime
    groups: tuple[str, ...] = ()
    credential: str = ""
    """The id of the credential, where the API server knows one: not of what is done by impersonation."""


class Refusal(NamedTuple):
    """Why a decision does not count."""

    reason: Reason
    message: str


Rule = Callable[[Standing, CastDecision, datetime], Refusal | None]

AFTER_THE_END = frozenset({DecisionAction.REVIEW, DecisionAction.COMMENT})
"""What can be done once an escalation is closed."""


def refuse(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Return the first objection to an act, as the escalation stands, or ``None``."""
    rules = (is_timely, *RULES[act.spec.action])
    return next((refusal for rule in rules if (refusal := rule(standing, act, now))), None)


# --- Rules ------------------------------------------------------------------------------------------------------------


def is_timely(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse all but a review and a comment once the escalation is closed."""
    if standing.is_open or act.spec.action in AFTER_THE_END:
        return None
    return Refusal(Reason.ESCALATION_CLOSED, f"the escalation is closed: {act.spec.action} comes too late")


def _has_credential(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse what was decided by impersonation, where the ladder asks for a credential."""
    action = act.spec.action
    if act.credential or not needs_credential(standing, action):
        return None
    message = f"spec.decidedBy.credentialID: found none for {act.person}, expected that of a token or a client"
    why = "since decisions.allowImpersonated of the ladder is false"
    remedy = f"decide on {action} with credentials of your own, without --as"
    return Refusal(Reason.IMPERSONATED, f"{message} certificate, {why}: {remedy}")


def _is_no_owner(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    owner = owner_named(standing.owners, act.person, act.groups)
    if not owner:
        return None
    known_as = f" (named {owner} by a signal)" if owner != act.person else ""
    return Refusal(
        Reason.MODEL_OWNER, f"{act.person} owns the model{known_as}: an owner has no say in {act.spec.action}"
    )


def _did_not_raise_it(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    manual = standing.spec.signal.manual
    if manual is None or manual.raised_by != act.person:
        return None
    return Refusal(Reason.RAISED_IT, f"{act.person} raised it: accepting the risk is for others")


def _is_of_this_rung(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse what was decided before the rung was entered: on other facts."""
    if standing.entered_at is None or act.at >= (entered := standing.entered_at.replace(microsecond=0)):
        return None
    message = f"made at {format_time(act.at)}, before tier {standing.tier_name} was entered at"
    return Refusal(Reason.RUNG_CHANGED, f"{message} {format_time(entered)}: decide again on what is known now")


def _has_seat(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    action, role = act.spec.action, act.spec.role
    if may_sit(standing, action, role):
        return None
    asked = listed(dict.fromkeys(m.role for m in seats(standing, action))) or "nobody"
    message = f"{role} is not asked for {action} in tier {standing.tier_name}"
    return Refusal(Reason.NOT_IN_QUORUM, f"{message}; asked are: {asked}")


def _has_not_voted(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse the second vote of a person; to close otherwise than before is another question."""
    action = act.spec.action
    if any(vote.by == act.person for vote in standing.votes(action, act.spec.resolution)):
        return Refusal(Reason.ALREADY_COUNTED, f"{act.person} has been counted for {action} on this rung already")
    return None


def _has_not_acknowledged(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse the second acknowledgement of a person in a role: to say it again says nothing."""
    role = act.spec.role
    if all((d.role, d.by) != (role, act.person) for d in standing.counted(act.spec.action)):
        return None
    return Refusal(Reason.ALREADY_COUNTED, f"{act.person} has acknowledged as {role} on this rung already")


def _is_not_met(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse what comes after the quorum was met: nothing is left to decide on that rung."""
    action = act.spec.action
    if any(d.reason == Reason.QUORUM_MET for d in standing.counted(action)):
        return Refusal(Reason.ALREADY_COUNTED, f"the quorum for {action} has been met on this rung already")
    return None


def _nobody_objects(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    objecting = [objection.role for objection in standing.objections()]
    if not objecting:
        return None
    it_has = "it has" if len(objecting) == 1 else "the objections have"
    message = f"{listed(objecting)} objected: {it_has} to be withdrawn, or overruled by a higher rung"
    return Refusal(Reason.OBJECTION_STANDS, message)


def _may_withdraw(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    role = act.spec.role
    if not act.spec.withdraw:
        return None
    stands = next((objection for objection in standing.objections() if objection.role == role), None)
    if stands is None:
        return Refusal(Reason.NOTHING_TO_WITHDRAW, f"no objection of {role} stands on this rung")
    return _is_no_owner(standing, act, now) if stands.by != act.person else None


def _is_higher(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    tier, policy = act.spec.tier or "", standing.policy
    known = [t.name for t in policy.tiers]
    if tier not in known:
        return Refusal(Reason.UNKNOWN_TIER, f"spec.tier: the ladder has no tier {tier}; it has {', '.join(known)}")
    if rank(policy, tier) <= rank(policy, standing.tier_name):
        message = f"spec.tier: {tier} is not higher than the present tier {standing.tier_name}"
        return Refusal(Reason.TIER_NOT_HIGHER, message)
    return None


def _is_acceptable(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    name, until = standing.tier_name, act.spec.until
    allowed = standing.tier.accept_risk if standing.tier else None
    if allowed is None or until is None:
        return Refusal(Reason.NOT_ACCEPTABLE, f"tier {name} has no acceptRisk: its risk may not be accepted")
    longest = (now + allowed.at_most.delta).replace(microsecond=0)
    if not now < until <= longest + timedelta(minutes=1):
        message = f"spec.until: {format_time(until)} must lie ahead and not after {format_time(longest)}"
        return Refusal(Reason.NOT_ACCEPTABLE, f"{message} (acceptRisk.atMost of tier {name}: {allowed.at_most})")
    return None


def _is_there(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse to contain what was deleted: what it has left behind is nothing that the operator owns."""
    if not standing.is_gone:
        return None
    return Refusal(Reason.NOTHING_TO_CONTAIN, f"{standing.target} was deleted: delete what it has left behind, if any")


def _is_contained(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse to resume what is not contained, or was deleted: whoever may resume it closes it then."""
    if standing.is_gone:
        message = f"{standing.target} was deleted: nothing is left to resume, so close it"
        return Refusal(Reason.NOTHING_TO_RESUME, message)
    if standing.is_contained or standing.spec.drill:
        return None
    return Refusal(Reason.NOTHING_TO_RESUME, "no containment is in force")


def _nobody_objects_to_its_end(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    """Refuse to give a contained model up while somebody objects: nothing would hold it any more."""
    return _nobody_objects(standing, act, now) if standing.is_contained else None


def _can_be_closed(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    found = why_open(standing, act.spec.resolution)
    return Refusal(*found) if found is not None else None


def _knows_clock(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    name = act.spec.clock
    if name is None:
        return None
    clocks = {clock.name: clock for clock in standing.clocks}
    if name not in clocks:
        there = f"it has {', '.join(sorted(clocks))}" if clocks else "it has none at all"
        return Refusal(Reason.UNKNOWN_CLOCK, f"spec.clock: the escalation has no clock {name}; {there}")
    role = clocks[name].role
    if may_take(standing.policy, (QuorumMember(role=role),), act.spec.role):
        return None
    return Refusal(Reason.NOT_IN_QUORUM, f"to meet {name} is for {role}, and this is {act.spec.role}")


def _is_over(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    if not standing.is_open:
        return None
    return Refusal(Reason.ESCALATION_OPEN, "a review comes after the close: the escalation is still open")


def _answers_for_the_ladder(standing: Standing, act: CastDecision, now: datetime) -> Refusal | None:
    if may_sit(standing, DecisionAction.REVIEW, act.spec.role):
        return None
    owner = ", ".join(member.role for member in seats(standing, DecisionAction.REVIEW))
    return Refusal(Reason.NOT_IN_QUORUM, f"the charter's owner reviews, and that is {owner}")


_VOTE: tuple[Rule, ...] = (_is_of_this_rung, _has_credential, _is_no_owner)
RULES: dict[DecisionAction, tuple[Rule, ...]] = {
    DecisionAction.ACKNOWLEDGE: (_has_not_acknowledged,),
    DecisionAction.COMMENT: (_knows_clock,),
    DecisionAction.CONTAIN: (_is_there,),
    DecisionAction.ESCALATE: (_is_higher,),
    DecisionAction.OBJECT: (_has_seat, _may_withdraw),
    DecisionAction.ACCEPT_RISK: (
        *_VOTE,
        _did_not_raise_it,
        _is_acceptable,
        _has_seat,
        _nobody_objects,
        _has_not_voted,
        _is_not_met,
    ),
    DecisionAction.RESUME: (*_VOTE, _is_contained, _has_seat, _nobody_objects, _has_not_voted, _is_not_met),
    DecisionAction.CLOSE: (*_VOTE, _can_be_closed, _has_seat, _nobody_objects_to_its_end, _has_not_voted),
    DecisionAction.REVIEW: (_is_over, _answers_for_the_ladder),
}
