"""A kind cluster in Docker, through pytest-kind: real kubelets and containers, where a container engine works."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError, Progress, silent
from tests.cluster.build import cache_directory

KIND_VERSION = "v0.33.0"
NODE_IMAGE = "kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"
"""The image that this kind release was published with for the Kubernetes minor version of the local plane."""

DOCKER_DEADLINE_SECONDS = 10.0


def docker_works() -> bool:
    """True if a Docker engine answers; a client without an engine does not count."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        result = subprocess.run([docker, "info"], capture_output=True, timeout=DOCKER_DEADLINE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


class Kind:
    """A kind cluster. One that existed before is used, and left running by `stop`."""

    local = None

    def __init__(self, name: str = "riskladder", progress: Progress = silent) -> None:
        if not docker_works():
            raise ClusterError(
                "A kind cluster needs a running Docker engine, and `docker info` does not succeed. "
                "Start Docker, or choose --cluster=local, which needs no container engine."
            )
        os.environ.setdefault("KIND_VERSION", KIND_VERSION)  # pytest-kind reads it when it is imported.
        from pytest_kind.cluster import KindCluster

        directory = cache_directory() / "kind"
        directory.mkdir(parents=True, exist_ok=True)
        installed = shutil.which("kind")
        self.name = f"kind-{name}"
        self.kubeconfig = directory / f"{name}.kubeconfig"
        self._cluster: Any = KindCluster(
            name,
            kubeconfig=self.kubeconfig,
            image=NODE_IMAGE,
            kind_path=Path(installed) if installed else directory / f"kind-{os.environ['KIND_VERSION']}",
        )
        self._existed = self.kubeconfig.exists()
        progress(f"{'using' if self._existed else 'creating'} the kind cluster {name}")
        self._cluster.create()

    def check(self) -> None:
        """Docker keeps its containers, and says so itself."""

    def stop(self) -> None:
        """Delete the cluster, if it was created here and RISKLADDER_KEEP_KIND is not 1. Idempotent."""
        if not self._existed and os.environ.get("RISKLADDER_KEEP_KIND") != "1":
            self._cluster.delete()
            self.kubeconfig.unlink(missing_ok=True)
            self._existed = True
