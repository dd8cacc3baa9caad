"""Notifications: who is notified on a rung, who is reminded, who stands in, and what became of each message.

The outbox is ``status.notifications``. A message is fixed when it is queued: its key, what it says, the deadline it
speaks of. It is delivered at least once, and a receiver recognizes a repetition by the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.foreign import clip
from riskladder.api.ladder import INCIDENTS, ChannelType
from riskladder.api.notification import EVENTS, MAX_ASKS, Ask, Notification, NotificationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import TimeoutAction
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import limits
from riskladder.policy.escalation.deliveries import delivered
from riskladder.policy.escalation.demands import Demand, demands
from riskladder.policy.escalation.summary import serves, summarise, what
from riskladder.policy.quorum import alternates, answerable, close_quorum, described

UNREACHABLE_AFTER = 3
"""Failed attempts after which a channel no longer counts as a way to reach a role."""

DEFAULT_REMINDER = timedelta(hours=1)
"""How often those are reminded who have missed the deadline to decide, where the tier does not say."""

CHASING = (
    Reason.NOTIFIED,
    Reason.REMINDED,
    Reason.ALTERNATES_NOTIFIED,
    Reason.HELD,
    Reason.INTERIM_CONTAINMENT,
    Reason.DECISION_OVERDUE,
)
"""The reasons of messages that ask somebody to act: worth nothing once it is done, or another rung is entered."""

FAILING = (Reason.CONTAINMENT_LATE, Reason.CONTAINMENT_IMPOSSIBLE)
"""Why a model is not contained of which people believe that it is."""


@dataclass(frozen=True, slots=True)
class NotifiedRole:
    """A role that is notified on this rung."""

    role: str
    since: datetime
    stands_for: str = ""
    """The role in whose place, for an alternate."""


def notified_roles(draft: Draft) -> list[NotifiedRole]:
    """Return who has to have been notified by now, in order; alternates follow where nobody answers for a role."""
    found: dict[str, NotifiedRole] = {}
    for role, due, stands_for in _schedule(draft):
        if _is_due(draft, role, due):
            found.setdefault(role, NotifiedRole(role, due, stands_for))
    return list(found.values())


def _is_due(draft: Draft, role: str, due: datetime) -> bool:
    """Return whether a role is to be notified by now: with a wrong clock only where nothing was waited for."""
    if due > draft.now:
        return False
    if draft.time_counts or due == draft.rung.entered_at:
        return True
    prefix = f"{draft.rung.number}/{role}/"
    return any(key.startswith(prefix) for key in draft.notifications)


def _schedule(draft: Draft) -> list[tuple[str, datetime, str]]:
    """Return each role, when it is notified, and for whom it stands in."""
    tier, rung = draft.tier, draft.rung
    if tier is None:
        return []
    answered = draft.answered()
    schedule = [(n.role, rung.entered_at + n.after.delta, "") for n in tier.notify]
    for role, due, _ in list(schedule):
        others = alternates(draft.policy, role)
        if role in answered or answered & set(others):
            continue
        if _is_unreachable(draft, role):
            schedule += [(other, rung.entered_at, role) for other in others]
        elif tier.acknowledge is not None:
            schedule += [(other, due + tier.acknowledge.within.delta, role) for other in others]
    return schedule


def _is_unreachable(draft: Draft, role: str) -> bool:
    """Return whether no channel of the role has carried the first message of this rung."""
    prefix = f"{draft.rung.number}/{role}/notified/"
    sent = [n for n in draft.notifications.values() if n.key.startswith(prefix)]
    return bool(sent) and all(
        n.state is NotificationState.FAILED
        or (n.state is NotificationState.PENDING and n.attempts >= UNREACHABLE_AFTER)
        for n in sent
    )


def queue(draft: Draft) -> None:
    """Queue what has to be said now, once each, and drop what has been overtaken."""
    if not draft.is_suspended:
        _skip_overtaken(draft)
        limits.tidy(draft)  # what is over makes room for what is news
        _queue(draft)
        _skip_overtaken(draft)
        limits.tidy(draft)
    limits.say(draft)


def _queue(draft: Draft) -> None:
    if draft.waits:
        _notify_roles(draft)
        _notify_owner(draft)
        _remind(draft)
    _notify_of_drift(draft)
    _notify_of_failure(draft)
    _notify_of_proof(draft)
    _acknowledge_incidents(draft)
    _resolve_left_rungs(draft)
    _say_it_is_over(draft)
    if not draft.is_closed:
        _remind_of_clocks(draft)


def _notify_roles(draft: Draft) -> None:
    summary = summarise(draft)
    for role, due, stands_for in _schedule(draft):
        if not _is_due(draft, role, due):
            draft.wake.append(due)
        elif stands_for:
            message = f"You stand in for {stands_for}, who has not answered: {summary}"
            _put(draft, f"{draft.rung.number}/{role}/for-{stands_for}", role, Reason.ALTERNATES_NOTIFIED, message)
        else:
            _put(draft, f"{draft.rung.number}/{role}/notified", role, Reason.NOTIFIED, summary, since=due)


def _remind(draft: Draft) -> None:
    """Remind those who owe an answer, at the latest time that is due; one that was missed is not made up for."""
    step = _remind_every(draft) or DEFAULT_REMINDER
    for role, (kind, since) in _owing(draft).items():
        number = int((draft.now - since) / step)
        draft.wake.append(since + (number + 1) * step)
        if number >= 1 and draft.time_counts and not _is_chased(draft, role, since + number * step):
            message = f"Reminder {number}, {role} has not answered: {summarise(draft)}"
            _put(draft, f"{draft.rung.number}/{role}/{kind}-{number}", role, Reason.REMINDED, message)


def _is_chased(draft: Draft, role: str, since: datetime) -> bool:
    """Return whether a role has been asked to act by another message since a reminder of it was due."""
    asked = (n for n in draft.notifications.values() if n.rung == draft.rung.number and n.role == role)
    return any(n.about in CHASING and n.about != Reason.REMINDED and n.at >= since for n in asked)


def _remind_every(draft: Draft) -> timedelta | None:
    acknowledge = draft.tier.acknowledge if draft.tier else None
    return acknowledge.remind_every.delta if acknowledge and acknowledge.remind_every else None


def _owing(draft: Draft) -> dict[str, tuple[str, datetime]]:
    """Return the roles that owe an answer: which reminder is for them, and from when it counts.

    Those who were notified and have not answered; after the deadline to decide, those who have not decided.
    """
    tier, rung, answered = draft.tier, draft.rung, draft.answered()
    owing: dict[str, tuple[str, datetime]] = {}
    if tier is None or not draft.waits:
        return owing
    for person in notified_roles(draft) if _remind_every(draft) is not None else ():
        if not answered & {person.role, person.stands_for, *alternates(draft.policy, person.role)}:
            owing[person.role] = ("remind", _first_notified_at(draft, person))
    if rung.decide_missed_at is not None and tier.decide is not None:
        voted = {vote.role for vote in draft.votes()}
        for member in tier.decide.quorum:
            if not voted & {member.role, *alternates(draft.policy, member.role)}:
                owing.setdefault(member.role, ("undecided", rung.decide_missed_at))
    return owing


def _first_notified_at(draft: Draft, person: NotifiedRole) -> datetime:
    prefix = f"{draft.rung.number}/{person.role}/"
    found = [n for n in draft.notifications.values() if n.key.startswith(prefix) and n.about != Reason.REMINDED]
    return min((n.at for n in found), default=person.since)


def _notify_owner(draft: Draft) -> None:
    """Notify the charter's owner of a rung that stalled, and of a decision that is overdue after that."""
    rung, owner = draft.rung, answerable(draft.policy, draft.tier)
    if not owner:
        return
    action = draft.tier.on_timeout if draft.tier else TimeoutAction.HOLD
    applied = Reason.INTERIM_CONTAINMENT if action is TimeoutAction.CONTAIN else Reason.HELD
    overdue = rung.decide_missed_at if rung.decide_missed_at != rung.stalled_at else None
    for at, kind, about in (
        (rung.stalled_at, "stalled", applied),
        (overdue, "decision-overdue", Reason.DECISION_OVERDUE),
    ):
        if at is not None:
            message = f"Nobody has acted in time: {summarise(draft)}"
            _put(draft, f"{rung.number}/{owner}/{kind}", owner, about, message)


