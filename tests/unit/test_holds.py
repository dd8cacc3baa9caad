"""The hold that contained objects carry: when it counts, how long it is, and what is done before others say why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from riskladder.api.hold import MAX_HOLD, Hold, read_hold, write_hold
from riskladder.api.intent import SavedField
from riskladder.api.labels import ANNOTATION_CONTAINMENT, LABEL_CONTAINED_BY, LABEL_LOCK
from riskladder.policy.containment.holds import adopted, reverted, upkeep
from riskladder.policy.decide import decide
from riskladder.policy.plan import NewEscalation
from riskladder.workloads.holding import ANCIENT, held_by, hold_patch, read_carried, release_patch
from tests.unit.builders import Document, Scene, at, contain_by, contained, ladder, scaled_by, signal, workload

UID = "target-uid"


def hold(**changes: Any) -> Hold:
    act = Scene([signal(bias=0.3)]).plan().stop
    assert act is not None
    assert act.hold is not None
    return act.hold.model_copy(update={"uid": UID, **changes})


def metadata(text: str, by: str = "", *managers: str) -> Document:
    fields = {"f:metadata": {"f:annotations": {f"f:{ANNOTATION_CONTAINMENT}": {}}}}
    return {
        "labels": {LABEL_CONTAINED_BY: by or hold().escalation},
        "annotations": {ANNOTATION_CONTAINMENT: text},
        "managedFields": [{"manager": manager, "fieldsV1": fields} for manager in managers],
    }


# --- When it counts ---------------------------------------------------------------------------------------------------


def test_it_is_read_as_it_was_written() -> None:
    found = hold()
    assert read_hold(write_hold(found)) == found
    assert held_by(read_carried(metadata(write_hold(found))), UID) == found


@pytest.mark.parametrize("managers", [("riskladder",), ("riskladder", "argocd"), (ANCIENT,), ()])
def test_who_applies_the_same_owns_it_as_well(managers: tuple[str, ...]) -> None:
    assert held_by(read_carried(metadata(write_hold(hold()), "", *managers)), UID) is not None


@pytest.mark.parametrize(
    "forged",
    [
        metadata(write_hold(hold()), "", "kubectl-edit"),  # another manager has written another value
        metadata(write_hold(hold()), "another"),  # the label names another escalation
        metadata(write_hold(hold(uid="another-uid"))),  # of another object
        metadata(write_hold(hold(uid=""))),  # of none: of a NetworkPolicy only
        metadata(write_hold(hold()).replace(UID, "t\\u0061rget-uid")),  # the lock looks for the text
        metadata("{}"),
        metadata("no JSON"),
        {"labels": metadata("x")["labels"]},
        {"annotations": metadata(write_hold(hold()))["annotations"]},
    ],
)
def test_anything_else_holds_nothing(forged: Document) -> None:
    assert held_by(read_carried(forged), UID) is None


def test_intent_of_a_number_that_cannot_follow_is_not_taken_over() -> None:
    scene = contained()
    assert scene.target is not None
    far = hold(intent=hold().intent.model_copy(update={"id": 1_000_000}))
    carried = read_carried(metadata(write_hold(far)))
    scene.target = replace(scene.target, carried=carried)
    assert adopted(scene.snapshot()) is None


# --- The patches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [{}, {"a": "b"}])
@pytest.mark.parametrize("annotations", [{}, {"a": "b"}])
def test_put_on_and_taken_off_nothing_else_is_changed(labels: Document, annotations: Document) -> None:
    maps = {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    before = {"metadata": {"uid": UID, "resourceVersion": "7", **maps}}
    put = hold_patch(read_carried(before["metadata"]), hold(), "Rollback", version="7")
    during = jsonpatch.apply_patch(before, json.loads(json.dumps(put)))
    carried = read_carried(during["metadata"])
    assert (carried.by, carried.lock, held_by(carried, UID)) == (hold().escalation, "Rollback", hold())
    unlocked = jsonpatch.apply_patch(during, json.loads(json.dumps(hold_patch(carried, hold(), "", version="7"))))
    assert LABEL_LOCK not in unlocked["metadata"]["labels"]
    after = jsonpatch.apply_patch(during, json.loads(json.dumps(release_patch(carried))))
    kept = {key: value for key, value in after["metadata"].items() if value}
    assert kept == before["metadata"]
    assert release_patch(read_carried(before["metadata"])) == []


def test_what_explains_is_shortened_and_what_restores_never() -> None:
    found = hold()
    fields = tuple(SavedField(path=f"/spec/{n}", value="x" * 4000) for n in range(3))
    long = found.model_copy(
        update={
            "evidence": found.evidence.model_copy(update={"fields": fields}),
            "intent": found.intent.model_copy(update={"message": "why " * 250}),
        }
    )
    text = write_hold(long)
    assert len(text.encode()) <= MAX_HOLD
    again = read_hold(text)
    assert again is not None
    assert again.evidence.fields == fields
    assert (again.evidence.replicas, again.intent.action) == (3, found.intent.action)


# --- Before the Escalation is there -----------------------------------------------------------------------------------


def test_what_is_raised_before_its_escalation_is_there_is_contained_again_first() -> None:
    scene = Scene([signal(bias=0.3)])
    scene.carry_out(scene.plan())
    assert scene.target is not None
    carried = scene.target.carried
    scaled_by(scene, 3)
    scene.target = replace(scene.target, carried=carried, replicas_set_by="keda")
    plan = scene.plan()
    assert plan.stop is not None
    assert (plan.opening, plan.stop.again, plan.stop.reverted_by) == (None, True, "keda")
    assert isinstance(adopted(scene.snapshot()), NewEscalation), "and its Escalation waits no longer for that"
    assert decide(scene.snapshot(), scene.now, urgent=False).opening is not None
    scene.carry_out(plan)
    assert reverted(scene.snapshot()) is None


def test_write_that_was_refused_is_tried_without_what_it_carries() -> None:
    """It may be that which is refused: a full map of annotations, say."""
    scene = Scene([signal(bias=0.3)])
    scene.intend()
    plan = decide(replace(scene.snapshot(), obstacle="metadata.annotations: Too long"), scene.now)
    assert plan.stop is not None
    assert plan.stop.hold is None
    again = decide(scene.snapshot(), scene.now)
    assert again.stop is not None
    assert again.stop.hold is not None


def test_escalation_of_a_target_that_was_created_again_in_the_gap_is_opened_all_the_same() -> None:
    scene = Scene([signal(bias=0.3)])
    act = scene.plan().stop
    assert act is not None
    scene.target = workload(uid="another-uid")
    snapshot = replace(scene.snapshot(), pending=act.hold, pending_policy=act.policy)
    opening = adopted(snapshot)
    assert isinstance(opening, NewEscalation)
    assert opening.spec.target.uid == UID


def test_ladder_that_is_gone_opens_nothing_and_one_of_its_name_does() -> None:
    scene = Scene([signal(bias=0.3)])
    scene.carry_out(scene.plan())
    known, scene.ladders = scene.ladders, []
    assert adopted(scene.snapshot()) is None
    scene.ladders = [ladder(contain_by("ScaleToZero"), generation=7)]
    found = adopted(scene.snapshot())
    assert isinstance(found, NewEscalation)
    scene.ladders = known
    same = adopted(scene.snapshot())
    assert isinstance(same, NewEscalation)
    assert same.spec.ladder.generation == 1


def test_hold_ends_with_its_escalation() -> None:
    scene = contained(action="Rollback")
    assert list(upkeep(scene.snapshot())) == []
    scene.now = at(1)
    scene.decide("Resume", "legal")
    assert scene.target is not None
    assert scene.target.carried.is_empty
    assert scene.events()[-1] == "Restored"
