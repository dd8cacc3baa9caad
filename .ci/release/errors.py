"""Why there is no release, and running the programs that take part in one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL_LINES = 15


class ReleaseError(Exception):
    """There is no release; the message says what was found, what was expected, and what to do."""


def run(what: str, command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a program prints. Raise ReleaseError with the end of what it said if it fails or is not there."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ReleaseError(f"{what}: {command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:])
        raise ReleaseError(f"{what}: {Path(command[0]).name} failed with exit code {done.returncode}:\n{said}")
    return done.stdout