def _notify_of_drift(draft: Draft) -> None:
    """Notify whoever was notified of the rung that somebody reverts the containment: first, and every tenth time."""
    reverted = [found for containment in draft.containments.values() for found in containment.drift]
    if not reverted or not draft.is_contained:
        return
    milestone = sum(found.count for found in reverted) // 10 * 10 or 1
    last, intent = max(reverted, key=lambda u: u.at), max(c.intent.id for c in draft.containments.values())
    message = f"{last.field_manager} reverted the containment ({milestone} so far); done again: {summarise(draft)}"
    for role in _heard(draft):
        key = f"{draft.rung.number}/{role}/reverted-{intent}-{milestone}"
        _put(draft, key, role, Reason.CONTAINMENT_REAPPLIED, message)


def _heard(draft: Draft) -> list[str]:
    """Return the roles that were notified on this rung; not those due after people have decided."""
    heard = {n.role for n in draft.notifications.values() if n.rung == draft.rung.number}
    return [person.role for person in notified_roles(draft) if person.role in heard]


def _ever_heard(draft: Draft) -> dict[str, datetime]:
    """Return the roles that were notified on any rung, each with the time of the last message that says more than this.

    A higher tier may notify other roles: those of the lower one were told what is no longer so.
    """
    heard: dict[str, datetime] = {}
    for n in draft.notifications.values():
        if n.state is not NotificationState.SKIPPED and not n.key.startswith(limits.CLOCK):
            heard[n.role] = max(n.at, heard.get(n.role, n.at))
    return heard


