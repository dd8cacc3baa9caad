"""Containments that do not work: late, no longer proved, or breached themselves. The next safer state follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riskladder.api.reasons import ConditionType, Reason
from riskladder.workloads.runtimes.replicas import read_pod
from tests.unit.builders import Scene, at, contain_by, contained, ladder, pod_object, scaled_by, signal

CONTAINED, HOLDS = ConditionType.CONTAINED, ConditionType.CONTAINMENT_HOLDS


def with_breached_pod(scene: Scene) -> None:
    """A pod of the breached revision still answers."""
    assert scene.target is not None
    scene.target = replace(scene.target, pods=(*scene.target.pods, read_pod(pod_object("old", 2))))


def actions(scene: Scene) -> list[str]:
    return [str(c.intent.action) for c in scene.escalation.status.containments]


@pytest.mark.parametrize("if_impossible", ["ScaleToZero", "Isolate"])
def test_rollback_that_is_not_proved_in_time_becomes_a_stop(if_impossible: str) -> None:
    rollback = ladder(contain_by("Rollback", ifImpossible=if_impossible))
    scene = Scene([signal(bias=0.3)], ladders=[rollback])
    scene.carry_out(scene.plan())
    with_breached_pod(scene)
    scene.now = at(1)
    scene.run()
    assert actions(scene) == ["Rollback"]
    scene.now = at(2)
    scene.run()
    scene.now = at(2, seconds=2)
    scene.run()
    # What cannot be isolated here is stopped.
    assert actions(scene) == ["ScaleToZero"]
    [intent] = scene.escalation.intents
    assert intent.reason in (Reason.CONTAINMENT_LATE, Reason.ACTION_NOT_SUPPORTED)
    assert "Rollback was not proved by" in intent.message
    assert scene.target is not None
    assert scene.target.replicas == 0
    scene.now = at(3)
    scene.decide("Resume", "legal")
    assert scene.target.replicas == 3


def test_proof_that_is_lost_and_not_regained_in_time_is_late() -> None:
    scene = contained(action="Rollback")
    assert scene.reason(CONTAINED) == ("True", Reason.ROLLED_BACK)
    with_breached_pod(scene)
    scene.now = at(10)
    scene.run()
    assert scene.reason(CONTAINED) == ("False", Reason.CONTAINMENT_APPLIED)
    assert scene.reason(HOLDS) == ("False", Reason.CONTAINMENT_REVERTED), "it holds while it is proved, and no longer"
    assert scene.plan().wake_at == at(12)
    scene.now = at(12)
    scene.run()
    scene.now = at(12, seconds=2)
    scene.run()
    assert actions(scene) == ["ScaleToZero"]
    assert "late/1" in scene.trail()


def test_proof_that_is_regained_in_time_is_not_late() -> None:
    scene = contained(action="Rollback")
    assert scene.target is not None
    sound = scene.target
    for minutes in (10, 20):
        with_breached_pod(scene)
        scene.now = at(minutes)
        scene.run()
        scene.now = at(minutes + 1)
        scene.target = sound
        scene.run()
        assert scene.reason(CONTAINED) == ("True", Reason.ROLLED_BACK)
    assert actions(scene) == ["Rollback"]


@pytest.mark.parametrize(
    ("minutes", "bias", "stops"),
    [
        (5, 0.3, True),
        (5, 0.15, False),  # no containing tier
        (5, 0.05, False),
        (-5, 0.4, False),  # observed before the proof: about the revision that was taken out of service
    ],
)
def test_breach_of_the_revision_rolled_back_to_is_met_by_a_stop(minutes: float, bias: float, stops: bool) -> None:
    scene = contained(action="Rollback")
    scene.now = at(6)
    scene.signals = [*scene.signals, signal("later", source="later", at=at(minutes), bias=bias)]
    scene.run()
    assert actions(scene) == (["ScaleToZero"] if stops else ["Rollback"])
    rung = scene.escalation.status.rung
    assert rung is not None
    assert (rung.reason == Reason.CONTAINMENT_INEFFECTIVE) is stops
    if stops:
        [intent] = scene.escalation.intents
        assert intent.reason == Reason.CONTAINMENT_INEFFECTIVE
        assert "bias=0.3" in intent.message
        assert rung.number == 2, "people are notified again"


def test_reading_within_the_hysteresis_of_the_old_breach_is_no_breach_of_the_new_revision() -> None:
    def edit(spec: dict[str, object]) -> None:
        contain_by("Rollback")(spec)
        spec["tiers"][1]["triggers"][0]["clearsAt"] = 0.1  # type: ignore[index]

    scene = Scene([signal(bias=0.3)], ladders=[ladder(edit)])
    scene.run()
    scene.now = at(6)
    scene.signals = [signal(at=at(5), status=scene.signals[0].status, bias=0.19)]
    scene.run()
    assert actions(scene) == ["Rollback"]


def test_stop_that_is_late_has_nothing_safer_to_follow() -> None:
    scene = contained()
    scaled_by(scene, 0, "riskladder")
    with_breached_pod(scene)
    for minutes in (10, 13, 16):
        scene.now = at(minutes)
        scene.run()
    assert actions(scene) == ["ScaleToZero"]
    assert scene.reason(CONTAINED) == ("False", Reason.CONTAINMENT_LATE)
