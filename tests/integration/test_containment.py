"""The main job on a real control plane: a breach stops or rolls back a real Deployment, and the trail says so."""

from __future__ import annotations

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import NotFound, Object
from riskladder.cluster.resources import Resource
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import NAMESPACES, TestNamespace, condition, deployment, ladder, signal
from tests.trails import said

CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")


def events_of(records: list[dict[str, object]]) -> list[object]:
    """Return what happened to the model; that people were notified of it is tested elsewhere."""
    return [r["spec"]["event"] for r in records if r["spec"]["event"] != "Notified"]  # type: ignore[index]


async def test_high_breach_scales_to_zero_and_leaves_the_whole_trail(world: TestNamespace) -> None:
    await world.apply(ladder(lock=True))
    await world.serve("scorer", replicas=3)
    assert (await world.known_good("fairness", "scorer"))["revision"] == "1"
    good = await world.signal("fairness")
    assert await world.escalations() == []

    await world.apply(signal("fairness", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")

    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    assert await world.endpoints("scorer") == set()
    assert escalation["metadata"]["labels"]["riskladder.dev/containment"] == "ScaleToZero"
    evidence = escalation["spec"]["evidence"]
    assert (evidence["replicas"], evidence["revision"], evidence["readyEndpoints"]) == (3, "1", 3)
    assert evidence["images"][0]["image"] == "registry.example/model:1"
    assert escalation["spec"]["signal"]["readings"][0]["value"] == 0.31
    [contained] = escalation["status"]["containments"]
    times = [contained[k] for k in ("appliedAt", "endpointsEmptyAt", "podsGoneAt")]
    assert [contained["intent"]["intendedAt"], *times] == sorted([contained["intent"]["intendedAt"], *times])
    assert escalation["status"]["restore"]["replicas"] == 3
    assert escalation["status"]["waitingOn"] == ["legal"]
    kinds = {"Acknowledged", "Decided", "Contained", "ContainmentHolds", "Locked", "Stalled", "Closed", "ReviewDone"}
    kinds |= {"WithinLimits", "LadderActive"}
    assert {c["type"] for c in escalation["status"]["conditions"]} == kinds

    records = await world.verified(escalation)
    assert events_of(records) == ["EscalationOpened", "ContainmentApplied", "ScaledToZero"]
    assert records[0]["spec"]["detail"]["signalUid"] == good["metadata"]["uid"]
    breached = await world.signal_says("fairness", "Contained", "True", "ScaledToZero")
    assert (breached["status"]["tier"], breached["status"]["escalation"]) == ("high", escalation["metadata"]["name"])
    reasons = {(e["regarding"]["kind"], e["reason"]) for e in await world.events()}
    # What one pass says is one Event: the proof has another where it comes in a pass of its own.
    assert reasons - {("EscalationLadder", "PromptStopMissing"), ("Escalation", "ScaledToZero")} == {
        ("ModelRiskSignal", "EscalationOpened"),
        ("Escalation", "EscalationOpened"),
        ("Deployment", "ContainmentApplied"),
    }
    notes = " ".join(e["note"] for e in await world.events() if e["regarding"]["kind"] == "Escalation")
    for act in records:
        if act["spec"]["event"] != "ContainmentApplied":
            assert act["spec"]["detail"]["message"] in notes, act["spec"]["event"]


async def test_moderate_breach_needs_two_readings_and_leaves_the_model_running(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.15))
    first = await world.signal_says("fairness", "Breached", "False", "BreachUnconfirmed")
    assert first["status"]["breaches"][0]["readings"] == 1
    assert await world.escalations() == []

    await world.apply(signal("fairness", "scorer", 0.16))
    escalation = await world.escalation_says("scorer", "Contained", "False", "ContainmentNotRequired")
    assert escalation["status"]["tier"] == "moderate"
    assert "riskladder.dev/containment" not in escalation["metadata"]["labels"]
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1

    await world.apply(signal("fairness", "scorer", 0.05))
    await world.escalation_says("scorer", "Closed", "True", "Cleared")


async def test_rising_from_moderate_to_high_saves_fresh_evidence_and_contains(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.15))
    await world.signal_says("fairness", "Breached", "False", "BreachUnconfirmed")
    await world.apply(signal("fairness", "scorer", 0.15))
    await world.escalation_says("scorer", "Contained", "False", "ContainmentNotRequired")
    await world.scale("scorer", 2)
    await world.ready("scorer", 2)

    await world.apply(signal("fairness", "scorer", 0.4))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert len(await world.escalations()) == 1
    assert escalation["metadata"]["labels"]["riskladder.dev/tier"] == "high"
    assert escalation["spec"]["evidence"]["replicas"] == 1
    assert escalation["status"]["containments"][0]["intent"]["evidence"]["replicas"] == 2
    assert escalation["status"]["restore"]["replicas"] == 2
    assert "TierRaised" in events_of(await world.verified(escalation))


