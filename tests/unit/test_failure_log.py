"""A failure that goes on is logged when it begins, when it changes, and every half a minute: not at every try."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from riskladder.cluster.failure_log import LOG_EVERY, MOST_KNOWN, FailureLog

ERRORS = ("timed out", "connection refused by 127.0.0.1 port {}", "leases.coordination.k8s.io is forbidden")


@given(
    tries=st.lists(st.tuples(st.floats(0.01, 40), st.sampled_from(ERRORS)), min_size=1, max_size=200),
)
def test_no_failure_is_logged_twice_within_half_a_minute_and_each_new_one_at_once(
    tries: list[tuple[float, str]],
) -> None:
    now, last = 0.0, dict[str, float]()
    failures = FailureLog("lease", clock=lambda: now)
    for number, (after, error) in enumerate(tries):
        now += after
        with capture_logs() as lines:
            failures.failed(error.format(number), lease="riskladder")
        is_due = error not in last or now - last[error] >= LOG_EVERY
        assert [line["event"] for line in lines] == ["lease"] * is_due
        if is_due:
            last[error] = now
            assert lines[0]["error"] == error.format(number)


def test_what_was_kept_back_is_counted_and_the_end_is_logged() -> None:
    now = 0.0
    failures = FailureLog("lease", clock=lambda: now)
    with capture_logs() as lines:
        failures.succeeded()
        for _ in range(120):
            failures.failed("timed out")
            now += 0.25
        failures.failed("timed out")
        failures.succeeded()
        failures.failed("timed out")
    assert [(line["event"], line.get("not_logged")) for line in lines] == [
        ("lease", None),
        ("lease", 119),
        ("lease works again", None),
        ("lease", None),
    ]


def test_failures_that_all_differ_are_not_kept_for_ever() -> None:
    failures = FailureLog("lease", clock=lambda: 0.0)
    for letter in "abcdefghijklmnop":
        failures.failed(letter)
    assert len(failures._logged) == MOST_KNOWN
