"""Isolate with connections: Close on a real control plane: the pods from before the policy are restarted, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from riskladder.cluster import resources
from tests.cluster import LocalControlPlane
from tests.integration.runtimes import RuntimeNamespace, place
from tests.integration.world import condition, ladder


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    directory = tmp_path_factory.mktemp("connections")
    async with place(common, directory, resources.DEPLOYMENTS, components=["isolate", "prompt-stop"]) as made:
        yield made


async def uids(scene: RuntimeNamespace) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await scene.pods("app=scorer")}


async def test_pods_are_restarted_once_behind_the_policy(scene: RuntimeNamespace) -> None:
    body = ladder(action="Isolate", lock=True)
    body["spec"]["tiers"][1]["containment"]["connections"] = "Close"
    await scene.apply(body)
    await scene.serve("scorer", replicas=2)
    before = await uids(scene)
    escalation = await scene.breach("scorer", "Isolated")
    assert condition(escalation, "Contained")["message"].endswith(
        "; its pods were restarted, so that open connections ended"
    )
    assert escalation["spec"]["intent"]["connections"] == "Close"
    await scene.ready("scorer", 2)
    after = await uids(scene)
    assert len(after) == 2
    assert not before & after
    await scene.quiet()
    assert await uids(scene) == after, "those that took their places are not restarted again"
    await scene.resume(escalation)
    await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_keep_restarts_nothing(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Isolate"))
    await scene.serve("scorer", replicas=2)
    before = await uids(scene)
    escalation = await scene.breach("scorer", "Isolated")
    assert condition(escalation, "Contained")["message"].endswith("; open ones may go on")
    await scene.quiet()
    assert await uids(scene) == before
