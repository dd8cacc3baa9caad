"""The connection to the API server: one aiohttp session, shared with Kopf, authenticated as the cluster wants it.

Requests go through plain aiohttp, which takes a third of the CPU time a call that the Kubernetes client library does:
the write of a containment is the reason this operator exists. Who is to be impersonated goes with every request of the
session, of Kopf's too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from riskladder import __version__
from riskladder.cluster import credentials
from riskladder.cluster.kubeconfig import existing, named, of_kubeconfig

KEEPALIVE_SECONDS = 75.0
"""Below the 90 s after which kube-apiserver closes an idle HTTP/1.1 connection."""


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
        return self.kubeconfig is None and self.context is None and credentials.in_pod()


@dataclass(frozen=True, slots=True)
class Connection:
    """An open session with the API server."""

    server: str
    """Base URL, for example ``https://10.0.0.1:443``."""
    session: aiohttp.ClientSession
    namespace: str
    """The operator's own namespace, where its Lease lives."""
    context_namespace: str = "default"
    """The namespace of the kubeconfig's context."""

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
    if not in_cluster and not existing(kubeconfig):
        hint = "" if kubeconfig is not None else ": name one with --kubeconfig or $KUBECONFIG"
        raise ConnectionFailed(
            f"cannot load credentials from kubeconfig {named(kubeconfig)}: there is no such file{hint}"
        )
    try:
        if in_cluster:
            found = credentials.of_pod(anonymous=anonymous)
        else:
            found = await of_kubeconfig(kubeconfig, wanted.context, anonymous=anonymous)
        impersonation = [] if anonymous else list(impersonating(found.user, wanted))
    except Exception as error:  # the library raises whatever it stumbles on in a file that is no kubeconfig
        source = "the pod's service account" if in_cluster else f"kubeconfig {named(kubeconfig)}"
        why = " ".join(str(error).split())  # YAML errors have several lines
        raise ConnectionFailed(f"cannot load credentials from {source}: {why}") from error

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if header := None if anonymous else await found.authorization():
            request.headers["Authorization"] = header
        if found.server_name:
            request.server_hostname = found.server_name
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=found.tls, limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),  # what is set for one must not go with the requests of another
        middlewares=(authenticate,),
        proxy=found.proxy,
        headers={"User-Agent": f"riskladder/{__version__} {agent}", "Accept": "application/json"},
    )
    for header, value in impersonation:
        session.headers.add(header, value)
    if namespace is None:
        pod = credentials.SERVICE_ACCOUNT / "namespace"
        namespace = pod.read_text().strip() if in_cluster and pod.exists() else "riskladder-system"
    return Connection(server=found.server, session=session, namespace=namespace, context_namespace=found.namespace)


def own_namespace(access: Access, connection: Connection) -> str:
    """Return the namespace of the kubeconfig's context, or of the pod."""
    if access.is_in_cluster:
        return connection.namespace
    return connection.context_namespace


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
