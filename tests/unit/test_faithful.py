"""Faithful restore, for every runtime: contain then restore is the identity on what Riskladder touches.

And nothing else is changed, also where others change other fields meanwhile.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.workloads.model import Runtime
from riskladder.workloads.registry import ALL_RUNTIMES
from riskladder.workloads.results import JsonPatch, Write
from riskladder.workloads.runtimes.argo import ROLLOUT
from riskladder.workloads.runtimes.deployment import DEPLOYMENT
from riskladder.workloads.runtimes.kserve import INFERENCESERVICE, LLMINFERENCESERVICE, STOP
from riskladder.workloads.runtimes.ray import RAYCLUSTER, RAYSERVICE
from riskladder.workloads.runtimes.scalable import Scalable, parse
from riskladder.workloads.runtimes.seldon import SELDON_MODEL
from riskladder.workloads.runtimes.statefulset import STATEFULSET
from tests.unit.builders import Document

words = st.text("abcdef", min_size=1, max_size=4)
labels = st.dictionaries(words, words, max_size=3)
replicas = st.integers(1, 50)


def document(kind: Runtime, spec: st.SearchStrategy[Document], annotations: st.SearchStrategy[Any]) -> Any:
    """Stored objects of a kind: with and without annotations, and whatever else people write."""
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(kind.resource.api_version),
            "kind": st.just(kind.resource.kind),
            "metadata": st.builds(
                lambda labels, annotations: {
                    "namespace": "models",
                    "name": "scorer",
                    "uid": "target-uid",
                    "resourceVersion": "7",
                    "generation": 3,
                    "creationTimestamp": "2026-11-24T12:00:00Z",
                    "labels": labels,
                    **({"annotations": annotations} if annotations is not None else {}),
                },
                labels,
                annotations,
            ),
            "spec": spec,
        }
    )


def templated() -> st.SearchStrategy[Document]:
    return st.builds(
        lambda n, pods, image, more: {
            "replicas": n,
            "selector": {"matchLabels": {"app": "scorer"}},
            "template": {
                "metadata": {"labels": {"app": "scorer", **pods}},
                "spec": {"containers": [{"name": "model", "image": image}]},
            },
            **more,
        },
        replicas,
        labels,
        words,
        st.fixed_dictionaries({}, optional={"minReadySeconds": st.integers(0, 9), "revisionHistoryLimit": replicas}),
    )


def seldon_model() -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries(
        {"storageUri": words.map("gs://models/{}".format)},
        optional={
            "replicas": replicas,
            "minReplicas": st.integers(0, 60),
            "maxReplicas": replicas,
            "requirements": st.lists(words, max_size=2),
        },
    )


def ray_cluster() -> st.SearchStrategy[Document]:
    head = words.map(lambda image: {"template": {"spec": {"containers": [{"name": "ray-head", "image": image}]}}})
    return st.fixed_dictionaries({"headGroupSpec": head}, optional={"suspend": st.just(False), "rayVersion": words})


def ray_service() -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries(
        {"rayClusterConfig": ray_cluster()}, optional={"suspend": st.just(False), "serveConfigV2": words}
    )


def rollout() -> st.SearchStrategy[Document]:
    """Specs of Rollouts, with every strategy."""
    seconds = st.integers(0, 90)
    canary = st.fixed_dictionaries(
        {},
        optional={
            "trafficRouting": st.just({"nginx": {"stableIngress": "scorer"}}),
            "abortScaleDownDelaySeconds": seconds,
            "scaleDownDelayRevisionLimit": st.integers(0, 3),
        },
    )
    blue_green = st.fixed_dictionaries(
        {"activeService": words},
        optional={
            "previewReplicaCount": replicas,
            "abortScaleDownDelaySeconds": seconds,
            "autoPromotionEnabled": st.booleans(),
        },
    )
    strategy = canary.map(lambda found: {"canary": found}) | blue_green.map(lambda found: {"blueGreen": found})
    more = st.fixed_dictionaries({"strategy": strategy}, optional={"paused": st.booleans()})
    return st.builds(lambda spec, found: {**spec, **found}, templated(), more)


SCORER = Scalable(parse("example.dev/v1/scorers=Scorer"))
"""A kind that the settings allow."""

plain_annotations = st.none() | labels


def switched() -> st.SearchStrategy[Any]:
    """Annotations with or without the one that stops KServe's kinds."""
    switch = st.sampled_from(["false", "False", "", "no", "true", "True"])
    return plain_annotations | st.builds(lambda found, value: {**found, STOP: value}, labels, switch)


