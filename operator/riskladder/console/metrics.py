"""Prometheus metrics of `riskladder console`. No label has anything of a person, a model or a cluster."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from riskladder.api.decision import DecisionAction

ELSEWHERE = "none"
"""What a request asks for that no page takes."""


class SignIn(StrEnum):
    """What became of an attempt to sign in."""

    ACCEPTED = "accepted"
    MALFORMED = "malformed"
    """What was pasted is no token."""
    NOT_KNOWN = "not-known"
    """The API server does not accept the credential."""
    NOT_BEGUN = "not-begun"
    """It was not begun in this browser, or too long ago."""
    PROVIDER = "provider"
    """The provider refused it, could not be reached, or has sent what is not to be believed."""
    UNNAMED = "unnamed"
    """The provider says nothing that could be a name in the cluster."""
    LINK = "link"
    """The link that signs in whoever runs the console was used already, or is another one."""


class Answer(StrEnum):
    """What became of a decision that somebody has sent."""

    COUNTED = "counted"
    REFUSED = "refused"
    """The operator does not count it."""
    UNANSWERED = "unanswered"
    """It is stored, and the operator has not judged it in time for the page."""
    FORBIDDEN = "forbidden"
    """The API server or an admission policy did not take it."""
    FAILED = "failed"
    """The API server did not answer, and did not store it."""
    STALE = "stale"
    """It was not sent: something that may change it has happened meanwhile."""
    UNFIT = "unfit"
    """It was not sent: something is missing in the form, or wrong."""


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register everything."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "riskladder_console_requests_total",
            "Requests that were answered, by page and class of the HTTP status.",
            ["page", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "riskladder_console_request_seconds",
            "Time to answer a request, streams of changes left out.",
            ["page"],
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self.sign_ins = Counter(
            "riskladder_console_sign_ins_total",
            "Attempts to sign in, by way and result.",
            ["way", "result"],
            registry=self.registry,
        )
        self.decisions = Counter(
            "riskladder_console_decisions_total",
            "Decisions that were sent by a form, by action and what became of them.",
            ["action", "answer"],
            registry=self.registry,
        )
        for action in DecisionAction:  # there before the first event, which `increase` would not see otherwise
            for answer in Answer:
                self.decisions.labels(str(action), str(answer))
        self.streams = Gauge(
            "riskladder_console_streams", "Pages that follow what happens at this moment.", registry=self.registry
        )

    def answered(self, page: str, status: int, seconds: float | None) -> None:
        """Count an answer.

        Args:
            page: Path of the route, with the names of its parameters in place of their values.
            status: Of HTTP.
            seconds: How long it took; ``None`` where that says nothing.
        """
        self.requests.labels(page, f"{status // 100}xx").inc()
        if seconds is not None:
            self.seconds.labels(page).observe(seconds)

    def signed_in(self, way: str, result: SignIn) -> None:
        """Count an attempt to sign in, by ``token``, ``openid`` or ``link``."""
        self.sign_ins.labels(way, str(result)).inc()

    def decided(self, action: DecisionAction, answer: Answer) -> None:
        """Count a decision."""
        self.decisions.labels(str(action), str(answer)).inc()
