"""The outbox: delivers what ``status.notifications`` of ladders, and of open and closed escalations, says is pending.

Every message has a task of its own, so that one that hangs delays no other, and no containment: nothing waits for
it. What became of an attempt is kept here until the trail has written it; a crash in between repeats the message with
the same key and the same words.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import time
import weakref
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import datetime

import structlog

from riskladder.api.labels import CHANNELS_SECRET
from riskladder.api.ladder import Channel, ChannelType
from riskladder.api.notification import EVENTS, Message, NotificationState
from riskladder.cluster.client import ApiError, Client, NotFound
from riskladder.cluster.resources import SECRETS
from riskladder.controller.caches.entries import LadderKey
from riskladder.controller.caches.store import Store
from riskladder.controller.notification_queue import NotificationQueue, of_escalation, of_ladder
from riskladder.notify.credentials import credential_of
from riskladder.notify.errors import Undeliverable
from riskladder.notify.notice import Status, status_of
from riskladder.notify.notifier import Notifier
from riskladder.policy.escalation.notifications import UNREACHABLE_AFTER
from riskladder.policy.snapshot import Delivery, TargetKey

log = structlog.get_logger(__name__)

"""The one Secret that is read, in the namespace of the ladder."""

SECRET_FOR = 15.0
"""Seconds for which the content of a Secret is believed."""

FIRST_RETRY, LAST_RETRY = 2.0, 300.0
"""Seconds to wait after the first failed attempt, and at most; each wait is twice the one before."""

MOST_ATTEMPTS = 12
"""Attempts before a message is given up: about half an hour."""

KEEP_FIRING = 240.0
"""Seconds between repetitions of an alert that still waits: Alertmanager forgets what nobody repeats."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What became of sending a message once."""

    error: str = ""
    """Empty: everybody has it."""
    permanent: bool = False
    """Whether trying again is of no use."""
    wait: float = 0.0
    """Seconds that the receiver asked to be left alone for."""
    receipts: tuple[str, ...] = ()
    """Who has taken which part of it, where somebody has not."""
    thread: str = ""
    """In which thread it stands, where the service keeps them."""


