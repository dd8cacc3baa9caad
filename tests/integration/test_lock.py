"""The containment lock on a real API server: whoever pulls at a contained model is refused, and told what holds it."""

from __future__ import annotations

import asyncio
import copy

import pytest

from demo.install import InstallError
from riskladder.cluster import resources
from riskladder.cluster.authority import BINDINGS, LOCK, lock_missing
from riskladder.cluster.client import Client, Forbidden, NotFound
from riskladder.cluster.resources import Resource
from tests.cluster import ControlPlane
from tests.cluster.install import kubectl
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import World, deployment, ladder, signal

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
HELD = "is contained by Escalation scorer-"


@pytest.fixture
async def held(world: World, operator: OperatorProcess) -> World:
    """A model at zero, locked."""
    await world.apply(ladder(lock=True))
    await world.serve("scorer", replicas=2)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.escalation_says("scorer", "Locked", "True", "Locked")
    return world


@pytest.fixture
async def rolled_back(world: World, operator: OperatorProcess) -> World:
    """A model on its last good revision, locked."""
    await world.apply(ladder(action="Rollback", lock=True))
    await world.serve("scorer")
    await world.known_good("fairness", "scorer")
    await world.deploy("scorer", "registry.example/model:2", 1)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "RolledBack")
    await world.escalation_says("scorer", "Locked", "True", "Locked")
    return world


async def refused(plane: ControlPlane, world: World, *arguments: str) -> str:
    """What kubectl says to a cluster admin who is refused."""
    with pytest.raises(InstallError) as caught:
        await asyncio.to_thread(kubectl, plane.kubeconfig, "-n", world.namespace, *arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("scale", "deployment/scorer", "--replicas=3"),
        ("patch", "deployment/scorer", "-p", '{"spec":{"replicas":1}}'),
        ("patch", "deployment/scorer", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}'),
    ],
)
async def test_admin_cannot_raise_replicas(held: World, installed: ControlPlane, arguments: tuple[str, ...]) -> None:
    said = await refused(installed, held, *arguments)
    assert HELD in said
    assert "kubectl riskladder show scorer-" in said
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 0


async def test_manifest_cannot_be_applied_again_by_anybody(held: World, installed: ControlPlane) -> None:
    with pytest.raises(Forbidden, match=HELD):
        await held.client.apply(
            resources.DEPLOYMENTS, held.namespace, deployment("scorer", replicas=2), manager="argocd"
        )
    live = await held.deployment("scorer")
    again = copy.deepcopy(live)
    again["spec"]["replicas"] = 2
    with pytest.raises(Forbidden, match=HELD):
        await held.client.request(
            "PUT",
            resources.DEPLOYMENTS.path(held.namespace, "scorer"),
            verb="update",
            resource=resources.DEPLOYMENTS.title,
            body=again,
        )


async def test_delete_and_create_does_not_get_round_it(held: World) -> None:
    await held.client.delete(resources.DEPLOYMENTS, held.namespace, "scorer")

    async def gone() -> bool:
        try:
            await held.deployment("scorer")
        except NotFound:
            return True
        return False

    await held.until(gone, "the workload to be gone")
    with pytest.raises(Forbidden, match=HELD):
        await held.client.create(resources.DEPLOYMENTS, held.namespace, deployment("scorer", replicas=2))
    assert await held.client.create(resources.DEPLOYMENTS, held.namespace, deployment("scorer", replicas=0))
    await held.escalation_says("scorer", "Contained", "True", "AlreadyAtZero")
    await held.escalation_says("scorer", "Closed", "True", "TargetRecreated")
    with pytest.raises(Forbidden, match=HELD):
        await held.scale("scorer", 1)


async def test_another_image_may_be_prepared_and_other_workloads_are_free(held: World) -> None:
    await held.client.merge_patch(
        resources.DEPLOYMENTS,
        held.namespace,
        "scorer",
        {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "registry.example/model:9"}]}}}},
    )
    await held.apply(deployment("other", replicas=1))
    await held.scale("other", 3)
    assert (await held.deployment("other"))["spec"]["replicas"] == 3


async def test_autoscaler_leaves_it_alone(held: World) -> None:
    await held.client.create(
        HPAS,
        held.namespace,
        {
            "metadata": {"name": "scorer"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scorer"},
                "minReplicas": 2,
                "maxReplicas": 4,
            },
        },
    )

    async def seen() -> bool:
        status = (await held.get(HPAS, "scorer")).get("status") or {}
        return any(c["type"] == "ScalingActive" for c in status.get("conditions") or ())

    await held.until(seen, "the autoscaler to have looked at it", 40)
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 0


async def test_rolled_back_template_is_frozen(rolled_back: World, installed: ControlPlane) -> None:
    good = (await rolled_back.deployment("scorer"))["spec"]["template"]
    for arguments in (
        ("set", "image", "deployment/scorer", "model=registry.example/model:2"),
        ("rollout", "undo", "deployment/scorer"),
        ("rollout", "restart", "deployment/scorer"),
    ):
        assert HELD in await refused(installed, rolled_back, *arguments), arguments
    await rolled_back.scale("scorer", 2)
    now = await rolled_back.deployment("scorer")
    assert (now["spec"]["template"], now["spec"]["replicas"]) == (good, 2), "replicas are not the lock's business here"


async def test_gitops_that_applies_again_and_again_is_refused_every_time(held: World) -> None:
    wanted = deployment("scorer", replicas=2)
    for _ in range(20):
        with pytest.raises(Forbidden, match=HELD):
            await held.client.apply(resources.DEPLOYMENTS, held.namespace, wanted, manager="gitops")
    [escalation] = await held.escalations("scorer")
    assert not escalation["status"]["containment"].get("undone")


async def test_ladder_that_drops_its_lock_frees_the_workload_which_is_contained_again(held: World) -> None:
    await held.apply(ladder(lock=False))
    await held.escalation_says("scorer", "Locked", "False", "LockNotWanted")

    async def free() -> bool:
        try:
            await held.scale("scorer", 2)
        except Forbidden:
            return False
        return True

    await held.until(free, "the lock to be off")
    await held.escalation_says("scorer", "ContainmentHolds", "True", "ContainedAgain")
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 0


async def test_break_glass_is_noticed_recorded_and_what_is_undone_is_put_right(held: World, admin: Client) -> None:
    binding = await admin.get(BINDINGS, None, LOCK)
    await admin.delete(BINDINGS, None, LOCK)
    try:
        await held.escalation_says("scorer", "Locked", "False", "LockMissing")

        async def free() -> bool:
            try:
                await held.scale("scorer", 2)
            except Forbidden:
                return False
            return True

        await held.until(free, "the lock to be off")
        escalation = await held.escalation_says("scorer", "ContainmentHolds", "True", "ContainedAgain")
        [undone] = escalation["status"]["containment"]["undone"]
        assert undone["count"] >= 1
    finally:
        metadata = {key: binding["metadata"][key] for key in ("name", "labels") if key in binding["metadata"]}
        await admin.create(BINDINGS, None, {**binding, "metadata": metadata})
    await held.escalation_says("scorer", "Locked", "True", "Locked")
    records = await held.verified((await held.escalations("scorer"))[0])
    events = [r["spec"]["event"] for r in records]
    assert events.index("LockMissing") < events.index("ContainedAgain") < events.index("LockRestored")


async def test_lock_missing_is_seen(admin: Client, installed: ControlPlane) -> None:
    assert await lock_missing(admin) == ""
