"""A proxy in front of an API server that loses answers, refuses, resets, and stalls or breaks watches, as asked.

It runs in a thread of its own, so that tests may block. Credentials pass through it: clients use tokens.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from tests.cluster.certs import CertificateAuthority
from tests.cluster.kubeconfig import write_private
from tests.cluster.ports import HOST

RETRY_AFTER = 1
NOT_PASSED_ON = frozenset({"host", "content-length", "transfer-encoding", "connection", "date"})


class Fault(StrEnum):
    """What happens to one request."""

    LOST = "lost"
    """Passed on and carried out; the connection ends before the answer."""
    SILENT = "silent"
    """Passed on and carried out; the answer never comes."""
    RESET = "reset"
    """Not passed on; the connection ends."""
    BUSY = "busy"
    """429 with Retry-After; not passed on."""
    BROKEN = "broken"
    """503; not passed on."""


@dataclass(frozen=True, slots=True)
class Write:
    """A request that changes something, as it arrives."""

    method: str
    path: str
    body: str


Choose = Callable[[Write], Fault | None]


@dataclass(eq=False, slots=True)
class _Watch:
    resource: str
    response: web.StreamResponse
    flowing: asyncio.Event = field(default_factory=asyncio.Event)


class Chaos:
    """The proxy; a context manager. Without rules it only passes on."""

    def __init__(self, server: str, ca_file: Path) -> None:
        """`server` and `ca_file` are those of the API server behind."""
        self._server = server
        self._upstream = ssl.create_default_context(cafile=str(ca_file))
        self._authority = CertificateAuthority("riskladder-chaos-ca")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._watches: list[_Watch] = []
        self._stalled: set[str] = set()
        self._held = asyncio.Event()
        self.latency = 0.0
        """Seconds by which every request comes later to the API server."""
        self.choose: Choose = lambda write: None
        """Asked about every write, in the thread of the proxy."""
        self.hold: Callable[[Write], bool] = lambda write: False
        """Writes to keep back until `release`."""
        self.holding: list[Write] = []
        self.late: list[int] = []
        """Status codes of the answers to writes that were kept back; whoever sent one may be gone by then."""
        self._kept_back: set[asyncio.Task[web.StreamResponse]] = set()
        self.done: Counter[Fault] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner, self.server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def kubeconfig(self, source: Path, destination: Path) -> Path:
        """The same identity as in `source`, through this proxy."""
        content = yaml.safe_load(source.read_text())
        authority = base64.b64encode(self._authority.certificate).decode()
        content["clusters"][0]["cluster"] = {"server": self.server, "certificate-authority-data": authority}
        write_private(destination, content)
        return destination

    # Watches

    def stall(self, resource: str) -> None:
        """Let nothing more through on the open watches of a resource (its plural); new ones are not affected."""

        def stop_flowing() -> None:
            for watch in self._watching(resource):
                watch.flowing.clear()

        self._loop.call_soon_threadsafe(stop_flowing)

    def fail_watch(self, resource: str, code: int) -> None:
        """Send an ERROR event on the open watches of a resource."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "made by chaos"}
        line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"

        async def send() -> None:
            for watch in self._watching(resource):
                await watch.response.write(line)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)

    def watching(self, resource: str) -> int:
        """Return how many watches of a resource are open."""
        return len(self._watching(resource))

    def release(self) -> None:
        """Pass on the writes that are held back."""
        self._loop.call_soon_threadsafe(self._held.set)

    def _watching(self, resource: str) -> list[_Watch]:
        return [watch for watch in self._watches if watch.resource == resource]

    # Inside

    async def _start(self) -> tuple[web.AppRunner, str]:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        pair = self._authority.server("chaos", [HOST])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(pair.certificate + pair.key)
            pem.flush()
            context.load_cert_chain(pem.name)
        site = web.TCPSite(runner, HOST, 0, ssl_context=context)
        await site.start()
        return runner, f"https://{HOST}:{runner.addresses[0][1]}"

    async def _end(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.latency:
            await asyncio.sleep(self.latency)
        write = Write(request.method, request.path, body.decode(errors="replace"))
        fault = self.choose(write) if request.method != "GET" else None
        if fault is not None:
            self.done[fault] += 1
        if fault is Fault.RESET:
            return self._cut(request)
        if fault is Fault.BUSY:
            return web.json_response({}, status=429, headers={"Retry-After": str(RETRY_AFTER)})
        if fault is Fault.BROKEN:
            return web.json_response({}, status=503)
        if request.method != "GET" and self.hold(write):
            task = asyncio.create_task(self._keep_back(request, body))
            self._kept_back.add(task)
            self.holding.append(write)
            return await asyncio.shield(task)
        return await self._pass_on(request, body, fault)

    async def _pass_on(self, request: web.Request, body: bytes, fault: Fault | None) -> web.StreamResponse:
        url = self._server + request.raw_path
        async with self._session.request(
            request.method, url, headers=_kept(request.headers), data=body or None
        ) as answer:
            if request.query.get("watch") == "true" and answer.status == 200:
                response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
                with contextlib.suppress(aiohttp.ClientConnectionResetError):  # the client has gone: it may be killed
                    await self._stream(request, answer, response)
                return response
            data = await answer.read()
            if fault is Fault.LOST:
                return self._cut(request)
            if fault is Fault.SILENT:
                await asyncio.Event().wait()
            return web.Response(status=answer.status, headers=_kept(answer.headers), body=data)

    async def _keep_back(self, request: web.Request, body: bytes) -> web.StreamResponse:
        await self._held.wait()
        response = await self._pass_on(request, body, None)
        self.late.append(response.status)
        return response

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        await response.prepare(request)
        await response.write(b"\n")  # sends the headers, which aiohttp keeps back until there is something to send
        watch = _Watch(request.path.rsplit("/", 1)[-1], response)
        watch.flowing.set()
        self._watches.append(watch)
        try:
            rest = b""
            async for chunk in answer.content.iter_any():  # whole lines, so that an event may be put between them
                lines, newline, rest = (rest + chunk).rpartition(b"\n")
                await watch.flowing.wait()
                await response.write(lines + newline)
        finally:
            self._watches.remove(watch)

    @staticmethod
    def _cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)


def _kept(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED_ON}
