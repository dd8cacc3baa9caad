"""The process: connect, know the bindings, ask while it leads, and end cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from riskladder.cluster import health
from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from riskladder.cluster.informer import Informer, unlisted
from riskladder.cluster.lease import Elector
from riskladder.poll.endpoints import load
from riskladder.poll.metrics import Metrics
from riskladder.poll.poller import Poller
from riskladder.poll.queries import Queries
from riskladder.reporting.bindings import Bindings
from riskladder.reporting.reporter import Reporter
from riskladder.reporting.signals import SignalWriter
from riskladder.reporting.status_writer import StatusWriter

log = structlog.get_logger(__name__)

NAME = "riskladder-poll"
"""Field manager of the signals, and name of the Lease."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run, from the command line."""

    endpoints: Path
    """The administrator's file."""
    kubeconfig: str | None = None
    namespaces: tuple[str, ...] = ()
    """Namespaces whose bindings are asked for; empty: all."""
    namespace: str | None = None
    """Of the Lease."""
    listen: str = "0.0.0.0:8080"
    """Probes and metrics."""


class Poll:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; ``run`` does everything."""
        self._settings = settings
        self._metrics = Metrics()
        self._informers: list[Informer] = []
        self._leads = asyncio.Event()
        self._follows = asyncio.Event()
        self._follows.set()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Ask until SIGTERM or SIGINT; the exit code.

        Raises:
            ConnectionFailed: The credentials are missing or unusable.
            EndpointsError: The file of endpoints cannot be used.
            OSError: The port is taken.
        """
        endpoints = load(self._settings.endpoints)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        connection = await connect(self._settings.kubeconfig, namespace=self._settings.namespace, agent="poll")
        try:
            async with Queries(endpoints) as queries:
                return await self._work(Client(connection, observe=self._metrics.observe_request), queries)
        finally:
            await connection.close()

    async def _work(self, client: Client, queries: Queries) -> int:
        identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        status = StatusWriter(client, identity, _now)
        bindings = Bindings(status.seen)
        self._informers = bindings.informers(client, self._settings.namespaces)
        reporter = Reporter(SignalWriter(client, NAME), status, bindings)
        poller = Poller(bindings, queries, reporter, self._metrics, clock=_now)
        elector = Elector(client, name=NAME, identity=identity, on_change=self._changed)
        probes, probed = await health.serve(
            self._settings.listen,
            healthy=lambda: "",
            ready=self._unready,
            collect=lambda: None,
            registry=self._metrics.registry,
        )
        log.info("started", identity=identity, listen=probed, pid=os.getpid())
        work = [
            asyncio.create_task(one)
            for one in (
                status.run(),
                elector.run(),
                self._lead(poller),
                *(informer.run() for informer in self._informers),
            )
        ]
        try:
            await self._stop.wait()
            log.info("stopping")
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await status.flush()
            with contextlib.suppress(Exception):  # the Lease runs out by itself
                await elector.release()
            await probes.cleanup()
        return 0

    async def _lead(self, poller: Poller) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        while True:
            await self._leads.wait()
            log.info("leading")
            asking = asyncio.create_task(poller.run())
            try:
                await self._follows.wait()
                log.info("standing by")
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    def _changed(self, leading: bool) -> None:
        self._metrics.leading.set(int(leading))
        on, off = (self._leads, self._follows) if leading else (self._follows, self._leads)
        on.set()
        off.clear()

    def _unready(self) -> str:
        return "stopping" if self._stop.is_set() else unlisted(self._informers)


def _now() -> datetime:
    return datetime.now(UTC)
