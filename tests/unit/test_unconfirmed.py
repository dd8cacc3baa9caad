"""Rule: a pod has gone once its node says that its containers have ended; one that only vanished proves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.client import Forbidden, NotFound
from riskladder.cluster.resources import DEPLOYMENTS, LEASES, NODE_LEASES, PODS, REPLICASETS
from riskladder.controller import node_lookup
from riskladder.controller.caches.store import Store
from riskladder.controller.node_lookup import LOOK_EVERY, MARGIN, NodeLookup
from riskladder.policy.containment.state import prove
from riskladder.policy.containment.unconfirmed import outstanding
from riskladder.workloads.model import Pod, Workload
from riskladder.workloads.runtimes.replicas import read_pod

from .builders import (
    KEY,
    NOW,
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
RUNNING: Document = {"running": {"startedAt": CREATED}}
ENDED: Document = {"terminated": {"exitCode": 0}}
WAITING: Document = {"waiting": {"reason": "ContainerCreating"}}


def pod(
    *states: Document, by: str = "kubelet", phase: str = "Running", name: str = "pod-0", grace: int = 5, **status: Any
) -> Document:
    """A pod on node-1 whose containers are in these states, by the word of that agent."""
    found = pod_object(name, 2, phase=phase)
    fields = {"f:status": {"f:containerStatuses": {}, "f:phase": {}}}
    found["metadata"]["managedFields"] = [
        {"manager": "kube-scheduler", "time": CREATED, "fieldsV1": {"f:status": {"f:conditions": {}}}},
        {"manager": by, "subresource": "status", "time": CREATED, "fieldsV1": fields},
    ]
    found["spec"] = found["spec"] | {"nodeName": "node-1", "terminationGracePeriodSeconds": grace}
    shown = [{"name": f"c{number}", "state": state} for number, state in enumerate(states)]
    found["status"] = {"phase": phase, "containerStatuses": shown, **status}
    return found


def disrupted(reason: str) -> Document:
    return {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]}


@pytest.mark.parametrize(
    ("obj", "node"),
    [
        (pod(RUNNING), "node-1"),
        (pod(ENDED, RUNNING), "node-1"),
        (pod(RUNNING, by="k3s"), "node-1"),
        (pod(ENDED, phase="Succeeded"), ""),  # what a kubelet says before it lets the API server forget a pod
        (pod(ENDED, ENDED, phase="Failed"), ""),
        (pod(WAITING, phase="Pending"), ""),
        (pod(phase="Pending"), ""),
        (pod(RUNNING, by="kwok"), ""),  # which plays nodes, and never says that a container has ended
        (pod(RUNNING, phase="Failed", **disrupted("DeletionByPodGC")), "node-1"),  # a controller, and not the node
        (pod(RUNNING, by="kwok", **disrupted("DeletionByTaintManager")), "node-1"),
        (pod(RUNNING, by="kwok", **disrupted("PreemptionByScheduler")), ""),
        (pod(RUNNING, by="kwok", reason="NodeLost"), "node-1"),
        (
            pod(RUNNING, by="kwok", conditions=[{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]),
            "node-1",
        ),
        (pod_object("pod-0", 2), ""),
    ],
)
def test_pod_runs_on_the_node_that_said_so_last(obj: Document, node: str) -> None:
    assert read_pod(obj).node == node


@given(
    st.lists(st.sampled_from([RUNNING, ENDED, WAITING]), max_size=4),
    st.sampled_from(["kubelet", "kwok"]),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
    st.sampled_from([{}, {"reason": "NodeLost"}, disrupted("DeletionByPodGC"), disrupted("EvictionByEvictionAPI")]),
)
def test_no_phase_stands_for_the_word_of_a_node(states: list[Document], by: str, phase: str, more: Document) -> None:
    is_reported = by == "kubelet" or more in ({"reason": "NodeLost"}, disrupted("DeletionByPodGC"))
    expected = "node-1" if RUNNING in states and is_reported else ""
    assert read_pod(pod(*states, by=by, phase=phase, **more)).node == expected


# --- The cache --------------------------------------------------------------------------------------------------------


def store_of(*pods: Document) -> Store:
    store = Store(lambda key, urgent: None)
    store.put(DEPLOYMENTS, deployment_object(2, 0, creationTimestamp=CREATED))
    store.put(REPLICASETS, replicaset_object(2, 2))
    for obj in pods:
        store.put(PODS, obj)
    return store


def newer(obj: Document) -> Document:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "2"}}


def names(store: Store) -> list[str]:
    target = store.workloads.get(KEY)
    assert target is not None
    return [found.name for found in target.unconfirmed]


def test_pod_that_a_kubelet_ended_is_gone_and_one_that_was_forced_away_is_not() -> None:
    store = store_of(pod(RUNNING, name="ends"), pod(RUNNING, name="vanishes"), pod(RUNNING, name="played", by="kwok"))
    ended = newer(pod(ENDED, phase="Succeeded", name="ends"))
    store.put(PODS, ended)
    for obj in (ended, pod(RUNNING, name="vanishes"), pod(RUNNING, name="played", by="kwok")):
        store.drop(PODS, obj)
    assert names(store) == ["vanishes"]
    store.workloads.confirm("vanishes-uid")
    assert names(store) == []


def test_last_state_counts_that_comes_with_the_deletion() -> None:
    store = store_of(pod(RUNNING))
    store.drop(PODS, newer(pod(ENDED, phase="Failed")))
    assert names(store) == []


def test_pod_that_a_list_no_longer_has_is_as_it_was_seen_last() -> None:
    store = store_of(pod(RUNNING, name="vanishes"), pod(ENDED, phase="Succeeded", name="ends"))
    store.drop_unless(PODS, ())
    assert names(store) == ["vanishes"]


def test_pod_that_the_garbage_collector_calls_failed_has_not_ended() -> None:
    store = store_of(pod(RUNNING, phase="Failed", **disrupted("DeletionByPodGC")))
    assert names(store) == ["pod-0"]
    target = store.workloads.get(KEY)
    assert target is not None
    assert target.active_pods() == ()


def test_pod_of_a_deployment_that_is_gone_is_remembered() -> None:
    store = store_of(pod(RUNNING))
    store.drop(DEPLOYMENTS, deployment_object(2, 0, creationTimestamp=CREATED))
    store.drop(PODS, pod(RUNNING))
    assert [found.name for found in store.workloads.vanished("target-uid")] == ["pod-0"]


# --- The proof --------------------------------------------------------------------------------------------------------


def vanished(name: str = "pod-0", *, version: int = 2, at_: Any = NOW) -> Pod:
    found = read_pod(pod(RUNNING, name=name))
    return replace(found, owner_uid=f"target-uid/hash{version}", active=False, vanished_at=at_)


def stopped(*pods: Pod, action: str = "ScaleToZero") -> Scene:
    target = workload(selector={"matchLabels": {"app": "scorer"}}, unconfirmed=pods)
    scene = Scene([signal(bias=0.3)], target=target, ladders=[ladder(contain_by(action, within="1h"))])
    scene.run()
    scene.now = at(1)
    if action == "Rollback" and scene.target is not None:
        scene.target = replace(scene.target, unconfirmed=pods)
    scene.run()
    return scene


def says(scene: Scene) -> tuple[str, str, str]:
    found = scene.condition(ConditionType.CONTAINED)
    return str(found.status), found.reason, found.message


def test_stop_is_not_proved_while_a_node_has_not_said_that_a_pod_ended() -> None:
    scene = stopped(vanished("b"), vanished("a"))
    status, reason, message = says(scene)
    assert (status, reason) == ("False", Reason.PODS_UNCONFIRMED)
    left = "2 pods vanished without their node confirming that they ended: a (node-1), b (node-1)"
    assert message == f"scaled to zero; {left}"
    assert Reason.SCALED_TO_ZERO not in scene.events()
    [entry] = [entry for entry in scene.entries if entry.event is Reason.PODS_UNCONFIRMED]
    assert (entry.message, entry.warning, entry.recorded) == (left, True, True)
    assert entry.detail["nodes"] == "node-1"
    contained = scene.escalation.status.containments[0]
    assert [(p.name, p.node, p.grace_seconds) for p in contained.unconfirmed] == [
        ("a", "node-1", 5),
        ("b", "node-1", 5),
    ]
    assert contained.pods_gone_at is None
    assert scene.run() == [], "it is said once"


def test_it_is_proved_once_the_node_has_been_heard_of() -> None:
    scene = stopped(vanished())
    assert scene.target is not None
    scene.target, scene.now = replace(scene.target, unconfirmed=()), at(2)
    scene.run()
    assert says(scene)[:2] == ("True", Reason.SCALED_TO_ZERO)
    contained = scene.escalation.status.containments[0]
    assert (contained.pods_gone_at, contained.unconfirmed) == (at(2), ())
    [entry] = [entry for entry in scene.entries if entry.event is Reason.SCALED_TO_ZERO]
    assert "1 pod had vanished unconfirmed, and their node has been heard of since" in entry.message


def test_late_it_is_said_and_the_next_tier_entered() -> None:
    scene = stopped(vanished())
    scene.now = at(61)
    scene.run()
    assert says(scene)[1] == Reason.CONTAINMENT_LATE
    assert "vanished without their node confirming" in says(scene)[2]


def test_rollback_is_about_the_pods_of_the_revision_that_breached() -> None:
    assert says(stopped(vanished(version=1), action="Rollback"))[:2] == ("True", Reason.ROLLED_BACK)
    assert says(stopped(vanished(version=2), action="Rollback"))[:2] == ("False", Reason.PODS_UNCONFIRMED)


def test_what_vanished_long_before_the_breach_is_another_matter() -> None:
    assert says(stopped(vanished(at_=NOW - timedelta(minutes=5))))[0] == "True"


def test_deleted_model_with_a_pod_that_vanished_is_not_contained() -> None:
    scene = stopped()
    scene.target, scene.unconfirmed, scene.now = None, (vanished(),), at(2)
    scene.run()
    status, reason, message = says(scene)
    assert (status, reason) == ("False", Reason.TARGET_DELETED)
    assert "1 pod vanished without their node confirming that they ended: pod-0 (node-1)" in message
    assert [p.name for p in scene.escalation.status.containments[0].unconfirmed] == ["pod-0"]
    scene.unconfirmed, scene.now = (), at(3)
    scene.run()
    assert says(scene) == ("True", Reason.TARGET_DELETED, "the target was deleted: nothing is left to contain")


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(-90, 90)), max_size=4))
def test_proof_is_given_exactly_where_nothing_that_matters_is_outstanding(found: list[tuple[int, int]]) -> None:
    pods = tuple(
        vanished(f"pod-{n}", version=version, at_=NOW + timedelta(seconds=after))
        for n, (version, after) in enumerate(found)
    )
    for action in ("ScaleToZero", "Rollback"):
        scene = SCENES[action]
        assert isinstance(scene.target, Workload)
        [intent] = scene.escalation.intents
        proof = prove(replace(scene.target, unconfirmed=pods), scene.escalation, intent)
        matters = [1 for version, after in found if after >= -60 and (action == "ScaleToZero" or version == 2)]
        assert proof.pods_gone is proof.clear is (not matters)
        assert proof.is_unconfirmed is bool(matters)
        assert proof.applied


SCENES = {action: stopped(action=action) for action in ("ScaleToZero", "Rollback")}


# --- Restarts and nodes -----------------------------------------------------------------------------------------------


def test_operator_that_restarts_gives_the_same_answer() -> None:
    scene = stopped(vanished())
    assert scene.target is not None
    scene.target = replace(scene.target, unconfirmed=())
    [found] = outstanding(scene.snapshot(), ())
    assert (found.name, found.node, found.uid, found.grace, found.active) == ("pod-0", "node-1", "pod-0-uid", 5, False)


def test_standby_that_takes_over_takes_no_proof_back() -> None:
    scene = stopped(vanished(), vanished("later", at_=at(5)))
    assert scene.target is not None
    seen, scene.target, scene.now = scene.target.unconfirmed, replace(scene.target, unconfirmed=()), at(2)
    scene.run()
    assert says(scene)[0] == "True"
    assert [found.name for found in outstanding(scene.snapshot(), seen)] == ["later"], "which is no longer handled"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Server:
    """Has the Lease of node-1."""

    def __init__(self) -> None:
        self.renewed: str | None = "10:00:00"
        self.is_forbidden = False

    async def get(self, resource: Any, namespace: str, name: str) -> Document:
        assert (resource, namespace, name) == (LEASES, NODE_LEASES, "node-1")
        about: Any = {"verb": "get", "resource": "leases", "where": name}
        if self.is_forbidden:
            raise Forbidden(403, "Forbidden", "no", **about)
        if self.renewed is None:
            raise NotFound(404, "NotFound", "none", **about)
        return {"spec": {"renewTime": self.renewed}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(node_lookup, "time", found)
    return found


async def test_node_is_heard_of_and_has_the_time_to_end_the_pod(clock: Clock) -> None:
    server, scene = Server(), stopped(vanished())
    lookup = NodeLookup(server, store_of())  # type: ignore[arg-type]

    async def look() -> bool:
        clock.now += LOOK_EVERY
        snapshot = lookup.join(scene.snapshot())
        await lookup.look(snapshot)
        return not lookup.join(scene.snapshot()).unconfirmed

    assert not await look()
    clock.now += 600
    assert not await look(), "a node that hangs renews nothing"
    server.renewed = "10:10:00"
    assert not await look(), "it is heard of: now it ends the pod"
    clock.now += 5 + MARGIN
    assert not await look(), "it may have hung again meanwhile"
    server.renewed = "10:10:10"
    assert await look()
    assert lookup.wait(KEY) == float("inf"), "nothing more is looked at"


@pytest.mark.parametrize("what", ["gone", "forbidden"])
async def test_node_that_is_gone_or_cannot_be_seen_confirms_nothing(what: str, clock: Clock) -> None:
    server, scene = Server(), stopped(vanished())
    server.renewed, server.is_forbidden = None, what == "forbidden"
    lookup = NodeLookup(server, store_of())  # type: ignore[arg-type]
    for _ in range(5):
        clock.now += 100
        assert await lookup.look(lookup.join(scene.snapshot()))
    assert [p.name for p in lookup.join(scene.snapshot()).unconfirmed] == ["pod-0"]
    assert not await lookup.look(lookup.join(scene.snapshot())), "it was just done"
    assert 0 < lookup.wait(KEY) <= LOOK_EVERY


async def test_where_nothing_is_contained_no_node_is_looked_at(clock: Clock) -> None:
    lookup = NodeLookup(Server(), store_of())  # type: ignore[arg-type]
    target = workload(unconfirmed=(vanished(),))
    snapshot = lookup.join(Scene([signal(bias=0.01)], target=target).snapshot())
    assert snapshot.unconfirmed == ()
    assert not await lookup.look(snapshot)