class Outbox:
    """Delivers notifications while this replica leads."""

    def __init__(
        self,
        client: Client,
        notifier: Notifier,
        store: Store,
        *,
        changed: Callable[[TargetKey | LadderKey], None],
        now: Callable[[], datetime],
    ) -> None:
        """Prepare; nothing is sent before ``activate``.

        Args:
            client: Reads the Secret.
            notifier: Sends the messages.
            store: Says whether a message is still worth sending.
            changed: Called with the key whose trail has something new.
            now: The current time, UTC.
        """
        self._client = client
        self._notifier = notifier
        self._store = store
        self._changed = changed
        self._now = now
        self._active = False
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._secrets: dict[str, tuple[float, dict[str, str] | None]] = {}
        self._failures: dict[tuple[str, str, str], int] = {}
        """In a row, by namespace, ladder and channel."""
        self._turns: weakref.WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        """By uid of the escalation or ladder, channel and topic: held by the message that may begin the thread."""
        self.deliveries: dict[tuple[str, str], Delivery] = {}
        """By uid of the escalation or ladder, and key: what the trail has not written yet."""
        self.unavailable: dict[tuple[str, str], dict[str, str]] = {}
        """By namespace and ladder: the channels that do not work, and why."""

    def activate(self) -> None:
        """Begin to deliver."""
        self._active = True

    def pause(self) -> None:
        """Stop: another replica delivers from now on."""
        self._active = False
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def close(self) -> None:
        """Stop, and give up connections."""
        tasks = list(self._tasks.values())
        self.pause()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._notifier.close()

    def deliver(self, key: TargetKey | LadderKey) -> None:
        """Have delivered what is pending of a target's escalations, or of a ladder itself."""
        if isinstance(key, TargetKey):
            for escalation in self._store.escalations.of(key):
                self.consider(of_escalation(escalation))
        elif (entry := self._store.ladders.get((key.namespace, key.name))) is not None:
            self.consider(of_ladder(entry))

    def consider(self, queue: NotificationQueue) -> None:
        """Deliver what is pending, and forget what has been written."""
        if not self._active:
            return
        keys = {message.key for message in queue.messages}
        for delivery_key in [p for p in self.deliveries if p[0] == queue.uid and p[1] not in keys]:
            del self.deliveries[delivery_key]  # it was written, and has left the status
        for message in queue.messages:
            delivery_key = (queue.uid, message.key)
            known = self.deliveries.get(delivery_key)
            if known is not None and message.attempts >= known.attempts:
                del self.deliveries[delivery_key]
            if message.is_outstanding and delivery_key not in self._tasks:
                if known is None or not (known.given_up or not known.error):
                    self._start(delivery_key, self._deliver(queue, message))
            elif self._keeps_firing(queue, message) and delivery_key not in self._tasks:
                self._start(delivery_key, self._repeat(queue, message))

    def forget(self, known: Collection[str]) -> None:
        """Drop what belongs to escalations and ladders that are gone.

        Args:
            known: uids of those that are not.
        """
        for delivery_key in [delivery_key for delivery_key in self.deliveries if delivery_key[0] not in known]:
            del self.deliveries[delivery_key]

    def _start(self, delivery_key: tuple[str, str], work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks[delivery_key] = task
        task.add_done_callback(
            lambda _: self._tasks.pop(delivery_key, None) if self._tasks.get(delivery_key) is task else None
        )

    # --- One message ----------------------------------------------------------------------------------------------

    async def _deliver(self, queue: NotificationQueue, message: Message) -> None:
        """Try until it is delivered, given up, or not worth it any more."""
        key, receipts = queue.key, message.receipts
        attempts = message.attempts
        while True:
            attempts += 1
            tried = await self._attempt(queue, message, receipts)
            receipts = tried.receipts or receipts
            given_up = bool(tried.error) and (tried.permanent or attempts >= MOST_ATTEMPTS)
            delivery_key = (queue.uid, message.key)
            self.deliveries[delivery_key] = Delivery(
                attempts, self._now(), tried.error, given_up, receipts, tried.thread
            )
            self._note(queue, message.channel, tried)
            self._changed(key)
            if not tried.error or given_up:
                return
            ceiling = min(LAST_RETRY, FIRST_RETRY * 2.0 ** (attempts - 1))
            jittered = ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter, not a secret
            await asyncio.sleep(max(jittered, tried.wait))
            stored = self._stored(queue, message)
            if stored is None or not stored.is_outstanding:
                return

    async def _attempt(self, queue: NotificationQueue, message: Message, receipts: Collection[str] = ()) -> _Attempt:
        """Send it once, to those of its recipients who have not got it."""
        channel = queue.channel(message)
        if channel is None:
            return _Attempt(f"the ladder has no channel {message.channel}", permanent=True)
        try:
            values = await self.secret(queue.namespace) if channel.secret_key is not None else None
            credential, notice = credential_of(channel, values), queue.notice(message)
            async with self._turn(queue, message, channel):
                thread = await self._notifier.send(
                    channel,
                    credential,
                    notice,
                    attempted_at=self._now(),
                    receipts=receipts,
                    threads=self._threads(queue, message),
                )
        except Undeliverable as error:
            return _Attempt(str(error) or "not delivered", error.permanent, error.retry_after, error.receipts)
        except ApiError as error:
            return _Attempt(f"the Secret {CHANNELS_SECRET} could not be read: {error}")
        except Exception as error:
            log.exception("notification failed", of=queue.name, key=message.key)
            return _Attempt(f"{type(error).__name__} while sending")
        log.info(
            "notified",
            namespace=queue.namespace,
            of=queue.name,
            role=message.role,
            channel=message.channel,
            key=message.key,
        )
        return _Attempt(thread=thread)

    @contextlib.asynccontextmanager
    async def _turn(self, queue: NotificationQueue, message: Message, channel: Channel) -> AsyncIterator[None]:
        """Let the messages of one thread go one after the other: the first begins it, and the others follow."""
        if channel.type is not ChannelType.SLACK:
            yield
            return
        turn = self._turns.setdefault((queue.uid, message.channel, queue.topic(message)), asyncio.Lock())
        async with turn:
            yield

    def _threads(self, queue: NotificationQueue, message: Message) -> set[str]:
        """Return the threads in which messages of the same topic over the same channel stand."""
        current = queue.stored(self._store) or queue
        same = [m for m in current.messages if m.channel == message.channel and queue.topic(m) == queue.topic(message)]
        just_sent = (self.deliveries.get((queue.uid, m.key)) for m in same)
        return {m.thread for m in same if m.thread} | {sent.thread for sent in just_sent if sent and sent.thread}

    async def secret(self, namespace: str) -> dict[str, str] | None:
        """Return what the Secret of a namespace holds, as text; ``None`` where there is none.

        Raises:
            ApiError: It could not be read.
        """
        known = self._secrets.get(namespace)
        if known is not None and time.monotonic() - known[0] < SECRET_FOR:
            return known[1]
        try:
            stored = await self._client.get(SECRETS, namespace, CHANNELS_SECRET)
        except NotFound:
            self._secrets[namespace] = (time.monotonic(), None)
            return None
        values: dict[str, str] = {}
        for name, encoded in (stored.get("data") or {}).items():
            with contextlib.suppress(ValueError):  # not text: no channel can use it
                values[name] = base64.b64decode(encoded).decode().strip()
        self._secrets[namespace] = (time.monotonic(), values)
        return values

    def _stored(self, queue: NotificationQueue, message: Message) -> Message | None:
        """Return the notification as it stands in the cache now."""
        current = queue.stored(self._store)
        if current is None:
            return None
        return next((n for n in current.messages if n.key == message.key), None)

    # --- Alerts that have to be repeated --------------------------------------------------------------------------

    def _keeps_firing(self, queue: NotificationQueue, message: Message) -> bool:
        """Return whether it is an alert that was raised on the rung in force and still waits for somebody."""
        if message.state is not NotificationState.DELIVERED or message.channel == EVENTS:
            return False
        channel = queue.channel(message)
        if channel is None or channel.type is not ChannelType.ALERTMANAGER:
            return False
        same_role = (n for n in queue.messages if (n.role, n.channel) == (message.role, message.channel))
        newest = max((n for n in same_role if queue.topic(n) == queue.topic(message)), key=lambda n: n.at, default=None)
        is_newest = newest is not None and newest.key == message.key
        return is_newest and status_of(message.about) is Status.FIRING

    async def _repeat(self, queue: NotificationQueue, message: Message) -> None:
        while True:
            await asyncio.sleep(KEEP_FIRING)
            current = queue.stored(self._store)
            if current is None or not self._keeps_firing(current, message):
                return
            self._note(current, message.channel, await self._attempt(current, message))

    # --- Channels -------------------------------------------------------------------------------------------------

    def _note(self, queue: NotificationQueue, channel: str, tried: _Attempt) -> None:
        """Keep count of a channel, and let the ladder say when it stops working, and when it works again.

        One that reaches some of its recipients works; of the others the message itself says that they have it not.
        """
        error = "" if tried.receipts else tried.error
        ladder = (queue.namespace, queue.ladder)
        failures = self._failures[(*ladder, channel)] = self._failures.get((*ladder, channel), 0) + 1 if error else 0
        known = self.unavailable.setdefault(ladder, {})
        was = channel in known
        if not error:
            known.pop(channel, None)
        elif tried.permanent or failures >= UNREACHABLE_AFTER:
            known[channel] = error
        if was != (channel in known):
            self._changed(LadderKey(*ladder))
