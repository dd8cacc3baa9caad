"""A breach is about what served when it was observed, and a stop is one once nothing serves: on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import JSON, MERGE_PATCH, Object
from tests.cluster import LocalControlPlane
from tests.integration.runtimes import RuntimeNamespace, place
from tests.integration.world import TestNamespace, condition, deployment, ladder, signal

IMAGE = "registry.example/model"


def image_of(workload: Object) -> str:
    return str(workload["spec"]["template"]["spec"]["containers"][0]["image"])


async def test_late_reading_does_not_undo_the_fix(world: TestNamespace) -> None:
    await world.apply(ladder(action="Rollback"))
    await world.serve("scorer", replicas=1)
    served = datetime.now(UTC)
    await world.until(lambda: _seconds_since(served), "a second to pass, which is as fine as the times of objects are")
    await world.deploy("scorer", f"{IMAGE}:fixed", 1)
    await world.apply(signal("fairness", "scorer", 0.31, at=served))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    workload = await world.deployment("scorer")
    assert image_of(workload) == f"{IMAGE}:fixed", "version 1 is not restored"
    assert "the reading is older than the revision that serves now" in escalation["spec"]["intent"]["message"]
    assert escalation["spec"]["intent"]["reason"] == "RollbackImpossible"


async def _seconds_since(at: datetime) -> bool:
    return (datetime.now(UTC) - at).total_seconds() > 1.1


async def test_restart_of_the_rollout_is_nothing_to_go_back_to(world: TestNamespace) -> None:
    await world.apply(ladder(action="Rollback"))
    await world.serve("scorer", replicas=1)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-11-24T10:00:00Z"}
    change = {"spec": {"template": {"metadata": {"annotations": restarted}}}}
    await world.client.merge_patch(resources.DEPLOYMENTS, world.namespace, "scorer", change)
    await world.until(lambda: _revisions(world, 2), "a second revision")
    await world.ready("scorer", 1)
    await world.apply(signal("fairness", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert "runs the same containers as the breached one" in escalation["spec"]["intent"]["message"]


async def _revisions(world: TestNamespace, wanted: int) -> bool:
    return len(await world.client.list(resources.REPLICASETS, world.namespace)) == wanted


async def test_pod_that_was_relabelled_is_no_proof(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer", replicas=2)
    pod = (await world.client.list(resources.PODS, world.namespace))[0]["metadata"]["name"]
    debug = {"metadata": {"labels": {"pod-template-hash": "debug"}}}
    await world.client.merge_patch(resources.PODS, world.namespace, pod, debug)
    await world.until(lambda: _pods(world, 3), "a pod in its place")
    await world.apply(signal("fairness", "scorer", 0.31))

    async def says_left() -> Object | None:
        found = await world.escalations("scorer")
        contained = condition(found[0], "Contained") if found else {"status": "", "message": ""}
        is_alone = contained["status"] == "False" and "1 pod" in contained["message"]
        return found[0] if is_alone and await _names(world) == [pod] else None

    await world.until(says_left, "the condition to say that a pod is left, when its own pods are gone")
    await world.client.delete(resources.PODS, world.namespace, pod)
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")


async def _pods(world: TestNamespace, wanted: int) -> bool:
    return len(await _names(world)) == wanted


async def _names(world: TestNamespace) -> list[str]:
    return [pod["metadata"]["name"] for pod in await world.client.list(resources.PODS, world.namespace)]


async def test_deployment_that_was_deleted_and_left_its_pods_is_not_gone(world: TestNamespace) -> None:
    await world.apply(ladder(action="Rollback"))
    await world.serve("scorer", replicas=1)
    await world.deploy("scorer", f"{IMAGE}:2", 1)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "RolledBack")
    await world.client.request(
        "DELETE",
        resources.DEPLOYMENTS.path(world.namespace, "scorer"),
        verb="delete",
        resource=resources.DEPLOYMENTS.title,
        body={"propagationPolicy": "Orphan"},
        content_type=JSON,
    )
    # What is left is of the revision that was gone back to: nothing of the breached one runs.
    await world.escalation_says("scorer", "Contained", "True", "TargetDeleted")


async def test_stopped_model_that_left_a_replicaset_behind_is_not_gone(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer", replicas=1)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    [replicaset] = await world.client.list(resources.REPLICASETS, world.namespace)
    await world.client.request(
        "DELETE",
        resources.DEPLOYMENTS.path(world.namespace, "scorer"),
        verb="delete",
        resource=resources.DEPLOYMENTS.title,
        body={"propagationPolicy": "Orphan"},
        content_type=JSON,
    )
    change = {"spec": {"replicas": 1}}
    name = replicaset["metadata"]["name"]
    await world.client.merge_patch(resources.REPLICASETS, world.namespace, name, change)
    await world.until(lambda: _pods(world, 1), "its pod")

    async def says_left() -> bool:
        contained = condition((await world.escalations("scorer"))[0], "Contained")
        return contained["status"] == "False" and "was deleted: 1 pod" in contained["message"]

    await world.until(says_left, "the condition to say that a pod is left")


@pytest.mark.parametrize("published", [False, True], ids=["ready", "published though it is not ready"])
async def test_pod_that_only_a_service_lists_is_no_proof(world: TestNamespace, published: bool) -> None:
    """The selector of the Service is broader than the model's, and nobody owns the pod any more."""
    await world.apply(ladder())
    labels = {"app": "scorer", "track": "stable"}
    body = deployment("scorer", replicas=1)
    body["spec"]["selector"]["matchLabels"] = body["spec"]["template"]["metadata"]["labels"] = labels
    service = {"selector": {"app": "scorer"}, "ports": [{"port": 80}], "publishNotReadyAddresses": published}
    await world.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scorer"}, "spec": service})
    await world.apply(body)
    await world.ready("scorer", 1)
    [made] = await world.client.list(resources.PODS, world.namespace)
    stem = made["metadata"]["generateName"]
    head = {"name": f"{stem}aside", "generateName": stem, "labels": {"app": "scorer"}}
    spec = {"containers": [{"name": "model", "image": IMAGE}]}
    await world.client.create(resources.PODS, world.namespace, {"metadata": head, "spec": spec})

    async def listed() -> bool:
        return len(await world.endpoints("scorer")) == 2

    await world.until(listed, "the Service to list both")
    if published:
        await world.client.merge_patch(
            resources.PODS,
            world.namespace,
            f"{stem}aside",
            {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
            subresource="status",
        )

        async def is_not_ready() -> bool:
            slices = await world.client.list(resources.ENDPOINTSLICES, world.namespace)
            found = [
                e["conditions"] for s in slices for e in s["endpoints"] if e["targetRef"]["name"] == f"{stem}aside"
            ]
            return [(c["ready"], c["serving"]) for c in found] == [(True, False)]

        await world.until(is_not_ready, "the Service to publish what is not ready")
    await world.apply(signal("fairness", "scorer", 0.31))

    async def says_left() -> bool:
        found = await world.escalations("scorer")
        contained = condition(found[0], "Contained") if found else {"status": "", "message": ""}
        is_named = contained["status"] == "False" and "a Service still lists as serving" in contained["message"]
        return is_named and await _names(world) == [f"{stem}aside"]

    await world.until(says_left, "the condition to name what the Service lists, and that to be left alone")
    await world.client.delete(resources.PODS, world.namespace, f"{stem}aside")
    found = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    proof = "none of its pods is left, and no Service lists one of them as serving"
    assert condition(found, "Contained")["message"] == f"scaled to zero: {proof}"


async def test_ladder_says_that_a_stop_takes_as_long_as_the_pods_do(world: TestNamespace) -> None:
    await world.apply(ladder(action="ScaleToZero"))

    async def says() -> Object | None:
        stored = await world.client.get(resources.LADDERS, world.namespace, "credit")
        found = {c["type"]: c for c in (stored.get("status") or {}).get("conditions", ())}.get("StopsPromptly")
        return found if found and found["status"] != "Unknown" else None

    found = await world.until(says, "the ladder to say how fast a stop is")
    assert (found["status"], found["reason"]) == ("False", "PromptStopMissing")
    assert "spec.tiers[1].containment.grace: this operator ends no pods" in found["message"]
    assert "terminationGracePeriodSeconds" in found["message"]


async def test_pods_that_vanish_without_the_word_of_a_kubelet_are_no_proof(world: TestNamespace) -> None:
    """Its last word is that they run; what plays nodes here then has the API server forget them without another."""
    await world.apply(ladder())
    await world.apply(deployment("scorer", replicas=2))
    grace = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
    await world.client.merge_patch(resources.DEPLOYMENTS, world.namespace, "scorer", grace)
    await world.until(lambda: _with_grace(world, 1), "the pods to be there")
    pods = await world.client.list(resources.PODS, world.namespace)
    running = [{"name": "model", "state": {"running": {"startedAt": "2026-11-24T06:00:01Z"}}, "ready": True}]
    for pod in pods:
        about = {"image": IMAGE, "imageID": "", "restartCount": 0}
        await world.client.request(
            "PATCH",
            resources.PODS.path(world.namespace, pod["metadata"]["name"], "status"),
            verb="patch",
            resource=resources.PODS.title,
            body={"status": {"containerStatuses": [{**running[0], **about}]}},
            params={"fieldManager": "kubelet"},
            content_type=MERGE_PATCH,
        )
    await world.apply(signal("fairness", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "False", "PodsUnconfirmed")
    message = condition(escalation, "Contained")["message"]
    assert "2 pods vanished without their node confirming that they ended" in message
    assert await _names(world) == []
    [contained] = escalation["status"]["containments"]
    assert "podsGoneAt" not in contained
    assert {(p["name"], p["node"]) for p in contained["unconfirmed"]} == {
        (pod["metadata"]["name"], pod["spec"]["nodeName"]) for pod in pods
    }
    nodes = {pod["spec"]["nodeName"] for pod in pods}
    try:

        async def proved() -> bool:
            for node in nodes:
                await _renew(world, node)
            [found] = await world.escalations("scorer")
            return condition(found, "Contained")["reason"] == "ScaledToZero"

        await world.until(proved, "the stop to be proved, with a node that is heard of")
    finally:
        for node in nodes:
            await world.client.delete(resources.LEASES, resources.NODE_LEASES, node)


async def _with_grace(world: TestNamespace, seconds: int) -> bool:
    pods = await world.client.list(resources.PODS, world.namespace)
    new = [pod for pod in pods if pod["spec"]["terminationGracePeriodSeconds"] == seconds]
    return len(pods) == 2 and all(pod["status"].get("containerStatuses") for pod in new) and len(new) == 2


async def _renew(world: TestNamespace, node: str) -> None:
    """Renew the Lease of a node, as a kubelet does every ten seconds."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {"holderIdentity": node, "renewTime": now}
    head = {"apiVersion": resources.LEASES.api_version, "kind": resources.LEASES.kind, "metadata": {"name": node}}
    await world.client.apply(resources.LEASES, resources.NODE_LEASES, {**head, "spec": spec}, manager="tests")


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    directory = tmp_path_factory.mktemp("prompt-stop")
    async with place(common, directory, resources.DEPLOYMENTS, components=["prompt-stop"]) as made:
        yield made


async def test_pods_are_ended_with_the_grace_of_the_tier_by_an_operator_that_may(scene: RuntimeNamespace) -> None:
    """The API server itself says with which grace a pod was deleted: on the pod, while it is ending."""
    await scene.apply(ladder(action="ScaleToZero"))

    async def promptly() -> bool:
        stored = await scene.client.get(resources.LADDERS, scene.namespace, "credit")
        return condition(stored, "StopsPromptly")["reason"] == "PodsEndAsAsked"

    await scene.until(promptly, "the ladder to say that its stops are prompt")
    await scene.serve("scorer", replicas=2)
    for pod in await scene.client.list(resources.PODS, scene.namespace):
        hold = [{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/look"]}]
        await scene.client.json_patch(resources.PODS, scene.namespace, pod["metadata"]["name"], hold)
    await scene.apply(signal("fairness", "scorer", 0.31))

    async def ending() -> list[Object] | None:
        pods = await scene.client.list(resources.PODS, scene.namespace)
        found = [pod for pod in pods if pod["metadata"].get("deletionTimestamp") and pod["metadata"].get("finalizers")]
        return found if len(found) == 2 else None

    try:
        pods = await scene.until(ending, "both pods to be ending")
        assert {pod["metadata"]["deletionGracePeriodSeconds"] for pod in pods} <= {0, 5}
    finally:
        for pod in await scene.client.list(resources.PODS, scene.namespace):
            if pod["metadata"].get("finalizers"):
                off = [{"op": "remove", "path": "/metadata/finalizers"}]
                await scene.client.json_patch(resources.PODS, scene.namespace, pod["metadata"]["name"], off)
    await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
