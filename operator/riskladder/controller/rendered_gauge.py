"""Gauges of which there may be tens of thousands, made into text by whoever has the time for it.

The client library takes a quarter of a second for so many, in which the event loop would contain nothing. So the text
is made in slices, in the background, and a scrape sends what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

SLICE = 64
"""Objects, or samples, between which the event loop gets its turn."""


class RenderedGauge(Collector):
    """Reserves a name in the registry, and collects nothing: its text is made elsewhere."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        """Register the name."""
        self._name, self._documentation, self._labelnames = name, documentation, tuple(labels)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the family."""
        return [GaugeMetricFamily(self._name, self._documentation, labels=self._labelnames)]

    def collect(self) -> Iterable[Metric]:
        """Return nothing."""
        return ()

    def add(self, text: bytearray, values: Sequence[str], number: float) -> None:
        """Add a sample to the family in the text format of Prometheus, the label values escaped.

        Raises:
            ValueError: There are more or fewer values than labels.
        """
        if not text:
            text += f"# HELP {self._name} {self._documentation}\n# TYPE {self._name} gauge\n".encode()
        pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(self._labelnames, values, strict=True))
        text += f"{self._name}{{{','.join(pairs)}}} {number!r}\n".encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
