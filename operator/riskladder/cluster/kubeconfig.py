"""Credentials of a kubeconfig, as kubectl would use them.

It is read by the Kubernetes client library (tokens, certificates, exec plugins), which is loaded only for that. What it
leaves to others is done here: which of several files says what is current, the impersonation (``as`` and what belongs
to it), which would silently act as whoever stands behind it, and that a token is renewed before it expires.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from riskladder.cluster.credentials import TOKEN_SECONDS, Credentials, checked, trusting

DEFAULT = "~/.kube/config"

PROXIES = ("http", "https")
"""What a proxy may speak."""


def named(file: str | None) -> str:
    """Return which files are meant: the one given, else those of ``$KUBECONFIG``, else ``~/.kube/config``."""
    return file or os.environ.get("KUBECONFIG") or DEFAULT


def existing(file: str | None) -> list[Path]:
    """Return those of these files that exist."""
    return [path for part in named(file).split(os.pathsep) if part and (path := Path(part).expanduser()).exists()]


async def of_kubeconfig(
    file: str | None, context: str | None, *, anonymous: bool, monotonic: Callable[[], float] = time.monotonic
) -> Credentials:
    """Return the credentials of a kubeconfig.

    Args:
        file: Its path; by default those of ``$KUBECONFIG``, or ``~/.kube/config``.
        context: Name of a context of it; by default its current one.
        anonymous: Take only where the API server is and how it is trusted.
        monotonic: Return the seconds of a clock that nobody sets.

    Raises:
        Exception: The library raises whatever it stumbles on in a file that is no kubeconfig.
    """
    from kubernetes.aio.config import ConfigException  # only here: see above

    try:
        return await _load(file, context, anonymous, monotonic)
    except ConfigException as error:  # it quotes what it looked at, with the token that may be in it
        raise ValueError(re.sub(r"/\{.*\}", "", str(error), flags=re.DOTALL)) from None


async def _load(file: str | None, context: str | None, anonymous: bool, monotonic: Callable[[], float]) -> Credentials:
    from kubernetes.aio import client as k8s
    from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

    documents = _read(existing(file))
    name = context or next((found for d in documents.values() if (found := d.get("current-context"))), None)
    if name is None:
        raise ValueError("it has no current context: choose one with --context")
    merged = KubeConfigMerger(os.pathsep.join(documents)).config
    chosen = merged["contexts"].get_with_name(name)["context"].value
    cluster = merged["clusters"].get_with_name(chosen["cluster"])["cluster"].value
    server, proxy = _server(str(cluster.get("server") or "")), _proxy(str(cluster.get("proxy-url") or ""))
    who = chosen.setdefault("user", "") or "nobody"
    user: dict[str, Any] = next((u["user"].value for u in merged.value["users"] if u["name"] == who), {})
    if anonymous or not user:  # no plugin is run, no token read; and the library wants one to be there
        chosen["user"], merged.value["users"], user = who, [{"name": who, "user": {}}], {}
    if not user.get("token") and "token" in user:
        del user["token"]  # an empty one is none, and would hide the file
    if not isinstance(is_insecure := cluster.get("insecure-skip-tls-verify", False), bool):
        raise ValueError(f"insecure-skip-tls-verify: found {is_insecure!r}, expected true or false")
    loader = KubeConfigLoader(config_dict=merged, active_context=name, config_base_path=None)
    configuration = k8s.Configuration()

    async def load() -> str | None:
        with _words_of_the_library() as words:
            await loader.load_and_set(configuration)
        header = configuration.api_key.get("BearerToken")
        if "exec" in user and not header and not configuration.cert_file:
            raise ValueError(f"the plugin {user['exec'].get('command')} gave no credentials: {'; '.join(words)}")
        return checked(header) if header else None

    first = await load()
    changes = {"tokenFile", "auth-provider"} & user.keys() or hasattr(loader, "exec_plugin_expiry")
    renewed = _Renewed(first, load if changes else None, monotonic)
    return Credentials(
        server=server,
        tls=_tls(configuration),
        authorization=renewed.header,
        user=user,
        namespace=str(chosen.get("namespace") or "default"),
        proxy=proxy,
        server_name=cluster.get("tls-server-name") or None,
    )


def _read(files: list[Path]) -> dict[str, Mapping[str, Any]]:
    """Return what is in some files; an empty one says nothing.

    Raises:
        ValueError: One of them is none, or all are empty.
    """
    import yaml  # only here, as the library

    found: dict[str, Mapping[str, Any]] = {}
    for path in files:
        document = yaml.safe_load(path.read_text())
        if document is not None and not isinstance(document, dict):
            raise ValueError(f"{path} holds no kubeconfig")
        if document:
            found[str(path)] = document
    if not found:
        raise ValueError("it is empty")
    return found


def _server(text: str) -> str:
    """Return the URL of the API server.

    Raises:
        ValueError: It is none.
    """
    try:
        url = urlsplit(text)
        is_one = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(f"server: found {text!r}, expected a URL such as https://10.0.0.1:6443")
    return text.rstrip("/")


def _proxy(text: str) -> str | None:
    """Return the URL of the proxy, if there is one.

    Raises:
        ValueError: It is none, or speaks what is not understood here.
    """
    if text and urlsplit(text).scheme not in PROXIES:
        raise ValueError(f"proxy-url: found {text!r}, expected one that begins with http:// or https://")
    return text or None


def _tls(configuration: Any) -> ssl.SSLContext:
    tls = trusting(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


class _Renewed:
    """A header that is loaded anew from time to time, and stays as it was while that fails.

    The library asks a plugin again once its token is about to expire, and reads a file each time.
    """

    def __init__(
        self, first: str | None, load: Callable[[], Awaitable[str | None]] | None, monotonic: Callable[[], float]
    ) -> None:
        self._header, self._load, self._monotonic = first, load, monotonic
        self._loaded_at = monotonic()
        self._loading = asyncio.Lock()

    async def header(self) -> str | None:
        is_old = self._monotonic() - self._loaded_at > TOKEN_SECONDS
        if self._load is not None and is_old and not self._loading.locked():
            async with self._loading:
                self._loaded_at = self._monotonic()
                try:
                    self._header = await self._load()
                except Exception as error:  # whatever the library stumbles on
                    logging.getLogger(__name__).warning("credentials not renewed: %s", " ".join(str(error).split()))
        return self._header


class _Words(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(" ".join(record.getMessage().split()))


@contextmanager
def _words_of_the_library() -> Iterator[list[str]]:
    """Take what the library would log: why a plugin gave nothing, it says nowhere else."""
    logger, handler = logging.getLogger("kubernetes.aio.config.kube_config"), _Words()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.words
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
