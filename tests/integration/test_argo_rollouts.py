"""Argo Rollouts as targets, with their real controller: stopped and rolled back, also in the middle of an update."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from riskladder.workloads.runtimes.argo import ROLLOUT
from tests.cluster import LocalControlPlane
from tests.cluster.peers import RolloutsController, install_crds
from tests.conftest import progress
from tests.integration.runtimes import HELD, RuntimeNamespace, place
from tests.integration.world import ladder

pytestmark = pytest.mark.timeout(3600)  # The first run builds the controller.

HASH = "rollouts-pod-template-hash"


@pytest.fixture(scope="module")
async def home(
    plane: LocalControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RuntimeNamespace]:
    """One operator and one Rollouts controller for the module."""
    show, directory = progress(request.config), tmp_path_factory.mktemp("argo")
    install_crds(plane.kubeconfig, "argo-rollouts", *RolloutsController.KINDS, progress=show)
    with RolloutsController(plane.kubeconfig, directory, show):
        async with place(plane, directory, ROLLOUT.resource, components=["argo-rollouts"]) as made:
            yield made


PAUSE: Object = {"pause": {}}
CANARY: Object = {"canary": {"steps": [{"setWeight": 50}, PAUSE, {"setWeight": 100}, PAUSE]}}
BLUE_GREEN: Object = {
    "blueGreen": {
        "activeService": "scorer",
        "previewService": "scorer-preview",
        "autoPromotionEnabled": False,
        "previewReplicaCount": 1,
        "scaleDownDelaySeconds": 1,
    }
}
BLUE_GREEN_BY_TIME: Object = {
    "blueGreen": {"activeService": "scorer", "previewService": "scorer-preview", "autoPromotionSeconds": 600}
}
SCALED: Object = {
    "canary": {
        "stableService": "scorer",
        "canaryService": "scorer-preview",
        "trafficRouting": {"nginx": {"stableIngress": "scorer"}},
        "scaleDownDelaySeconds": 1,
        "steps": [{"setCanaryScale": {"replicas": 2}}, {"setWeight": 10}, PAUSE],
    }
}
"""A canary with a number of pods of its own, whatever the number of replicas."""


def spec(version: int = 1, strategy: Object = CANARY, replicas: int = 2, **more: Any) -> Object:
    return {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "scorer"}},
        "template": {
            "metadata": {"labels": {"app": "scorer"}},
            "spec": {"containers": [{"name": "model", "image": f"registry.example/model:{version}"}]},
        },
        "strategy": strategy,
        **more,
    }


async def phase(scene: RuntimeNamespace, wanted: str, name: str = "scorer") -> Object:
    """The Rollout once its controller has seen it, and says so."""

    async def check() -> Object | None:
        found = await scene.target(name)
        status = found.get("status") or {}
        seen = status.get("observedGeneration") == str(found["metadata"]["generation"])
        return found if seen and status.get("phase") == wanted else None

    return await scene.until(check, f"the Rollout to be {wanted}")


async def serve(scene: RuntimeNamespace, version: int = 1, strategy: Object = CANARY, **more: Any) -> None:
    """A Rollout that is complete, behind a Service."""
    for service in ("scorer", "scorer-preview"):
        await scene.service(service, {"app": "scorer"})
    if strategy is SCALED:
        port = {"service": {"name": "scorer", "port": {"number": 80}}}
        path = {"path": "/", "pathType": "Prefix", "backend": port}
        rules = [{"host": "scorer.example", "http": {"paths": [path]}}]
        head = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "scorer"}}
        await scene.client.apply(INGRESSES, scene.namespace, {**head, "spec": {"rules": rules}}, manager="tests")
    await scene.put("scorer", spec(version, strategy, **more))
    await phase(scene, "Healthy")


INGRESSES = resources.Resource("networking.k8s.io", "v1", "ingresses", "Ingress")


async def deploy(
    scene: RuntimeNamespace, version: int, wanted: str = "Paused", strategy: Object = CANARY, **more: Any
) -> Object:
    """Begin to roll another version out, and wait until it has come to a stop."""
    await scene.put("scorer", spec(version, strategy, **more))
    found = await phase(scene, wanted)

    async def running() -> bool:
        return version in await versions(scene)

    await scene.until(running, f"pods of version {version}")
    return found


async def promote(scene: RuntimeNamespace) -> Object:
    """``kubectl argo rollouts promote --full``."""
    await instruct(scene, {"promoteFull": True})

    async def complete() -> Object | None:
        found = await scene.target("scorer")
        done = found["status"]["stableRS"] == found["status"]["currentPodHash"]
        return found if done and found["status"]["phase"] == "Healthy" else None

    return await scene.until(complete, "the update to be complete")


async def instruct(scene: RuntimeNamespace, status: Object) -> None:
    await scene.client.merge_patch(scene.resource, scene.namespace, "scorer", {"status": status}, subresource="status")


async def versions(scene: RuntimeNamespace) -> list[int]:
    """The versions of the model that run."""
    pods = await scene.pods("app=scorer")
    return sorted(int(pod["spec"]["containers"][0]["image"].rpartition(":")[2]) for pod in pods)


async def proof(scene: RuntimeNamespace, escalation: Object, event: str = "ScaledToZero") -> Object:
    """The record that a containment was proved."""
    records = await scene.records(escalation["metadata"]["name"])
    [found] = [record for record in records if record["spec"]["event"] == event]
    return found


async def test_stopped_held_and_brought_back(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    await serve(scene)
    escalation = await scene.breach("scorer")
    assert (await scene.target("scorer"))["spec"]["replicas"] == 0
    assert await versions(scene) == []
    evidence = escalation["spec"]["evidence"]
    assert (evidence["replicas"], evidence["revision"]) == (2, "1")
    assert evidence["images"][0]["image"] == "registry.example/model:1"
    assert not (await scene.target("scorer"))["status"].get("abort")

    await scene.escalation_says("scorer", "Locked", "True")
    for subresource in (None, "scale"):
        said = await scene.refused("scorer", {"spec": {"replicas": 1}}, subresource=subresource)
        assert f"Rollout scorer cannot have more than 0 replicas, and 1 are asked for: it {HELD}" in said

    await scene.resume(escalation)
    await scene.served("scorer", 2)
    await phase(scene, "Healthy")
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


@pytest.mark.parametrize(
    "strategy",
    [CANARY, SCALED, BLUE_GREEN, BLUE_GREEN_BY_TIME],
    ids=["canary", "setCanaryScale", "blueGreen", "autoPromotionSeconds"],
)
async def test_update_under_way_is_aborted_behind_the_stop(scene: RuntimeNamespace, strategy: Object) -> None:
    await scene.apply(ladder(lock=True))
    await serve(scene, strategy=strategy)
    update = await deploy(scene, 2, strategy=strategy)
    stable, canary = update["status"]["stableRS"], update["status"]["currentPodHash"]
    assert stable != canary
    escalation = await scene.breach("scorer")
    assert await versions(scene) == []
    stopped = await scene.target("scorer")
    assert (stopped["spec"]["replicas"], stopped["status"]["abort"]) == (0, True)
    assert stopped["status"]["stableRS"] == stable
    assert escalation["spec"]["evidence"]["podTemplateHash"] == canary
    assert (await proof(scene, escalation))["spec"]["detail"]["requested"] == "abort"

    await instruct(scene, {"abort": False})  # kubectl argo rollouts retry
    await scene.until(lambda: aborted(scene), "it to be aborted again")

    await scene.resume(escalation)
    given_back = await scene.target("scorer")
    assert given_back["spec"] == update["spec"]

    async def stable_only() -> bool:
        return await versions(scene) == [1, 1]

    await scene.until(stable_only, "the stable revision to serve again, and it alone")
    await scene.served("scorer", 2)


async def aborted(scene: RuntimeNamespace) -> bool:
    status = (await scene.target("scorer"))["status"]
    return bool(status.get("abort")) and await versions(scene) == []


async def test_canary_paused_manually_is_stopped_all_the_same(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await serve(scene)
    await deploy(scene, 2)
    await scene.put("scorer", spec(2, paused=True))
    before = await phase(scene, "Paused")
    escalation = await scene.breach("scorer")
    assert await versions(scene) == []
    assert (await scene.target("scorer"))["spec"]["paused"] is False
    await scene.resume(escalation)
    assert (await scene.target("scorer"))["spec"] == before["spec"]


@pytest.mark.parametrize("strategy", [CANARY, SCALED, BLUE_GREEN], ids=["canary", "setCanaryScale", "blueGreen"])
async def test_rollback_in_flight_lands_on_the_stable_revision(scene: RuntimeNamespace, strategy: Object) -> None:
    await scene.apply(ladder(action="Rollback", lock=True))
    await serve(scene, strategy=strategy)
    update = await deploy(scene, 2, strategy=strategy)
    escalation = await scene.breach("scorer", "RolledBack")
    assert await versions(scene) == [1, 1]
    live = await scene.target("scorer")
    assert live["status"]["currentPodHash"] == live["status"]["stableRS"] == update["status"]["stableRS"]
    assert escalation["spec"]["intent"]["podTemplateHash"] == update["status"]["stableRS"]
    again = {"spec": {"template": {"metadata": {"annotations": {"try": "again"}}}}}
    assert HELD in await scene.refused("scorer", again)
    assert HELD in await scene.refused("scorer", {"spec": {"template": None, "workloadRef": {"name": "other"}}})
    await scene.verified(escalation)


@pytest.mark.parametrize("strategy", [CANARY, BLUE_GREEN], ids=["canary", "blueGreen"])
async def test_rollback_after_the_update_lands_on_the_revision_known_to_be_good(
    scene: RuntimeNamespace, strategy: Object
) -> None:
    await scene.apply(ladder(action="Rollback", lock=True))
    await serve(scene, strategy=strategy)
    good = await scene.baseline("scorer")
    for version in (2, 3):
        await deploy(scene, version, strategy=strategy)
        await promote(scene)
    escalation = await scene.breach("scorer", "RolledBack")
    live = await scene.target("scorer")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:1"
    assert live["spec"]["replicas"] == 2
    assert live["status"]["stableRS"] == escalation["spec"]["intent"]["podTemplateHash"] == good["digest"]
    assert 3 not in await versions(scene)
    await scene.verified(escalation)


async def test_template_of_another_workload_is_stopped_and_not_rolled_back(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    template = spec()["template"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scorer-source", "scaleDown": "onsuccess"}
    body: Object = {"replicas": 1, "selector": {"matchLabels": {"app": "scorer"}}, "template": template}
    source = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scorer-source"}, "spec": body}
    await scene.apply(source)
    referring = {"replicas": 2, "workloadRef": reference, "strategy": CANARY}
    await scene.service("scorer", {"app": "scorer"})
    await scene.put("scorer", referring)
    await phase(scene, "Healthy")

    async def alone() -> bool:
        found = await scene.deployment("scorer-source")
        its_own = [HASH in pod["metadata"]["labels"] for pod in await scene.pods("app=scorer")]
        return found["spec"]["replicas"] == 0 and its_own == [True, True]

    await scene.until(alone, "the Deployment to be scaled down, and its pods to go")
    escalation = await scene.breach("scorer")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
    assert "spec.workloadRef" in intent["message"]
    assert await scene.pods("app=scorer") == []
    assert (await scene.deployment("scorer-source"))["spec"]["replicas"] == 0


async def test_scaled_up_without_a_lock_it_is_contained_again_and_named(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await serve(scene)
    await scene.breach("scorer")
    await scene.put("scorer", spec(), manager="rival")

    escalation = await scene.drift("scorer")
    assert [u["fieldManager"] for u in escalation["status"]["containments"][0]["drift"]] == ["rival"]
    assert (await scene.target("scorer"))["spec"]["replicas"] == 0
