"""What this machine must have for a real Kubernetes node, and what is missing, in one sentence.

`python -m tests.cluster.host` prints the names of the Debian packages that are missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.launcher import ALONE

CNI_PLUGINS = Path("/usr/lib/cni")
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_PREFIX = "riskladder-node-"

PACKAGES: dict[str, tuple[str, ...]] = {
    "buildah": ("buildah",),
    "busybox-static": ("busybox",),
    "containerd": ("containerd", "ctr"),
    "containernetworking-plugins": (str(CNI_PLUGINS / "ptp"), str(CNI_PLUGINS / "portmap")),
    "debian-archive-keyring": ("/usr/share/keyrings/debian-archive-keyring.gpg",),
    "iproute2": ("ip",),
    "ipset": ("ipset",),
    "iptables": ("iptables",),
    "mmdebstrap": ("mmdebstrap",),
    "mount": ("mount",),
    "nftables": ("nft",),
    "runc": ("runc",),
    "util-linux": ("unshare", "nsenter"),
}
"""Debian packages, each with the programs or files that are needed from it."""

BROWSER: Mapping[str, tuple[str, ...]] = {
    "chromium": ("chromium",),
    "fonts-dejavu-core": ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",),
    "libnss3-tools": ("certutil",),
}
"""What a page is looked at with, and certutil, by which it learns whom to trust."""

PEERS: Mapping[str, tuple[str, ...]] = {"prometheus": ("prometheus",), **BROWSER}
"""The same of programs that tests run next to the product; without one, the tests that need it are skipped by name."""

OS_RELEASE = Path("/etc/os-release")
INSTALL = "apt-get install --no-install-recommends"
ELSEWHERE = "choose CLUSTER=local, which needs none of this"
REMOVE_SECONDS = 10.0
PROBE = """
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/upper,workdir=/run/work overlay /var/lib
ip link add node0 type veth peer name node1
"""
"""The first things that `nodeinit` does, each of which some container or kernel forbids."""

CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}
"""What a kubelet limits pods by."""

LOCKS = Path("/run/riskladder")
"""A lock for each node, held as long as it lives: cgroups are the machine's, whatever TMPDIR their owner has."""


def why_not() -> str:
    """Return why no real node can run on this machine, as one sentence with the remedy, or "" if one can."""
    if _os_release().get("ID") != "debian":
        found = _os_release().get("PRETTY_NAME", sys.platform)
        return f"A real node needs Debian, and this is {found}: {ELSEWHERE}."
    if os.geteuid() != 0:
        return (
            f"A real node needs root, for namespaces, mounts and cgroups, and this is uid {os.geteuid()}: {ELSEWHERE}."
        )
    if missing := missing_packages():
        return f"A real node needs Debian packages that are missing: {INSTALL} {' '.join(missing)}"
    if refusal := _refused():
        return f"A real node needs namespaces and mounts of its own, which are refused here ({refusal}): {ELSEWHERE}."
    if not any(os.access(directory, os.W_OK) for directory in _hierarchies()):
        return f"A real node needs cgroups that it can write, and {CGROUPS} is read-only: {ELSEWHERE}."
    if _is_unified() and (off := CONTROLLERS - set((CGROUPS / "cgroup.subtree_control").read_text().split())):
        lacking = ", ".join(sorted(off))
        return f"A real node needs cgroup controllers that {CGROUPS} does not pass on ({lacking}): {ELSEWHERE}."
    return ""


def missing_packages(packages: Mapping[str, tuple[str, ...]] = PACKAGES) -> list[str]:
    """Return the Debian packages whose programs or files are missing."""
    return [
        package
        for package, needed in packages.items()
        if not all(Path(part).exists() if part.startswith("/") else shutil.which(part) for part in needed)
    ]


@contextlib.contextmanager
def cgroup(name: str) -> Iterator[None]:
    """Own a cgroup for a node in every hierarchy, in which its kubelet makes its own.

    In the end all of it is removed, as soon as the processes in it have ended. Raises ClusterError if they do not.
    """
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    lock = LOCKS / name
    with lock.open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            for hierarchy in _hierarchies():
                directory = hierarchy / name
                directory.mkdir()
                for file in ("cpuset.cpus", "cpuset.mems"):  # Version 1 begins with none, which nothing can run on.
                    if (directory / file).exists():
                        (directory / file).write_text((hierarchy / file).read_text())
            yield
        finally:
            removed = remove_cgroup(name)
            lock.unlink()
        if not removed:
            raise ClusterError(f"cgroup {name} still has processes after {REMOVE_SECONDS:.0f} s")


def remove_abandoned_cgroups() -> None:
    """Remove the cgroups of nodes whose owners were killed, and what else is named after them."""
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    for name in cgroups() | {path.stem for path in LOCKS.glob(f"{CGROUP_PREFIX}*")}:
        with contextlib.suppress(OSError), (LOCKS / name).open("a") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_cgroup(name)
            for left in LOCKS.glob(f"{name}*"):
                left.unlink()


def remove_cgroup(name: str) -> bool:
    """Remove a node's cgroups, whose processes have just been killed. Return whether all of them are gone."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while not (
        gone := all(
            [_remove_tree(directory) for directory in CGROUPS.glob(f"*/{name}")] + [_remove_tree(CGROUPS / name)]
        )
    ):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return gone


def cgroups() -> set[str]:
    """Return the names of the cgroups that nodes have made here, whether they run or were killed."""
    return {path.name for pattern in ("", "*/") for path in CGROUPS.glob(f"{pattern}{CGROUP_PREFIX}*")}


def _remove_tree(directory: Path) -> bool:
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # A process in it has not quite ended.
            return False
    return True


def _hierarchies() -> Iterator[Path]:
    if _is_unified():
        yield CGROUPS
        return
    for directory in sorted(CGROUPS.glob("*/")):
        if (directory / "cgroup.procs").exists() and directory.name != "unified" and not directory.is_symlink():
            yield directory


def _is_unified() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def _os_release() -> dict[str, str]:
    if not OS_RELEASE.exists():
        return {}
    pairs = (line.partition("=") for line in OS_RELEASE.read_text().splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


def _refused() -> str:
    """Return what this machine refuses of the things that a node does first, or ""; nothing of it lasts."""
    command = [*ALONE, "--net", "sh", "-ec", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


if __name__ == "__main__":
    missing = missing_packages({**PACKAGES, **PEERS})
    print(" ".join(missing), end="\n" if missing else "")
    if not missing:
        print("nothing is missing", file=sys.stderr)
