"""Autoscalers of a contained model: the real HorizontalPodAutoscaler controller, and the real KEDA operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from riskladder.cluster.resources import Resource
from riskladder.workloads.companions.keda import ANNOTATION, SCALEDOBJECTS
from tests.cluster import LocalControlPlane
from tests.cluster.peers import KedaOperator, install_crds
from tests.conftest import progress
from tests.integration.runtimes import RuntimeNamespace, place
from tests.integration.world import condition, deployment, ladder

pytestmark = pytest.mark.timeout(3600)  # The first run builds KEDA.

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")


@pytest.fixture(scope="module")
async def home(
    plane: LocalControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module, and KEDA."""
    show, directory = progress(request.config), tmp_path_factory.mktemp("keda")
    install_crds(plane.kubeconfig, "keda", *KedaOperator.KINDS, progress=show)
    with KedaOperator(plane.kubeconfig, directory, show):
        async with place(plane, directory, resources.DEPLOYMENTS, components=["keda"]) as made:
            yield made


def scaler(minimum: int = 2, annotations: Object | None = None, target: str = "scorer") -> Object:
    """A ScaledObject that is active all the time, and looked at every second."""
    trigger = {"timezone": "UTC", "start": "0 0 1 1 *", "end": "59 23 31 12 *", "desiredReplicas": str(minimum)}
    return {
        "apiVersion": SCALEDOBJECTS.api_version,
        "kind": SCALEDOBJECTS.kind,
        "metadata": {"name": target, **({"annotations": annotations} if annotations is not None else {})},
        "spec": {
            "scaleTargetRef": {"name": target},
            "pollingInterval": 1,
            "cooldownPeriod": 1,
            "minReplicaCount": 0,
            "maxReplicaCount": 5,
            "triggers": [{"type": "cron", "metadata": trigger}],
        },
    }


async def served(scene: RuntimeNamespace, number: int) -> None:
    """Wait until it is scaled, which its autoscaler does in its own time."""

    async def check() -> bool:
        return len(await scene.endpoints("scorer")) == number

    await scene.until(check, f"{number} ready endpoints")


def condition_of(obj: Object, kind: str) -> Any:
    return condition(obj, kind)["status"], condition(obj, kind).get("reason")


# --- HorizontalPodAutoscaler ------------------------------------------------------------------------------------------


async def autoscaler_is_disabled_at_zero_and_scales_again_after_a_resume(scene: RuntimeNamespace) -> None:
    """One of Kubernetes, without KEDA."""
    await scene.apply(ladder(lock=True))
    await scene.serve("scorer")
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scorer"},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ],
    }
    body = {"apiVersion": HPAS.api_version, "kind": HPAS.kind, "metadata": {"name": "scorer"}, "spec": spec}
    made = await scene.client.create(HPAS, scene.namespace, body)
    await served(scene, 2)  # it asks for its minimum
    escalation = await scene.breach("scorer")

    async def disabled() -> Object | None:
        found = await scene.get(HPAS, "scorer")
        return found if condition_of(found, "ScalingActive") == ("False", "ScalingDisabled") else None

    found = await scene.until(disabled, "it to be disabled")
    assert found["spec"] == made["spec"]
    await scene.resume(escalation)
    await served(scene, 2)
    await scene.scale("scorer", 1)

    async def scaled() -> bool:
        return bool((await scene.deployment("scorer"))["spec"]["replicas"] == 2)

    await scene.until(scaled, "it to be at work again")
    await served(scene, 2)
    found = await scene.get(HPAS, "scorer")
    assert found["spec"] == made["spec"]
    assert {m["manager"] for m in found["metadata"]["managedFields"] if m.get("subresource") != "status"} == {
        "riskladder"  # of this test's client, which created it
    }

    async def looks_at_metrics() -> bool:
        """Where there are none, that is what it says; it is not disabled."""
        return condition_of(await scene.get(HPAS, "scorer"), "ScalingActive") == ("False", "FailedGetResourceMetric")

    await scene.until(looks_at_metrics, "it to look at metrics again")


