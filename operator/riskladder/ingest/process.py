"""The process: connect, know the bindings, answer, and end cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web

from riskladder.cluster import health
from riskladder.cluster.certificate import Certificate, certificate_of
from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from riskladder.cluster.informer import Informer, unlisted
from riskladder.ingest.metrics import Metrics
from riskladder.ingest.senders import Senders
from riskladder.ingest.server import Server
from riskladder.monitors.payload import MAX_BYTES
from riskladder.reporting.bindings import Bindings
from riskladder.reporting.reporter import Reporter
from riskladder.reporting.signals import SignalWriter
from riskladder.reporting.status_writer import StatusWriter

log = structlog.get_logger(__name__)

MANAGER = "riskladder-ingest"
"""Field manager of the signals."""

DRAIN_SECONDS = 8.0
"""Seconds in which requests under way are answered after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run, from the command line."""

    kubeconfig: str | None = None
    namespaces: tuple[str, ...] = ()
    """Namespaces whose bindings are served; empty: all."""
    listen: str = "0.0.0.0:8090"
    """Where senders send."""
    health: str = "0.0.0.0:8080"
    """Probes and metrics, which are nothing for senders."""
    certificate: str = ""
    """Directory with tls.crt and tls.key; none, or an empty one: plain HTTP."""


class Ingest:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; ``run`` does everything."""
        self._settings = settings
        self._metrics = Metrics()
        self._informers: list[Informer] = []
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code.

        Raises:
            ConnectionFailed: The credentials are missing or unusable.
            OSError: A port is taken, or the certificate cannot be read.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        connection = await connect(self._settings.kubeconfig, agent="ingest")
        try:
            return await self._serve(Client(connection, observe=self._metrics.observe_request))
        finally:
            await connection.close()

    async def _serve(self, client: Client) -> int:
        identity = f"{socket.gethostname()}-{os.getpid()}"
        status = StatusWriter(client, identity, _now)
        bindings = Bindings(status.seen)
        self._informers = bindings.informers(client, self._settings.namespaces)
        server = Server(
            bindings,
            Senders(client),
            Reporter(SignalWriter(client, MANAGER), status, bindings),
            self._metrics,
            is_ready=lambda: not self._unready(),
            clock=_now,
        )
        app = web.Application(client_max_size=MAX_BYTES)
        server.add_to(app)
        probes, probed = await health.serve(
            self._settings.health,
            healthy=lambda: "",
            ready=self._unready,
            collect=lambda: None,
            registry=self._metrics.registry,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_SECONDS, auto_decompress=False)
        await runner.setup()
        certificate = certificate_of(self._settings.certificate)
        work: list[asyncio.Task[Any]] = [asyncio.create_task(one) for one in self._work(status, certificate)]
        try:
            context = certificate.context if certificate else None
            site = web.TCPSite(runner, *_address(self._settings.listen), ssl_context=context)
            await site.start()
            bound = runner.addresses[0]
            log.info("started", listen=f"{bound[0]}:{bound[1]}", health=probed, pid=os.getpid())
            await self._stop.wait()
            log.info("stopping")
        finally:
            await runner.cleanup()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await status.flush()
            await probes.cleanup()
        return 0

    def _work(self, status: StatusWriter, certificate: Certificate | None) -> list[Coroutine[Any, Any, None]]:
        renewing = [certificate.keep_current()] if certificate else []
        return [status.run(), *renewing, *(informer.run() for informer in self._informers)]

    def _unready(self) -> str:
        return "stopping" if self._stop.is_set() else unlisted(self._informers)


def _now() -> datetime:
    return datetime.now(UTC)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > health.LAST_PORT:
        raise ValueError(f"--listen: {text!r} is not HOST:PORT, for example 0.0.0.0:8090")
    return host or "0.0.0.0", int(port)  # noqa: S104 - senders come from other pods
