"""The receiver of the demo: takes what the operator sends, if its signature is right, as any receiver would."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from riskladder.api.labels import CHANNELS_SECRET
from riskladder.notify.webhook import SECRET_PREFIX

HOST = "127.0.0.1"
NETWORK = "127.0.0.0/8"
PATH = "/riskladder"
KEY = "inbox"
"""Name of the channel, and of its key in the Secret."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message that came in."""

    subject: str
    data: dict[str, Any]
    at: float
    """When, by the monotonic clock."""


class Inbox:
    """An HTTP server on a free port of this machine, with a signing key of its own."""

    def __init__(self) -> None:
        """Draw the key."""
        self.secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        self.url = ""
        self._messages: dict[str, Message] = {}
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Self:
        """Open it."""
        application = web.Application()
        application.router.add_post(PATH, self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event = Webhook(self.secret).verify(body, {k.lower(): v for k, v in request.headers.items()})
        except WebhookVerificationError:
            return web.Response(status=401)
        async with self._came:  # a repetition has the same id
            self._messages.setdefault(event["id"], Message(event["subject"], event["data"], time.monotonic()))
            self._came.notify_all()
        return web.Response(status=202)

    async def message(self, role: str, about: str, patience: float) -> Message | None:
        """Return the message to a role about something, once it is there; ``None`` if it does not come in time."""

        def found() -> Message | None:
            there = self._messages.values()
            return next((m for m in there if (m.data["role"], m.data["about"]) == (role, about)), None)

        try:
            async with asyncio.timeout(patience), self._came:
                await self._came.wait_for(found)
        except TimeoutError:
            return None
        return found()

    def channel(self) -> dict[str, Any]:
        """Return the channel of a ladder that leads here."""
        return {"name": KEY, "type": "Webhook", "url": self.url, "secretKey": KEY}

    def secret_manifest(self) -> dict[str, Any]:
        """Return the Secret with the key."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CHANNELS_SECRET},
            "type": "Opaque",
            "stringData": {KEY: self.secret},
        }
