"""The containment lock on a real API server: writes on a contained model are refused, and the message says why."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from demo.install import InstallError
from riskladder.cluster import resources
from riskladder.cluster.authority import BINDINGS, LOCK, LOCK_NAMES, lock_missing
from riskladder.cluster.client import Client, Forbidden, NotFound, Object
from riskladder.cluster.resources import Resource
from riskladder.workloads.network import NETWORKPOLICIES
from tests.cluster import ControlPlane
from tests.cluster.install import kubectl
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import TestNamespace, deployment, ladder, signal

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
HELD = "is contained by Escalation scorer-"


@pytest.fixture
async def held(world: TestNamespace, operator: OperatorProcess) -> TestNamespace:
    """A model at zero, locked."""
    await world.apply(ladder(lock=True))
    await world.serve("scorer", replicas=2)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.escalation_says("scorer", "Locked", "True", "Locked")
    again = deployment("scorer", replicas=2)
    await world.held_by_name(lambda dry: dry.create(resources.DEPLOYMENTS, world.namespace, again))
    return world


@pytest.fixture
async def rolled_back(world: TestNamespace, operator: OperatorProcess) -> TestNamespace:
    """A model on its last good revision, locked."""
    await world.apply(ladder(action="Rollback", lock=True))
    await world.serve("scorer")
    await world.known_good("fairness", "scorer")
    await world.deploy("scorer", "registry.example/model:2", 1)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "RolledBack")
    await world.escalation_says("scorer", "Locked", "True", "Locked")
    return world


async def refused(plane: ControlPlane, world: TestNamespace, *arguments: str) -> str:
    """Return what kubectl says to a cluster admin who is refused."""
    with pytest.raises(InstallError) as caught:
        await asyncio.to_thread(kubectl, plane.kubeconfig, "-n", world.namespace, *arguments)
    return str(caught.value)


async def put(world: TestNamespace, body: Object) -> None:
    """Replace the whole of a model, as ``kubectl replace`` does."""
    path, title = resources.DEPLOYMENTS.path(world.namespace, "scorer"), resources.DEPLOYMENTS.title
    await world.client.request("PUT", path, verb="update", resource=title, body=body)


@asynccontextmanager
async def lock_taken_off(admin: Client) -> AsyncIterator[None]:
    """Remove the bindings of the lock, and reinstate them however the block ends."""
    bindings = [await admin.get(BINDINGS, None, name) for name in (LOCK, LOCK_NAMES)]
    for binding in bindings:
        await admin.delete(BINDINGS, None, binding["metadata"]["name"])
    try:
        yield
    finally:
        for binding in bindings:
            metadata = {key: binding["metadata"][key] for key in ("name", "labels") if key in binding["metadata"]}
            await admin.create(BINDINGS, None, {**binding, "metadata": metadata})


@pytest.mark.parametrize(
    "arguments",
    [
        ("scale", "deployment/scorer", "--replicas=3"),
        ("patch", "deployment/scorer", "-p", '{"spec":{"replicas":1}}'),
        ("patch", "deployment/scorer", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}'),
    ],
)
async def test_admin_cannot_raise_replicas(
    held: TestNamespace, installed: ControlPlane, arguments: tuple[str, ...]
) -> None:
    said = await refused(installed, held, *arguments)
    assert HELD in said
    assert "kubectl riskladder show scorer-" in said
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 0


async def test_manifest_cannot_be_applied_again_by_anybody(held: TestNamespace, installed: ControlPlane) -> None:
    with pytest.raises(Forbidden, match=HELD):
        await held.client.apply(
            resources.DEPLOYMENTS, held.namespace, deployment("scorer", replicas=2), manager="argocd"
        )
    live = await held.deployment("scorer")
    again = copy.deepcopy(live)
    again["spec"]["replicas"] = 2
    with pytest.raises(Forbidden, match=HELD):
        await put(held, again)


async def test_delete_and_create_does_not_get_round_it(held: TestNamespace) -> None:
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


async def test_another_image_may_be_prepared_and_other_workloads_are_free(held: TestNamespace) -> None:
    await held.client.merge_patch(
        resources.DEPLOYMENTS,
        held.namespace,
        "scorer",
        {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "registry.example/model:9"}]}}}},
    )
    await held.apply(deployment("other", replicas=1))
    await held.scale("other", 3)
    assert (await held.deployment("other"))["spec"]["replicas"] == 3


async def test_autoscaler_leaves_it_alone(held: TestNamespace) -> None:
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

    await held.until(seen, "the autoscaler to have looked at it")
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 0


async def test_rolled_back_template_is_frozen(rolled_back: TestNamespace, installed: ControlPlane) -> None:
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


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"riskladder.dev/contained-by": None}},
        {"labels": {"riskladder.dev/lock": None}},
        {"labels": {"riskladder.dev/lock": "Isolate"}},
        {"annotations": {"riskladder.dev/containment": None}},
        {"annotations": {"riskladder.dev/containment": "{}"}},
    ],
)
async def test_what_holds_it_is_removed_by_nobody(held: TestNamespace, change: Object) -> None:
    before = (await held.deployment("scorer"))["metadata"]
    with pytest.raises(Forbidden, match=f"and what goes with it, cannot be changed: it {HELD}"):
        await held.client.merge_patch(resources.DEPLOYMENTS, held.namespace, "scorer", {"metadata": change})
    after = (await held.deployment("scorer"))["metadata"]
    assert (after["labels"], after["annotations"]) == (before["labels"], before["annotations"])


async def test_put_without_the_label_is_refused(held: TestNamespace) -> None:
    live = await held.deployment("scorer")
    del live["metadata"]["labels"]["riskladder.dev/contained-by"]
    live["spec"]["replicas"] = 2
    with pytest.raises(Forbidden, match=HELD):
        await put(held, live)


async def test_copies_of_label_and_annotation_hold_nothing(held: TestNamespace) -> None:
    """As a controller copies them to what it makes: the annotation names the uid of another object."""
    metadata = (await held.deployment("scorer"))["metadata"]
    copied = deployment("child", replicas=1)
    copied["metadata"]["labels"] = dict(metadata["labels"])
    copied["metadata"]["annotations"] = {
        "riskladder.dev/containment": metadata["annotations"]["riskladder.dev/containment"]
    }
    await held.client.create(resources.DEPLOYMENTS, held.namespace, copied)
    await held.client.merge_patch(resources.DEPLOYMENTS, held.namespace, "child", {"spec": {"replicas": 3}})
    assert (await held.deployment("child"))["spec"]["replicas"] == 3
    assert len(await held.escalations("child")) == 0


async def test_policy_that_says_it_isolates_is_made_by_nobody_else(held: TestNamespace) -> None:
    """Nobody could delete it again."""
    label = {"riskladder.dev/contained-by": "scorer-x", "riskladder.dev/lock": "Isolate"}
    body = {"metadata": {"name": "x", "labels": label}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    with pytest.raises(Forbidden, match="only the operator says that NetworkPolicy x is contained"):
        await held.client.create(NETWORKPOLICIES, held.namespace, body)


async def test_status_is_no_way_to_remove_what_holds_it(held: TestNamespace) -> None:
    gone = {"metadata": {"annotations": {"riskladder.dev/containment": None}}}
    before = (await held.deployment("scorer"))["metadata"]["annotations"]
    with suppress(Forbidden):
        await held.client.merge_patch(resources.DEPLOYMENTS, held.namespace, "scorer", gone, subresource="status")
    after = (await held.deployment("scorer"))["metadata"]["annotations"]
    assert after["riskladder.dev/containment"] == before["riskladder.dev/containment"]


async def test_nobody_else_says_that_an_object_is_contained(held: TestNamespace) -> None:
    await held.apply(deployment("free", replicas=1))
    free, metadata = await held.deployment("free"), (await held.deployment("scorer"))["metadata"]
    uid, text = metadata["uid"], metadata["annotations"]["riskladder.dev/containment"]
    forged = {
        "labels": {"riskladder.dev/contained-by": metadata["labels"]["riskladder.dev/contained-by"]},
        "annotations": {"riskladder.dev/containment": text.replace(uid, free["metadata"]["uid"])},
    }
    with pytest.raises(Forbidden, match="only the operator says that Deployment free is contained"):
        await held.client.merge_patch(resources.DEPLOYMENTS, held.namespace, "free", {"metadata": forged})
    await held.client.merge_patch(
        resources.DEPLOYMENTS, held.namespace, "free", {"metadata": {"annotations": forged["annotations"]}}
    )
    with suppress(Forbidden):  # the operator may have swept the annotation away by then: a label alone holds nothing
        await held.client.merge_patch(
            resources.DEPLOYMENTS, held.namespace, "free", {"metadata": {"labels": forged["labels"]}}
        )
    await held.quiet()
    assert await held.escalations("free") == []
    await held.scale("free", 2)


async def test_index_names_what_is_contained_and_is_written_by_the_operator_only(held: TestNamespace) -> None:
    [index] = await held.client.list(resources.INDEXES, held.namespace)
    [escalation] = await held.escalations("scorer")
    name = escalation["metadata"]["name"]
    expected = {"kind": "Deployment", "escalation": name, "tier": "high", "action": "ScaleToZero"}
    assert index["spec"]["targets"] == {"deployments.apps/scorer": expected}
    with pytest.raises(Forbidden, match="only the operator"):
        await held.client.merge_patch(resources.INDEXES, held.namespace, "riskladder", {"spec": {"targets": None}})
    with pytest.raises(Forbidden, match="only the operator"):
        await held.client.delete(resources.INDEXES, held.namespace, "riskladder")


async def test_replicaset_that_was_released_runs_nothing(held: TestNamespace, installed: ControlPlane) -> None:
    [found] = await held.client.list(resources.REPLICASETS, held.namespace, labels="app=scorer")
    name = found["metadata"]["name"]
    await asyncio.to_thread(kubectl, installed.kubeconfig, "-n", held.namespace, "label", f"rs/{name}", "app-")

    async def released() -> bool:
        return not (await held.get(resources.REPLICASETS, name))["metadata"].get("ownerReferences")

    await held.until(released, "its controller to release the ReplicaSet")
    said = await refused(installed, held, "scale", f"rs/{name}", "--replicas=2")
    assert f"ReplicaSet {name} cannot have more than 0 replicas, and 2 are asked for: Deployment scorer {HELD}" in said
    with pytest.raises(Forbidden, match=f"Deployment scorer {HELD}"):
        await held.client.merge_patch(resources.REPLICASETS, held.namespace, name, {"spec": {"replicas": 1}})
    assert await held.endpoints("scorer") == set()
    await held.client.merge_patch(resources.REPLICASETS, held.namespace, name, {"metadata": {"labels": {"a": "b"}}})


async def test_replicaset_of_a_breached_revision_is_raised_by_nobody(
    rolled_back: TestNamespace, installed: ControlPlane
) -> None:
    [escalation] = await rolled_back.escalations("scorer")
    breached = f"scorer-{escalation['spec']['evidence']['podTemplateHash']}"
    path, two = (rolled_back.namespace, breached), {"spec": {"replicas": 2}}
    await rolled_back.held_by_name(lambda dry: dry.merge_patch(resources.REPLICASETS, *path, two, subresource="scale"))
    said = await refused(installed, rolled_back, "scale", f"rs/{breached}", "--replicas=2")
    assert f"ReplicaSet {breached} cannot have more than 0 replicas" in said
    await rolled_back.scale("scorer", 3)
    await rolled_back.ready("scorer", 3)


async def test_rollout_of_what_was_rolled_back_is_not_held_up(rolled_back: TestNamespace) -> None:
    for spec in ({"paused": True}, {"minReadySeconds": 60}):
        with pytest.raises(Forbidden, match=HELD):
            await rolled_back.client.merge_patch(resources.DEPLOYMENTS, rolled_back.namespace, "scorer", {"spec": spec})


async def test_gitops_that_applies_again_and_again_is_refused_every_time(held: TestNamespace) -> None:
    wanted = deployment("scorer", replicas=2)
    for _ in range(20):
        with pytest.raises(Forbidden, match=HELD):
            await held.client.apply(resources.DEPLOYMENTS, held.namespace, wanted, manager="gitops")
    [escalation] = await held.escalations("scorer")
    assert not escalation["status"]["containments"][0].get("drift")


async def test_ladder_that_drops_its_lock_frees_the_workload_which_is_contained_again(held: TestNamespace) -> None:
    await held.apply(ladder(lock=False))
    await held.escalation_says("scorer", "Locked", "False", "LockNotWanted")

    async def free() -> bool:
        try:
            await held.scale("scorer", 2)
        except Forbidden:
            return False
        return True

    await held.until(free, "the lock to be off")
    await held.escalation_says("scorer", "ContainmentHolds", "True", "ContainmentReapplied")
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 0


async def test_break_glass_is_noticed_recorded_and_what_is_reverted_is_reapplied(
    held: TestNamespace, admin: Client
) -> None:
    async with lock_taken_off(admin):
        await held.escalation_says("scorer", "Locked", "False", "LockMissing")

        async def free() -> bool:
            try:
                await held.scale("scorer", 2)
            except Forbidden:
                return False
            return True

        await held.until(free, "the lock to be off")
        escalation = await held.escalation_says("scorer", "ContainmentHolds", "True", "ContainmentReapplied")
        [reverted] = escalation["status"]["containments"][0]["drift"]
        assert reverted["count"] >= 1
    await held.escalation_says("scorer", "Locked", "True", "Locked")
    records = await held.verified((await held.escalations("scorer"))[0])
    events = [r["spec"]["event"] for r in records]
    assert events.index("LockMissing") < events.index("ContainmentReapplied") < events.index("LockRestored")


async def test_model_is_restored_manually_as_the_page_says(held: TestNamespace, admin: Client) -> None:
    """docs/operations.md, "Manually, without a decision": for when nobody can decide."""
    await held.apply(signal("fairness", "scorer", 0.01))
    await held.tier("fairness", "baseline")
    [escalation] = await held.escalations("scorer")
    body = ladder(lock=True)
    body["spec"]["suspended"] = True
    await held.apply(body)
    async with lock_taken_off(admin):
        bare = {
            "labels": {"riskladder.dev/contained-by": None, "riskladder.dev/lock": None},
            "annotations": {"riskladder.dev/containment": None},
        }

        async def stripped() -> bool:
            try:
                await held.client.merge_patch(resources.DEPLOYMENTS, held.namespace, "scorer", {"metadata": bare})
            except Forbidden:
                return False
            return True

        async def scaled() -> bool:
            try:
                await held.scale("scorer", escalation["status"]["restore"]["replicas"])
            except Forbidden:
                return False
            return True

        await held.until(stripped, "the lock of the held object to be off")
        await held.client.delete(resources.ESCALATIONS, held.namespace, escalation["metadata"]["name"])
        await held.until(scaled, "the lock of the held name to be off")
        await held.ready("scorer", 2)
    await held.apply(ladder(lock=True))
    await held.quiet()
    assert (await held.deployment("scorer"))["spec"]["replicas"] == 2
    assert await held.escalations("scorer") == []


async def test_lock_missing_is_seen(admin: Client, installed: ControlPlane) -> None:
    assert await lock_missing(admin) == ""