# --- KEDA -------------------------------------------------------------------------------------------------------------


async def paused(scene: RuntimeNamespace, name: str = "scorer") -> Object:
    """The ScaledObject, once KEDA says that it is paused at zero."""

    async def check() -> Object | None:
        found = await scene.get(SCALEDOBJECTS, name)
        is_paused = condition_of(found, "Paused")[0] == "True" and found["status"].get("pausedReplicaCount") == 0
        return found if is_paused else None

    return await scene.until(check, f"ScaledObject {name} to be paused")


async def given_back(scene: RuntimeNamespace, name: str = "scorer") -> Object:
    """Return what is on record about the ScaledObject, once it is restored."""

    async def check() -> Object | None:
        found = (await scene.escalations("scorer"))[0]["status"].get("companions", ())
        return next((b for b in found if b["name"] == name and b.get("resumedAt")), None)

    return await scene.until(check, f"ScaledObject {name} to be restored")


async def suspended(scene: RuntimeNamespace) -> Object:
    """Return what is on record about the ScaledObject, once that says that it is paused: its annotation comes first."""

    async def check() -> Object | None:
        found = (await scene.escalations("scorer"))[0]["status"].get("companions", ())
        return next((b for b in found if b.get("suspendedAt")), None)

    return await scene.until(check, "the pause to be on record")


async def polls(scene: RuntimeNamespace, name: str = "other") -> None:
    """Wait until KEDA has raised another Deployment from zero: until then it would have raised the contained one."""
    await scene.apply(deployment(name, replicas=0))
    await scene.client.create(SCALEDOBJECTS, scene.namespace, scaler(2, target=name))

    async def raised() -> bool:
        return bool((await scene.deployment(name))["spec"]["replicas"])

    await scene.until(raised, "KEDA to raise another Deployment from zero")


@pytest.mark.parametrize("lock", [True, False], ids=["locked", "unlocked"])
async def test_keda_leaves_a_contained_model_at_zero_and_scales_it_again(scene: RuntimeNamespace, lock: bool) -> None:
    await scene.apply(ladder(lock=lock))
    await scene.serve("scorer")
    made = await scene.client.create(SCALEDOBJECTS, scene.namespace, scaler(2))
    await served(scene, 1)

    async def active() -> bool:
        return condition_of(await scene.get(SCALEDOBJECTS, "scorer"), "Active")[0] == "True"

    await scene.until(active, "KEDA to be at work")
    before = (await scene.deployment("scorer"))["spec"]["replicas"]
    escalation = await scene.breach("scorer")
    held = await paused(scene)
    assert held["metadata"]["annotations"] == {ANNOTATION: "0"}
    await polls(scene)
    await scene.stopped("scorer")  # what was scaled up in the moment before it was paused is stopped again
    companion = await suspended(scene)
    assert (companion["kind"], companion["name"]) == ("ScaledObject", "scorer")
    assert "value" not in companion
    await scene.quiet()
    contained = (await scene.escalations("scorer"))[0]["status"]
    assert contained["companions"] == [companion]
    reverted = [u["count"] for u in contained["containments"][0].get("drift", ())]
    assert sum(reverted) <= 1, "not more often than in the moment before it was paused"

    await scene.resume(escalation)
    restored = (await scene.escalations("scorer"))[0]["status"]
    assert restored["restore"]["replicas"] == before
    back = await given_back(scene)
    assert back["resumedAt"] >= restored["resume"]["appliedAt"]
    found = await scene.get(SCALEDOBJECTS, "scorer")
    assert not found["metadata"].get("annotations")
    assert found["spec"] == held["spec"]
    assert made["spec"]["scaleTargetRef"] == found["spec"]["scaleTargetRef"]
    await scene.scale("scorer", 0)
    await scene.until(lambda: _raised(scene), "KEDA to raise it from zero again")
    events = [r["spec"]["event"] for r in await scene.verified((await scene.escalations("scorer"))[0])]
    assert events.index("Restored") < events.index("AlsoResumed")


