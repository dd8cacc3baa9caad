"""Whether who sends may send under a binding. One answer for all who may not, whatever stands against it."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from riskladder.api.binding import Hmac
from riskladder.api.labels import INGEST_SECRET
from riskladder.cluster.client import Client, Forbidden, NotFound
from riskladder.cluster.resources import SECRETS
from riskladder.ingest.signatures import BadSignature, Replays, Signed, key_of, verify
from riskladder.ingest.tokens import Tokens
from riskladder.reporting.bindings import Binding

KEEP_KEY_SECONDS = 15.0
"""For how long the keys of a namespace are taken as known; a new key counts after that."""


class NotProved(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The sender has not proved who it is; the message is for the log, never for the sender."""


@dataclass(slots=True)
class _Keys:
    values: Mapping[str, bytes]
    until: float


class Senders:
    """Proves senders of all bindings."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.time) -> None:
        """Use a client whose user may review tokens, and read the Secret of the monitors' keys.

        Args:
            client: Where to ask.
            clock: Seconds since 1970.
        """
        self._client, self._clock = client, clock
        self._tokens, self._replays = Tokens(client, clock=clock), Replays()
        self._keys: dict[str, _Keys] = {}

    async def prove(self, binding: Binding | None, headers: Mapping[str, str], body: bytes) -> Signed | None:
        """Pass a sender that may send under a binding.

        Args:
            binding: The binding; ``None`` where there is none of that name.
            headers: Of the request, by name in lower case.
            body: As it was received.

        Returns:
            What was signed, to be handed to ``taken`` once it is stored; ``None`` for a token.

        Raises:
            NotProved: It may not.
            ApiError: The API server could not be asked.
        """
        sender = binding.spec.sender if binding is not None and binding.spec is not None else None
        if binding is None or sender is None:
            # A token is reviewed all the same, so that the time taken says nothing either.
            await self._tokens.username(_bearer(headers))
            raise NotProved("there is no such binding, or it cannot be used")
        if sender.hmac is not None:
            try:
                return await self._signed(binding, sender.hmac, headers, body)
            except NotProved:
                await self._tokens.username(_bearer(headers))  # as if there were no such binding
                raise
        username = await self._tokens.username(_bearer(headers))
        wanted = sender.audience_token
        assert binding.spec is not None  # noqa: S101
        assert wanted is not None  # noqa: S101 - admission demands one of the two
        namespace, name = wanted.namespace or binding.account_namespace, wanted.name or binding.spec.service_account
        expected = f"system:serviceaccount:{namespace}:{name}"
        if not username:
            raise NotProved(f"no token of {expected} with the audience riskladder-ingest that the API server takes")
        if username != expected:
            raise NotProved(f"the token is of {username}, expected {expected} (sender.audienceToken of the binding)")
        return None

    def taken(self, binding: Binding, signed: Signed | None) -> None:
        """Remember a delivery that was stored: it is not taken again."""
        if signed is not None:
            self._replays.take(binding.uid, signed, self._clock())

    async def _signed(self, binding: Binding, wanted: Hmac, headers: Mapping[str, str], body: bytes) -> Signed:
        secret = (await self._secret(binding.namespace)).get(wanted.secret_key)
        if secret is None:
            raise NotProved(f"Secret {INGEST_SECRET} has no key {wanted.secret_key} (sender.hmac.secretKey)")
        try:
            signed = verify(wanted.scheme, key_of(wanted.scheme, secret), headers, body, self._clock())
        except BadSignature as error:
            raise NotProved(str(error)) from error
        if self._replays.is_known(binding.uid, signed):
            raise NotProved(f"delivery {signed.identifier[:64]!r} was taken before")
        return signed

    async def _secret(self, namespace: str) -> Mapping[str, bytes]:
        known, now = self._keys.get(namespace), self._clock()
        if known is not None and now < known.until:
            return known.values
        try:
            secret = await self._client.get(SECRETS, namespace, INGEST_SECRET)
        except (NotFound, Forbidden):
            secret = {}
        found = {key: _decoded(text) for key, text in (secret.get("data") or {}).items()}
        values = {key: value for key, value in found.items() if value is not None}
        self._keys[namespace] = _Keys(values, now + KEEP_KEY_SECONDS)
        return values


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return None
