"""Helm 3 and Helm 4, built from source, and the charts of this checkout as people have them: packaged."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from tests import yaml_text
from tests.cluster.base import Progress
from tests.cluster.build import ensure_programs, print_progress
from tests.cluster.install import NAMESPACE, ROOT
from tests.cluster.versions import HELM
from tests.patience import PATIENCE

CHARTS = ROOT / "charts"
CHART, CRDS = "riskladder", "riskladder-crds"
RELEASE = "riskladder"

Values = Mapping[str, Any]


class HelmError(Exception):
    """Helm failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One version of Helm, with a home of its own, and perhaps a cluster."""

    version: int
    program: Path
    home: Path
    kubeconfig: Path | None = None
    user: str = ""
    """Whom to act as; the kubeconfig's own where empty."""

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Return what Helm prints.

        Raises:
            HelmError: It failed.
        """
        command = [str(self.program), *arguments]
        if self.kubeconfig is not None:
            command.append(f"--kubeconfig={self.kubeconfig}")
        if self.user:
            command.append(f"--kube-as-user={self.user}")
        places = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            command,
            input=given,
            env=_environment() | places,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip())
        return done.stdout

    def render(
        self, chart: Path, values: Values | None = None, *options: str, namespace: str = NAMESPACE
    ) -> list[dict[str, Any]]:
        """Return the objects that a chart renders to, without a cluster; those of its tests are left out."""
        command = ("template", RELEASE, str(chart), f"--namespace={namespace}", "--skip-tests", *options)
        text = self(*command, "--values=-", given=yaml.safe_dump(dict(values or {})))
        return [document for document in yaml_text.load_all(text) if document]


def _environment() -> dict[str, str]:
    """This process's, without what would send Helm elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}


def ensure_helm(progress: Progress = print_progress) -> dict[int, Path]:
    """Return the programs of Helm 3 and 4, built on the first call; some two minutes. Raises ClusterError."""
    return {version: ensure_programs(module, progress) / module.names for version, module in HELM.items()}


def packaged(helm: Helm, chart: str, target: Path) -> Path:
    """Package a chart of this checkout with what it depends on, and return the archive.

    Helm writes into the directory of a chart with dependencies, so that a copy is packaged.
    """
    copies = Path(mkdtemp(dir=target))
    shutil.copytree(CHARTS, copies / "charts", ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))
    helm("package", str(copies / "charts" / chart), "--dependency-update", f"--destination={target}")
    [archive] = target.glob(f"{chart}-[0-9]*.tgz")
    return archive
