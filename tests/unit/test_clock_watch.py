"""The clock watch: what the operator makes of the API server's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from riskladder.cluster.client import Client
from riskladder.cluster.connection import Connection
from riskladder.cluster.resources import LEASES
from riskladder.cluster.server_clock import ENOUGH
from riskladder.controller.clock_watch import ClockWatch
from riskladder.controller.metrics import Metrics


async def test_every_response_has_the_time_of_the_api_server_and_a_wrong_clock_is_reported_once() -> None:
    behind = timedelta(hours=2)
    """By how much the API server is behind this machine."""

    async def answer(_: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) - behind, usegmt=True)
        return web.json_response({"kind": "Lease"}, headers={"Date": date})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    changes: list[timedelta] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        client = Client(Connection(str(server.make_url("")).rstrip("/"), session, "models"))
        metrics = Metrics()
        watch = ClockWatch(
            client.clock, metrics, now=lambda: datetime.now(UTC), changed=lambda: changes.append(watch.error())
        )
        watch.look()
        for _ in range(ENOUGH):
            await client.get(LEASES, "models", "riskladder")
        watch.look()
        watch.look()
        assert abs(watch.now() - (datetime.now(UTC) - behind)) < timedelta(seconds=15)
        behind = timedelta()
        for _ in range(ENOUGH * 3):
            await client.get(LEASES, "models", "riskladder")
        watch.look()
        watch.look()
    assert len(changes) == 2
    assert abs(changes[0] - timedelta(hours=2)) < timedelta(seconds=15)
    assert changes[1] == timedelta()
    assert metrics.registry.get_sample_value("riskladder_clock_skew_seconds") == 0.0
