"""A workload that is deleted under an open escalation: that is said, also where nothing was contained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riskladder.api.decision import Resolution
from riskladder.api.reasons import ConditionType, Reason
from riskladder.people.case import Case, Contained
from riskladder.people.sections import sections
from riskladder.people.view import View
from riskladder.policy.containment.strays import pod_search
from riskladder.policy.decide import decide
from riskladder.policy.decisions.standing import DecisionAction, Standing, possible, why_open
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
    assert "2 pods that its selector matches and it no longer owns" in scene.condition(CONTAINED).message
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


def test_resume_of_a_deleted_target_is_refused_and_a_close_frees_its_name() -> None:
    scene = contained()
    scene.target, scene.now = None, at(10)
    scene.run()
    status = scene.escalation.status
    offered = [p.action for p in possible(Standing.of(scene.escalation.spec, status, status.tier or ""))]
    assert DecisionAction.RESUME not in offered
    refused = scene.decide("Resume", "legal")
    assert scene.verdict(refused) == ("False", Reason.NOTHING_TO_RESUME)
    assert "was deleted" in scene.escalation.status.decisions[-1].refused_because
    assert scene.verdict(scene.decide("Close", "legal", resolution="FalsePositive"))[0] == "True"
    assert "nothing holds its name any more" in scene.condition(ConditionType.CLOSED).message


def test_resume_that_a_deletion_cut_short_keeps_nobody_from_closing() -> None:
    scene = resumed()
    scene.target, scene.now = None, at(10)
    scene.run()
    status = scene.escalation.status
    assert status.resume is not None
    cut = status.model_copy(update={"resume": status.resume.model_copy(update={"applied_at": None})})
    standing = Standing.of(scene.escalation.spec, cut, status.tier or "")
    assert why_open(standing, Resolution.REMEDIATED) is None


def test_kind_that_is_not_dealt_with_is_not_said_to_be_deleted() -> None:
    scene = opened()
    scene.target = None
    seen = replace(scene.snapshot(), unsupported="this operator deals with no such kind")
    for update in decide(seen, at(10)).escalations:
        assert "TargetDeleted" not in [str(e.event) for e in update.entries]


@pytest.mark.parametrize(("left", "shown"), [((), Contained.GONE), (("scorer-1",), Contained.NO)])
def test_deleted_target_is_not_shown_as_contained(left: tuple[str, ...], shown: Contained) -> None:
    scene = contained()
    scene.target, scene.strays, scene.now = None, left, at(10)
    scene.run()
    found, status = scene.escalation, scene.escalation.status
    case = Case(found.namespace, found.name, scene.now, found.spec, status, status.tier or "")
    assert case.contained is shown
    lines = dict(line for section in sections(View(case, ()), scene.now) for line in section.lines)
    assert "the target was deleted" in lines["Contained"]
    assert ("NOT contained" in lines["Contained"]) is bool(left)
