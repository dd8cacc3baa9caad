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
        name = (binding.namespace, binding.name)
        pending = self._pending.get(name)
        if pending is None or pending.binding.uid != binding.uid:  # else of one that was deleted and created again
            pending = self._pending[name] = _Pending(binding)
        return pending

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
                if not await self._write(one):
                    self._again(one)
                await self._announce(one)
            except NotFound:
                continue  # the binding was deleted
            except ApiError as error:
                log.warning("status of a binding not written", binding=one.binding.name, error=error.message)
                if error.is_transient:
                    self._again(one)
            except Exception:  # of one binding must not end the others
                log.exception("status of a binding not written", binding=one.binding.name)

    def _again(self, unwritten: _Pending) -> None:
        """Keep what could not be written, behind what has happened since."""
        binding = unwritten.binding
        later = self._pending.get((binding.namespace, binding.name))
        if later is not None and later.binding.uid != binding.uid:
            return  # it was deleted and created again
        later = self._of(binding)
        later.deliveries += unwritten.deliveries
        later.readings += unwritten.readings
        later.refusals += unwritten.refusals
        later.last_reading = later.last_reading or unwritten.last_reading
        later.last_refusal = later.last_refusal or unwritten.last_refusal
        later.conditions = unwritten.conditions | later.conditions

    async def _write(self, pending: _Pending) -> bool:
        """Write one status; whether that is done with."""
        binding = pending.binding
        for _ in range(ATTEMPTS):
            live = await self._client.get(BINDINGS, binding.namespace, binding.name)
            if live["metadata"]["uid"] != binding.uid:
                return True
            body: Object = {
                "metadata": {"resourceVersion": live["metadata"]["resourceVersion"]},
                "status": self._status(pending, live).to_api(),
            }
            try:
                await self._client.merge_patch(BINDINGS, binding.namespace, binding.name, body, subresource="status")
            except Conflict:
                continue
            return True
        log.warning("status of a binding not written", binding=binding.name, error="somebody else writes all the time")
        return False

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
        recent = {k: at for k, at in self._announced.items() if (now - at).total_seconds() < EVENT_EVERY}
        self._announced = recent | {key: now}
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
