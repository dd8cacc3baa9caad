"""StatefulSets as targets, on a real control plane: stopped, rolled back, held, and restored as they were."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from riskladder.cluster.client import Object
from riskladder.workloads.runtimes.statefulset import STATEFULSET
from tests.cluster import LocalControlPlane
from tests.integration.runtimes import HELD, RuntimeNamespace, place
from tests.integration.world import ladder


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    async with place(common, tmp_path_factory.mktemp("statefulset"), STATEFULSET.resource) as made:
        yield made


def spec(image: str = "registry.example/model:1", replicas: int = 2, **more: object) -> Object:
    return {
        "replicas": replicas,
        "serviceName": "scorer",
        "selector": {"matchLabels": {"app": "scorer"}},
        "template": {
            "metadata": {"labels": {"app": "scorer"}},
            "spec": {"containers": [{"name": "model", "image": image}]},
        },
        **more,
    }


async def serve(scene: RuntimeNamespace, image: str = "registry.example/model:1", **more: object) -> None:
    """Roll out an image, and wait until it is complete."""
    await scene.service("scorer", {"app": "scorer"})
    put = await scene.put("scorer", spec(image, **more))
    replicas, generation = put["spec"]["replicas"], put["metadata"]["generation"]

    async def complete() -> bool:
        status = (await scene.target("scorer")).get("status") or {}
        seen = status.get("observedGeneration", 0) >= generation
        return seen and status.get("updatedReplicas") == status.get("readyReplicas") == replicas

    await scene.until(complete, f"{image} to be rolled out")
    await scene.served("scorer", replicas)


async def test_stopped_held_and_brought_back(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    await serve(scene, ordinals={"start": 5})
    escalation = await scene.breach("scorer")
    assert (await scene.target("scorer"))["spec"]["replicas"] == 0
    assert await scene.pods("app=scorer") == []
    assert escalation["spec"]["evidence"]["replicas"] == 2
    assert escalation["spec"]["evidence"]["images"][0]["image"] == "registry.example/model:1"

    await scene.escalation_says("scorer", "Locked", "True")
    for subresource in (None, "scale"):
        said = await scene.refused("scorer", {"spec": {"replicas": 1}}, subresource=subresource)
        assert f"StatefulSet scorer cannot have more than 0 replicas, and 1 are asked for: it {HELD}" in said

    await scene.resume(escalation)
    await scene.served("scorer", 2)
    assert {p["metadata"]["name"] for p in await scene.pods("app=scorer")} == {"scorer-5", "scorer-6"}
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_rolled_back_to_the_controller_revision_that_was_good(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback", lock=True))
    await serve(scene)
    good = await scene.baseline("scorer")
    await serve(scene, "registry.example/model:2")
    await serve(scene, "registry.example/model:3")
    escalation = await scene.breach("scorer", "RolledBack")
    live = await scene.target("scorer")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:1"
    assert live["spec"]["replicas"] == 2
    assert escalation["spec"]["intent"]["podTemplateHash"] == good["digest"]
    pods = await scene.pods("app=scorer")
    assert {p["metadata"]["labels"]["controller-revision-hash"] for p in pods} == {good["digest"]}
    again = {"spec": {"template": {"metadata": {"annotations": {"try": "again"}}}}}
    assert HELD in await scene.refused("scorer", again)


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ({"type": "OnDelete"}, "OnDelete: pods of the breached revision would stay"),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "partition 1"),
    ],
)
async def test_strategy_that_leaves_breached_pods_running_is_scaled_to_zero(
    scene: RuntimeNamespace, strategy: Object, why: str
) -> None:
    await scene.apply(ladder(action="Rollback"))
    await serve(scene, updateStrategy=strategy)
    put = await scene.put("scorer", spec("registry.example/model:2", updateStrategy=strategy))

    async def seen() -> bool:
        status = (await scene.target("scorer"))["status"]
        return bool(status["observedGeneration"] >= put["metadata"]["generation"])

    await scene.until(seen, "its controller to have seen the second revision")
    escalation = await scene.breach("scorer")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
    assert why in intent["message"]


async def test_scaled_up_without_a_lock_it_is_contained_again(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await serve(scene)
    await scene.breach("scorer")
    await scene.put("scorer", spec(), manager="rival")

    escalation = await scene.drift("scorer")
    assert [u["fieldManager"] for u in escalation["status"]["containments"][0]["drift"]] == ["rival"]
    assert (await scene.target("scorer"))["spec"]["replicas"] == 0
