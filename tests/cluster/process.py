"""One component as a child process that cannot outlive us, and that can be killed, paused and restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.build import tail
from tests.cluster.launcher import dying_with_us


class ComponentDiedError(ClusterError):
    """A component ended by itself."""


class PortTakenError(ComponentDiedError):
    """A component ended because another program listens on its port: a new start with other ports helps."""


class Spawner:
    """Starts processes from one thread that lives as long as they do.

    Linux sends the parent-death signal when the *thread* that started a child ends, so a plane that is opened in a
    short-lived worker thread would otherwise lose its components at once.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="control-plane")

    def spawn(self, command: list[str], log: Path, directory: Path) -> subprocess.Popen[bytes]:
        command = dying_with_us(command)

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as stream:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    # Little of our environment: a proxy, a KUBECONFIG or a ~/.kwok of the developer changes nothing.
                    env={"PATH": os.defpath, "HOME": str(directory), "TMPDIR": str(directory)}
                    | {name: os.environ[name] for name in ("PATH", "GOGC") if name in os.environ},
                    start_new_session=True,  # Ctrl-C in the terminal is for the tests, which then stop us in order.
                )

        return self._thread.submit(start).result()

    def close(self) -> None:
        self._thread.shutdown()


class Component:
    """A program of the control plane with a fixed command line, and so fixed ports, over all its restarts."""

    def __init__(self, name: str, command: list[str], *, log: Path, directory: Path, spawner: Spawner) -> None:
        self.name = name
        self.command = command
        self.log = log
        self._directory = directory
        self._spawner = spawner
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._log_start = 0
        self.expected = False
        """True from `start` until we end it ourselves: an end in between is a failure."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, unless it runs."""
        self.expected = True
        if self.pid is None:
            self._paused = False
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._spawner.spawn(self.command, self.log, self._directory)

    def check(self) -> None:
        """Raise ComponentDiedError, with the end of the log, if it does not run."""
        if self.pid is not None:
            return
        code = self._process.returncode if self._process is not None else None
        end = tail(self.log)
        # The address in use may be far above the end of the log, after a Go stack trace.
        taken = b"address already in use" in self.log.read_bytes()[self._log_start :] if self.log.exists() else False
        raise (PortTakenError if taken else ComponentDiedError)(
            f"{self.name} ended early with exit code {code}. The end of its log:\n{end}"
        )

    def stop(self, grace: float) -> None:
        """Ask it to end, and kill it after `grace` seconds."""
        self.expected = False
        if self._process is None:
            return
        if self._paused:
            self.kill()  # A stopped process does not see a SIGTERM.
        elif self.pid is not None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.expected = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._paused = False

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nobody, like a machine that hangs."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
