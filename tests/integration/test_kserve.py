"""KServe's kinds as targets, against the real API server.

KServe's controllers do not run here. A stand-in does what they do: pods behind a Service with their labels, taken away
once the annotation says so, and restored; and what they write into the status.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Forbidden, NotFound, Object
from riskladder.workloads.runtimes.kserve import INFERENCESERVICE, LLMINFERENCESERVICE, STOP, TAGS, KServe
from tests.cluster import LocalControlPlane
from tests.cluster.install import InstallError, kubectl
from tests.cluster.peers import crds
from tests.integration.runtimes import HELD, RuntimeNamespace, place, resources_head
from tests.integration.world import SERVICES, condition, deployment, ladder

IMAGE = "registry.example/model:1"
KINDS = pytest.mark.parametrize("runtime", [INFERENCESERVICE, LLMINFERENCESERVICE], ids=lambda r: r.resource.kind)


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    directory = tmp_path_factory.mktemp("kserve")
    definitions = crds("kserve")
    async with place(common, directory, INFERENCESERVICE.resource, components=["kserve"], crds=definitions) as made:
        yield made


def spec(kind: str = "InferenceService", **predictor: Any) -> Object:
    if kind == "LLMInferenceService":
        return {
            "model": {"uri": "hf://facebook/opt-125m", "name": "facebook/opt-125m"},
            "replicas": 2,
            "template": {"containers": [{"name": "main", "image": IMAGE}]},
        }
    return {"predictor": {"minReplicas": 2, "containers": [{"name": "kserve-container", "image": IMAGE}], **predictor}}


class StandIn:
    """What KServe's controllers do with one object in the Standard mode, as far as it can be seen."""

    def __init__(self, scene: RuntimeNamespace, runtime: KServe, name: str = "scorer") -> None:
        self.scene, self.runtime, self.name = scene, runtime, name
        self.labels = dict(runtime.read(_blank(runtime, name)).pod_labels or {})
        self.says_so = True
        """Return whether the status reports a stop."""

    async def run(self) -> None:
        """Bring about what the annotation asks for, until cancelled."""
        while True:
            with contextlib.suppress(NotFound):
                await self.reconcile()
            await asyncio.sleep(0.05)

    async def reconcile(self) -> None:
        """One look."""
        live = await self.scene.client.get(self.runtime.resource, self.scene.namespace, self.name)
        stop = (live["metadata"].get("annotations") or {}).get(STOP) == "true"
        child = f"{self.name}-predictor"
        if not stop:
            body = deployment(child, replicas=2, image=IMAGE, label=None)
            body["spec"]["template"]["metadata"]["labels"] |= self.labels
            await self.scene.apply(body, manager="kserve")
            await self.scene.service(child, {"app": child})
        else:
            for resource in (resources.DEPLOYMENTS, SERVICES):
                with contextlib.suppress(NotFound):
                    await self.scene.client.delete(resource, self.scene.namespace, child)
        if self.says_so or not stop:
            kinds = {
                "InferenceService": ("Stopped", str(stop)),
                "LLMInferenceService": ("MainWorkloadReady", str(not stop)),
            }
            kind, status = kinds[self.runtime.resource.kind]
            conditions = [{"type": kind, "status": status, **({"reason": "Stopped"} if stop else {})}]
            if (live.get("status") or {}).get("conditions") != conditions:
                await self.scene.client.merge_patch(
                    self.runtime.resource,
                    self.scene.namespace,
                    self.name,
                    {"status": {"conditions": conditions}},
                    subresource="status",
                )


def _blank(runtime: KServe, name: str) -> Object:
    return {"metadata": {"namespace": "x", "name": name, "uid": "x", "resourceVersion": "0"}, "spec": {}}


