"""What make has started ends with it, also where nobody could pass the signal on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
CHILD = """
import os, pathlib, sys, time
from tests.cluster.ending import end_with_make
end_with_make()
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is a feature of Linux")
@pytest.mark.parametrize(("name", "ends"), [("make", True), ("shell", False)])
def test_what_make_has_started_ends_with_it(name: str, ends: bool, tmp_path: Path) -> None:
    shell = shutil.which("bash") or shutil.which("sh")
    assert shell is not None
    parent, written, script = tmp_path / name, tmp_path / "pid", tmp_path / "child.py"
    parent.symlink_to(shell)
    script.write_text(CHILD)
    command = f"'{sys.executable}' '{script}' '{written}' & wait"
    with subprocess.Popen([str(parent), "-c", command], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) as process:
        _until(lambda: written.exists() and bool(written.read_text()))
        child = int(written.read_text())
        process.kill()
    try:
        if ends:
            _until(lambda: not _lives(child))
        else:
            time.sleep(0.2)
            assert _lives(child), "whoever starts it from a shell may want it to go on"
    finally:
        if _lives(child):
            subprocess.run(["kill", "-9", str(child)], check=False)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
