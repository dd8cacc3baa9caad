"""The details of one escalation: headings with lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.conditions import Condition, ConditionStatus
from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import ResumeStatus, Rung, signal_at
from riskladder.api.intent import Intent, SignalRef
from riskladder.api.measurement import indicator_of, no_measurement, with_unit
from riskladder.api.notification import Notification, NotificationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import Reading
from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.people.case import Case, Contained
from riskladder.people.choices import Choice, for_others
from riskladder.people.preview import missing
from riskladder.people.text import deadline, length, listed, local, past
from riskladder.people.view import View
from riskladder.policy.authentication import how
from riskladder.policy.decisions.standing import Agreement, agreements
from riskladder.policy.escalation.demands import ACKNOWLEDGE, DECIDE
from riskladder.policy.signals.evaluate import tier_of

OPTIONS, FOR_OTHERS = "Options for you", "For others"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its lines: each a label, which may be empty, and a text."""

    heading: str
    lines: tuple[tuple[str, str], ...]


def sections(view: View, now: datetime) -> tuple[Section, ...]:
    """Return the sections that have something to say."""
    case = view.case
    parts = (
        ("What it is about", _facts(case, now, view.unseen_owners, known=view.known)),
        ("Where it stands", _rung(case, now)),
        ("People", _people(case, now)),
        ("Containment", _containment(case, now)),
        ("Decisions", _decisions(view, now)),
        ("Agreement", (_agreement(case, a) for a in agreements(case.standing)) if case.is_open else ()),
        ("Duties", _clocks(case, now)),
        (OPTIONS, _choices(view.choices, view.why_none)),
        (FOR_OTHERS, for_others(case, view.choices) if view.choices or view.why_none else ()),
    )
    found = [Section(heading, tuple(lines)) for heading, lines in parts]
    return tuple(section for section in found if section.lines)


# --- Sections -----------------------------------------------------------------------------------------------------


def _facts(case: Case, now: datetime, unseen_owners: Sequence[str], *, known: bool) -> Iterator[tuple[str, str]]:
    model = case.spec.model
    if model is not None:
        yield "Model", model.name + (f", version {model.version}" if model.version else "")
    if case.owners:
        yield "Owners", ", ".join(case.owners)
    if unseen_owners:
        yield (
            "Not seen yet",
            f"{listed(unseen_owners)}: has neither decided nor raised anything in this namespace so far; an owner "
            "counts as one only if written as `kubectl auth whoami` shows the name",
        )
    if model is not None:
        for label, value in (("Card", model.card), ("Lineage", model.lineage)):
            if value:
                yield label, value
    yield "Target", case.target
    yield "Ladder", f"{case.spec.ladder.name} (generation {case.spec.ladder.generation})"
    yield "Tier", case.tier
    signals = _signals(case)
    for signal, tier in signals:
        yield from _cause(case, signal, tier, now if len(signals) > 1 else None, known=known)
    for remedy in case.pinned.remedies if case.pinned else ():
        yield "To try", remedy


def _signals(case: Case) -> list[tuple[SignalRef, str]]:
    """Return the signals that were acted on, in order, each with its effect: the opening one, then those of intents."""
    found = [(case.spec.signal, "which opened it")]
    rung = case.rung
    last = signal_at(case.spec, case.intents, rung.entered_at) if rung is not None else None
    for intent in case.intents:
        if intent.signal is not None and intent.signal not in [signal for signal, _ in found]:
            put = rung is not None and intent.signal == last and intent.tier == rung.tier
            found.append((intent.signal, f"which put it in tier {intent.tier}" if put else f"in tier {intent.tier}"))
    return found


def _cause(case: Case, signal: SignalRef, what: str, now: datetime | None, *, known: bool) -> Iterator[tuple[str, str]]:
    """Yield what a signal says; with ``now``, also when it was observed and what it did."""
    when = f", observed {past(signal.observed_at, now)}, {what}" if now is not None else ""
    manual, by = signal.manual, signal.reported_by
    said = how(by.credential_id, binding=signal.binding or "", known=known) if by is not None else ""
    with_what = f", {said}" if said else ""
    if manual is not None:
        role = f" as {manual.role}" if manual.role else ""
        yield "Raised by", f"{manual.raised_by or 'somebody'}{role}{with_what}{when}: {manual.rationale}"
    for reading in signal.readings:
        yield "Reading", f"{reading.indicator} = {_value(case, reading)}{_thresholds(case, reading.indicator)}{when}"
    if by is not None and manual is None:
        yield "Reported by", f"{by.username}{with_what}"


