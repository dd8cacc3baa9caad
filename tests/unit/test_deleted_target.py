"""A workload that is deleted under an open escalation: that is said, also where nothing was contained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.containment.strays import pod_search
from riskladder.policy.decide import decide
from riskladder.policy.decisions.standing import DecisionAction, Standing, possible
from tests.unit.builders import Scene, at, contained, signal, workload

CONTAINED = ConditionType.CONTAINED


def opened() -> Scene:
    """An escalation of a tier that contains nothing."""
    selector = {"matchLabels": {"app": "scorer"}}
    scene = Scene([signal(drift=0.5)], target=workload(selector=selector))
    scene.run()
    return scene


def resumed() -> Scene:
    scene = contained()
    scene.now = at(5)
    scene.decide("Resume", "legal")
    return scene


@pytest.mark.parametrize("scene", [opened(), resumed()])
def test_deleted_target_is_said_where_nothing_is_contained(scene: Scene) -> None:
    scene.target, scene.now = None, at(10)
    scene.run()
    assert scene.reason(CONTAINED) == ("False", Reason.TARGET_DELETED)
    assert "nothing is left to contain" in scene.condition(CONTAINED).message
    assert scene.events().count("TargetDeleted") == 1
    scene.now = at(20)
    scene.run()
    assert scene.events().count("TargetDeleted") == 1, "said once"


def test_pods_that_it_has_left_behind_are_looked_for_and_named() -> None:
    scene = opened()
    assert pod_search(scene.escalations) is None, "while it is there it owns them"
    found = pod_search(scene.escalations, is_gone=True)
    assert found is not None
    assert found.query == "app=scorer"
    scene.target, scene.strays = None, None
    scene.run()
    assert scene.reason(CONTAINED) == ("False", Reason.CONTAINMENT_NOT_REQUIRED), "nobody has looked yet"
    scene.strays = ("scorer-1", "scorer-2")
    scene.run()
    assert "2 pod(s) that its selector matches and it no longer owns" in scene.condition(CONTAINED).message
    scene.strays = ()
    scene.run()
    assert "nothing is left to contain" in scene.condition(CONTAINED).message
    assert scene.events().count("TargetDeleted") == 2


@pytest.mark.parametrize("scene", [opened(), contained()])
def test_contain_of_a_deleted_target_is_refused_and_not_offered(scene: Scene) -> None:
    scene.target, scene.now = None, at(10)
    scene.run()
    status = scene.escalation.status
    offered = {p.action for p in possible(Standing.of(scene.escalation.spec, status, status.tier or ""))}
    assert DecisionAction.CONTAIN not in offered
    assert scene.verdict(scene.decide("Contain", "legal")) == ("False", Reason.NOTHING_TO_CONTAIN)


def test_kind_that_is_not_dealt_with_is_not_said_to_be_deleted() -> None:
    scene = opened()
    scene.target = None
    seen = replace(scene.snapshot(), unsupported="this operator deals with no such kind")
    for update in decide(seen, at(10)).escalations:
        assert "TargetDeleted" not in [str(e.event) for e in update.entries]
