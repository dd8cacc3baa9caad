"""Sign-in by OpenID Connect: the code flow with PKCE, against the issuer that the API server trusts as well.

The ID token is what a visitor is known by at the API server, so it is checked here as strictly as there, and kept on
the server's side. What goes wrong is said in one sentence for people. That sentence holds no token, no code, no secret,
and no word of the provider's: what a provider writes may repeat any of them.

References: OpenID Connect Core 1.0 (sections 3.1 and 12), Discovery 1.0, RP-Initiated Logout 1.0, RFC 7636 (PKCE),
RFC 9207 (the parameter ``iss``).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import math
import secrets
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote_plus

import aiohttp
from joserfc import jwk, jws
from joserfc.errors import JoseError
from yarl import URL

from riskladder.api.text import one_line

T = TypeVar("T")

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""What may sign an ID token: what the API server takes, all of them asymmetric. ``none`` and the HMACs are not."""

KEY_TYPES = ("RSA", "EC")
"""Of those algorithms."""

LEEWAY_SECONDS = 30.0
"""How far the clocks of the provider and of this process may be apart."""

CONNECT_SECONDS = 5.0
"""For the look-up of the provider's name and the connection."""

TOTAL_SECONDS = 10.0
"""For a whole exchange with it."""

MAX_ANSWER = 256 * 1024
"""Bytes of an answer that are read: the largest key sets have some 30 KiB."""

MAX_TOKEN = 64 * 1024
"""Characters of a token, or of a code, that is looked at."""

KEEP_SECONDS = 3600.0
"""For how long the provider's documents are taken as known."""

REFETCH_SECONDS = 30.0
"""Between two looks for a key that is unknown."""

MAX_KEYS = 64
"""Keys of a set that are looked at."""

MAX_NAME = 128
"""Characters of a name that is shown."""

NAMES = ("name", "email", "preferred_username", "sub")
"""Claims that say what somebody is called, the best one first."""

LATEST = 253_402_300_799
"""The last second of the year 9999: no ``datetime`` is later."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_NO_FLOW = (
    "the provider does not let the console sign people in: the administrator of the provider has to allow the "
    "code flow for its client"
)
_NOT_UNDERSTOOD = (
    "the provider does not understand the request: the administrator of the console has to compare its redirect URI "
    "and client id with those at the provider"
)

REFUSED = {
    "access_denied": "signing in was refused, by you or by the provider: sign in again, or ask whose provider it is",
    "account_selection_required": "the provider wants to know which account you mean: sign in again",
    "consent_required": "the provider wants your consent first: sign in again, and give it",
    "interaction_required": "the provider wants to ask you something first: sign in again",
    "invalid_client": "the provider does not accept the console: the administrator of the console has to correct its "
    "client id and secret",
    "invalid_grant": "the provider does not accept this sign-in any more, which counts once and for a short time only: "
    "sign in again",
    "invalid_request": _NOT_UNDERSTOOD,
    "invalid_scope": "the provider refuses the scopes that the console asks for: its administrator has to correct them",
    "login_required": "the provider does not know you any more: sign in again",
    "server_error": "the provider has failed: try again",
    "temporarily_unavailable": "the provider is busy: try again in a moment",
    "unauthorized_client": _NO_FLOW,
    "unsupported_grant_type": _NO_FLOW,
    "unsupported_response_type": _NO_FLOW,
}
"""What a provider's error codes mean to people. Its own descriptions are not shown."""

PASSING = ("server_error", "temporarily_unavailable")
"""Those that may pass by themselves."""


