"""The wheel and the source distribution."""

from __future__ import annotations

import sys
from pathlib import Path

from release.errors import run
from release.source import Source


def build(source: Source, target: Path) -> Path:
    """Write wheel and source distribution into a directory, and return the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    run("wheel and source distribution", command, source.directory, source.environment)
    return next(target.glob("*.whl"))
