"""Who asks, where the API server is, and how it is trusted: of a kubeconfig, or of the service account of a pod.

A kubeconfig is read by the Kubernetes client library (tokens, certificates, exec plugins), which is loaded only for
that: a pod needs none of it, which saves each of them 11 MiB. The library reads a kubeconfig without its impersonation
(``as`` and what belongs to it), which would silently act as whoever stands behind it: it is read here.
"""

from __future__ import annotations

import math
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
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
    user: Mapping[str, Any]
    """The user of the kubeconfig, as it is written there; nothing in a pod."""


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
        raise FileNotFoundError(f"cannot trust the API server: {authority} is not mounted")
    if not anonymous:
        token.read()
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        tls=ssl.create_default_context(cafile=str(authority)),
        authorization=token.header,
        user={},
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
            ValueError: There is none in the file.
        """
        token = self._file.read_text().strip()
        if not token:
            raise ValueError(f"{self._file} is empty")
        self._header, self._read_at = f"Bearer {token}", self._monotonic()

    async def header(self) -> str:
        """Return it as a header; while it cannot be read anew, as it was."""
        if self._monotonic() - self._read_at > TOKEN_SECONDS:
            try:
                self.read()
            except (OSError, ValueError):
                self._read_at = self._monotonic()
        return self._header


async def of_kubeconfig(file: str | None, context: str | None, *, anonymous: bool) -> Credentials:
    """Return the credentials of a kubeconfig.

    Args:
        file: Its path; by default ``$KUBECONFIG``, or ``~/.kube/config``.
        context: Name of a context of it; by default its current one.
        anonymous: Take only where the API server is and how it is trusted.

    Raises:
        Exception: The library raises whatever it stumbles on in a file that is no kubeconfig.
    """
    from kubernetes.aio import client as k8s  # only here: see above
    from kubernetes.aio import config as k8s_config

    configuration = k8s.Configuration()
    loader = await k8s_config.load_kube_config(config_file=file, context=context, client_configuration=configuration)
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file and not anonymous:
        tls.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE

    async def authorization() -> str | None:
        header: str | None = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return header

    return Credentials(
        server=configuration.host.rstrip("/"),
        tls=tls,
        authorization=authorization,
        user=loader._user.value if loader._user is not None else {},
    )


def namespace_of_context(file: str | None, context: str | None) -> str:
    """Return the namespace of a kubeconfig's context, ``default`` where it names none.

    Args:
        file: Its path; by default ``$KUBECONFIG``, or ``~/.kube/config``.
        context: Name of a context of it; by default its current one.
    """
    from kubernetes.aio import config as k8s_config  # only here: see above

    contexts, current = k8s_config.list_kube_config_contexts(file)
    if context is not None:
        current = next(found for found in contexts if found["name"] == context)
    return str(current["context"].get("namespace") or "default")
