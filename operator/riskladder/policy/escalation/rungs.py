"""Rungs: which tier an escalation stands at, what a missed deadline does, who is waited on, and until when.

Every deadline is an absolute time, computed once and stored, so that a restart, a failover or a jump of the clock
neither repeats nor skips one. One that is found missed late has its effect once, and its record says how late.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.conditions import find
from riskladder.api.escalation import ClockStatus, Rung
from riskladder.api.labels import LABEL_TIER
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import length
from riskladder.api.tiers import Tier, TimeoutAction
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import demands, notifications
from riskladder.policy.plan import Entry, On
from riskladder.policy.quorum import close_quorum, tally
from riskladder.policy.signals.evaluate import rank, tier_of, worst
from riskladder.policy.signals.groups import Group
from riskladder.policy.signals.particulars import read_values, reading_particulars, reporter_particulars
from riskladder.policy.snapshot import Escalation

MOST_NAMED = 8
"""Readings that a message names; the record has all of them."""


def current_tier(escalation: Escalation, group: Group | None) -> str:
    """Return the tier it stands at: the worst one reached so far, or since a Resume.

    A better reading never lowers a rung by itself. But a Resume has handled what was reached, and a breach that is
    observed later enters its own tier.
    """
    policy = escalation.spec.policy
    # The label is the tier it was opened at. Later it follows the status, and may be ahead of that after a crash.
    stored = escalation.status.tier or escalation.labels.get(LABEL_TIER, "")
    reached = [stored, group.live_tier if group else ""]
    reached += [intent.tier for intent in escalation.intents if intent.id > escalation.ended_intent]
    return max(reached, key=lambda tier: rank(policy, tier))


def first(escalation: Escalation, tier: str, now: datetime) -> Rung:
    """Return the rung that an escalation opens on: its deadlines count from the intent or the evidence."""
    intent = next((i for i in escalation.intents if i.tier == tier), None)
    evidence = escalation.spec.evidence
    entered = intent.intended_at if intent else evidence.taken_at if evidence else now
    return _rung(1, tier_of(escalation.spec.policy, tier), tier, entered, Reason.ESCALATION_OPENED)


def _rung(number: int, pinned: Tier | None, tier: str, entered: datetime, reason: Reason) -> Rung:
    return Rung(
        number=number,
        tier=tier,
        entered_at=entered,
        reason=str(reason),
        acknowledge_by=entered + pinned.acknowledge.within.delta if pinned and pinned.acknowledge else None,
        decide_by=entered + pinned.decide.within.delta if pinned and pinned.decide else None,
    )


def deadline_particulars(rung: Rung) -> dict[str, str]:
    """Return by when people are asked to acknowledge and to decide, for the record of a rung that is entered."""
    found = {"acknowledgeBy": rung.acknowledge_by, "decideBy": rung.decide_by}
    return {name: format_time(at) for name, at in found.items() if at is not None}


def opened_at(escalation: Escalation) -> datetime:
    """Return when the escalation was opened: the moment of becoming aware, from which duties count."""
    evidence = escalation.spec.evidence
    return evidence.taken_at if evidence is not None else escalation.spec.signal.observed_at


def enter(draft: Draft, tier: str) -> None:
    """Enter the rung that breaches and containments stalls_at for, if it is another one."""
    escalation, rung = draft.escalation, draft.rung
    last = escalation.intents[-1] if escalation.intents else None
    if rank(draft.policy, tier) > rank(draft.policy, rung.tier):
        intent = next((i for i in escalation.intents if i.tier == tier), None)
        at = max(intent.intended_at, rung.entered_at) if intent else None
        move(draft, tier, Reason.TIER_RAISED, at=at, cause=_cause(draft, tier))
    elif last is not None and last.reason == Reason.CONTAINMENT_INEFFECTIVE and last.intended_at > rung.entered_at:
        higher = next_tier(draft, rung.tier) or rung.tier
        move(draft, higher, Reason.CONTAINMENT_INEFFECTIVE, at=last.intended_at)
    elif draft.resume is not None and last is not None and draft.is_contained and rung.entered_at <= draft.resume.at:
        reason = Reason.CONTAINED_MANUALLY if last.decision else Reason.BREACHED_AGAIN
        again = worst(draft.policy, (last.tier, draft.group.live_tier if draft.group else ""))
        cause = _cause(draft, again) if reason is Reason.BREACHED_AGAIN else None
        at = max(last.intended_at, rung.entered_at, _just_after(draft.resume.at))
        move(draft, again, reason, at=at, cause=cause)
    elif draft.resume is not None and rung.entered_at <= draft.resume.at and draft.group and draft.group.live_tier:
        # What a resume restored breaches, and nothing contains it.
        at, again = max(draft.now, _just_after(draft.resume.at)), draft.group.live_tier
        move(draft, again, Reason.BREACHED_AGAIN, at=at, cause=_cause(draft, again))


def _cause(draft: Draft, tier: str) -> dict[str, str]:
    """Return what put the target in that tier, for the record: the signal that reads so now, or that was acted on."""
    group, signal = draft.group, draft.cause(tier)
    found = {"signal": signal.name, "observedAt": format_time(signal.observed_at)}
    found |= reading_particulars(signal, tier_of(draft.policy, tier), draft.policy.indicators)
    found |= reporter_particulars(signal, known=draft.snapshot.knows_credentials)
    silence = group.silence(tier) if group is not None else ""
    found |= {"silence": silence} if silence else {}
    manual = signal.manual
    return found | ({"raisedBy": manual.raised_by or "", "rationale": manual.rationale} if manual else {})


def _reads(draft: Draft, tier: str, cause: Mapping[str, str]) -> str:
    if cause.get("silence"):
        return f": {cause['silence']}"
    values = read_values(draft.policy, draft.cause(tier), most=MOST_NAMED) if cause else ""
    return f": signal {cause['signal']} reads {values}" if values else ""


def _just_after(at: datetime) -> datetime:
    """Return a time after it by any clock: another replica's may be behind, and a rung is entered once."""
    return at + timedelta(microseconds=1)


