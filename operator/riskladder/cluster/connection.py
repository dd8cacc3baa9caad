"""The connection to the API server: one aiohttp session, shared with Kopf, authenticated as the cluster wants it.

Credentials come from the Kubernetes client library (kubeconfig with tokens, certificates and exec plugins, or the
service account of the pod, re-read as it rotates). Requests go through plain aiohttp, which takes a third of the
library's CPU time a
call: the write of a containment is the reason this operator exists.

The library reads a kubeconfig without its impersonation (``as`` and what belongs to it), which would silently act as
whoever stands behind it: it is read here, and goes with every request of the session, of Kopf's too.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client as k8s
from kubernetes.aio import config as k8s_config

from riskladder import __version__

KEEPALIVE_SECONDS = 75.0
"""Below the 90 s after which kube-apiserver closes an idle HTTP/1.1 connection."""

DEFAULT_KUBECONFIG = Path("~/.kube/config")

IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


IN_CLUSTER_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")


class ConnectionFailed(Exception):  # noqa: N818 - reads as a sentence at the call site
    """The credentials could not be loaded; the message says from where and what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """Which credentials to use, and as whom: what kubectl calls --kubeconfig, --context, --as and --as-group."""

    kubeconfig: str | None = None
    context: str | None = None
    """Name of a context of the kubeconfig; by default its current one."""
    user: str = ""
    """Whom to impersonate, in place of whom the kubeconfig names."""
    groups: tuple[str, ...] = ()
    """As a member of which groups."""

    @property
    def is_in_cluster(self) -> bool:
        """Whether it is the service account of the pod."""
        return self.kubeconfig is None and self.context is None and "KUBERNETES_SERVICE_HOST" in os.environ


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
    access: Access | str | None = None,
    *,
    namespace: str | None = None,
    agent: str = "operator",
    anonymous: bool = False,
) -> Connection:
    """Open a session with the API server.

    Args:
        access: Which credentials, or the path of a kubeconfig; by default the pod's service account, else
            ``$KUBECONFIG`` or ``~/.kube/config``.
        namespace: The operator's own namespace; by default the pod's, else ``riskladder-system``.
        agent: Last part of the User-Agent, so that audit logs distinguish the operator from its command line.
        anonymous: Take of the credentials only where the API server is and how it is trusted: who asks says so with
            each request.

    Raises:
        ConnectionFailed: The credentials are missing or unusable.
    """
    wanted = access if isinstance(access, Access) else Access(access)
    kubeconfig, in_cluster = wanted.kubeconfig, wanted.is_in_cluster
    if not in_cluster:
        _must_exist(kubeconfig)
    configuration = k8s.Configuration()
    own: Mapping[str, Any] = {}
    try:
        if in_cluster and anonymous:
            _address_in_cluster(configuration)
        elif in_cluster:
            k8s_config.load_incluster_config(client_configuration=configuration)
        else:
            loader = await k8s_config.load_kube_config(
                config_file=kubeconfig, context=wanted.context, client_configuration=configuration
            )
            own = loader._user.value if loader._user is not None else {}
        impersonation = [] if anonymous else list(impersonating(own, wanted))
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
        connector=aiohttp.TCPConnector(
            ssl=_tls(configuration, anonymous=anonymous), limit=0, keepalive_timeout=KEEPALIVE_SECONDS
        ),
        cookie_jar=aiohttp.DummyCookieJar(),  # what is set for one must not go with the requests of another
        middlewares=() if anonymous else (authenticate,),
        headers={"User-Agent": f"riskladder/{__version__} {agent}", "Accept": "application/json"},
    )
    for header, value in impersonation:
        session.headers.add(header, value)
    if namespace is None:
        pod = IN_CLUSTER_NAMESPACE
        namespace = pod.read_text().strip() if in_cluster and pod.exists() else "riskladder-system"
    return Connection(server=configuration.host.rstrip("/"), session=session, namespace=namespace)


def _must_exist(kubeconfig: str | None) -> None:
    """Refuse to go on where there is no kubeconfig: the library would print that, and then fail for another reason.

    Raises:
        ConnectionFailed: None of the files is there.
    """
    named = kubeconfig if kubeconfig is not None else os.environ.get("KUBECONFIG") or str(DEFAULT_KUBECONFIG)
    if any(Path(part).expanduser().exists() for part in named.split(os.pathsep) if part):
        return
    hint = "" if kubeconfig is not None else ": name one with --kubeconfig or $KUBECONFIG"
    raise ConnectionFailed(f"cannot load credentials from kubeconfig {named}: there is no such file{hint}")


def _address_in_cluster(configuration: k8s.Configuration) -> None:
    """Say where the API server is, for a pod without a token: of the service account only the CA is mounted.

    Raises:
        ConnectionFailed: It is not.
    """
    if not IN_CLUSTER_CA.exists():
        raise ConnectionFailed(f"cannot trust the API server: {IN_CLUSTER_CA} is not mounted")
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    configuration.host = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    configuration.ssl_ca_cert = str(IN_CLUSTER_CA)


def own_namespace(access: Access, connection: Connection) -> str:
    """Return the namespace of the kubeconfig's context, or of the pod."""
    if access.is_in_cluster:
        return connection.namespace
    contexts, current = k8s_config.list_kube_config_contexts(access.kubeconfig)
    if access.context is not None:
        current = next(context for context in contexts if context["name"] == access.context)
    return str(current["context"].get("namespace") or "default")


def impersonating(own: Mapping[str, Any], access: Access) -> Iterator[tuple[str, str]]:
    """Yield the headers that impersonate somebody, as pairs: one of them may come several times.

    Args:
        own: The user of a kubeconfig.
        access: Further options. Another user is another person, so that nothing of the kubeconfig's is
            kept; groups alone take the place of the kubeconfig's groups.

    Raises:
        ValueError: Groups or particulars of nobody, or what no header can carry.
    """
    user = access.user or str(own.get("as") or "")
    kept: Mapping[str, Any] = {} if access.user else own
    groups = access.groups or kept.get("as-groups") or ()
    uid = kept.get("as-uid") or ""
    extra = kept.get("as-user-extra") or {}
    if isinstance(groups, str) or not isinstance(extra, Mapping) or any(isinstance(v, str) for v in extra.values()):
        raise ValueError("as-groups must be a list, and as-user-extra a map of lists")
    if not user:
        if groups or uid or extra:
            raise ValueError("it impersonates groups, a uid or further particulars, but no user: say whom with --as")
        return
    pairs = [("User", user), *(("Group", group) for group in groups)]
    pairs += [("Uid", uid)] if uid else []
    pairs += [(f"Extra-{quote(str(key), safe='')}", value) for key, values in extra.items() for value in values or ()]
    for name, value in pairs:
        text = str(value)
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise ValueError(f"{text!r} cannot be impersonated")
        yield f"Impersonate-{name}", text


def _tls(configuration: k8s.Configuration, *, anonymous: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file and not anonymous:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
