"""TCP between two network namespaces, by a process that may enter both.

A socket belongs to the namespace in which it was made, whatever its process enters later. So one process can listen in
one namespace and connect in another, without an interface between them: nothing of the machine's network changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
from pathlib import Path

CLONE_NEWNET = 0x40000000
CHUNK = 256 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespace:
    """The network namespace that the calling thread is in now."""

    def __init__(self) -> None:
        self._file = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def leave_for_new(self) -> NetworkNamespace:
        """Enter a new network namespace, empty but for a loopback interface that is down, and return it."""
        _check(_libc.unshare(CLONE_NEWNET))
        return NetworkNamespace()

    def socket(self) -> socket.socket:
        """Return a new TCP socket of this namespace; the calling thread is back where it was afterwards."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(self._file, CLONE_NEWNET))
            try:
                made = socket.socket()
            finally:
                _check(_libc.setns(back, CLONE_NEWNET))
        finally:
            os.close(back)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


async def relay(
    here: NetworkNamespace, addresses: list[tuple[str, int]], there: NetworkNamespace, to: tuple[str, int]
) -> None:
    """Listen on addresses of one namespace, and pass each connection on to an address of the other."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, there, to)

    for address in addresses:
        listener = here.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        await asyncio.start_server(accept, sock=listener, limit=CHUNK)


async def http_connect_proxy(path: Path, there: NetworkNamespace) -> None:
    """Serve HTTP CONNECT on a Unix socket, as the API server's egress selector speaks it, into a namespace.

    https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity/ describes the egress selector.
    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(EOFError, asyncio.LimitOverrunError, OSError):
            method, _, rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").partition(" ")
            host, _, port = rest.partition(" ")[0].rpartition(":")
            if method != "CONNECT" or not port.isdigit():
                writer.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
                return
            answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
            await _join(reader, writer, there, (host.strip("[]"), int(port)), answer)

    await asyncio.start_unix_server(accept, path, limit=CHUNK)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there: NetworkNamespace,
    to: tuple[str, int],
    answer: bytes = b"",
) -> None:
    outgoing = there.socket()
    try:
        await asyncio.get_running_loop().sock_connect(outgoing, to)
    except OSError:
        outgoing.close()
        if answer:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        writer.close()
        return
    far_reader, far_writer = await asyncio.open_connection(sock=outgoing, limit=CHUNK)
    if answer:
        writer.write(answer)
    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # Also where a pod, and its interface with it, is gone.
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        # Half-closing would be kinder to protocols that use it: none of those that pass here does.
        target.close()


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
