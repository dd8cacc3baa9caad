"""The process: connect, serve, and end cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from aiohttp import web

from riskladder.cluster import health
from riskladder.cluster.certificate import certificate_of
from riskladder.cluster.connection import Access, ConnectionFailed, connect
from riskladder.console.openid import OpenID
from riskladder.console.pages import routes
from riskladder.console.protocol import Protocol
from riskladder.console.provider import Provider
from riskladder.console.render import Renderer
from riskladder.console.server import Console, application
from riskladder.console.sessions import Sessions
from riskladder.console.settings import Settings

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 5.0
"""Seconds in which requests under way are answered after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Address:
        """Return ``HOST:PORT``.

        Raises:
            ValueError: It is not that.
        """
        host, _, port = text.rpartition(":")
        if not port.isdigit() or int(port) > health.LAST_PORT:
            raise ValueError(f"--listen: {text!r} is not HOST:PORT, for example 0.0.0.0:8091")
        return cls(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - browsers and proxies are elsewhere


async def serve(
    settings_of: Callable[[int], Settings],
    access: Access,
    listen: Address,
    *,
    provider: Provider | None = None,
    certificate: str = "",
    probes: str = "",
    started: Callable[[Console], None] = lambda console: None,
    further: Sequence[Callable[[Console], web.RouteDef]] = (),
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Args:
        settings_of: The settings, by the port that was bound.
        access: Which cluster; credentials of it are used only where the console serves whoever runs it.
        listen: Where to listen; port 0 takes a free one.
        provider: Where people sign in; none: nowhere.
        certificate: Directory with tls.crt and tls.key; empty: plain HTTP.
        probes: ``HOST:PORT`` of /healthz, /readyz and /metrics; empty: none.
        started: Called once browsers can connect.
        further: Routes besides those of the pages.

    Raises:
        ConnectionFailed: The credentials are missing or unusable.
        OSError: A port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sock = await loop.run_in_executor(None, _bind, listen)
    settings = settings_of(sock.getsockname()[1])
    connection = await connect(access, agent="console", anonymous=not settings.uses_own_credentials)
    if settings.sign_in.names is not None and any(
        name.startswith("Impersonate-") for name in connection.session.headers
    ):
        await connection.close()
        sock.close()
        raise ConnectionFailed("--impersonate: the kubeconfig impersonates somebody itself: use one that does not")
    runner = probing = renewing = listening = None
    openid = OpenID(provider) if provider is not None else None
    try:
        console = Console(settings, connection, _now, Renderer(), Sessions(settings.limits), openid=openid)
        runner = web.AppRunner(
            application(console, [*routes(console), *(one(console) for one in further)]),
            shutdown_timeout=DRAIN_SECONDS,
        )
        await runner.setup()
        held = certificate_of(certificate)
        renewing = asyncio.create_task(held.keep_current()) if held else None
        server = runner.server
        assert server is not None  # noqa: S101 - there is one after the setup
        listening = await loop.create_server(
            lambda: Protocol(server, loop=loop, access_log=None),  # type: ignore[arg-type] # None: there is none
            sock=sock,
            ssl=held.context if held else None,
        )
        if probes:
            probing, _ = await health.serve(
                probes,
                healthy=lambda: "",
                ready=lambda: "stopping" if stop.is_set() else "",
                collect=lambda: None,
                registry=console.metrics.registry,
            )
        log.info("started", listen=f"{listen.host}:{sock.getsockname()[1]}", url=settings.url, pid=os.getpid())
        started(console)
        await stop.wait()
        log.info("stopping")
    finally:
        if listening is not None:
            listening.close()
        for one in (runner, probing):
            if one is not None:
                await one.cleanup()
        if renewing is not None:
            renewing.cancel()
        if openid is not None:
            await openid.close()
        await connection.close()
        sock.close()
    return 0


def _bind(listen: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((listen.host, listen.port))
    except OSError as error:
        sock.close()
        raise OSError(f"--listen: {listen.host}:{listen.port}: {error.strerror}") from error
    return sock


def _now() -> datetime:
    return datetime.now(UTC)
