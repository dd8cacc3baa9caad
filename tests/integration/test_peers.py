"""The resources of serving runtimes on a real API server, and two of their controllers at work on them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object, Refused
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from tests.cluster import ClusterError, LocalControlPlane, peers
from tests.cluster.peers import KedaOperator, RolloutsController, crds, install_crds
from tests.conftest import progress
from tests.integration.world import TestNamespace, condition, deployment

pytestmark = pytest.mark.timeout(3600)  # The first run builds the controllers.

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
LLM_SERVICES = Resource("serving.kserve.io", "v1alpha2", "llminferenceservices", "LLMInferenceService")
MODELS = Resource("mlops.seldon.io", "v1alpha1", "models", "Model")
SERVERS = Resource("mlops.seldon.io", "v1alpha1", "servers", "Server")


@pytest.fixture(scope="module")
async def root(plane: LocalControlPlane) -> AsyncIterator[Client]:
    """A client with an administrator's rights."""
    connection = await connect(str(plane.kubeconfig), namespace="default", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture
async def here(root: Client) -> AsyncIterator[TestNamespace]:
    """A fresh namespace, without our operator."""
    async with TestNamespace(root, f"test-{uuid.uuid4().hex[:8]}") as fresh:
        yield fresh


@pytest.fixture(scope="module")
def rollouts(
    plane: LocalControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RolloutsController]:
    show = progress(request.config)
    install_crds(plane.kubeconfig, "argo-rollouts", *RolloutsController.KINDS, progress=show)
    with RolloutsController(plane.kubeconfig, tmp_path_factory.mktemp("rollouts"), show) as controller:
        yield controller


@pytest.fixture(scope="module")
async def keda(
    plane: LocalControlPlane, root: Client, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KedaOperator]:
    show = progress(request.config)
    install_crds(plane.kubeconfig, "keda", *KedaOperator.KINDS, progress=show)
    with KedaOperator(plane.kubeconfig, tmp_path_factory.mktemp("keda"), show) as operator:
        yield operator
        await TestNamespace(root, "").alone()  # which it has to let go


def made(resource: Resource, name: str, spec: Object) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}


async def create(here: TestNamespace, resource: Resource, name: str, spec: Object) -> Object:
    return await here.client.create(resource, here.namespace, made(resource, name, spec))


# --- Definitions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", peers.SOURCES)
async def test_definitions_are_established(
    project: str, plane: LocalControlPlane, root: Client, request: pytest.FixtureRequest
) -> None:
    install_crds(plane.kubeconfig, project, progress=progress(request.config))
    definitions = crds(project)
    assert [d["spec"]["names"]["kind"] for d in definitions] == list(peers.SOURCES[project].usual)
    for definition in definitions:
        stored = await root.get(DEFINITIONS, None, definition["metadata"]["name"])
        assert condition(stored, "Established")["status"] == "True"
        assert condition(stored, "NamesAccepted")["status"] == "True"
        # Nothing in it is refused or ignored.
        assert condition(stored, "NonStructuralSchema")["status"] == ""
        assert stored["spec"]["versions"] == definition["spec"]["versions"]


async def test_models_give_the_fields_that_exist(plane: LocalControlPlane, here: TestNamespace) -> None:
    install_crds(plane.kubeconfig, "kserve")
    install_crds(plane.kubeconfig, "seldon-core")
    predictor = {
        "minReplicas": 2,
        "min_replicas": 2,
        "model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://a/b", "resources": {"limits": {"cpu": "1"}}},
    }
    service = await create(here, SERVICES, "scorer", {"predictor": predictor})
    del predictor["min_replicas"]
    assert service["spec"] == {"predictor": predictor}

    model = await create(here, MODELS, "scorer", {"storageUri": "s3://a/b", "replicas": 2, "memory": "1Gi", "nodes": 1})
    assert model["spec"] == {"storageUri": "s3://a/b", "replicas": 2, "memory": "1Gi"}

    with pytest.raises(Refused, match="minReplicas"):
        await create(here, SERVICES, "other", {"predictor": {"minReplicas": "two"}})


@pytest.mark.parametrize(
    ("project", "resource", "spec"),
    [
        ("argo-rollouts", ROLLOUTS, {"replicas": 2, "selector": {"matchLabels": {"app": "scorer"}}, "template": {}}),
        ("seldon-core", MODELS, {"replicas": 2, "storageUri": "s3://a/b"}),
        ("seldon-core", SERVERS, {"replicas": 2, "serverConfig": "mlserver"}),
    ],
    ids=lambda value: value.kind if isinstance(value, Resource) else "",
)
async def test_scale(
    project: str, resource: Resource, spec: Object, plane: LocalControlPlane, here: TestNamespace
) -> None:
    install_crds(plane.kubeconfig, project)
    await create(here, resource, "scorer", spec)
    zero = {"spec": {"replicas": 0}}
    scale = await here.client.merge_patch(resource, here.namespace, "scorer", zero, subresource="scale")
    assert scale["kind"] == "Scale"
    stored = await here.get(resource, "scorer")
    assert stored["spec"]["replicas"] == 0


