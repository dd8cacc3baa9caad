"""The container image as an OCI archive, built without any image registry."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from release import archives
from release.errors import ReleaseError
from release.source import Source
from tests.cluster.base import ClusterError
from tests.cluster.build import cache_directory, locked, print_progress
from tests.cluster.host import INSTALL, PACKAGES, missing_packages
from tests.cluster.images import Builder

PROGRAMS = {name: PACKAGES[name] for name in ("buildah", "mmdebstrap", "debian-archive-keyring", "util-linux")}

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Of machines, as images call them."""


def why_not() -> str:
    """Return why no image can be built on this machine, as one sentence with the remedy, or "" if one can."""
    if sys.platform != "linux" or not shutil.which("apt-get"):
        reason = "it is made of Debian packages, and this is not Debian: build it there"
    elif os.geteuid() != 0:
        reason = f"building it needs root, and this is uid {os.geteuid()}: become root"
    elif missing := missing_packages(PROGRAMS):
        reason = f"Debian packages are needed: {INSTALL} {' '.join(missing)}"
    else:
        return ""
    return f"the image is missing: {reason}, or leave it out with ARGS=--without-image"


def build(source: Source, target: Path) -> Path:
    """Write the image of this machine's architecture into a directory, and return its OCI layout.

    Nothing of an earlier build is used. Raises ReleaseError with the end of the log if it cannot be built.
    """
    home = cache_directory() / "release"
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock", print_progress):
        for left in ("storage", "storage-run", "layout", "images"):
            shutil.rmtree(home / left, ignore_errors=True)
        for file in home.glob("*.tar"):
            file.unlink()
        created = source.time.strftime("%Y-%m-%dT%H:%M:%SZ")
        labels = {"VERSION": source.version, "REVISION": source.commit, "CREATED": created}
        try:
            builder = Builder(home, print_progress, source.epoch)
            layout = builder.layout(source.directory, f"riskladder:{source.version}", labels)
        except ClusterError as error:
            raise ReleaseError(str(error)) from error
        name = f"riskladder-{source.version}-image-linux-{ARCHITECTURES.get(os.uname().machine, os.uname().machine)}"
        archives.write(target / f"{name}.tar", archives.tree(layout, "."), source.epoch)
    return layout
