"""What becomes of a ladder is on record in every escalation that is open under it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import ConditionType, Reason

from .builders import LABELS, Scene, at, contained, ladder, signal

SUSPENDED = ladder(lambda spec: spec.update(suspended=True), generation=2)
ABOUT = {Reason.LADDER_IN_FORCE, Reason.LADDER_SUSPENDED, Reason.LADDER_DELETED}


def recorded(scene: Scene) -> list[str]:
    return [str(e.event) for e in scene.entries if e.recorded and e.event in ABOUT]


def test_suspension_and_its_end_are_on_record() -> None:
    scene = contained()
    assert scene.reason(ConditionType.LADDER_ACTIVE) == ("True", Reason.LADDER_IN_FORCE)
    assert recorded(scene) == []
    scene.ladders, scene.now = [SUSPENDED], at(5)
    scene.run()
    assert scene.reason(ConditionType.LADDER_ACTIVE) == ("False", Reason.LADDER_SUSPENDED)
    scene.ladders, scene.now = [ladder(generation=3)], at(10)
    scene.run()
    assert recorded(scene) == [Reason.LADDER_SUSPENDED, Reason.LADDER_IN_FORCE]
    assert all(e.detail["ladder"] == "credit" for e in scene.entries if e.event in ABOUT)


def test_ladder_that_was_suspended_before_the_opening_is_on_record() -> None:
    scene = Scene([signal(bias=0.3)], ladders=[SUSPENDED])
    scene.run()
    assert recorded(scene) == [Reason.LADDER_SUSPENDED]


def test_deletion_is_on_record_and_changes_nothing() -> None:
    scene = contained()
    scene.ladders, scene.now = [], at(5)
    scene.run()
    assert scene.reason(ConditionType.LADDER_ACTIVE) == ("False", Reason.LADDER_DELETED)
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    assert recorded(scene) == [Reason.LADDER_DELETED]


def test_ladder_deleted_and_created_again_before_anybody_looked_is_on_record_once() -> None:
    scene = contained()
    scene.ladders, scene.now = [ladder(uid="another-uid")], at(5)
    scene.run()
    scene.now = at(6)
    scene.run()
    assert recorded(scene) == [Reason.LADDER_DELETED]
    assert scene.reason(ConditionType.LADDER_ACTIVE) == ("True", Reason.LADDER_IN_FORCE)


def test_nothing_of_it_is_said_of_what_is_closed() -> None:
    scene = contained()
    scene.decide("Resume", "legal")
    scene.decide("Close", "legal", resolution="Remediated")
    scene.ladders, scene.now = [], at(5)
    scene.run()
    assert recorded(scene) == []


@given(st.lists(st.sampled_from(["active", "suspended", "deleted"]), min_size=1, max_size=8))
def test_each_change_has_one_record_of_its_own(states: list[str]) -> None:
    scene = contained()
    ladders = {"active": [ladder()], "suspended": [SUSPENDED], "deleted": []}
    reasons = {"active": Reason.LADDER_IN_FORCE, "suspended": Reason.LADDER_SUSPENDED, "deleted": Reason.LADDER_DELETED}
    expected, before = [], "active"
    for number, state in enumerate(states):
        scene.ladders, scene.now = ladders[state], at(number + 1)
        scene.run()
        expected += [reasons[state]] if state != before else []
        before = state
    assert recorded(scene) == expected
    keys = scene.trail()
    assert len(keys) == len(set(keys))


# --- The labels of a contained workload ---------------------------------------------------------------------------

OF_LABELS = {Reason.TARGET_RELEASED, Reason.TARGET_GOVERNED}


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_each_loss_and_return_of_the_labels_of_what_is_contained_has_one_record(governed: list[bool]) -> None:
    scene = contained()
    assert scene.target is not None
    expected, before = [], True
    for number, now in enumerate(governed):
        scene.target = replace(scene.target, labels=LABELS if now else {})
        scene.now = at(number + 1)
        scene.run()
        if now is not before:
            expected.append(Reason.TARGET_GOVERNED if now else Reason.TARGET_RELEASED)
        before = now
        assert (scene.reason(ConditionType.CONTAINMENT_HOLDS)[1] == Reason.TARGET_RELEASED) is not now
    assert [e.event for e in scene.entries if e.recorded and e.event in OF_LABELS] == expected
    keys = scene.trail()
    assert len(keys) == len(set(keys))


def test_what_an_earlier_version_called_active_has_not_changed() -> None:
    scene = Scene([signal(bias=0.3)])
    scene.run()
    [escalation] = scene.escalations
    conditions = tuple(
        c.model_copy(update={"reason": str(Reason.ACTIVE)}) if c.type == ConditionType.LADDER_ACTIVE else c
        for c in escalation.status.conditions
    )
    status = escalation.status.model_copy(update={"conditions": conditions})
    scene.escalations[:] = [replace(escalation, status=status)]
    scene.run()
    assert recorded(scene) == []
    assert scene.reason(ConditionType.LADDER_ACTIVE) == ("True", Reason.LADDER_IN_FORCE)