@pytest.mark.parametrize("project", ["argo-rollouts", "kserve"])
def test_what_is_not_pinned_is_refused(project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISKLADDER_CACHE", str(tmp_path / "cache"))
    pins = tmp_path / "pins"
    shutil.copytree(peers.PINS, pins)
    monkeypatch.setattr(peers, "PINS", pins)
    for name in ("go.sum", "kserve.lock"):
        lines = (pins / name).read_text().splitlines()
        (pins / name).write_text("\n".join(forged(line) for line in lines) + "\n")
    with pytest.raises(ClusterError, match="could not be downloaded"):
        crds(project)
    assert not list((tmp_path / "cache").glob("peers/*/*.json"))


def forged(line: str) -> str:
    """The line with another hash."""
    start, separator, rest = line.partition("h1:" if "h1:" in line else "sha256:")
    return start + separator + rest.translate(str.maketrans("123", "312"))


# --- Controllers ------------------------------------------------------------------------------------------------------


async def pods(here: TestNamespace) -> list[Object]:
    """Return those that are ready."""
    found = await here.client.list(resources.PODS, here.namespace)
    return [pod for pod in found if condition(pod, "Ready")["status"] == "True"]


async def test_rollout_serves_steps_and_stops(rollouts: RolloutsController, here: TestNamespace) -> None:
    assert rollouts.pid is not None
    template: dict[str, Any] = deployment("scorer")["spec"]["template"]
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "scorer"}},
        "template": template,
        "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}},
    }
    await create(here, ROLLOUTS, "scorer", spec)

    async def phase(wanted: str) -> Object | None:
        found = await here.get(ROLLOUTS, "scorer")
        status = found.get("status") or {}
        current = status.get("observedGeneration") == str(found["metadata"]["generation"])
        return found if current and status.get("phase") == wanted else None

    await here.until(lambda: phase("Healthy"), "the rollout to be healthy")
    assert len(await pods(here)) == 2

    template["spec"]["containers"][0]["image"] = "registry.example/model:2"
    await here.client.merge_patch(ROLLOUTS, here.namespace, "scorer", {"spec": {"template": template}})
    await here.until(lambda: phase("Paused"), "the canary to pause")

    async def one_of_each() -> bool:
        images = sorted(pod["spec"]["containers"][0]["image"] for pod in await pods(here))
        return images == ["registry.example/model:1", "registry.example/model:2"]

    await here.until(one_of_each, "a pod of each revision")

    await here.client.merge_patch(ROLLOUTS, here.namespace, "scorer", {"spec": {"replicas": 0}})

    async def gone() -> bool:
        return not await here.client.list(resources.PODS, here.namespace)

    await here.until(gone, "all pods to go")


async def test_keda_scales_and_is_paused_at_zero(keda: KedaOperator, here: TestNamespace) -> None:
    assert keda.pid is not None
    await here.apply(deployment("scorer", replicas=1))
    trigger = {"timezone": "UTC", "start": "0 0 1 1 *", "end": "1 0 1 1 *", "desiredReplicas": "3"}
    spec = {
        "scaleTargetRef": {"name": "scorer"},
        "minReplicaCount": 2,
        "maxReplicaCount": 5,
        "triggers": [{"type": "cron", "metadata": trigger}],
    }
    await create(here, SCALED_OBJECTS, "scorer", spec)

    async def scaled() -> Object | None:
        hpa = await here.get(HPAS, "keda-hpa-scorer")
        assert hpa["spec"]["scaleTargetRef"]["name"] == "scorer"
        return hpa if len(await pods(here)) == 2 else None

    hpa = await here.until(scaled, "KEDA to make its HPA, and that to ask for the minimum")
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 5)

    paused = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": "0"}}}
    await here.client.merge_patch(SCALED_OBJECTS, here.namespace, "scorer", paused)

    async def stopped() -> bool:
        found = await here.get(SCALED_OBJECTS, "scorer")
        is_scaled = bool(await pods(here) or await here.client.list(HPAS, here.namespace))
        return condition(found, "Paused")["status"] == "True" and not is_scaled

    await here.until(stopped, "KEDA to scale to zero and stay there, without an HPA")
    assert (await here.deployment("scorer"))["spec"]["replicas"] == 0
