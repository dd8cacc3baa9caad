"""A stream is one indicator from one source about one target under one ladder, whatever objects carry it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.conditions import find
from riskladder.api.escalation import MAX_STREAMS
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import LastKnownGood, SignalStatus
from riskladder.policy.snapshot import Signal

from .builders import NOW, Document, Scene, at, ladder, signal


def closing(spec: Document) -> None:
    """Tier moderate needs three readings in a row of bias, and closes when all is clear; high is out of reach."""
    spec["tiers"][0]["triggers"][0]["readings"] = 3
    spec["tiers"][0]["closesWhen"] = {"cleared": True}
    spec["tiers"][1]["triggers"] = [{"indicator": "bias", "above": 0.9}]


def opened(*signals: Signal) -> Scene:
    """An escalation in tier moderate, by what these signals read."""
    scene = Scene(list(signals), ladders=[ladder(closing)])
    scene.run()
    assert scene.escalation.status.tier == "moderate"
    return scene


def report(scene: Scene, when: datetime, name: str = "fairness", **document: Any) -> Signal:
    """A signal of that name reads again; created where there is none. It is looked at."""
    before = next((s for s in scene.signals if s.name == name), None)
    fresh = signal(name, at=when, **document)
    if before is not None:
        fresh = replace(fresh, uid=before.uid, status=before.status, generation=before.generation + 1)
    scene.signals = [*(s for s in scene.signals if s.name != name), fresh]
    scene.now = max(when, scene.now)
    scene.run()
    return next(s for s in scene.signals if s.name == name)


def delete(scene: Scene, name: str = "fairness") -> None:
    scene.signals = [s for s in scene.signals if s.name != name]


def recreate(scene: Scene, when: datetime, name: str = "fairness", **document: Any) -> Signal:
    """The object is deleted and created again under the same name, as another one, before anybody looks."""
    delete(scene, name)
    scene.signals = [*scene.signals, replace(signal(name, at=when, **document), uid=f"{name}-{when.isoformat()}")]
    scene.now = max(when, scene.now)
    scene.run()
    return next(s for s in scene.signals if s.name == name)


def ready(found: Signal) -> str:
    condition = find(found.status.conditions, ConditionType.READY)
    assert condition is not None
    return condition.reason


def count(found: Signal, tier: str = "moderate", indicator: str = "bias") -> int:
    return sum(b.readings for b in found.status.breaches if (b.tier, b.indicator) == (tier, indicator))


# --- Turned to something else -----------------------------------------------------------------------------------------


def elsewhere(**changes: Any) -> SignalStatus:
    """The status of a signal that has read two breaches of something else."""
    scene = Scene([signal(bias=0.15)])
    scene.run()
    status = scene.signals[0].status.model_copy(update={"last_known_good": LastKnownGood(digest="hash1", since=NOW)})
    assert status.counted_for is not None
    return status.model_copy(update={"counted_for": status.counted_for.model_copy(update=changes)})


@pytest.mark.parametrize(
    "changes",
    [{"name": "blue"}, {"kind": "StatefulSet"}, {"ladder": "privacy"}, {"source": "drift-monitor"}, {"drill": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_signal_that_is_turned_to_something_else_carries_nothing_along(changes: dict[str, Any]) -> None:
    turned = signal(at=at(1), bias=0.15, status=elsewhere(**changes), generation=2)
    scene = Scene([replace(turned, computed=elsewhere(**changes))])
    scene.now = at(2)
    scene.run()
    found = scene.signals[0]
    assert (count(found), found.status.tier, scene.escalations) == (1, "baseline", [])
    assert found.status.since == at(2)
    assert found.status.last_known_good is None
    assert {c.last_transition_time for c in found.status.conditions} == {at(2)}
    # An older reading is out of order for nobody but its own stream.
    older = Scene([signal(at=at(-60), bias=0.3, status=elsewhere(**changes), generation=2)])
    older.run()
    assert older.signals[0].status.tier == "high"


def test_signal_that_is_changed_in_any_other_way_carries_on() -> None:
    scene = Scene([signal(bias=0.15)])
    scene.run()
    assert count(report(scene, at(1), bias=0.15)) == 2


def test_status_of_an_older_operator_is_taken_for_what_the_signal_says() -> None:
    scene = Scene([signal(bias=0.15)])
    scene.run()
    old = scene.signals[0].status.model_copy(update={"counted_for": None})
    scene.signals = [replace(scene.signals[0], status=old)]
    assert count(report(scene, at(1), bias=0.15)) == 2


# --- Deleted, while an escalation is open -----------------------------------------------------------------------------


def test_deletion_of_what_holds_an_escalation_open_closes_nothing_and_is_on_record() -> None:
    scene = opened(signal(drift=0.3), signal("other", source="other", bias=0.01))
    delete(scene)
    scene.now = at(5)
    scene.run()
    [entry] = [e for e in scene.entries if e.event is Reason.SIGNAL_WITHDRAWN]
    assert entry.recorded
    assert entry.detail["signal"] == "fairness"
    assert (entry.detail["source"], entry.detail["indicator"], entry.detail["value"]) == ("monitor", "drift", "0.3")
    assert "drift of source monitor" in entry.message
    scene.now = at(60 * 24 * 30)
    scene.run()
    assert scene.escalation.is_open
    assert [e.event for e in scene.entries].count(Reason.SIGNAL_WITHDRAWN) == 1
    # Nor does what another source says of the same indicator.
    report(scene, at(60 * 24 * 30 + 1), "other", source="other", drift=0.01, bias=0.01)
    assert scene.escalation.is_open
    # But what its own source says does, under whatever name.
    report(scene, at(60 * 24 * 30 + 2), "again", drift=0.01)
    assert not scene.escalation.is_open


def test_deletion_of_what_has_gone_silent_closes_nothing() -> None:
    """Silence has opened the escalation; that nobody reports at all any more does not end it."""
    scene = Scene([signal(bias=0.01)], ladders=[ladder(closing)])
    scene.run()
    scene.now = at(60 * 24)
    scene.run()
    assert scene.escalation.status.tier == "moderate"
    delete(scene)
    report(scene, at(60 * 24 + 1), "other", source="other", bias=0.01)
    report(scene, at(60 * 24 + 2), "other", source="other", bias=0.01)
    assert scene.escalation.is_open
    assert scene.events().count(Reason.SIGNAL_WITHDRAWN) == 1
    report(scene, at(60 * 24 + 3), bias=0.01)
    assert not scene.escalation.is_open


def test_deletion_of_what_joined_later_closes_nothing() -> None:
    scene = opened(signal(drift=0.3))
    report(scene, at(1), "second", source="second", drift=0.4)
    delete(scene, "second")
    report(scene, at(2), drift=0.01)
    assert scene.escalation.is_open
    assert Reason.SIGNAL_WITHDRAWN in scene.events()
    report(scene, at(3), "second", source="second", drift=0.01)
    assert not scene.escalation.is_open


def test_deletion_of_what_a_person_raised_closes_nothing_and_is_on_record() -> None:
    scene = opened(signal("raised", source="legal", manual="moderate"), signal(bias=0.01))
    delete(scene, "raised")
    scene.now = at(60 * 24)
    scene.run()
    report(scene, at(60 * 24), bias=0.01)
    assert scene.escalation.is_open
    assert scene.events().count(Reason.SIGNAL_WITHDRAWN) == 1


def test_deletion_before_the_first_trail_closes_nothing() -> None:
    """Killed after the escalation was created, the next operator finds no signal of it."""
    scene = Scene([signal(drift=0.3), signal("other", source="other", bias=0.01)], ladders=[ladder(closing)])
    scene.carry_out(scene.plan())
    assert scene.escalation.status.ledger is None
    delete(scene)
    scene.run()
    report(scene, at(60), "other", source="other", bias=0.01, drift=0.01)
    assert scene.escalation.is_open
    assert Reason.SIGNAL_WITHDRAWN in scene.events()


def test_nothing_becomes_known_good_while_what_breached_is_withdrawn() -> None:
    scene = opened(signal(drift=0.3))
    delete(scene)
    found = report(scene, at(1), "other", source="other", bias=0.01)
    assert found.status.last_known_good is None


def test_signal_of_each_reading_may_be_deleted_once_a_newer_one_is_there() -> None:
    scene = opened(signal("one", drift=0.3))
    for minute in range(1, 6):
        report(scene, at(minute), f"n{minute}", drift=0.3)
        scene.signals = [s for s in scene.signals if s.name == f"n{minute}"]
        scene.run()
    assert Reason.SIGNAL_WITHDRAWN not in scene.events()
    report(scene, at(6), "last", drift=0.01)
    assert not scene.escalation.is_open


def test_signals_that_come_and_go_fill_no_chain() -> None:
    scene = opened(signal(drift=0.3))
    for minute in range(1, 40):
        delete(scene)
        scene.now = at(minute)
        scene.run()
        report(scene, at(minute, seconds=30), drift=0.3)
    records = [e for e in scene.entries if e.event is Reason.SIGNAL_WITHDRAWN and e.recorded]
    assert len(records) <= 4


def test_deletion_lets_no_step_of_a_resume_go_by_time_alone() -> None:
    def in_steps(spec: Document) -> None:
        spec["tiers"][1]["resume"] = {"quorum": [{"role": "legal"}], "steps": ["50%", "100%"], "watchFor": "10m"}

    scene = Scene([signal(bias=0.3)], ladders=[ladder(in_steps)])
    scene.run()
    scene.decide("Resume", "legal")
    assert scene.target is not None
    assert scene.target.replicas == 2
    delete(scene)
    scene.now = at(60 * 24)
    scene.run()
    assert scene.target.replicas == 2
    report(scene, at(60 * 24 + 1), bias=0.01)
    assert scene.target.replicas == 3


# --- Deleted, and created again ---------------------------------------------------------------------------------------


def counting() -> Scene:
    """While an escalation is open, bias has breached twice in a row; three confirm."""
    scene = opened(signal("drift", source="drift", drift=0.3))
    report(scene, at(1), bias=0.15)
    assert count(report(scene, at(2), bias=0.15)) == 2
    return scene


def test_signal_that_is_created_again_counts_on() -> None:
    scene = counting()
    assert count(recreate(scene, at(3), bias=0.15)) == 3


def test_older_reading_of_a_signal_that_is_created_again_is_out_of_order() -> None:
    scene = counting()
    found = recreate(scene, at(1, seconds=30), bias=0.01)
    assert ready(found) == Reason.OUT_OF_ORDER
    assert count(report(scene, at(3), bias=0.15)) == 3


def test_same_reading_of_a_signal_that_is_created_again_counts_once() -> None:
    scene = counting()
    found = recreate(scene, at(2), bias=0.15)
    assert (ready(found), count(found)) == (Reason.ACCEPTED, 2)
    assert Reason.SIGNAL_WITHDRAWN not in scene.events()


@given(
    st.lists(
        st.tuples(st.sampled_from(["update", "recreate", "delete first", "other name"]), st.booleans()), max_size=8
    )
)
def test_whatever_objects_carry_a_stream_it_is_counted_the_same(reports: list[tuple[str, bool]]) -> None:
    """Readings of one stream in their order, by objects that are updated, recreated and deleted: as by one object."""
    scene, plain = counting(), counting()
    name = "fairness"
    for number, (how, is_beyond) in enumerate(reports):
        when, value = at(3 + number), 0.15 if is_beyond else 0.01
        expected = report(plain, when, bias=value)
        if how == "recreate":
            found = recreate(scene, when, name, bias=value)
        else:
            if how == "delete first":
                delete(scene, name)
                scene.run()
            if how == "other name":
                delete(scene, name)
                name = f"n{number}"
            found = report(scene, when, name, bias=value)
        assert count(found) == count(expected)
        assert found.status.tier == expected.status.tier
        assert scene.escalation.status.tier == plain.escalation.status.tier


def test_newest_of_several_objects_deleted_leaves_what_the_others_say() -> None:
    """Without an escalation only the other signals know: the count goes on from the newest that is left."""
    first = signal("one", at=at(1), bias=0.15)
    second = signal("two", at=at(2), bias=0.05)
    scene = Scene([first, second], now=at(2))
    scene.run()
    delete(scene, "two")
    found = report(scene, at(0), "three", bias=0.3)
    assert ready(found) == Reason.OUT_OF_ORDER


def test_more_streams_than_an_escalation_keeps_leave_the_close_to_people() -> None:
    many = [signal(f"s{n}", source=f"s{n}", drift=0.3) for n in range(MAX_STREAMS + 3)]
    scene = opened(*many)
    assert len(scene.escalation.status.streams) == MAX_STREAMS
    scene.now = at(1)
    scene.signals = [
        replace(s, spec=signal(at=at(1), source=s.name, drift=0.0).spec, generation=2) for s in scene.signals[:-1]
    ]
    scene.run()
    assert scene.escalation.is_open
