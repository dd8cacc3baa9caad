"""``riskladder ingest``: take what monitors send."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from riskladder.cli import logs
from riskladder.cli.options import Kubeconfig
from riskladder.cluster.connection import ConnectionFailed


def ingest(
    kubeconfig: Kubeconfig = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Serve the bindings of this namespace only; repeatable. Default: all."),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT that monitors send to; port 0 takes a free one.")
    ] = "0.0.0.0:8090",
    health: Annotated[
        str, typer.Option(help="HOST:PORT of /healthz, /readyz and /metrics; port 0 takes a free one.")
    ] = "0.0.0.0:8080",
    certificate: Annotated[
        str,
        typer.Option(
            help="Directory with tls.crt and tls.key, read again when they change. Default, or empty: plain HTTP."
        ),
    ] = "",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
) -> None:
    """Take what monitors send over HTTP, as the MonitorBindings say, until SIGTERM.

    POST /v1/namespaces/NAMESPACE/bindings/NAME, with a service-account token of the audience riskladder-ingest or a
    signature, as the binding says. 200 says that the readings are stored.
    """
    from riskladder.ingest.process import Ingest, Settings

    settings = Settings(
        kubeconfig=kubeconfig,
        namespaces=tuple(dict.fromkeys(namespace or ())),
        listen=listen,
        health=health,
        certificate=certificate,
    )
    try:
        if log_format not in ("json", "text"):
            raise ValueError(f"--log-format: {log_format!r} is not json or text")
        logs.configure(log_level.upper(), json=log_format == "json")
        code = asyncio.run(Ingest(settings).run())
    except (ConnectionFailed, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)
