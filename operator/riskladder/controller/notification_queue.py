"""The messages that the outbox delivers: an escalation's, or a ladder's. It needs the same few facts of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from riskladder.api.ladder import Channel
from riskladder.api.notification import Message, Notification
from riskladder.controller.caches.entries import LadderEntry, LadderKey
from riskladder.controller.caches.store import Store
from riskladder.notify.notice import Notice, Option, Status, compose, compose_for_ladder, status_of
from riskladder.policy.decisions.options import offers
from riskladder.policy.ladder_messages import commands, topic_of
from riskladder.policy.snapshot import Escalation, TargetKey


@dataclass(frozen=True, slots=True)
class NotificationQueue:
    """The messages queued in one object's status, and what is needed to send them."""

    key: TargetKey | LadderKey
    """Whose trail says what became of them."""
    name: str
    uid: str
    ladder: str
    """Name of the ladder that has the channels."""
    channels: tuple[Channel, ...]
    messages: tuple[Message, ...]
    notice: Callable[[Message], Notice]
    topic: Callable[[Message], str]
    """What a message belongs to: of one topic, the newest to a role is the one that counts."""
    stored: Callable[[Store], NotificationQueue | None]
    """The same as it is stored now; ``None`` where it is gone, or has nothing to deliver any more."""

    @property
    def namespace(self) -> str:
        """Where it is."""
        return self.key.namespace

    def channel(self, message: Message) -> Channel | None:
        """Return the channel of a message, as the ladder declares it."""
        return next((c for c in self.channels if c.name == message.channel), None)


def of_escalation(escalation: Escalation) -> NotificationQueue:
    """Return the messages of an escalation, over the channels that it has pinned."""
    target = escalation.spec.target
    key = TargetKey(escalation.namespace, target.kind, target.name)

    def stored(store: Store) -> NotificationQueue | None:
        found = store.escalations.get(key, escalation.name)
        return of_escalation(found) if found is not None else None

    return NotificationQueue(
        key=key,
        name=escalation.name,
        uid=escalation.uid,
        ladder=escalation.spec.ladder.name,
        channels=escalation.spec.policy.channels,
        messages=escalation.status.notifications,
        notice=partial(_notice, escalation),
        topic=lambda message: "",
        stored=stored,
    )


def of_ladder(entry: LadderEntry) -> NotificationQueue:
    """Return the messages of a ladder, over the channels that it has now."""
    ladder = entry.ladder
    key = LadderKey(ladder.namespace, ladder.name)

    def stored(store: Store) -> NotificationQueue | None:
        found = store.ladders.get((key.namespace, key.name))
        return of_ladder(found) if found is not None and found.ladder.uid == ladder.uid else None

    def notice(message: Message) -> Notice:
        return compose_for_ladder(
            namespace=ladder.namespace,
            name=ladder.name,
            uid=ladder.uid,
            message=message,
            options=[Option(*found) for found in commands(ladder, message)],
            stakeholders=ladder.spec.stakeholders if ladder.spec is not None else (),
        )

    return NotificationQueue(
        key=key,
        name=ladder.name,
        uid=ladder.uid,
        ladder=ladder.name,
        channels=ladder.spec.channels if ladder.spec is not None else (),
        messages=entry.status.notifications,
        notice=notice,
        topic=topic_of,
        stored=stored,
    )


def _notice(escalation: Escalation, message: Message) -> Notice:
    assert isinstance(message, Notification)  # noqa: S101 - an escalation has no others
    return notice_of(escalation, message)


def notice_of(escalation: Escalation, notification: Notification) -> Notice:
    """Return what a queued message says: its facts, and what policy lets its reader do."""
    status = status_of(notification.about)
    offered = offers(
        escalation,
        notification,
        is_over=status is Status.RESOLVED,
        is_acknowledged=status is Status.ACKNOWLEDGED,
    )
    return compose(
        namespace=escalation.namespace,
        name=escalation.name,
        uid=escalation.uid,
        spec=escalation.spec,
        notification=notification,
        intents=escalation.saved,
        options=[Option(offer.what, offer.who, offer.command) for offer in offered],
    )
