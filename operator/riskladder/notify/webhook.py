"""A CloudEvent to a URL, signed as Standard Webhooks say, so that the receiver can verify who sent it and when."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import aiohttp
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook

from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from riskladder.notify.forms import Form
from riskladder.notify.http import TOTAL_SECONDS, post
from riskladder.notify.notice import Notice
from riskladder.notify.render import body, subject

EVENT_TYPE = "dev.riskladder.notification.v1"
SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret starts, not one

SHORTEST_KEY = 16
"""Bytes. With a shorter key somebody who sees one message can find it."""


async def send(
    session: aiohttp.ClientSession,
    egress: Egress,
    url: str,
    secret: str,
    notice: Notice,
    *,
    attempted_at: datetime,
    timeout: float = TOTAL_SECONDS,  # noqa: ASYNC109
) -> None:
    """Send a notice; the time that is signed is that of the attempt, in whole seconds.

    Raises:
        Undeliverable: Not sent, or not taken; permanent where the secret is no key.
    """
    signer = _signer(secret)
    event = to_event(notice)
    message = to_structured_event(event)
    identity = str(event.get_id())
    headers = {
        **message.headers,
        "webhook-id": identity,
        "webhook-timestamp": str(int(attempted_at.timestamp())),
        "webhook-signature": signer.sign(identity, attempted_at.astimezone(UTC), message.body.decode()),
    }
    await post(session, egress, url, body=message.body, headers=headers, timeout=timeout, secrets=(secret,))


def to_event(notice: Notice) -> CloudEvent:
    """Return the CloudEvent of a notice, facts and text: the same on every attempt."""
    return CloudEvent(
        attributes={
            "specversion": "1.0",
            "id": f"{notice.key}/{notice.uid}",
            "source": f"/namespaces/{notice.namespace}/{_about(notice)}",
            "type": EVENT_TYPE,
            "time": notice.at,
            "subject": subject(notice),
            "datacontenttype": "application/json",
        },
        data=notice.to_json() | {"text": body(notice, Form.TEXT)},
    )


def _about(notice: Notice) -> str:
    """Return the object that it is about, as in a path of the API."""
    return f"escalations/{notice.escalation}" if notice.escalation else f"escalationladders/{notice.ladder}"


def _signer(secret: str) -> Webhook:
    key = secret.encode()
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise Undeliverable("the webhook's secret starts with whsec_ and is not base64", permanent=True) from None
    if len(key) < SHORTEST_KEY:
        raise Undeliverable(f"the webhook's secret is shorter than {SHORTEST_KEY} bytes", permanent=True)
    return Webhook(key)
