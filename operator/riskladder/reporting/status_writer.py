"""What came of a binding, written into its status, and announced by an Event where something was refused.

Written every few seconds at most, however much arrives: the API server is not a log. The counts are added to what is
stored, so that the replicas count together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from riskladder.api.binding import BindingCounts, LastReading, LastRefusal, MonitorBindingStatus
from riskladder.api.conditions import Conditions
from riskladder.api.foreign import clip
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster import events
from riskladder.cluster.client import ApiError, Client, Conflict, NotFound, Object
from riskladder.cluster.resources import BINDINGS
from riskladder.monitors.observations import Observation, Refusal
from riskladder.reporting.bindings import Binding, Name

log = structlog.get_logger(__name__)

EVERY = 2.0
"""Seconds between two writes of one status, at least."""

ATTEMPTS = 5
"""Of one write, where another replica writes at the same time."""

EVENT_EVERY = 60.0
"""Seconds in which one binding has one Event for each reason, at most."""


@dataclass(slots=True)
class _Pending:
    """What has happened since the status was written."""

    binding: Binding
    deliveries: int = 0
    readings: int = 0
    refusals: int = 0
    last_reading: LastReading | None = None
    last_refusal: LastRefusal | None = None
    conditions: dict[ConditionType, tuple[bool, Reason, str]] = field(default_factory=dict)


class StatusWriter:
    """Collects for all bindings, and writes in the background."""

    def __init__(self, client: Client, instance: str, clock: Callable[[], datetime]) -> None:
        """Prepare; ``run`` writes.

        Args:
            client: Its user may write the status of bindings, and Events.
            instance: Which process writes.
            clock: Current time, UTC.
        """
        self._client, self._instance, self._clock = client, instance, clock
        self._pending: dict[Name, _Pending] = {}
        self._announced: dict[tuple[str, Reason], datetime] = {}
        self._wake = asyncio.Event()

    def delivered(self, binding: Binding) -> None:
        """Count a payload of a proved sender."""
        self._of(binding).deliveries += 1

    def stored(self, binding: Binding, signal: str, observation: Observation) -> None:
        """Count a reading that the API server has stored."""
        pending = self._of(binding)
        pending.readings += 1
        pending.last_reading = LastReading(
            at=self._clock(),
            signal=signal,
            indicator=observation.indicator,
            value=observation.value,
            observed_at=observation.observed_at,
        )
        self.say(binding, ConditionType.RECEIVING, True, Reason.RECEIVED, "readings are stored as they arrive")

    def refused(self, binding: Binding, refusal: Refusal) -> None:
        """Count what became no reading."""
        pending = self._of(binding)
        pending.refusals += 1
        message = clip(f"{refusal.path}: {refusal.message}" if refusal.path else refusal.message, 1024)
        pending.last_refusal = LastRefusal(at=self._clock(), reason=str(refusal.reason), message=message)

    def say(self, binding: Binding, kind: ConditionType, status: bool, reason: Reason, message: str) -> None:
        """Set a condition."""
        self._of(binding).conditions[kind] = (status, reason, message)

    def seen(self, binding: Binding) -> None:
        """Say whether a binding can be used, where its status does not say so of this generation."""
        if binding.status.observed_generation != binding.generation:
            self._of(binding)

    def _of(self, binding: Binding) -> _Pending:
        self._wake.set()
        return self._pending.setdefault((binding.namespace, binding.name), _Pending(binding))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()
            await asyncio.sleep(EVERY)

    async def flush(self) -> None:
        """Write everything that is pending."""
        pending, self._pending = self._pending, {}
        for one in pending.values():
            try:
                await self._write(one)
                await self._announce(one)
            except NotFound:
                continue  # the binding was deleted
            except ApiError as error:
                log.warning("status of a binding not written", binding=one.binding.name, error=error.message)

    async def _write(self, pending: _Pending) -> None:
        binding = pending.binding
        for _ in range(ATTEMPTS):
            live = await self._client.get(BINDINGS, binding.namespace, binding.name)
            if live["metadata"]["uid"] != binding.uid:
                return
            body: Object = {
                "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
                "status": self._status(pending, live).to_api(),
            }
            try:
                await self._client.merge_patch(BINDINGS, binding.namespace, binding.name, body, subresource="status")
            except Conflict:
                continue
            return
        log.warning("status of a binding not written", binding=binding.name, error="somebody else writes all the time")

    def _status(self, pending: _Pending, live: Object) -> MonitorBindingStatus:
        binding = Binding.of(live)
        stored = binding.status
        conditions = Conditions(stored.conditions, generation=binding.generation, now=self._clock())
        usable = "; ".join(binding.problems)
        reason = Reason.INVALID_BINDING if usable else Reason.BINDING_USABLE
        conditions.set(ConditionType.READY, not usable, reason, usable)
        for kind, (status, why, message) in pending.conditions.items():
            conditions.set(kind, status, why, message)
        return MonitorBindingStatus(
            observed_generation=binding.generation,
            last_reading=pending.last_reading or stored.last_reading,
            last_refusal=pending.last_refusal or stored.last_refusal,
            counts=BindingCounts(
                deliveries=stored.counts.deliveries + pending.deliveries,
                readings=stored.counts.readings + pending.readings,
                refusals=stored.counts.refusals + pending.refusals,
            ),
            conditions=conditions.result(),
        )

    async def _announce(self, pending: _Pending) -> None:
        refusal, now = pending.last_refusal, self._clock()
        if refusal is None:
            return
        key = (pending.binding.uid, Reason(refusal.reason))
        last = self._announced.get(key)
        if last is not None and (now - last).total_seconds() < EVENT_EVERY:
            return
        self._announced[key] = now
        event: Any = events.event_object(
            pending.binding.reference,
            reason=refusal.reason,
            key=f"{now:%Y-%m-%dT%H:%M}",
            note=refusal.message,
            at=now,
            warning=True,
            instance=self._instance,
        )
        await events.write(self._client, event)
