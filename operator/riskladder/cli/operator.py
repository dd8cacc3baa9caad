"""``riskladder operator``: the controller, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
from ipaddress import ip_network
from typing import Annotated

import typer

from riskladder.cli import logs
from riskladder.cli.options import ConsoleUrl, Enable, Kubeconfig, NotifyHost, NotifyNetwork, Scalable
from riskladder.cluster.connection import ConnectionFailed


def operator(
    kubeconfig: Kubeconfig = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Watch only this namespace; repeatable. Default: all.")
    ] = None,
    own_namespace: Annotated[
        str | None,
        typer.Option(help="Namespace of the Lease. Default: the pod's own, else riskladder-system."),
    ] = None,
    observe_only: Annotated[
        bool, typer.Option("--observe-only", help="Decide and log, write nothing: see what it would do.")
    ] = False,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT of /healthz, /readyz and /metrics; port 0 takes a free one.")
    ] = "0.0.0.0:8080",
    notify_host: NotifyHost = None,
    notify_network: NotifyNetwork = None,
    console_url: ConsoleUrl = "",
    enable: Enable = None,
    scalable: Scalable = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
) -> None:
    """Run the operator until SIGTERM."""
    from riskladder.controller.operator import Operator, Settings
    from riskladder.notify.console import checked_origin
    from riskladder.notify.egress import Egress
    from riskladder.workloads.registry import Runtimes

    try:
        networks = tuple(ip_network(network) for network in notify_network or ())
        Egress(notify_host or (), networks)
    except ValueError as error:
        typer.echo(f"error: --notify-host, --notify-network: {error}", err=True)
        raise typer.Exit(2) from error
    try:
        where = checked_origin(console_url, "--console-url") if console_url else ""
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    try:
        Runtimes(enable or ())
    except ValueError as error:
        typer.echo(f"error: --enable: {error}", err=True)
        raise typer.Exit(2) from error
    try:
        runtimes = Runtimes(enable or (), scalable or ())
    except ValueError as error:
        typer.echo(f"error: --scalable: {error}", err=True)
        raise typer.Exit(2) from error
    settings = Settings(
        kubeconfig=kubeconfig,
        namespaces=tuple(dict.fromkeys(namespace or ())),
        namespace=own_namespace,
        observe_only=observe_only,
        listen=listen,
        notify_hosts=tuple(notify_host or ()),
        notify_networks=networks,
        console_url=where,
        runtimes=runtimes,
    )

    async def run() -> int:
        process = Operator(settings)
        code = await process.run()
        if process.hangs:  # asyncio.run would wait for it
            logging.shutdown()
            os._exit(code)
        return code

    try:
        if log_format not in ("json", "text"):
            raise ValueError(f"--log-format: {log_format!r} is not json or text")
        logs.configure(log_level.upper(), json=log_format == "json")
        code = asyncio.run(run())
    except (ConnectionFailed, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)
