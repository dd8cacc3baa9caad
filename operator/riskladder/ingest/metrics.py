"""Prometheus metrics of `riskladder ingest`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from riskladder.reporting.bindings import Binding


class Metrics:
    """All metrics, in a registry of their own. Labels come from bindings that exist, never from a request."""

    def __init__(self) -> None:
        """Register everything."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "riskladder_ingest_requests_total", "Requests, by HTTP status.", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "riskladder_ingest_request_seconds",
            "Time from the first byte of a request to its answer.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self.readings = Counter(
            "riskladder_ingest_readings_total",
            "What became of what was sent, by binding and verdict.",
            ["namespace", "binding", "verdict"],
            registry=self.registry,
        )
        self.unproved = Counter(
            "riskladder_ingest_unproved_total", "Requests whose sender did not prove itself.", registry=self.registry
        )
        self.writes = Counter(
            "riskladder_api_requests_total",
            "Requests to the API server, by verb, resource and result.",
            ["verb", "resource", "result"],
            registry=self.registry,
        )

    def observe_request(self, verb: str, resource: str, result: str) -> None:
        """Count a request to the API server."""
        self.writes.labels(verb, resource, result).inc()

    def observe(self, binding: Binding, status: int, seconds: float, verdicts: Iterable[Mapping[str, Any]]) -> None:
        """Count a payload of a proved sender."""
        self.answered(status, seconds)
        for verdict in verdicts:
            self.readings.labels(binding.namespace, binding.name, verdict["verdict"]).inc()

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests.labels(str(status)).inc()
        self.seconds.observe(seconds)
