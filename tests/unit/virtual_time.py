"""Coroutines in a time of their own: where all of them wait, the clock of the loop is put on, and nobody waits."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class _Selector(selectors.DefaultSelector):
    """Takes a wait for having passed, unless something is ready or there is no end to it."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.passed += max(timeout, 0.0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._waits = _Selector()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.passed


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, without a wait for anything but I/O."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(work)


def test(work: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an ordinary test of a coroutine, that runs so."""

    @functools.wraps(work)
    def ordinary(*args: P.args, **kwargs: P.kwargs) -> None:
        run(work(*args, **kwargs))

    return ordinary
