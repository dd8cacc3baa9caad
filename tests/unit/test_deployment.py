"""Deployments: what is read off them, the patches that contain them, and what proves that they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.labels import FIELD_MANAGER
from riskladder.cluster import client
from riskladder.workloads.model import History, Image, Revision, Workload
from riskladder.workloads.results import Impossible, Write
from riskladder.workloads.runtimes import deployment
from riskladder.workloads.runtimes.deployment import DEPLOYMENT, HASH_LABEL, read_replicaset
from riskladder.workloads.runtimes.replicas import read_pod, running_images, template_digest
from tests.unit.builders import Document, deployment_object, edited, pod_object, replicaset_object, template, workload

# --- Facts in ---------------------------------------------------------------------------------------------------------


def test_template_of_a_replicaset_has_the_digest_of_its_deployments() -> None:
    assert read_replicaset(replicaset_object(2, 7)).digest == DEPLOYMENT.read(deployment_object(2)).digest
    assert read_replicaset(replicaset_object(1, 7)).digest != DEPLOYMENT.read(deployment_object(2)).digest


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"metadata": {"labels": {"app": "scorer", HASH_LABEL: "x"}}}, True),
        ({"metadata": {"labels": {"app": "scorer"}, "creationTimestamp": None}}, True),
        ({"metadata": {"labels": {"app": "other"}}}, False),
        ({"metadata": {"labels": {"app": "scorer"}, "annotations": {"restartedAt": "now"}}}, False),
        ({"spec": {"containers": [{"name": "server", "image": "scorer:1", "env": []}]}}, False),
    ],
)
def test_digest_is_of_what_runs(changed: Document, same: bool) -> None:
    assert (template_digest({**template(1), **changed}) == template_digest(template(1))) == same


def test_digest_needs_no_metadata() -> None:
    bare: list[Document] = [{"spec": {}}, {"metadata": None, "spec": {}}, {"metadata": {"labels": None}, "spec": {}}]
    assert len({template_digest(t) for t in bare}) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order_of_fields(spec: dict[str, Any], random: Any) -> None:
    names = list(spec)
    random.shuffle(names)
    assert template_digest({"spec": spec}) == template_digest({"spec": {name: spec[name] for name in names}})


def test_deployment_is_read_whole() -> None:
    obj = deployment_object(2, 3, generation=5)
    obj["spec"]["paused"] = True
    obj["status"] |= {"observedGeneration": 4, "replicas": 4, "updatedReplicas": 2}
    facts = DEPLOYMENT.read(obj)
    assert (facts.replicas, facts.total_replicas, facts.updated_replicas) == (3, 4, 2)
    assert (facts.generation, facts.observed_generation, facts.paused, facts.is_rolled_out) == (5, 4, True, False)
    assert (facts.uid, facts.labels, facts.declared_images) == (
        "target-uid",
        {"ladder": "credit"},
        (Image("server", "scorer:2"),),
    )


def test_deployment_without_status_or_replicas_has_the_defaults_of_the_api() -> None:
    obj = deployment_object()
    del obj["status"], obj["spec"]["replicas"]
    facts = DEPLOYMENT.read(obj)
    assert (facts.replicas, facts.total_replicas, facts.observed_generation) == (1, 0, 0)


@pytest.mark.parametrize("number", ["", "x", None])
def test_replicaset_without_a_number_is_the_oldest(number: str | None) -> None:
    obj = replicaset_object(1, 1)
    obj["metadata"]["annotations"] = {deployment.REVISION_ANNOTATION: number} if number is not None else None
    assert read_replicaset(obj).number == 0


def test_pod_is_active_until_it_has_ended_and_its_owner_is_its_controller() -> None:
    phases = {phase: read_pod(pod_object("a", 2, phase=phase)).active for phase in ("Pending", "Running", "Unknown")}
    assert set(phases.values()) == {True}
    assert not read_pod(pod_object("a", 2, phase="Succeeded")).active
    assert not read_pod(pod_object("a", 2, phase="Failed")).active
    terminating = edited(
        pod_object("a", 2), lambda pod: pod["metadata"].update(deletionTimestamp="2026-11-24T12:00:00Z")
    )
    assert read_pod(terminating).active, "its containers may answer until they have ended"
    assert read_pod(terminating).owner_uid == "target-uid/hash2"
    assert read_pod(edited(terminating, lambda pod: pod["metadata"].pop("ownerReferences"))).owner_uid == ""
    bystander = edited(terminating, lambda pod: pod["metadata"]["ownerReferences"][0].update(controller=False))
    assert read_pod(bystander).owner_uid == ""


def test_images_are_those_that_run_else_those_that_are_declared() -> None:
    assert running_images(workload(2)) == (Image("server", "scorer:2", "scorer@sha256:2"),)
    assert running_images(workload(2, replicas=0)) == (Image("server", "scorer:2"),)


def managed(manager: str, time: str, *fields: str, under: str = "f:spec") -> Document:
    return {"manager": manager, "time": time, "fieldsV1": {under: {name: {} for name in fields}}}


@pytest.mark.parametrize(
    ("entries", "replicas_by", "template_by"),
    [
        ([], "", ""),
        ([managed("kubectl", "2026-11-24T10:00:00Z", "f:replicas", "f:template")], "kubectl", "kubectl"),
        (
            [
                managed("hpa", "2026-11-24T11:00:00Z", "f:replicas"),
                managed("helm", "2026-11-24T10:00:00Z", "f:replicas", "f:template"),
            ],
            "hpa",
            "helm",
        ),
        ([managed("controller", "2026-11-24T12:00:00Z", "f:replicas", under="f:status")], "", ""),
        ([{"manager": "odd", "time": "2026-11-24T12:00:00Z", "fieldsV1": {"f:spec": {"f:paused": {}}}}], "", ""),
        ([{"manager": "odd"}, managed("kubectl", "2026-11-24T10:00:00Z", "f:replicas")], "kubectl", ""),
    ],
)
def test_last_writer_is_the_newest_owner_of_the_field(
    entries: Sequence[Document], replicas_by: str, template_by: str
) -> None:
    facts = DEPLOYMENT.read(deployment_object(managedFields=entries))
    assert (facts.replicas_set_by, facts.template_set_by) == (replicas_by, template_by)
    times = {entry["manager"]: entry.get("time", "") for entry in entries} | {"": ""}
    assert (facts.replicas_set_at, facts.template_set_at) == (times[replicas_by], times[template_by])


# --- Patches out ------------------------------------------------------------------------------------------------------


def test_scaling_to_zero_is_a_compare_and_swap() -> None:
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": "target-uid"},
        {"op": "test", "path": "/spec/replicas", "value": 7},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]
    assert DEPLOYMENT.stop(workload(replicas=7)) == Write(patch)


def test_rolling_back_puts_the_old_template_in_place_of_the_one_that_was_read() -> None:
    live, old = deployment_object(2), replicaset_object(1, 1)
    patch = DEPLOYMENT.roll_back(live, old, read_replicaset(old)).patch
    assert [step["op"] for step in patch] == ["test", "test", "replace"]
    assert patch[0] == {"op": "test", "path": "/metadata/uid", "value": "target-uid"}
    assert patch[1] == {"op": "test", "path": "/spec/template", "value": template(2)}
    assert patch[2] == {"op": "replace", "path": "/spec/template", "value": template(1)}
    assert old == replicaset_object(1, 1), "what was read is left as it was"


def test_rolled_back_deployment_is_at_the_revision_of_the_replicaset() -> None:
    live, back = deployment_object(2), replicaset_object(1, 1)
    live["spec"]["template"] = DEPLOYMENT.roll_back(live, back, read_replicaset(back)).patch[2]["value"]
    assert DEPLOYMENT.read(live).digest == read_replicaset(replicaset_object(1, 1)).digest


@given(
    st.integers(1, 5),
    st.permutations([1, 2, 3, 4, 5]),
    st.sets(st.integers(1, 6).map(lambda v: f"hash{v}")),
    st.booleans(),
)
def test_rollback_never_lands_on_the_quarantined_revision(
    current: int, history: list[int], good: set[str], paused: bool
) -> None:
    target = workload(current, history=history[:4], paused=paused)
    found = DEPLOYMENT.rollback_target(
        target, quarantined=f"hash{current}", history=History(known_good=frozenset(good))
    )
    if isinstance(found, Revision):
        assert found.hash != f"hash{current}"
        assert found.digest != target.digest
        known = {r.hash for r in target.revisions if r.hash in good} - {f"hash{current}"}
        assert found.hash in known or not known
    else:
        assert isinstance(found, Impossible)
        assert found.why


def test_rollback_never_lands_on_the_same_template_under_another_hash() -> None:
    """After a hash collision two ReplicaSets of one template stand in the history."""
    target = workload(2, history=(1, 2))
    twin = replace(target.revisions[1], uid="twin", hash="hash2b", number=1)
    found = DEPLOYMENT.rollback_target(
        replace(target, revisions=(twin, target.revisions[1])),
        quarantined="hash2",
        history=History(known_good=frozenset({"hash2b"})),
    )
    assert isinstance(found, Impossible)


# --- Proof ------------------------------------------------------------------------------------------------------------

ZERO = workload(replicas=0)


@pytest.mark.parametrize(
    ("target", "applied", "empty", "gone", "clear"),
    [
        (workload(replicas=3), False, False, False, False),
        (workload(replicas=0, pods=2), True, False, False, False),
        (replace(workload(replicas=0, pods=2), ready_endpoints=0), True, True, False, False),
        (replace(ZERO, ready_endpoints=1), True, False, False, False),
        (replace(ZERO, total_replicas=1), True, True, False, True),
        (replace(ZERO, generation=9), True, True, False, True),
        (ZERO, True, True, True, True),
    ],
)
def test_zero_is_proved_step_by_step(target: Workload, applied: bool, empty: bool, gone: bool, clear: bool) -> None:
    proof = DEPLOYMENT.prove_stopped(target)
    assert (proof.applied, proof.endpoints_empty, proof.pods_gone, proof.clear) == (applied, empty, gone, clear)


BACK = workload(1, history=(2, 1))
BAD_POD = read_pod(pod_object("bad", 2))


@pytest.mark.parametrize(
    ("target", "applied", "gone", "clear"),
    [
        (workload(2, history=(1, 2)), False, False, False),
        (replace(BACK, pods=(*BACK.pods, BAD_POD)), True, False, False),
        (replace(BACK, pods=(*BACK.pods, replace(BAD_POD, active=False))), True, True, True),
        (replace(BACK, updated_replicas=1), True, False, True),
        (replace(BACK, total_replicas=4), True, False, True),
        (replace(BACK, generation=9), True, False, True),
        (workload(3, history=(2, 1)), False, False, False),  # its ReplicaSet is still to be made
        (
            workload(1, history=(2,), template_set_by=FIELD_MANAGER),
            True,
            True,
            True,
        ),  # somebody deleted it: it will be back
        (workload(3, history=(2, 1, 3)), False, False, False),  # a third template is not the one gone back to
        (BACK, True, True, True),
    ],
)
def test_rollback_is_proved_when_nothing_of_the_quarantined_revision_is_left(
    target: Workload, applied: bool, gone: bool, clear: bool
) -> None:
    proof = DEPLOYMENT.prove_rolled_back(target, quarantined="hash2", wanted="hash1")
    assert (proof.applied, proof.pods_gone, proof.clear) == (applied, gone, clear)
    assert proof.endpoints_empty == gone


def test_the_operator_knows_its_own_writes() -> None:
    assert client.FIELD_MANAGER == FIELD_MANAGER