@contextlib.asynccontextmanager
async def serving(scene: RuntimeNamespace, runtime: KServe, **metadata: Any) -> AsyncIterator[StandIn]:
    """A target with a stand-in for its controller at work, once it serves."""
    scene.resource = runtime.resource
    await scene.put("scorer", spec(runtime.resource.kind), **metadata)
    stand_in = StandIn(scene, runtime)
    task = asyncio.create_task(stand_in.run())
    try:
        await scene.served("scorer-predictor", 2)
        yield stand_in
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def annotated(scene: RuntimeNamespace) -> str | None:
    """The annotation as it is stored."""
    found: str | None = ((await scene.target("scorer"))["metadata"].get("annotations") or {}).get(STOP)
    return found


@KINDS
@pytest.mark.parametrize("was", [None, {"note": "kept"}, {STOP: "false", "note": "kept"}], ids=["none", "other", "off"])
async def test_stopped_proved_by_its_pods_and_restored_as_it_was(
    scene: RuntimeNamespace, runtime: KServe, was: dict[str, str] | None
) -> None:
    await scene.apply(ladder())
    async with serving(scene, runtime, **({"annotations": was} if was else {})):
        before = await scene.target("scorer")
        escalation = await scene.breach("scorer")
        assert await annotated(scene) == "true"
        assert await scene.pods(",".join(f"{k}={v}" for k, v in runtime.read(before).pod_labels.items())) == []
        evidence = escalation["spec"]["evidence"]
        assert (evidence["replicas"], evidence["readyEndpoints"]) == (1, 2)
        assert evidence["images"][0]["image"] == IMAGE
        await scene.resume(escalation)
        await scene.served("scorer-predictor", 2)
        after = await scene.target("scorer")
        assert after["metadata"].get("annotations") == before["metadata"].get("annotations") == was
        assert after["spec"] == before["spec"]
        await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))


@KINDS
async def test_pods_that_stay_are_no_proof_nor_are_pods_that_went_by_themselves(
    scene: RuntimeNamespace, runtime: KServe
) -> None:
    await scene.apply(ladder())
    async with serving(scene, runtime) as stand_in:
        stand_in.says_so = False
        escalation = await scene.breach("scorer", "ContainmentApplied", status="False")

        async def reported() -> bool:
            found = condition((await scene.escalations("scorer"))[0], "Contained")
            return "KServe has not said that it is stopped" in found["message"]

        await scene.until(reported, "the pods to be gone without proof")
        stand_in.says_so = True
        proved = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
        assert proved["metadata"]["uid"] == escalation["metadata"]["uid"]


@KINDS
async def test_nobody_takes_the_annotation_out_or_creates_it_running(
    scene: RuntimeNamespace, runtime: KServe, common: LocalControlPlane
) -> None:
    await scene.apply(ladder(lock=True))
    kind = runtime.resource.plural
    async with serving(scene, runtime, annotations={STOP: "false"}):
        await scene.breach("scorer")
        await scene.escalation_says("scorer", "Locked", "True")
        said = f"{runtime.resource.kind} scorer cannot be started: it {HELD}"
        for value in (None, "false", "", "no"):
            assert said in await scene.refused("scorer", {"metadata": {"annotations": {STOP: value}}})
        assert said in await scene.refused("scorer", {"metadata": {"annotations": None}})
        for arguments in ((f"{STOP}=false", "--overwrite"), (f"{STOP}-",)):
            with pytest.raises(InstallError, match="cannot be started"):
                await asyncio.to_thread(
                    kubectl, common.kubeconfig, "-n", scene.namespace, "annotate", kind, "scorer", *arguments
                )
        with pytest.raises(Forbidden, match=HELD):
            await scene.put("scorer", spec(runtime.resource.kind), manager="gitops", annotations={STOP: "false"})
        live = await scene.target("scorer")
        del live["metadata"]["annotations"], live["metadata"]["managedFields"]
        with pytest.raises(Forbidden, match=HELD):
            await replaced(scene, live)
        await scene.put("scorer", spec(runtime.resource.kind), manager="gitops")  # without it: what is there stays
        await scene.client.merge_patch(
            scene.resource, scene.namespace, "scorer", {"metadata": {"annotations": {STOP: "True", "note": "free"}}}
        )
        assert await annotated(scene) == "True"
    again = {**resources_head(scene.resource, "scorer"), "spec": spec(runtime.resource.kind)}
    await scene.held_by_name(lambda dry: dry.create(scene.resource, scene.namespace, again))
    await scene.client.delete(scene.resource, scene.namespace, "scorer")
    with pytest.raises(Forbidden, match=HELD):
        await scene.put("scorer", spec(runtime.resource.kind))
    await scene.put("scorer", spec(runtime.resource.kind), annotations={STOP: "true"})


