"""Prometheus metrics of the operator. Names follow the Prometheus conventions: base units, ``_total`` for counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

STAGES = ("intent", "applied", "endpoints_empty", "pods_gone")
"""Stages of a containment, each measured from the moment the operator saw the breach."""


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register everything."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.containment = Histogram(
            "riskladder_containment_seconds",
            "Time from seeing a breach to each stage of its containment.",
            ["stage", "action"],
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120),
            registry=self.registry,
        )
        self.writes = Counter(
            "riskladder_api_requests_total",
            "Requests to the API server, by verb, resource and result.",
            ["verb", "resource", "result"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "riskladder_queue_depth", "Keys in the work queue, by state.", ["state"], registry=self.registry
        )
        self.queue_age = Gauge(
            "riskladder_queue_oldest_seconds", "How long the oldest waiting key has waited.", registry=self.registry
        )
        self.open_escalations = Gauge(
            "riskladder_open_escalations",
            "Open escalations, by ladder and tier.",
            ["namespace", "ladder", "tier"],
            registry=self.registry,
        )
        self.watch_age = Gauge(
            "riskladder_watch_age_seconds",
            "Time since anything was heard of a resource.",
            ["resource"],
            registry=self.registry,
        )
        self.leading = Gauge("riskladder_leading", "1 while this replica leads.", registry=self.registry)
        self.undone = Counter(
            "riskladder_containment_undone_total",
            "Containments that somebody undid and that were put right.",
            ["field_manager"],
            registry=self.registry,
        )

    def observe_request(self, verb: str, resource: str, result: str) -> None:
        """Count one request to the API server."""
        self.writes.labels(verb, resource, result).inc()
