"""A process as it is in a pod: it finds its service account where the kubelet mounts it, and has no kubeconfig.

Where Linux lets this one have a mount namespace of its own; elsewhere there is only the kubeconfig, for which the
operator loads the Kubernetes client library: 11 MiB more.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import yaml

MOUNTING = (
    'mount -t tmpfs pod /var/run && mkdir -p /var/run/secrets/kubernetes.io && cp -r "$1" '
    '/var/run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"'
)


def in_pod(command: list[str], kubeconfig: Path, directory: Path) -> list[str] | None:
    """Return a command that runs the given one so; nothing where that is not possible.

    Args:
        command: A program, and its arguments.
        kubeconfig: Of a service account, with its token.
        directory: Where its files are written.
    """
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    server, authority = urlsplit(cluster["server"]), cluster.get("certificate-authority-data")
    if server.scheme != "https" or server.path.strip("/") or not authority or not _may_mount():
        return None
    account = directory / f"{kubeconfig.stem}-account"
    account.mkdir(exist_ok=True)
    (account / "ca.crt").write_bytes(base64.b64decode(authority))
    (account / "token").write_text(user["token"])
    (account / "namespace").write_text(document["contexts"][0]["context"]["namespace"])
    where = [f"KUBERNETES_SERVICE_HOST={server.hostname}", f"KUBERNETES_SERVICE_PORT={server.port or 443}"]
    return [*_alone(), "sh", "-c", MOUNTING, "pod", str(account), "env", *where, *command]


@cache
def _may_mount() -> bool:
    alone = _alone()
    if not Path(alone[0]).is_absolute():
        return False
    tried = subprocess.run([*alone, "mount", "-t", "tmpfs", "pod", "/var/run"], capture_output=True, check=False)
    return tried.returncode == 0


def _alone() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return [shutil.which("unshare") or "unshare", "--mount", "--propagation=private", *as_root]
