"""Who asks, where the API server is, and how it is trusted; in a pod: by its service account.

A pod needs nothing of the Kubernetes client library, which saves each of them 11 MiB: see kubeconfig.py.
"""

from __future__ import annotations

import math
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts the token of a pod's service account, its namespace and the cluster's CA."""

TOKEN_SECONDS = 60.0
"""For so long a token is used before it is read anew: the kubelet replaces it when a fifth of its life is left, which
is never less than two minutes."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What it takes to ask the API server."""

    server: str
    """Base URL, for example ``https://10.0.0.1:443``."""
    tls: ssl.SSLContext
    authorization: Callable[[], Awaitable[str | None]]
    """Return the header that says who asks, where no certificate does."""
    user: Mapping[str, Any] = field(default_factory=dict)
    """The user of the kubeconfig, as it is written there; nothing in a pod."""
    namespace: str = "default"
    """Of the context of the kubeconfig."""
    proxy: str | None = None
    """URL of the proxy through which the API server is asked."""
    server_name: str | None = None
    """What the certificate of the API server is checked for, in place of the host of its URL."""


def trusting(cafile: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Return how the API server is trusted: by the authorities of a file or a text, else by those of this machine.

    As Go's clients do it: from Python 3.13 on a certificate would be refused that lacks what RFC 5280 has it contain.
    Many that authorities of clusters have signed lack the identifier of the key that they are signed with.
    """
    tls = ssl.create_default_context(cafile=cafile, cadata=cadata)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


def checked(header: str) -> str:
    """Return a header that says who asks, without the space around it.

    Raises:
        ValueError: It holds what no header can, such as a line end.
    """
    text = header.strip()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("the token holds a line end, or another character that no token has")
    return text


def in_pod() -> bool:
    """Return whether this process runs in a pod of the cluster."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def of_pod(*, anonymous: bool) -> Credentials:
    """Return the credentials of the pod's service account.

    Args:
        anonymous: Take only where the API server is and how it is trusted: of the service account only the CA may be
            mounted.

    Raises:
        OSError: A file of the service account is not mounted, or cannot be read.
        ValueError: It says nothing.
    """
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    authority, token = SERVICE_ACCOUNT / "ca.crt", Token(SERVICE_ACCOUNT / "token")
    if not authority.exists():
        where = f"{authority} is not mounted; outside of a pod, name a kubeconfig with --kubeconfig"
        raise FileNotFoundError(f"cannot trust the API server: {where}")
    if not anonymous:
        token.read()
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        tls=trusting(cafile=str(authority)),
        authorization=token.header,
    )


class Token:
    """A token in a file, which is replaced from time to time."""

    def __init__(self, file: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet.

        Args:
            file: Where it is.
            monotonic: Return the seconds of a clock that nobody sets.
        """
        self._file = file
        self._monotonic = monotonic
        self._read_at = -math.inf
        self._header = ""

    def read(self) -> None:
        """Read it anew.

        Raises:
            OSError: It cannot be read.
            ValueError: There is none in the file, or more than that.
        """
        token = self._file.read_text().strip()
        if not token:
            raise ValueError(f"{self._file} is empty")
        self._header, self._read_at = checked(f"Bearer {token}"), self._monotonic()

    async def header(self) -> str:
        """Return it as a header; while it cannot be read anew, as it was."""
        if self._monotonic() - self._read_at > TOKEN_SECONDS:
            try:
                self.read()
            except (OSError, ValueError):
                self._read_at = self._monotonic()
        return self._header
