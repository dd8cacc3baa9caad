"""The real operator as a process of its own, started, watched and stopped by its own pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.cluster.launcher import dying_with_us
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


class OperatorProcess:
    """``riskladder operator`` with a log file that tests can read."""

    command: ClassVar[str] = "operator"

    def __init__(self, kubeconfig: Path, directory: Path, *arguments: str) -> None:
        self.log = directory / f"{self.command}-{time.monotonic_ns()}.log"
        self._command = [
            *(sys.executable, "-m", "riskladder", self.command),
            *("--kubeconfig", str(kubeconfig), "--listen", "127.0.0.1:0", *arguments),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._entries: list[dict[str, Any]] = []
        self._read = 0
        self._reading = threading.Lock()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                dying_with_us(self._command),
                stdout=stream,
                stderr=stream,
                env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
                start_new_session=True,
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL after a grace; the exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        self.process.kill()
        self.process.wait()

    def entries(self) -> list[dict[str, Any]]:
        """The JSON lines logged so far."""
        if not self.log.exists():
            return []
        with self._reading, self.log.open("rb") as stream:
            stream.seek(self._read)
            lines, end, _ = stream.read().rpartition(b"\n")
            self._read += len(lines + end)
            self._entries += [json.loads(line) for line in lines.splitlines() if line[:1] == b"{" and line[-1:] == b"}"]
            return list(self._entries)

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first log entry of that event with those fields."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for entry in self.entries():
                if entry.get("event") == event and all(entry.get(k) == v for k, v in fields.items()):
                    return entry
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-3000:]
        raise AssertionError(f"no log entry {event!r} {fields} (exit code {self.process.poll()}):\n{tail}")

    def wait_until_leading(self) -> None:
        self.wait_for("caches full")
        self.wait_for("leading")

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the health server."""
        address = self.wait_for("started")["listen"]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
