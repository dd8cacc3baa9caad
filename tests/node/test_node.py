"""The real node itself: next to another one, with fake nodes, after a SIGKILL, and from half a cache."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.cluster import images
from tests.cluster.build import cache_directory
from tests.cluster.host import CGROUP_PREFIX, CGROUPS, LOCKS, cgroups
from tests.cluster.install import kubectl
from tests.cluster.node import NodeCluster
from tests.cluster.nodeinit import NODE_NAME
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
MODULE = [sys.executable, "-m", "tests.cluster"]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'operator'}"}


def until(what: str, check: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE
    while not check():
        assert monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        sleep(0.05)


def processes(cgroup: str) -> set[int]:
    """The processes of a node's pods, as the kernel counts them."""
    files = [*CGROUPS.glob(f"*/{cgroup}/**/cgroup.procs"), *CGROUPS.glob(f"{cgroup}/**/cgroup.procs")]
    return {int(pid) for file in files if file.exists() for pid in file.read_text().split()}


def test_two_at_once_with_fake_nodes_next_to_one(node: NodeCluster) -> None:
    with NodeCluster(fake_nodes=2) as other:
        assert other.directory != node.directory
        names = kubectl(other.kubeconfig, "get", "nodes", "-o", "name").split()
        assert names == [f"node/{name}" for name in ("node-0", "node-1", NODE_NAME)]
        tolerations = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
        scale = {"containers": [{"name": "m", "image": "registry.example/model:1"}], "tolerations": tolerations}
        scale["nodeSelector"] = {"type": "kwok"}
        real = {"containers": [{"name": "m", "image": "busybox:1.37", "command": ["sleep", "1000"]}]}
        for name, spec in (("fake", scale), ("real", {**real, "terminationGracePeriodSeconds": 1})):
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            kubectl(other.kubeconfig, "create", "-f", "-", given=json.dumps(body))
        kubectl(other.kubeconfig, "wait", "--for=condition=Ready", "pod/fake", "pod/real", f"--timeout={PATIENCE:.0f}s")
        pods = json.loads(kubectl(other.kubeconfig, "get", "pods", "-o", "json"))["items"]
        placed = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods}
        assert placed["real"] == NODE_NAME
        assert placed["fake"] != NODE_NAME
        cgroup = CGROUP_PREFIX + other.directory.name
        assert processes(cgroup), "the real one has processes"
    assert not processes(cgroup)
    assert cgroup not in cgroups()
    kubectl(node.kubeconfig, "get", "nodes")  # The other one is as it was.


def test_sigkill_leaves_no_process_and_the_next_start_cleans_up(node: NodeCluster, tmp_path: Path) -> None:
    del node  # It stands by all the while.
    ready = tmp_path / "ready"
    script = (
        "import pathlib, signal, sys; from tests.cluster.node import NodeCluster; node = NodeCluster().start(); "
        "pathlib.Path(sys.argv[1]).write_text(str(node.directory)); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(ready)], env=ENVIRONMENT, cwd=ROOT) as owner:
        until("another node", lambda: ready.exists() and ready.read_text())
        directory = Path(ready.read_text())
        left = CGROUP_PREFIX + directory.name
        assert left in cgroups()
        inside = _descendants(owner.pid)
        assert any("kubelet" in command for command in inside.values())
        owner.send_signal(signal.SIGKILL)
    until("everything to end with its owner", lambda: not any(_lives(pid) for pid in inside))
    assert directory.exists(), "nobody was left to remove it"
    assert left in cgroups()
    run("true")
    assert left not in cgroups()
    assert not directory.exists()
    assert not list(LOCKS.glob(f"{left}*"))


def test_the_end_of_a_program_is_reported(node: NodeCluster, tmp_path: Path) -> None:
    """A command that runs on the cluster does not go on as if nothing had happened."""
    del node
    script = (
        "import os, pathlib, signal, sys\n"
        "pids = {}\n"
        "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    parts = path.read_bytes().split(b'\\0')\n"
        "    if parts[0].endswith(b'/kubelet') and sys.argv[1].encode() in b' '.join(parts):\n"
        "        pids[int(path.parent.name)] = parts\n"
        "[pid] = pids\n"
        "os.kill(pid, signal.SIGKILL)\n"
        "signal.pause()\n"
    )
    # The kubelet of this node is the one whose files are below the directory that only this run has.
    own = tmp_path / "own"
    own.mkdir()
    done = run(sys.executable, "-c", script, str(own), environment={"TMPDIR": str(own)}, check=False)
    assert done.returncode == 1
    assert "error: the node ended early" in done.stderr
    assert "kubelet ended early: killed by SIGKILL" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(own.glob("riskladder-plane-*")), "its directories are removed"


def run(
    *command: str, environment: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command on a node of its own."""
    return subprocess.run(
        [*MODULE, "run", "--cluster", "node", "--", *command],
        env=ENVIRONMENT | (environment or {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=check,
        timeout=PATIENCE,
    )


def _lives(pid: int) -> bool:
    """Return whether a process is there, and is more than an entry that its parent has not collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_half_a_cache_is_completed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, node: NodeCluster) -> None:
    """Files that a killed build had not finished are made again; what is whole is kept."""
    del node  # The images of the real cache are built.
    whole = cache_directory() / "node"
    half = whole.parent / f"half-{os.getpid()}" / "node"
    half.parent.mkdir()
    try:
        subprocess.run(["cp", "-al", str(whole), str(half)], check=True)
        monkeypatch.setenv("RISKLADDER_CACHE", str(half.parent))
        [template] = (path for path in half.glob("containerd-*") if path.is_dir())
        shutil.rmtree(template)
        (half / "containerd.partial").mkdir()
        (half / "containerd.partial" / "containerd").write_text("not a directory")
        [busybox] = (half / "images").glob("busybox-*.tar")
        busybox.unlink()
        busybox.with_suffix(".partial").write_text("half an archive")
        (half / "context").mkdir()
        (half / "context" / "left").write_text("over")
        _killed_while_unpacking(half.parent)
        lines: list[str] = []
        made = images.ensure_images(lines.append)
        assert made == template
        assert (made / "io.containerd.metadata.v1.bolt" / "meta.db").exists()
        assert busybox.exists()
        assert not [path for path in half.rglob("*.partial") if "storage" not in path.parts]
        assert not [line for line in lines if "building" in line], "what the killed build had finished is kept"
    finally:
        shutil.rmtree(half.parent)


def _killed_while_unpacking(cache: Path) -> None:
    """Kill a build in the middle, and prove that nothing of it goes on."""
    script = "from tests.cluster.images import ensure_images; ensure_images(lambda line: print(line, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=ENVIRONMENT | {"RISKLADDER_CACHE": str(cache)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as build:
        assert build.stdout is not None
        assert any("unpacking" in line for line in build.stdout)
        until("containerd to be at work", lambda: any("containerd" in c for c in _descendants(build.pid).values()))
        inside = _descendants(build.pid)
        build.send_signal(signal.SIGKILL)
    until("everything to end with the build", lambda: not any(_lives(pid) for pid in inside))


def _descendants(pid: int) -> dict[int, str]:
    """All processes below one, each with its command line."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            status = (directory / "stat").read_text().rpartition(")")[2].split()
            commands[int(directory.name)] = (directory / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(directory.name)] = int(status[1])

    def is_below(one: int) -> bool:
        return one == pid or (one in parents and is_below(parents[one]))

    return {one: command for one, command in commands.items() if one != pid and is_below(one)}
