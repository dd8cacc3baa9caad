"""Gauges of where each stream of readings stands, for as many as ten thousand streams."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Gauge

from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.text import shared
from riskladder.controller.rendered_gauge import SLICE, RenderedGauge

log = structlog.get_logger(__name__)

MAX_SERIES = 20_000
"""Series that are exported, two for each stream."""

LABELS = ("namespace", "ladder", "target", "source", "indicator")

Labels = tuple[str, ...]


class StoredStatus(NamedTuple):
    """The status of a signal as it is stored, as JSON."""

    uid: str
    namespace: str
    status: bytes


class _Newest(NamedTuple):
    """The newest reading of a stream."""

    received_at: float
    """When the API server took it in, in Unix time."""
    observed_at: float
    value: float


class _Parsed(NamedTuple):
    """What the status of a signal says."""

    status: bytes
    streams: Sequence[tuple[Labels, _Newest]]
    silent: Labels | None
    """Namespace, ladder and source, where an indicator has been silent for longer than the ladder allows."""


class ReadingGauges:
    """The gauges, and how many streams have none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register everything."""
        self.value = RenderedGauge("riskladder_reading", "The last reading that counted, by stream.", LABELS, registry)
        self.observed = RenderedGauge(
            "riskladder_reading_observed_timestamp_seconds", "When it was observed, in Unix time.", LABELS, registry
        )
        self.stale = Gauge(
            "riskladder_stale_signals",
            "Signals of which an indicator has been silent for longer than the ladder allows.",
            ["namespace", "ladder", "source"],
            registry=registry,
        )
        self.not_exported = Gauge(
            "riskladder_readings_not_exported",
            "Streams of readings that have no gauge, since there are too many.",
            registry=registry,
        )
        self._parsed: dict[str, _Parsed] = {}
        """By uid of the signal: what its status says, as long as it stands."""
        self._exported: dict[Labels, None] = {}
        self._text = b""

    def text(self) -> bytes:
        """Return what a scrape shows, as of the last refresh."""
        return self._text

    def clear(self) -> None:
        """Show nothing: another replica leads."""
        self._parsed, self._exported, self._text = {}, {}, b""
        self.not_exported.set(0)
        self.stale.clear()

    async def refresh(self, found: Iterable[StoredStatus]) -> None:
        """Show what these signals say, and nothing of those that are gone."""
        parsed: dict[str, _Parsed] = {}
        newest: dict[Labels, _Newest] = {}
        for number, stored in enumerate(found, start=1):
            before = self._parsed.get(stored.uid)
            known = before if before is not None and before.status == stored.status else _parse(stored)
            parsed[stored.uid] = known
            for labels, reading in known.streams:
                if labels not in newest or newest[labels][:2] < reading[:2]:
                    newest[labels] = reading
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._parsed = parsed
        self.stale.clear()
        for silent, number in Counter(one.silent for one in parsed.values() if one.silent is not None).items():
            self.stale.labels(*silent).set(number)
        await self._render(newest)

    async def _render(self, newest: dict[Labels, _Newest]) -> None:
        most = MAX_SERIES // 2
        chosen = [labels for labels in self._exported if labels in newest]  # those that are there stay
        chosen += [labels for labels in newest if labels not in self._exported]
        self._say_left_out(len(newest), max(len(chosen) - most, 0))
        self._exported = dict.fromkeys(chosen[:most])
        values, times = bytearray(), bytearray()
        for number, labels in enumerate(self._exported, start=1):
            reading = newest[labels]
            self.value.add(values, labels, reading.value)
            self.observed.add(times, labels, reading.observed_at)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        values += times
        self._text = bytes(values)

    def _say_left_out(self, streams: int, number: int) -> None:
        if number and not self.not_exported._value.get():
            log.warning("readings not exported", streams=streams, not_exported=number, reason=f"{MAX_SERIES} series")
        self.not_exported.set(number)


def _parse(stored: StoredStatus) -> _Parsed:
    """Return what the status of a signal says: nothing of a drill, which is no measurement to go by."""
    streams: Sequence[tuple[Labels, _Newest]] = ()
    silent = None
    try:
        status: Any = json.loads(stored.status)
        about = status["countedFor"]
        if not about.get("drill"):
            streams = tuple(_streams(stored.namespace, about, status.get("observed") or ()))
            if any(
                (one["type"], one["reason"]) == (ConditionType.FRESH, Reason.READINGS_STALE)
                for one in status.get("conditions") or ()
            ):
                silent = (stored.namespace, about["ladder"], about["source"])
    except (ValueError, TypeError, KeyError, AttributeError):  # of another version, or not judged yet
        pass
    return _Parsed(stored.status, streams, silent)


def _streams(namespace: str, about: Any, observed: Iterable[Any]) -> Iterator[tuple[Labels, _Newest]]:
    """Yield the streams of which a signal holds a reading."""
    head = (namespace, shared(about["ladder"]), f"{about['kind']}/{about['name']}", shared(about["source"]))
    for one in observed:
        at, received = datetime.fromisoformat(one["observedAt"]).timestamp(), one.get("receivedAt")
        received_at = datetime.fromisoformat(received).timestamp() if received else at
        yield (*head, shared(one["indicator"])), _Newest(received_at, at, float(one["value"]))
