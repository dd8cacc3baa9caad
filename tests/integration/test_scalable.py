"""Targets of a kind that is known by its scale alone: a CustomResourceDefinition and a controller of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Client, NotFound, Object
from riskladder.cluster.connection import connect
from riskladder.workloads.runtimes.scalable import Scalable, parse
from tests.cluster import LocalControlPlane
from tests.cluster.install import install, service_account_kubeconfig
from tests.cluster.peers import install_definitions
from tests.integration.operator_process import OperatorProcess
from tests.integration.runtimes import CRDS, HELD, RuntimeNamespace
from tests.integration.world import condition, deployment, ladder

SCORER = parse("example.dev/v1/scorers=Scorer")
COMPONENT = "../../examples/scalable"
"""Where components are looked for, that is."""

EMPTY: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def crd(**changes: Any) -> Object:
    """Scorers, with the usual paths of a scale."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}, "scale": scale},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": EMPTY, "status": EMPTY}}},
        **changes,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{SCORER.plural}.{SCORER.group}"},
        "spec": {
            "group": SCORER.group,
            "names": {"kind": SCORER.kind, "listKind": "ScorerList", "plural": SCORER.plural, "singular": "scorer"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


async def controller(scene: RuntimeNamespace, selector: str) -> None:
    """Do what the controller of Scorers would do with one: pods of a Deployment, and the status."""
    while True:
        with contextlib.suppress(NotFound):
            live = await scene.target("scorer")
            body = deployment("scorer", replicas=live["spec"].get("replicas", 2), label=None)
            await scene.apply(body, manager="scorers")
            pods = await scene.pods("app=scorer")
            status = {
                "replicas": len(pods),
                "selector": selector,
                "observedGeneration": live["metadata"]["generation"],
            }
            if live.get("status") != status:
                await scene.client.merge_patch(
                    SCORER, scene.namespace, "scorer", {"status": status}, subresource="status"
                )
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def serving(scene: RuntimeNamespace, selector: str = "app=scorer", **spec: Any) -> AsyncIterator[None]:
    """A Scorer with its controller at work, once it serves."""
    await scene.service("scorer", {"app": "scorer"})
    await scene.put("scorer", {"replicas": 2, **spec})
    task = asyncio.create_task(controller(scene, selector))
    try:
        await scene.served("scorer", 2)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module, started while there is no such kind; the kind is installed then."""
    directory = tmp_path_factory.mktemp("scalable")
    connection = await connect(str(common.kubeconfig), namespace="riskladder-system", agent="tests")
    client = Client(connection)
    install(common.kubeconfig, components=[COMPONENT])
    account = service_account_kubeconfig(common.kubeconfig, directory / "operator.kubeconfig")
    with OperatorProcess(account, directory, "--scalable=example.dev/v1/scorers=Scorer") as operator:
        operator.wait_until_leading()
        async with RuntimeNamespace(client, "test-scalable", SCORER, operator) as made:
            yield made
    await connection.close()


@pytest.fixture
async def scene(home: RuntimeNamespace, common: LocalControlPlane) -> AsyncIterator[RuntimeNamespace]:
    """A namespace of the test's own, where the kind is served."""
    await asyncio.to_thread(install_definitions, common.kubeconfig, [crd()])
    async with home.another() as own:
        yield own


async def test_kind_that_is_not_installed_holds_nobody_up_and_is_taken_up_later(
    home: RuntimeNamespace, common: LocalControlPlane
) -> None:
    said = home.operator.wait_for("kind missing", resource="scorers.example.dev")
    assert said["error"] == "example.dev/v1 Scorer is not installed: it is taken up once it is"
    await home.apply(ladder())
    await home.serve("other")
    await home.client.merge_patch(  # a Deployment is contained as always
        resources.DEPLOYMENTS, home.namespace, "other", {"metadata": {"annotations": {"seen": "yes"}}}
    )
    other = RuntimeNamespace(home.client, home.namespace, resources.DEPLOYMENTS, home.operator)
    await other.breach("other")
    await asyncio.to_thread(install_definitions, common.kubeconfig, [crd()])
    home.operator.wait_for("kind installed", resource="scorers.example.dev")
    assert len([e for e in home.operator.entries() if e["event"] == "kind missing"]) == 1


async def test_scale_has_what_a_compare_and_swap_needs(scene: RuntimeNamespace) -> None:
    """Of the real API server: uid, and a spec that leaves zero out."""
    made = await scene.put("scorer", {"replicas": 2})
    facts = Scalable(SCORER).read(made)
    stop = Scalable(SCORER).restore(facts, 0, {})
    scale = await scene.client.json_patch(SCORER, scene.namespace, "scorer", stop.patch, subresource=stop.subresource)
    assert (scale["kind"], scale["metadata"]["uid"], scale["spec"]) == ("Scale", made["metadata"]["uid"], {})
    contained = Scalable(SCORER).read(await scene.target("scorer"))
    assert (contained.replicas, contained.replicas_set_by) == (0, ""), "who wrote a zero is not on record"
    back = Scalable(SCORER).restore(contained, 2, {})
    scale = await scene.client.json_patch(SCORER, scene.namespace, "scorer", back.patch, subresource=back.subresource)
    assert scale["spec"] == {"replicas": 2}


async def test_stopped_held_and_brought_back_by_its_scale(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    async with serving(scene, weights="s3://models/1"):
        escalation = await scene.breach("scorer")
        assert (await scene.target("scorer"))["spec"] == {"replicas": 0, "weights": "s3://models/1"}
        assert await scene.pods("app=scorer") == []
        assert escalation["spec"]["evidence"]["replicas"] == 2
        assert escalation["spec"]["evidence"]["images"][0]["image"] == "registry.example/model:1"
        await scene.escalation_says("scorer", "Locked", "True")
        one = {"spec": {"replicas": 1}}
        await scene.held_by_name(lambda dry: dry.merge_patch(SCORER, scene.namespace, "scorer", one))
        for subresource in (None, "scale"):
            said = await scene.refused("scorer", {"spec": {"replicas": 1}}, subresource=subresource)
            assert f"Scorer scorer cannot have more than 0 replicas, and 1 are asked for: it {HELD}" in said
        await scene.client.merge_patch(SCORER, scene.namespace, "scorer", {"spec": {"weights": "s3://models/2"}})
        await scene.resume(escalation)
        assert (await scene.target("scorer"))["spec"] == {"replicas": 2, "weights": "s3://models/2"}
        await scene.served("scorer", 2)
        await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


async def test_scaled_up_without_a_lock_it_is_contained_again(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    async with serving(scene):
        escalation = await scene.breach("scorer")
        intent = escalation["spec"]["intent"]
        assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
        assert "a Scorer is known by its scale alone, which has no revisions" in intent["message"]
        three = {"spec": {"replicas": 3}}
        await scene.client.merge_patch(SCORER, scene.namespace, "scorer", three, subresource="scale")

        await scene.drift("scorer")
        assert (await scene.target("scorer"))["spec"]["replicas"] == 0


async def test_without_replicas_at_the_usual_path_the_condition_says_so(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await scene.put("scorer", {"workers": 2})
    escalation = await scene.breach("scorer", "ContainmentImpossible", status="False")
    assert "it has no spec.replicas" in condition(escalation, "Contained")["message"]
    assert (await scene.target("scorer"))["spec"] == {"workers": 2}


async def test_selector_of_more_than_equality_proves_nothing(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    async with serving(scene, "app in (scorer)"):
        await scene.read_risk("scorer", 0.31)

        async def stopped() -> bool:
            return (await scene.target("scorer"))["status"]["replicas"] == 0

        await scene.until(stopped, "it to be stopped")

        async def says() -> str:
            found = (await scene.escalations("scorer"))[0]
            message = condition(found, "Contained")["message"]
            return str(message) if "selector" in message else ""

        assert "nothing can be proved" in await scene.until(says, "the condition to say what is not proved")
        assert condition((await scene.escalations("scorer"))[0], "Contained")["status"] != "True"


async def test_kind_without_a_scale_ends_as_a_condition_and_so_does_its_removal(scene: RuntimeNamespace) -> None:
    bare = copy.deepcopy(crd(subresources={"status": {}}))
    await scene.client.apply(CRDS, None, bare, manager="tests")
    await scene.apply(ladder())

    async def gone() -> bool:
        where = f"/apis/{SCORER.api_version}"
        listed = await scene.client.request("GET", where, verb="get", resource="apiresourcelists")
        return [r["name"] for r in listed["resources"]] == ["scorers", "scorers/status"]

    await scene.until(gone, "the scale to be gone")
    await scene.put("scorer", {"replicas": 2})
    escalation = await scene.breach("scorer", "ContainmentImpossible", status="False")
    assert "Scorer scorer has no scale" in condition(escalation, "Contained")["message"]

    await scene.client.delete(CRDS, None, bare["metadata"]["name"])
    await scene.escalation_says("scorer", "Contained", "True", "TargetDeleted")
    assert scene.operator.process.poll() is None
