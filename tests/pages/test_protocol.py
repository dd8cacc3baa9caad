"""Connections that send no request, or none that ends, are not kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from riskladder.console import protocol
from riskladder.console.protocol import Protocol
from tests.patience import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: console\r\n"


async def answer(request: web.Request) -> web.StreamResponse:
    assert isinstance(request.protocol, Protocol)
    request.protocol.heard()
    return web.Response(text="a page")


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    served, loop = runner.server, asyncio.get_running_loop()
    assert served is not None
    server = await loop.create_server(lambda: Protocol(served, loop=loop), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await runner.cleanup()


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST, REQUEST + b"Cookie: a"])
async def test_connection_without_a_request_is_closed(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()


async def test_connection_with_a_request_stays_open(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(REQUEST + b"\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"a page")).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                assert await reader.read(1) != b"", "it was closed"
    writer.close()
