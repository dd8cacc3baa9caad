"""Two ladders on one model, on a real control plane with the lock: each with its escalation and Resume."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Forbidden, Object
from riskladder.workloads.runtimes.deployment import DEPLOYMENT
from tests.cluster import LocalControlPlane
from tests.integration.runtimes import HELD, RuntimeNamespace, place
from tests.integration.world import LABEL, LADDER, condition, deployment, ladder, signal

SECOND = "privacy"


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    async with place(common, tmp_path_factory.mktemp("ladders"), DEPLOYMENT.resource) as made:
        yield made


@pytest.fixture
async def scene(home: RuntimeNamespace) -> AsyncIterator[RuntimeNamespace]:
    """A model that both ladders govern, in a namespace of its own."""
    async with home.another() as made:
        await made.apply(ladder(lock=True))
        both = {"governs": {"selector": {"matchLabels": {"privacy": "yes"}}}}
        await made.apply(ladder(SECOND, "Rollback", lock=True, **both))
        await made.service("scorer", {"app": "scorer"})
        body = deployment("scorer", replicas=2)
        body["metadata"]["labels"] = {LABEL: LADDER, "privacy": "yes"}
        await made.apply(body)
        await made.served("scorer", 2)
        yield made


async def breach(scene: RuntimeNamespace, name: str) -> Object:
    """Have one ladder breached; its escalation once the model is proved to be contained."""
    await scene.apply(signal(f"of-{name}", "scorer", 0.31, ladder=name))
    return await contained(scene, name)


async def contained(scene: RuntimeNamespace, name: str) -> Object:
    async def check() -> Object | None:
        found = [e for e in await scene.escalations("scorer") if e["spec"]["ladder"]["name"] == name]
        return found[0] if found and condition(found[0], "Contained")["status"] == "True" else None

    return await scene.until(check, f"ladder {name} to have it contained")


async def carried(scene: RuntimeNamespace) -> str:
    """The escalation whose hold the model carries."""
    metadata = (await scene.deployment("scorer"))["metadata"]
    return str(metadata.get("labels", {}).get("riskladder.dev/contained-by", ""))


async def test_each_ladder_holds_the_model_until_its_own_people_resume_it(scene: RuntimeNamespace) -> None:
    first = await breach(scene, LADDER)
    second = await breach(scene, SECOND)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    intent = second["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "AlreadyContained")
    assert first["metadata"]["name"] in intent["message"]
    assert await carried(scene) == first["metadata"]["name"]

    resumed = await scene.resume(first)
    assert second["metadata"]["name"] in condition(resumed, "Contained")["message"]
    assert (await scene.deployment("scorer"))["spec"]["replicas"] == 0

    async def passed_on() -> bool:
        return await carried(scene) == second["metadata"]["name"]

    await scene.until(passed_on, "the hold to be that of the other ladder")
    with pytest.raises(Forbidden, match=f"{HELD} {second['metadata']['name']}"):
        await scene.client.merge_patch(resources.DEPLOYMENTS, scene.namespace, "scorer", {"spec": {"replicas": 1}})

    await scene.resume(second)
    assert (await scene.deployment("scorer"))["spec"]["replicas"] == 2
    await scene.served("scorer", 2)
    assert await carried(scene) == ""
    for escalation in (first, second):
        await scene.verified(escalation)


async def test_rollback_of_one_ladder_stands_under_the_stop_of_another(scene: RuntimeNamespace) -> None:
    await scene.apply(signal(f"of-{SECOND}", "scorer", 0.05, ladder=SECOND))

    async def known() -> bool:
        found = await scene.get(resources.SIGNALS, f"of-{SECOND}")
        if (found.get("status") or {}).get("lastKnownGood"):
            return True
        await scene.apply(signal(f"of-{SECOND}", "scorer", 0.05, ladder=SECOND))
        return False

    await scene.until(known, "a known good revision")
    await scene.deploy("scorer", "registry.example/model:2", 2)
    back = await breach(scene, SECOND)
    assert back["spec"]["intent"]["action"] == "Rollback"
    stop = await breach(scene, LADDER)
    workload = await scene.deployment("scorer")
    assert workload["spec"]["replicas"] == 0
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:1"
    assert await carried(scene) == stop["metadata"]["name"]
    await scene.resume(stop)
    workload = await scene.deployment("scorer")
    assert workload["spec"]["replicas"] == 2
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:1"
    assert await carried(scene) == back["metadata"]["name"]
    await contained(scene, SECOND)
    await scene.resume(back)

    async def free() -> bool:
        return await carried(scene) == ""

    await scene.until(free, "nothing to be held any more")
