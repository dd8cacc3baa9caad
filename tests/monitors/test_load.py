"""Many senders at once, none of which has proved anything yet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientSession, web

from riskladder.ingest import server
from riskladder.ingest.metrics import Metrics
from riskladder.ingest.senders import NotProved
from riskladder.ingest.server import Server
from riskladder.monitors.payload import check_bounds
from riskladder.reporting.bindings import Bindings
from tests.patience import PATIENCE

BINDING = "/v1/namespaces/models/bindings/credit"
JSON = {"Content-Type": "application/json"}


class Nobody:
    """Proves no sender."""

    async def prove(self, *_: Any) -> None:
        raise NotProved("nobody")


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, Server]]:
    nobody: Any = Nobody()
    reporter: Any = None
    app = web.Application()
    ingest = Server(
        Bindings(), nobody, reporter, Metrics(), is_ready=lambda: True, clock=lambda: datetime(2026, 11, 24, tzinfo=UTC)
    )
    ingest.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{BINDING}", ingest
    finally:
        await runner.cleanup()


async def test_bodies_of_all_senders_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 senders with a mebibyte each are more than the memory of the pod, and none of them has to prove anything."""
    monkeypatch.setattr(server, "MAX_HELD", 200_000)
    go_on = asyncio.Event()

    async def body(size: int) -> AsyncIterator[bytes]:
        yield b" " * size
        await go_on.wait()
        yield b"{}"

    async with serving() as (url, ingest), ClientSession() as session:

        async def answer(data: Any) -> int:
            async with session.post(url, data=data, headers=JSON) as response:
                return response.status

        waiting = [asyncio.create_task(answer(body(90_000))) for _ in range(2)]
        async with asyncio.timeout(PATIENCE):
            while ingest._held < 180_000:  # noqa: ASYNC110 - nothing says that a body has arrived
                await asyncio.sleep(0.01)
        assert await answer(b" " * 50_000 + b"{}") == 503
        assert await answer(b" " * 5_000 + b"{}") == 401, "a small one is taken all the same"
        go_on.set()
        assert await asyncio.gather(*waiting) == [401, 401]
        assert await answer(b" " * 150_000 + b"{}") == 401, "there is room again"


async def test_large_body_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a body of brackets costs is paid in a thread: probes are answered by the same loop."""
    looked: list[bool] = []

    def check(raw: bytes, *, is_json: bool) -> None:
        looked.append(threading.current_thread() is threading.main_thread())
        check_bounds(raw, is_json=is_json)

    monkeypatch.setattr(server, "check_bounds", check)
    async with serving() as (url, _), ClientSession() as session:
        for data in (b"[]" * (512 * 1024), b"{}"):
            async with session.post(url, data=data, headers=JSON) as response:
                assert response.status == 401
    assert looked == [False, True]
