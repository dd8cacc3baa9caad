"""Rule: nothing is left of a model only if no pod is left that its selector matches, whoever owns that pod by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.resources import DEPLOYMENTS, ENDPOINTSLICES, PODS, REPLICASETS
from riskladder.controller.caches.store import Store
from riskladder.controller.stray_lookup import LOOK_AGAIN, StrayLookup
from riskladder.policy.containment.state import prove
from riskladder.policy.containment.strays import is_proved_otherwise, pod_search
from riskladder.workloads.model import Workload
from riskladder.workloads.selectors import matches, query

from .builders import (
    KEY,
    Document,
    Scene,
    at,
    contain_by,
    deployment_object,
    ladder,
    pod_object,
    replicaset_object,
    signal,
    workload,
)

CREATED = "2026-11-24T06:00:00Z"
SELECTOR = {"matchLabels": {"app": "scorer"}}


def stopped(action: str = "ScaleToZero") -> Scene:
    scene = Scene([signal(bias=0.3)], target=workload(selector=SELECTOR), ladders=[ladder(contain_by(action))])
    scene.run()
    return scene


def says(scene: Scene) -> tuple[str, str, str]:
    found = scene.condition(ConditionType.CONTAINED)
    return str(found.status), found.reason, found.message


@pytest.mark.parametrize("action", ["ScaleToZero", "Rollback"])
def test_it_is_proved_only_when_somebody_has_looked_and_found_nothing(action: str) -> None:
    scene = stopped(action)
    [intent] = scene.escalation.intents
    assert scene.target is not None
    unseen = prove(replace(scene.target, strays=None), scene.escalation, intent)
    assert (unseen.applied, unseen.pods_gone, unseen.clear) == (True, False, True), "nobody has looked"
    found = prove(replace(scene.target, strays=("aside",)), scene.escalation, intent)
    assert (found.applied, found.endpoints_empty, found.pods_gone, found.clear) == (True, False, False, False)
    assert "1 pod that its selector matches and it no longer owns: aside" in found.left
    assert prove(replace(scene.target, strays=()), scene.escalation, intent).pods_gone


def test_pod_that_comes_to_light_later_is_no_proof_any_more() -> None:
    scene = stopped()
    assert scene.target is not None
    scene.target, scene.now = replace(scene.target, strays=("aside",)), at(1)
    scene.run()
    assert says(scene)[:2] == ("False", Reason.CONTAINMENT_APPLIED)
    assert "it was proved, and is no longer" in says(scene)[2]
    assert scene.reason(ConditionType.CONTAINMENT_HOLDS)[0] == "False"
    scene.target, scene.now = replace(scene.target, strays=()), at(2)
    scene.run()
    assert says(scene)[0] == "True"


def test_restart_takes_no_proof_back() -> None:
    scene = stopped()
    assert scene.target is not None
    scene.target, scene.now = replace(scene.target, strays=None), at(1)
    scene.run()
    assert says(scene)[0] == "True", "what was proved stays so until somebody has looked"


def test_deleted_model_that_left_pods_behind_is_not_contained() -> None:
    scene = stopped()
    scene.target, scene.strays = None, ("scorer-1", "scorer-2")
    scene.run()
    status, reason, message = says(scene)
    assert (status, reason) == ("False", Reason.TARGET_DELETED)
    assert "2 pods that its selector matches and it no longer owns: scorer-1, scorer-2" in message
    scene.strays, scene.now = (), at(1)
    scene.run()
    assert says(scene) == ("True", Reason.TARGET_DELETED, "the target was deleted: nothing is left to contain")


def test_nothing_is_looked_for_while_its_own_pods_are_left() -> None:
    scene = stopped()
    assert is_proved_otherwise(scene.snapshot())
    assert scene.target is not None
    scene.target = replace(scene.target, pods=workload(replicas=1).pods, total_replicas=1)
    assert not is_proved_otherwise(scene.snapshot())


def test_rollback_looks_for_the_revision_that_was_taken_out_of_service() -> None:
    found = pod_search(stopped("Rollback").escalations)
    assert found is not None
    assert (found.query, found.quarantined, found.name) == ("app=scorer", "hash2", "scorer")
    assert found.concerns({"pod-template-hash": "hash2"})
    assert found.concerns({"app": "scorer"}), "of which nobody knows what it runs"
    assert not found.concerns({"pod-template-hash": "hash1"})


KEYS, VALUES = st.sampled_from(["app", "tier", "track"]), st.sampled_from(["a", "b", "c"])
EXPRESSIONS = st.lists(
    st.one_of(
        st.tuples(KEYS, st.sampled_from(["In", "NotIn"]), st.lists(VALUES, min_size=1, max_size=2, unique=True)),
        st.tuples(KEYS, st.sampled_from(["Exists", "DoesNotExist"]), st.just([])),
    ),
    max_size=3,
)


def met(text: str, labels: dict[str, str]) -> bool:
    """The API server's reading of a query (labels.Parse), for those that are written here."""

    def one(part: str) -> bool:
        if part.startswith("!"):
            return part[1:] not in labels
        if "=" in part:
            key, _, value = part.partition("=")
            return labels.get(key) == value
        key, _, rest = part.partition(" ")
        if not rest:
            return key in labels
        operator, _, values = rest.partition(" ")
        inside = labels.get(key) in values.strip("()").split(",")
        return inside if operator == "in" else not inside

    parts, depth, word = [], 0, ""
    for letter in text + ",":
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(word)
            word = ""
        else:
            word += letter
    return all(one(part) for part in parts if part)