def move(
    draft: Draft,
    tier: str,
    reason: Reason,
    *,
    at: datetime | None = None,
    cause: Mapping[str, str] | None = None,
) -> None:
    """Enter a rung: votes, acknowledgements and objections of the one before end with it."""
    before = draft.rung
    draft.rung = _rung(before.number + 1, tier_of(draft.policy, tier), tier, at or draft.now, reason)
    detail = {"from": before.tier, "tier": tier, "rung": str(draft.rung.number), "why": str(reason), **(cause or {})}
    detail |= deadline_particulars(draft.rung)
    if rank(draft.policy, tier) <= rank(draft.policy, before.tier):
        again = " again" if tier == before.tier else ""
        event, key, message = reason, f"rung/{draft.rung.number}", f"tier {tier} was entered{again}: {reason}"
        message += _reads(draft, tier, cause or {})
    else:
        event, key, message = Reason.TIER_RAISED, f"tier/{tier}", f"raised from tier {before.tier} to {tier}"
        key = f"rung/{draft.rung.number}" if draft.resume is not None else key  # a tier may be raised to twice then
        message += f": {reason}" if reason is not Reason.TIER_RAISED else _reads(draft, tier, cause or {})
    about = (On.SIGNAL, On.ESCALATION)
    draft.entries.append(Entry(event, key, draft.rung.entered_at, message, detail, on=about, warning=True))
    if draft.acceptance is not None and rank(draft.policy, tier) > rank(draft.policy, draft.acceptance.tier):
        draft.acceptance = None
        text = f"the risk was accepted for tier {before.tier}; tier {tier} is worse"
        draft.warn(Reason.RISK_ACCEPTANCE_OVERTAKEN, f"overtaken/{draft.rung.number}", text)


# --- Time -------------------------------------------------------------------------------------------------------------


def pass_time(draft: Draft) -> None:
    """Do everything that happens by itself because it is late enough; nothing while the operator's clock is wrong."""
    start_clocks(draft)
    if not draft.time_counts:
        return
    if draft.acceptance is not None and not draft.is_accepted:
        until, draft.acceptance = draft.acceptance.until, None
        move(draft, draft.rung.tier, Reason.RISK_ACCEPTANCE_EXPIRED)
        draft.wake.append(until)
    if draft.is_suspended or draft.is_closed or not draft.waits:
        return
    _miss_deadlines(draft)
    if draft.rung.stalled_at is None and _is_stalled(draft):
        _stall(draft)