class SignInFailed(Exception):  # noqa: N818 - says what happened
    """Somebody could not be signed in, or not any longer.

    Attributes:
        message: Why, in one sentence for people, which says what to do.
        passing: Whether it may pass by itself: what is valid already stays so.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.message, self.passing = message, passing


@dataclass(frozen=True, slots=True)
class Provider:
    """Who signs people in, and as which client this console is known there."""

    issuer: str
    """Exactly as the provider writes it, and the API server is configured with: a final slash counts."""
    client_id: str
    client_secret: str
    """Empty for a public client, which PKCE alone protects."""
    redirect_uri: str
    scopes: tuple[str, ...]
    ca_file: str
    """PEM file with the authorities that its certificate is checked by; empty for those of this machine."""

    def __post_init__(self) -> None:
        issuer, back = _url(self.issuer), _url(self.redirect_uri)
        if issuer is None or issuer.scheme != "https" or issuer.raw_query_string or issuer.raw_fragment:
            raise ValueError(f"issuer: found {self.issuer!r}, expected an https URL without a query")
        if not self.client_id:
            raise ValueError("client id: found nothing, expected the name by which the provider knows the console")
        if back is None or back.raw_fragment or (back.scheme != "https" and back.host not in LOOPBACK):
            found = f"found {self.redirect_uri!r}"
            raise ValueError(f"redirect URI: {found}, expected an https URL, or one on this machine (localhost)")

    def __repr__(self) -> str:
        return f"Provider(issuer={self.issuer!r}, client_id={self.client_id!r})"


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


@dataclass(frozen=True, slots=True)
class _Discovery:
    """What the provider says about itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str
    """Empty where there is none."""
    names_itself: bool
    """Whether every response of the authorization endpoint has ``iss``."""
    auth_methods: tuple[str, ...]
    read_at: float


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys that the provider signs with."""

    keys: tuple[jwk.RSAKey | jwk.ECKey, ...]
    read_at: float


class _Shared(Generic[T]):
    """Does for all who ask at the same time what has to be done once."""

    def __init__(self) -> None:
        self._task: asyncio.Task[T] | None = None

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the outcome of what is under way, or of what is made now."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(make())
        return await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


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
        self._provider, self._clock = provider, clock
        self._host = str(URL(provider.issuer).host)
        self._tls = ssl.create_default_context(cafile=provider.ca_file or None)
        self._session: aiohttp.ClientSession | None = None
        self._discovery: _Discovery | None = None
        self._keys: _Keys | None = None
        self._looked_at = -math.inf
        self._discovering: _Shared[_Discovery] = _Shared()
        self._reading: _Shared[_Keys] = _Shared()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._discovering.cancel()
        await self._reading.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def begin(self, prompt: str = "") -> tuple[str, Pending]:
        """Return where to send the browser, and what to keep until it comes back.

        Args:
            prompt: What the provider is to ask for in any case, such as ``login`` or ``select_account``.

        Raises:
            SignInFailed: The provider cannot be asked.
        """
        found = await self._discover()
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
        found = await self._discover()
        issuer = query.get("iss")
        if found.names_itself if issuer is None else not _same(issuer, self._provider.issuer):
            raise SignInFailed(
                f"the answer does not come from {self._host}, where the sign-in was begun: sign in again"
            )
        if "error" in query:
            raise self._refused(query["error"])
        code = query.get("code", "")
        if not code or len(code) > MAX_TOKEN:
            raise SignInFailed(f"{self._host} sent you back without a code: sign in again")
        answer = await self._token(
            found,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._provider.redirect_uri,
                "code_verifier": pending.verifier,
            },
        )
        claims = await self._verified(found, answer, now)
        if not _same(_text(claims, "nonce"), pending.nonce):
            raise self._invalid("it belongs to another sign-in (nonce)")
        return Tokens(answer["id_token"], _text(answer, "refresh_token"), _time(claims["exp"]), _name(claims))

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
        found = await self._discover()
        answer = await self._token(found, {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token})
        if not _text(answer, "id_token"):
            raise SignInFailed(f"{self._host} does not renew ID tokens: sign in again")
        claims, before = await self._verified(found, answer, now), _claims(tokens.id_token)
        if not _same(_text(claims, "sub"), _text(before, "sub")):
            raise self._invalid("it is somebody else's (sub)")
        if "nonce" in claims and not _same(_text(claims, "nonce"), _text(before, "nonce")):
            raise self._invalid("it belongs to another sign-in (nonce)")
        return replace(
            tokens,
            id_token=answer["id_token"],
            refresh_token=_text(answer, "refresh_token") or tokens.refresh_token,
            expires_at=_time(claims["exp"]),
        )

    async def end_session_url(self, tokens: Tokens) -> str | None:
        """Return where to send the browser, so that the provider signs somebody out, too; None where it cannot.

        The ID token is not part of it, as it could be: URLs are kept in histories and logs, and it is a credential. So
        the provider may ask whether it is meant.
        """
        try:
            found = await self._discover()
        except SignInFailed:
            return None
        if not found.end_session_endpoint:
            return None
        query = {"client_id": self._provider.client_id}
        if hint := _text(_claims(tokens.id_token), "login_hint"):
            query["logout_hint"] = hint
        return str(URL(found.end_session_endpoint).update_query(query))

    # --- What the provider says about itself ---

    async def _discover(self) -> _Discovery:
        """Return its discovery document; an old one where it cannot be asked now."""
        known = self._discovery
        if known is not None and self._clock() - known.read_at < KEEP_SECONDS:
            return known
        try:
            return await self._discovering.run(self._read_discovery)
        except SignInFailed as error:
            if known is None or not error.passing:
                raise
            self._discovery = replace(known, read_at=self._clock() - KEEP_SECONDS + REFETCH_SECONDS)
            return self._discovery

    async def _read_discovery(self) -> _Discovery:
        url = f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        body = await self._document(url, "discovery document")
        if body.get("issuer") != self._provider.issuer:
            raise SignInFailed(
                f"{self._host} calls itself by another name than the issuer that the console is configured with: the "
                "administrator of the console has to correct it, to the letter"
            )
        methods = body.get("token_endpoint_auth_methods_supported")
        self._discovery = _Discovery(
            authorization_endpoint=self._endpoint(body, "authorization_endpoint"),
            token_endpoint=self._endpoint(body, "token_endpoint"),
            jwks_uri=self._endpoint(body, "jwks_uri"),
            end_session_endpoint=self._endpoint(body, "end_session_endpoint") if "end_session_endpoint" in body else "",
            names_itself=body.get("authorization_response_iss_parameter_supported") is True,
            auth_methods=tuple(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else (),
            read_at=self._clock(),
        )
        return self._discovery

    def _endpoint(self, body: Mapping[str, Any], name: str) -> str:
        url = _url(_text(body, name))
        if url is None or url.scheme != "https" or url.raw_fragment or url.user is not None:
            raise SignInFailed(f"{self._host} names no https URL as its {name}: its administrator has to correct it")
        return str(url)

    async def _key_set(self, found: _Discovery, *, fresh: bool = False) -> _Keys:
        """Return its keys. ``fresh``: look again, unless that was done a moment ago."""
        known, now = self._keys, self._clock()
        is_kept = known is not None and now - known.read_at < KEEP_SECONDS
        if known is None or not is_kept or (fresh and now - self._looked_at >= REFETCH_SECONDS):
            self._looked_at = now
            return await self._reading.run(lambda: self._read_keys(found))
        return known

    async def _read_keys(self, found: _Discovery) -> _Keys:
        entries = (await self._document(found.jwks_uri, "key set")).get("keys")
        if not isinstance(entries, list):
            raise SignInFailed(f"{self._host} has no keys: its administrator has to correct it")
        keys = tuple(key for entry in entries[:MAX_KEYS] if (key := _key(entry)) is not None)
        self._keys = _Keys(keys, self._clock())
        return self._keys

    # --- What it gives ---

    async def _token(self, found: _Discovery, form: Mapping[str, str]) -> dict[str, Any]:
        """Ask the token endpoint, as the client that this console is."""
        identity, secret = self._provider.client_id, self._provider.client_secret
        body, headers = dict(form), {}
        if not secret:
            body["client_id"] = identity
        elif not found.auth_methods or "client_secret_basic" in found.auth_methods:
            pair = f"{quote_plus(identity)}:{quote_plus(secret)}"  # RFC 6749, section 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif "client_secret_post" in found.auth_methods:
            body |= {"client_id": identity, "client_secret": secret}
        else:
            raise SignInFailed(
                f"{self._host} takes no client secret: the administrator of the provider has to allow "
                "client_secret_basic or client_secret_post for the console"
            )
        status, answer = await self._ask("POST", found.token_endpoint, "token endpoint", form=body, headers=headers)
        if status == 200 and answer is not None:
            return answer
        if answer is not None and isinstance(answer.get("error"), str):
            raise self._refused(answer["error"])
        raise self._unusable("token endpoint", status)

    async def _verified(self, found: _Discovery, answer: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Return the claims of the ID token in an answer, once everything about it is checked.

        Raises:
            SignInFailed: Something is not as it has to be.
        """
        token = _text(answer, "id_token")
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
        if not _text(claims, "sub"):
            raise self._invalid("it does not say whose it is (sub)")
        self._check_times(claims, now.timestamp())
        if "at_hash" in claims:
            digest = hashlib.new(f"sha{algorithm[2:]}", _text(answer, "access_token").encode()).digest()
            if not _same(_text(claims, "at_hash"), _base64url(digest[: len(digest) // 2])):
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

    async def _signed(self, found: _Discovery, token: str) -> tuple[str, dict[str, Any]]:
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
            keys = (await self._key_set(found, fresh=fresh)).keys
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
        claims = _object(payload)
        if claims is None:
            raise self._invalid("it holds no claims")
        return claims

    # --- How it is asked ---

    async def _document(self, url: str, what: str) -> dict[str, Any]:
        status, body = await self._ask("GET", url, what)
        if status != 200 or body is None:
            raise self._unusable(what, status)
        return body

    async def _ask(
        self,
        method: str,
        url: str,
        what: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any] | None]:
        """Return the status and the JSON object of an answer; None where it is none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection that the provider has closed meanwhile would cost a code, which counts once.
                connector=aiohttp.TCPConnector(ssl=self._tls, force_close=True),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": "riskladder console",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
            )
        try:
            async with self._session.request(
                method, URL(url, encoded=True), data=form, headers=headers, allow_redirects=False
            ) as response:
                raw = b""
                async for chunk in response.content.iter_any():
                    raw += chunk
                    if len(raw) > MAX_ANSWER:
                        raise SignInFailed(
                            f"the {what} of {self._host} is too large: its administrator has to look at it"
                        )
                return response.status, _object(raw)
        except TimeoutError:
            raise SignInFailed(f"{self._host} did not answer in time ({what}): try again", passing=True) from None
        except aiohttp.ClientConnectorCertificateError:
            raise SignInFailed(
                f"the certificate of {self._host} is not accepted: the administrator of the console has to name the "
                "authority that signed it"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise SignInFailed(f"{self._host} cannot be reached ({what}): try again", passing=True) from None

    # --- What is said ---

    def _refused(self, error: str) -> SignInFailed:
        words = REFUSED.get(error, "the provider refuses, and does not say why: sign in again")
        return SignInFailed(f"{self._host}: {words}", passing=error in PASSING)

    def _invalid(self, why: str) -> SignInFailed:
        return SignInFailed(f"the ID token of {self._host} does not count: {why}; sign in again")

    def _unusable(self, what: str, status: int) -> SignInFailed:
        if 300 <= status < 400:
            found = f"a redirect (HTTP {status}), which is not followed"
        else:
            found = "no JSON object" if status == 200 else f"HTTP {status}"
        return SignInFailed(
            f"the {what} of {self._host} is not usable: found {found}; try again",
            passing=status >= 500 or status == 429,
        )


def _registry() -> jws.JWSRegistry:
    """Return the rules of joserfc: our algorithms, and headers that are unknown and not critical are left alone."""
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = MAX_TOKEN  # some put their whole certificate there
    return registry


def _key(entry: Any) -> jwk.RSAKey | jwk.ECKey | None:
    """Return a key of a set; None for one that signs no ID tokens, or is none."""
    if not isinstance(entry, dict) or entry.get("kty") not in KEY_TYPES or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwk.import_key(entry)
    except Exception:  # whatever somebody wrote there: the other keys count all the same
        return None
    return key if isinstance(key, jwk.RSAKey | jwk.ECKey) else None


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a token that was checked before."""
    payload = token.split(".")[1]
    return _object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) or {}


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(values: Mapping[str, Any], key: str) -> str:
    found = values.get(key)
    return found if isinstance(found, str) else ""


def _number(value: Any) -> float | None:
    """Return a number of seconds since 1970; None for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= LATEST else None


def _time(value: float) -> datetime:
    return datetime.fromtimestamp(value, UTC)


def _name(claims: Mapping[str, Any]) -> str:
    return next(found for claim in NAMES if (found := one_line(_text(claims, claim), MAX_NAME)))


def _same(one: str, other: str) -> bool:
    """Compare what somebody may try to guess; nothing is like nothing."""
    return bool(one) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _url(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.scheme in ("http", "https") and url.host else None