@given(st.dictionaries(KEYS, VALUES, max_size=2), EXPRESSIONS, st.dictionaries(KEYS, VALUES))
def test_query_means_what_the_selector_means(
    equal: dict[str, str], expressions: list[tuple[str, str, Sequence[str]]], labels: dict[str, str]
) -> None:
    written = [{"key": key, "operator": operator, "values": list(values)} for key, operator, values in expressions]
    text = query({"matchLabels": equal, "matchExpressions": written})
    assert met(text, labels) == matches(labels, equal, expressions)


# --- Who is asked -----------------------------------------------------------------------------------------------------


class Server:
    """Lists the pods that it is given."""

    def __init__(self, *pods: Document) -> None:
        self.pods, self.asked = pods, []

    async def list(self, resource: Any, namespace: str, *, labels: str = "") -> Sequence[Document]:
        assert resource is PODS
        self.asked.append((namespace, labels))
        return self.pods


def labelled(name: str, *, owner: str | None, phase: str = "Running") -> Document:
    pod = pod_object(name, 2, phase=phase)
    pod["metadata"]["labels"] = {"app": "scorer"}
    pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": owner, "controller": True}] if owner else []
    return pod


def store_of(*owned: Document) -> Store:
    store = Store(lambda key, urgent: None)
    store.put(DEPLOYMENTS, deployment_object(2, 0, creationTimestamp=CREATED))
    store.put(REPLICASETS, replicaset_object(2, 2))
    for pod in owned:
        store.put(PODS, pod)
    return store


async def test_pods_of_nobody_are_found_and_those_of_somebody_are_not() -> None:
    other = deployment_object(2, 1, name="other", uid="other-uid", creationTimestamp=CREATED)
    of_other = replicaset_object(3, 1, owner="other-uid")
    store = store_of()
    store.put(DEPLOYMENTS, other)
    store.put(REPLICASETS, of_other)
    server = Server(
        labelled("aside", owner=None),
        labelled("of-a-released-replicaset", owner="released"),
        labelled("of-another", owner="other-uid/hash3"),
        labelled("its-own", owner="target-uid/hash2"),
        labelled("ended", owner=None, phase="Succeeded"),
    )
    lookup = StrayLookup(server, store)  # type: ignore[arg-type]
    snapshot = stopped().snapshot()
    assert lookup.known(snapshot) is None, "nobody has looked"
    assert lookup.is_due(snapshot)
    assert await lookup.look(snapshot)
    assert 0 < lookup.wait(KEY) <= LOOK_AGAIN
    assert server.asked == [(KEY.namespace, "app=scorer")]
    assert lookup.known(snapshot) == ("aside", "of-a-released-replicaset")
    assert not await lookup.look(snapshot), "it was just done"


# --- What a Service lists ---------------------------------------------------------------------------------------------


def listed(*names: str, ready: bool = True) -> Document:
    """The slice of a Service whose selector is broader than the model's, or that somebody maintains manually."""
    return {
        "metadata": {
            "namespace": KEY.namespace,
            "name": "front-1",
            "uid": "slice-uid",
            "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": "front"},
        },
        "endpoints": [{"targetRef": {"kind": "Pod", "name": name}, "conditions": {"ready": ready}} for name in names],
    }


