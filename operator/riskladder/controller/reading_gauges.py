"""Gauges of where each stream of readings stands, for as many as ten thousand streams.

The client library takes a quarter of a second for so many, in which the event loop would contain nothing. So the text
is made in slices, in the background, and a scrape sends what is there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

log = structlog.get_logger(__name__)

MAX_SERIES = 20_000
"""Series that are exported, two for each stream."""

SLICE = 64
"""Signals, or streams, between which the event loop gets its turn."""

LABELS = ("namespace", "ladder", "target", "source", "indicator")

Labels = tuple[str, ...]


class StoredStatus(NamedTuple):
    """The status of a signal as it is stored, as JSON."""

    uid: str
    namespace: str
    status: bytes


class _Newest(NamedTuple):
    """The newest reading of a stream."""

    order: tuple[datetime, datetime]
    value: float
    observed_at: datetime


class RenderedGauge(Collector):
    """Reserves a name in the registry, and collects nothing: its text is made elsewhere."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        """Register the name."""
        self._name, self._documentation, self._labelnames = name, documentation, LABELS
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the family."""
        return [GaugeMetricFamily(self._name, self._documentation, labels=LABELS)]

    def collect(self) -> Iterable[Metric]:
        """Return nothing."""
        return ()

    def render(self, samples: Iterable[str]) -> str:
        """Return the family in the text format of Prometheus; a sample is its labels and value."""
        lines = [self._name + sample for sample in samples]
        if not lines:
            return ""
        head = f"# HELP {self._name} {self._documentation}\n# TYPE {self._name} gauge\n"
        return head + "\n".join(lines) + "\n"


class ReadingGauges:
    """The gauges, and how many streams have none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register everything."""
        self.value = RenderedGauge("riskladder_reading", "The last reading that counted, by stream.", registry)
        self.observed = RenderedGauge(
            "riskladder_reading_observed_timestamp_seconds", "When it was observed, in Unix time.", registry
        )
        self.not_exported = Gauge(
            "riskladder_readings_not_exported",
            "Streams of readings that have no gauge, since there are too many.",
            registry=registry,
        )
        self._parsed: dict[str, tuple[bytes, Sequence[tuple[Labels, _Newest]]]] = {}
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

    async def refresh(self, found: Iterable[StoredStatus]) -> None:
        """Show what these signals say, and nothing of those that are gone."""
        parsed: dict[str, tuple[bytes, Sequence[tuple[Labels, _Newest]]]] = {}
        newest: dict[Labels, _Newest] = {}
        for number, stored in enumerate(found, start=1):
            before = self._parsed.get(stored.uid)
            known = before is not None and before[0] == stored.status
            streams = before[1] if known and before is not None else tuple(_streams(stored))
            parsed[stored.uid] = (stored.status, streams)
            for labels, reading in streams:
                if labels not in newest or newest[labels].order < reading.order:
                    newest[labels] = reading
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._parsed = parsed
        await self._render(newest)

    async def _render(self, newest: dict[Labels, _Newest]) -> None:
        most = MAX_SERIES // 2
        chosen = [labels for labels in self._exported if labels in newest]  # those that are there stay
        chosen += [labels for labels in newest if labels not in self._exported]
        self._say_left_out(len(newest), max(len(chosen) - most, 0))
        self._exported = dict.fromkeys(chosen[:most])
        values, times = [], []
        for number, labels in enumerate(self._exported, start=1):
            text, reading = _rendered(labels), newest[labels]
            values.append(f"{text} {reading.value!r}")
            times.append(f"{text} {reading.observed_at.timestamp()!r}")
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._text = (self.value.render(values) + self.observed.render(times)).encode()

    def _say_left_out(self, streams: int, number: int) -> None:
        if number and not self.not_exported._value.get():
            log.warning("readings not exported", streams=streams, not_exported=number, reason=f"{MAX_SERIES} series")
        self.not_exported.set(number)


def _streams(stored: StoredStatus) -> Iterator[tuple[Labels, _Newest]]:
    """Yield the streams of which a signal holds a reading; none of a drill, which is no measurement to go by."""
    try:
        status: Any = json.loads(stored.status)
        about = status["countedFor"]
        if about.get("drill"):
            return
        head = (stored.namespace, about["ladder"], f"{about['kind']}/{about['name']}", about["source"])
        for observed in status.get("observed") or ():
            at = datetime.fromisoformat(observed["observedAt"])
            received = observed.get("receivedAt")
            order = (datetime.fromisoformat(received) if received else at, at)
            yield (*head, observed["indicator"]), _Newest(order, float(observed["value"]), at)
    except (ValueError, TypeError, KeyError, AttributeError):  # of another version, or not judged yet
        return


def _rendered(labels: Labels) -> str:
    """Return label values in the text format, escaped."""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(LABELS, labels, strict=True))
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
