"""Decisions: each is counted or refused (authority.py and rules.py say why), and takes effect once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.conditions import Conditions
from riskladder.api.decision import DecisionAction, DecisionStatus
from riskladder.api.escalation import CountedDecision, ResumeStatus, ReviewStatus, RiskAcceptance
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy import authentication
from riskladder.policy.containment import resume
from riskladder.policy.decisions import keep
from riskladder.policy.decisions.authority import author, is_gone, refusal_of, standing_of
from riskladder.policy.decisions.rules import Refusal
from riskladder.policy.decisions.standing import agreement
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import CLOSED_KEY, DecisionUpdate, Entry, Measure, On
from riskladder.policy.quorum import Tally, votes_for
from riskladder.policy.signals.evaluate import worst
from riskladder.policy.snapshot import Decision

# --- Judging ----------------------------------------------------------------------------------------------------------


def is_judged(draft: Draft, decision: Decision) -> bool:
    """Return whether the escalation has counted or refused this very decision."""
    return any(d.name == decision.name and d.uid == decision.uid for d in draft.decisions)


def judge_all(draft: Draft) -> tuple[DecisionUpdate, ...]:
    """Count or refuse what has been decided, one after the other; return what to say on each decision."""
    found = draft.snapshot.decisions.get(draft.escalation.name, ())
    pending = [d for d in keep.in_turn(found) if not d.status.is_settled]
    unsaid = {decision.uid for decision in pending}
    if any(not is_judged(draft, decision) for decision in pending):
        keep.tidy(draft, unsaid)
    updates, judged, uid = [], 0, draft.escalation.uid
    for decision in pending:
        if not is_judged(draft, decision):
            if draft.snapshot.proof is None or decision.authorized is None:
                continue  # the authorizer has not answered yet
            if judged >= keep.AT_ONCE and decision.spec.action is not DecisionAction.CONTAIN:
                continue
            judged += 1
            refused = _judge(draft, decision, unsaid)
            if refused is not None:
                updates.append(refused)
                continue
        counted = next(d for d in draft.decisions if d.name == decision.name)
        message = counted.refused_because or accepted_message(counted)
        reason, is_counted = Reason(counted.reason), counted.counted
        updates.append(decision_status(decision, reason, message, draft.now, counted=is_counted, kept_by=uid))
    return tuple(updates)


def _judge(draft: Draft, decision: Decision, unsaid: Collection[str]) -> DecisionUpdate | None:
    """Put a decision on the list, counted or refused; what is to be said on it at once where it takes no place."""
    refused, uid = refusal_of(draft, decision), draft.escalation.uid
    is_known = any(d.name == decision.name for d in draft.decisions)
    says_nothing = decision.spec.action is DecisionAction.ACKNOWLEDGE and refused is not None
    if refused is not None and (is_known or (says_nothing and refused.reason is Reason.ALREADY_COUNTED)):
        return decision_status(decision, refused.reason, refused.message, draft.now, counted=False, kept_by=uid)
    if not keep.has_room(draft, decision.spec.action, unsaid):
        message = (
            f"status.decisions: found {len(draft.decisions)} decisions that still have an effect, expected fewer than "
            f"{keep.MAX_DECISIONS - keep.RESERVED}: let a quorum decide, or enter a higher rung"
        )
        return decision_status(decision, Reason.TOO_MANY_DECISIONS, message, draft.now, counted=False, kept_by=uid)
    _take(draft, decision, refused)
    return None


def decision_status(
    decision: Decision, reason: Reason, message: str, now: datetime, *, counted: bool, kept_by: str | None = None
) -> DecisionUpdate:
    """Return the status of a decision that was judged, to be written after the Escalation that keeps that.

    Args:
        decision: The decision.
        reason: What it comes to.
        message: The same in words.
        now: Current time, UTC.
        counted: Whether it counts.
        kept_by: uid of that Escalation; none where there is none.
    """
    conditions = Conditions(decision.status.conditions, generation=decision.generation, now=now)
    conditions.set(ConditionType.ACCEPTED, counted, reason, message)
    status = DecisionStatus(
        observed_generation=decision.generation, conditions=conditions.result(), escalation_uid=kept_by
    )
    return DecisionUpdate(decision, status)


def accepted_message(judged: CountedDecision) -> str:
    """Return the answer to somebody whose decision counts."""
    if judged.action is DecisionAction.OBJECT and judged.withdraw:
        return f"the objection of {judged.role} is withdrawn"
    return f"{judged.action} was counted for {judged.role}" + (
        ": the quorum is met" if judged.reason == Reason.QUORUM_MET else ""
    )


def _entry_of(draft: Draft, decision: Decision, event: Reason, message: str, refusal: Refusal | None = None) -> Entry:
    """Return the record of a decision, in the name of whoever made it."""
    spec, who, known = decision.spec, decision.spec.decided_by, draft.snapshot.knows_credentials
    given = {
        "decision": decision.name,
        "decisionUid": decision.uid,
        "action": str(spec.action),
        "role": spec.role,
        "rationale": spec.rationale,
        "groups": ", ".join(who.groups)[:4096] if who else None,
        **(authentication.recorded(who.credential_id, via=who.via, known=known) if who else {}),
        "decidedAt": format_time(decision.created),
        "tier": spec.tier,
        "until": format_time(spec.until) if spec.until else None,
        "containment": spec.containment,
        "resolution": spec.resolution,
        "clock": spec.clock,
        "refusedBecause": refusal.reason if refusal else None,
    }
    if spec.review is not None:
        given |= {
            "policyUpdated": str(spec.review.policy_updated).lower(),
            "satisfaction": str(spec.review.satisfaction),
            "lessons": spec.review.lessons,
        }
    detail = {key: str(value) for key, value in given.items() if value}
    key = f"decision/{decision.uid}"
    warning = refusal is not None
    return Entry(event, key, draft.now, message[:1024], detail, actor=author(decision), warning=warning)


def _take(draft: Draft, decision: Decision, refusal: Refusal | None) -> None:
    """Put a decision on the list, counted or refused, and let it have its effect."""
    spec, now = decision.spec, draft.now
    reason = refusal.reason if refusal else _EVENTS.get(spec.action, Reason.COUNTED)
    if spec.action is DecisionAction.OBJECT and spec.withdraw and refusal is None:
        reason = Reason.OBJECTION_WITHDRAWN
    counted = CountedDecision(
        name=decision.name,
        uid=decision.uid,
        action=spec.action,
        role=spec.role,
        by=author(decision),
        at=now,
        rung=draft.rung.number,
        counted=refusal is None,
        reason=str(reason),
        refused_because=refusal.message[:1024] if refusal else "",
        tier=spec.tier,
        until=spec.until,
        resolution=spec.resolution,
        containment=spec.containment,
        withdraw=spec.withdraw,
    )
    text = f"{author(decision)} as {spec.role}: {spec.action}"
    if draft.escalation.spec.drill and spec.action in (DecisionAction.CONTAIN, DecisionAction.RESUME):
        text += ", in a drill, which touches nothing"
    if refusal is not None:
        draft.decisions.append(counted)
        draft.entries.append(
            _entry_of(draft, decision, Reason.DECISION_REFUSED, f"{text} refused: {refusal.message}", refusal)
        )
        return
    entry = _entry_of(draft, decision, reason, text)
    if spec.role not in draft.answered() and spec.action is not DecisionAction.COMMENT:
        entry = replace(entry, measure=_measure(draft, "acknowledge", spec.role))
    draft.entries.append(entry)
    draft.decisions.append(counted)
    _EFFECTS[spec.action](draft, decision)


def _measure(draft: Draft, stage: str, role: str) -> Measure:
    return Measure(stage, role, max((draft.now - draft.rung.entered_at).total_seconds(), 0.0))


# --- Effects ----------------------------------------------------------------------------------------------------------


def _nothing(draft: Draft, decision: Decision) -> None:
    """Do nothing: it is on record, and what follows from it is derived from that."""


def _comment(draft: Draft, decision: Decision) -> None:
    clock = draft.clocks.get(decision.spec.clock or "")
    if clock is None or clock.met_at is not None:
        return
    draft.clocks[clock.name] = clock.model_copy(update={"met_at": draft.now})
    message = f"{author(decision)} met {clock.name}{rungs.late(clock.due_at, draft.now)}"
    draft.note(Reason.CLOCK_MET, f"met/{clock.name}", message, clock=clock.name, dueAt=format_time(clock.due_at))


def _escalate(draft: Draft, decision: Decision) -> None:
    rungs.move(draft, decision.spec.tier or draft.rung.tier, Reason.ESCALATED_MANUALLY)


def _review(draft: Draft, decision: Decision) -> None:
    report = decision.spec.review
    if report is None:
        return
    draft.review = ReviewStatus(
        by=author(decision), at=draft.now, policy_updated=report.policy_updated, satisfaction=report.satisfaction
    )
    draft.conditions.set(ConditionType.REVIEW_DONE, True, Reason.REVIEWED, f"reviewed by {author(decision)}")


def _vote(draft: Draft, decision: Decision) -> Tally | None:
    """Return the tally where this vote met the quorum, which then goes on the vote as its reason."""
    spec = decision.spec
    found = agreement(standing_of(draft), spec.action, spec.resolution).tally
    if not found.met:
        return None
    draft.decisions[-1] = draft.decisions[-1].model_copy(update={"reason": str(Reason.QUORUM_MET)})
    return found


def _accept_risk(draft: Draft, decision: Decision) -> None:
    found = _vote(draft, decision)
    if found is None:
        return
    votes = votes_for(draft.decisions, DecisionAction.ACCEPT_RISK, draft.rung.number)
    until = min(v.until for v in votes if v.until is not None)
    draft.acceptance = RiskAcceptance(tier=draft.rung.tier, accepted_at=draft.now, until=until, by=found.people)
    message = f"the risk of tier {draft.rung.tier} is accepted until {format_time(until)} by {', '.join(found.people)}"
    _decided(draft, Reason.RISK_ACCEPTED, f"accepted/{draft.rung.number}", message, until=format_time(until))


def _resume(draft: Draft, decision: Decision) -> None:
    found = _vote(draft, decision)
    if found is None:
        return
    before = draft.resume.tier if draft.resume and draft.resume.tier else ""
    draft.resume = ResumeStatus(
        intent=max(draft.escalation.last_intent, 1),
        at=draft.now,
        tier=worst(draft.policy, (draft.rung.tier, before)),
        by=found.people,
        steps=resume.steps(draft),
    )
    in_steps = (
        f", in steps of {', '.join(map(str, draft.resume.steps))} replicas" if len(draft.resume.steps) > 1 else ""
    )
    _decided(draft, Reason.RESUMED, f"resumed/{draft.rung.number}", f"resumed by {', '.join(found.people)}{in_steps}")


def _decided(draft: Draft, event: Reason, key: str, message: str, **more: str) -> None:
    draft.rung = draft.rung.model_copy(update={"decided_at": draft.now})
    draft.entries.append(
        Entry(event, key, draft.now, message, {"tier": draft.rung.tier, **more}, measure=_measure(draft, "decide", ""))
    )


def _close(draft: Draft, decision: Decision) -> None:
    found = _vote(draft, decision)
    if found is None or decision.spec.resolution is None:
        return
    draft.resolution = decision.spec.resolution
    message = f"closed as {draft.resolution} by {', '.join(found.people)}"
    close(draft, Reason(draft.resolution.value), message)


def close(draft: Draft, reason: Reason, message: str, detail: Mapping[str, str] | None = None) -> None:
    """End the escalation: nothing is held any more."""
    if draft.is_contained:
        what = "its name" if is_gone(draft) else "the model"
        message += f": nothing holds {what} any more"
    for kind in HELD:
        if draft.conditions.is_true(kind):
            draft.conditions.set(kind, False, Reason.RELEASED, message)
    draft.closed_at = draft.now
    draft.conditions.set(ConditionType.CLOSED, True, reason, message)
    measure = _measure(draft, "decide", "") if draft.resolution and draft.rung.decided_at is None else None
    about = (On.ESCALATION, On.SIGNAL)
    draft.entries.append(Entry(reason, CLOSED_KEY, draft.now, message, dict(detail or {}), on=about, measure=measure))
    if LABEL_CONTAINMENT in draft.escalation.labels:
        draft.labels[LABEL_CONTAINMENT] = None


HELD = (ConditionType.CONTAINED, ConditionType.CONTAINMENT_HOLDS, ConditionType.LOCKED)
"""The conditions that say that a model is held: none of them outlives the escalation."""

_EVENTS = {
    DecisionAction.ACKNOWLEDGE: Reason.ACKNOWLEDGED,
    DecisionAction.COMMENT: Reason.COMMENTED,
    DecisionAction.CONTAIN: Reason.CONTAINED_MANUALLY,
    DecisionAction.ESCALATE: Reason.ESCALATED_MANUALLY,
    DecisionAction.OBJECT: Reason.OBJECTED,
    DecisionAction.REVIEW: Reason.REVIEWED,
}
"""The reason of a decision that one person takes alone; a vote is Counted, and QuorumMet where it decides."""

_EFFECTS: dict[DecisionAction, Callable[[Draft, Decision], None]] = {
    DecisionAction.ACKNOWLEDGE: _nothing,
    DecisionAction.COMMENT: _comment,
    DecisionAction.CONTAIN: _nothing,
    DecisionAction.ESCALATE: _escalate,
    DecisionAction.OBJECT: _nothing,
    DecisionAction.ACCEPT_RISK: _accept_risk,
    DecisionAction.RESUME: _resume,
    DecisionAction.CLOSE: _close,
    DecisionAction.REVIEW: _review,
}
