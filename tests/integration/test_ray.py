"""RayClusters and RayServices as targets, on a real API server.

KubeRay's controllers do not run here: pods and Services are made, taken away and reported by the tests, with the labels
and owners that KubeRay gives them.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Forbidden, Object
from riskladder.workloads.runtimes.ray import RAYCLUSTERS, RAYSERVICES
from tests.cluster import LocalControlPlane
from tests.cluster.peers import crds
from tests.integration.runtimes import CRDS, HELD, RuntimeNamespace, place, resources_head
from tests.integration.world import condition, ladder

CONTAINER = {"name": "ray-head", "image": "registry.example/ray:2"}
GROUP = {"rayStartParams": {}, "template": {"spec": {"containers": [CONTAINER]}}}
CLUSTER = {"headGroupSpec": GROUP}
SERVICE = {"rayClusterConfig": CLUSTER, "serveConfigV2": "applications: []"}


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    directory = tmp_path_factory.mktemp("ray")
    async with place(common, directory, RAYCLUSTERS, components=["ray"], crds=crds("kuberay")) as made:
        yield made


# --- What KubeRay would do --------------------------------------------------------------------------------------------


async def make_pods(scene: RuntimeNamespace, cluster: Object, service: str) -> None:
    """A head and a worker of a RayCluster, ready behind a Service."""
    name, uid = cluster["metadata"]["name"], cluster["metadata"]["uid"]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": name, "uid": uid, "controller": True}
    await scene.service(service, {"ray.io/cluster": name})
    for node in ("head", "worker"):
        labels = {"ray.io/cluster": name, "ray.io/node-type": node, "ray.io/is-ray-node": "yes"}
        metadata = {"name": f"{name}-{node}", "labels": labels, "ownerReferences": [owner]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [CONTAINER]}}
        await scene.client.create(resources.PODS, scene.namespace, body)
    await scene.served(service, 2)


async def take_pods(scene: RuntimeNamespace, cluster: str) -> None:
    """Delete the pods, as a suspension of a RayCluster does."""
    for pod in await scene.pods(f"ray.io/cluster={cluster}"):
        await scene.client.delete(resources.PODS, scene.namespace, pod["metadata"]["name"])


async def report(scene: RuntimeNamespace, name: str, **status: object) -> None:
    """The status of the target, with the generation that was seen."""
    seen = (await scene.target(name))["metadata"]["generation"]
    patch = {"status": {"observedGeneration": seen, **status}}
    await scene.client.merge_patch(scene.resource, scene.namespace, name, patch, subresource="status")


async def make_clusters(scene: RuntimeNamespace, service: Object, *names: str) -> list[Object]:
    """The RayClusters of a RayService."""
    metadata = service["metadata"]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayService", "name": metadata["name"], "uid": metadata["uid"]}
    labels = {"ray.io/originated-from-cr-name": metadata["name"], "ray.io/originated-from-crd": "RayService"}
    made = []
    for name in names:
        head = resources_head(RAYCLUSTERS, name)
        head["metadata"] |= {"labels": labels, "ownerReferences": [{**owner, "controller": True}]}
        made.append(await scene.client.create(RAYCLUSTERS, scene.namespace, {**head, "spec": CLUSTER}))
    return made


async def switched(scene: RuntimeNamespace, name: str, value: bool | None) -> Object:
    """Wait until the switch stands so."""

    async def check() -> Object | None:
        found = await scene.target(name)
        return found if found["spec"].get("suspend") is value else None

    return await scene.until(check, f"spec.suspend of {name} to be {value}")


def saved(evidence: Object) -> dict[str, str | None]:
    """The fields that were saved, by path."""
    return {field["path"]: field.get("value") for field in evidence["fields"]}


# --- RayCluster -------------------------------------------------------------------------------------------------------


async def test_cluster_is_suspended_held_and_brought_back(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    before = await scene.put("scorer", CLUSTER)
    await make_pods(scene, before, "scorer-head-svc")
    await scene.read_risk("scorer", 0.31)
    await switched(scene, "scorer", True)
    escalation = await scene.escalation_says("scorer", "Contained", "False", "ContainmentApplied")
    assert "2 pods" in condition(escalation, "Contained")["message"]
    assert saved(escalation["spec"]["evidence"]) == {"/spec/suspend": None}
    assert escalation["spec"]["evidence"]["readyEndpoints"] == 2
    assert escalation["spec"]["evidence"]["images"][0]["image"] == CONTAINER["image"]
    await take_pods(scene, "scorer")
    await report(scene, "scorer", state="suspended")
    await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")

    await scene.escalation_says("scorer", "Locked", "True")
    refusal = f"RayCluster scorer cannot be started: it {HELD}"
    for patch in ({"suspend": False}, {"suspend": None}):
        assert refusal in await scene.refused("scorer", {"spec": patch})
    with pytest.raises(Forbidden, match="cannot be started"):
        await scene.put("scorer", {**CLUSTER, "suspend": False}, manager="gitops")
    await scene.client.merge_patch(scene.resource, scene.namespace, "scorer", {"spec": {"rayVersion": "2.52.0"}})

    await scene.resume(escalation)
    after = await switched(scene, "scorer", None)
    assert after["spec"] == {**before["spec"], "rayVersion": "2.52.0"}
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_cluster_deleted_and_created_again_under_the_lock_is_created_suspended(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    await scene.put("scorer", {**CLUSTER, "suspend": False})
    await scene.read_risk("scorer", 0.31)
    await switched(scene, "scorer", True)
    await report(scene, "scorer", state="suspended")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert saved(escalation["spec"]["evidence"]) == {"/spec/suspend": "false"}
    await scene.escalation_says("scorer", "Locked", "True")
    again = {**resources_head(RAYCLUSTERS, "scorer"), "spec": CLUSTER}
    await scene.held_by_name(lambda dry: dry.create(RAYCLUSTERS, scene.namespace, again))
    await scene.client.delete(scene.resource, scene.namespace, "scorer")
    with pytest.raises(Forbidden, match="cannot be started"):
        await scene.put("scorer", CLUSTER)
    await scene.put("scorer", {**CLUSTER, "suspend": True})


async def test_cluster_started_without_a_lock_is_suspended_again(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await scene.put("scorer", CLUSTER)
    await scene.read_risk("scorer", 0.31)
    await switched(scene, "scorer", True)
    await report(scene, "scorer", state="suspended")
    await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await scene.client.merge_patch(scene.resource, scene.namespace, "scorer", {"spec": {"suspend": False}})

    escalation = await scene.drift("scorer")
    assert saved(escalation["status"]["restore"]) == {"/spec/suspend": None}
    assert (await scene.target("scorer"))["spec"]["suspend"] is True


async def test_no_rollback_so_the_cluster_is_suspended(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    await scene.put("scorer", CLUSTER)
    await scene.read_risk("scorer", 0.31)
    await switched(scene, "scorer", True)
    await report(scene, "scorer", state="suspended")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
    assert "no earlier spec of a RayCluster is kept anywhere" in intent["message"]


# --- RayService -------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(scene: RuntimeNamespace) -> RuntimeNamespace:
    """The same namespace, with RayServices as targets."""
    scene.resource = RAYSERVICES
    return scene


def short_of_time() -> Object:
    """A ladder whose containing tier has a moment, and a tier above it."""
    made = ladder(lock=True)
    high = made["spec"]["tiers"][1]
    high["containment"]["within"] = "3s"
    made["spec"]["tiers"].append({"name": "severe", "decide": high["decide"], "notify": high["notify"]})
    return made


async def test_service_without_the_switch_is_refused_and_nothing_is_touched(service: RuntimeNamespace) -> None:
    await service.apply(short_of_time())
    before = await service.put("scorer", SERVICE)
    [cluster] = await make_clusters(service, before, "scorer-abcde")
    await make_pods(service, cluster, "scorer-serve-svc")
    await service.read_risk("scorer", 0.31)
    escalation = await service.escalation_says("scorer", "Contained", "False", "ContainmentLate")
    said = condition(escalation, "Contained")["message"]
    assert "its CRD has no such field" in said
    assert "spec.suspend is not true (KubeRay has it from v1.7.0 on)" in said
    assert "1 RayCluster," in said
    records = await service.records(escalation["metadata"]["name"])
    assert "ContainmentImpossible" in {r["spec"]["event"] for r in records}, "which the condition said for 3 s only"

    async def risen() -> bool:
        [found] = await service.escalations("scorer")
        return bool(found["status"]["tier"] == "severe")

    await service.until(risen, "the next tier")
    await service.quiet()
    tried = [e for e in service.operator.entries() if e["event"] == "will try again" and service.namespace in e["key"]]
    assert tried
    assert all(entry["delay"] >= 60 for entry in tried), "no fast retry"
    after = await service.target("scorer")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert await service.client.get(RAYCLUSTERS, service.namespace, "scorer-abcde") == cluster
    assert len(await service.pods("ray.io/cluster=scorer-abcde")) == 2


@pytest.fixture(scope="module")
async def newer(home: RuntimeNamespace) -> None:
    """The CRD as KubeRay has it from v1.7.0 on, for the tests from here on.

    The operator starts again: a watch that was open shows objects through the schema of when it was opened.
    """
    newer = next(copy.deepcopy(crd) for crd in crds("kuberay") if crd["spec"]["names"]["kind"] == "RayService")
    for version in newer["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["suspend"] = {"type": "boolean"}
    await home.client.apply(CRDS, None, newer, manager="tests")

    async def kept() -> bool:
        body = {**resources_head(RAYSERVICES, "probe"), "spec": {**SERVICE, "suspend": True}}
        stored = await home.client.create(RAYSERVICES, home.namespace, body)
        await home.client.delete(RAYSERVICES, home.namespace, "probe")
        return "suspend" in stored["spec"]

    await home.until(kept, "the field to be kept")

    def led() -> int:
        return sum(entry["event"] == "leading" for entry in home.operator.entries())

    before = led()
    home.operator.stop()
    home.operator.start()

    async def leads() -> bool:
        return led() > before

    await home.until(leads, "the operator to lead again")


@pytest.fixture
def with_switch(newer: None, service: RuntimeNamespace) -> RuntimeNamespace:
    """RayServices as targets, which can be suspended."""
    del newer
    return service


async def test_service_with_the_switch_is_stopped_with_all_its_clusters(with_switch: RuntimeNamespace) -> None:
    scene = with_switch
    await scene.apply(ladder(lock=True))
    before = await scene.put("scorer", SERVICE)
    old, new = await make_clusters(scene, before, "scorer-abcde", "scorer-fghij")
    await make_pods(scene, old, "scorer-serve-svc")
    await make_pods(scene, new, "scorer-fghij-serve-svc")
    await scene.read_risk("scorer", 0.31)
    await switched(scene, "scorer", True)
    escalation = await scene.escalation_says("scorer", "Contained", "False", "ContainmentApplied")
    assert escalation["spec"]["evidence"]["readyEndpoints"] == 4
    assert "4 pods, 2 RayClusters" in condition(escalation, "Contained")["message"]

    await report(scene, "scorer")
    for cluster in ("scorer-abcde", "scorer-fghij"):  # the garbage collector takes their pods
        await scene.client.delete(RAYCLUSTERS, scene.namespace, cluster)
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await scene.escalation_says("scorer", "Locked", "True")
    assert f"RayService scorer cannot be started: it {HELD}" in await scene.refused(
        "scorer", {"spec": {"suspend": False}}
    )
    await scene.resume(escalation)
    assert (await switched(scene, "scorer", None))["spec"] == before["spec"]


async def test_service_has_no_rollback_either(with_switch: RuntimeNamespace) -> None:
    scene = with_switch
    await scene.apply(ladder(action="Rollback"))
    await scene.put("scorer", {**SERVICE, "suspend": False})
    await scene.read_risk("scorer", 0.31)
    await switched(scene, "scorer", True)
    await report(scene, "scorer")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert "no earlier spec of a RayService is kept" in escalation["spec"]["intent"]["message"]