def _notify_of_failure(draft: Draft) -> None:
    """Notify whoever was notified, and may have stopped looking, that the model is not contained, once, and why."""
    contained = draft.conditions.get(ConditionType.CONTAINED)
    if draft.is_closed or not draft.is_contained or contained is None or contained.reason not in FAILING:
        return
    intent, about = max(c.intent.id for c in draft.containments.values()), Reason(contained.reason)
    word = "late" if about is Reason.CONTAINMENT_LATE else "impossible"
    for role in _ever_heard(draft):
        known = f"/{role}/{word}-{intent}/"
        if any(known in f"/{key.partition('/')[2]}" for key in draft.notifications):
            continue
        message = f"The containment is {word}, and the model is NOT contained: {summarise(draft)}"
        _put(draft, f"{draft.rung.number}/{role}/{word}-{intent}", role, about, message)


def _notify_of_proof(draft: Draft) -> None:
    """Correct earlier messages, which said that the model is not contained, or not yet."""
    contained = draft.conditions.get(ConditionType.CONTAINED)
    if draft.is_closed or not draft.is_contained or contained is None or contained.status != "True":
        return
    proved = [c for c in draft.containments.values() if c.pods_gone_at is not None]
    last = max(proved, key=lambda c: c.intent.id, default=None)
    if last is None or last.pods_gone_at is None:
        return
    for role, at in _ever_heard(draft).items():
        if at < last.pods_gone_at:
            message = f"The model is contained now: {summarise(draft)}"
            key = f"{draft.rung.number}/{role}/contained-{last.intent.id}"
            _put(draft, key, role, Reason(contained.reason), message)


def _acknowledge_incidents(draft: Draft) -> None:
    """Acknowledge the incident that a role's message opened, once somebody has answered."""
    answered = draft.answered()
    types = {c.name: c.type for c in draft.policy.channels}
    pairs = {(n.role, n.channel) for n in draft.notifications.values() if n.rung == draft.rung.number}
    for role, channel in sorted(pairs):
        takers = answered & {role, *alternates(draft.policy, role)}
        if takers and types.get(channel) in INCIDENTS:
            message = f"Taken by {', '.join(sorted(takers))}: {what(draft)}, tier {draft.rung.tier}"
            key = f"{draft.rung.number}/{role}/acknowledged"
            _put(draft, key, role, Reason.ACKNOWLEDGED, message, only=channel)


def _resolve_left_rungs(draft: Draft) -> None:
    """Resolve the alert of a rung that was left: an alert has the tier in its labels, and a higher one fires now."""
    types = {c.name: c.type for c in draft.policy.channels}
    for notification in list(draft.notifications.values()):
        is_alert = types.get(notification.channel) is ChannelType.ALERTMANAGER
        is_left = notification.rung < draft.rung.number and notification.tier != draft.rung.tier
        if is_alert and is_left and notification.state is NotificationState.DELIVERED:
            key = limits.left_key(notification)
            if key not in draft.notifications and limits.has_room(draft, key):
                message = f"Tier {notification.tier} was left for {draft.rung.tier}: {what(draft)}"
                update = {"key": key, "about": str(Reason.RUNG_LEFT), "message": message[:1024], "at": draft.now}
                update |= {"state": NotificationState.PENDING, "attempts": 0, "done_at": None, "due_at": None}
                draft.notifications[key] = notification.model_copy(update=update)


