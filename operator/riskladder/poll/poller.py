"""Asks for every polled binding, each at its own pace, and reports what is answered.

Exactly one finite sample for each target is a reading. None, several, NaN, a warning, an error or no answer in time is
none: the condition QueryOk says what was found, and staleness does the rest.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

import structlog

from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.foreign import clip
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import count
from riskladder.monitors.entries import Content, Delivery
from riskladder.monitors.observations import Refusal, Translation, said
from riskladder.monitors.translate import translate
from riskladder.poll.metrics import Metrics
from riskladder.poll.queries import Queries, QueryFailed
from riskladder.reporting.bindings import Binding, Bindings
from riskladder.reporting.reporter import Reporter

log = structlog.get_logger(__name__)

JITTER = 0.1
"""By how much of its pace a query is asked sooner or later, so that not all are asked at once."""

LOOK_EVERY = 0.5
"""Seconds between looks at which bindings there are."""


class Poller:
    """Asks while it leads."""

    def __init__(
        self,
        bindings: Bindings,
        queries: Queries,
        reporter: Reporter,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Put the parts together.

        Args:
            bindings: What to ask, and what the answers mean.
            queries: Whom to ask.
            reporter: Where readings go.
            metrics: What is counted.
            clock: Current time, UTC.
        """
        self._bindings, self._queries, self._reporter = bindings, queries, reporter
        self._metrics, self._clock = metrics, clock
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Ask until cancelled; what is under way then is dropped, and the next leader asks again."""
        try:
            while True:
                wanted = {(b.uid, b.generation): b for b in self._bindings if b.spec is not None and b.spec.poll}
                ended = {key for key, task in self._tasks.items() if task.done()}  # which none does by itself
                for key in (self._tasks.keys() - wanted.keys()) | ended:
                    self._tasks.pop(key).cancel()
                for key in wanted.keys() - self._tasks.keys():
                    self._tasks[key] = asyncio.create_task(self._go_on(wanted[key]))
                await asyncio.sleep(LOOK_EVERY)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._tasks.clear()

    async def _go_on(self, binding: Binding) -> None:
        assert binding.spec is not None  # noqa: S101
        assert binding.spec.poll is not None  # noqa: S101
        every = binding.spec.poll.every.delta.total_seconds()
        loop = asyncio.get_running_loop()
        due = loop.time() + random.random() * min(every, 5.0)  # noqa: S311 - jitter, not a secret
        while True:
            await asyncio.sleep(max(due - loop.time(), 0.0))
            try:
                await self.ask(binding)
            except Exception:  # of one binding must not end the others
                log.exception("query not reported", namespace=binding.namespace, binding=binding.name)
            due = max(due, loop.time() - every) + every * (1 + JITTER * (random.random() - 0.5))  # noqa: S311

    async def ask(self, binding: Binding) -> None:
        """Ask once, and report."""
        spec = binding.spec
        assert spec is not None  # noqa: S101
        assert spec.poll is not None  # noqa: S101
        try:
            result = await self._queries.ask(spec.poll.endpoint, spec.poll.query)
            if result.warnings and spec.poll.on_warnings == "Refuse":
                raise QueryFailed(
                    f"endpoint {spec.poll.endpoint}: found a result with warnings ({'; '.join(result.warnings)}), "
                    "expected a whole one (spec.poll.onWarnings)"
                )
        except QueryFailed as why:
            self._failed(binding, Refusal("spec.poll.query", Reason.QUERY_FAILED, clip(str(why), 1024)))
            return
        self._reporter.status.delivered(binding)
        delivery = Delivery(b"", {}, self._clock())
        translation = await asyncio.to_thread(translate, spec, result.content, delivery)
        found = with_missing(spec, result.content, translation)
        verdicts, status = await self._reporter.report(binding, found)
        self._metrics.asked(binding, verdicts)
        if found.refusals:
            first = found.refusals[0]
            message = clip(f"{first.path}: {first.message}", 1024)
            self._reporter.status.say(binding, ConditionType.QUERY_OK, False, first.reason, message)
        elif status == 200:
            self._reporter.status.say(
                binding, ConditionType.QUERY_OK, True, Reason.ANSWERED, count(len(found.observations), "reading")
            )

    def _failed(self, binding: Binding, refusal: Refusal) -> None:
        self._reporter.refuse(binding, refusal)
        self._reporter.status.say(binding, ConditionType.QUERY_OK, False, refusal.reason, refusal.message)
        self._metrics.failed(binding)


def with_missing(spec: MonitorBindingSpec, content: Content, found: Translation) -> Translation:
    """Return what an answer becomes, with a refusal for each target that it has no sample of."""
    if spec.target_from is None:
        return found
    label = spec.target_from.label
    present = {entry.labels.get(label) for entry in content.entries}
    missing = [name for name in spec.target_from.allowed if name not in present]
    absent = [
        Refusal("data.result", Reason.NO_READING, f"found no sample with {label}={name}, expected one", target=name)
        for name in missing
    ]
    return found._replace(refusals=said((*found.refusals, *absent)))
