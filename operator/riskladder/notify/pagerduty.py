"""PagerDuty's Events API v2: one incident for each escalation and role, opened, acknowledged and resolved."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import aiohttp

from riskladder.api.base import format_time
from riskladder.api.text import one_line
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from riskladder.notify.forms import Form
from riskladder.notify.http import TOTAL_SECONDS, post
from riskladder.notify.notice import Notice, Status
from riskladder.notify.render import body, subject

US = "https://events.pagerduty.com"
EU = "https://events.eu.pagerduty.com"
EU_PREFIX = "eu:"
"""A routing key of the EU service region is written with this before it."""

MAX_DEDUP = 255
MAX_SUMMARY = 1024
"""Characters, both limits of the API."""

_ACTIONS = {Status.FIRING: "trigger", Status.ACKNOWLEDGED: "acknowledge", Status.RESOLVED: "resolve"}


async def send(
    session: aiohttp.ClientSession,
    egress: Egress,
    secret: str,
    notice: Notice,
    *,
    base_url: str | None = None,
    timeout: float = TOTAL_SECONDS,  # noqa: ASYNC109
) -> None:
    """Send one event.

    Args:
        session: Where requests go out.
        egress: What may be reached.
        secret: The integration's routing key, with ``eu:`` before it for the EU service region.
        notice: What to say.
        base_url: Another server that speaks the API. Default: that of the region.
        timeout: Seconds.

    Raises:
        Undeliverable: Not sent, or not taken; permanent where the key has the wrong form.
    """
    is_eu = secret.startswith(EU_PREFIX)
    key = secret.removeprefix(EU_PREFIX).strip()
    if not re.fullmatch(r"[A-Za-z0-9]{32}", key):
        raise Undeliverable("the routing key is not 32 letters and digits", permanent=True)
    await post(
        session,
        egress,
        (base_url or (EU if is_eu else US)) + "/v2/enqueue",
        body=json.dumps(to_event(key, notice)).encode(),
        headers={"Content-Type": "application/json"},
        timeout=timeout,
        secrets=(secret, key),
        explain=True,
    )


def to_event(routing_key: str, notice: Notice) -> dict[str, Any]:
    """Return the event as the API takes it."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": _ACTIONS[notice.status],
        "dedup_key": dedup_key(notice),
    }
    if notice.status is not Status.FIRING:
        return event
    return event | {
        "client": "Riskladder",
        **({"client_url": notice.page} if notice.page else {}),
        "links": [
            {"href": link.url, "text": one_line(link.title)}
            for link in notice.references
            if link.url.startswith(("http://", "https://"))
        ],
        "payload": {
            "summary": one_line(subject(notice), MAX_SUMMARY),
            "source": f"{notice.namespace}/{notice.target}",
            "severity": notice.severity.value,
            "timestamp": format_time(notice.at),
            "component": one_line(notice.model) or notice.target,
            "group": f"{notice.namespace}/{notice.ladder}",
            "class": notice.about,
            "custom_details": {
                "message": body(notice, Form.TEXT),
                "escalation": f"{notice.namespace}/{notice.escalation}" if notice.escalation else "",
                "tier": notice.tier,
                "role": notice.role,
                "deadline": notice.deadline,
                "drill": notice.drill,
                "commands": [option.command for option in notice.options],
            },
        },
    }


def dedup_key(notice: Notice) -> str:
    """Return the key of the incident of one escalation for one role; a digest ends it where it is too long."""
    if len(notice.dedup) <= MAX_DEDUP:
        return notice.dedup
    digest = hashlib.sha256(notice.dedup.encode()).hexdigest()
    return f"{notice.dedup[: MAX_DEDUP - len(digest) - 1]}/{digest}"
