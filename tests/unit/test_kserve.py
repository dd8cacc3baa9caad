"""KServe: what the annotation stops, where a canary of nothing leads, what proves either, and the patches."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from riskladder.controller.caches.workloads import WorkloadCache
from riskladder.policy.containment.choose import take_evidence
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.model import History, Image, Pod, Revision
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.results import Impossible, Write
from riskladder.workloads.runtimes.kserve import (
    CANARY,
    FROZEN,
    INFERENCESERVICE,
    LLMINFERENCESERVICE,
    MAX_FIELDS,
    STOP,
    SWITCH,
    TAGS,
    KServe,
    Service,
)
from tests.unit.builders import NOW, Document

R1, R2, R3 = (f"scorer-predictor-0000{n}" for n in (1, 2, 3))


def stored(runtime: KServe = INFERENCESERVICE, annotations: Any = None, status: Any = None, **spec: Any) -> Document:
    return {
        "metadata": {
            "namespace": "models",
            "name": "scorer",
            "uid": "target-uid",
            "resourceVersion": "7",
            "generation": 5,
            "creationTimestamp": "2026-11-24T11:00:00Z",
            **({"annotations": annotations} if annotations is not None else {}),
        },
        "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "scorer:1"}]}, **spec},
        "status": status or {},
    }


def knative(
    ready: str, rolled: str = "", previous: str = "", *, created: str = "", tag: str = "", **shares: int
) -> Document:
    traffic = [{"revisionName": {"r1": R1, "r2": R2, "r3": R3}[r], "percent": p} for r, p in shares.items()]
    if tag:
        traffic.append({"revisionName": tag, "tag": "latest"})
    return {
        "observedGeneration": 2,
        "components": {
            "predictor": {
                "latestReadyRevision": ready,
                "latestCreatedRevision": created or ready,
                "latestRolledoutRevision": rolled or ready,
                "previousRolledoutRevision": previous,
                "traffic": traffic,
            }
        },
    }


def pinned(pct: int | None = 0) -> Document:
    return {"predictor": {"canaryTrafficPercent": pct}}


# --- Facts in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", [INFERENCESERVICE, LLMINFERENCESERVICE])
@pytest.mark.parametrize(
    ("annotations", "replicas"),
    [
        (None, 1),
        ({}, 1),
        ({"serving.kserve.io/other": "true"}, 1),
        ({STOP: "false"}, 1),
        ({STOP: ""}, 1),
        ({STOP: "yes"}, 1),
        ({STOP: "true"}, 0),
        ({STOP: "TRUE"}, 0),
    ],
)
def test_stopped_is_what_kserve_takes_for_it(runtime: KServe, annotations: Any, replicas: int) -> None:
    assert runtime.read(stored(runtime, annotations)).replicas == replicas


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({"predictor": {"annotations": {STOP: "false"}}}, 1),
        ({"transformer": {"annotations": {STOP: "no"}}}, 1),
        ({"explainer": {"annotations": {STOP: ""}}}, 1),
        ({"canary": [{"predictor": {}}, {"predictor": {"annotations": {STOP: "false"}}}]}, 1),
        ({"predictor": {"annotations": {STOP: "true"}}}, 0),
        ({"predictor": {"annotations": {"other": "x"}}}, 0),
    ],
)
def test_component_that_overrules_the_annotation_keeps_running(spec: Document, replicas: int) -> None:
    facts = INFERENCESERVICE.read(stored(annotations={STOP: "true"}, **spec))
    assert facts.replicas == replicas
    assert INFERENCESERVICE.prove_stopped(facts).applied == (replicas == 0)


def test_pods_are_recognized_by_the_labels_that_its_controller_sets() -> None:
    assert INFERENCESERVICE.read(stored()).pod_labels == {"serving.kserve.io/inferenceservice": "scorer"}
    assert LLMINFERENCESERVICE.read(stored()).pod_labels == {
        "app.kubernetes.io/name": "scorer",
        "app.kubernetes.io/part-of": "llminferenceservice",
    }


def test_images_are_those_of_all_that_is_declared() -> None:
    spec = {
        "predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://m", "image": "server:1"}},
        "transformer": {"containers": [{"name": "transformer", "image": "transformer:1"}, {"name": "none"}]},
    }
    found = INFERENCESERVICE.read(stored(**spec)).declared_images
    assert found == (Image("model", "server:1"), Image("transformer", "transformer:1"))
    llm = {"template": {"containers": [{"name": "main", "image": "vllm:1"}]}, "prefill": {"worker": {"containers": []}}}
    assert LLMINFERENCESERVICE.read(stored(**llm)).declared_images == (Image("main", "vllm:1"),)


@pytest.mark.parametrize(
    ("entries", "by"),
    [
        ([], ""),
        ([("a", "10", {"f:metadata": {"f:annotations": {f"f:{STOP}": {}}}})], "a"),
        ([("a", "10", {"f:metadata": {"f:annotations": {"f:other": {}}}})], ""),
        (
            [
                ("a", "10", {"f:metadata": {"f:annotations": {f"f:{STOP}": {}}}}),
                ("b", "11", {"f:spec": {"f:predictor": {"f:annotations": {f"f:{STOP}": {}}}}}),
            ],
            "b",
        ),
    ],
)
def test_who_changed_the_annotation_is_known(entries: list[tuple[str, str, Document]], by: str) -> None:
    obj = stored()
    obj["metadata"]["managedFields"] = [
        {"manager": manager, "time": f"2026-11-24T{hour}:00:00Z", "fieldsV1": fields}
        for manager, hour, fields in entries
    ]
    assert INFERENCESERVICE.read(obj).replicas_set_by == by


def test_cache_notices_the_annotation_and_keeps_revisions_of_the_status() -> None:
    changes: list[bool] = []
    cache = WorkloadCache(
        Runtimes(["kserve"]), changed=lambda key, changed: changes.append(changed), moved=lambda key: None
    )
    put, _ = cache.readers[INFERENCESERVICE.resource.title]
    for found in ({STOP: "true"}, {STOP: "true", "note": "x"}, None, {"note": "y"}, {STOP: "false"}):
        put(stored(annotations=found, status=knative(R2, R2, R1, r2=100)))
    assert changes == [True, False, True, False, False], "no generation shows it"
    joined = cache.get(TargetKey("models", "InferenceService", "scorer"))
    assert joined is not None
    assert [r.hash for r in joined.revisions] == [R1, R2]
    assert joined.current is not None
    assert joined.current.hash == R2


# --- Stopping ---------------------------------------------------------------------------------------------------------

UID = {"op": "test", "path": "/metadata/uid", "value": "target-uid"}
VERSION = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


@pytest.mark.parametrize(
    ("annotations", "patch"),
    [
        (None, [UID, VERSION, {"op": "add", "path": "/metadata/annotations", "value": {STOP: "true"}}]),
        ({"a": "b"}, [UID, VERSION, {"op": "add", "path": SWITCH, "value": "true"}]),
        (
            {STOP: "false"},
            [
                UID,
                {"op": "test", "path": SWITCH, "value": "false"},
                {"op": "replace", "path": SWITCH, "value": "true"},
            ],
        ),
    ],
)
def test_stop_is_a_compare_and_swap_whatever_was_there(annotations: Any, patch: list[Document]) -> None:
    assert INFERENCESERVICE.stop(INFERENCESERVICE.read(stored(annotations=annotations))) == Write(patch)


def restored(contained: Document, replicas: int, fields: Any) -> Document:
    write = INFERENCESERVICE.restore(INFERENCESERVICE.read(contained), replicas, fields)
    after: Document = jsonpatch.apply_patch(contained, write.patch)
    return after


@pytest.mark.parametrize("fields", [{}, {SWITCH: '"true"'}], ids=["nothing saved", "saved as stopped"])
def test_created_again_stopped_it_runs_after_a_resume(fields: dict[str, str | None]) -> None:
    """Or it would be restored for ever: the lock lets it be created stopped only."""
    overruled = {"predictor": {"annotations": {STOP: "true"}}}
    for spec in ({}, overruled):
        after = restored(stored(annotations={STOP: "true", "a": "b"}, **spec), 1, fields)
        assert after["metadata"]["annotations"] == {"a": "b"}
        assert INFERENCESERVICE.read(after).replicas == 1


def test_overruling_that_is_gone_or_came_since_is_left_alone() -> None:
    saved = {"/metadata/annotations": None, "/spec/canary/0/predictor/annotations/serving.kserve.io~1stop": '"no"'}
    contained = stored(annotations={STOP: "true"}, transformer={"annotations": {STOP: "true"}})
    after = restored(contained, 1, saved)
    assert after["spec"] == contained["spec"]
    assert STOP not in after["metadata"]["annotations"]


def test_more_annotations_than_evidence_has_room_for_are_not_overwritten() -> None:
    many = [{"predictor": {"annotations": {STOP: "false"}}} for _ in range(MAX_FIELDS)]
    for obj in (stored(canary=many), stored(annotations={STOP: "x" * 20000})):
        facts = INFERENCESERVICE.read(obj)
        assert isinstance(INFERENCESERVICE.stop(facts), Impossible)
        assert take_evidence(facts, NOW).fields == ()


@pytest.mark.parametrize(
    "obj",
    [
        stored(status={"deploymentMode": "ModelMesh"}),
        stored(annotations={"serving.kserve.io/deploymentMode": "ModelMesh"}),
    ],
)
def test_modelmesh_is_not_stopped_by_it(obj: Document) -> None:
    found = INFERENCESERVICE.stop(INFERENCESERVICE.read(obj))
    assert isinstance(found, Impossible)
    assert "ModelMesh" in found.why


STOPPED = {
    INFERENCESERVICE: {"conditions": [{"type": "Stopped", "status": "True"}]},
    LLMINFERENCESERVICE: {"conditions": [{"type": "MainWorkloadReady", "status": "False", "reason": "Stopped"}]},
}
POD = Pod("scorer-predictor-a", "", True)


@pytest.mark.parametrize("runtime", [INFERENCESERVICE, LLMINFERENCESERVICE])
@pytest.mark.parametrize(
    ("stop", "reported", "endpoints", "pods", "proof"),
    [
        ("false", True, 0, 0, (False, False, False, False)),
        ("true", False, 1, 1, (True, False, False, False)),
        ("true", True, 1, 0, (True, False, False, False)),
        ("true", True, 0, 1, (True, True, False, False)),
        ("true", False, 0, 0, (True, True, False, True)),
        ("true", True, 0, 0, (True, True, True, True)),
    ],
)
def test_stop_is_proved_step_by_step(
    runtime: KServe, stop: str, reported: bool, endpoints: int, pods: int, proof: tuple[bool, ...]
) -> None:
    facts = runtime.read(stored(annotations={STOP: stop}, status=STOPPED[runtime] if reported else None))
    found = runtime.prove_stopped(replace(facts, ready_endpoints=endpoints, pods=(POD,) * pods))
    assert (found.applied, found.endpoints_empty, found.pods_gone, found.clear) == proof


def test_what_is_in_the_way_of_a_proof_is_said() -> None:
    frozen = INFERENCESERVICE.read(stored(annotations={STOP: "true", FROZEN: "true"}))
    assert "says to leave it alone" in INFERENCESERVICE.prove_stopped(frozen).left
    assert "not stopped by the annotation" in INFERENCESERVICE.prove_stopped(INFERENCESERVICE.read(stored())).left


# --- Rolling back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "current", "rolled_out"),
    [
        (knative(R1, r1=100), R1, True),
        (knative(R2, R2, R1, r2=100), R2, True),
        (knative(R2, R1, r2=10, r1=90), R2, False),  # the canary is what is tried out
        (knative(R2, R1, R1, r2=0, r1=100), R1, True),
        (knative(R2, R2, R1), R2, False),  # nothing is known of its requests
        ({}, None, True),
    ],
)
def test_current_revision_is_the_newest_that_gets_requests(
    status: Document, current: str | None, rolled_out: bool
) -> None:
    facts = INFERENCESERVICE.read(stored(status=status))
    assert (facts.current.hash if facts.current else None) == current
    assert facts.is_rolled_out == rolled_out
    if current:
        assert facts.current is not None
        assert facts.current.number == int(current[-1])


@pytest.mark.parametrize(
    ("obj", "quarantined", "found"),
    [
        (stored(status=knative(R2, R2, R1, r2=100)), R2, R1),
        (stored(status=knative(R2, R1, r2=10, r1=90)), R2, R1),
        (stored(status=knative(R2, R1, r2=10, r1=90), **pinned(10)), R2, R1),
        (stored(status=knative(R2, R1, created=R3, r2=10, r1=90)), R2, R1),
        (stored(status=knative(R1, r1=100)), R1, "names no earlier revision"),
        (stored(status=knative(R2, R2, R2, r2=100)), R2, "names no earlier revision"),
        (stored(status=knative(R2, R2, R1, created=R3, r2=100)), R2, "is not ready"),
        (stored(status=knative(R2, R1, R1, r2=0, r1=100), **pinned()), R1, "0 already"),
        (stored(annotations={TAGS: "true"}, status=knative(R2, R2, R1, r2=100)), R2, "address of its own"),
        (stored(status={"deploymentMode": "RawDeployment", "components": {"predictor": {"url": "x"}}}), "", "Standard"),
        (stored(), "", "names no revision"),
    ],
)
def test_rollback_goes_where_a_canary_of_nothing_leads(obj: Document, quarantined: str, found: str) -> None:
    facts = INFERENCESERVICE.read(obj)
    target = INFERENCESERVICE.rollback_target(facts, quarantined=quarantined, history=History())
    if isinstance(target, Revision):
        assert target.hash == found
    else:
        assert found in target.why


def test_revision_that_breached_is_gone_back_to_only_where_it_is_known_to_be_good() -> None:
    facts = INFERENCESERVICE.read(stored(status=knative(R2, R2, R1, r2=100)))
    bad = INFERENCESERVICE.rollback_target(facts, quarantined=R2, history=History(breached=frozenset({R1})))
    assert isinstance(bad, Impossible)
    good = INFERENCESERVICE.rollback_target(facts, quarantined=R2, history=History(frozenset({R1}), frozenset({R1})))
    assert isinstance(good, Revision)


def test_llm_has_nothing_to_go_back_to() -> None:
    found = LLMINFERENCESERVICE.rollback_target(LLMINFERENCESERVICE.read(stored()), quarantined="", history=History())
    assert isinstance(found, Impossible)


@pytest.mark.parametrize("canary", [None, 25])
def test_rollback_changes_the_canary_alone_and_only_as_it_was_read(canary: int | None) -> None:
    live = stored(status=knative(R2, R2, R1, r2=100))
    if canary is not None:
        live["spec"]["predictor"]["canaryTrafficPercent"] = canary
    [to] = [r for r in INFERENCESERVICE.read(live).revisions if r.hash == R1]
    write = INFERENCESERVICE.roll_back(live, None, to)
    assert write == Write([UID, VERSION, {"op": "add", "path": CANARY, "value": 0}])
    after = jsonpatch.apply_patch(json.loads(json.dumps(live)), write.patch)
    live["spec"]["predictor"]["canaryTrafficPercent"] = 0
    assert after == live


@pytest.mark.parametrize(
    ("pct", "status", "applied", "gone", "clear"),
    [
        (None, knative(R2, R2, R1, r2=100), False, False, False),
        (0, knative(R2, R2, R1, r2=100), True, False, False),  # KServe goes there in two steps
        (0, knative(R2, R1, R1, r2=1, r1=99), True, False, False),
        (0, knative(R2, R1, R1, r2=0, r1=100), True, True, True),
        (0, knative(R2, R1, R1, tag=R2, r1=100), True, False, False),
        (0, knative(R3, R1, R1, r3=0, r1=100), True, True, True),
        (0, knative(R3, R3, R1, r3=100), True, False, True),  # not the one wanted
        (0, {}, True, False, True),
        (10, knative(R2, R1, R1, r2=0, r1=100), False, False, False),
    ],
)
def test_rollback_is_proved_by_where_the_requests_go(
    pct: int | None, status: Document, applied: bool, gone: bool, clear: bool
) -> None:
    facts = INFERENCESERVICE.read(stored(status=status, **pinned(pct)))
    assert isinstance(facts, Service)
    proof = INFERENCESERVICE.prove_rolled_back(facts, quarantined=R2, wanted=R1)
    assert (proof.applied, proof.endpoints_empty, proof.pods_gone, proof.clear) == (applied, gone, gone, clear)
