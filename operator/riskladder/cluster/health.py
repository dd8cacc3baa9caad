"""/healthz, /readyz and /metrics on one port."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

LAST_PORT = 65535

Check = Callable[[], str]
"""Says what is wrong, or an empty string."""


async def serve(
    address: str, *, healthy: Check, ready: Check, collect: Callable[[], None], registry: CollectorRegistry
) -> tuple[web.AppRunner, str]:
    """Start the server.

    Args:
        address: ``HOST:PORT``; port 0 takes a free one.
        healthy: What is wrong with the process beyond repair, for the liveness probe.
        ready: What it still waits for, for the readiness probe.
        collect: Refreshes the gauges before they are read.
        registry: The metrics to show.

    Returns:
        The runner, to be cleaned up, and the address really bound.

    Raises:
        OSError: The address cannot be bound.
        ValueError: The address is not ``HOST:PORT``.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > LAST_PORT:
        raise ValueError(f"--listen: {address!r} is not HOST:PORT, for example 0.0.0.0:8080")

    def probe(check: Check) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(text=(wrong or "ok") + "\n", status=503 if wrong else 200)

        return answer

    async def show(_: web.Request) -> web.Response:
        collect()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", probe(healthy))  # type: ignore[arg-type]
    app.router.add_get("/readyz", probe(ready))  # type: ignore[arg-type]
    app.router.add_get("/metrics", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host or "0.0.0.0", int(port))  # noqa: S104 - probes come from the node
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise OSError(f"--listen: cannot listen on {address}: {error.strerror or error}") from error
    bound = runner.addresses[0]
    return runner, f"{bound[0]}:{bound[1]}"