def start_clocks(draft: Draft) -> None:
    """Start the duties of the tier, before anybody is notified of it. None is ever moved or removed."""
    opened = opened_at(draft.escalation)
    for clock in draft.tier.clocks if draft.tier else ():
        if clock.name not in draft.clocks:
            due = opened + clock.within.delta
            draft.clocks[clock.name] = ClockStatus(name=clock.name, role=clock.role, started_at=opened, due_at=due)
            message = f"{clock.role} has to meet {clock.name} by {format_time(due)}"
            about = {"clock": clock.name, "role": clock.role}
            times = {"startedAt": format_time(opened), "dueAt": format_time(due)}
            draft.note(Reason.CLOCK_STARTED, f"clock/{clock.name}", message, **about, **times)


def _miss_deadlines(draft: Draft) -> None:
    now, rung = draft.now, draft.rung
    by = rung.acknowledge_by
    if by is not None and by <= now and rung.acknowledge_missed_at is None and not draft.answered():
        draft.rung = draft.rung.model_copy(update={"acknowledge_missed_at": now})
        message = f"nobody acknowledged by {format_time(by)}{late(by, now)}"
        draft.warn(Reason.ACKNOWLEDGEMENT_OVERDUE, f"acknowledge/{rung.number}", message, dueAt=format_time(by))
    by = rung.decide_by
    if by is not None and by <= now and rung.decide_missed_at is None:
        draft.rung = draft.rung.model_copy(update={"decide_missed_at": now})
        message = f"nobody decided by {format_time(by)}{late(by, now)}"
        draft.warn(Reason.DECISION_OVERDUE, f"decide/{rung.number}", message, dueAt=format_time(by))


def stall_deadline(draft: Draft) -> datetime | None:
    """Return when the rung stalls unacknowledged."""
    return demands.stall_deadline(draft.escalation.spec, draft.rung)


def _is_stalled(draft: Draft) -> bool:
    stalls_at = stall_deadline(draft)
    unheard = stalls_at is not None and stalls_at <= draft.now and not draft.answered()
    return unheard or draft.rung.decide_missed_at is not None


def _stall(draft: Draft) -> None:
    """Apply onTimeout, once for a rung."""
    tier, rung = draft.tier, draft.rung
    action = tier.on_timeout if tier else TimeoutAction.HOLD
    draft.rung = rung.model_copy(update={"stalled_at": draft.now})
    what = "nobody decided in time" if rung.decide_missed_at else "nobody acknowledged in time"
    key, particulars = f"stalled/{rung.number}", {"onTimeout": str(action), "tier": rung.tier}
    higher = next_tier(draft, rung.tier)
    if action is TimeoutAction.ESCALATE and higher is not None:
        draft.warn(Reason.STALLED, key, f"{what}: tier {higher} is entered", **particulars)
        move(draft, higher, Reason.STALLED)
    elif action is TimeoutAction.CONTAIN:
        done = (
            "the containment is tried as a dry run"
            if draft.escalation.spec.drill
            else "the model is contained meanwhile"
        )
        draft.warn(Reason.INTERIM_CONTAINMENT, key, f"{what}: {done}", **particulars)
    else:
        draft.warn(
            Reason.HELD, key, f"{what}: it is held as it is, reminded of, and the owner is notified", **particulars
        )


def next_tier(draft: Draft, tier: str) -> str | None:
    """Return the next worse tier of the ladder."""
    return demands.next_tier(draft.escalation.spec, tier)


def late(due: datetime, now: datetime) -> str:
    """Return how late something is, in words, where that is worth saying."""
    return f" ({length(now - due)} late)" if now - due >= timedelta(seconds=5) else ""


# --- Who is waited on -------------------------------------------------------------------------------------------------


