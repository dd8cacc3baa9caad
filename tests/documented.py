"""Commands of the documentation, run as a reader would: by a shell, with riskladder and kubectl of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from tests.cluster.install import ROOT
from tests.patience import PATIENCE


def shell(
    script: str, kubeconfig: Path, directory: Path, *, without: Collection[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a directory, with this environment more, and without those variables of the machine's."""
    given = {name: value for name, value in os.environ.items() if name not in without}
    given |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(kubeconfig),
    }
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=directory,
        env=given | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
