"""What is said where this machine cannot have a real node: one sentence, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import ClusterError, control_plane_kind, host, open_cluster, resolve
from tests.cluster.__main__ import main


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine like one that can have a node, as far as the file goes that says what it is."""
    release = tmp_path / "os-release"
    release.write_text('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n')
    monkeypatch.setattr(host, "OS_RELEASE", release)
    monkeypatch.setattr(host.os, "geteuid", lambda: 0)
    return release


def test_another_distribution(debian: Path) -> None:
    debian.write_text('NAME="Fedora Linux"\nID=fedora\nPRETTY_NAME="Fedora Linux 44"\n')
    assert host.why_not() == (
        "A real node needs Debian, and this is Fedora Linux 44: choose CLUSTER=local, which needs none of this."
    )
    debian.unlink()
    assert host.why_not().startswith("A real node needs Debian, and this is ")


def test_no_root(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.os, "geteuid", lambda: 1000)
    assert "needs root" in host.why_not()
    assert "uid 1000" in host.why_not()


def test_missing_packages_are_named_with_the_command(
    debian: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in ("unshare", "nsenter", "mount"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    missing = host.missing_packages()
    assert {"buildah", "containerd", "mmdebstrap", "runc"} <= set(missing)
    assert not {"util-linux", "mount"} & set(missing)
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    assert host.why_not() == f"A real node needs Debian packages that are missing: {command}"


def test_every_other_kind_goes_on(
    debian: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a real node, `auto` is the local control plane; asked for by name, it is one clear error."""
    debian.write_text("ID=fedora\nPRETTY_NAME=Fedora\n")
    monkeypatch.delenv("CLUSTER", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")  # No Docker.
    assert resolve("auto") == "local"
    assert (resolve("node"), control_plane_kind("node")) == ("node", "local")
    with pytest.raises(ClusterError, match="this is Fedora"):
        open_cluster("node")
    assert main(["run", "--cluster", "node", "--", "true"]) == 1
    beginning, line = capsys.readouterr().err.splitlines()
    assert beginning == "[cluster] starting a cluster of kind node", "something is said from the first second"
    assert line == f"error: {host.why_not()}"
