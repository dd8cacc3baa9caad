"""Messages that belong to a ladder and to no escalation: to whom, what became of them, and which of them are kept.

They are the outbox of the ladder, ``status.notifications``: fixed when they are queued, and delivered at least once.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime

from riskladder.api.foreign import clip
from riskladder.api.ladder import INCIDENTS, MAX_MESSAGES, EscalationLadderSpec
from riskladder.api.notification import EVENTS, MAX_RECEIPTS, Message, NotificationState
from riskladder.api.reasons import Reason
from riskladder.policy.plan import Entry
from riskladder.policy.quorum import answerable
from riskladder.policy.snapshot import Delivery, Ladder, pin

_ERROR_LIMIT = 300
_TEXT_LIMIT = 1000
"""Characters."""


def owner_of(spec: EscalationLadderSpec) -> str:
    """Return the role that answers for a ladder: the charter's owner, else the first that may close; empty for none."""
    return answerable(pin(spec), spec.tiers[-1])


class LadderMessages:
    """The messages of a ladder's next status in the making, and the Events that they are worth."""

    def __init__(
        self,
        ladder: Ladder,
        before: Iterable[Message],
        deliveries: Mapping[tuple[str, str], Delivery],
        now: datetime,
    ) -> None:
        """Start from what is stored, with what has become of it since.

        Args:
            ladder: The ladder.
            before: Its stored messages.
            deliveries: By uid of the ladder and key: what became of the attempts.
            now: Current time, UTC.
        """
        self.ladder = ladder
        self.now = now
        self.entries: list[Entry] = []
        self._found = {message.key: self._tried(message, deliveries) for message in before}

    @property
    def may_notify(self) -> bool:
        """Whether messages may be sent now: not by a ladder that is invalid or suspended."""
        return self.ladder.spec is not None and not self.ladder.spec.suspended

    def notify(
        self, topic: str, key: str, roles: Iterable[str], about: Reason, text: str, *, warning: bool = True
    ) -> None:
        """Notify roles once: by an Event on the ladder, and over each of their channels.

        Args:
            topic: What it belongs to: the messages of one topic to one role are one incident.
            key: Identifies it within its topic.
            roles: Who is notified; nobody twice.
            about: Why.
            text: What happened, in one line.
            warning: Whether it is a warning.
        """
        text = clip(text, _TEXT_LIMIT)
        self.entries.append(Entry(about, f"{topic}/{key}", self.now, text, on=(), warning=warning, recorded=False))
        for role in dict.fromkeys(roles):
            self.queue(topic, key, role, about, text)

    def queue(self, topic: str, key: str, role: str, about: Reason, text: str) -> None:
        """Queue a message to each channel of a role; the Event on the ladder has been written."""
        for channel in self._channels(role) or (EVENTS,):
            self._put(f"{topic}/{key}/{role}/{channel}", role, channel, about, clip(text, _TEXT_LIMIT))

    def end(self, topic: str, key: str, roles: Iterable[str], about: Reason, text: str) -> None:
        """Say that what was notified is over: by an Event, and where a channel keeps an incident open for it."""
        text = clip(text, _TEXT_LIMIT)
        self.entries.append(Entry(about, f"{topic}/{key}/over", self.now, text, on=(), recorded=False))
        spec = self.ladder.spec
        types = {c.name: c.type for c in spec.channels} if spec is not None else {}
        for role in dict.fromkeys(roles):
            for channel in self._channels(role):
                if types.get(channel) in INCIDENTS:
                    self._put(f"{topic}/{key}/over/{role}/{channel}", role, channel, about, text)

    def last_notified(self, topic: str) -> datetime | None:
        """Return when anything of a topic was said last, as far as that is kept."""
        return max((m.at for m in self._found.values() if topic_of(m) == topic), default=None)

    def result(self) -> tuple[Message, ...]:
        """Return what is kept: what is still to be delivered, and of the rest the newest for which there is room."""
        over = len(self._found) - MAX_MESSAGES
        if over > 0:
            done = sorted((m for m in self._found.values() if not m.is_outstanding), key=lambda m: m.at)
            waiting = sorted((m for m in self._found.values() if m.is_outstanding), key=lambda m: m.at)
            for message in (*done, *waiting)[:over]:
                del self._found[message.key]
        return tuple(self._found.values())

    def _channels(self, role: str) -> tuple[str, ...]:
        spec = self.ladder.spec
        return next((s.notify for s in spec.stakeholders if s.role == role), ()) if spec is not None else ()

    def _put(self, key: str, role: str, channel: str, about: Reason, text: str) -> None:
        """Queue a message, unless it has been queued before; through Events it is delivered at once."""
        key = key[:253]
        is_event = channel == EVENTS
        message = Message(
            key=key,
            role=role,
            channel=channel,
            about=str(about),
            message=text,
            at=self.now,
            state=NotificationState.DELIVERED if is_event else NotificationState.PENDING,
            done_at=self.now if is_event else None,
        )
        self._found.setdefault(key, message)

    def _tried(self, message: Message, deliveries: Mapping[tuple[str, str], Delivery]) -> Message:
        """Return a message after what has become of it. One that has reached some of its recipients is delivered."""
        delivery = deliveries.get((self.ladder.uid, message.key))
        if delivery is None or not message.is_outstanding or delivery.attempts <= message.attempts:
            return message
        is_over = not delivery.error or delivery.given_up
        is_there = message.state is NotificationState.DELIVERED or not delivery.error or bool(delivery.receipts)
        is_failed = not is_there and delivery.given_up
        state = NotificationState.DELIVERED if is_there else NotificationState.FAILED
        if delivery.given_up:
            text = f"{message.role} could not be notified over {message.channel}: {delivery.error}"
            text = f"some of {text}" if is_there else text
            entry = Entry(
                Reason.NOTIFICATION_FAILED, f"failed/{message.key}", self.now, text, on=(), warning=True, recorded=False
            )
            self.entries.append(entry)
        return message.model_copy(
            update={
                "attempts": delivery.attempts,
                "last_error": clip(delivery.error, _ERROR_LIMIT),
                "receipts": delivery.receipts[:MAX_RECEIPTS],
                "thread": delivery.thread,
                "state": state if is_there or is_failed else message.state,
                "done_at": delivery.at if is_over else None,
            }
        )


def topic_of(message: Message) -> str:
    """Return what a message belongs to."""
    return message.key.partition("/")[0]


def commands(ladder: Ladder, message: Message) -> tuple[tuple[str, str, str], ...]:
    """Return what the reader of a message can look at: what, who may, and the command."""
    namespace, readers = shlex.quote(ladder.namespace), "anyone who may read the namespace"
    about = {
        Reason.SIGNALS_UNUSABLE: ("See the signals", f"kubectl get modelrisksignals -n {namespace} -o wide"),
        Reason.SIGNALS_USABLE: ("See the signals", f"kubectl get modelrisksignals -n {namespace} -o wide"),
        Reason.BLAST_RADIUS_EXCEEDED: ("See what waits, and decide", f"kubectl riskladder status -n {namespace}"),
        Reason.BLAST_RADIUS_KEPT: ("See what is open", f"kubectl riskladder status -n {namespace}"),
    }
    found = [about[Reason(message.about)]] if message.about in about else []
    found.append(("See the ladder", f"kubectl describe escalationladder {shlex.quote(ladder.name)} -n {namespace}"))
    return tuple((what, readers, command) for what, command in found)
