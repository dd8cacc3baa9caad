"""The plugin for kubectl: one executable for each platform, with a Python of its own, and its manifest for krew."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from release import archives
from release.errors import ReleaseError, run
from release.provenance import sha256
from release.source import Source
from tests.cluster.base import ClusterError
from tests.cluster.build import cache_directory, locked, print_progress
from tests.cluster.gotool import environment, find_go

PROGRAM = "kubectl-riskladder"
LAUNCHER = Path(".ci/release/launcher")
PYTHON = re.compile(r"go-embed-python v0\.0\.0-(3\.\d+)\.")
"""The version of Python that the launcher has, as its go.mod requires it."""

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of everything in the payload: the first that a zip archive can have."""

NOT_NEEDED = ("/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json", "/uv_cache.json", ".pyi")
"""What an installer leaves for other installers, with paths and times of this machine, and what type checkers read."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor, as Go and krew call them, and what uv calls the packages for it."""

    system: str
    processor: str
    packages: str

    @property
    def archive(self) -> str:
        """Return the end of the archive's name."""
        return f"{self.system}-{self.processor}.tar.gz"


PLATFORMS = (
    Platform("linux", "amd64", "x86_64-manylinux_2_28"),
    Platform("linux", "arm64", "aarch64-manylinux_2_28"),
    Platform("darwin", "arm64", "aarch64-apple-darwin"),
)
"""Not macOS on Intel, for which cryptography has no wheels any more."""


def build(source: Source, wheel: Path, target: Path, url: str, platforms: tuple[Platform, ...] = PLATFORMS) -> None:
    """Write an archive for each platform, and the manifest of the plugin.

    Args:
        source: What is released.
        wheel: Riskladder itself.
        target: The directory to write to.
        url: Where the archives will be; the manifest names each below it.
        platforms: Which of them.

    Raises:
        ReleaseError: There is no Go, or no package for a platform.
    """
    try:
        with locked(cache_directory() / "programs" / "go.lock", print_progress):
            go = find_go(cache_directory(), print_progress)
    except (ClusterError, OSError) as error:
        raise ReleaseError(str(error)) from error
    files = {}
    for platform in platforms:
        with tempfile.TemporaryDirectory(prefix="riskladder-release-") as directory:
            launcher = shutil.copytree(source.directory / LAUNCHER, Path(directory) / "launcher")
            write_payload(source, wheel, platform, launcher / "payload.zip", Path(directory) / "packages")
            executable = _compile(source, go, launcher, platform)
            file = target / f"{PROGRAM}-{source.version}-{platform.archive}"
            archives.write(file, {PROGRAM: executable, "LICENSE": source.directory / "LICENSE"}, source.epoch)
        files[platform] = file
    (target / "riskladder.yaml").write_text(manifest(source, files, url), "utf-8")


def write_payload(source: Source, wheel: Path, platform: Platform, payload: Path, packages: Path) -> None:
    """Install the packages for a platform into a directory, and pack them. Raise ReleaseError if one is missing."""
    found = PYTHON.search((source.directory / LAUNCHER / "go.mod").read_text("utf-8"))
    if found is None:
        raise ReleaseError(f"{LAUNCHER}/go.mod: go-embed-python in a version such as v0.0.0-3.14.6-20260610-1 expected")
    install = [
        *(
            str(Path(sys.executable).with_name("uv")),
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(packages),
        ),
        *("--python-version", found[1], "--python-platform", platform.packages, "--only-binary", ":all:"),
    ]
    what = f"packages for {platform.system}/{platform.processor}"
    run(what, [*install, "--require-hashes", "--requirement", "requirements.lock"], source.directory)
    run(what, [*install, str(wheel)], source.directory)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    with zipfile.ZipFile(payload, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(packages.rglob("*")):
            name = f"lib/python{found[1]}/site-packages/{file.relative_to(packages)}"
            if file.is_file() and not name.endswith(NOT_NEEDED):
                archive.writestr(zipfile.ZipInfo(name, EARLIEST), file.read_bytes(), zipfile.ZIP_DEFLATED)


def _compile(source: Source, go: str, launcher: Path, platform: Platform) -> Path:
    flags = f"-s -w -X main.build={source.version}-{sha256(launcher / 'payload.zip')[:12]}"
    target = {"GOOS": platform.system, "GOARCH": platform.processor}
    run(
        f"launcher for {platform.system}/{platform.processor}",
        [go, "build", "-trimpath", f"-ldflags={flags}", "-o", PROGRAM, "."],
        launcher,
        environment() | target,
    )
    return launcher / PROGRAM


def manifest(source: Source, files: dict[Platform, Path], url: str) -> str:
    """Return the manifest of the plugin for krew."""
    document: dict[str, Any] = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "riskladder"},
        "spec": {
            "version": f"v{source.version}",
            "homepage": "https://riskladder.dev",
            "shortDescription": "Decide about models that a risk ladder has stopped",
            "description": (
                "Riskladder stops or rolls back a running model when its risk readings cross a threshold that your\n"
                "organisation has set. This shows what is contained and why, who is asked, and what may be decided;\n"
                "it acknowledges, accepts, resumes and closes in your own name, and verifies records offline.\n"
            ),
            "caveats": (
                "For completion, link kubectl_complete-riskladder to the plugin, on your PATH:\n"
                "  ln -s kubectl-riskladder ~/.krew/bin/kubectl_complete-riskladder\n"
            ),
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": platform.system, "arch": platform.processor}},
                    "uri": f"{url.rstrip('/')}/{file.name}",
                    "sha256": sha256(file),
                    "bin": PROGRAM,
                    "files": [{"from": PROGRAM, "to": "."}, {"from": "LICENSE", "to": "."}],
                }
                for platform, file in files.items()
            ],
        },
    }
    return yaml.safe_dump(document, sort_keys=False, width=1000)
