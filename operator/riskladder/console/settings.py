"""How a console runs, and what it may show."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from riskladder.console.names import Names

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long a session lasts."""

    idle: timedelta = timedelta(minutes=30)
    """Without a request."""
    absolute: timedelta = timedelta(hours=8)
    """In all, whatever happens."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """In which ways somebody may sign in."""

    openid: bool = False
    """At the OpenID provider that the API server trusts."""
    token: bool = True
    """By pasting a token."""
    names: Names | None = None
    """Whom the console acts as for somebody who signed in at the provider; none: they act with their own ID token."""
    proxies: tuple[Network, ...] = ()
    """Addresses whose Authorization header is taken for the visitor's own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all pages share."""

    url: str
    """Where people reach the console, for example ``https://riskladder.example.com``: no path, no trailing slash."""
    title: str = ""
    """What to call the cluster in the header."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to look at for a visitor who may not list everything; empty: they name one."""
    limits: Limits = Limits()
    sign_in: SignIn = SignIn()
    link_hosts: tuple[str, ...] = ()
    """Hosts to which evidence, model cards and lineage may be links; empty: any host, over https."""
    is_local: bool = False
    """Whether it serves one person on 127.0.0.1 with their own kubeconfig."""

    @property
    def uses_own_credentials(self) -> bool:
        """Whether requests are made with the credentials that the console was started with."""
        return self.is_local or self.sign_in.names is not None

    @property
    def origin(self) -> str:
        """What a browser sends as Origin with a form of these pages."""
        return self.url

    @property
    def host(self) -> str:
        """What a browser sends as Host."""
        return urlsplit(self.url).netloc

    @property
    def is_secure(self) -> bool:
        """Whether people reach it over TLS."""
        return self.url.startswith("https://")


def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks of ``--trust-proxy``.

    Raises:
        ValueError: One is none.
    """
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"--trust-proxy: {text!r} is no address and no network such as 10.0.0.7/32") from error
    return tuple(found)


_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def link_hosts(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hosts of ``--link-host``.

    Raises:
        ValueError: One is no host name.
    """
    for text in texts:
        if not _HOST.fullmatch(text.lower()):
            raise ValueError(f"--link-host: {text!r} is no host name such as mlflow.example.com")
    return tuple(text.lower() for text in texts)
