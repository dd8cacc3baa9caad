"""The same without asyncio: an event loop in a thread of its own, so that it works next to a running loop as well."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from riskladder.client.readings import Number, Readings
from riskladder.client.reporter import AsyncReporter
from riskladder.client.results import Reported, Verdict

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="riskladder-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Reporter:
    """Reports readings as one source, over one connection.

    with Reporter("drift-monitor", namespace="models") as reporter:
        reporter.report("credit-scorer", {"psi": 0.21}, samples=4000)

    It may be used by several threads, in a notebook, and after a fork.
    """

    def __init__(
        self,
        source: str,
        *,
        namespace: str | None = None,
        ladder: str | None = None,
        deadline: float = 60.0,
        kubeconfig: str | None = None,
        dry_run: bool = False,
    ) -> None:
        """Say who reports; the connection is opened by the first report. See ``AsyncReporter`` for the arguments."""
        self._arguments: dict[str, Any] = {
            "namespace": namespace,
            "ladder": ladder,
            "deadline": deadline,
            "kubeconfig": kubeconfig,
            "dry_run": dry_run,
        }
        self._source = source
        self._lock = threading.Lock()
        self._running: tuple[_Loop, AsyncReporter] | None = None

    def __enter__(self) -> Self:
        """Return itself; nothing is asked before the first report."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a further report opens another one."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None and running[0].pid == os.getpid():
            loop, reporter = running
            loop.run(reporter.close())
            loop.close()

    def report(
        self,
        target: str,
        readings: Readings,
        *,
        kind: str = "Deployment",
        ladder: str | None = None,
        samples: Number | None = None,
        window: timedelta | str | None = None,
        evidence: str | None = None,
        observed_at: datetime | None = None,
        model: str | None = None,
        version: str | None = None,
        name: str | None = None,
        deadline: float | None = None,
    ) -> Reported:
        """Report one reading, or several of one time; see ``AsyncReporter.report`` for the arguments.

        Raises:
            Refused: It is no reading, or the API server does not take it: to repeat it is of no use.
            Unavailable: The API server has not stored it by the deadline: repeat it later, with this ``observed_at``.
        """
        loop, reporter = self._open()
        return loop.run(
            reporter.report(
                target,
                readings,
                kind=kind,
                ladder=ladder,
                samples=samples,
                window=window,
                evidence=evidence,
                observed_at=observed_at,
                model=model,
                version=version,
                name=name,
                deadline=deadline,
            )
        )

    def heartbeat(
        self,
        target: str | None = None,
        *,
        kind: str = "Deployment",
        ladder: str | None = None,
        name: str | None = None,
        deadline: float | None = None,
    ) -> datetime:
        """Say that the monitor is alive and that nothing has changed; see ``AsyncReporter.heartbeat``.

        Raises:
            Refused: Nothing was reported yet, or the API server does not take it.
            Unavailable: The API server has not stored it by the deadline.
        """
        loop, reporter = self._open()
        return loop.run(reporter.heartbeat(target, kind=kind, ladder=ladder, name=name, deadline=deadline))

    def verdict(self, reported: Reported, *, timeout: float = 30.0) -> Verdict:
        """Wait until the operator says what it makes of a report; see ``AsyncReporter.verdict``.

        Raises:
            Refused: The account may not look.
            Unavailable: The operator has said nothing in ``timeout`` seconds.
        """
        loop, reporter = self._open()
        return loop.run(reporter.verdict(reported, timeout=timeout))

    def _open(self) -> tuple[_Loop, AsyncReporter]:
        with self._lock:
            if self._running is None or self._running[0].pid != os.getpid():
                self._running = _Loop(), AsyncReporter(self._source, **self._arguments)
            return self._running


def report(
    target: str,
    readings: Readings,
    *,
    source: str,
    namespace: str | None = None,
    kind: str = "Deployment",
    ladder: str | None = None,
    samples: Number | None = None,
    window: timedelta | str | None = None,
    evidence: str | None = None,
    observed_at: datetime | None = None,
    model: str | None = None,
    version: str | None = None,
    name: str | None = None,
    deadline: float | None = None,
    kubeconfig: str | None = None,
    dry_run: bool = False,
) -> Reported:
    """Report one reading, or several of one time, over a connection of its own.

    See ``AsyncReporter`` and ``AsyncReporter.report`` for the arguments.

    Raises:
        Refused: It is no reading, or the API server does not take it: to repeat it is of no use.
        Unavailable: The API server has not stored it by the deadline (60 s by default): repeat it later, with the same
            ``observed_at``.
    """
    with Reporter(source, namespace=namespace, kubeconfig=kubeconfig, dry_run=dry_run) as reporter:
        return reporter.report(
            target,
            readings,
            kind=kind,
            ladder=ladder,
            samples=samples,
            window=window,
            evidence=evidence,
            observed_at=observed_at,
            model=model,
            version=version,
            name=name,
            deadline=deadline,
        )