async def _raised(scene: RuntimeNamespace) -> bool:
    return bool((await scene.deployment("scorer"))["spec"]["replicas"])


async def test_keda_raises_from_zero_what_is_not_paused(scene: RuntimeNamespace) -> None:
    """What the pause is for."""
    await polls(scene)


async def test_what_is_looked_at_now_and_then_only(home: RuntimeNamespace) -> None:
    """Side by side, each in a namespace of its own: they wait for the operator's, or the autoscaler's, next look."""
    scenarios = (
        autoscaler_is_disabled_at_zero_and_scales_again_after_a_resume,
        lambda scene: given_back_as_it_was(scene, "0"),
        unpaused_it_is_answered,
    )
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for scenario in scenarios:
            tasks.create_task(scenario(await stack.enter_async_context(home.another())))


async def test_what_was_paused_before_is_restored_as_it_was(scene: RuntimeNamespace) -> None:
    await given_back_as_it_was(scene, "3")


async def given_back_as_it_was(scene: RuntimeNamespace, value: str) -> None:
    """A ScaledObject that people had paused has their annotation again after a Resume."""
    await scene.apply(ladder())
    await scene.serve("scorer")
    annotations = {ANNOTATION: value, "team": "fairness"}
    if value == "0":  # KEDA would stop the model that is to be contained: it is paused while nothing else runs
        await scene.breach("scorer")
        await scene.quiet()  # it is found although nothing else happens
        await scene.client.create(SCALEDOBJECTS, scene.namespace, scaler(2, annotations))
    else:
        await scene.client.create(SCALEDOBJECTS, scene.namespace, scaler(2, annotations))
        await served(scene, 3)
        await scene.breach("scorer")
    entry = await suspended(scene)
    assert (entry.get("was", False), entry["value"]) == (value == "0", value)
    await paused(scene)
    await scene.resume((await scene.escalations("scorer"))[0])
    await given_back(scene)
    assert (await scene.get(SCALEDOBJECTS, "scorer"))["metadata"]["annotations"] == annotations


async def unpaused_it_is_answered(scene: RuntimeNamespace) -> None:
    """Somebody who unpauses it while the model is contained is answered, and the lock has held the model meanwhile."""
    await scene.apply(ladder(lock=True))
    await scene.serve("scorer")
    await scene.client.create(SCALEDOBJECTS, scene.namespace, scaler(2))
    await scene.breach("scorer")
    await paused(scene)
    await scene.quiet()
    unpaused = {"metadata": {"annotations": {ANNOTATION: None}}}
    await scene.client.merge_patch(SCALEDOBJECTS, scene.namespace, "scorer", unpaused)

    async def again() -> bool:
        found = await scene.get(SCALEDOBJECTS, "scorer")
        return bool((found["metadata"].get("annotations") or {}).get(ANNOTATION) == "0")

    await scene.until(again, "it to be paused again")
    assert (await scene.deployment("scorer"))["spec"]["replicas"] == 0, "the lock has held it meanwhile"


async def test_with_a_rollback_nothing_is_paused(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    await scene.serve("scorer")
    await scene.known_good("fairness", "scorer")
    await scene.client.create(SCALEDOBJECTS, scene.namespace, scaler(1))
    await scene.client.merge_patch(
        resources.DEPLOYMENTS,
        scene.namespace,
        "scorer",
        {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "registry.example/model:2"}]}}}},
    )
    await scene.ready("scorer", 1)
    await scene.breach("scorer", "RolledBack")
    await scene.quiet()
    assert not (await scene.get(SCALEDOBJECTS, "scorer"))["metadata"].get("annotations")
