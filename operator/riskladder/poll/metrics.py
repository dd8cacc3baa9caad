"""Prometheus metrics of `riskladder poll`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from riskladder.reporting.bindings import Binding


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register everything."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.queries = Counter(
            "riskladder_poll_queries_total",
            "Queries, by binding and result: answered or failed.",
            ["namespace", "binding", "result"],
            registry=self.registry,
        )
        self.readings = Counter(
            "riskladder_poll_readings_total",
            "What became of the samples, by binding and verdict.",
            ["namespace", "binding", "verdict"],
            registry=self.registry,
        )
        self.leading = Gauge("riskladder_poll_leading", "1 while this replica asks.", registry=self.registry)
        self.writes = Counter(
            "riskladder_api_requests_total",
            "Requests to the API server, by verb, resource and result.",
            ["verb", "resource", "result"],
            registry=self.registry,
        )

    def observe_request(self, verb: str, resource: str, result: str) -> None:
        """Count a request to the API server."""
        self.writes.labels(verb, resource, result).inc()

    def asked(self, binding: Binding, verdicts: Iterable[Mapping[str, Any]]) -> None:
        """Count an answer."""
        self.queries.labels(binding.namespace, binding.name, "answered").inc()
        for verdict in verdicts:
            self.readings.labels(binding.namespace, binding.name, verdict["verdict"]).inc()

    def failed(self, binding: Binding) -> None:
        """Count a query without an answer that can be used."""
        self.queries.labels(binding.namespace, binding.name, "failed").inc()