def waiting_on(draft: Draft) -> tuple[str, ...]:
    """Return the roles that are waited on; nobody while a risk is accepted, which waits for its date."""
    if draft.is_closed or draft.is_accepted:
        return ()
    tier, policy = draft.tier, draft.policy
    closers = {member.role for member in close_quorum(policy, tier)}
    if draft.rung.decided_at is not None:
        return tuple(sorted(closers))
    answered = draft.answered()
    notified_roles = {t.role for t in notifications.notified_roles(draft)} or {
        n.role for n in (tier.notify if tier else ())
    }
    if draft.rung.acknowledge_by is not None and not answered and notified_roles:
        return tuple(sorted(notified_roles))
    if tier is not None and tier.decide is not None:
        votes = [(d.role, d.by) for d in draft.votes()]
        missing = {role for role, _ in tally(policy, tier.decide.quorum, votes).missing}
        return tuple(sorted(missing or {member.role for member in tier.decide.quorum}))
    return tuple(sorted((notified_roles - answered) or closers))


def next_deadline(draft: Draft) -> datetime | None:
    """Return the next time by which somebody must act: the earliest ahead, else the last one missed."""
    if draft.is_closed:
        return None
    deadlines: list[datetime | None] = []
    if draft.is_accepted and draft.acceptance is not None:
        deadlines.append(draft.acceptance.until)
    elif draft.rung.decided_at is None:  # by the end of watchFor nobody has to do anything
        if not draft.answered():
            deadlines += [draft.rung.acknowledge_by, stall_deadline(draft)]
        deadlines.append(draft.rung.decide_by)
    if draft.withheld is not None and draft.withheld.ended_at is None:
        deadlines.append(draft.withheld.until)
    given = sorted(d for d in deadlines if d is not None)
    draft.wake.extend(given)
    shown = draft.escalation.status.next_deadline
    if not draft.time_counts and shown in given:
        return shown
    ahead = [d for d in given if d > draft.now]
    duties = sorted(clock.due_at for clock in draft.clocks.values() if clock.met_at is None)
    if ahead or given:
        return ahead[0] if ahead else given[-1]
    return duties[0] if duties else None


def say(draft: Draft) -> None:
    """Set the conditions that wait for people."""
    conditions, rung, answered = draft.conditions, draft.rung, draft.answered()
    if find(conditions.result(), ConditionType.REVIEW_DONE) is None:
        conditions.set(ConditionType.REVIEW_DONE, False, Reason.NOT_YET, "no review yet")
    if draft.is_closed and not draft.is_new:
        if draft.resolution is not None:
            reason = Reason(draft.resolution.value)
            conditions.set(ConditionType.DECIDED, True, reason, f"closed as {draft.resolution}")
        conditions.set(ConditionType.STALLED, False, Reason.ON_TIME, "closed: nobody is waited for")
        return
    if answered:
        conditions.set(
            ConditionType.ACKNOWLEDGED, True, Reason.ACKNOWLEDGED, f"answered by {', '.join(sorted(answered))}"
        )
    else:
        conditions.set(ConditionType.ACKNOWLEDGED, False, Reason.NOT_YET, _due(rung.acknowledge_by))
    if draft.is_accepted and draft.acceptance is not None:
        message = f"the risk is accepted until {format_time(draft.acceptance.until)}"
        conditions.set(ConditionType.DECIDED, True, Reason.RISK_ACCEPTED, message)
    elif rung.decided_at is not None:
        conditions.set(ConditionType.DECIDED, True, Reason.RESUMED, "the model is resumed; to close it is next")
    else:
        conditions.set(ConditionType.DECIDED, False, Reason.NOT_YET, _due(rung.decide_by))
    missed = [] if not draft.waits else [(rung.decide_by, rung.decide_missed_at)]
    missed += [(rung.acknowledge_by, rung.acknowledge_missed_at)] if draft.waits and not answered else []
    overdue = [by for by, found in missed if by is not None and by <= draft.now and (found or draft.time_counts)]
    if overdue:
        message = f"nobody acted by {format_time(max(overdue))}"
        conditions.set(ConditionType.STALLED, True, Reason.OVERDUE, message)
    elif rung.reason == Reason.STALLED and draft.waits:
        conditions.set(ConditionType.STALLED, True, Reason.STALLED, "this rung was entered since the one below stalled")
    else:
        conditions.set(ConditionType.STALLED, False, Reason.ON_TIME, "no deadline has been missed")


def _due(by: datetime | None) -> str:
    return f"due by {format_time(by)}" if by else "no deadline in this tier"
