"""The provider that people sign in at: what it says about itself, the keys that it signs with, and how it is asked.

What goes wrong is said in one sentence for people. That sentence holds no token, no code, no secret, and no word of the
provider's: what a provider writes may repeat any of them.

References: OpenID Connect Discovery 1.0, RFC 6749 (section 2.3.1).
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote_plus

import aiohttp
from joserfc import jwk
from yarl import URL

from riskladder.cluster.credentials import trusting

T = TypeVar("T")

KEY_TYPES = ("RSA", "EC")
"""Of those algorithms."""

CONNECT_SECONDS = 5.0
"""For the look-up of the provider's name and the connection."""

TOTAL_SECONDS = 10.0
"""For a whole exchange with it."""

MAX_ANSWER = 256 * 1024
"""Bytes of an answer that are read: the largest key sets have some 30 KiB."""

KEEP_SECONDS = 3600.0
"""For how long the provider's documents are taken as known."""

REFETCH_SECONDS = 30.0
"""Between two looks for a key that is unknown."""

MAX_KEYS = 64
"""Keys of a set that are looked at."""

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
class Discovery:
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
class Keys:
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


class ProviderClient:
    """Asks one provider, as the client that this console is there."""

    def __init__(self, provider: Provider, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is asked before the first sign-in.

        Args:
            provider: Whom to ask.
            clock: Seconds, by which the provider's documents get old.

        Raises:
            OSError: The file with the authorities cannot be read.
        """
        self._provider, self._clock = provider, clock
        self.host = str(URL(provider.issuer).host)
        """What people know the provider by."""
        self._tls = trusting(cafile=provider.ca_file or None)
        self._session: aiohttp.ClientSession | None = None
        self._discovery: Discovery | None = None
        self._keys: Keys | None = None
        self._looked_at = -math.inf
        self._discovering: _Shared[Discovery] = _Shared()
        self._reading: _Shared[Keys] = _Shared()

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._discovering.cancel()
        await self._reading.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def discover(self) -> Discovery:
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

    async def _read_discovery(self) -> Discovery:
        url = f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        body = await self._document(url, "discovery document")
        if body.get("issuer") != self._provider.issuer:
            raise SignInFailed(
                f"{self.host} calls itself by another name than the issuer that the console is configured with: the "
                "administrator of the console has to correct it, to the letter"
            )
        methods = body.get("token_endpoint_auth_methods_supported")
        self._discovery = Discovery(
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
        url = _url(text_of(body, name))
        if url is None or url.scheme != "https" or url.raw_fragment or url.user is not None:
            raise SignInFailed(f"{self.host} names no https URL as its {name}: its administrator has to correct it")
        return str(url)

    async def keys(self, found: Discovery, *, fresh: bool = False) -> Keys:
        """Return its keys. ``fresh``: look again, unless that was done a moment ago."""
        known, now = self._keys, self._clock()
        is_kept = known is not None and now - known.read_at < KEEP_SECONDS
        if known is None or not is_kept or (fresh and now - self._looked_at >= REFETCH_SECONDS):
            self._looked_at = now
            return await self._reading.run(lambda: self._read_keys(found))
        return known

    async def _read_keys(self, found: Discovery) -> Keys:
        entries = (await self._document(found.jwks_uri, "key set")).get("keys")
        if not isinstance(entries, list):
            raise SignInFailed(f"{self.host} has no keys: its administrator has to correct it")
        keys = tuple(key for entry in entries[:MAX_KEYS] if (key := _key(entry)) is not None)
        self._keys = Keys(keys, self._clock())
        return self._keys

    async def token(self, found: Discovery, form: Mapping[str, str]) -> dict[str, Any]:
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
                f"{self.host} takes no client secret: the administrator of the provider has to allow "
                "client_secret_basic or client_secret_post for the console"
            )
        status, answer = await self._ask("POST", found.token_endpoint, "token endpoint", form=body, headers=headers)
        if status == 200 and answer is not None:
            return answer
        if answer is not None and isinstance(answer.get("error"), str):
            raise self.refused(answer["error"])
        raise self._unusable("token endpoint", status)

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
                            f"the {what} of {self.host} is too large: its administrator has to look at it"
                        )
                return response.status, json_object(raw)
        except TimeoutError:
            raise SignInFailed(f"{self.host} did not answer in time ({what}): try again", passing=True) from None
        except aiohttp.ClientConnectorCertificateError:
            raise SignInFailed(
                f"the certificate of {self.host} is not accepted: the administrator of the console has to name the "
                "authority that signed it"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise SignInFailed(f"{self.host} cannot be reached ({what}): try again", passing=True) from None

    def refused(self, error: str) -> SignInFailed:
        """Return what an error code of the provider's means to people."""
        words = REFUSED.get(error, "the provider refuses, and does not say why: sign in again")
        return SignInFailed(f"{self.host}: {words}", passing=error in PASSING)

    def _unusable(self, what: str, status: int) -> SignInFailed:
        if 300 <= status < 400:
            found = f"a redirect (HTTP {status}), which is not followed"
        else:
            found = "no JSON object" if status == 200 else f"HTTP {status}"
        return SignInFailed(
            f"the {what} of {self.host} is not usable: found {found}; try again",
            passing=status >= 500 or status == 429,
        )


def _key(entry: Any) -> jwk.RSAKey | jwk.ECKey | None:
    """Return a key of a set; None for one that signs no ID tokens, or is none."""
    if not isinstance(entry, dict) or entry.get("kty") not in KEY_TYPES or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwk.import_key(entry)
    except Exception:  # whatever somebody wrote there: the other keys count all the same
        return None
    return key if isinstance(key, jwk.RSAKey | jwk.ECKey) else None


def json_object(raw: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None for what is none."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def text_of(values: Mapping[str, Any], key: str) -> str:
    """Return a text of a JSON object; empty where it is none."""
    found = values.get(key)
    return found if isinstance(found, str) else ""


def _url(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url if url.scheme in ("http", "https") and url.host else None
