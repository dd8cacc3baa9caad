"""An alert for Prometheus Alertmanager, API v2: one for each escalation, role and tier, firing until resolved."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import aiohttp

from riskladder.api.base import format_time
from riskladder.notify.egress import Egress
from riskladder.notify.forms import Form
from riskladder.notify.http import TOTAL_SECONDS, post
from riskladder.notify.notice import Notice
from riskladder.notify.render import body, subject

ALERT_NAME = "RiskladderEscalation"
LADDER_ALERT_NAME = "RiskladderLadder"
"""Of an alert that is about a ladder and no escalation."""
PATH = "/api/v2/alerts"


async def send(
    session: aiohttp.ClientSession,
    egress: Egress,
    url: str,
    token: str | None,
    notice: Notice,
    *,
    ends_at: datetime,
    timeout: float = TOTAL_SECONDS,  # noqa: ASYNC109
) -> None:
    """Send the alert; sent again, it is the same alert with a new end.

    Args:
        session: Where requests go out.
        egress: What may be reached.
        url: Base of the Alertmanager, with or without ``/api/v2/alerts``.
        token: Bearer token, if it wants one.
        notice: What to say.
        ends_at: For one that fires, when it lapses by itself; for one that is resolved, now.
        timeout: Seconds.

    Raises:
        Undeliverable: Not sent, or not taken.
    """
    base = url.rstrip("/")
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    await post(
        session,
        egress,
        base if base.endswith(PATH) else base + PATH,
        body=json.dumps([to_alert(notice, ends_at)]).encode(),
        headers=headers,
        timeout=timeout,
        secrets=(token,) if token else (),
    )


def to_alert(notice: Notice, ends_at: datetime) -> dict[str, Any]:
    """Return the alert. Labels are its identity and what routes go by, so a rung is an alert of its own for each role.

    Entering a higher tier raises another alert, of another severity, and resolves this one (``RungLeft``).
    """
    labels = {
        "alertname": ALERT_NAME if notice.escalation else LADDER_ALERT_NAME,
        "namespace": notice.namespace,
        "escalation": notice.escalation,
        "uid": notice.uid,
        "ladder": notice.ladder,
        "role": notice.role,
        "tier": notice.tier,
        "severity": notice.severity.value,
        "drill": "true" if notice.drill else "false",
        "topic": "" if notice.escalation else notice.key.partition("/")[0],
    }
    annotations = {
        "summary": subject(notice),
        "description": body(notice, Form.TEXT),
        "page": notice.page,
        "commands": "\n".join(option.command for option in notice.options),
        "status": notice.status.value,
        "about": notice.about,
        "deadline": notice.deadline,
        "key": notice.key,
    }
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": format_time(min(notice.at, ends_at)),
        "endsAt": format_time(ends_at),
        **({"generatorURL": notice.page} if notice.page else {}),
    }