async def test_breach_rolls_back_to_the_last_known_good_revision(world: TestNamespace) -> None:
    await world.apply(ladder(action="Rollback"))
    await world.serve("scorer", replicas=2)
    good = await world.known_good("fairness", "scorer")
    await world.deploy("scorer", "registry.example/model:2", 2)
    await world.deploy("scorer", "registry.example/model:3", 2)

    await world.apply(signal("fairness", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "RolledBack")
    workload = await world.deployment("scorer")
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:1"
    assert "pod-template-hash" not in workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["replicas"] == 2
    assert escalation["spec"]["intent"]["podTemplateHash"] == good["digest"]
    assert escalation["status"]["restore"]["revision"] == "3"

    async def revisions() -> set[str]:
        pods = await world.client.list(resources.PODS, world.namespace)
        return {p["metadata"]["labels"]["pod-template-hash"] for p in pods}

    async def only_good() -> bool:
        return await revisions() == {good["digest"]}

    assert escalation["spec"]["evidence"]["podTemplateHash"] not in await revisions()
    await world.until(only_good, "the pods of the revision in between to go, too")
    await world.verified(escalation)


async def test_rollback_without_a_known_good_revision_takes_the_previous_one(world: TestNamespace) -> None:
    await world.apply(ladder(action="Rollback"))
    await world.serve("scorer")
    await world.deploy("scorer", "registry.example/model:2", 1)
    await world.deploy("scorer", "registry.example/model:3", 1)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "RolledBack")
    workload = await world.deployment("scorer")
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/model:2"


async def test_rollback_that_is_impossible_scales_to_zero_and_says_why(world: TestNamespace) -> None:
    await world.apply(ladder(action="Rollback"))
    await world.serve("first", replicas=1)
    await world.serve("paused", replicas=1)
    await world.deploy("paused", "registry.example/model:2", 1)
    await world.client.merge_patch(resources.DEPLOYMENTS, world.namespace, "paused", {"spec": {"paused": True}})
    await world.serve("forgetful", replicas=1, revisionHistoryLimit=0)
    await world.deploy("forgetful", "registry.example/model:2", 1)

    async def pruned() -> bool:
        sets = await world.client.list(resources.REPLICASETS, world.namespace, labels="app=forgetful")
        return len(sets) == 1

    await world.until(pruned, "the old ReplicaSet to be pruned")
    for name, why in (("first", "first"), ("paused", "paused"), ("forgetful", "revisionHistoryLimit")):
        await world.apply(signal(name, name, 0.31))
        escalation = await world.escalation_says(name, "Contained", "True", "ScaledToZero")
        intent = escalation["spec"]["intent"]
        assert (intent["action"], intent["reason"]) == ("ScaleToZero", "RollbackImpossible")
        assert why in intent["message"]
        assert (await world.deployment(name))["spec"]["replicas"] == 0