def _say_it_is_over(draft: Draft) -> None:
    """Notify whoever was notified before, over the same channel, of the decision or the end."""
    closed = draft.conditions.get(ConditionType.CLOSED)
    if draft.is_closed and closed is not None:
        about, key, message = Reason(closed.reason), "closed", f"Closed: {what(draft)}: {closed.message}"
    elif draft.rung.decided_at is not None and draft.resume is not None and draft.resume.at == draft.rung.decided_at:
        about, key = Reason.RESUMED, f"resumed-{draft.rung.number}"
        closers = described(close_quorum(draft.policy, draft.tier))
        steps = "all steps have been taken and they are sure" if len(draft.resume.steps) > 1 else "they are sure"
        is_or = "would be" if draft.escalation.spec.drill else "is"
        message = f"The model {is_or} resumed: {what(draft)}. It is left to {closers} to close it, once {steps}"
    elif draft.rung.decided_at is not None and draft.is_accepted and draft.acceptance is not None:
        about, key = Reason.RISK_ACCEPTED, f"accepted-{draft.rung.number}"
        message = f"The risk is accepted until {format_time(draft.acceptance.until)}: {what(draft)}"
    else:
        return
    pairs = {(n.role, n.channel) for n in draft.notifications.values() if n.channel != EVENTS}
    for role, channel in sorted(pairs):
        _put(draft, f"{key}/{role}", role, about, message, only=channel)


def _remind_of_clocks(draft: Draft) -> None:
    """Remind of a duty at half time, a day before, and when it is overdue: only the latest of these, once."""
    for clock in draft.clocks.values():
        if clock.met_at is not None:
            continue
        half = clock.started_at + (clock.due_at - clock.started_at) / 2
        stages = [("half", half), ("day", clock.due_at - timedelta(days=1)), ("overdue", clock.due_at)]
        passed = [stage for stage, at in stages if half <= at <= draft.now]
        draft.wake.extend(at for _, at in stages if at > draft.now)
        if not passed or not draft.time_counts:
            continue
        overdue = passed[-1] == "overdue"
        event = Reason.CLOCK_OVERDUE if overdue else Reason.CLOCK_REMINDED
        message = f"{clock.name} {'was' if overdue else 'is'} due by {format_time(clock.due_at)}: {what(draft)}"
        _put(draft, f"clock/{clock.name}/{passed[-1]}", clock.role, event, message, due=clock.due_at)


def _put(
    draft: Draft,
    prefix: str,
    role: str,
    about: Reason,
    message: str,
    *,
    due: datetime | None = None,
    since: datetime | None = None,
    only: str = "",
) -> None:
    """Queue a message to each channel of a role, unless it has been queued before."""
    channels = next((s.notify for s in draft.policy.stakeholders if s.role == role), ()) or (EVENTS,)
    for channel in (only,) if only else channels:
        key = f"{prefix}/{channel}"
        if key in draft.notifications or not limits.has_room(draft, key):
            continue
        asks = _asks(draft, due)
        notification = Notification(
            key=key,
            rung=draft.rung.number,
            tier=draft.rung.tier,
            role=role,
            channel=channel,
            about=str(about),
            message=message[:1024],
            serves=clip(serves(draft), 256),
            at=draft.now,
            due_at=due or next((ask.by for ask in asks[:1] if not ask.what.startswith(DUTY)), None),
            asks=asks,
            state=NotificationState.PENDING,
        )
        if channel == EVENTS:
            notification = delivered(draft, notification, draft.now, since or draft.now)
        draft.notifications[key] = notification


DUTY = "meet "
"""What a duty is asked for with."""


def asked(draft: Draft) -> tuple[Demand, ...]:
    """Return what is asked of people now."""
    ended = draft.resume.intent if draft.resume else 0
    intents = () if draft.escalation.spec.drill else draft.escalation.intents
    return demands(
        draft.escalation.spec,
        draft.rung,
        draft.now,
        waits=draft.waits,
        answered=bool(draft.answered()),
        contained=[intent.action for intent in intents if intent.id > ended],
        withheld=draft.withheld,
        clocks=draft.clocks.values() if not draft.is_closed else (),
    )


def _asks(draft: Draft, due: datetime | None) -> tuple[Ask, ...]:
    """Return what a message asks for; the deadline that it is about, if it is about one, in front."""
    found = sorted(asked(draft), key=lambda demand: demand.by != due) if due is not None else asked(draft)
    return tuple(
        Ask(what=d.what, by=d.by, who=clip(d.who, 512), otherwise=clip(d.otherwise, 512)) for d in found[:MAX_ASKS]
    )


def _skip_overtaken(draft: Draft) -> None:
    """Drop what is not worth delivering any more: of an earlier rung, answered meanwhile, or followed by another."""
    owing = _owing(draft)
    newest = limits.newest_reminders(draft)
    for key, notification in draft.notifications.items():
        if notification.state is not NotificationState.PENDING or notification.about not in CHASING:
            continue
        is_reminder = notification.about == Reason.REMINDED
        overtaken = (
            notification.rung < draft.rung.number
            or not draft.waits
            or (is_reminder and (notification.role not in owing or key not in newest))
        )
        if overtaken:
            update = {"state": NotificationState.SKIPPED, "done_at": draft.now}
            draft.notifications[key] = notification.model_copy(update=update)
