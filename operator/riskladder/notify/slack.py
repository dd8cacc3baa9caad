"""Slack's Web API: one thread for each escalation, in one conversation, by a bot."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import aiohttp

from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable, scrub
from riskladder.notify.forms import Form
from riskladder.notify.http import TOTAL_SECONDS, post
from riskladder.notify.notice import Notice, Status
from riskladder.notify.render import body

API = "https://slack.com"
MAX_ANSWER = 64 * 1024
"""Bytes of an answer: it repeats the message."""

TRANSIENT = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
"""Errors that may pass by themselves."""

UNTHREADED = frozenset({"cannot_reply_to_message", "thread_not_found", "message_not_found"})
"""Errors of a thread that somebody has deleted: the message begins another."""

_CREDENTIAL = re.compile(r"(?P<token>xoxb-[A-Za-z0-9-]{10,250})\s+(?P<conversation>[CGD][A-Z0-9]{6,30})")
_THREAD = re.compile(r"(?P<conversation>[CGD][A-Z0-9]{6,30})/(?P<began>[0-9]{1,16}\.[0-9]{1,8})")


async def send(
    session: aiohttp.ClientSession,
    egress: Egress,
    secret: str,
    notice: Notice,
    *,
    threads: Collection[str] = (),
    base_url: str | None = None,
    timeout: float = TOTAL_SECONDS,  # noqa: ASYNC109
) -> str:
    """Post one message into the newest of its threads, or begin one, and return the thread.

    Args:
        session: Where requests go out.
        egress: What may be reached.
        secret: A bot token with the scope ``chat:write``, a space, and the ID of a conversation that the bot is in.
        notice: What to say.
        threads: What this function has returned for messages that belong together.
        base_url: Another server that speaks the API. Default: Slack's own.
        timeout: Seconds.

    Returns:
        The conversation, and the time stamp of the message that began the thread: ``C0123456789/1764500000.000100``.

    Raises:
        Undeliverable: Not sent, or not taken; permanent where the secret has the wrong form, or Slack's error does not
            pass by itself.
    """
    credential = _CREDENTIAL.fullmatch(secret)
    if credential is None:
        raise Undeliverable("it is not a bot token (xoxb-…), a space and the ID of a conversation (C…)", permanent=True)
    token, conversation = credential["token"], credential["conversation"]
    known = filter(None, map(_THREAD.fullmatch, threads))
    here = [one["began"] for one in known if one["conversation"] == conversation]
    parent = max(here, key=float, default="")
    while True:
        answer = await post(
            session,
            egress,
            (base_url or API) + "/api/chat.postMessage",
            body=json.dumps(to_message(conversation, notice, parent)).encode(),
            headers={"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token}"},
            timeout=timeout,
            secrets=(secret, token),
            read=MAX_ANSWER,
        )
        found = _parsed(answer)
        if found.get("ok") is True:
            thread = f"{conversation}/{parent or found.get('ts')}"
            return thread if _THREAD.fullmatch(thread) else ""
        error = str(found.get("error") or "an answer that is not that of its API")
        if parent and error in UNTHREADED:
            parent = ""
            continue
        raise Undeliverable(scrub(f"Slack answered {error}", (secret, token)), permanent=error not in TRANSIENT)


def to_message(conversation: str, notice: Notice, parent: str) -> dict[str, Any]:
    """Return the message as the API takes it; a reply that asks for something shows in the conversation, too."""
    message: dict[str, Any] = {
        "channel": conversation,
        "text": body(notice, Form.SLACK),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if parent:
        message |= {"thread_ts": parent, "reply_broadcast": notice.status is Status.FIRING}
    return message


def _parsed(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