async def test_target_already_at_zero_is_contained_with_nothing_to_restore(world: TestNamespace) -> None:
    await world.apply(ladder(lock=True))
    await world.apply(deployment("scorer", replicas=0))
    await world.apply(signal("fairness", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "AlreadyAtZero")
    assert "restore" not in escalation["status"]
    assert escalation["metadata"]["labels"]["riskladder.dev/containment"] == "ScaleToZero"
    assert events_of(await world.verified(escalation)) == ["EscalationOpened", "AlreadyAtZero"]


async def test_deleted_target_is_said_and_its_successor_is_contained_by_itself(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    first = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.client.delete(resources.DEPLOYMENTS, world.namespace, "scorer")
    await world.escalation_says("scorer", "Contained", "True", "TargetDeleted")
    await world.signal_says("fairness", "Ready", "False", "TargetNotFound")

    await world.apply(deployment("scorer", replicas=2))

    async def both() -> list[dict[str, object]] | None:
        found = await world.escalations("scorer")
        return found if len(found) == 2 else None

    found = await world.until(both, "a second escalation")
    second = next(e for e in found if e["metadata"]["uid"] != first["metadata"]["uid"])  # type: ignore[index]
    assert second["spec"]["target"]["uid"] != first["spec"]["target"]["uid"]  # type: ignore[index]
    await world.escalation_says("scorer", "Closed", "True", "TargetRecreated")

    async def stopped() -> bool:
        return bool((await world.deployment("scorer"))["spec"]["replicas"] == 0)

    await world.until(stopped, "the new Deployment to be stopped")
    for escalation in await world.escalations("scorer"):
        restore = (escalation.get("status") or {}).get("restore") or {}
        assert restore.get("replicas") != 0


async def test_somebody_who_scales_it_up_again_is_named_and_it_is_stopped_again(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer", replicas=2)
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.client.request(
        "PATCH",
        resources.DEPLOYMENTS.path(world.namespace, "scorer"),
        verb="patch",
        resource="deployments.apps",
        body={"spec": {"replicas": 5}},
        content_type="application/merge-patch+json",
        params={"fieldManager": "rival"},
    )

    async def reverted() -> dict[str, object] | None:
        [escalation] = await world.escalations("scorer")
        return escalation if escalation["status"]["containments"][0].get("drift") else None

    escalation = await world.until(reverted, "the drift to be recorded")
    [entry] = escalation["status"]["containments"][0]["drift"]  # type: ignore[index]
    assert (entry["fieldManager"], entry["count"]) == ("rival", 1)
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    assert escalation["status"]["restore"]["replicas"] == 2  # type: ignore[index]
    assert events_of(await world.verified(escalation))[-1] == "ContainmentReapplied"  # type: ignore[arg-type]


async def test_manual_signal_contains_as_a_reading_does(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    raised = signal("manual", "scorer", None, manual={"tier": "high", "rationale": "complaints from customers"})
    await world.apply(raised)
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert escalation["spec"]["signal"]["manual"]["rationale"] == "complaints from customers"
    await world.signal_says("manual", "Breached", "True", "RaisedManually")


async def test_silence_raises_to_the_tier_of_when_stale(world: TestNamespace) -> None:
    silent = ladder()
    silent["spec"]["indicators"][0] |= {"staleAfter": "2s", "whenStale": "high"}
    await world.apply(silent)
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.01))
    await world.tier("fairness", "baseline")
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    stale = await world.signal_says("fairness", "Fresh", "False", "ReadingsStale")
    assert condition(stale, "Breached")["reason"] == "Silence"
    assert escalation["status"]["tier"] == "high"


@pytest.mark.parametrize("value", [0.31, 0.01])
async def test_deleted_escalation_is_recorded_and_opened_again_from_what_its_target_carries(
    world: TestNamespace, value: float
) -> None:
    """Whatever the readings say by then: who may delete an object does not decide about a model."""
    await world.apply(ladder())
    await world.serve("scorer", replicas=2)
    await world.apply(signal("fairness", "scorer", 0.31))
    first = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    if value < 0.1:
        await world.apply(signal("fairness", "scorer", value))
        await world.tier("fairness", "baseline")
    await world.client.delete(resources.ESCALATIONS, world.namespace, first["metadata"]["name"])
    second = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert second["metadata"]["name"] == first["metadata"]["name"]
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["spec"] == first["spec"]
    assert second["status"]["restore"]["replicas"] == 2
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    expected = ["EscalationOpened", "ContainmentApplied", "ScaledToZero"]
    assert events_of(await world.verified(second)) == [*expected, "EscalationDeleted", *expected]


async def test_companion_workload_is_suspended_with_it_and_again(world: TestNamespace) -> None:
    def cronjob(name: str, **spec: object) -> Object:
        job = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}}
        body = {"schedule": "0 3 * * *", "jobTemplate": {"spec": job}, **spec}
        return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": body}

    cronjobs = resources.SUSPENDABLE["CronJob"]
    await world.client.create(cronjobs, world.namespace, cronjob("retrain"))
    await world.client.create(cronjobs, world.namespace, cronjob("asleep", suspend=True))
    body = ladder()
    companions = [{"kind": "CronJob", "name": name} for name in ("retrain", "asleep", "missing")]
    body["spec"]["tiers"][1]["containment"]["alsoSuspend"] = companions
    await world.apply(body)
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))

    async def done() -> dict[str, Object] | None:
        found = (await world.escalations("scorer"))[0].get("status", {}).get("companions", ())
        by_name = {b["name"]: b for b in found}
        return by_name if by_name.get("retrain", {}).get("suspendedAt") else None

    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    by_name = await world.until(done, "the retraining to be suspended")
    assert (await world.get(cronjobs, "retrain"))["spec"]["suspend"] is True
    assert by_name["asleep"]["was"] is True
    assert "not found" in by_name["missing"]["problem"]
    records = [r["spec"]["event"] for r in await world.verified((await world.escalations("scorer"))[0])]
    assert {"AlsoSuspended", "NotSuspended"} <= set(records)


