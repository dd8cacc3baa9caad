"""A namespace with very many models: what is done about one does not grow with the number of the others."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from riskladder.cluster.client import Client, Object
from riskladder.cluster.resources import DEPLOYMENTS, ENDPOINTSLICES, ESCALATIONS, Resource
from riskladder.controller.caches.store import Store
from riskladder.controller.companion_lookup import CompanionLookup
from riskladder.controller.executor import Executor
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.network import SERVICES
from riskladder.workloads.registry import Runtimes
from tests.unit.builders import KEY, Document, Scene, contain_by, contained, deployment_object, edited, ladder, signal
from tests.unit.test_traffic import CREATED, RULES, scorer, service


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions a piece of work calls."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def diverted() -> tuple[Document, Document]:
    """Labels and spec of the escalation of a model whose traffic goes elsewhere."""
    scene = Scene([signal(bias=0.3)], target=replace(scorer(service()), template_labels={"app": "scorer"}))
    scene.ladders = [ladder(contain_by("Fallback", fallback={"service": "scorer", "selector": RULES}))]
    scene.intend()
    return dict(scene.escalation.labels), scene.escalation.spec.to_api()


def slice_of(name: str, version: int) -> Document:
    labels = {"kubernetes.io/service-name": name}
    about = {"namespace": "models", "name": f"{name}-1", "uid": f"{name}-slice", "resourceVersion": str(version)}
    ready = [{"targetRef": {"kind": "Pod", "name": f"{name}-{version}"}, "conditions": {"ready": True}}]
    return {"metadata": {**about, "labels": labels}, "endpoints": ready}


def store_with(models: int) -> Store:
    """A namespace with so many models, each diverted by its own Service."""
    store, (labels, spec) = Store(lambda key, urgent: None, Runtimes(["fallback"])), diverted()
    for number in range(models):
        name = f"model-{number}"

        def its_own(copy: Document, name: str = name) -> None:
            copy["target"] |= {"name": name, "uid": f"{name}-uid"}
            copy["intent"]["targetRef"]["name"] = name

        about = {"namespace": "models", "resourceVersion": "1", "generation": 1, "creationTimestamp": CREATED}
        metadata = {**about, "name": f"{name}-1", "uid": f"{name}-escalation", "labels": labels}
        store.put(ESCALATIONS, {"metadata": metadata, "spec": edited(spec, its_own)})
        store.put(DEPLOYMENTS, deployment_object(name=name, uid=f"{name}-uid", creationTimestamp=CREATED))
        store.put(SERVICES, {**service(), "metadata": {**about, "name": name, "uid": f"{name}-service"}})
        store.put(ENDPOINTSLICES, slice_of(name, 1))
    return store


def test_look_at_one_model_and_change_of_its_endpoints_cost_the_same_among_many() -> None:
    needed = []
    for models in (4, 40):
        store, key = store_with(models), KEY._replace(name="model-0")
        look = calls_of(lambda: store.snapshot(key))  # noqa: B023
        change = calls_of(lambda: store.put(ENDPOINTSLICES, slice_of("model-0", 2)))  # noqa: B023
        needed.append((look, change))
        found = store.snapshot(key).target
        assert found is not None
        assert found.network_path is not None
        assert found.network_path.serving["model-0"] == {"model-0-2"}
        assert len(found.network_path.taken) == models - 1
        assert "Deployment model-1" in found.network_path.taken["Service", "model-1"]
    assert needed[0] == needed[1]


class ScaledObjects:
    """As many as there are models; counts how often they are listed."""

    def __init__(self, models: int) -> None:
        self.models, self.lists = models, 0

    def scaled_object(self, name: str) -> Object:
        about = {"name": name, "namespace": "models", "uid": f"{name}-uid", "resourceVersion": "1"}
        return {"metadata": about, "spec": {"scaleTargetRef": {"name": name}}}

    async def pages(self, resource: Resource, namespace: str) -> AsyncIterator[tuple[list[Object], str]]:
        self.lists += 1
        yield [self.scaled_object(f"model-{number}") for number in range(self.models)], "1"

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return self.scaled_object(name)


async def test_what_scales_many_stopped_models_of_a_namespace_is_listed_once() -> None:
    client = ScaledObjects(30)
    store = Store(lambda key, urgent: None, Runtimes(["keda"]))
    executor = cast(Executor, SimpleNamespace(problem=lambda *place: ""))
    lookup = CompanionLookup(cast(Client, client), store, executor)
    stopped = contained().escalations
    for number in range(30):
        name = f"model-{number}"
        found = await lookup.look(TargetKey("models", "Deployment", name), stopped)
        assert list(found) == [("ScaledObject", name)]
    assert client.lists == 1
