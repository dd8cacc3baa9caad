"""What a decision will do, said before it is sent: one or two sentences, and why it may not count. Pure.

The operator decides, by the same rules: what is said here is what it will find if nothing changes meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from riskladder.api.decision import DecidedBy, DecisionAction, EscalationDecisionSpec
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentWhen, QuorumMember
from riskladder.people.case import Case, Contained
from riskladder.people.text import deadline, listed, local, past
from riskladder.policy.decisions.effects import adds, containment_of, contains, restores
from riskladder.policy.decisions.rules import CastDecision, refuse
from riskladder.policy.decisions.standing import JOINT, Agreement, agreement, seats
from riskladder.policy.signals.evaluate import tier_of


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of a decision, shown before it is confirmed."""

    sentence: str
    doubts: tuple[str, ...] = ()
    """Why it would be refused as things stand."""


def preview_decision(case: Case, decision: EscalationDecisionSpec, me: DecidedBy, now: datetime) -> Preview:
    """Return what happens if this person decides so now."""
    effects = {
        DecisionAction.ACKNOWLEDGE: _acknowledge,
        DecisionAction.COMMENT: _comment,
        DecisionAction.CONTAIN: _contain,
        DecisionAction.ESCALATE: _escalate,
        DecisionAction.OBJECT: _object,
        DecisionAction.REVIEW: _review,
    }
    refusal = refuse(case.standing, CastDecision(decision, me.username, now, me.groups, me.credential_id), now)
    if refusal is not None:  # nothing of what it would do is promised
        return Preview(_asks(case, decision, now), (refusal.message,))
    if decision.action in JOINT:
        sentence = _joint(case, decision, me.username, now)
    else:
        sentence = effects[decision.action](case, decision, now)
    if case.spec.drill:
        sentence += " This is a drill: the model itself is not touched."
    return Preview(sentence)