async def test_namespace_that_is_being_deleted_ends_the_work_on_it(
    world: TestNamespace, operator: OperatorProcess
) -> None:
    """It takes nothing new: no record, no Event and no Escalation, however often somebody tries."""
    keeper = {"metadata": {"name": "keeper", "finalizers": ["example.com/wait"]}}
    await world.client.create(CONFIGMAPS, world.namespace, keeper)
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.31))
    await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.client.delete(NAMESPACES, None, world.namespace)

    async def emptied() -> bool:
        found = await world.client.list(resources.DEPLOYMENTS, world.namespace)
        return not found and not await world.escalations()

    await world.until(emptied, "all but what keeps it to be gone")
    await world.quiet()
    tried = [e for e in operator.entries() if e["event"] == "will try again" and world.namespace in str(e["key"])]
    assert len(tried) <= 3, tried
    await world.client.merge_patch(CONFIGMAPS, world.namespace, "keeper", {"metadata": {"finalizers": None}})


async def test_namespace_that_is_created_again_has_chains_of_its_own(
    world: TestNamespace, operator: OperatorProcess
) -> None:
    async def breached() -> Object:
        await world.apply(ladder())
        await world.serve("scorer")
        await world.apply(signal("fairness", "scorer", 0.31))
        found = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
        records = await world.chain(found["metadata"]["name"])
        assert {record["spec"]["namespaceUid"] for record in records} == {await uid()}
        return found

    async def uid() -> str:
        return str((await world.client.get(NAMESPACES, None, world.namespace))["metadata"]["uid"])

    async def gone() -> bool:
        try:
            await uid()
        except NotFound:
            return True
        return False

    first, before = await breached(), await uid()
    await world.client.delete(NAMESPACES, None, world.namespace)
    await world.until(gone, "the namespace to be gone")
    await world.client.create(NAMESPACES, None, {"metadata": {"name": world.namespace}})
    assert await uid() != before

    second = await breached()
    assert second["metadata"]["name"].rpartition("-")[0] == first["metadata"]["name"].rpartition("-")[0]
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    await world.quiet()
    records = await world.client.list(resources.RECORDS, world.namespace)
    assert {record["spec"]["namespaceUid"] for record in records} == {await uid()}
    keys = {act["spec"]["detail"]["key"].partition("/")[0] for act in said(records)}
    assert keys == {second["metadata"]["uid"]}
