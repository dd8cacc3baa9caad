"""The Operator Lifecycle Manager on the real node: its two operators and the server of a catalog, as processes.

They act as an administrator, as they would by a role of their own that allows everything, and live in the network of
the node: each listens on every address, on a port of its own choice.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from riskladder.cluster.resources import Resource
from tests.cluster.build import tail
from tests.cluster.certs import CertificateAuthority
from tests.cluster.install import kubectl
from tests.cluster.node import NodeCluster
from tests.cluster.peers import crds, install_crds
from tests.cluster.ports import HOST
from tests.cluster.process import Component, Spawner

GROUP = "operators.coreos.com"
SUBSCRIPTIONS = Resource(GROUP, "v1alpha1", "subscriptions", "Subscription")
INSTALL_PLANS = Resource(GROUP, "v1alpha1", "installplans", "InstallPlan")
SERVICE_VERSIONS = Resource(GROUP, "v1alpha1", "clusterserviceversions", "ClusterServiceVersion")

NAMESPACE = "olm"
"""Whose CatalogSources all namespaces may subscribe to."""

CATALOG_ADDRESS = f"{HOST}:50051"
"""Where the catalog is served, in the network of the node."""

MANAGED = "olm.managed=true"
"""What OLM writes on all that it makes."""

GRACE_SECONDS = 5.0


class LifecycleManager:
    """OLM at work, with its kinds; a context manager that leaves nothing of them."""

    def __init__(self, node: NodeCluster, programs: Path, directory: Path) -> None:
        """`programs`: where `olm`, `catalog` and `opm` are. `directory`: where logs and files go."""
        self.programs = programs
        self._node, self._directory = node, directory
        self._spawner: Spawner | None = None
        self._components: list[Component] = []

    def __enter__(self) -> Self:
        install_crds(self._node.kubeconfig, "olm")
        self._kubectl("create", "namespace", NAMESPACE)
        self._spawner = Spawner()
        self._start("olm")
        # It serves its health on 8443 with a certificate, and on 8080, where the other one does, without.
        self._start("catalog", f"--namespace={NAMESPACE}", *self._certificate())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._release()
        self._kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        self._kubectl("delete", "customresourcedefinitions", *(one["metadata"]["name"] for one in crds("olm")))
        for resource in ("clusterroles", "clusterrolebindings"):
            path = f"/apis/rbac.authorization.k8s.io/v1/{resource}"
            self._kubectl("delete", "--raw", f"{path}?labelSelector={quote(MANAGED)}")

    def serve(self, catalog: Path) -> None:
        """Serve a file-based catalog at `CATALOG_ADDRESS`."""
        port = CATALOG_ADDRESS.rpartition(":")[2]
        log = self._directory / "opm-termination.log"
        self._start("opm", "serve", str(catalog), f"--port={port}", "--pprof-addr=", f"--termination-log={log}")

    def check(self) -> None:
        """Raise ClusterError, with the end of its log, if one of them has ended."""
        for component in self._components:
            component.check()

    def logs(self) -> str:
        """Return the end of each log."""
        return "\n".join(f"{component.name}: {tail(component.log)}" for component in self._components)

    def _start(self, name: str, *arguments: str) -> None:
        assert self._spawner is not None, "not started"
        nsenter, *entering = self._node.in_network("env", f"KUBECONFIG={self._node.kubeconfig}")
        program = shutil.which(nsenter)
        assert program is not None
        command = [program, *entering, str(self.programs / name), *arguments]
        log = self._directory / f"{name}.log"
        component = Component(name, command, log=log, directory=self._directory, spawner=self._spawner)
        self._components.append(component)
        component.start()

    def _stop(self) -> None:
        for component in reversed(self._components):
            component.stop(GRACE_SECONDS)
        if self._spawner is not None:
            self._spawner.close()
        self._spawner = None

    def _release(self) -> None:
        """Take the finalizers away that a test has left behind which failed: nobody is there any more to do it."""
        found = json.loads(self._kubectl("get", "clusterserviceversions", "--all-namespaces", "-o", "json"))["items"]
        for one in found:
            namespace, name = one["metadata"]["namespace"], one["metadata"]["name"]
            patch = ("--type=merge", "--patch", '{"metadata":{"finalizers":null}}')
            self._kubectl(f"--namespace={namespace}", "patch", "clusterserviceversion", name, *patch)

    def _certificate(self) -> tuple[str, str]:
        pair = CertificateAuthority("olm").server("catalog-operator", [HOST])
        files = (self._directory / "tls.crt", self._directory / "tls.key")
        for file, content in zip(files, (pair.certificate, pair.key), strict=True):
            file.touch(mode=0o600)
            file.write_bytes(content)
        return f"--tls-cert={files[0]}", f"--tls-key={files[1]}"

    def _kubectl(self, *arguments: str) -> str:
        return kubectl(self._node.kubeconfig, *arguments)
