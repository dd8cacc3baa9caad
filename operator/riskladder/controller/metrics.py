"""Prometheus metrics of the operator. Names follow the Prometheus conventions: base units, ``_total`` for counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from riskladder.api.tiers import ContainmentAction
from riskladder.cluster import definitions
from riskladder.cluster.policies import State
from riskladder.controller.governance_gauges import GovernanceGauges
from riskladder.controller.reading_gauges import ReadingGauges
from riskladder.policy.plan import EscalationUpdate

MINUTE, HOUR, DAY = 60, 3600, 86400

STAGES = ("intent", "applied", "endpoints_empty", "pods_gone")
"""The stages of a containment."""


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
        for stage in STAGES:  # each series is there before its first event, which `increase` would not see otherwise
            for action in ContainmentAction:
                self.containment.labels(stage, str(action))
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
        self.unusable = Gauge(
            "riskladder_unusable_signals",
            "Signals that report something beyond a threshold, or of an unknown indicator, and cannot be used.",
            ["namespace", "ladder", "reason"],
            registry=self.registry,
        )
        self.readings = ReadingGauges(self.registry)
        self.governance = GovernanceGauges(self.registry)
        self.withheld = Gauge(
            "riskladder_withheld_containments",
            "Containments that wait for a decision or their deadline because of the blast radius of the ladder.",
            ["namespace", "ladder"],
            registry=self.registry,
        )
        self.watch_age = Gauge(
            "riskladder_watch_age_seconds",
            "Time since anything was heard of a resource.",
            ["resource"],
            registry=self.registry,
        )
        self.clock_skew = Gauge(
            "riskladder_clock_skew_seconds",
            "How far the operator's clock is ahead of the API server's (negative: behind), less what latency explains.",
            registry=self.registry,
        )
        self.leading = Gauge("riskladder_leading", "1 while this replica leads.", registry=self.registry)
        self.policies = Gauge(
            "riskladder_policies",
            "Admission policies, by how each stands: 1 for InForce, Missing, Altered, NotInstalled or Unknown.",
            ["name", "state"],
            registry=self.registry,
        )
        self.custom_resources = Gauge(
            "riskladder_custom_resources",
            "CustomResourceDefinitions, by how each stands: 1 for Current, Missing, Outdated, Newer, Altered, Unknown.",
            ["name", "state"],
            registry=self.registry,
        )
        self.drift = Counter(
            "riskladder_containment_reverted_total",
            "Containments that somebody reverted and that were re-applied.",
            ["field_manager"],
            registry=self.registry,
        )

        self.refused = Counter(
            "riskladder_refused_writes_total",
            "Writes that the API server refused though nothing had changed, by what was to be written.",
            ["on"],
            registry=self.registry,
        )
        self.response = Histogram(
            "riskladder_response_seconds",
            "Time from entering the rung (contain: from the intent; resume: from the decision) to each response of "
            "people: notify, acknowledge, decide, contain, resume.",
            ["stage", "namespace", "ladder", "tier", "role", "drill"],
            buckets=(1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 4 * HOUR, DAY, 3 * DAY, 7 * DAY),
            registry=self.registry,
        )
        self.trail = Counter(
            "riskladder_trail_total",
            "What went on record, by reason: Reminded, Stalled, Held, DecisionRefused, RiskAcceptanceExpired, ...",
            ["reason", "namespace", "ladder", "tier", "drill"],
            registry=self.registry,
        )
        self.reviews = Counter(
            "riskladder_reviews_total",
            "After-action reviews, by whether the policy was changed because of them.",
            ["namespace", "ladder", "policy_updated"],
            registry=self.registry,
        )
        self.satisfaction = Histogram(
            "riskladder_review_satisfaction",
            "Satisfaction with how an escalation went, from 1 to 5, as its review says.",
            ["namespace", "ladder"],
            buckets=(1, 2, 3, 4, 5),
            registry=self.registry,
        )

    def observe_trail(self, update: EscalationUpdate) -> None:
        """Count what was written of an escalation."""
        escalation, status = update.escalation, update.status
        about = (escalation.namespace, escalation.spec.ladder.name)
        tier, drill = status.tier or "unknown", str(escalation.spec.drill).lower()
        for entry in update.entries:
            self.trail.labels(str(entry.event), *about, tier, drill).inc()
            if entry.measure is not None:
                stage, role, seconds = entry.measure
                self.response.labels(stage, *about, tier, role, drill).observe(max(seconds, 0.0))
        if status.review is not None and escalation.status.review is None:
            self.reviews.labels(*about, str(status.review.policy_updated).lower()).inc()
            self.satisfaction.labels(*about).observe(status.review.satisfaction)

    def text(self) -> bytes:
        """Return what is not in the registry, since its text is made in the background."""
        return self.readings.text() + self.governance.text()

    def stand_by(self) -> None:
        """Show nothing of what the leader alone shows."""
        self.readings.clear()
        self.governance.clear()
        for gauge in (self.policies, self.open_escalations, self.unusable, self.withheld):
            gauge.clear()

    def observe_policy(self, name: str, state: str) -> None:
        """Note how an admission policy stands now."""
        for one in State:
            self.policies.labels(name, str(one)).set(one == state)

    def observe_definition(self, name: str, state: str) -> None:
        """Note how a CustomResourceDefinition stands now."""
        for one in definitions.State:
            self.custom_resources.labels(name, str(one)).set(one == state)

    def observe_request(self, verb: str, resource: str, result: str) -> None:
        """Count one request to the API server."""
        self.writes.labels(verb, resource, result).inc()
