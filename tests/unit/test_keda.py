"""ScaledObjects of a model: whose they are, paused at zero, and restored as they were."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.escalation import MAX_COMPANIONS
from riskladder.api.reasons import Reason
from riskladder.policy.containment import companions
from riskladder.policy.decide import decide
from riskladder.policy.plan import Phase
from riskladder.workloads.companions import keda
from riskladder.workloads.companions.suspend import Companion
from riskladder.workloads.runtimes.deployment import DEPLOYMENT
from riskladder.workloads.runtimes.statefulset import STATEFULSET
from tests.unit.builders import Document, Scene, contain_by, contained, ladder, signal, suspends, workload

words = st.text("abcdef", min_size=1, max_size=4)


def scaledobject(annotations: Document | None = None, **reference: object) -> Document:
    metadata: Document = {"name": "scorer", "uid": "so-uid", "resourceVersion": "7"}
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"scaleTargetRef": {"name": "scorer", **reference}, "triggers": []}}


@pytest.mark.parametrize(
    ("reference", "deployment", "statefulset"),
    [
        ({}, True, False),
        ({"kind": "Deployment", "apiVersion": "apps/v1"}, True, False),
        ({"kind": "StatefulSet"}, False, True),
        ({"kind": "StatefulSet", "apiVersion": "apps/v1beta1"}, False, True),
        ({"kind": "Deployment", "apiVersion": "example.dev/v1"}, False, False),
        ({"name": "other"}, False, False),
    ],
)
def test_scales_what_its_reference_names(reference: Document, deployment: bool, statefulset: bool) -> None:
    found = scaledobject(**reference)
    assert keda.scales(found, DEPLOYMENT.resource, "scorer") == deployment
    assert keda.scales(found, STATEFULSET.resource, "scorer") == statefulset


def test_without_a_reference_it_scales_nothing() -> None:
    assert not keda.scales({"metadata": {}, "spec": None}, DEPLOYMENT.resource, "scorer")


annotations = st.none() | st.dictionaries(words, words, max_size=2)


@given(annotations, st.none() | st.sampled_from(["1", "3", "", "0"]), annotations)
def test_pausing_then_giving_back_is_the_identity(others: Any, value: str | None, meanwhile: Any) -> None:
    before = scaledobject(others if value is None else {**(others or {}), keda.ANNOTATION: value})
    seen = keda.read(before)
    assert (seen.suspended, seen.value) == (value == "0", value)
    if seen.suspended:
        return
    paused = jsonpatch.apply_patch(before, keda.switch(seen, suspend=True))
    assert keda.read(paused).suspended
    paused, expected = copy.deepcopy(paused), copy.deepcopy(before)
    for each in (paused, expected):
        if meanwhile:
            each["metadata"]["annotations"] = {**each["metadata"].get("annotations", {}), **meanwhile}
        each["metadata"]["resourceVersion"] = "9"
    back = jsonpatch.apply_patch(paused, keda.switch(keda.read(paused), suspend=False, value=seen.value))
    if not expected["metadata"].get("annotations"):  # an empty map is as good as none
        expected["metadata"].pop("annotations", None)
        assert back["metadata"].pop("annotations", {}) == {}
    assert back == expected


@pytest.mark.parametrize("change", [{"uid": "another"}, {"resourceVersion": "8"}])
def test_another_object_or_version_is_left_alone(change: Document) -> None:
    seen = keda.read(scaledobject())
    other = scaledobject()
    other["metadata"] |= change
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch(other, keda.switch(seen, suspend=True))


def test_what_is_too_long_to_be_kept_is_not_overwritten() -> None:
    seen = keda.read(scaledobject({keda.ANNOTATION: "1" * 2000}))
    assert "too long" in seen.problem


# --- Companions of the model ------------------------------------------------------------------------------------------


def look(scene: Scene, *seen: Companion) -> None:
    """The operator looks at what scales the model, and writes what is due."""
    scene.companions = {(b.kind, b.name): b for b in seen}
    scene.run()


def noted(scene: Scene) -> list[tuple[str, bool, str | None]]:
    return [(b.name, b.was, b.value) for b in scene.escalation.status.companions]


def seen_as(value: str | None, name: str = "scorer") -> Companion:
    return replace(keda.read(scaledobject({} if value is None else {keda.ANNOTATION: value}), found=True), name=name)


@pytest.mark.parametrize("value", [None, "3"])
def test_what_scales_a_stopped_model_is_on_record_before_it_is_paused(value: str | None) -> None:
    scene = contained()
    scene.companions = {("ScaledObject", "scorer"): seen_as(value)}
    first = scene.plan()
    assert not first.of(Phase.COMPANION)
    scene.carry_out(first)
    assert noted(scene) == [("scorer", False, value)]
    [switch] = scene.plan().of(Phase.COMPANION)
    assert suspends(switch)
    scene.run()
    assert (scene.switched, noted(scene)) == ([("scorer", True)], [("scorer", False, value)])
    assert scene.events().count(Reason.ALSO_SUSPENDED) == 1

    scene.decide("Resume", "legal")
    assert scene.target is not None
    assert scene.target.replicas == 3
    assert scene.switched == [("scorer", True), ("scorer", False)]
    assert scene.events().index(Reason.RESTORED) < scene.events().index(Reason.ALSO_RESUMED)


def test_what_is_restored_is_what_stood_there() -> None:
    scene = contained()
    look(scene, seen_as("3"))
    scene.companions = {("ScaledObject", "scorer"): seen_as("0")}
    scene.decide("Resume", "legal")
    escalation = scene.escalation
    open_again = escalation.status.companions[0].model_copy(update={"resumed_at": None})
    status = escalation.status.model_copy(update={"companions": (open_again,)})
    scene.escalations = [replace(escalation, status=status)]
    scene.companions = {("ScaledObject", "scorer"): seen_as("0")}
    switched = list(companions.switches(scene.snapshot()))
    assert [s.body[-1]["value"] for s in switched] == ["3"]


def test_what_was_paused_before_stays_so() -> None:
    scene = contained()
    look(scene, seen_as("0"))
    scene.decide("Resume", "legal")
    assert (scene.switched, noted(scene)) == ([], [("scorer", True, "0")])


def test_what_could_not_be_seen_at_first_is_taken_as_it_is_then() -> None:
    scene = contained()
    look(scene, Companion("ScaledObject", "scorer", problem="list is forbidden", found=True))
    assert scene.events().count(Reason.NOT_SUSPENDED) == 1
    look(scene, seen_as("0"))
    assert noted(scene) == [("scorer", True, "0")]


def test_with_a_rollback_nothing_that_scales_is_looked_for() -> None:
    assert companions.looks_for_scalers(contained().escalation)
    back = Scene([signal(bias=0.3)], target=workload(2, history=(1, 2)), ladders=[ladder(contain_by("Rollback"))])
    back.run()
    assert back.escalation.intents[-1].action == "Rollback"
    assert not companions.looks_for_scalers(back.escalation)


def test_it_is_looked_for_every_minute_while_the_model_is_stopped() -> None:
    scene = contained()
    seeking = decide(replace(scene.snapshot(), seeks=True), scene.now)
    assert seeking.wake_at == scene.now + companions.LOOK_EVERY
    assert scene.plan().wake_at != seeking.wake_at


def test_more_than_can_be_kept_is_left_out() -> None:
    scene = contained()
    look(scene, *(seen_as(None, f"s{number:02}") for number in range(MAX_COMPANIONS + 3)))
    assert len(noted(scene)) == MAX_COMPANIONS
