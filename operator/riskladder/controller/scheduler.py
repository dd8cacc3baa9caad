"""The work queue: one worker for each key at a time, containment before everything, high tiers first.

Two kinds of work. *Urgent* keys are decided at once, in the order they came; what the decision wants contained goes
into a heap ordered by severity and is executed by a bounded number of workers. The *trail* (records, Events,
status) of any key starts only while no containment waits or runs anywhere. A key that fails comes back after its
own exponential backoff with jitter; while it backs off it does not count as waiting, so that one target that cannot
be contained never silences the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

K = TypeVar("K", bound=Hashable)
W = TypeVar("W")

log = structlog.get_logger(__name__)

DECISIONS_AT_ONCE = 20
"""Decisions taken before the event loop gets its turn."""

PATIENCE = 1.0
"""Seconds that a trail waits for a moment of quiet, at most."""

LONGEST_CLOSED = 30.0
"""Seconds after which a trail is written in any storm: people must hear of the first breach of it."""

STUCK_AFTER = 2.0
"""Seconds after which a containment under way no longer holds the trail of others back, nor takes a slot."""

LONG_DECISION, LONG_REST = 0.05, 4.0
"""Seconds that a decision may take without further ado; after a longer one the key is not decided upon for so many
times as long, so that a target with thousands of signals leaves the event loop to the others."""

LONG_TRAIL = 5.0
"""Seconds after which a trail under way takes no slot any more: what hangs would keep the trails of others back."""

MOST_STUCK = 64
"""First attempts, later attempts, and trails that have lost their slot and go on, at most of each: beyond that they
keep it, and others wait."""


@dataclass(frozen=True, slots=True)
class Urgent(Generic[W]):
    """A decision that wants something contained now."""

    work: W
    severity: int


@dataclass(slots=True)
class Backoff:
    """Delays after failures: exponential with full jitter, from ``base`` to ``cap`` seconds."""

    base: float
    cap: float
    rng: random.Random = field(default_factory=random.Random)

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row."""
        ceiling = min(self.cap, self.base * 2.0 ** min(failures - 1, 30))
        return ceiling * (0.5 + self.rng.random() / 2)


def _taken(started: Iterable[float], longest: float) -> int:
    """Return how many slots are taken by what was started at these times: what takes too long gives its slot up."""
    now = time.monotonic()
    ages = [now - at for at in started]
    return len(ages) - min(sum(age > longest for age in ages), MOST_STUCK)