def released(name: str, made_from: str, *, owner: str | None = None, **labels: str) -> Document:
    """A pod that was relabelled out of the model's selector."""
    found = labelled(name, owner=owner)
    found["metadata"] |= {"labels": labels, "generateName": made_from}
    return found


class ByLabels(Server):
    """Knows what the model's selector matches."""

    async def list(self, resource: Any, namespace: str, *, labels: str = "") -> Sequence[Document]:
        found = await super().list(resource, namespace, labels=labels)
        return [pod for pod in found if not labels or pod["metadata"]["labels"].get("app") == "scorer"]


async def look(server: Server, store: Store, scene: Scene) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    lookup = StrayLookup(server, store)  # type: ignore[arg-type]
    assert await lookup.look(scene.snapshot())
    joined = lookup.join(scene.snapshot())
    return joined.strays, joined.listed


async def test_pod_that_a_service_lists_and_that_the_model_has_made_is_no_proof() -> None:
    server = ByLabels(
        released("scorer-hash2-aaaaa", "scorer-hash2-"),
        released("scorer-hash9-aaaaa", "scorer-hash9-"),  # of something else of a similar name
        released("scorer-hash1-owned", "scorer-hash1-", owner="target-uid/hash2"),
        released("scorer-hash2-quiet", "scorer-hash2-"),  # which nobody lists
        released("rules-hash2-aaaaa", "rules-hash2-"),
        released("scorer-0", "", **{"statefulset.kubernetes.io/pod-name": "scorer-0"}),
        released("scorer-1", ""),
    )
    store, scene = store_of(), stopped()
    store.put(
        ENDPOINTSLICES, listed(*(p["metadata"]["name"] for p in server.pods if "quiet" not in p["metadata"]["name"]))
    )
    assert await look(server, store, scene) == ((), ("scorer-0", "scorer-hash2-aaaaa"))
    assert server.asked == [(KEY.namespace, "app=scorer"), (KEY.namespace, "")]


async def test_where_no_service_lists_a_name_that_looks_like_it_nothing_more_is_asked() -> None:
    server, store, scene = ByLabels(released("scorer-hash2-aaaaa", "scorer-hash2-")), store_of(), stopped()
    store.put(ENDPOINTSLICES, listed("rules-hash2-aaaaa"))
    assert await look(server, store, scene) == ((), ())
    store.drop(ENDPOINTSLICES, listed())
    assert server.asked == [(KEY.namespace, "app=scorer")]


async def test_rollback_minds_the_revision_that_breached() -> None:
    server = ByLabels(released("scorer-hash1-aaaaa", "scorer-hash1-"), released("scorer-hash2-aaaaa", "scorer-hash2-"))
    store, scene = store_of(), stopped("Rollback")
    store.put(ENDPOINTSLICES, listed("scorer-hash1-aaaaa", "scorer-hash2-aaaaa"))
    assert (await look(server, store, scene))[1] == ("scorer-hash2-aaaaa",)


def test_what_a_service_lists_is_said_as_that() -> None:
    scene = stopped()
    assert scene.target is not None
    scene.target, scene.now = replace(scene.target, listed=("scorer-hash2-aaaaa",)), at(1)
    scene.run()
    assert says(scene)[0] == "False"
    assert says(scene)[2] == (
        "it was proved, and is no longer: still there: 1 pod that it has "
        "made and no longer owns, and that a Service still lists as serving: scorer-hash2-aaaaa"
    )


def test_proof_speaks_of_the_models_own_pods_and_never_of_all_that_a_service_lists() -> None:
    assert says(stopped())[2] == (
        "scaled to zero: none of its pods is left, and no Service lists one of them as serving"
    )


async def test_where_nothing_stops_a_pod_nobody_looks() -> None:
    lookup = StrayLookup(Server(), store_of())  # type: ignore[arg-type]
    snapshot = Scene([signal(bias=0.01)]).snapshot()
    assert lookup.known(snapshot) == ()
    assert not await lookup.look(snapshot)


def test_workload_without_a_selector_has_nothing_to_look_for() -> None:
    scene = Scene([signal(bias=0.3)], target=workload(selector=None))
    scene.run()
    assert pod_search(scene.escalations) is None
    assert isinstance(scene.target, Workload)
