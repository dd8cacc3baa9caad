"""One POST: bounded in time, never redirected, and with errors that say what happened and nothing secret."""

from __future__ import annotations

import email.utils
import json
import os
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp

from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable, is_final, scrub
from riskladder.notify.resolver import PinnedResolver

CONNECT_SECONDS = 5.0
"""For the look-up of the name and the connection."""

TOTAL_SECONDS = 10.0
"""For the whole exchange."""

LONGEST_WAIT = 3600.0
"""Seconds: a receiver cannot ask for more."""

MAX_ANSWER = 2000
"""Bytes of an answer that are read at all."""


def open_session(egress: Egress) -> aiohttp.ClientSession:
    """Open a session that reaches only the egress allow-list, follows no proxy variables and keeps no cookies."""
    connector = aiohttp.TCPConnector(
        resolver=PinnedResolver(egress), use_dns_cache=False, force_close=True, limit=0, ttl_dns_cache=None
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "riskladder"},
    )


async def post(
    session: aiohttp.ClientSession,
    egress: Egress,
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float = TOTAL_SECONDS,  # noqa: ASYNC109 - of the whole exchange, enforced by aiohttp
    secrets: Iterable[str] = (),
    explain: bool = False,
    read: int = 0,
) -> bytes:
    """Send; any 2xx answer is success, and is returned.

    Args:
        session: From ``open_session`` with the same guard.
        egress: What may be reached.
        url: Where to.
        body: What.
        headers: Content type and what authenticates.
        timeout: Seconds.
        secrets: What must not appear in an error.
        explain: Whether the answer may be quoted in the error: only where the host is a known service, since
            otherwise an error would show what some inner server answers.
        read: The most bytes of a 2xx answer that are wanted.

    Raises:
        Undeliverable: It was refused, not answered in time, or answered otherwise.
    """
    target = egress.check_url(url)
    where = str(target.host)
    limits = aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_SECONDS, timeout))
    try:
        async with session.post(
            target, data=body, headers=headers, timeout=limits, allow_redirects=False, raise_for_status=False
        ) as response:
            if 200 <= response.status < 300:
                return await _read(response, read)
            status, wait = response.status, retry_after(response.headers.get("Retry-After", ""))
            answer = await response.content.read(MAX_ANSWER) if explain else b""
    except TimeoutError:
        raise Undeliverable(f"{where} did not answer within {timeout:g} s", permanent=False) from None
    except (aiohttp.ClientError, OSError, ValueError) as cause:
        raise Undeliverable(
            f"{where} could not be reached: {_why(cause)}", permanent=isinstance(cause, ValueError)
        ) from None
    raise Undeliverable(
        scrub(f"{where} answered {_words(status)}{_explanation(answer)}", secrets),
        permanent=is_final(status),
        retry_after=wait,
    )


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    found = b""
    while len(found) < limit and (part := await response.content.read(limit - len(found))):
        found += part
    return found


def _why(cause: Exception) -> str:
    """Explain an error in our own words: aiohttp quotes the URL and the bytes that a server sent."""
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return (
            f"its certificate is not accepted ({getattr(cause.certificate_error, 'verify_message', 'unknown reason')})"
        )
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(cause, aiohttp.ClientConnectorError):
        error = cause.os_error
        if isinstance(error, ssl.SSLError) or not error.errno:
            return (error.strerror or type(error).__name__).lower()
        return os.strerror(error.errno).lower()
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(cause, aiohttp.ClientResponseError):
        return "its answer is not HTTP"
    return type(cause).__name__


def _words(status: int) -> str:
    # The standard's phrase, not the receiver's own: that is text from outside.
    phrase = next((f" {s.phrase}" for s in HTTPStatus if s == status), "")
    return f"{status}{phrase}" + (", a redirect, which is never followed" if 300 <= status < 400 else "")


def _explanation(answer: bytes) -> str:
    try:
        value = json.loads(answer)
    except ValueError:
        return ""
    if not isinstance(value, dict):
        return ""
    errors = value.get("errors")
    parts = [value.get("message"), *(errors if isinstance(errors, list) else ())]
    text = "; ".join(part for part in parts if isinstance(part, str))
    return f": {text[:200]}" if text else ""


def retry_after(header: str) -> float:
    """Return seconds, from either form of the header; 0 for none."""
    if header.strip().isdecimal():
        return min(float(header), LONGEST_WAIT)
    try:
        until = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT)