def _value(case: Case, reading: Reading) -> str:
    """Return the value with its unit, and why it did not count where that is so."""
    declared = indicator_of(case.policy.indicators, reading.indicator)
    why = no_measurement(declared, reading)
    return with_unit(reading.value, declared) + (f", not counted ({why[0]})" if why else "")


def _thresholds(case: Case, indicator: str) -> str:
    limits = [
        f"{tier.name} {'above' if trigger.above is not None else 'below'} "
        f"{trigger.above if trigger.above is not None else trigger.below:g}"
        for tier in case.policy.tiers
        for trigger in tier.triggers
        if trigger.indicator == indicator
    ]
    return f" ({', '.join(limits)})" if limits else ""


def _rung(case: Case, now: datetime) -> Iterator[tuple[str, str]]:
    yield "Opened", past(case.opened, now)
    if case.status.closed_at is not None or not case.is_open:
        closed = case.condition(ConditionType.CLOSED)
        how = _ending(case, closed)
        at = case.status.closed_at or (closed.last_transition_time if closed else None)
        yield "Closed", (past(at, now) if at else "yes") + how
        if case.status.review is not None:
            review = case.status.review
            policy = "policy changed" if review.policy_updated else "policy not changed"
            yield "Review", f"{past(review.at, now)} by {review.by}: {policy}, satisfaction {review.satisfaction} of 5"
        elif closed is not None:
            yield "Review", "not yet"
        return
    rung = case.rung
    if rung is not None:
        yield "Rung", f"{rung.number}, tier {rung.tier}, since {past(rung.entered_at, now)} ({rung.reason})"
        yield from _deadlines(case, rung, now)
        if rung.stalled_at is not None:
            yield "Stalled", f"{past(rung.stalled_at, now)}: nobody acknowledged or decided in time"
    if case.is_suspended:
        found = case.condition(ConditionType.LADDER_ACTIVE)
        yield "Suspended", f"{found.message if found else 'the ladder'}; decisions count, and a Resume restores"
    if rung is None:
        yield "Rung", "none yet: nothing is on record, and nobody was notified; the ladder's condition Ready says why"
    else:
        yield "Waiting on", listed(map(case.or_alternates, case.waiting_on)) or "nobody"
    if case.due_at is not None:
        yield "Next", deadline(case.due_at, now) + ("; without effect while suspended" if case.is_suspended else "")
    acceptance = case.status.risk_acceptance
    if acceptance is not None:
        until = deadline(acceptance.until, now)
        yield "Risk accepted", f"up to tier {acceptance.tier} until {until}, by {listed(acceptance.by)}"


def _ending(case: Case, closed: Condition | None) -> str:
    """Return how it ended, and by whom."""
    resolution = case.status.resolution
    if resolution is not None:
        agreed = [d.by for d in case.standing.counted(DecisionAction.CLOSE) if d.resolution == resolution]
        return f" as {resolution}" + (f", by {listed(dict.fromkeys(agreed))}" if agreed else "")
    if closed is None:
        return ""
    return f" by itself ({closed.reason})" + (f": {closed.message}" if closed.message else "")


