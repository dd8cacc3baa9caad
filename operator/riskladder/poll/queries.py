"""Asks an endpoint one instant query, and takes nothing from it but what is bounded and whole."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from riskladder import __version__
from riskladder.cluster.credentials import trusting
from riskladder.monitors.formats import prometheus
from riskladder.monitors.formats.prometheus import Result
from riskladder.monitors.payload import Malformed
from riskladder.poll.endpoints import Endpoint

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer, at most: 10,000 samples with twenty labels each."""


class QueryFailed(Exception):  # noqa: N818 - reads as a sentence at the call site
    """There is no result; the message says why."""


class Queries:
    """Asks endpoints; each has one query under way at a time."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Prepare; use it as a context manager.

        Args:
            endpoints: Whom bindings may name.
        """
        self._endpoints = endpoints
        self._locks = {name: asyncio.Lock() for name in endpoints}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": f"riskladder/{__version__} poll", "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, name: str, query: str) -> Result:
        """Return the result of an instant query, as of now.

        Raises:
            QueryFailed: There is no such endpoint, it does not answer in time, refuses, or says what is no result.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints))
            raise QueryFailed(f"spec.poll.endpoint: found {name}, expected one that the administrator knows ({known})")
        async with self._locks[name]:
            try:
                status, raw = await self._answer(endpoint, query)
            except TimeoutError as error:
                raise QueryFailed(f"endpoint {name}: no answer within {endpoint.timeout}") from error
            except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
                raise QueryFailed(f"endpoint {name}: {_plain(error)}") from error
        try:
            return await asyncio.to_thread(prometheus.read, raw, limit=MAX_ANSWER)
        except Malformed as error:
            said = "" if status == 200 else f"HTTP {status}, "
            raise QueryFailed(f"endpoint {name}: {said}{error}") from error

    async def _answer(self, endpoint: Endpoint, query: str) -> tuple[int, bytes]:
        headers = dict(endpoint.headers)
        if endpoint.tokenFile is not None:
            headers["Authorization"] = f"Bearer {endpoint.tokenFile.read_text().strip()}"
        seconds = endpoint.timeout.delta.total_seconds()
        async with self._session.post(
            endpoint.url.rstrip("/") + "/api/v1/query",
            data={"query": query, "timeout": f"{seconds:g}s"},
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=seconds),
            ssl=_trusting(endpoint),
            allow_redirects=False,
        ) as response:
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > MAX_ANSWER:
                    raise ValueError(f"found more than {MAX_ANSWER} bytes, expected at most that many")
            if response.status in (301, 302, 303, 307, 308):
                raise ValueError(f"found a redirect (HTTP {response.status}), which is not followed")
            if response.status in (401, 403):
                raise ValueError(f"found HTTP {response.status}: the credentials of the endpoint are refused")
            return response.status, bytes(raw)


def _trusting(endpoint: Endpoint) -> ssl.SSLContext | bool:
    if endpoint.caFile is None:
        return True
    return trusting(cafile=str(endpoint.caFile))


def _plain(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
