"""Sign-in by OpenID Connect: the code flow with PKCE, against the issuer that the API server trusts as well.

The ID token is what a visitor is known by at the API server, so it is checked here as strictly as there, and kept on
the server's side. What goes wrong is said in one sentence for people. That sentence holds no token, no code, no secret,
and no word of the provider's: what a provider writes may repeat any of them.

References: OpenID Connect Core 1.0 (sections 3.1 and 12), Discovery 1.0, RP-Initiated Logout 1.0, RFC 7636 (PKCE),
RFC 9207 (the parameter ``iss``).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from joserfc import jws
from joserfc.errors import JoseError
from yarl import URL

from riskladder.api.text import one_line
from riskladder.console.provider import Discovery, Provider, ProviderClient, SignInFailed, json_object, text_of

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""What may sign an ID token: what the API server takes, all of them asymmetric. ``none`` and the HMACs are not."""

LEEWAY_SECONDS = 30.0
"""How far the clocks of the provider and of this process may be apart."""

MAX_TOKEN = 64 * 1024
"""Characters of a token, or of a code, that is looked at."""

MAX_NAME = 128
"""Characters of a name that is shown."""

NAMES = ("name", "email", "preferred_username", "sub")
"""Claims that say what somebody is called, the best one first."""

LATEST = 253_402_300_799
"""The last second of the year 9999: no ``datetime`` is later."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that has begun. It is kept on the server's side, used once, and never shown."""

    state: str
    nonce: str
    verifier: str

    def __repr__(self) -> str:
        return "Pending(…)"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What somebody who has signed in is known by."""

    id_token: str
    """The bearer token for the API server."""
    refresh_token: str
    """Empty where the provider gave none."""
    expires_at: datetime
    """When the ID token expires: from then on the API server refuses it."""
    name: str
    """For people to see: not who somebody is to the API server."""

    def __repr__(self) -> str:
        return f"Tokens(name={self.name!r}, expires_at={self.expires_at.isoformat()})"


class OpenID:
    """A client of one provider, for all who sign in; an async context manager."""

    def __init__(self, provider: Provider, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is asked before the first sign-in.

        Args:
            provider: Whom to ask.
            clock: Seconds, by which the provider's documents get old.

        Raises:
            OSError: The file with the authorities cannot be read.
        """
        self._provider, self._client = provider, ProviderClient(provider, clock=clock)
        self._host = self._client.host

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._client.close()

    async def begin(self, prompt: str = "") -> tuple[str, Pending]:
        """Return where to send the browser, and what to keep until it comes back.

        Args:
            prompt: What the provider is to ask for in any case, such as ``login`` or ``select_account``.

        Raises:
            SignInFailed: The provider cannot be asked.
        """
        found = await self._client.discover()
        pending = Pending(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))
        challenge = _base64url(hashlib.sha256(pending.verifier.encode()).digest())
        scopes = dict.fromkeys(("openid", *self._provider.scopes))
        query = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._provider.redirect_uri,
            "scope": " ".join(scopes),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if prompt:
            query["prompt"] = prompt
        return str(URL(found.authorization_endpoint).update_query(query)), pending

    async def finish(self, pending: Pending, query: Mapping[str, str], now: datetime) -> Tokens:
        """Return the tokens of somebody who comes back from the provider.

        Args:
            pending: From `begin`; of this very browser, and not used before.
            query: What the provider sent the browser back with.
            now: Current time, UTC.

        Raises:
            SignInFailed: It is not the answer to what was asked, the provider refuses, or what it gives is not valid.
        """
        if not _same(query.get("state", ""), pending.state):
            raise SignInFailed("this is not the answer to a sign-in that was begun in this browser: sign in again")
        found = await self._client.discover()
        issuer = query.get("iss")
        if found.names_itself if issuer is None else not _same(issuer, self._provider.issuer):
            raise SignInFailed(
                f"the answer does not come from {self._host}, where the sign-in was begun: sign in again"
            )
        if "error" in query:
            raise self._client.refused(query["error"])
        code = query.get("code", "")
        if not code or len(code) > MAX_TOKEN:
            raise SignInFailed(f"{self._host} sent you back without a code: sign in again")
        answer = await self._client.token(
            found,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._provider.redirect_uri,
                "code_verifier": pending.verifier,
            },
        )
        claims = await self._verified(found, answer, now)
        if not _same(text_of(claims, "nonce"), pending.nonce):
            raise self._invalid("it belongs to another sign-in (nonce)")
        return Tokens(answer["id_token"], text_of(answer, "refresh_token"), _time(claims["exp"]), _name(claims))

    async def refresh(self, tokens: Tokens, now: datetime) -> Tokens:
        """Return new tokens for the same person.

        Args:
            tokens: From `finish` or `refresh`; where the provider gives a new refresh token, the old one may be void.
            now: Current time, UTC.

        Raises:
            SignInFailed: The provider refuses, or what it gives is not valid, or is somebody else's.
        """
        if not tokens.refresh_token:
            raise SignInFailed(
                "your sign-in has expired, and the provider gave nothing to renew it with: sign in again"
            )
        found = await self._client.discover()
        answer = await self._client.token(found, {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token})
        if not text_of(answer, "id_token"):
            raise SignInFailed(f"{self._host} does not renew ID tokens: sign in again")
        claims, before = await self._verified(found, answer, now), _claims(tokens.id_token)
        if not _same(text_of(claims, "sub"), text_of(before, "sub")):
            raise self._invalid("it is somebody else's (sub)")
        if "nonce" in claims and not _same(text_of(claims, "nonce"), text_of(before, "nonce")):
            raise self._invalid("it belongs to another sign-in (nonce)")
        return replace(
            tokens,
            id_token=answer["id_token"],
            refresh_token=text_of(answer, "refresh_token") or tokens.refresh_token,
            expires_at=_time(claims["exp"]),
        )

    async def end_session_url(self, tokens: Tokens) -> str | None:
        """Return where to send the browser, so that the provider signs somebody out, too; None where it cannot.

        The ID token is not part of it, as it could be: URLs are kept in histories and logs, and it is a credential. So
        the provider may ask whether it is meant.
        """
        try:
            found = await self._client.discover()
        except SignInFailed:
            return None
        if not found.end_session_endpoint:
            return None
        query = {"client_id": self._provider.client_id}
        if hint := text_of(_claims(tokens.id_token), "login_hint"):
            query["logout_hint"] = hint
        return str(URL(found.end_session_endpoint).update_query(query))

    # --- What the provider gives ---

    async def _verified(self, found: Discovery, answer: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Return the claims of the ID token in an answer, once everything about it is checked.

        Raises:
            SignInFailed: Something is not as it has to be.
        """
        token = text_of(answer, "id_token")
        if not token:
            raise SignInFailed(
                f"{self._host} gave no ID token: the administrator of the console has to ask for the scope openid"
            )
        if len(token) > MAX_TOKEN:
            raise self._invalid("it is too long")
        algorithm, claims = await self._signed(found, token)
        if claims.get("iss") != self._provider.issuer:
            raise self._invalid("it is another issuer's (iss)")
        client, audience = self._provider.client_id, claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        if not isinstance(audiences, list) or client not in audiences:
            raise self._invalid("it is for another client than this console (aud)")
        if claims.get("azp", client if len(audiences) == 1 else None) != client:
            raise self._invalid("it was given to another client than this console (azp)")
        if not text_of(claims, "sub"):
            raise self._invalid("it does not say whose it is (sub)")
        self._check_times(claims, now.timestamp())
        if "at_hash" in claims:
            digest = hashlib.new(f"sha{algorithm[2:]}", text_of(answer, "access_token").encode()).digest()
            if not _same(text_of(claims, "at_hash"), _base64url(digest[: len(digest) // 2])):
                raise self._invalid("it does not belong to the access token (at_hash)")
        return claims

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        expires, issued = _number(claims.get("exp")), _number(claims.get("iat"))
        begins = _number(claims.get("nbf", 0))
        if expires is None or issued is None or begins is None:
            raise self._invalid("it does not say from when until when it is valid (exp, iat, nbf)")
        if now >= expires + LEEWAY_SECONDS:
            raise self._invalid("it has expired (exp)")
        if max(issued, begins) > now + LEEWAY_SECONDS:
            raise self._invalid("it is from the future, so one of the clocks is wrong (iat, nbf)")

    async def _signed(self, found: Discovery, token: str) -> tuple[str, dict[str, Any]]:
        """Return the algorithm and the claims of a token that one of the provider's keys has signed."""
        registry = _registry()
        try:
            signature = jws.extract_compact(token.encode(), registry=registry)
            header = signature.headers()
            registry.check_header(header)
        except (JoseError, ValueError, RecursionError):
            raise self._invalid("it is no signed token") from None
        algorithm, kid = header["alg"], header.get("kid")
        if algorithm not in ALGORITHMS:
            raise self._invalid("it is signed in a way that proves nothing (alg)")
        is_known = False
        for fresh in (False, True):
            keys = (await self._client.keys(found, fresh=fresh)).keys
            for key in keys:
                if kid is not None and key.kid != kid:
                    continue
                is_known |= kid is not None
                with contextlib.suppress(JoseError, ValueError):  # a key for something else
                    if jws.validate_compact(signature, key, registry=registry):
                        return algorithm, self._payload(signature.payload)
            if is_known:
                break
        raise self._invalid("its signature is none of the provider's")

    def _payload(self, payload: bytes) -> dict[str, Any]:
        claims = json_object(payload)
        if claims is None:
            raise self._invalid("it holds no claims")
        return claims

    def _invalid(self, why: str) -> SignInFailed:
        return SignInFailed(f"the ID token of {self._host} does not count: {why}; sign in again")


def _registry() -> jws.JWSRegistry:
    """Return the rules of joserfc: our algorithms, and headers that are unknown and not critical are left alone."""
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = MAX_TOKEN  # some put their whole certificate there
    return registry


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a token that was checked before."""
    payload = token.split(".")[1]
    return json_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) or {}


def _number(value: Any) -> float | None:
    """Return a number of seconds since 1970; None for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= LATEST else None


def _time(value: float) -> datetime:
    return datetime.fromtimestamp(value, UTC)


def _name(claims: Mapping[str, Any]) -> str:
    return next(found for claim in NAMES if (found := one_line(text_of(claims, claim), MAX_NAME)))


def _same(one: str, other: str) -> bool:
    """Compare what somebody may try to guess; nothing is like nothing."""
    return bool(one) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
