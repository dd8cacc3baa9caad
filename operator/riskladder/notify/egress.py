"""Where messages may go: the guard against being made to send requests to places that only the operator can reach.

A ladder's author names URLs, and the operator stands inside the cluster. So a host must be on the operator's own list,
its addresses must be public unless their network is listed too, and the address that was checked is the one that is
connected to: a name that resolves to something else a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from yarl import URL

from riskladder.notify.errors import Undeliverable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

ALWAYS_ALLOWED = ("events.pagerduty.com", "events.eu.pagerduty.com", "slack.com")
"""Hosts that a channel's type names, not its author."""

NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's own server of metadata and certificates, at an address that counts as public.
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "3fff::/20",
        "5f00::/16",
    )
)
"""Companion what Python knows: releases of Python differ in some of them."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.ip_network("::/96")

_HOST = re.compile(r"(\*\.)?[a-z0-9_]([-a-z0-9_.]*[a-z0-9_])?|[0-9a-f:.]+")


class Egress:
    """The egress allow-list of the operator's settings."""

    def __init__(self, hosts: Iterable[str], networks: Iterable[IPNetwork]) -> None:
        """Take the settings.

        Args:
            hosts: Exact names (or addresses), or ``*.example.com`` for every name below it.
            networks: Networks that are reachable although their addresses are not public.

        Raises:
            ValueError: A host is neither, for example a URL or a lone ``*``.
        """
        names = tuple(normal(host) for host in hosts)
        for name in names:
            if not _HOST.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name, an address or *. with a domain, as in *.example.com")
        self.hosts = names
        self.networks = tuple(networks)

    def check_url(self, text: str) -> URL:
        """Return the URL, if messages may go there as far as its text shows.

        Raises:
            Undeliverable: It is no http or https URL, holds a user or password, or its host is not allowed.
        """
        try:
            url = URL(text)
            host = url.raw_host
        except ValueError:
            raise Undeliverable("the URL cannot be read", permanent=True) from None
        if url.scheme not in ("http", "https") or not host:
            raise Undeliverable("only http and https URLs with a host are sent to", permanent=True)
        if url.raw_user is not None or url.raw_password is not None:
            raise Undeliverable("a URL with a user or a password in it is not sent to", permanent=True)
        self.check_host(host)
        return url

    def check_host(self, host: str, also: Iterable[str] = ()) -> None:
        """Pass a host that is listed; an address as a host must be permitted as well, since nothing resolves it.

        Args:
            host: As it stands in the URL.
            also: Further hosts for this one message: those of a service that has its own.

        Raises:
            Undeliverable: It is not allowed.
        """
        name = normal(host)
        if not any(_matches(name, pattern) for pattern in (*self.hosts, *ALWAYS_ALLOWED, *also)):
            raise Undeliverable(
                f"host {host} is not on the list of hosts that are sent to: it needs the option --notify-host {host}",
                permanent=True,
            )
        if (address := parse_address(name)) is not None and not self.permits(address):
            raise refused_address(host, [name])

    def permits(self, address: IPAddress | str) -> bool:
        """Return whether a connection to this very address is allowed: it is public, or its network is listed."""
        ip = parse_address(address) if isinstance(address, str) else address
        if ip is None:
            return False
        forms = {ip, *_embedded(ip)}
        if any(form in network for network in self.networks for form in forms if form.version == network.version):
            return True
        return all(_is_public(form) for form in forms)


def refused_address(host: str, addresses: Iterable[str]) -> Undeliverable:
    """Return the error for a host with addresses none of which is permitted."""
    listed = ", ".join(dict.fromkeys(addresses))
    return Undeliverable(
        f"host {host} has the address {listed}, which is not public: "
        "its network needs the option --notify-network with a CIDR",
        permanent=True,
    )


def normal(host: str) -> str:
    """Return a host name as names are compared: lower case, without the final dot and the brackets of an address."""
    return host.strip().lower().removesuffix(".").removeprefix("[").removesuffix("]")


def parse_address(text: str) -> IPAddress | None:
    """Return an address in its usual notation (a zone is dropped), or None."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _matches(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1 if pattern[:2] == "*." else name == pattern


def _embedded(ip: IPAddress) -> set[IPAddress]:
    """Return the IPv4 addresses that a packet to this IPv6 address may end up at."""
    if isinstance(ip, ipaddress.IPv4Address):
        return set()
    found: set[IPAddress | None] = {ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())}
    if ip in NAT64 or ip in IPV4_COMPATIBLE:
        found.add(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return {form for form in found if form is not None}


def _is_public(ip: IPAddress) -> bool:
    if ip.is_multicast or any(ip in network for network in NOT_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None or ip in NAT64:
            return True  # Judged by the IPv4 address in it.
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_private or ip.is_reserved or ip.is_link_local or ip.is_loopback)
