"""RayClusters and RayServices: what is read, switched, proved and restored."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest

from riskladder.cluster.resources import ENDPOINTSLICES, PODS, Resource
from riskladder.controller.caches.workloads import WorkloadCache
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.model import History, Image, Workload
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.results import Impossible, Write
from riskladder.workloads.runtimes.ray import RAYCLUSTER, RAYCLUSTERS, RAYSERVICE, RAYSERVICES, Suspendable
from tests.unit.builders import NAMESPACE, Document

KINDS = [RAYCLUSTER, RAYSERVICE]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)


def group(name: str, image: str) -> Document:
    return {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}


def cluster_spec(image: str = "ray:2") -> Document:
    return {
        "headGroupSpec": group("head", image),
        "workerGroupSpecs": [{**group("worker", image), "groupName": "small", "replicas": 2}],
    }


def stored(kind: Suspendable, *, status: Document | None = None, version: int = 1, **spec: Any) -> Document:
    """A target that serves, or as ``spec`` says."""
    config = cluster_spec() if kind is RAYCLUSTER else {"rayClusterConfig": cluster_spec(), "serveConfigV2": "apps: []"}
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": "scorer",
            "uid": "scorer-uid",
            "resourceVersion": str(version),
            "generation": 2,
            "creationTimestamp": "2026-11-24T06:00:00Z",
        },
        "spec": {**config, **spec},
        "status": {"observedGeneration": 2} if status is None else status,
    }


def after(obj: Document, write: Write | Impossible) -> Document:
    assert isinstance(write, Write), write
    assert write.subresource is None
    changed: Document = jsonpatch.apply_patch(obj, write.patch)
    return changed


# --- What is read -----------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize(
    ("spec", "replicas", "saved"),
    [({}, 1, None), ({"suspend": False}, 1, "false"), ({"suspend": True}, 0, "true"), ({"suspend": None}, 1, None)],
)
def test_switch_is_one_replica_or_none(kind: Suspendable, spec: Document, replicas: int, saved: str | None) -> None:
    facts = kind.read(stored(kind, **spec))
    assert (facts.replicas, facts.fields) == (replicas, {"/spec/suspend": saved})
    assert facts.declared_images == (Image("head", "ray:2"), Image("worker", "ray:2"))


@each_kind
def test_digest_is_of_what_runs_not_of_the_switch_nor_of_what_the_autoscaler_writes(kind: Suspendable) -> None:
    facts = kind.read(stored(kind))
    scaled = stored(kind, suspend=True)
    kind.cluster_spec(scaled["spec"])["workerGroupSpecs"][0].update(replicas=7, scaleStrategy={"workersToDelete": []})
    assert kind.read(scaled).digest == facts.digest
    kind.cluster_spec(scaled["spec"])["headGroupSpec"].update(group("head", "ray:3"))
    assert kind.read(scaled).digest != facts.digest


# --- Stopping and restore ---------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("spec", [{}, {"suspend": False}])
def test_what_was_absent_is_absent_again_and_what_was_false_is_false(kind: Suspendable, spec: Document) -> None:
    before = stored(kind, **spec)
    facts = kind.read(before)
    stopped = after(before, kind.stop(facts))
    assert stopped["spec"] == {**before["spec"], "suspend": True}
    assert after(stopped, kind.restore(kind.read(stopped), 1, facts.fields)) == before


@each_kind
def test_switch_that_was_touched_meanwhile_is_not_overwritten(kind: Suspendable) -> None:
    write = kind.stop(kind.read(stored(kind, suspend=False)))
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        after(stored(kind, suspend=True), write)
    back = kind.restore(kind.read(stored(kind, suspend=True)), 1, {"/spec/suspend": None})
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        after(stored(kind, suspend=False), back)


@each_kind
def test_without_anything_saved_it_is_switched_on_all_the_same(kind: Suspendable) -> None:
    stopped = stored(kind, suspend=True)
    assert after(stopped, kind.restore(kind.read(stopped), 1, {}))["spec"]["suspend"] is False


@each_kind
def test_no_rollback_and_why(kind: Suspendable) -> None:
    found = kind.rollback_target(kind.read(stored(kind)), quarantined="", history=History(known_good=frozenset({"x"})))
    assert isinstance(found, Impossible)
    assert f"no earlier spec of a {kind.resource.kind} is kept" in found.why


# --- Proof, joined by the cache ---------------------------------------------------------------------------------------


class Joined:
    """The cache of an operator that deals with Ray."""

    def __init__(self, kind: Suspendable) -> None:
        self.kind = kind
        self.moved: list[TargetKey] = []
        self.cache = WorkloadCache(Runtimes(["ray"]), changed=lambda key, spec: None, moved=self.moved.append)
        self.key = TargetKey(NAMESPACE, kind.resource.kind, "scorer")

    def take(self, resource: Resource, obj: Document) -> None:
        self.cache.readers[resource.title][0](obj)

    def drop(self, resource: Resource, obj: Document) -> None:
        self.cache.readers[resource.title][1](obj)

    def put(self, **changes: Any) -> None:
        self.take(self.kind.resource, stored(self.kind, **changes))

    def cluster(self, name: str, *, owner: str = "scorer-uid") -> Document:
        """A RayCluster of the RayService."""
        obj = stored(RAYCLUSTER)
        owners = [{"kind": "RayService", "uid": owner, "controller": True}]
        obj["metadata"] |= {"name": name, "uid": f"{name}-uid", "ownerReferences": owners}
        self.take(RAYCLUSTERS, obj)
        return obj

    def pod(self, name: str, cluster: str, uid: str) -> Document:
        """A pod as KubeRay makes it."""
        obj = {
            "metadata": {
                "namespace": NAMESPACE,
                "name": name,
                "uid": f"{name}-uid",
                "resourceVersion": "1",
                "labels": {"ray.io/cluster": cluster},
                "ownerReferences": [{"kind": "RayCluster", "uid": uid, "controller": True}],
            },
            "spec": {"containers": [{"name": "head", "image": "ray:2"}]},
            "status": {"phase": "Running"},
        }
        self.take(PODS, obj)
        return obj

    def slice(self, *pods: str, version: int) -> None:
        listed = [{"targetRef": {"kind": "Pod", "name": pod}, "conditions": {"ready": True}} for pod in pods]
        metadata = {"namespace": NAMESPACE, "name": "serve-1", "uid": "slice-uid", "resourceVersion": str(version)}
        self.take(ENDPOINTSLICES, {"metadata": metadata, "endpoints": listed})

    @property
    def target(self) -> Workload:
        found = self.cache.get(self.key)
        assert found is not None
        return found

    def proved(self) -> tuple[bool, bool, bool, bool]:
        proof = self.kind.prove_stopped(self.target)
        return proof.applied, proof.endpoints_empty, proof.pods_gone, proof.clear


def test_pods_of_a_cluster_are_recognized_by_their_label() -> None:
    joined = Joined(RAYCLUSTER)
    joined.put()
    head = joined.pod("scorer-head", "scorer", "scorer-uid")
    joined.pod("other-head", "other", "other-uid")
    joined.slice("scorer-head", "other-head", version=1)
    assert [pod.name for pod in joined.target.pods] == ["scorer-head"]
    assert joined.target.ready_endpoints == 1
    assert joined.proved() == (False, False, False, False)
    joined.put(suspend=True, version=2, status={"observedGeneration": 1})
    assert joined.proved() == (True, False, False, False)
    joined.slice("other-head", version=2)
    assert joined.proved() == (True, True, False, False)
    joined.moved.clear()
    joined.drop(PODS, head)
    assert joined.key in joined.moved
    assert joined.proved() == (True, True, False, True), "its controller has not seen it"
    joined.put(suspend=True, version=3, status={"observedGeneration": 2})
    assert joined.proved() == (True, True, True, True)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (RAYCLUSTER, {"observedGeneration": 1, "state": "suspended"}),
        (RAYCLUSTER, {"conditions": [{"type": "RayClusterSuspended", "status": "True"}]}),
        (RAYSERVICE, {"observedGeneration": 1, "conditions": [{"type": "Suspended", "status": "True"}]}),
    ],
)
def test_status_that_says_suspended_is_as_good_as_an_observed_generation(kind: Suspendable, status: Document) -> None:
    assert kind.prove_stopped(kind.read(stored(kind, suspend=True, status=status))).pods_gone
    going = {**status, "state": "", "conditions": [{"type": kind.suspended_type, "status": "False"}]}
    assert not kind.prove_stopped(kind.read(stored(kind, suspend=True, status=going))).pods_gone


def test_pods_of_a_service_are_those_of_all_its_clusters() -> None:
    joined = Joined(RAYSERVICE)
    joined.put()
    old, new = joined.cluster("scorer-abcde"), joined.cluster("scorer-fghij")
    joined.cluster("other-klmno", owner="other-uid")
    pods = [joined.pod("old-head", "scorer-abcde", "scorer-abcde-uid")]
    pods.append(joined.pod("new-head", "scorer-fghij", "scorer-fghij-uid"))
    joined.pod("other-head", "other-klmno", "other-klmno-uid")
    joined.slice("new-head", "other-head", version=1)
    assert {pod.name for pod in joined.target.pods} == {"old-head", "new-head"}
    assert (joined.target.ready_endpoints, joined.target.current) == (1, None)

    joined.put(suspend=True, version=2)
    joined.slice("other-head", version=2)
    assert joined.proved() == (True, True, False, False)
    joined.drop(RAYCLUSTERS, new)
    joined.moved.clear()
    joined.drop(PODS, pods[1])
    assert joined.key in joined.moved, "a pod whose RayCluster has gone is still one of its own"
    joined.drop(PODS, pods[0])
    assert joined.proved() == (True, True, False, False), "a RayCluster could make pods again"
    joined.drop(RAYCLUSTERS, old)
    assert joined.proved() == (True, True, True, True)


def test_cluster_of_a_service_is_a_target_of_its_own_too() -> None:
    joined = Joined(RAYSERVICE)
    joined.put()
    cluster = joined.cluster("scorer-abcde")
    joined.pod("old-head", "scorer-abcde", "scorer-abcde-uid")
    key = TargetKey(NAMESPACE, "RayCluster", "scorer-abcde")
    found = joined.cache.get(key)
    assert found is not None
    assert [pod.name for pod in found.pods] == ["old-head"]
    joined.drop(RAYCLUSTERS, cluster)
    assert joined.cache.get(key) is None
    assert [pod.name for pod in joined.target.pods] == ["old-head"], "it may still answer"


def test_service_that_is_not_suspended_says_which_version_could_be() -> None:
    assert "KubeRay has it from v1.7.0 on" in RAYSERVICE.prove_stopped(RAYSERVICE.read(stored(RAYSERVICE))).left
    assert RAYSERVICE.resource == RAYSERVICES
