"""Companion workloads that a tier may name: the real Job controller, and CronWorkflows of Argo."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from riskladder.workloads.companions.suspend import CRONWORKFLOWS, JOBS
from tests.cluster import LocalControlPlane
from tests.cluster.install import render
from tests.cluster.peers import crds
from tests.integration.runtimes import RuntimeNamespace, place
from tests.integration.world import condition, ladder


@pytest.fixture(scope="module")
async def home(common: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RuntimeNamespace]:
    """One operator for the module."""
    directory = tmp_path_factory.mktemp("companions")
    definitions = crds("argo-workflows")
    async with place(common, directory, resources.DEPLOYMENTS, components=["argo-workflows"], crds=definitions) as made:
        yield made


def naming(*companions: tuple[str, str]) -> Object:
    """A ladder that suspends these along with the model."""
    body = ladder()
    named = [{"kind": kind, "name": name} for kind, name in companions]
    body["spec"]["tiers"][1]["containment"]["alsoSuspend"] = named
    return body


async def companion(scene: RuntimeNamespace, name: str, time: str) -> Object:
    """Return what is on record about one of them, once that has happened."""

    async def check() -> Object | None:
        found = (await scene.escalations("scorer"))[0].get("status", {}).get("companions", ())
        return next((b for b in found if b["name"] == name and b.get(time)), None)

    return await scene.until(check, f"{time} of {name}")


def job(name: str, **spec: object) -> Object:
    """A Job whose pods wait for a node: here, one that got a node would be done at once."""
    pod: Object = {"restartPolicy": "Never", "containers": [{"name": "train", "image": "registry.example/train:1"}]}
    pod["nodeSelector"] = {"accelerator": "none-here"}
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {"name": name},
        "spec": {"parallelism": 2, "template": {"spec": pod}, **spec},
    }


async def running(scene: RuntimeNamespace, name: str, number: int) -> None:
    """Wait until so many pods of a Job are there."""

    async def check() -> bool:
        return len(await scene.pods(f"batch.kubernetes.io/job-name={name}")) == number

    await scene.until(check, f"{number} pods of Job {name}")


async def test_job_has_its_pods_terminated_and_starts_afresh_after_a_resume(scene: RuntimeNamespace) -> None:
    await scene.client.create(JOBS, scene.namespace, job("retrain"))
    await scene.client.create(JOBS, scene.namespace, job("asleep", suspend=True))
    await running(scene, "retrain", 2)
    await scene.apply(naming(("Job", "retrain"), ("Job", "asleep")))
    await scene.serve("scorer")
    escalation = await scene.breach("scorer")
    await companion(scene, "retrain", "suspendedAt")
    await running(scene, "retrain", 0)

    async def suspended() -> bool:
        return bool(condition(await scene.get(JOBS, "retrain"), "Suspended")["status"] == "True")

    await scene.until(suspended, "its controller to say that it is suspended")
    assert (await companion(scene, "asleep", "suspendedAt"))["was"] is True

    await scene.resume(escalation)
    await companion(scene, "retrain", "resumedAt")
    await running(scene, "retrain", 2)
    assert (await scene.get(JOBS, "asleep"))["spec"]["suspend"] is True
    events = [r["spec"]["event"] for r in await scene.verified((await scene.escalations("scorer"))[0])]
    assert [events.count(event) for event in ("AlsoSuspended", "AlsoResumed", "NotSuspended")] == [2, 1, 0]


def cronworkflow(name: str, **spec: object) -> Object:
    container = {"image": "registry.example/collect:1"}
    workflow = {"entrypoint": "collect", "templates": [{"name": "collect", "container": container}]}
    return {
        "apiVersion": CRONWORKFLOWS.api_version,
        "kind": CRONWORKFLOWS.kind,
        "metadata": {"name": name},
        "spec": {"schedules": ["0 3 * * *"], "workflowSpec": workflow, **spec},
    }


async def test_cronworkflow_is_suspended_and_runs_again(scene: RuntimeNamespace) -> None:
    names = {"collect": {}, "stated": {"suspend": False}, "asleep": {"suspend": True}}
    for name, given in names.items():
        await scene.client.create(CRONWORKFLOWS, scene.namespace, cronworkflow(name, **given))
    await scene.apply(naming(*(("CronWorkflow", name) for name in names), ("CronWorkflow", "late")))
    await scene.serve("scorer")
    escalation = await scene.breach("scorer")
    for name in ("collect", "stated"):
        await companion(scene, name, "suspendedAt")
        assert (await scene.get(CRONWORKFLOWS, name))["spec"]["suspend"] is True
    late = await companion(scene, "late", "problem")
    assert "not found" in late["problem"]

    # One that comes later is taken as it is then.
    await scene.client.create(CRONWORKFLOWS, scene.namespace, cronworkflow("late", suspend=True))
    late = await companion(scene, "late", "suspendedAt")
    assert (late["was"], late.get("problem", "")) == (True, "")

    await scene.resume(escalation)
    for name in ("collect", "stated"):
        await companion(scene, name, "resumedAt")
    suspended = {name: (await scene.get(CRONWORKFLOWS, name))["spec"].get("suspend") for name in (*names, "late")}
    assert suspended == {"collect": False, "stated": False, "asleep": True, "late": True}


async def test_without_the_component_nothing_of_argo_is_granted(home: RuntimeNamespace) -> None:
    def groups(components: list[str]) -> set[str]:
        role = next(
            found
            for found in render(components=components)
            if found["kind"] == "ClusterRole" and found["metadata"]["name"] == "riskladder"
        )
        return {group for rule in role["rules"] for group in rule["apiGroups"]}

    assert home.operator.process.poll() is None
    assert groups(["argo-workflows"]) - groups([]) == {"argoproj.io"}
