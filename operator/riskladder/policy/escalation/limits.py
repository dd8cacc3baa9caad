"""Which messages the status keeps, and what is said where it is full.

What is pending stays until it is delivered, given up or overtaken. What is done leaves as soon as nothing depends on
it: it is on record. So a long escalation says the last word as loudly as the first.
"""

from __future__ import annotations

from collections import Counter

from riskladder.api.ladder import ChannelType
from riskladder.api.notification import Notification, NotificationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import MAX_SEQUENCE
from riskladder.policy.draft import Draft

MOST_NOTIFICATIONS = 500
"""Messages that are queued at most; the status has room for 512."""

MOST_BYTES = 600_000
"""Bytes of messages that are queued at most: with policy and decisions the object has to stay below etcd's 1.5 MiB."""

ERROR_LIMIT = 300
"""Characters of the last error of a message that are kept."""

MOST_ANSWERS = 248
"""Decisions with an effect from which on others than Contain are refused."""

MOST_RECORDS = MAX_SEQUENCE - 10_000
"""Records from which on the end of a chain is in sight."""

CLOCK = "clock/"
"""What the key of a message about a clock begins with."""


def tidy(draft: Draft) -> None:
    """Drop what is done and on which nothing depends any more."""
    kept = _needed(draft)
    done = [k for k, n in draft.notifications.items() if not n.is_outstanding]
    for key in done:
        if key not in kept:
            del draft.notifications[key]


def _needed(draft: Draft) -> set[str]:
    """Return the keys of the messages on which something still depends: none must be said twice or left open."""
    found: set[str] = set()
    latest: dict[tuple[str, ...], Notification] = {}
    types = {c.name: c.type for c in draft.policy.channels}
    for key, n in draft.notifications.items():
        groups = [("pair", n.role, n.channel)]
        if key.startswith(CLOCK):
            clock = draft.clocks.get(key.split("/")[1])
            groups += [(CLOCK, clock.name, n.channel)] if clock is not None and clock.met_at is None else []
        elif n.about in (Reason.REMINDED, Reason.CONTAINMENT_REAPPLIED):
            groups += [(n.about, n.role, n.channel)]
        else:
            # That the containment fails is said once to everybody, on whichever rung.
            is_failing = n.about in (Reason.CONTAINMENT_LATE, Reason.CONTAINMENT_IMPOSSIBLE)
            groups += [(n.about, n.role, n.channel)] if is_failing else []
            fires = types.get(n.channel) is ChannelType.ALERTMANAGER and not _is_resolved(draft, n)
            if fires or n.rung == draft.rung.number or draft.escalation.spec.drill:
                found.add(key)
        for group in groups:
            if group not in latest or n.at >= latest[group].at:
                latest[group] = n
    return found | {n.key for n in latest.values()}


def _is_resolved(draft: Draft, alert: Notification) -> bool:
    """Return whether nothing fires of the alert of a rung that was left."""
    if alert.state is not NotificationState.DELIVERED:
        return True
    left = draft.notifications.get(left_key(alert))
    return left is not None and left.state is not NotificationState.PENDING


def left_key(alert: Notification) -> str:
    """Return the key of the message that resolves the alert of a rung that was left."""
    return f"{alert.rung}/{alert.role}/left/{alert.channel}"


def newest_reminders(draft: Draft) -> set[str]:
    """Return the keys of the last reminder of each role and channel."""
    newest: dict[tuple[str, str], Notification] = {}
    for n in draft.notifications.values():
        recipient = (n.role, n.channel)
        if n.about == Reason.REMINDED and (recipient not in newest or n.at >= newest[recipient].at):
            newest[recipient] = n
    return {n.key for n in newest.values()}


def has_room(draft: Draft, key: str) -> bool:
    """Return whether one more message can be queued; what has to wait for room is said in the condition."""
    if len(draft.notifications) < MOST_NOTIFICATIONS and _bytes(draft) < MOST_BYTES:
        return True
    draft.unqueued.append(key)
    return False


def _bytes(draft: Draft) -> int:
    """Return about how many bytes the messages take in the stored object, managedFields included."""
    return sum(
        len((n.message + n.last_error).encode())
        + 2 * len(n.key)
        + sum(len((ask.what + ask.who + ask.otherwise).encode()) + 80 for ask in n.asks)
        + 500
        for n in draft.notifications.values()
    )


def say(draft: Draft) -> None:
    """Say whether a limit of the status is reached, and what makes room."""
    conditions, ledger = draft.conditions, draft.escalation.status.ledger
    was = conditions.get(ConditionType.WITHIN_LIMITS)
    if draft.unqueued:
        reason, message = Reason.OUTBOX_FULL, _full(draft)
    elif len(draft.decisions) >= MOST_ANSWERS:
        reason = Reason.TOO_MANY_DECISIONS
        message = (
            f"status.decisions: found {len(draft.decisions)} decisions that have an effect, expected fewer than "
            f"{MOST_ANSWERS}: only Contain is judged; let a quorum decide, or enter a higher rung"
        )
    elif ledger is not None and ledger.sequence >= MOST_RECORDS:
        reason = Reason.CHAIN_FULL
        message = (
            f"status.ledger: more than {MOST_RECORDS} records, and a chain takes {MAX_SEQUENCE}: after that, what "
            "happens is in Events, in the status and in messages only; close it, so that the next escalation begins "
            "a chain of its own"
        )
    else:
        conditions.set(ConditionType.WITHIN_LIMITS, True, Reason.ROOM_LEFT, "there is room for messages and decisions")
        return
    if was is None or was.reason != reason:
        key = f"limit/{reason}/{draft.rung.number}/{was.last_transition_time.isoformat() if was else 'first'}"
        draft.warn(reason, key, message)
    conditions.set(ConditionType.WITHIN_LIMITS, False, reason, message)


def _full(draft: Draft) -> str:
    pending = Counter(n.channel for n in draft.notifications.values() if n.state is NotificationState.PENDING)
    waiting = ", ".join(f"{channel}: {count}" for channel, count in pending.most_common(4)) or "none"
    found, most = f"{len(draft.notifications)} messages of {_bytes(draft) // 1000} kB", MOST_BYTES // 1000
    return (
        f"status.notifications: found {found}, expected fewer than {MOST_NOTIFICATIONS} of less than {most} kB: "
        f"{len(draft.unqueued)} more wait for room, first {draft.unqueued[0]}; repair the channels that have not "
        f"delivered (pending on {waiting}), or address fewer roles and channels in the ladder"
    )
