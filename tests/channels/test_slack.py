"""Slack's Web API, against a server on this machine that answers as its documentation says."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from aiohttp import web

from riskladder.api.ladder import Channel
from riskladder.api.notification import Notification, NotificationState
from riskladder.api.reasons import Reason
from riskladder.cluster.client import Client
from riskladder.controller.caches.store import Store
from riskladder.controller.notification_queue import NotificationQueue
from riskladder.controller.outbox import Outbox
from riskladder.notify.errors import Undeliverable
from riskladder.notify.notifier import Notifier
from riskladder.policy.snapshot import TargetKey
from tests.patience import PATIENCE
from tests.unit.notify_support import HERE, NOW, Peer, answering, notice, notification

TOKEN = "xoxb-1234567890-abcdefghij"
CONVERSATION = "C0123456789"
CREDENTIAL = f"{TOKEN} {CONVERSATION}"
CHANNEL = Channel.model_validate({"name": "risk", "type": "Slack", "secretKey": "risk"})


@dataclass
class Slack:
    """The messages of one workspace."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    fail: list[str] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(100))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/chat.postMessage"
        asked = json.loads(await request.read())
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._refused("invalid_auth")
        if self.fail:
            return self._refused(self.fail.pop(0))
        if asked["channel"] != CONVERSATION:
            return self._refused("channel_not_found")
        if asked.get("thread_ts") in self.deleted:
            return self._refused("cannot_reply_to_message")
        await asyncio.sleep(0)
        asked["ts"] = f"1764500000.{next(self.numbers):06}"
        self.messages.append(asked)
        return web.json_response({"ok": True, "channel": CONVERSATION, "ts": asked["ts"], "message": asked})

    def _refused(self, error: str) -> web.StreamResponse:
        return web.json_response({"ok": False, "error": error})


async def post(slack: Slack, *threads: str, credential: str = CREDENTIAL, **changes: Any) -> str:
    """Send one message, and return its thread."""
    async with Peer(slack.answer) as peer:
        notifier = Notifier(HERE, timeout=5, slack_url=peer.url)
        try:
            return await notifier.send(CHANNEL, credential, notice(**changes), attempted_at=NOW, threads=threads)
        finally:
            await notifier.close()


async def test_what_follows_stands_in_the_thread_of_the_first() -> None:
    slack = Slack()
    thread = await post(slack)
    assert thread == f"{CONVERSATION}/1764500000.000100"
    assert await post(slack, thread, about=str(Reason.REMINDED)) == thread
    assert await post(slack, thread, about=str(Reason.REMEDIATED), message="Closed: all is well") == thread
    first, reminder, end = slack.messages
    assert "thread_ts" not in first
    assert {one["thread_ts"] for one in (reminder, end)} == {first["ts"]}
    assert reminder["reply_broadcast"], "it asks for something: the conversation sees it, too"
    assert not end["reply_broadcast"]
    assert "Acknowledge by" in first["text"]
    assert "Closed: all is well" in end["text"]


async def test_thread_that_was_deleted_or_is_elsewhere_is_begun_again() -> None:
    slack = Slack(deleted={"1764400000.000001"})
    thread = await post(slack, f"{CONVERSATION}/1764400000.000001")
    assert thread == f"{CONVERSATION}/1764500000.000100"
    assert await post(slack, "C9999999999/1764600000.000001") == f"{CONVERSATION}/1764500000.000101"
    newest = await post(slack, f"{CONVERSATION}/1764400000.000001", thread)
    assert newest == thread, "the thread that was begun last"


@pytest.mark.parametrize(
    ("error", "permanent"),
    [("not_in_channel", True), ("is_archived", True), ("internal_error", False), ("ratelimited", False)],
)
async def test_what_slack_refuses_is_named_and_tried_again_where_it_may_pass(error: str, permanent: bool) -> None:
    with pytest.raises(Undeliverable) as refused:
        await post(Slack(fail=[error]))
    assert (str(refused.value), refused.value.permanent) == (f"Slack answered {error}", permanent)


async def test_wrong_token_is_named_and_never_shown() -> None:
    with pytest.raises(Undeliverable) as refused:
        await post(Slack(), credential=f"xoxb-0000000000-wrongwrong {CONVERSATION}")
    assert str(refused.value) == "Slack answered invalid_auth"


