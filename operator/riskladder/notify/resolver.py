"""The look-up of names for aiohttp that keeps the promise of the guard: what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from riskladder.notify.egress import Egress, refused_address

LOOKUP_THREADS = 16
"""A resolver that hangs holds one of these, and none of the event loop's own."""


class PinnedResolver(AbstractResolver):
    """Resolves for aiohttp, and returns only addresses that may be connected to."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="notify-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the permitted addresses of a host.

        Raises:
            OSError: It has none at all.
            Undeliverable: The host is not allowed, or none of its addresses is permitted.
        """
        self._egress.check_host(host)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port, family)
        permitted = [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, protocol, address in found
            if self._egress.permits(address)
        ]
        if not permitted:
            raise refused_address(host, [address for *_, address in found])
        return permitted

    async def close(self) -> None:
        """Start no more look-ups; one that hangs is left to its own end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, int, str]]:
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [(kind, protocol, str(address[0])) for kind, _, protocol, _, address in found]
