"""Every example is taken by a real API server, and the demo that puts them together runs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo.install import InstallError
from riskladder.cli.main import app
from tests.cluster import ControlPlane, LocalControlPlane, control_plane_kind
from tests.cluster.install import ROOT, install, kubectl, service_account_kubeconfig
from tests.cluster.launcher import dying_with_us
from tests.patience import PATIENCE

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
        timeout=PATIENCE,
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
    ):
        assert part in done.stdout
    entries = re.search(r"Verified: (\d+) entries in ", done.stdout)
    assert entries is not None
    assert int(entries[1]) >= 21, "and a few more where people were notified before the containment was proved"
    assert "Done. The model was ordered to stop" in done.stdout
    left = kubectl(plane.kubeconfig, "get", "namespaces,customresourcedefinitions", "-o", "name")
    assert "riskladder-demo" not in left
    assert "riskladder.dev" not in left


def _end_while_the_operator_runs(plane: ControlPlane, directory: Path, number: signal.Signals) -> None:
    output, place = directory / "output", directory / "tmp"
    place.mkdir(parents=True)
    environment = {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(plane.kubeconfig), "TMPDIR": str(place)}
    with output.open("w") as stream:
        process = subprocess.Popen(
            # SIGHUP is heeded also where these tests are run under nohup.
            ["/usr/bin/env", "--default-signal=HUP", *dying_with_us([sys.executable, "-u", "-m", "demo", "--short"])],
            cwd=ROOT,
            env={**os.environ, **environment, "RISKLADDER_THROWAWAY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        until(lambda: bool(_running_in(place)), output, "the operator to run")
        process.send_signal(number)
        expected = -number if number is signal.SIGKILL else 128 + number
        assert process.wait(PATIENCE) == expected, output.read_text()
        until(lambda: not _running_in(place), output, "the operator to end")
        assert number is signal.SIGKILL or not list(place.iterdir()), "its directory goes, too"
    finally:
        process.kill()
        process.wait()


def until(is_so: Callable[[], bool], output: Path, what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: {output.read_text()}"
        time.sleep(0.1)


def _running_in(place: Path) -> list[str]:
    """Return the command lines of the processes that name a directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = file.read_bytes().replace(b"\0", b" ").decode()
            if str(place) in command:
                found.append(command)
    return found


def test_short_demo_that_is_kept_stays_until_ctrl_c_also_where_it_was_started_with_sigint_ignored(
    plane: ControlPlane, tmp_path: Path
) -> None:
    """A script that runs `make demo &` has SIGINT ignored, and so has what it starts."""
    output = tmp_path / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            dying_with_us([sys.executable, "-u", "-m", "demo", "--short", "--keep"]),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(plane.kubeconfig)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while "Everything goes on until Ctrl-C" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        listed = kubectl(plane.kubeconfig, "get", "escalations", "-A")
        assert "Contained" in listed
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
    assert "agrees" not in output.read_text(), "nobody decides in the short form"
    left = kubectl(plane.kubeconfig, "get", "namespaces,customresourcedefinitions", "-o", "name")
    assert "riskladder" not in left.replace("riskladder-system", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is a feature of Linux")
def test_nothing_that_the_demo_has_started_outlives_it(plane: ControlPlane, tmp_path: Path) -> None:
    """SIGHUP is what a program gets whose terminal is closed; of SIGKILL, the last one, it learns nothing."""
    for number in (signal.SIGHUP, signal.SIGKILL):  # what is installed stays after the last
        _end_while_the_operator_runs(plane, tmp_path / number.name, number)


@pytest.fixture(scope="module")
def stocked(plane: ControlPlane) -> ControlPlane:
    """The same plane with everything installed, and the namespace that the examples name."""
    install(plane.kubeconfig)
    kubectl(plane.kubeconfig, "create", "namespace", "models")
    kubectl(plane.kubeconfig, "create", "namespace", "monitors")
    kubectl(plane.kubeconfig, "create", "namespace", "riskladder-proxy")
    return plane


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_example_is_taken(stocked: ControlPlane, path: Path) -> None:
    kubectl(stocked.kubeconfig, "apply", "--dry-run=server", "--validate=strict", "-f", str(path))


def test_what_bind_rbac_writes_lets_ingest_report_and_do_nothing_else(stocked: ControlPlane, tmp_path: Path) -> None:
    """Constrained impersonation: as the account of the binding, whose namespace is another one, for signals only."""
    printed = CliRunner().invoke(app, ["bind", "rbac", str(ROOT / "examples" / "monitor" / "binding-evidently.yaml")])
    assert printed.exit_code == 0, printed.stderr
    (tmp_path / "rbac.yaml").write_text(printed.stdout)
    kubectl(stocked.kubeconfig, "apply", "-f", str(tmp_path / "rbac.yaml"))
    for account, namespace in (("drift-monitor", "monitors"), ("riskladder-ingest", "riskladder-system")):
        kubectl(stocked.kubeconfig, "-n", namespace, "create", "serviceaccount", account)
    ingest = service_account_kubeconfig(
        stocked.kubeconfig, tmp_path / "kubeconfig", "riskladder-ingest", "riskladder-system"
    )
    signal_file = tmp_path / "signal.yaml"
    signal_file.write_text(
        (ROOT / "examples" / "monitor" / "signal-breach.yaml").read_text().replace("fairness-monitor", "drift-monitor")
    )
    as_account = "--as=system:serviceaccount:monitors:drift-monitor"
    apply = ("apply", "--server-side", "--validate=false", "--force-conflicts", "-f", str(signal_file))
    assert "serverside-applied" in kubectl(ingest, *apply, as_account)
    for arguments in (
        apply,
        (*apply, "--as=system:serviceaccount:monitors:fairness-monitor"),
        ("-n", "models", "get", "modelrisksignals", as_account),
        ("-n", "models", "get", "secrets", as_account),
        ("-n", "monitors", "create", "token", "drift-monitor", as_account),
    ):
        with pytest.raises(InstallError, match=r"[Ff]orbidden|cannot"):
            kubectl(ingest, *arguments)
