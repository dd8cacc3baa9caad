"""``riskladder console``: pages on which people see and decide, each with their own credential."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from riskladder.cli import logs
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, access_of
from riskladder.cluster.connection import ConnectionFailed

if TYPE_CHECKING:
    from riskladder.console.server import Console
    from riskladder.console.settings import Settings


def console(
    url: Annotated[
        str,
        typer.Option(
            help="Where people reach it, for example https://riskladder.example.com. Default: 127.0.0.1, for you "
            "alone, with the credentials of your kubeconfig.",
            show_default=False,
            envvar="RISKLADDER_CONSOLE_URL",
        ),
    ] = "",
    listen: Annotated[
        str,
        typer.Option(
            help="HOST:PORT; port 0 takes a free one. Default: 0.0.0.0:8091 with --url, else 127.0.0.1:0.",
            show_default=False,
        ),
    ] = "",
    health: Annotated[
        str, typer.Option(help="HOST:PORT of /healthz, /readyz and /metrics. Default: none.", show_default=False)
    ] = "",
    title: Annotated[str, typer.Option(help="What to call the cluster on the pages.")] = "",
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Where to look for somebody who may not list everywhere; repeatable."),
    ] = None,
    openid_issuer: Annotated[
        str,
        typer.Option(
            help="The OpenID provider that the API server trusts, exactly as the API server has it.", show_default=False
        ),
    ] = "",
    openid_client_id: Annotated[
        str, typer.Option(help="By which the provider knows the console.", show_default=False)
    ] = "",
    openid_client_secret_file: Annotated[
        Path | None, typer.Option(help="File with the client secret. Default: a public client.", show_default=False)
    ] = None,
    openid_scope: Annotated[
        list[str] | None,
        typer.Option(help="Asked for besides openid; repeatable. Default: profile and email.", show_default=False),
    ] = None,
    openid_ca_file: Annotated[
        Path | None, typer.Option(help="PEM file to check the provider's certificate by.", show_default=False)
    ] = None,
    impersonate: Annotated[
        bool,
        typer.Option(
            "--impersonate",
            help="Act in the name of whoever signed in at the provider, where the API server does not trust it. Needs "
            "Kubernetes 1.36 and the component console-impersonation; decisions are marked with it.",
        ),
    ] = False,
    impersonate_username_claim: Annotated[str, typer.Option(help="Claim that is the user name.")] = "email",
    impersonate_groups_claim: Annotated[str, typer.Option(help="Claim that has the groups.")] = "groups",
    impersonate_prefix: Annotated[str, typer.Option(help="Before user names and groups.")] = "oidc:",
    tokens: Annotated[
        bool, typer.Option("--sign-in-token/--no-sign-in-token", help="Whether a token can be pasted to sign in.")
    ] = True,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy whose Authorization header is the visitor's own; repeatable.",
            metavar="ADDRESS",
        ),
    ] = None,
    link_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Host to which evidence and model cards may be links, with its subdomains; repeatable. Default: any.",
            metavar="HOST",
        ),
    ] = None,
    certificate: Annotated[
        str,
        typer.Option(
            help="Directory with tls.crt and tls.key, read again when they change. Default, or empty: plain HTTP, "
            "behind a proxy that speaks TLS."
        ),
    ] = "",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
) -> None:
    """Serve pages on which people see and decide, each with their own credential, until SIGTERM or Ctrl-C.

    Without --url it serves you alone: it prints a link that signs you in once, with your kubeconfig.
    """
    from riskladder.console.names import Names
    from riskladder.console.pages.signing import one_time_link
    from riskladder.console.process import Address, serve
    from riskladder.console.provider import Provider
    from riskladder.console.settings import Settings, SignIn, link_hosts, networks
    from riskladder.notify.console import checked_origin

    is_local = not url
    key = secrets.token_urlsafe(24)

    def settings_of(port: int) -> Settings:
        return Settings(
            url=checked_origin(url, "--url") if url else f"http://127.0.0.1:{port}",
            title=title,
            namespaces=tuple(dict.fromkeys(namespace or ())),
            sign_in=SignIn(
                openid=bool(openid_issuer),
                names=Names(impersonate_username_claim, impersonate_groups_claim, impersonate_prefix)
                if impersonate
                else None,
                token=tokens and not is_local and not impersonate,
                proxies=networks(tuple(trust_proxy or ())),
            ),
            link_hosts=link_hosts(tuple(link_host or ())),
            is_local=is_local,
        )

    if impersonate and trust_proxy:
        raise typer.BadParameter("--impersonate: people sign in here then, so leave --trust-proxy out")

    def provider() -> Provider | None:
        if not openid_issuer and not openid_client_id:
            if impersonate:
                raise ValueError("--impersonate: needs --openid-issuer, which says who people are")
            return None
        if is_local or not openid_issuer or not openid_client_id:
            raise ValueError("--openid-issuer: needs --openid-client-id, and --url")
        secret = openid_client_secret_file.read_text("utf-8").strip() if openid_client_secret_file else ""
        return Provider(
            issuer=openid_issuer,
            client_id=openid_client_id,
            client_secret=secret,
            redirect_uri=f"{settings_of(0).url}/sign-in/callback",
            scopes=tuple(openid_scope or ("profile", "email")),
            ca_file=str(openid_ca_file or ""),
        )

    def started(running: Console) -> None:
        if is_local:
            typer.echo(f"Open {running.settings.url}/start?key={key}\nIt signs you in once. Ctrl-C ends the console.")

    try:
        if log_format not in ("json", "text"):
            raise ValueError(f"--log-format: {log_format!r} is not json or text")
        logs.configure("WARNING" if is_local and log_level == "INFO" else log_level.upper(), json=log_format == "json")
        if is_local and trust_proxy:
            raise ValueError("--trust-proxy: without --url it serves you alone, and nobody else's credentials")
        settings_of(0)
        where = Address.of(listen or ("127.0.0.1:0" if is_local else "0.0.0.0:8091"))
        if not is_local and (as_user or as_group):
            raise ValueError("--as: with --url everybody acts as themselves")
        if is_local and where.host != "127.0.0.1":
            raise ValueError("--listen: without --url it serves your own credentials, so only 127.0.0.1 will do")
        further = [lambda c: one_time_link(c, key)] if is_local else []
        serving = serve(
            settings_of,
            access_of(kubeconfig, context, as_user, as_group),
            where,
            provider=provider(),
            certificate=certificate,
            probes=health,
            started=started,
            further=further,
        )
        code = asyncio.run(serving)
    except (ConnectionFailed, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)
