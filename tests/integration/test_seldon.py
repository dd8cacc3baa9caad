"""Models of Seldon Core 2 as targets, on a real API server.

Seldon's operator and scheduler do not run here: the tests write the status as they do. A Model has no pods.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from riskladder.cluster.client import Forbidden, Object
from riskladder.workloads.runtimes.seldon import MODELS, SELDON_MODEL
from tests.cluster import LocalControlPlane
from tests.cluster.peers import crds
from tests.integration.runtimes import HELD, RuntimeNamespace, place, resources_head
from tests.integration.world import condition, ladder


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    directory = tmp_path_factory.mktemp("seldon")
    async with place(common, directory, MODELS, components=["seldon"], crds=crds("seldon-core", "Model")) as made:
        yield made


def spec(uri: str = "gs://models/iris/1", *, replicas: int | None = 3, **more: object) -> Object:
    return {
        "storageUri": uri,
        "requirements": ["sklearn"],
        **({} if replicas is None else {"replicas": replicas}),
        **more,
    }


async def report(scene: RuntimeNamespace, state: str, *, available: int = 0, total: int | None = None) -> None:
    """The status as Seldon's operator writes it of the newest generation: what is 0 is left out.

    Not in the second in which the storageUri was written, since no model is loaded as fast as that.
    """
    written = SELDON_MODEL.read(await scene.target("scorer")).template_set_at

    async def later() -> str | None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return now if now > written else None

    at = await scene.until(later, "the next second")
    common = {"status": str(state == "ModelAvailable"), "lastTransitionTime": at}
    counts = {"availableReplicas": available or None, "replicas": (available if total is None else total) or None}
    conditions = [{"type": "Ready", **common}, {"type": "ModelReady", "message": state, **common}]
    patch = {"status": {"conditions": conditions, "modelgwReady": state, **counts}}
    await scene.client.merge_patch(MODELS, scene.namespace, "scorer", patch, subresource="status")


async def serve(scene: RuntimeNamespace, uri: str = "gs://models/iris/1", **more: object) -> Object:
    """A Model that is loaded."""
    put = await scene.put("scorer", spec(uri, **more))  # type: ignore[arg-type]
    await report(scene, "ModelAvailable", available=put["spec"].get("replicas", 1))
    return put


async def asked_for(scene: RuntimeNamespace, replicas: int) -> Object:
    """Wait until so many replicas are asked for."""

    async def check() -> Object | None:
        found = await scene.target("scorer")
        return found if found["spec"].get("replicas") == replicas else None

    return await scene.until(check, f"{replicas} replicas to be asked for")


async def points_to(scene: RuntimeNamespace, uri: str) -> Object:
    """Wait until that storageUri is in place."""

    async def check() -> Object | None:
        found = await scene.target("scorer")
        return found if found["spec"]["storageUri"] == uri else None

    return await scene.until(check, f"storageUri {uri}")


async def test_stopped_proved_by_its_status_held_and_brought_back(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    before = await serve(scene, minReplicas=2, maxReplicas=5)
    await scene.read_risk("scorer", 0.31)
    stopped = await asked_for(scene, 0)
    assert stopped["spec"] == {**before["spec"], "replicas": 0, "minReplicas": 0}
    escalation = await scene.escalation_says("scorer", "Contained", "False", "ContainmentApplied")
    assert "by its status 3 replicas ready and 3 in all, 0 asked for" in condition(escalation, "Contained")["message"]
    assert "its status is the proof" in escalation["spec"]["intent"]["message"]
    assert [(f["path"], f["value"]) for f in escalation["spec"]["evidence"]["fields"]] == [("/spec/minReplicas", "2")]

    await report(scene, "ModelProgressing", total=1)
    still = await scene.escalation_says("scorer", "Contained", "False", "ContainmentApplied")
    assert still["status"]["containments"][0].get("podsGoneAt") is None
    await report(scene, "ModelScaledDown")
    await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")

    await scene.escalation_says("scorer", "Locked", "True")
    for subresource in (None, "scale"):
        said = await scene.refused("scorer", {"spec": {"replicas": 1}}, subresource=subresource)
        assert f"Model scorer cannot have more than 0 replicas, and 1 are asked for: it {HELD}" in said
    for patch, many in (({"minReplicas": 4}, 4), ({"replicas": None}, 1)):
        assert f"and {many} are asked for: it {HELD}" in await scene.refused("scorer", {"spec": patch})
    with pytest.raises(Forbidden, match="cannot have more than 0 replicas"):
        await scene.put("scorer", spec(minReplicas=2, maxReplicas=5), manager="gitops")

    await scene.resume(escalation)
    assert (await asked_for(scene, 3))["spec"] == before["spec"]
    records = await scene.verified(await scene.escalation_says("scorer", "Contained", "False", "Resumed"))
    [proved] = [r["spec"] for r in records if r["spec"]["event"] == "ScaledToZero"]
    assert proved["detail"]["why"].endswith("a Model has no pods of its own: its status is the proof")


async def test_replicas_that_were_not_stated_are_not_stated_again(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    before = await serve(scene, replicas=None)
    await scene.read_risk("scorer", 0.31)
    await asked_for(scene, 0)
    await report(scene, "ModelAvailable")  # as before v2.10
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert escalation["spec"]["evidence"]["replicas"] == 1
    await scene.resume(escalation)
    assert (await scene.target("scorer"))["spec"] == before["spec"]


async def test_deleted_and_created_again_under_the_lock_it_is_created_with_no_replicas(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(lock=True))
    await serve(scene)
    await scene.read_risk("scorer", 0.31)
    await asked_for(scene, 0)
    await report(scene, "ModelScaledDown")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await scene.escalation_says("scorer", "Locked", "True")
    again = {**resources_head(MODELS, "scorer"), "spec": spec()}
    await scene.held_by_name(lambda dry: dry.create(MODELS, scene.namespace, again))
    await scene.client.delete(MODELS, scene.namespace, "scorer")
    for replicas in (3, None):
        with pytest.raises(Forbidden, match=escalation["metadata"]["name"]):
            await scene.put("scorer", spec(replicas=replicas))
    await scene.put("scorer", spec(replicas=0))


async def test_scaled_up_without_a_lock_it_is_contained_again(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder())
    await serve(scene)
    await scene.read_risk("scorer", 0.31)
    await asked_for(scene, 0)
    await report(scene, "ModelScaledDown")
    await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await scene.client.merge_patch(MODELS, scene.namespace, "scorer", {"spec": {"replicas": 2}}, subresource="scale")

    await scene.drift("scorer")
    assert (await scene.target("scorer"))["spec"]["replicas"] == 0


async def test_rolled_back_to_the_storage_uri_that_was_good(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback", lock=True))
    await serve(scene)
    good = await scene.baseline("scorer")
    assert good["digest"].endswith(":gs://models/iris/1")
    await serve(scene, "gs://models/iris/2")
    await scene.read_risk("scorer", 0.31)
    await points_to(scene, "gs://models/iris/1")
    escalation = await scene.escalation_says("scorer", "Contained", "False", "ContainmentApplied")
    assert escalation["spec"]["intent"]["podTemplateHash"] == good["digest"]
    assert escalation["spec"]["evidence"]["podTemplateHash"].endswith(":gs://models/iris/2")
    await report(scene, "ModelProgressing", available=1, total=3)
    await report(scene, "ModelAvailable", available=3)
    await scene.escalation_says("scorer", "Contained", "True", "RolledBack")

    await scene.escalation_says("scorer", "Locked", "True")
    for change in ({"storageUri": "gs://models/iris/2"}, {"artifactVersion": 2}, {"requirements": ["xgboost"]}):
        assert HELD in await scene.refused("scorer", {"spec": change})
    await scene.client.merge_patch(MODELS, scene.namespace, "scorer", {"spec": {"replicas": 4}})


async def test_rollback_that_is_reverted_without_a_lock_becomes_a_stop(scene: RuntimeNamespace) -> None:
    await scene.apply(ladder(action="Rollback"))
    await serve(scene)
    await scene.baseline("scorer")
    await serve(scene, "gs://models/iris/2")
    await scene.read_risk("scorer", 0.31)
    await points_to(scene, "gs://models/iris/1")
    await report(scene, "ModelAvailable", available=3)
    await scene.escalation_says("scorer", "Contained", "True", "RolledBack")
    await scene.client.merge_patch(MODELS, scene.namespace, "scorer", {"spec": {"storageUri": "gs://models/iris/2"}})
    await asked_for(scene, 0)
    await report(scene, "ModelScaledDown")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert escalation["status"]["containments"][0]["intent"]["reason"] == "RollbackImpossible"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"uri": "gs://models/iris/2", "artifactVersion": 7}, "more than the storageUri has changed"),
        ({"artifactVersion": 7}, "more than the storageUri has changed"),
        ({}, "no other storageUri was noted as known good"),
    ],
    ids=["both", "other", "none"],
)
async def test_rollback_that_is_impossible_stops_it_and_says_why(
    scene: RuntimeNamespace, change: Object, why: str
) -> None:
    await scene.apply(ladder(action="Rollback"))
    await serve(scene)
    await scene.baseline("scorer")
    if change:
        await serve(scene, **change)
    await scene.read_risk("scorer", 0.31)
    await asked_for(scene, 0)
    await report(scene, "ModelScaledDown")
    escalation = await scene.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    intent = escalation["spec"]["intent"]
    assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
    assert why in intent["message"]


async def test_storage_uri_that_has_not_become_ready_is_not_noted_as_known_good(scene: RuntimeNamespace) -> None:
    """A status that is older than the storageUri is about the one before: nothing is noted."""
    await scene.apply(ladder(action="Rollback"))
    await serve(scene)
    good = await scene.baseline("scorer")
    await scene.client.merge_patch(MODELS, scene.namespace, "scorer", {"spec": {"storageUri": "gs://models/iris/2"}})
    await scene.read_risk("scorer", 0.05)
    await scene.tier("fairness", "baseline")
    await scene.quiet()
    assert (await scene.signal("fairness"))["status"]["lastKnownGood"]["digest"] == good["digest"]
