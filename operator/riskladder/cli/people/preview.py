"""What a decision will do, said before it is sent: one or two sentences, and why it may not count. Pure.

The operator decides; what is said here is what it will find if nothing changes meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from riskladder.api.decision import DecisionAction, EscalationDecisionSpec, Resolution
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import Axis, ContainmentAction, ContainmentWhen, QuorumMember
from riskladder.cli.people.standing import JOINT, agreement, may_object, may_review, may_sit, seats_of
from riskladder.cli.people.text import deadline, listed, local
from riskladder.cli.people.view import Case, Contained
from riskladder.policy import quorum
from riskladder.policy.signals.evaluate import tier_of


@dataclass(frozen=True, slots=True)
class Foresight:
    """What somebody is told before they confirm."""

    sentence: str
    doubts: tuple[str, ...] = ()
    """Why it would be refused as things stand."""


def foresee(case: Case, decision: EscalationDecisionSpec, person: str, now: datetime) -> Foresight:
    """What happens if this person decides so now."""
    effects = {
        DecisionAction.ACKNOWLEDGE: _acknowledge,
        DecisionAction.COMMENT: _comment,
        DecisionAction.CONTAIN: _contain,
        DecisionAction.ESCALATE: _escalate,
        DecisionAction.OBJECT: _object,
        DecisionAction.REVIEW: _review,
    }
    if decision.action in JOINT:
        sentence = _joint(case, decision, person, now)
    else:
        sentence = effects[decision.action](case, decision, now)
    if case.spec.drill:
        sentence += " This is a drill: the model itself is not touched."
    return Foresight(sentence, tuple(islice(_doubts(case, decision, person, now), 1)))


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
    if clock is not None:
        return f"{text}, and the duty {clock.name}, due {deadline(clock.due_at, now)}, counts as met."
    return text + "."


def safe(action: ContainmentAction, target: str, *, lock: bool = True) -> str:
    """What a containment does, in words."""
    done = "is rolled back to its last good revision" if action is ContainmentAction.ROLLBACK else "is scaled to zero"
    return f"{target} {done}{' and locked' if lock else ''}"


def _contain(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    declared = case.pinned.containment if case.pinned else None
    lock = declared.lock if declared else True
    text = (
        f"You stop the model, as {decision.role}: {safe(decision.containment or case.action, case.target, lock=lock)}"
    )
    seats = quorum.resume_quorum(case.pinned)
    who = listed(case.or_alternates(m.role) if m.count == 1 else f"{m.count} × {m.role}" for m in seats)
    return f"{text} at once" + (f", until {who} agree to resume it." if who else ".")


def _escalate(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    tier = tier_of(case.policy, decision.tier or "")
    text = f"You raise {case.name}, as {decision.role}, from tier {case.tier} to {decision.tier}"
    if tier is None:
        return text + "."
    told = listed(n.role for n in tier.notify if not n.after.delta)
    text += f": {told} {'is' if ' ' not in told else 'are'} told" if told else ": nobody is told at once"
    containment = tier.containment
    if containment is not None and containment.when is ContainmentWhen.IMMEDIATELY:
        text += f", and {safe(containment.action, case.target, lock=containment.lock)} at once"
    return text + "."


def _object(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    if decision.withdraw:
        left = [d.role for d in case.objections() if d.role != decision.role]
        still = f"; the objection of {listed(left)} still stands" if left else ""
        return f"You take back what {decision.role} has objected to {case.name}{still}."
    return (
        f"You object, as {decision.role}: on this rung nobody can accept the risk of {case.model} or resume it until "
        f"{decision.role} withdraws the objection."
    )


def _review(case: Case, decision: EscalationDecisionSpec, now: datetime) -> str:
    del now
    report = decision.review
    assert report is not None  # noqa: S101 - a rule of the decision
    changed = "the policy is changed because of it" if report.policy_updated else "the policy stays as it is"
    return (
        f"Your review of {case.name} goes on record, as {decision.role}: {changed}, satisfaction {report.satisfaction} "
        "of 5."
    )


# --- What several decide together ---------------------------------------------------------------------------------


def _joint(case: Case, decision: EscalationDecisionSpec, person: str, now: datetime) -> str:
    before = agreement(case, decision.action, decision.resolution)
    after = agreement(case, decision.action, decision.resolution, further=[(decision.role, person)])
    text = f"You agree, as {decision.role}, that {_question(case, decision, now)}."
    if not before.needed:
        return f"{text} The policy of tier {case.tier} names nobody who may decide that."
    counted = f"{before.given} of {before.needed} needed agreements so far"
    if after.given == before.given:
        missing = before.missing(case)
        return f"{text} {counted}; yours adds none. " + (
            f"Still needed: {missing}." if missing else "Enough agree already."
        )
    with_yours = f"{counted}; with yours {after.given} of {after.needed}"
    if after.tally.met:
        return f"{text} {with_yours}: {_outcome(case, decision)}."
    return f"{text} {with_yours}. Still needed: {after.missing(case)}."


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
        held = case.contained is not Contained.NO
        return "it is over" + (", and the model stays as it is" if held else " and nothing is held any more")
    until = local(decision.until) if decision.until else ""
    return f"nobody is asked again until {until}, unless a worse tier is breached"


def _restored(case: Case) -> str:
    restore, evidence = case.status.restore, case.spec.evidence
    workload = next((i for i in case.intents if i.action.axis is Axis.WORKLOAD), None)
    if workload is not None and workload.action is ContainmentAction.ROLLBACK:
        now = f"revision {workload.revision}" if workload.revision else "the revision in place"
        return f"the lock is lifted; {now} serves on until another is rolled out"
    replicas = restore.replicas if restore and restore.replicas is not None else None
    if replicas is None and evidence is not None:
        replicas = evidence.replicas
    text = f"replicas go back to {replicas}" if replicas is not None else "its replicas come back"
    resume = case.pinned.resume if case.pinned else None
    if resume is not None and len(resume.steps) > 1:
        text += f", in steps of {', '.join(resume.steps)} with a reading at baseline between them,"
    return f"{text} and the lock is lifted"


# --- Why it may not count -----------------------------------------------------------------------------------------


def _doubts(case: Case, decision: EscalationDecisionSpec, person: str, now: datetime) -> Iterator[str]:
    """In the order of the operator's rules (policy/decisions/rules.py), which gives the first reason that it finds."""
    action = decision.action
    if action not in (DecisionAction.REVIEW, DecisionAction.COMMENT) and not case.is_open:
        yield "it is closed already"
    if action in JOINT and person in case.owners:
        yield "you own the model, and its owners never count for this"
    if action is DecisionAction.ACCEPT_RISK:
        yield from _acceptance_doubts(case, decision, person, now)
    elif action is DecisionAction.RESUME and case.intent is None and not case.spec.drill:
        yield "nothing is contained, so there is nothing to resume"
    elif action is DecisionAction.CLOSE:
        yield from _closing_doubts(case, decision)
    elif action is DecisionAction.OBJECT:
        yield from _objection_doubts(case, decision)
    elif action is DecisionAction.COMMENT:
        yield from _clock_doubts(case, decision)
    elif action is DecisionAction.REVIEW:
        yield from _review_doubts(case, decision)
    if action in JOINT:
        yield from _joint_doubts(case, decision, person)


