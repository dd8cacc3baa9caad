"""Every example is taken by a real API server, and the demo that puts them together runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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


def test_short_demo_that_is_kept_stays_until_ctrl_c_also_where_it_was_started_with_sigint_ignored(
    plane: ControlPlane, tmp_path: Path
) -> None:
    """A script that runs `make demo &` has SIGINT ignored, and so has what it starts."""
    told = tmp_path / "told"
    with told.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "demo", "--short", "--keep"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(plane.kubeconfig)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
    try:
        deadline = time.monotonic() + 150
        while "Everything goes on until Ctrl-C" not in told.read_text():
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.2)
        listed = kubectl(plane.kubeconfig, "get", "escalations", "-A")
        assert "Contained" in listed
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0, told.read_text()
    finally:
        process.kill()
        process.wait()
    assert "agrees" not in told.read_text(), "nobody decides in the short form"
    left = kubectl(plane.kubeconfig, "get", "namespaces,customresourcedefinitions", "-o", "name")
    assert "riskladder" not in left.replace("riskladder-system", "")


@pytest.fixture(scope="module")
def stocked(plane: ControlPlane) -> ControlPlane:
    """The same plane with everything installed, and the namespace that the examples name."""
    install(plane.kubeconfig)
    kubectl(plane.kubeconfig, "create", "namespace", "models")
    return plane


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_example_is_taken(stocked: ControlPlane, path: Path) -> None:
    kubectl(stocked.kubeconfig, "apply", "--dry-run=server", "--validate=strict", "-f", str(path))
