"""The connection to the API server: one aiohttp session, shared with Kopf, authenticated as the cluster wants it.

Credentials come from the Kubernetes client library (kubeconfig with tokens, certificates and exec plugins, or the
service account of the pod, re-read as it rotates). Requests go through plain aiohttp, which takes a third of the
library's CPU time a
call: the two writes of a containment are the reason this operator exists.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from kubernetes.aio import client as k8s
from kubernetes.aio import config as k8s_config

from riskladder import __version__

KEEPALIVE_SECONDS = 75.0
"""Below the 90 s after which kube-apiserver closes an idle HTTP/1.1 connection."""

IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ConnectionFailed(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The credentials could not be loaded; the message says from where and what to do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open session with the API server."""

    server: str
    """Base URL, for example ``https://10.0.0.1:443``."""
    session: aiohttp.ClientSession
    namespace: str
    """The operator's own namespace, where its Lease lives."""

    async def close(self) -> None:
        """Close the session and its connections."""
        await self.session.close()


async def connect(
    kubeconfig: str | None = None, *, namespace: str | None = None, agent: str = "operator"
) -> Connection:
    """Open a session with the API server.

    Args:
        kubeconfig: Path of a kubeconfig; by default the pod's service account, else ``$KUBECONFIG`` or
            ``~/.kube/config``.
        namespace: The operator's own namespace; by default the pod's, else ``riskladder-system``.
        agent: Last part of the User-Agent, so that audit logs tell the operator from its command line.

    Raises:
        ConnectionFailed: The credentials are missing or unusable.
    """
    configuration = k8s.Configuration()
    in_cluster = kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_cluster:
            k8s_config.load_incluster_config(client_configuration=configuration)
        else:
            await k8s_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    except Exception as error:  # the library raises whatever it stumbles on in a file that is no kubeconfig
        source = "the pod's service account" if in_cluster else f"kubeconfig {kubeconfig or 'at its default place'}"
        why = " ".join(str(error).split())  # YAML errors have several lines
        raise ConnectionFailed(f"cannot load credentials from {source}: {why}") from error

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if token := await configuration.get_api_key_with_prefix("BearerToken", alias="authorization"):
            request.headers["Authorization"] = token
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_tls(configuration), limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
        middlewares=(authenticate,),
        headers={"User-Agent": f"riskladder/{__version__} {agent}", "Accept": "application/json"},
    )
    if namespace is None:
        pod = IN_CLUSTER_NAMESPACE
        namespace = pod.read_text().strip() if in_cluster and pod.exists() else "riskladder-system"
    return Connection(server=configuration.host.rstrip("/"), session=session, namespace=namespace)


def _tls(configuration: k8s.Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
