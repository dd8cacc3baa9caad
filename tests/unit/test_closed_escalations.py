"""Closed escalations of a target are kept one by one up to a bound; what decisions need of older ones stays."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from riskladder.controller.caches.closed import MAX_CLOSED, ClosedEscalations
from riskladder.controller.caches.entries import ClosedEntry
from riskladder.policy.snapshot import Handled, latest
from tests.unit.builders import NOW


def entry(number: int, ladder: str = "credit") -> ClosedEntry:
    at = NOW + timedelta(seconds=number)
    handled = (Handled(ladder, f"tier-{number % 3}", at, closed=True),) if number % 2 else ()
    return ClosedEntry(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", f"scorer-{number}", ladder, False, handled, frozenset({f"h{number}"})
    )


@given(st.integers(0, 3 * MAX_CLOSED), st.randoms(use_true_random=False))
def test_nothing_that_decides_is_lost_in_whatever_order_they_are_listed(number: int, shuffle: object) -> None:
    entries = {f"uid-{n:04d}": entry(n) for n in range(number)}
    order = list(entries)
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    closed = ClosedEscalations()
    for uid in (*order, *order):  # listed again now and then
        closed.put(uid, entries[uid])
    assert len(closed) == min(number, MAX_CLOSED)
    assert closed.names == {e.name for e in entries.values()}
    assert closed.breached == {f"h{n}" for n in range(number)}
    assert closed.handled == latest(one for e in entries.values() for one in e.handled)
    if number:
        assert closed.last("scorer", "target-uid") == {"credit": f"uid-{number - 1:04d}"}


def test_what_is_asked_for_at_every_look_is_not_computed_again() -> None:
    closed = ClosedEscalations()
    for number in range(1000):
        closed.put(f"uid-{number}", entry(number))
    assert closed.names is closed.names
    assert closed.breached is closed.breached
    assert closed.handled is closed.handled


def test_deleted_one_is_forgotten_by_name() -> None:
    closed = ClosedEscalations()
    closed.put("a", entry(1))
    closed.remove("a")
    assert not closed
    assert (closed.names, closed.breached, closed.handled) == (frozenset(), frozenset(), ())


def test_last_one_of_a_quiet_ladder_outlasts_a_flapping_one_and_its_drills() -> None:
    """The name of its next escalation is made from it: without it, that would meet the first one's name again."""
    closed = ClosedEscalations()
    closed.put("quiet", entry(0, "privacy"))
    for number in range(1, 3 * MAX_CLOSED):
        closed.put(f"flaps-{number:04d}", entry(number))
        closed.put(f"drill-{number:04d}", entry(1000 + number, "privacy")._replace(drill=True))
    assert closed.last("scorer", "target-uid")["privacy"] == "quiet"
    assert len(closed) == 1 + 2 * MAX_CLOSED