def _joint_doubts(case: Case, decision: EscalationDecisionSpec, person: str) -> Iterator[str]:
    action = decision.action
    if not may_sit(case, action, decision.role):
        asked = listed(case.or_alternates(m.role) for m in seats_of(case, action))
        yield f"{decision.role} is not asked for this" + (f", only {asked}" if asked else "")
    if action is not DecisionAction.CLOSE and (objections := case.objections()):
        yield f"the objection of {listed(d.role for d in objections)} stands and has to be withdrawn first"
    if any(d.by == person and d.resolution == decision.resolution for d in case.counted(action)):
        yield "you have agreed already, and everybody counts once"
    if action is not DecisionAction.CLOSE and any(d.reason == Reason.QUORUM_MET for d in case.counted(action)):
        yield "enough have agreed to it already on this rung"


def _closing_doubts(case: Case, decision: EscalationDecisionSpec) -> Iterator[str]:
    resume = case.status.resume
    is_retired = decision.resolution is Resolution.RETIRED
    if case.contained is not Contained.NO and not is_retired:
        yield f"{case.target} is still contained: resume it first, or close as Retired"
    if resume is not None and resume.applied_at is None and not case.spec.drill and not is_retired:
        yield f"{case.target} is still being brought back, step by step: close it after that"
    if decision.resolution is Resolution.RISK_ACCEPTED and case.status.risk_acceptance is None:
        yield "no acceptance of the risk is running: decide accept-risk first"
    running = listed(sorted(c.name for c in case.status.clocks if c.met_at is None))
    if running and decision.resolution is not Resolution.FALSE_POSITIVE:
        yield f"{running} has not been met: comment with --clock first"


def _objection_doubts(case: Case, decision: EscalationDecisionSpec) -> Iterator[str]:
    if not may_object(case, decision.role):
        yield f"{decision.role} is asked neither to accept the risk nor to resume, and so has nothing to object to"
    if decision.withdraw and decision.role not in {d.role for d in case.objections()}:
        yield f"{decision.role} has no objection that stands"


def _clock_doubts(case: Case, decision: EscalationDecisionSpec) -> Iterator[str]:
    if decision.clock is None:
        return
    clock = next((c for c in case.status.clocks if c.name == decision.clock), None)
    if clock is None:
        running = listed(c.name for c in case.status.clocks) or "none"
        yield f"no clock {decision.clock} is running; running: {running}"
    elif not quorum.may_sit(case.policy, (QuorumMember(role=clock.role),), decision.role):
        yield f"to meet {clock.name} is for {case.or_alternates(clock.role)}"


def _review_doubts(case: Case, decision: EscalationDecisionSpec) -> Iterator[str]:
    if case.is_open:
        yield "it is still open, and a review comes after the close"
    if not may_review(case, decision.role):
        owner = case.policy.charter.owner if case.policy.charter else ""
        yield f"{decision.role} does not answer for the policy; that is {case.or_alternates(owner)}"


def _acceptance_doubts(case: Case, decision: EscalationDecisionSpec, person: str, now: datetime) -> Iterator[str]:
    allowed = case.pinned.accept_risk if case.pinned else None
    manual = case.spec.signal.manual
    if manual is not None and manual.raised_by == person:
        yield "you raised it, and accepting the risk is for others"
    if allowed is None:
        yield f"the risk of tier {case.tier} cannot be accepted"
    elif decision.until is not None and decision.until > now + allowed.at_most.delta:
        yield f"it can be accepted for {allowed.at_most} at most, until {local(now + allowed.at_most.delta)}"
