"""What ends an escalation, what its conditions say meanwhile, and that nothing is written while nothing changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from riskladder.api.reasons import ConditionType, Reason
from tests.unit.builders import Document, Scene, at, ladder, signal, workload

CONTAINED, CLOSED = ConditionType.CONTAINED, ConditionType.CLOSED
ON_ESCALATION = {
    ConditionType.ACKNOWLEDGED,
    ConditionType.DECIDED,
    ConditionType.CONTAINED,
    ConditionType.CONTAINMENT_HOLDS,
    ConditionType.LOCKED,
    ConditionType.STALLED,
    ConditionType.WITHIN_LIMITS,
    ConditionType.LADDER_ACTIVE,
    ConditionType.CLOSED,
    ConditionType.REVIEW_DONE,
}
HIGH = signal(bias=0.3)
MODERATE = signal(drift=0.3)


# --- Closing ----------------------------------------------------------------------------------------------------------


def cleared(scene: Scene, minutes: float) -> None:
    """A reading within bounds, so long after NOW."""
    scene.now = at(minutes)
    first = scene.signals[0]
    again = signal(first.name, at=at(minutes), drift=0.01, status=first.status)
    scene.signals = [again, *scene.signals[1:]]
    scene.run()


def test_cleared_escalation_closes_after_its_time() -> None:
    scene = Scene([MODERATE])
    scene.run()
    cleared(scene, 10)
    assert scene.escalation.is_open
    assert scene.plan().wake_at == at(30), "the deadline to acknowledge comes first"
    scene.now = at(70) - timedelta(seconds=1)
    scene.run()
    assert scene.escalation.is_open
    scene.now = at(70)
    scene.run()
    assert not scene.escalation.is_open
    assert scene.reason(CLOSED) == ("True", Reason.CLEARED)
    assert [key for key in scene.trail() if key in ("opened", "closed")] == ["opened", "closed"]


def test_breach_that_comes_back_starts_the_time_again() -> None:
    scene = Scene([MODERATE])
    scene.run()
    cleared(scene, 10)
    scene.now = at(40)
    scene.signals = [signal(at=at(40), drift=0.3, status=scene.signals[0].status)]
    scene.run()
    cleared(scene, 50)
    scene.now = at(71)
    scene.run()
    assert scene.escalation.is_open


def test_next_breach_after_closing_is_a_new_escalation() -> None:
    scene = Scene([MODERATE])
    scene.run()
    cleared(scene, 10)
    scene.now = at(70)
    scene.run()
    scene.signals = [signal(at=at(70), bias=0.3, status=scene.signals[0].status)]
    scene.run()
    assert len({e.name for e in scene.escalations}) == 2
    assert scene.signals[0].status.escalation == scene.escalation.name


def test_contained_model_is_never_closed_by_itself() -> None:
    def edit(spec: Document) -> None:
        spec["tiers"][1]["closesWhen"] = {"for": "1h"}

    scene = Scene([HIGH], ladders=[ladder(edit)])
    scene.run()
    scene.now = at(1)
    scene.signals = [signal(at=at(1), bias=0.0, status=scene.signals[0].status)]
    scene.run()
    scene.now = at(600)
    scene.run()
    assert scene.escalation.is_open


def test_deleting_the_breaching_signal_clears_nothing() -> None:
    """Another signal has been at baseline for long; of the indicator that breached, nothing better was ever heard."""
    scene = Scene([MODERATE, signal("other", source="other", bias=0.01)])
    scene.run()
    scene.signals = scene.signals[1:]
    scene.now = at(120)
    scene.run()
    assert scene.escalation.is_open


def test_without_any_signal_nothing_is_clear() -> None:
    scene = Scene([MODERATE])
    scene.run()
    scene.signals = []
    scene.now = at(6000)
    scene.run()
    assert scene.escalation.is_open


# --- Conditions, deadlines and quiet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", [Scene([MODERATE]), Scene([HIGH]), Scene([HIGH], target=workload(replicas=0))])
def test_every_condition_is_there_on_the_first_visit(scene: Scene) -> None:
    scene.run()
    assert {c.type for c in scene.escalation.status.conditions} == ON_ESCALATION
    assert all(c.reason and c.message for c in scene.escalation.status.conditions)
    kinds = {c.type for c in scene.signals[0].status.conditions}
    assert kinds == {ConditionType.READY, ConditionType.FRESH, ConditionType.BREACHED, CONTAINED}


def test_deadlines_stall_the_escalation_and_show_what_is_next() -> None:
    scene = Scene([MODERATE])
    scene.run()
    status = scene.escalation.status
    assert (status.next_deadline, status.waiting_on) == (at(30), ("model-risk",))
    assert scene.reason(ConditionType.STALLED) == ("False", Reason.ON_TIME)
    scene.now = at(30)
    scene.run()
    assert scene.reason(ConditionType.STALLED) == ("True", Reason.OVERDUE)
    assert scene.escalation.status.next_deadline == at(24 * 60)


def test_transition_time_moves_only_with_the_status() -> None:
    scene = Scene([MODERATE])
    scene.run()
    before = {c.type: c.last_transition_time for c in scene.escalation.status.conditions}
    scene.now = at(31)
    scene.run()
    after = {c.type: c.last_transition_time for c in scene.escalation.status.conditions}
    assert after.pop("Stalled") == at(31)
    before.pop("Stalled")
    assert after == before


@pytest.mark.parametrize("scene", [Scene([signal(bias=0.01)]), Scene([MODERATE]), Scene([HIGH])])
def test_nothing_is_written_while_nothing_changes(scene: Scene) -> None:
    scene.run()
    for minutes in (0.1, 1, 9, 29):
        scene.now = at(minutes)
        assert not scene.plan().has_trail, minutes
        assert not scene.plan().urgent


def test_stream_is_taken_over_before_it_is_let_go() -> None:
    """Killed between the two writes, the next operator must still know how many readings in a row there were."""
    scene = Scene([signal("a", bias=0.15)])
    scene.run()
    scene.signals = [*scene.signals, signal("b", at=at(1), bias=0.05)]
    scene.now = at(1)
    assert [u.signal.name for u in scene.plan().signals] == ["b", "a"]
