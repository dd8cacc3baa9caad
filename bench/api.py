"""Requests of the benchmark itself, kept apart from the operator's client so that none is counted as the operator's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import aiohttp

from riskladder.cluster.connection import Connection, connect

Object = dict[str, Any]
T = TypeVar("T")

FIELD_MANAGER = "bench"
AT_ONCE = 32
"""Requests in flight while many objects are written: enough to keep the API server busy, few enough to be served."""


class Api:
    """JSON in, JSON out, on one API server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, kubeconfig: str, agent: str = "bench") -> Api:
        """Connect with a kubeconfig; credentials and TLS are handled as the operator handles them."""
        return cls(await connect(kubeconfig, agent=agent))

    async def close(self) -> None:
        await self._connection.close()

    async def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Object:
        """Send a request; raise RuntimeError with what the server said, unless it answered 2xx."""
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Content-Type": content_type} if data is not None else None
        params = {"fieldManager": FIELD_MANAGER} if method in ("POST", "PATCH", "PUT") else None
        url = self._connection.server + path
        async with self._connection.session.request(method, url, data=data, headers=headers, params=params) as response:
            raw = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {raw[:500].decode(errors='replace')}")
            return json.loads(raw) if raw else {}

    async def text(self, path: str) -> str:
        async with self._connection.session.get(self._connection.server + path) as response:
            response.raise_for_status()
            return await response.text()

    async def exists(self, path: str) -> bool:
        async with self._connection.session.get(self._connection.server + path) as response:
            await response.read()
            return response.status == 200

    async def watch(self, path: str, version: str) -> AsyncIterator[bytes]:
        """Yield the lines of a watch, undecoded, in the chunks they came in: the receiver takes the time first."""
        url = f"{self._connection.server}{path}?watch=true&resourceVersion={version}&timeoutSeconds=3600"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._connection.session.get(url, timeout=timeout) as response:
            response.raise_for_status()
            rest = b""
            async for chunk in response.content.iter_any():
                whole, newline, rest_of_it = (rest + chunk).rpartition(b"\n")
                rest = rest_of_it
                if newline:
                    yield whole

    async def version(self, path: str) -> str:
        """Return the resourceVersion of a collection now: where a watch starts."""
        return str((await self.request("GET", f"{path}?limit=1"))["metadata"]["resourceVersion"])


async def each(items: Iterable[T], act: Callable[[T], Awaitable[object]], at_once: int = AT_ONCE) -> None:
    """Do something with every item, so many at a time, in order of starting."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await act(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
