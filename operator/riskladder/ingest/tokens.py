"""Senders that prove who they are by a service-account token of the audience riskladder-ingest.

The API server reviews the token (TokenReview), so that a deleted pod or account counts for nothing from then on. The
answer is kept for half a minute: a monitor that sends every second costs the API server two reviews a minute.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from riskladder.cluster.client import ApiError, Client, Refused
from riskladder.cluster.resources import Resource

AUDIENCE = "riskladder-ingest"
"""Of the tokens that are taken. The API server takes none of them for itself."""

KEEP_SECONDS = 30.0
"""For how long an answer is taken as known."""

KEEP_REFUSED_SECONDS = 5.0
"""The same for a token that proves nothing, so that trying is not free of charge for the one who tries alone."""

KEEP = 4096
"""Tokens whose answers are kept, of those that prove somebody and of those that prove nothing: who tries many of the
latter drives none of the former out."""

MAX_TOKEN = 16 * 1024
"""Characters of a token, at most."""

TOKENREVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")


@dataclass(frozen=True, slots=True)
class _Known:
    username: str
    until: float


class Tokens:
    """Asks the API server whose a token is."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.time) -> None:
        """Use a client whose user may create TokenReviews.

        Args:
            client: Where to ask.
            clock: Seconds since 1970.
        """
        self._client, self._clock = client, clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Known] = OrderedDict()

    async def username(self, token: str) -> str:
        """Return whose token it is, as the API server says; empty where it proves nothing.

        Raises:
            ApiError: The API server could not be asked.
        """
        if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable():
            return ""
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        for answers in (self._known, self._refused):
            known = answers.get(key)
            if known is not None and now < known.until:
                answers.move_to_end(key)
                return known.username
        username = await self._review(token)
        answers, keep = (self._known, KEEP_SECONDS) if username else (self._refused, KEEP_REFUSED_SECONDS)
        answers[key] = _Known(username, min(now + keep, _expiry(token) or now + keep))
        answers.move_to_end(key)
        while len(answers) > KEEP:
            answers.popitem(last=False)
        return username

    async def _review(self, token: str) -> str:
        body = {
            "apiVersion": TOKENREVIEWS.api_version,
            "kind": TOKENREVIEWS.kind,
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            answer = await self._client.request(
                "POST", TOKENREVIEWS.path(), verb="create", resource=TOKENREVIEWS.title, body=body, timeout=5.0
            )
        except Refused:
            return ""
        except ApiError as error:
            # What names the token in its message goes no further.
            raise ApiError(
                error.status,
                error.reason,
                "the token could not be reviewed",
                verb=error.verb,
                resource=error.resource,
                where=TOKENREVIEWS.path(),
            ) from None
        status = answer.get("status") or {}
        is_proved = status.get("authenticated") is True and AUDIENCE in (status.get("audiences") or ())
        return str((status.get("user") or {}).get("username") or "") if is_proved else ""


def _expiry(token: str) -> float | None:
    """Return when a JWT expires, in seconds since 1970: its signature was just checked by the API server, or failed."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):  # whatever else somebody wrote there
        return None