@pytest.mark.parametrize("credential", [TOKEN, f"xoxp-1234567890-abcdef {CONVERSATION}", f"{TOKEN} #risk", "slack://x"])
async def test_credential_of_another_form_is_refused_without_a_request(credential: str) -> None:
    slack = Slack()
    with pytest.raises(Undeliverable, match="not a bot token") as refused:
        await post(slack, credential=credential)
    assert refused.value.permanent
    assert TOKEN not in str(refused.value)
    assert not slack.messages


@pytest.mark.parametrize(
    ("status", "text", "permanent"), [(429, "", False), (503, "", False), (200, "<html>", True), (404, "", True)]
)
async def test_answers_that_are_not_those_of_the_api(status: int, text: str, permanent: bool) -> None:
    async with Peer(answering(status, text, Retry_After="7")) as peer:
        notifier = Notifier(HERE, timeout=5, slack_url=peer.url)
        with pytest.raises(Undeliverable) as refused:
            await notifier.send(CHANNEL, CREDENTIAL, notice(), attempted_at=NOW)
        await notifier.close()
    assert refused.value.permanent is permanent
    assert TOKEN not in str(refused.value)


async def test_hostile_text_mentions_nobody() -> None:
    slack = Slack()
    await post(slack, message="<!channel> <@U123> *bold* <https://evil.example|here>")
    [sent] = slack.messages
    assert "<!channel>" not in sent["text"]
    assert "<@U123>" not in sent["text"]
    assert "<https://evil.example|here>" not in sent["text"]
    assert not sent["unfurl_links"]


# --- The outbox -------------------------------------------------------------------------------------------------------


class _Secrets:
    async def get(self, *_: object) -> dict[str, Any]:
        return {"data": {"risk": base64.b64encode(CREDENTIAL.encode()).decode()}}


def queue(*messages: Notification) -> NotificationQueue:
    def stored(_: Store) -> NotificationQueue:
        return queue(*messages)

    return NotificationQueue(
        key=TargetKey("models", "Deployment", "credit-scorer"),
        name="credit-scorer-3f9a1c2b",
        uid="uid",
        ladder="credit",
        channels=(CHANNEL,),
        messages=messages,
        notice=lambda message: notice(message=message.message),
        topic=lambda message: "",
        stored=stored,
    )


def pending(number: int, **changes: Any) -> Notification:
    at = NOW + timedelta(seconds=number)
    return notification(key=f"m{number}", channel="risk", message=f"number {number}", at=at, **changes)


async def sent_by_outbox(slack: Slack, *messages: Notification) -> dict[str, str]:
    """Deliver what is pending at once, and return the thread of each message."""
    async with Peer(slack.answer) as peer:
        all_sent, changes = asyncio.Event(), itertools.count(1)
        waiting = sum(message.state is NotificationState.PENDING for message in messages)

        def changed(_: object) -> None:
            if next(changes) >= waiting:
                all_sent.set()

        notifier = Notifier(HERE, timeout=5, slack_url=peer.url)
        outbox = Outbox(cast(Client, _Secrets()), notifier, cast(Store, None), changed=changed, now=lambda: NOW)
        outbox.activate()
        outbox.consider(queue(*messages))
        async with asyncio.timeout(PATIENCE):
            await all_sent.wait()
        found = {key: delivery.thread for (_, key), delivery in outbox.deliveries.items()}
        await outbox.close()
    return found


async def test_messages_to_several_roles_at_once_stand_in_one_thread() -> None:
    slack = Slack()
    threads = await sent_by_outbox(slack, *(pending(n) for n in range(5)))
    assert set(threads.values()) == {f"{CONVERSATION}/{slack.messages[0]['ts']}"}
    assert ["thread_ts" in message for message in slack.messages] == [False] + [True] * 4


async def test_thread_is_known_from_the_status_after_a_restart() -> None:
    slack, known = Slack(), f"{CONVERSATION}/1764400000.000001"
    before = pending(0, state=NotificationState.DELIVERED, thread=known, attempts=1, done_at=NOW)
    assert await sent_by_outbox(slack, before, pending(1)) == {"m1": known}
    assert [message["thread_ts"] for message in slack.messages] == ["1764400000.000001"]
