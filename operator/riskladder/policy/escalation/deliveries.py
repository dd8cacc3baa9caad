"""What became of each message: what the attempts to deliver it have come to, for the status and for the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from riskladder.api.escalation import EscalationStatus
from riskladder.api.foreign import clip
from riskladder.api.notification import MAX_RECEIPTS, Notification, NotificationState
from riskladder.api.reasons import Reason
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import limits
from riskladder.policy.plan import Entry, Measure
from riskladder.policy.repeats import repeat
from riskladder.policy.snapshot import Delivery


def record_deliveries(draft: Draft) -> None:
    """Take in what the attempts to deliver have come to."""
    for key, notification in list(draft.notifications.items()):
        delivery = draft.snapshot.deliveries.get((draft.escalation.uid, key))
        is_open = notification.is_outstanding or notification.state is NotificationState.SKIPPED
        if delivery is None or not is_open or delivery.attempts <= notification.attempts:
            continue
        update: dict[str, Any] = {"attempts": delivery.attempts, "last_error": clip(delivery.error, limits.ERROR_LIMIT)}
        update |= {"receipts": delivery.receipts[:MAX_RECEIPTS], "thread": delivery.thread}
        tried = notification.model_copy(update=update)
        draft.notifications[key] = _recorded(draft, tried, delivery)


def _recorded(draft: Draft, tried: Notification, delivery: Delivery) -> Notification:
    """Return the notification after an attempt. A channel that reached one of its recipients has reached the role."""
    was = tried.state
    is_over = not delivery.error or delivery.given_up or was is NotificationState.SKIPPED
    if (not delivery.error or delivery.receipts) and was is not NotificationState.DELIVERED:
        tried = delivered(draft, tried, delivery.at, tried.at)
    if tried.state is NotificationState.DELIVERED:
        tried = tried.model_copy(update={"done_at": delivery.at if is_over else None})
    elif delivery.given_up and was is NotificationState.PENDING:
        tried = tried.model_copy(update={"state": NotificationState.FAILED, "done_at": delivery.at})
    if delivery.given_up and was is not NotificationState.SKIPPED:
        who = "some of" if tried.state is NotificationState.DELIVERED else ""
        message = f"{who} {tried.role} could not be notified over {tried.channel}: {delivery.error}".strip()
        draft.warn(Reason.NOTIFICATION_FAILED, f"failed/{tried.key}", message, **_particulars(tried))
    return tried


def delivered(draft: Draft, notification: Notification, at: datetime, since: datetime) -> Notification:
    """Return the notification as delivered, and put it on record.

    Args:
        draft: The escalation.
        notification: As it was.
        at: When it was delivered.
        since: From when on its delivery is measured.
    """
    about = Reason(notification.about)
    has_own_event = about in (Reason.REMINDED, Reason.ALTERNATES_NOTIFIED, Reason.CLOCK_REMINDED, Reason.CLOCK_OVERDUE)
    entry = Entry(
        event=about if has_own_event else Reason.NOTIFIED,
        key=f"notified/{notification.key}",
        at=at,
        message=f"{notification.role} was notified over {notification.channel}: {notification.message}"[:1024],
        detail=_particulars(notification),
        measure=Measure("notify", notification.role, (at - since).total_seconds()),
    )
    if about is Reason.REMINDED:
        draft.repeats, entry = repeat(draft.repeats, entry, notification.rung, notification.role)
    draft.entries.append(entry)
    return notification.model_copy(update={"state": NotificationState.DELIVERED, "done_at": at})


def recall(
    status: EscalationStatus, uid: str, records: Iterable[Mapping[str, Any]]
) -> tuple[EscalationStatus, tuple[Entry, ...]]:
    """Return the status with what records say of messages, and the Events of it: an operator was killed in between.

    Without it a message that is delivered once more would go on record once more.

    Args:
        status: About to be written.
        uid: Of the escalation.
        records: Entries of records that nothing in the status accounts for.
    """
    notifications = {n.key: n for n in status.notifications}
    entries = []
    for record in records:
        detail, at = record["detail"], datetime.fromisoformat(record["at"])
        act = str(detail.get("key", "")).removeprefix(f"{uid}/")
        state = _STATES.get(act.partition("/")[0])
        found = notifications.get(act.partition("/")[2])
        if state is None or found is None or found.state in (state, NotificationState.DELIVERED):
            continue  # a role that was reached stays so, though some of its people were not
        attempts = max(found.attempts, int(detail.get("attempts", 0)))
        notifications[found.key] = found.model_copy(update={"state": state, "attempts": attempts, "done_at": at})
        event = Reason(record["event"])
        entries.append(Entry(event, act, at, detail.get("message", ""), warning=state is NotificationState.FAILED))
    return status.model_copy(update={"notifications": tuple(notifications.values())}), tuple(entries)


_STATES = {"notified": NotificationState.DELIVERED, "failed": NotificationState.FAILED}
"""What the key of a record begins with, and what it says of the message that the rest of the key names."""


def _particulars(notification: Notification) -> dict[str, str]:
    return {
        "notification": notification.key,
        "about": notification.about,
        "role": notification.role,
        "channel": notification.channel,
        "attempts": str(notification.attempts),
    }
