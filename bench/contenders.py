"""The two that are compared, each as a process of its own: started fresh, asked what they used, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bench.pod import in_pod
from tests.cluster.launcher import dying_with_us

START_DEADLINE = 600.0
READY_POLL = 0.05
STOP_GRACE = 20.0
TICKS = os.sysconf("SC_CLK_TCK")

Requests = Counter[tuple[str, str]]
"""Requests by verb and resource, as RBAC says them: `("create", "escalations.riskladder.dev")`."""

LEASES = "leases.coordination.k8s.io"
READING = frozenset({"get", "list", "watch"})
QUESTIONS = (".authorization.k8s.io", ".authentication.k8s.io")
"""The groups of reviews, which are created, but stored nowhere."""


def is_write(verb: str, resource: str) -> bool:
    return verb not in READING and not resource.endswith(QUESTIONS)


def cpu_seconds(pid: int) -> float:
    """Return seconds of CPU that a process has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def thread_seconds(pid: int) -> float:
    """Return the same to the nanosecond, for the threads that a process has now."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def machine_seconds() -> float:
    """Return seconds of CPU that all processes of the machine have used so far, in user and kernel mode."""
    user, nice, system, _, _, irq, softirq, *_ = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICKS


class Contender:
    """A child process that stops models."""

    name = ""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        """When it was started (monotonic)."""

    async def __aenter__(self) -> Self:
        """Start it and wait until it is ready."""
        self._launch()
        try:
            await self._ready()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it. Raises RuntimeError if it had ended by itself before."""
        early = self._running.poll()
        await asyncio.to_thread(self._end)
        if early is not None:
            raise RuntimeError(f"the {self.name} ended with {early}; its log ends with:\n{self._tail()}")

    def _launch(self) -> None:
        with self._log.open("wb") as log:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                dying_with_us(self._command), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    async def _ready(self) -> None:
        """Wait until it is ready; raise RuntimeError with the end of its log if it ends, or is not ready in time."""
        while not await self._is_ready():
            if self._running.poll() is not None or time.monotonic() - self.started > START_DEADLINE:
                raise RuntimeError(f"the {self.name} did not become ready; its log ends with:\n{self._tail()}")
            await asyncio.sleep(READY_POLL)

    async def _is_ready(self) -> bool:
        raise NotImplementedError

    def _end(self) -> None:
        """Send SIGTERM, and SIGKILL if that is not enough."""
        self._running.terminate()
        try:
            self._running.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()

    def cpu(self) -> float:
        """Return seconds of CPU that the process has used so far, in user and kernel mode."""
        return cpu_seconds(self._running.pid)

    def rss(self) -> int:
        """Return the bytes of memory that it holds now."""
        return self._memory("VmRSS")

    def rss_peak(self) -> int:
        """Return the bytes of memory that it has held at most."""
        return self._memory("VmHWM")

    def _memory(self, what: str) -> int:
        for line in Path(f"/proc/{self._running.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"the {self.name} has ended")

    def kill(self) -> None:
        """End it as a crash would: with no time to say anything."""
        self._running.kill()
        self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"the {self.name} has not been started")
        return self._process

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


class Operator(Contender):
    """The operator as users run it: as in a pod, where this machine can do that."""

    name = "operator"

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        command = [sys.executable, "-m", "riskladder", "operator", "--listen", "127.0.0.1:0"]
        podlike = in_pod(command, kubeconfig, directory)
        super().__init__(podlike or [*command, "--kubeconfig", str(kubeconfig)], directory / "operator.log")
        self._listen = ""

    def _launch(self) -> None:
        self._listen = ""
        super()._launch()

    async def _is_ready(self) -> bool:
        if not self._listen:
            self._listen = self._find_address()
        if not self._listen:
            return False
        try:
            return (await self._get("readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    def _find_address(self) -> str:
        """Return the port that it took, which the log names."""
        for line in self._log.read_text().splitlines():
            if '"listen"' in line:
                return str(json.loads(line)["listen"])
        return ""

    async def _get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._listen}/{path}") as response:
            return response.status, await response.text()

    async def requests(self) -> Requests:
        """Return every request that it has sent so far, except its watches and their lists, which Kopf sends."""
        return (await self._metrics())[0]

    async def _metrics(self) -> tuple[Requests, float]:
        requests: Requests = Counter()
        waiting = 0.0
        for family in text_string_to_metric_families((await self._get("metrics"))[1]):
            for sample in family.samples:
                if sample.name == "riskladder_api_requests_total":
                    requests[(sample.labels["verb"], sample.labels["resource"])] += int(sample.value)
                elif sample.name == "riskladder_queue_depth" and sample.labels["state"] != "later":
                    waiting += sample.value
        return requests, waiting

    async def wait_until_idle(self, quiet: float = 2.0, deadline: float = 180.0) -> float:
        """Wait until it has had nothing to do and written nothing for a while; the time at which that began."""
        began, before = time.monotonic(), -1
        end = began + deadline
        while time.monotonic() - began < quiet:
            if time.monotonic() > end:
                raise RuntimeError(f"the operator was still writing after {deadline:.0f} s")
            await asyncio.sleep(0.5)
            requests, waiting = await self._metrics()
            sent = writes(requests)
            if waiting or sent != before:
                began, before = time.monotonic(), sent
        return began


class Floor(Contender):
    """See bench/floor.py."""

    name = "floor"

    def __init__(self, kubeconfig: Path, directory: Path, namespace: str, template: Path | None) -> None:
        """Take the `template`: the Escalation to write first; None for one write only."""
        command = [sys.executable, "-m", "bench.floor", "--kubeconfig", str(kubeconfig), "--namespace", namespace]
        if template is not None:
            command.append(f"--template={template}")
        super().__init__(command, directory / "floor.log")

    async def _is_ready(self) -> bool:
        return self._log.read_bytes().startswith(b"ready")


def writes(requests: Requests, *, leases: bool = False) -> int:
    """Return how many of them change something; renewals of the Lease count only if asked for."""
    return sum(
        number
        for (verb, resource), number in requests.items()
        if is_write(verb, resource) and (leases or resource != LEASES)
    )


def total(requests: Requests) -> int:
    """Return all of them but those of the Lease."""
    return sum(number for (_, resource), number in requests.items() if resource != LEASES)