def _deadlines(case: Case, rung: Rung, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what is asked by when and what happens otherwise, what was missed, and which deadline has been met."""
    asked = case.demands(now)
    for what, by, is_met in (
        (ACKNOWLEDGE, rung.acknowledge_by, case.is_answered),
        (DECIDE, rung.decide_by, rung.decided_at is not None),
    ):
        if by is not None and is_met:
            yield f"{what.capitalize()}d", f"yes; the deadline {'is' if by > now else 'was'} {local(by)}"
        elif by is not None and not any(demand.what == what for demand in asked):
            yield f"{what.capitalize()} by", deadline(by, now)
    for demand in asked:
        if not demand.is_duty:
            otherwise = f"; otherwise {demand.otherwise}" if demand.otherwise else ""
            yield f"{demand.what.capitalize()} by", f"{deadline(demand.by, now)}{otherwise}"


def _people(case: Case, now: datetime) -> Iterator[tuple[str, str]]:
    for role in dict.fromkeys(n.role for n in case.status.notifications):
        notified = sorted((n for n in case.status.notifications if n.role == role), key=lambda n: n.at)
        for number, notification in enumerate(notified[-3:]):
            yield role if number == 0 else "", _notified(notification, now)
        if len(notified) > 3:
            yield "", f"and {len(notified) - 3} earlier"
    for decision in case.standing.counted(DecisionAction.ACKNOWLEDGE):
        yield decision.role, f"acknowledged by {decision.by}, {past(decision.at, now)}"


def _notified(notification: Notification, now: datetime) -> str:
    when = past(notification.done_at or notification.at, now)
    tries = f" after {notification.attempts} attempts" if notification.attempts > 1 else ""
    error = f": {notification.last_error}" if notification.last_error else ""
    others = "" if not notification.last_error else ", some still tried" if notification.is_outstanding else ", not all"
    what = {
        NotificationState.DELIVERED: f"notified over {notification.channel}, delivered {when}{tries}{others}{error}",
        NotificationState.PENDING: f"on its way over {notification.channel}, queued {when}{tries}{error}",
        NotificationState.FAILED: f"NOT notified over {notification.channel}, failed {when}{tries}{error}",
        NotificationState.SKIPPED: f"not notified over {notification.channel}: overtaken {when}",
    }[notification.state]
    return f"{what} ({notification.about})"


def _containment(case: Case, now: datetime) -> Iterator[tuple[str, str]]:
    if not case.intents:
        return
    yield "Contained", _contained(case)
    for status in case.status.containments:
        intent = status.intent
        back = f" to revision {intent.revision}" if intent.revision else ""
        yield "Action", f"{intent.action}{back}, intended {past(intent.intended_at, now)}"
        if (asked := _asked_for(case, intent)) is not None and asked is not intent.action:
            yield "", f"instead of {asked}: {intent.message or intent.reason}"
        what = _out_of_service(case, intent) if intent.action is ContainmentAction.ROLLBACK else ""
        on_traffic = intent.action.axis is Axis.TRAFFIC  # its pods go on running
        for label, at, of in (
            ("Applied", status.applied_at, ""),
            ("Out of service", None if on_traffic else status.endpoints_empty_at, what),
            ("Proved" if on_traffic else "No pod left", status.pods_gone_at, what),
        ):
            if at is not None:
                dry = ", as a dry run: nothing was changed" if case.spec.drill else ""
                yield label, f"{of}{length_exact(intent.intended_at, at)} after the intent{dry}"
        for reverted in status.drift:
            times = "" if reverted.count == 1 else f", {reverted.count} times"
            yield "Reverted by", f"{reverted.field_manager}{times}, last {past(reverted.at, now)}"
    resume = case.status.resume
    if resume is not None:
        how = f"restored {past(resume.applied_at, now)}" if resume.applied_at else "being restored"
        how = "a drill: there is nothing to restore" if case.spec.drill else how
        watched = _watched(case, resume, now)
        yield "Resumed", f"by {listed(resume.by)}, {past(resume.at, now)}; {how}{watched}"


def _asked_for(case: Case, intent: Intent) -> ContainmentAction | None:
    """Return the safe state that was asked for: by whoever decided or raised it, else by the tier."""
    decided = next((d.containment for d in case.status.decisions if d.name == intent.decision), None)
    manual = intent.signal.manual if intent.signal else case.spec.signal.manual if intent.id == 1 else None
    tier = tier_of(case.policy, intent.tier)
    declared = tier.containment.action if tier is not None and tier.containment is not None else None
    return decided or (manual.containment if manual else None) or declared


def _watched(case: Case, resume: ResumeStatus, now: datetime) -> str:
    """Return until when the model is watched after a Resume, or what has come of that."""
    if case.intent is not None:
        return "; it is contained again since"
    if case.rung is not None and case.rung.entered_at > resume.at:
        return "; it has breached again since"
    if resume.watch_until is None:
        return ""
    if resume.watch_until <= now:
        return f"; was watched until {local(resume.watch_until)}"
    return f"; watched until {deadline(resume.watch_until, now)}"


def _out_of_service(case: Case, intent: Intent) -> str:
    """Return of which revision nothing is left after a rollback."""
    evidence = intent.evidence or case.spec.evidence
    revision = f"revision {evidence.revision}" if evidence and evidence.revision else "the revision"
    return f"of {revision}, which was taken out of service: "


def _contained(case: Case) -> str:
    if case.spec.drill:
        return "no: a drill does not touch the model"
    found = case.condition(ConditionType.CONTAINED)
    if found is not None and found.reason == Reason.TARGET_DELETED:
        return f"{'' if case.contained is Contained.GONE else 'NOT contained: '}{found.message}"
    said = f" ({found.reason})" if found is not None and case.contained is not Contained.NO else ""
    holds = case.condition(ConditionType.CONTAINMENT_HOLDS)
    reverted = holds is not None and holds.status is ConditionStatus.FALSE and case.intent is not None
    return f"{case.contained}{said}" + (
        f"; NOT held now: {holds.message or holds.reason}" if reverted and holds else ""
    )


def length_exact(start: datetime, end: datetime) -> str:
    """Return a short span to the millisecond, a longer one as people say it."""
    seconds = (end - start).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else length(end - start)


def _decisions(view: View, now: datetime) -> Iterator[tuple[str, str]]:
    case = view.case
    for decision in sorted(case.status.decisions, key=lambda d: d.at):
        more = [decision.tier, decision.resolution, decision.containment]
        particulars = [str(text) for text in more if text]
        particulars += [f"until {deadline(decision.until, now)}"] if decision.until else []
        particulars += ["withdraws"] if decision.withdraw else []
        credential = view.credentials.get(decision.name)  # of those only that are still there
        if credential is not None:
            said = how(credential, via=view.via.get(decision.name, ""), known=view.known)
            particulars += [said] if said else []
        what = f"{decision.by} as {decision.role}" + (f", {', '.join(particulars)}" if particulars else "")
        verdict = "" if decision.counted else f"; refused ({decision.reason}): {decision.refused_because}"
        rung = f", rung {decision.rung}" if decision.rung != case.number else ""
        yield str(decision.action), f"{what}, {past(decision.at, now)}{rung}{verdict}"
        if why := " ".join(view.rationales.get(decision.name, "").split()):
            yield "", f"“{why}”"
        if learnt := " ".join(view.lessons.get(decision.name, "").split()):
            yield "Lessons", f"“{learnt}”"


def _agreement(case: Case, found: Agreement) -> tuple[str, str]:
    label = f"{found.action}" + (f" ({found.resolution})" if found.resolution else "")
    if not found.needed:
        return label, "the policy names nobody who may decide that"
    seated = [f"{person} for {role}" for role, person in found.tally.filled]
    text = f"{found.given} of {found.needed}" + (f": {listed(seated)}" if seated else "")
    text += f"; still needed: {missing(case, found)}" if found.tally.missing else "; enough"
    objections = case.objections() if found.action is not DecisionAction.CLOSE else ()
    return label, text + (f"; blocked by the objection of {listed(d.role for d in objections)}" if objections else "")


def _clocks(case: Case, now: datetime) -> Iterator[tuple[str, str]]:
    for clock in case.status.clocks:
        if clock.met_at is not None:
            late = clock.met_at - clock.due_at
            how = f", {length(late)} late" if late >= timedelta(seconds=1) else ""
            yield clock.name, f"{clock.role}: met {past(clock.met_at, now)}{how}"
        else:
            yield clock.name, f"{clock.role}: due {deadline(clock.due_at, now)}"


def _choices(choices: Iterable[Choice], why_none: str) -> Iterator[tuple[str, str]]:
    if why_none:
        yield why_none, ""
    for choice in choices:
        yield choice.what, choice.command
