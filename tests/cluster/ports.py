"""Ports that two planes can never both believe to be theirs.

A port that is free now may be taken a moment later, and a component that is killed and restarted must find its own port
again. So each port is claimed by a locked file for as long as the plane lives, and comes from below the ranges that
operating systems use for outgoing connections (32768 and up on Linux, 49152 and up elsewhere).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

from tests.cluster.base import ClusterError

FIRST, LAST = 20000, 32000
HOST = "127.0.0.1"


class Ports:
    """Claims on ports of the loopback address, held until `release`."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or Path(tempfile.gettempdir()) / f"riskladder-ports-{os.getuid()}"
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._claims: list[IO[str]] = []

    def claim(self) -> int:
        """A port that nobody listens on and no other plane has claimed."""
        for port in random.sample(range(FIRST, LAST), 200):
            with contextlib.ExitStack() as stack:
                claim = stack.enter_context((self._directory / str(port)).open("w"))
                try:
                    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if not _is_free(port):
                    continue
                stack.pop_all()
                self._claims.append(claim)
                return port
        raise ClusterError(f"no free port found on {HOST} between {FIRST} and {LAST}")

    def release(self) -> None:
        """Give every port back."""
        while self._claims:
            self._claims.pop().close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
