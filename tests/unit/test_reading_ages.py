"""Readings out of their time: too old to count, or ahead of what can have been observed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.conditions import find
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import SignalStatus
from riskladder.controller.caches.reading import received_at
from riskladder.policy.signals.evaluate import evaluate
from riskladder.policy.snapshot import Signal, pin

from .builders import NOW, Scene, at, ladder, signal

SPEC = ladder().spec
assert SPEC is not None
POLICY = pin(SPEC)

LEEWAY = timedelta(seconds=2)


def ready(scene: Scene) -> tuple[str, str, str]:
    found = find(scene.signals[0].status.conditions, ConditionType.READY)
    assert found is not None
    return str(found.status), found.reason, found.message


def reported(before: Signal, when: datetime, **readings: float) -> Signal:
    """The signal with newer readings."""
    return replace(before, spec=signal(at=when, **readings).spec, generation=before.generation + 1)


# --- Too old ----------------------------------------------------------------------------------------------------------


def test_reading_of_last_year_contains_nothing_and_says_why() -> None:
    scene = Scene([signal(at=NOW - timedelta(days=365), bias=0.9)])
    scene.run()
    assert scene.escalations == []
    status, reason, message = ready(scene)
    assert (status, reason) == ("False", Reason.READING_TOO_OLD)
    for part in ("spec.observedAt", "found 2025-11-24T12:00:00Z", "expected bias no older"):
        assert part in message
    assert [str(e.event) for e in scene.entries] == [Reason.READING_TOO_OLD]
    scene.now = at(60 * 24)
    assert scene.run() == []


def test_age_is_that_at_the_first_look() -> None:
    scene = Scene([signal(at=NOW - timedelta(days=6), drift=0.3)])
    scene.run()
    assert len(scene.escalations) == 1
    scene.now = at(60 * 24 * 30)
    scene.run()
    assert ready(scene)[:2] == ("True", Reason.ACCEPTED)
    assert scene.signals[0].status.tier == "moderate"


def test_each_indicator_has_an_age_of_its_own() -> None:
    def durable(spec: dict[str, Any]) -> None:
        spec["indicators"][1]["maxAge"] = "90d"

    scene = Scene([signal(at=NOW - timedelta(days=30), bias=0.9, drift=0.3)], ladders=[ladder(durable)])
    scene.run()
    assert [e.status.tier for e in scene.escalations] == ["moderate"]
    assert "the other readings were used" in ready(scene)[2]


def test_newer_reading_of_the_same_signal_counts() -> None:
    scene = Scene([signal(at=NOW - timedelta(days=365), bias=0.9)])
    scene.run()
    scene.signals = [reported(scene.signals[0], at(1), bias=0.9)]
    scene.now = at(2)
    scene.run()
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


def test_what_a_person_observed_last_year_is_refused_and_stands_once_accepted() -> None:
    scene = Scene([signal("raised", at=NOW - timedelta(days=365), manual="high")])
    scene.run()
    assert scene.escalations == []
    assert ready(scene)[:2] == ("False", Reason.READING_TOO_OLD)

    scene = Scene([signal("raised", at=NOW - timedelta(days=6), manual="moderate")])
    scene.run()
    scene.now = at(60 * 24 * 30)
    scene.run()
    assert ready(scene)[:2] == ("True", Reason.ACCEPTED)


@given(st.timedeltas(timedelta(days=-400), timedelta(days=400)), st.floats(0, 1))
def test_nothing_too_old_is_ever_counted(age: timedelta, value: float) -> None:
    found = signal(at=NOW - age, bias=value)
    verdict = evaluate(POLICY, [found], NOW)[found.uid]
    if age > timedelta(days=7):
        assert (verdict.usable, verdict.tier, verdict.observed) == (False, "", ())


# --- Ahead ------------------------------------------------------------------------------------------------------------


def test_monitor_whose_clock_is_ahead_overrides_no_resume() -> None:
    scene = Scene([signal(at=at(4), bias=0.3)])
    scene.run()
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    scene.now = at(2)
    scene.decide("Resume", "legal")
    for minute in range(3, 12):
        scene.now = at(minute)
        scene.run()
        assert scene.target is not None
        assert scene.target.replicas == 3
    assert len(scene.escalation.intents) == 1


def test_reading_after_the_resume_contains_again() -> None:
    scene = Scene([signal(at=at(4), bias=0.3)])
    scene.run()
    scene.now = at(2)
    scene.decide("Resume", "legal")
    scene.signals = [reported(scene.signals[0], at(7), bias=0.4)]
    scene.now = at(3)
    scene.run()
    assert scene.target is not None
    assert scene.target.replicas == 0


def test_time_of_reception_survives_an_operator_that_has_seen_nothing() -> None:
    early = replace(signal(at=at(4), bias=0.3), received_at=NOW)
    verdict = evaluate(POLICY, [early], at(30))[early.uid]
    assert verdict.observed[0].at == at(seconds=1)
    assert verdict.observed[0].observed_at == at(4)


@pytest.mark.parametrize("ahead", [4, 60, 60 * 24 * 30])
def test_person_who_gives_a_date_ahead_overrides_no_resume(ahead: int) -> None:
    scene = Scene([signal("raised", at=at(ahead), manual="high")])
    scene.run()
    assert scene.target is not None
    assert scene.target.replicas == 0
    scene.now = at(2)
    assert scene.verdict(scene.decide("Resume", "legal")) == ("True", Reason.QUORUM_MET)
    for minute in (3, 60, 60 * 24 * 31):
        scene.now = at(minute)
        scene.run()
        assert scene.target.replicas == 3


def test_reading_ahead_does_not_outrank_what_another_object_reports_later() -> None:
    ahead = signal("first", at=at(4), bias=0.0)
    scene = Scene([ahead])
    scene.run()
    scene.now = at(2)
    scene.signals = [*scene.signals, signal("second", at=at(2), bias=0.3)]
    scene.run()
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


@given(st.lists(st.tuples(st.integers(-240, 240), st.floats(0, 1)), min_size=1, max_size=8))
def test_last_received_of_clocks_that_are_ahead_is_what_counts(reports: list[tuple[int, float]]) -> None:
    """Each object is one report, a minute after the one before, from a clock that is so many seconds off."""
    signals: list[Signal] = []
    last = NOW - timedelta(hours=1)
    for number, (skew, value) in enumerate(reports):
        now = at(number)
        stated = now + timedelta(seconds=skew)
        signals.append(signal(f"r{number}", at=stated, bias=value))
        verdicts = evaluate(POLICY, signals, now)
        signals = [
            replace(s, status=s.status.model_copy(update={"observed": verdicts[s.uid].observed})) for s in signals
        ]
        if min(stated, now + LEEWAY) > last:
            last = min(stated, now + LEEWAY)
            assert [o.value for o in verdicts[f"r{number}-uid"].observed] == [value]
        for verdict in verdicts.values():
            assert all(o.at <= now + LEEWAY for o in verdict.observed)


def test_when_a_signal_was_received_is_what_managed_fields_say_of_its_time() -> None:
    def entry(time: str, *fields: str) -> dict[str, Any]:
        return {"manager": "m", "time": time, "fieldsV1": {"f:spec": {name: {} for name in fields}}}

    entries = [
        entry("2026-11-24T12:00:00Z", "f:observedAt"),
        entry("2026-11-24T12:05:00Z", "f:observedAt", "f:readings"),
        entry("2026-11-24T12:09:00Z", "f:model"),
        {"manager": "riskladder", "time": "2026-11-24T12:10:00Z", "fieldsV1": {"f:status": {}}},
    ]
    assert received_at({"managedFields": entries}) == at(5)
    assert received_at({}) is None


def test_later_reading_clears_what_a_clock_that_was_ahead_has_opened() -> None:
    by = ladder(lambda spec: spec["tiers"][0].update(closesWhen={"cleared": True}))
    scene = Scene([signal(at=at(4), drift=0.3)], ladders=[by])
    scene.run()
    assert scene.escalation.status.tier == "moderate"
    scene.now = at(1)
    scene.signals = [*scene.signals, signal("second", at=at(1), drift=0.0)]
    scene.run()
    assert not scene.escalation.is_open


# --- Ahead, in the order in which the API server stores ---------------------------------------------------------------

SECONDS = st.floats(0.2, 90, allow_nan=False)
AHEAD = st.floats(0, 290, allow_nan=False)


def stored_at(when: datetime) -> datetime:
    """Return what managed fields keep of a time: the second."""
    return when.replace(microsecond=0)


@given(
    st.lists(st.tuples(SECONDS, st.none() | AHEAD, st.booleans()), min_size=1, max_size=8), st.booleans(), st.booleans()
)
def test_reading_ahead_outranks_nothing_that_is_measured_later(
    reports: list[tuple[float, float | None, bool]], one_object: bool, is_known: bool
) -> None:
    """Each report comes so long after the one before, from a clock that is right, or so far ahead: the last one counts.

    That holds for one object that is updated and for one object for each, and whether or not the time of reception is
    known to the second.
    """
    now, signals, seen = NOW, list[Signal](), set[datetime]()
    for number, (later, ahead, is_beyond) in enumerate(reports):
        now += timedelta(seconds=later)
        if ahead is not None and not is_known:
            ahead += (
                LEEWAY.total_seconds() + 1
            )  # what is less ahead than that is not distinguished from a clock that is right
        stated = now + timedelta(seconds=ahead or 0)
        if stated in seen:
            continue  # a reading counts once for each time
        seen.add(stated)
        fresh = signal(f"r{number}", at=stated, bias=0.5 if is_beyond else 0.0)
        fresh = replace(fresh, received_at=stored_at(now) if is_known else None)
        if one_object:
            status = signals[0].status if signals else fresh.status
            signals = [replace(fresh, name="one", uid="one-uid", status=status)]
        else:
            signals.append(fresh)
        verdicts = evaluate(POLICY, signals, now)
        signals = [
            replace(s, status=SignalStatus(observed=verdicts[s.uid].observed, breaches=verdicts[s.uid].breaches))
            for s in signals
        ]
        last = verdicts[signals[-1].uid]
        assert (last.usable, last.tier) == (True, "high" if is_beyond else "")
        assert {verdict.tier for verdict in verdicts.values()} <= {last.tier, ""}
        again = evaluate(POLICY, signals, now)
        assert {uid: (v.usable, v.tier, v.observed) for uid, v in again.items()} == {
            uid: (v.usable, v.tier, v.observed) for uid, v in verdicts.items()
        }


@given(AHEAD, st.floats(3, 600), st.lists(st.floats(1, 3600), max_size=4), st.booleans())
def test_reading_ahead_overrides_no_resume(
    ahead: float, until_resumed: float, looks: list[float], is_manual: bool
) -> None:
    document: dict[str, Any] = {"manual": "high"} if is_manual else {"bias": 0.3}
    scene = Scene([replace(signal(at=NOW + timedelta(seconds=ahead), **document), received_at=NOW)])
    scene.run()
    assert scene.target is not None
    assert scene.target.replicas == 0
    scene.now = NOW + timedelta(seconds=until_resumed)
    assert scene.verdict(scene.decide("Resume", "legal")) == ("True", Reason.QUORUM_MET)
    for later in looks:
        scene.now += timedelta(seconds=later)
        scene.run()
        assert scene.target.replicas == 3


def test_late_report_of_something_older_stays_out_of_order_behind_a_reading_ahead() -> None:
    first = signal("one", at=at(4), bias=0.0)
    verdict = evaluate(POLICY, [first], NOW)[first.uid]
    first = replace(first, status=SignalStatus(observed=verdict.observed))
    late = signal("late", at=NOW - timedelta(seconds=10), bias=0.3)
    found = evaluate(POLICY, [first, late], at(1))["late-uid"]
    assert (found.usable, found.reason) == (False, Reason.OUT_OF_ORDER)
