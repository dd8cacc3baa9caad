"""The API server's clock: estimated from what every response says, whatever the latency."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.cluster.server_clock import ENOUGH, SAMPLES, TOLERANCE, ServerClock

EPOCH = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()


class Network:
    """An API server with the right time, and an operator whose clock a test sets."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.ahead = 0.0
        self.clock = ServerClock(wall=lambda: EPOCH + self.elapsed + self.ahead, monotonic=lambda: self.elapsed)

    def respond(self, *, request: float = 0.0, response: float = 0.0) -> None:
        """One request: so many seconds to the server, and so many back."""
        sent = self.clock.now()
        self.elapsed += request
        date = datetime.fromtimestamp(EPOCH + self.elapsed, UTC)
        self.elapsed += response
        self.clock.note(format_datetime(date.replace(microsecond=0), usegmt=True), sent)


@pytest.fixture
def network() -> Network:
    return Network()


def test_clock_that_agrees_has_no_error(network: Network) -> None:
    for _ in range(SAMPLES):
        network.respond(request=0.004, response=0.004)
    assert network.clock.skew == 0.0
    assert network.clock.error() == timedelta()


@pytest.mark.parametrize("ahead", [45.0, -45.0, 7200.0, -7200.0])
def test_clock_that_is_wrong_is_wrong_by_so_much(network: Network, ahead: float) -> None:
    network.ahead = ahead
    for _ in range(ENOUGH):
        network.respond(request=0.01, response=0.01)
    assert abs(network.clock.error().total_seconds() - ahead) <= 1.1


def test_nothing_is_said_without_enough_responses(network: Network) -> None:
    network.ahead = 3600
    for _ in range(ENOUGH - 1):
        network.respond()
    assert network.clock.error() == timedelta()


def test_jump_shows_before_the_next_response_and_ends_with_it(network: Network) -> None:
    for _ in range(SAMPLES):
        network.respond()
    network.ahead = 120
    assert network.clock.error() > timedelta(seconds=100)
    network.ahead = 0
    assert network.clock.error() == timedelta()


def test_clock_near_the_limit_does_not_flap(network: Network) -> None:
    for _ in range(SAMPLES):
        network.respond()
    network.ahead = TOLERANCE + 2
    assert network.clock.error()
    network.ahead = TOLERANCE - 2
    assert network.clock.error()
    network.ahead = 10
    assert not network.clock.error()


def test_one_response_of_an_api_server_that_is_wrong_changes_nothing(network: Network) -> None:
    for _ in range(SAMPLES - 1):
        network.respond()
    network.clock.note("Tue, 24 Nov 2020 12:00:00 GMT", network.clock.now())
    assert network.clock.error() == timedelta()


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 99 Nov 2026 12:00:00 GMT"])
def test_header_that_is_no_date_is_ignored(network: Network, date: str | None) -> None:
    for _ in range(ENOUGH):
        network.clock.note(date, 0.0)
    assert network.clock.skew == 0.0


@given(
    st.floats(-TOLERANCE, TOLERANCE),
    st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), min_size=ENOUGH, max_size=2 * SAMPLES),
)
def test_no_latency_makes_a_clock_wrong_that_is_not(ahead: float, latencies: list[tuple[float, float]]) -> None:
    network = Network()
    network.ahead = ahead
    for request, response in latencies:
        network.respond(request=request, response=response)
    assert network.clock.error() == timedelta()


@given(st.floats(TOLERANCE + 8, 1e6) | st.floats(-1e6, -TOLERANCE - 8), st.floats(0, 3), st.floats(0, 3))
def test_every_clock_that_is_wrong_is_found(ahead: float, request: float, response: float) -> None:
    network = Network()
    network.ahead = ahead
    for _ in range(ENOUGH):
        network.respond(request=request, response=response)
    assert abs(network.clock.error().total_seconds() - ahead) <= 8
