"""Builds and runs two Go programs: the interpreter of Argo CD's health checks, and what Flux waits by."""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError, Progress
from tests.cluster.build import cache_directory, print_progress
from tests.cluster.gotool import environment, find_go
from tests.cluster.launcher import yielding
from tests.patience import PATIENCE

SOURCE = Path(__file__).parent / "go"
PROGRAMS = ("health", "kstatus")


def ensure_programs(progress: Progress = print_progress) -> Path:
    """The directory with both programs, built on the first call; about two minutes. Raises ClusterError."""
    state = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for file in sorted(path for path in SOURCE.rglob("*") if path.is_file()):
        state.update(file.read_bytes())
    root = cache_directory() / "gitops"
    home = root / state.hexdigest()[:12]
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if not home.is_dir():
            progress(f"building {', '.join(PROGRAMS)} into {home} (once; about two minutes)")
            partial = home.with_name(home.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            go = find_go(cache_directory(), progress)
            packages = [f"./{name}" for name in PROGRAMS]
            done = subprocess.run(
                yielding([go, "build", "-trimpath", "-ldflags=-s -w", "-o", f"{partial}/", *packages]),
                cwd=SOURCE,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise ClusterError(f"Building {', '.join(PROGRAMS)} failed: {done.stderr[-2000:]}")
            partial.rename(home)
    return home


def ask(program: Path, questions: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """One answer for each question."""
    given = "\n".join(json.dumps(question) for question in questions)
    done = subprocess.run([program], input=given, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