def predicted() -> st.SearchStrategy[Document]:
    """Specs of InferenceServices, whose components may overrule the annotation."""
    component = st.builds(
        lambda image, annotations: {
            "containers": [{"name": "kserve-container", "image": image}],
            **({"annotations": annotations} if annotations is not None else {}),
        },
        words,
        switched(),
    )
    canaries = st.lists(component.map(lambda predictor: {"predictor": predictor}), max_size=2)
    return st.fixed_dictionaries(
        {"predictor": component}, optional={"transformer": component, "explainer": component, "canary": canaries}
    )


def _runs(runtime: Runtime) -> Callable[[Document], bool]:
    return lambda stored: runtime.read(stored).replicas > 0


STORED: dict[str, Any] = {
    "Deployment": document(DEPLOYMENT, templated(), plain_annotations),
    "StatefulSet": document(STATEFULSET, templated(), plain_annotations),
    "InferenceService": document(INFERENCESERVICE, predicted(), switched()).filter(_runs(INFERENCESERVICE)),
    "LLMInferenceService": document(LLMINFERENCESERVICE, templated(), switched()).filter(_runs(LLMINFERENCESERVICE)),
    "Model": document(SELDON_MODEL, seldon_model(), plain_annotations),
    "RayCluster": document(RAYCLUSTER, ray_cluster(), plain_annotations),
    "RayService": document(RAYSERVICE, ray_service(), plain_annotations),
    "Rollout": document(ROLLOUT, rollout(), plain_annotations),
    "Scorer": document(SCORER, templated(), plain_annotations),
}
"""By kind: objects as they are stored while they run."""

RUNTIMES = {runtime.resource.kind: runtime for runtime in (*ALL_RUNTIMES, SCORER)}


def test_every_runtime_is_tried() -> None:
    assert set(STORED) == set(RUNTIMES)


def written(stored: Document, write: object) -> Document:
    """The object after a write, as the API server would store it."""
    assert isinstance(write, Write), write
    patch: JsonPatch = write.patch
    if write.subresource == "scale":
        scale = jsonpatch.apply_patch(scale_of(stored), patch)
        return {**stored, "spec": {**stored["spec"], "replicas": scale["spec"].get("replicas", 0)}}
    after: Document = jsonpatch.apply_patch(stored, patch)
    return after


def scale_of(stored: Document) -> Document:
    """The Scale of an object: it leaves zero out."""
    asked = stored["spec"]["replicas"]
    return {"metadata": {"uid": stored["metadata"]["uid"]}, "spec": {"replicas": asked} if asked else {}}


def pull(stored: Document) -> Document:
    """Return what somebody else changes meanwhile, that is none of our business."""
    changed = copy.deepcopy(stored)
    changed["metadata"]["labels"]["team"] = "fairness"
    changed["metadata"].setdefault("annotations", {})["note"] = "looked at"
    return changed


@pytest.mark.parametrize("kind", sorted(RUNTIMES))
@given(data=st.data(), disturbed=st.booleans())
def test_contain_then_restore_is_the_identity(kind: str, data: st.DataObject, disturbed: bool) -> None:
    runtime, before = RUNTIMES[kind], data.draw(STORED[kind])
    meddle: Callable[[Document], Document] = pull if disturbed else copy.deepcopy
    facts = runtime.read(before)
    assert facts.replicas > 0
    contained = written(before, runtime.stop(facts))
    assert runtime.read(contained).replicas == 0
    assert runtime.prove_stopped(runtime.read(contained)).applied
    assert contained["spec"].get("template") == before["spec"].get("template"), "a stop leaves the model as it is"
    saved = json.loads(json.dumps(dict(facts.fields)))
    restored = written(meddle(contained), runtime.restore(runtime.read(meddle(contained)), facts.replicas, saved))
    assert _plain(restored) == _plain(meddle(before))


@pytest.mark.parametrize("kind", sorted(RUNTIMES))
@given(data=st.data())
def test_another_object_of_the_same_name_is_not_stopped(kind: str, data: st.DataObject) -> None:
    runtime, before = RUNTIMES[kind], data.draw(STORED[kind])
    write = runtime.stop(runtime.read(before))
    assert isinstance(write, Write)
    other = copy.deepcopy(before)
    other["metadata"]["uid"] = "another"
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        written(other, write)


def _plain(stored: Document) -> Document:
    """An empty map of annotations is as good as none."""
    metadata = {key: value for key, value in stored["metadata"].items() if key != "annotations" or value}
    return {**stored, "metadata": metadata}