class Scheduler(Generic[K, W]):
    """Runs decisions, containments and trails of many keys on one event loop."""

    def __init__(
        self,
        *,
        decide: Callable[[K], Urgent[W] | None],
        contain: Callable[[K, W], Awaitable[None]],
        trail: Callable[[K], Awaitable[None]],
        containers: int = 16,
        retries: int = 4,
        writers: int = 8,
        contain_backoff: Backoff | None = None,
        trail_backoff: Backoff | None = None,
        quiet: float = 0.05,
    ) -> None:
        """Prepare; nothing runs before ``activate``.

        Args:
            decide: Looks at a key; returns what has to be contained, or ``None`` (it asks for the trail itself).
            contain: Executes what was decided; an exception makes the key return urgently after a backoff.
            trail: Writes what the key's trail lacks; an exception makes it come back after a backoff.
            containers: Containments under way at once, of first attempts.
            retries: The same of those that have failed before: they have slots of their own, and hold nothing up.
            writers: Trails under way at once.
            contain_backoff: Delays after a failed containment; by default 50 ms to 5 s.
            trail_backoff: Delays after a failed trail; by default 0.5 s to 60 s.
            quiet: Seconds without an urgent key that the trail waits for: in a storm the next one is on its way.
        """
        self._decide = decide
        self._contain = contain
        self._write = trail
        self._containers = containers
        self._retries = retries
        self._writers = writers
        self._contain_backoff = contain_backoff or Backoff(0.05, 5.0)
        self._trail_backoff = trail_backoff or Backoff(0.5, 60.0)
        self._active = False
        self._urgent: dict[K, float] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._retry_heap: list[tuple[int, int, K]] = []
        self._planned: dict[K, tuple[int, W]] = {}
        """The newest decision of each key in the heap, by its number there; older entries are skipped."""
        self._trail: dict[K, float] = {}
        self._rests: dict[K, float] = {}
        """Keys of which the last decision took long, and until when they rest."""
        self._prompt: set[K] = set()
        """Those of which the trail waits for no gate, until it is written."""
        self._later: dict[K, tuple[float, bool, asyncio.TimerHandle]] = {}
        self._context, self._when_due = contextvars.copy_context(), self._due
        """What those timers have in common: there may be one for each of thousands of keys."""
        self._running: dict[K, asyncio.Task[None]] = {}
        self._again: dict[K, bool] = {}
        self._containing: dict[K, float] = {}
        self._writing: dict[K, float] = {}
        """When the trails under way were started."""
        self._retrying: set[K] = set()
        """Those of them that have failed before."""
        self._failures: dict[tuple[K, bool], int] = {}
        """In a row, by key and whether of its containment or of its trail: that a trail is written proves nothing of
        the containment."""
        self._count = itertools.count()
        self._kicked = False
        self._quiet = quiet
        self._last_urgent = 0.0
        self._gate_check: asyncio.TimerHandle | None = None

    # --- Asking for work ------------------------------------------------------------------------------------------

    def add(self, key: K, *, urgent: bool = False, prompt: bool = False, after: float = 0.0) -> None:
        """Ask for a key to be looked at; asking twice is asking once.

        Args:
            key: What to look at.
            urgent: Whether something may have to be contained: it is decided at once.
            prompt: Whether its trail is written whatever is contained elsewhere: a containment depends on it.
            after: Seconds to wait first.
        """
        if after > 0:
            self._add_later(key, urgent, after)
            return
        if key in self._running:
            self._again[key] = self._again.get(key, False) or urgent or prompt
            return
        if urgent or not self.backs_off(key):
            self._cancel_later(key)
        if urgent:
            self._last_urgent = time.monotonic()
            self._trail.pop(key, None)
            self._urgent.setdefault(key, time.monotonic())
        elif key not in self._urgent:
            self._trail.setdefault(key, time.monotonic())
            if prompt:
                self._prompt.add(key)
        self._kick()

    def backs_off(self, key: K) -> bool:
        """Return whether a containment of this key has failed and waits for its next attempt."""
        return key in self._later and self._later[key][1]

    def _add_later(self, key: K, urgent: bool, after: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + after
        before = self._later.get(key)
        if before is not None:
            if before[0] <= due and before[1] >= urgent:
                return
            before[2].cancel()
            due, urgent = min(due, before[0]), urgent or before[1]
        handle = loop.call_at(due, self._when_due, key, context=self._context)
        self._later[key] = (due, urgent, handle)

    def _due(self, key: K) -> None:
        _, urgent, _ = self._later.pop(key)
        last_urgent = self._last_urgent
        self.add(key, urgent=urgent)
        self._last_urgent = last_urgent  # an attempt that comes back announces no storm

    def _cancel_later(self, key: K) -> None:
        before = self._later.pop(key, None)
        if before is not None:
            before[2].cancel()

    # --- Running --------------------------------------------------------------------------------------------------

    def activate(self) -> None:
        """Begin to work on what has been asked for."""
        self._active = True
        self._kick()

    def pause(self) -> None:
        """Start nothing more; what is under way goes on."""
        self._active = False

    async def stop(self, grace: float = 10.0) -> None:
        """Start nothing more and wait for what is under way, at most ``grace`` seconds."""
        self.pause()
        for _, _, handle in self._later.values():
            handle.cancel()
        self._later.clear()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=grace)
        for task in self._running.values():
            task.cancel()

    def _kick(self) -> None:
        if self._active and not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self._kicked = False
        if not self._active:
            return
        for key in list(itertools.islice(self._urgent, DECISIONS_AT_ONCE)):
            del self._urgent[key]
            if not self._has_to_rest(key):
                self._look_at(key)
        while self._heap and self._slots_taken() < self._containers:
            self._contain_next(self._heap)
        while self._retry_heap and self._retry_slots_taken() < self._retries:
            self._contain_next(self._retry_heap)
        if self._heap or self._retry_heap:
            self._look_again(STUCK_AFTER)  # those under way may have lost their slots by then
        if self._urgent:
            self._kick()
        for key in [key for key in self._prompt if key in self._trail]:
            self._write_next(key)
        if self.may_write:
            while self._trail and self._may_start_trail():
                self._write_next(next(iter(self._trail)))
        if self._trail and not self._may_start_trail():
            self._look_again(LONG_TRAIL)  # the same

    def _may_start_trail(self) -> bool:
        return _taken(self._writing.values(), LONG_TRAIL) < self._writers

    def _write_next(self, key: K) -> None:
        """Start the trail of a key, if a writer is free and nothing of it is under way."""
        if self._may_start_trail():
            del self._trail[key]
            if key not in self._running:
                self._writing[key] = time.monotonic()
                self._start(key, self._written(key))

    def _slots_taken(self) -> int:
        """Return the slots that first attempts take: one that hangs frees its slot, so that others can be contained."""
        first = (at for key, at in self._containing.items() if key not in self._retrying)
        return _taken(first, STUCK_AFTER)

    def _retry_slots_taken(self) -> int:
        """Return the slots that retries take."""
        return _taken((at for key, at in self._containing.items() if key in self._retrying), STUCK_AFTER)

    def _has_to_rest(self, key: K) -> bool:
        """Return whether a key whose decisions take long is put off."""
        until = self._rests.pop(key, 0.0)
        left = until - time.monotonic()
        if left <= 0:
            return False
        self._rests[key] = until
        self._add_later(key, True, left)
        return True

    def _contain_next(self, heap: list[tuple[int, int, K]]) -> None:
        """Start the most severe of what waits, unless it has been decided again since."""
        _, number, key = heapq.heappop(heap)
        if self._planned.get(key, (-1, None))[0] != number:
            return
        _, work = self._planned.pop(key)
        if key in self._running:  # its trail is being written: it is decided again after that
            self._again[key] = True
            return
        self._containing[key] = time.monotonic()
        if heap is self._retry_heap:
            self._retrying.add(key)
        self._start(key, self._contained(key, work))

    def _has_failed(self, key: K) -> bool:
        """Return whether the last attempt to contain it failed."""
        return (key, True) in self._failures

    def _look_at(self, key: K) -> None:
        if key in self._running:
            self._again[key] = True
            return
        started = time.monotonic()
        try:
            found = self._decide(key)
        except Exception:
            self._failed(key, urgent=True)
            log.exception("decision failed", key=tuple(key) if isinstance(key, tuple) else key)
            return
        ended = time.monotonic()
        if ended - started > LONG_DECISION:
            self._rests[key] = ended + LONG_REST * (ended - started)
        if found is not None:
            number = next(self._count)
            self._planned[key] = (number, found.work)
            if self._has_failed(key):  # one after the other: what hangs would keep what is less severe back for ever
                heapq.heappush(self._retry_heap, (0, number, key))
            else:
                heapq.heappush(self._heap, (-found.severity, number, key))
        else:
            self._planned.pop(key, None)
            self._failures.pop((key, True), None)

    def _start(self, key: K, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            finally:
                self._running.pop(key, None)
                self._containing.pop(key, None)
                self._writing.pop(key, None)
                self._retrying.discard(key)
                if key in self._again:
                    self.add(key, urgent=self._again.pop(key))
                self._kick()

        self._running[key] = asyncio.get_running_loop().create_task(run())

    async def _contained(self, key: K, work: W) -> None:
        try:
            await self._contain(key, work)
        except Exception as error:
            self._failed(key, urgent=True, error=error)
        else:
            self._failures.pop((key, True), None)

    async def _written(self, key: K) -> None:
        try:
            await self._write(key)
        except Exception as error:
            self._failed(key, urgent=False, error=error)
        else:
            self._failures.pop((key, False), None)
            self._prompt.discard(key)

    def _failed(self, key: K, *, urgent: bool, error: Exception | None = None) -> None:
        failures = self._failures[key, urgent] = self._failures.get((key, urgent), 0) + 1
        delay = (self._contain_backoff if urgent else self._trail_backoff).delay(failures)
        delay = max(delay, float(getattr(error, "retry_after", 0.0)))
        if getattr(error, "is_final", False):
            self._given_up(key, urgent, str(error))
            return
        if error is not None:
            known = hasattr(error, "retry_after")
            log.warning(
                "will try again",
                key=tuple(key) if isinstance(key, tuple) else key,
                urgent=urgent,
                failures=failures,
                delay=round(delay, 3),
                error=str(error) or repr(error),
                exc_info=None if known else error,
            )
        if not self._again.get(key):
            self._again.pop(key, None)
        self._add_later(key, urgent, delay)
        if urgent and key in self._running:
            self._again.setdefault(key, False)  # its trail need not wait for the next attempt

    def _given_up(self, key: K, urgent: bool, why: str) -> None:
        """Give a key up, until something about it changes."""
        self._failures.pop((key, urgent), None)
        if not self._again.get(key):
            self._again.pop(key, None)
        log.info("given up", key=tuple(key) if isinstance(key, tuple) else key, urgent=urgent, why=why)

    # --- Looking at it --------------------------------------------------------------------------------------------

    @property
    def may_write(self) -> bool:
        """Whether no containment waits or runs anywhere, nor is likely to in a moment.

        Neither one that is stuck nor one that has failed before counts, and no storm closes the gate for ever.
        """
        now = time.monotonic()
        waiting_since = next(iter(self._trail.values()), now)
        if now - waiting_since > LONGEST_CLOSED:
            return True
        if not all(map(self._has_failed, self._urgent)) or not all(map(self._has_failed, self._planned)):
            self._look_again(LONGEST_CLOSED)
            return False
        newest = max((at for key, at in self._containing.items() if key not in self._retrying), default=None)
        if newest is not None and now - newest <= STUCK_AFTER:
            self._look_again(STUCK_AFTER)
            return False
        if now - self._last_urgent < self._quiet and now - waiting_since < PATIENCE:
            self._look_again(self._quiet)
            return False
        return True

    def _look_again(self, after: float) -> None:
        """See then, or earlier if that is planned already, whether the gate has opened by itself."""
        loop = asyncio.get_running_loop()
        if self._gate_check is not None:
            if self._gate_check.when() <= loop.time() + after:
                return
            self._gate_check.cancel()
        self._gate_check = loop.call_later(after, self._gate_opens)

    def _gate_opens(self) -> None:
        self._gate_check = None
        self._kick()

    def depth(self) -> dict[str, int]:
        """Return the number of waiting keys, by kind."""
        return {
            "urgent": len(self._urgent),
            "contain": len(self._planned),
            "trail": len(self._trail),
            "later": len(self._later),
            "running": len(self._running),
        }

    def age(self) -> float:
        """Return the seconds that the oldest waiting key has waited; 0 where nothing is to be done, as on a standby."""
        if not self._active:
            return 0.0
        oldest = min((*self._urgent.values(), *self._trail.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest
