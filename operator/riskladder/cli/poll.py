"""``riskladder poll``: ask Prometheus for readings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from riskladder.cli import logs
from riskladder.cli.options import Kubeconfig
from riskladder.cluster.connection import ConnectionFailed


def poll(
    endpoints: Annotated[
        Path, typer.Option(help="YAML file of the endpoints that bindings may name: addresses, CAs, tokens, tenants.")
    ],
    kubeconfig: Kubeconfig = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Ask for the bindings of this namespace; repeatable. Default: all."),
    ] = None,
    own_namespace: Annotated[
        str | None, typer.Option(help="Namespace of the Lease. Default: the pod's own, else riskladder-system.")
    ] = None,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT of /healthz, /readyz and /metrics; port 0 takes a free one.")
    ] = "0.0.0.0:8080",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
) -> None:
    """Ask Prometheus, or what answers as it does, as the MonitorBindings say, until SIGTERM.

    One replica asks; the others stand by.
    """
    from riskladder.poll.endpoints import EndpointsError
    from riskladder.poll.process import Poll, Settings

    settings = Settings(
        endpoints=endpoints,
        kubeconfig=kubeconfig,
        namespaces=tuple(dict.fromkeys(namespace or ())),
        namespace=own_namespace,
        listen=listen,
    )

    async def run() -> int:
        return await Poll(settings).run()

    try:
        if log_format not in ("json", "text"):
            raise ValueError(f"--log-format: {log_format!r} is not json or text")
        logs.configure(log_level.upper(), json=log_format == "json")
        code = asyncio.run(run())
    except EndpointsError as error:
        typer.echo(f"error: --endpoints: {error}", err=True)
        raise typer.Exit(2) from error
    except (ConnectionFailed, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)
