"""The plugin that krew installs: built for this machine, installed by krew itself, and run by kubectl."""

from __future__ import annotations

import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from release import packages, plugin
from release.provenance import sha256
from release.source import Source
from riskladder import __version__
from tests.cluster.build import ensure_programs
from tests.cluster.versions import KREW
from tests.release.conftest import ROOT

HERE = next(
    (
        each
        for each in plugin.PLATFORMS
        if (each.system, each.processor) == (sys.platform, {"x86_64": "amd64"}.get(platform.machine(), "arm64"))
    ),
    None,
)
URL = f"https://example.com/v{__version__}"

pytestmark = pytest.mark.skipif(HERE is None, reason="there is no plugin for this platform")

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin for this machine and its manifest."""
    assert HERE is not None
    target = tmp_path_factory.mktemp("plugin")
    source = Source(ROOT, __version__, "0" * 40, 1_700_000_000)
    wheel = packages.build(source, tmp_path_factory.mktemp("wheel"))
    plugin.build(source, wheel, target, URL, (HERE,))
    return target


@pytest.fixture(scope="module")
def kubectl(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl of somebody for whom krew has installed the plugin."""
    home = tmp_path_factory.mktemp("home")
    binaries = home / "krew/bin"
    [archive] = built.glob("*.tar.gz")
    krew = ensure_programs(KREW) / "krew"
    environment = {
        "HOME": str(home),
        "KREW_ROOT": str(home / "krew"),
        "COLUMNS": "100",
        "PATH": f"{binaries}:/usr/bin:/bin",
    }
    subprocess.run(
        [krew, "install", f"--manifest={built / 'riskladder.yaml'}", f"--archive={archive}"],
        env=environment,
        check=True,
        capture_output=True,
    )
    (binaries / "kubectl_complete-riskladder").symlink_to("kubectl-riskladder")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("kubectl"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_krew_takes_the_manifest(built: Path) -> None:
    validate = ensure_programs(KREW) / "validate-krew-manifest"
    checked = subprocess.run(
        [validate, "-manifest", built / "riskladder.yaml", "-skip-install"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    [archive] = built.glob("*.tar.gz")
    [stated] = yaml.safe_load((built / "riskladder.yaml").read_text("utf-8"))["spec"]["platforms"]
    assert (stated["sha256"], stated["uri"]) == (sha256(archive), f"{URL}/{archive.name}")


def test_kubectl_runs_it_without_any_python(kubectl: Kubectl) -> None:
    assert kubectl("riskladder", "--version").stdout == f"riskladder {__version__}\n"
    assert "Usage: kubectl riskladder [OPTIONS]" in kubectl("riskladder", "--help").stdout
    assert "see kubectl riskladder ack --help" in kubectl("riskladder", "ack", "--wrong").stderr


def test_it_does_its_work(kubectl: Kubectl) -> None:
    linted = kubectl("riskladder", "lint", str(ROOT / "examples/ladders/credit-scoring.yaml"))
    assert linted.returncode == 0, linted.stderr


def test_kubectl_completes_it(kubectl: Kubectl) -> None:
    completed = kubectl("__complete", "riskladder", "acc").stdout.splitlines()
    assert completed[0].startswith("accept-risk\t")
    assert completed[1:] == [":4"]


def test_what_is_packed_is_the_same_each_time(tmp_path: Path) -> None:
    assert HERE is not None
    source = Source(ROOT, __version__, "0" * 40, 1_700_000_000)
    wheel = packages.build(source, tmp_path)
    sums = []
    for name in ("one", "other"):
        wheel.touch()
        plugin.write_payload(source, wheel, HERE, tmp_path / f"{name}.zip", tmp_path / name)
        sums.append(sha256(tmp_path / f"{name}.zip"))
    assert sums[0] == sums[1]


def test_nothing_of_the_machine_that_built_it_is_in_it(built: Path) -> None:
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        assert packed.getnames() == ["LICENSE", "kubectl-riskladder"]
        program = packed.extractfile("kubectl-riskladder")
        assert program is not None
        content = program.read()
    assert str(ROOT).encode() not in content
    assert str(Path.home() / "go").encode() not in content
    assert b"/tmp/" + b"riskladder-release" not in content
