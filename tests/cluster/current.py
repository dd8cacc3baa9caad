"""The cluster that the current kubeconfig context names: asked about first, unless it is on this machine.

Tests create and delete objects, some of them cluster-wide. A context that happened to be selected must not be enough.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.cluster.base import ClusterError, Progress, silent
from tests.cluster.kubeconfig import write_private

FILE_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class CurrentContext:
    """The current context, copied when it is opened: `kubectl config use-context` elsewhere cannot redirect a run."""

    local = None

    def __init__(self, progress: Progress = silent) -> None:
        """Raises ClusterError if there is no such context, or if it is remote and nobody agrees to use it."""
        source = _kubeconfig_file()
        content = _minified(source)
        self.name: str = content["current-context"]
        cluster = content["clusters"][0]["cluster"]
        self.server: str = cluster["server"]
        if not (is_local(self.server) and "proxy-url" not in cluster):
            _confirm(self.name, self.server)
        self._directory = Path(tempfile.mkdtemp(prefix="riskladder-context-"))
        self.kubeconfig = self._directory / "kubeconfig"
        write_private(self.kubeconfig, content)
        progress(f"using context {self.name} at {self.server} from {source}")

    def check(self) -> None:
        """Nothing was started."""

    def stop(self) -> None:
        """Remove the copy. The cluster is not ours: nothing else is done to it."""
        shutil.rmtree(self._directory, ignore_errors=True)


def is_local(server: str) -> bool:
    """True for a server on the loopback address, `localhost`, or a name that ends in `.local`."""
    host = (urlsplit(server).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".local"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _confirm(context: str, server: str) -> None:
    if os.environ.get("RISKLADDER_YES") == "1":
        return
    question = f"Context {context} is {server}, not on this machine, and tests create and delete objects there."
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ClusterError(f"{question} Set RISKLADDER_YES=1 to agree, or choose --cluster=local.")
    print(f"{question}\nType the name of the context to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != context:
        raise ClusterError(f"Context {context} was not confirmed: nothing was done.")


def _kubeconfig_file() -> Path:
    given = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if len(given) > 1:
        raise ClusterError(f"KUBECONFIG names {len(given)} files; set it to the one to use.")
    file = given[0] if given else Path.home() / ".kube" / "config"
    if not file.is_file():
        raise ClusterError(f"There is no kubeconfig at {file}: set KUBECONFIG, or choose --cluster=local.")
    return file


def _minified(source: Path) -> dict[str, Any]:
    """The kubeconfig with its current context only, and with absolute paths, as it will be read from elsewhere."""
    whole: dict[str, Any] = yaml.safe_load(source.read_text()) or {}
    current = whole.get("current-context")
    if not current:
        raise ClusterError(f"{source} has no current context: choose one with `kubectl config use-context NAME`.")
    context = _named(source, whole, "contexts", current)
    cluster = _named(source, whole, "clusters", context["context"]["cluster"])
    user = _named(source, whole, "users", context["context"]["user"])
    for holder in (cluster["cluster"], user.get("user") or {}):
        for key in FILE_KEYS:
            if holder.get(key):
                holder[key] = str(source.resolve().parent / holder[key])
    plugin = (user.get("user") or {}).get("exec") or {}
    if os.sep in plugin.get("command", ""):
        plugin["command"] = str(source.resolve().parent / plugin["command"])
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [user],
        "contexts": [context],
        "current-context": current,
    }


def _named(source: Path, whole: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    for entry in whole.get(kind) or []:
        if entry.get("name") == name:
            found: dict[str, Any] = entry
            return found
    raise ClusterError(f"{source} has no entry {name!r} under {kind}.")
