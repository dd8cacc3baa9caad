"""Every example is taken by a real API server, and the demo that puts them together runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import ControlPlane, LocalControlPlane, control_plane_kind
from tests.cluster.install import ROOT, install, kubectl

EVERY = sorted([*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "docs" / "examples").rglob("*.yaml")])
EXAMPLES = [path for path in EVERY if path.name != "kustomization.yaml"]
"""Components are no objects: test_scalable.py installs with examples/scalable."""


@pytest.fixture(scope="module")
def plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane of its own: the demo's operator must lead, and leaves nothing behind."""
    kind = control_plane_kind(request.config.getoption("--cluster"))
    if kind != "local":
        pytest.skip(f"needs a control plane of its own, and --cluster={kind} has one for everybody")
    with LocalControlPlane() as own:
        yield own


@pytest.mark.parametrize("action", ["ScaleToZero", "Rollback"])
def test_demo_runs_and_leaves_nothing_behind(plane: ControlPlane, action: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--action", action],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(plane.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        "legal is notified",
        "verified its signature",
        "refused: ",
        "Accepted: Acknowledge was counted for legal.",
        "error: not accepted (ModelOwner)",
        "Accepted: Resume was counted for model-risk: the quorum is met.",
        "back in service",
        "closed as Remediated by ann, eve",
        "Verified: 21 entries in ",
    ):
        assert part in done.stdout
    assert "Done. The model was told to stop" in done.stdout
    left = kubectl(plane.kubeconfig, "get", "namespaces,customresourcedefinitions", "-o", "name")
    assert "riskladder-demo" not in left
    assert "riskladder.dev" not in left


@pytest.fixture(scope="module")
def stocked(plane: ControlPlane) -> ControlPlane:
    """The same plane with everything installed, and the namespace that the examples name."""
    install(plane.kubeconfig)
    kubectl(plane.kubeconfig, "create", "namespace", "models")
    return plane


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_example_is_taken(stocked: ControlPlane, path: Path) -> None:
    kubectl(stocked.kubeconfig, "apply", "--dry-run=server", "--validate=strict", "-f", str(path))
