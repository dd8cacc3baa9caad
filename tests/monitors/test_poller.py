"""Queries go on, whatever happens to one of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from riskladder.cluster.resources import BINDINGS
from riskladder.poll import poller
from riskladder.poll.metrics import Metrics
from riskladder.poll.poller import Poller
from riskladder.reporting.bindings import Binding, Bindings
from tests.monitors.test_binding_status import stored


async def test_query_that_was_cancelled_from_within_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends one task, whatever it is, must not leave its binding without readings until the next change of it."""
    monkeypatch.setattr(poller, "LOOK_EVERY", 0.01)
    monkeypatch.setattr("riskladder.poll.poller.random.random", lambda: 0.0)
    one = stored()
    one["spec"]["poll"] = {"endpoint": "main", "query": "up"}
    del one["spec"]["sender"]
    bindings, asked, twice = Bindings(), 0, asyncio.Event()
    bindings.put(BINDINGS, one)
    nobody: Any = None

    class Broken(Poller):
        async def ask(self, binding: Binding) -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                twice.set()
            raise asyncio.CancelledError

    running = asyncio.create_task(
        Broken(bindings, nobody, nobody, Metrics(), clock=lambda: datetime.now(UTC)).run(),
    )
    await asyncio.wait_for(twice.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