async def replaced(scene: RuntimeNamespace, body: Object) -> None:
    """A PUT of the whole object."""
    await scene.client.request(
        "PUT",
        scene.resource.path(scene.namespace, body["metadata"]["name"]),
        verb="update",
        resource=scene.resource.title,
        body=body,
    )


async def test_annotation_of_a_component_that_overrules_is_set_held_and_restored(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    overruled = {"annotations": {STOP: "false", "note": "kept"}}
    async with serving(scene, INFERENCESERVICE):
        await scene.put("scorer", spec(**overruled))
        escalation = await scene.breach("scorer")
        assert (await scene.target("scorer"))["spec"]["predictor"]["annotations"] == {STOP: "true", "note": "kept"}
        await scene.escalation_says("scorer", "Locked", "True")
        for part in ("predictor", "transformer", "explainer"):
            assert "cannot be started" in await scene.refused("scorer", {"spec": {part: {"annotations": {STOP: "no"}}}})
        again = {"spec": {"predictor": {"image": "registry.example/model:2", "minReplicas": 1}}}
        await scene.client.merge_patch(scene.resource, scene.namespace, "scorer", again)
        await scene.resume(escalation)
        await scene.served("scorer-predictor", 2)
        after = await scene.target("scorer")
        assert STOP not in (after["metadata"].get("annotations") or {})
        assert after["spec"]["predictor"]["annotations"] == overruled["annotations"]


@KINDS
@pytest.mark.parametrize(
    ("pull", "named"),
    [({"annotations": {STOP: "false"}}, "rival"), ({"annotations": {STOP: None}}, "unknown")],
    ids=["overwritten", "removed"],
)
async def test_reverted_without_a_lock_it_is_stopped_again(
    scene: RuntimeNamespace, runtime: KServe, pull: Object, named: str
) -> None:
    await scene.apply(ladder())
    async with serving(scene, runtime):
        await scene.breach("scorer")
        path = scene.resource.path(scene.namespace, "scorer")
        await scene.client.request(
            "PATCH",
            path,
            verb="patch",
            resource=scene.resource.title,
            body={"metadata": pull},
            content_type="application/merge-patch+json",
            params={"fieldManager": "rival"},
        )

        escalation = await scene.drift("scorer")
        assert [u["fieldManager"] for u in escalation["status"]["containments"][0]["drift"]] == [named]
        assert await annotated(scene) == "true"


# --- Knative ----------------------------------------------------------------------------------------------------------


def knative(ready: int, rolled: int, previous: int, **traffic: int) -> Object:
    """A status as KServe writes it, with revisions by their numbers; shares of them as r1=..."""

    def name(number: int) -> str:
        return f"scorer-predictor-{number:05}" if number else ""

    return {
        "deploymentMode": "Serverless",
        "components": {
            "predictor": {
                "latestReadyRevision": name(ready),
                "latestCreatedRevision": name(ready),
                "latestRolledoutRevision": name(rolled),
                "previousRolledoutRevision": name(previous),
                "traffic": [{"revisionName": name(int(r[1:])), "percent": share} for r, share in traffic.items()],
            }
        },
    }


async def status(scene: RuntimeNamespace, said: Object) -> None:
    await scene.client.merge_patch(scene.resource, scene.namespace, "scorer", {"status": said}, subresource="status")


async def test_serverless_without_pods_is_stopped_all_the_same_before_it_counts(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await scene.put("scorer", spec(minReplicas=0))
    await status(scene, knative(1, 1, 0, r1=100))
    await scene.breach("scorer", "ContainmentApplied", status="False")
    assert await annotated(scene) == "true"
    await scene.client.merge_patch(
        scene.resource,
        scene.namespace,
        "scorer",
        {"status": {"components": None, "conditions": [{"type": "Stopped", "status": "True"}]}},
        subresource="status",
    )
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert escalation["spec"]["evidence"]["podTemplateHash"] == "scorer-predictor-00001"
    assert escalation["spec"]["evidence"]["revision"] == "1"


async def test_rolled_back_by_a_canary_of_nothing(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback", lock=True))
    await scene.put("scorer", spec())
    await status(scene, knative(1, 1, 0, r1=100))
    good = await scene.baseline("scorer")
    assert good["digest"] == "scorer-predictor-00001"
    await scene.put("scorer", spec(containers=[{"name": "kserve-container", "image": "registry.example/model:2"}]))
    await status(scene, knative(2, 2, 1, r2=100))
    escalation = await scene.breach("scorer", "ContainmentApplied", status="False")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["podTemplateHash"]) == ("Rollback", "scorer-predictor-00001")
    live = await scene.target("scorer")
    assert live["spec"]["predictor"]["canaryTrafficPercent"] == 0
    assert live["spec"]["predictor"]["containers"][0]["image"] == "registry.example/model:2"
    assert "100 % of requests to scorer-predictor-00002" in condition(escalation, "Contained")["message"]
    await status(scene, knative(2, 1, 1, r2=0, r1=100))
    await scene.escalation_says("scorer", "Contained", "True", "RolledBack")
    await scene.escalation_says("scorer", "Locked", "True")
    for pull in ({"canaryTrafficPercent": None}, {"canaryTrafficPercent": 10}, {"minReplicas": 1}):
        assert HELD in await scene.refused("scorer", {"spec": {"predictor": pull}})
    for value in (None, "false"):
        await scene.client.merge_patch(
            scene.resource, scene.namespace, "scorer", {"metadata": {"annotations": {TAGS: value, "note": "free"}}}
        )
    assert HELD in await scene.refused("scorer", {"metadata": {"annotations": {TAGS: "true"}}})
    await scene.resume(escalation)
    assert (await scene.target("scorer"))["spec"]["predictor"]["canaryTrafficPercent"] == 0, "the rollback stays"


async def test_rollback_reverted_without_a_lock_is_reapplied(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    await scene.put("scorer", spec(canaryTrafficPercent=10))
    await status(scene, knative(2, 1, 1, r2=10, r1=90))
    await scene.breach("scorer", "ContainmentApplied", status="False")
    await status(scene, knative(2, 1, 1, r2=0, r1=100))
    await scene.escalation_says("scorer", "Contained", "True", "RolledBack")
    await scene.put("scorer", spec(canaryTrafficPercent=50), manager="rival")

    escalation = await scene.drift("scorer")
    assert [u["fieldManager"] for u in escalation["status"]["containments"][0]["drift"]] == ["rival"]
    assert (await scene.target("scorer"))["spec"]["predictor"]["canaryTrafficPercent"] == 0


async def test_without_revisions_it_is_stopped_instead(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    async with serving(scene, INFERENCESERVICE):
        escalation = await scene.breach("scorer")
        intent = escalation["spec"]["intent"]
        assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
        assert "names no revision: only Knative" in intent["message"]


async def test_what_the_annotation_does_not_stop_is_said_to_be_impossible(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await scene.put("scorer", spec(), annotations={"serving.kserve.io/deploymentMode": "ModelMesh"})
    escalation = await scene.breach("scorer", "ContainmentImpossible", status="False")
    assert "deployed by ModelMesh, which no annotation stops" in condition(escalation, "Contained")["message"]
    assert await annotated(scene) is None