def _asks(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    """Return what somebody asks for that will be refused."""
    action, name = decision.action, case.name
    if action in JOINT:
        found = agreement(case.standing, action, decision.resolution)
        counted = f" {found.given} of {found.needed} needed agreements so far." if found.needed else ""
        return f"You agree, as {decision.role}, that {_question(case, decision, now)}.{counted}"
    asked = {
        DecisionAction.ACKNOWLEDGE: f"acknowledge {name}",
        DecisionAction.COMMENT: f"comment on {name}" + (f": {decision.clock} is met" if decision.clock else ""),
        DecisionAction.CONTAIN: f"ask that {case.target} is contained",
        DecisionAction.ESCALATE: f"ask that {name} is raised to tier {decision.tier}",
        DecisionAction.OBJECT: f"withdraw the objection to {name}" if decision.withdraw else f"object to {name}",
        DecisionAction.REVIEW: f"review {name}",
    }
    return f"You {asked[action]}, as {decision.role}."


# --- What each does -----------------------------------------------------------------------------------------------


def _acknowledge(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    text = f"You say, as {decision.role}, that you have seen {case.name} and take it: reminders to {decision.role} stop"
    acknowledged = case.condition(ConditionType.ACKNOWLEDGED)
    by = case.rung.acknowledge_by if case.rung else None
    if by is not None and (acknowledged is None or acknowledged.status != "True"):
        text += (
            f", and the deadline to acknowledge, {deadline(by, now)}, is met"
            if by > now
            else (f"; the deadline to acknowledge was {deadline(by, now)}")
        )
    return text + "."


def _comment(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    text = f"Your comment on {case.name} goes on record, as {decision.role}"
    clock = next((c for c in case.status.clocks if c.name == decision.clock), None)
    if clock is not None and clock.met_at is not None:
        return f"{text}. The duty {clock.name} was met already, {past(clock.met_at, now)}: that stays."
    if clock is not None:
        return f"{text}, and the duty {clock.name}, due {deadline(clock.due_at, now)}, counts as met."
    return text + "."


def _contain(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    containment, standing = containment_of(case.pinned, decision.containment), case.standing
    if standing.is_contained and not adds(containment, standing.intents):
        safer = listed(intent.action for intent in standing.intents)
        asked = f"You ask, as {decision.role}, for {containment.action}"
        return f"{asked}: {case.target} is contained by {safer} already, so nothing further is done."
    if case.spec.drill:
        effect = contains(case.target, containment, rehearsed=True)
        return f"You contain the model, as {decision.role}, as a dry run: {effect}."
    effect = contains(case.target, containment)
    who = listed(_asked(case, m) for m in seats(standing, DecisionAction.RESUME))
    text = f"You contain the model, as {decision.role}: {effect} at once"
    agree = "agrees" if sum(m.count for m in seats(standing, DecisionAction.RESUME)) == 1 else "agree"
    return text + (f", until {who} {agree} to resume it." if who else ".")


def _asked(case: Case, member: QuorumMember) -> str:
    return case.or_alternates(member.role) if member.count == 1 else f"{member.count} × {member.role}"


def _escalate(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    tier = tier_of(case.policy, decision.tier or "")
    text = f"You raise {case.name}, as {decision.role}, from tier {case.tier} to {decision.tier}"
    if tier is None:
        return text + "."
    notified = [n.role for n in tier.notify if not n.after.delta]
    is_or_are = "is" if len(notified) == 1 else "are"
    text += f": {listed(notified)} {is_or_are} notified" if notified else ": nobody is notified at once"
    containment = tier.containment
    if containment is not None and containment.when is ContainmentWhen.IMMEDIATELY:
        effect = contains(case.target, containment, rehearsed=case.spec.drill)
        text += f", and {effect}{' (a dry run)' if case.spec.drill else ' at once'}"
    return text + "."


def _object(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    if decision.withdraw:
        left = [d.role for d in case.standing.objections() if d.role != decision.role]
        still = f"; the objection of {listed(left)} still stands" if left else ""
        return f"You take back what {decision.role} has objected to {case.name}{still}."
    return (
        f"You object, as {decision.role}: on this rung nobody can accept the risk of {case.model} or resume it until "
        f"{decision.role} withdraws the objection."
    )


def _review(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    report = decision.review
    assert report is not None  # noqa: S101 - a rule of the decision
    changed = "the policy is changed because of it" if report.policy_updated else "the policy stays as it is"
    text = f"Your review of {case.name} goes on record, as {decision.role}: {changed}, satisfaction "
    text += f"{report.satisfaction} of 5."
    before = case.status.review
    if before is None:
        return text
    was = "the policy is changed" if before.policy_updated else "the policy stays as it is"
    return (
        f"{text} There is a review already, by {before.by}, {past(before.at, now)}: {was}, satisfaction "
        f"{before.satisfaction} of 5. Both stay on record, and yours is the one that is shown."
    )


# --- What several decide together ---------------------------------------------------------------------------------


def _joint(case: Case, decision: EscalationDecisionSpec, person: str, now: datetime) -> str:
    before = agreement(case.standing, decision.action, decision.resolution)
    after = agreement(case.standing, decision.action, decision.resolution, further=[(decision.role, person)])
    text = f"You agree, as {decision.role}, that {_question(case, decision, now)}.{_otherwise(case, decision)}"
    if not before.needed:
        return f"{text} The policy of tier {case.tier} names nobody who may decide that."
    counted = f"{before.given} of {before.needed} needed agreements so far"
    if after.given == before.given:
        needed = missing(case, before)
        return f"{text} {counted}; yours adds none. " + (
            f"Still needed: {needed}." if needed else "Enough agree already."
        )
    with_yours = f"{counted}; with yours {after.given} of {after.needed}"
    if after.tally.met:
        ends = "; the drill ends with that" if case.spec.drill else ""
        return f"{text} {with_yours}: {_outcome(case, decision)}{ends}."
    return f"{text} {with_yours}. Still needed: {missing(case, after)}."


def _otherwise(case: Case, decision: EscalationDecisionSpec) -> str:
    """Return who has agreed to something else on this rung: one agreement does not add to the other."""
    found = []
    for action in sorted(JOINT):
        for vote in case.standing.counted(action):
            if (action, vote.resolution) == (decision.action, decision.resolution) or vote.reason == Reason.QUORUM_MET:
                continue
            what = {DecisionAction.RESUME: "to resume it", DecisionAction.ACCEPT_RISK: "to accept the risk"}
            found.append(f"{vote.role} has agreed {what.get(action, f'to close it as {vote.resolution}')}")
    return f" Note that {listed(dict.fromkeys(found))}: that does not add to yours." if found else ""


def _question(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    if decision.action is DecisionAction.RESUME:
        return f"{case.model} is resumed"
    if decision.action is DecisionAction.CLOSE:
        return f"{case.name} is closed as {decision.resolution}"
    until = deadline(decision.until, now) if decision.until else "no date"
    return f"the risk of {case.model} in tier {case.tier} is accepted until {until}"


def _outcome(case: Case, decision: EscalationDecisionSpec) -> str:
    if decision.action is DecisionAction.RESUME:
        return _restored(case)
    if decision.action is DecisionAction.CLOSE:
        if case.standing.is_gone:
            return f"it is over; {case.target} was deleted, and nothing holds its name any more"
        held = case.contained is not Contained.NO
        return "it is over" + (
            ", the model stays as it is, and nothing holds it any more" if held else " and nothing is held any more"
        )
    until = local(decision.until) if decision.until else ""
    stays = f"; {case.target} stays contained until it is resumed" if case.contained is not Contained.NO else ""
    return f"nobody is asked again until {until}, unless a worse tier is breached, which ends the acceptance{stays}"


def _restored(case: Case) -> str:
    resume = case.pinned.resume if case.pinned else None
    steps = ""
    if resume is not None and len(resume.steps) > 1:
        steps = f", in steps of {', '.join(resume.steps)} with a reading at baseline between them"
    return restores(case.spec, case.standing.intents, case.status.restore, steps=steps)


def missing(case: Case, found: Agreement) -> str:
    """Return who has still to agree: ``legal (or deputy-counsel) and 2 × executive``."""
    return listed(
        case.or_alternates(role) if count == 1 else f"{count} × {case.or_alternates(role)}"
        for role, count in found.tally.missing
    )
