"""The caches: never older than what was seen, joined by owner, and asking for the right work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.signal import SignalStatus
from riskladder.cluster.resources import (
    DECISIONS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    ESCALATIONS,
    LADDERS,
    PODS,
    REPLICASETS,
    SIGNALS,
    Resource,
)
from riskladder.controller.caches.entries import IndexKey, LadderKey
from riskladder.policy.containment.opening import escalation_name
from tests.unit.builders import (
    KEY,
    LADDER,
    NAMESPACE,
    Document,
    Edit,
    Scene,
    deployment_object,
    edited,
    pod_object,
    replicaset_object,
    signal,
    signal_document,
)
from tests.unit.fakes import CREATED, Cache

LADDER_KEY = LadderKey(NAMESPACE, "credit")


@pytest.fixture
def cache() -> Cache:
    return Cache()


def with_target(cache: Cache, **metadata: Any) -> Document:
    return cache.put(DEPLOYMENTS, deployment_object(), 10, creationTimestamp=CREATED, **metadata)


def endpoints(*pods: str, ready: bool | None = True, name: str = "scorer-abc") -> Document:
    listed = [{"targetRef": {"kind": "Pod", "name": pod}, "conditions": {"ready": ready}} for pod in pods]
    return {"metadata": {"namespace": NAMESPACE, "name": name, "uid": f"{name}-uid"}, "endpoints": listed}


# --- Never older ------------------------------------------------------------------------------------------------------


def test_older_and_equal_versions_are_ignored(cache: Cache) -> None:
    with_target(cache)
    for version, replicas, expected in [(12, 5, 5), (11, 7, 5), (12, 9, 5), (13, 1, 1)]:
        cache.put(DEPLOYMENTS, deployment_object(replicas=replicas), version, creationTimestamp=CREATED)
        assert cache.found.replicas == expected


def test_versions_are_numbers(cache: Cache) -> None:
    with_target(cache)
    cache.put(DEPLOYMENTS, deployment_object(replicas=5), 9, creationTimestamp=CREATED)
    assert cache.found.replicas == 3


def test_late_answer_does_not_bring_a_deleted_object_back(cache: Cache) -> None:
    stored = with_target(cache)
    deleted = {**stored, "metadata": {**stored["metadata"], "resourceVersion": "12"}}
    cache.store.drop(DEPLOYMENTS, deleted)
    cache.put(DEPLOYMENTS, stored, 11)
    assert cache.target is None
    with_target(cache, uid="new-uid")
    assert cache.found.uid == "new-uid"


@pytest.mark.parametrize("resource", [LADDERS, SIGNALS, ESCALATIONS, DEPLOYMENTS])
def test_late_deletion_of_a_predecessor_leaves_the_object_of_the_same_name(cache: Cache, resource: Resource) -> None:
    """Events of two objects come in no order, even where one had to go before the other could be made."""
    opening = Scene([signal(bias=0.3)]).acted().opening
    assert opening is not None
    spec: dict[str, Document] = {
        LADDERS.plural: LADDER,
        SIGNALS.plural: signal_document(bias=0.3),
        ESCALATIONS.plural: opening.spec.to_api(),
        DEPLOYMENTS.plural: deployment_object()["spec"],
    }
    old = cache.new(resource, "scorer", spec[resource.plural], 1, uid="old-uid")
    cache.new(resource, "scorer", spec[resource.plural], 3, uid="new-uid")
    cache.store.drop(resource, {"metadata": {**old["metadata"], "resourceVersion": "2"}})
    found = {
        LADDERS.plural: [e.ladder.uid for e in cache.store.ladders.values()],
        SIGNALS.plural: [s.uid for s in cache.snapshot().signals],
        ESCALATIONS.plural: [e.uid for e in cache.snapshot().escalations],
        DEPLOYMENTS.plural: [cache.target.uid] if cache.target else [],
    }
    assert found[resource.plural] == ["new-uid"]


def test_what_a_fresh_list_no_longer_has_is_forgotten(cache: Cache) -> None:
    with_target(cache)
    for name in ("a", "b"):
        cache.new(SIGNALS, name, signal_document(bias=0.3))
    cache.took()
    cache.store.drop_unless(SIGNALS, {"a-uid"})
    assert [s.name for s in cache.snapshot().signals] == ["a"]
    assert cache.took() == {(KEY, False)}
    cache.store.drop_unless(DEPLOYMENTS, set(), namespace="other")
    cache.store.drop_unless(DEPLOYMENTS, set(), name="other")
    assert cache.target is not None
    cache.store.drop_unless(DEPLOYMENTS, set(), namespace=NAMESPACE, name=KEY.name)
    assert cache.target is None


def test_what_a_list_missed_comes_back_when_it_is_seen(cache: Cache) -> None:
    """The list was taken before the object was made: forgetting it must not be for ever."""
    stored = with_target(cache)
    cache.store.drop_unless(DEPLOYMENTS, set())
    cache.store.put(DEPLOYMENTS, stored)
    assert cache.target is not None


# --- Joins ------------------------------------------------------------------------------------------------------------


def parts(cache: Cache) -> dict[str, tuple[Resource, Document]]:
    return {
        "deployment": (
            DEPLOYMENTS,
            {**deployment_object(), "metadata": {**deployment_object()["metadata"], "creationTimestamp": CREATED}},
        ),
        "old": (REPLICASETS, replicaset_object(1, 1)),
        "current": (REPLICASETS, replicaset_object(2, 2, replicas=2)),
        "pod a": (PODS, pod_object("a", 2)),
        "pod b": (PODS, pod_object("b", 2)),
        "slice": (ENDPOINTSLICES, endpoints("a", "b", "stranger")),
    }


ORDERS = [
    ["deployment", "old", "current", "pod a", "pod b", "slice"],
    ["slice", "pod b", "pod a", "current", "old", "deployment"],
    ["pod a", "deployment", "slice", "old", "pod b", "current"],
]


@pytest.mark.parametrize("order", ORDERS)
def test_target_is_joined_in_whatever_order_its_parts_come(cache: Cache, order: Sequence[str]) -> None:
    for name in order:
        cache.put(*parts(cache)[name])
    target = cache.found
    assert target.current is not None
    assert (target.current.hash, target.current.number) == ("hash2", 2)
    assert {r.hash for r in target.revisions} == {"hash1", "hash2"}
    assert {p.name for p in target.pods} == {"a", "b"}
    assert target.ready_endpoints == 2


def joined(cache: Cache) -> None:
    for resource, obj in parts(cache).values():
        cache.put(resource, obj)


@pytest.mark.parametrize(("ready", "count"), [(True, 2), (None, 2), (False, 0)])
def test_endpoint_is_ready_unless_it_says_no(cache: Cache, ready: bool | None, count: int) -> None:
    joined(cache)
    cache.put(ENDPOINTSLICES, endpoints("a", "b", ready=ready), 2)
    assert cache.found.ready_endpoints == count


def test_pod_in_two_slices_is_one_endpoint_until_it_has_left_both(cache: Cache) -> None:
    joined(cache)
    cache.put(ENDPOINTSLICES, endpoints("a", name="scorer-v6"))
    assert cache.found.ready_endpoints == 2
    cache.put(ENDPOINTSLICES, endpoints(), 2)
    assert cache.found.ready_endpoints == 1
    cache.store.drop(ENDPOINTSLICES, endpoints(name="scorer-v6"))
    assert cache.found.ready_endpoints == 0


def test_pod_that_is_gone_before_its_slice_is_still_an_endpoint(cache: Cache) -> None:
    joined(cache)
    cache.store.drop(PODS, pod_object("a", 2))
    assert [p.name for p in cache.found.pods] == ["b"]
    assert cache.found.ready_endpoints == 2, "traffic may still be sent there"
    cache.put(ENDPOINTSLICES, endpoints("b"), 2)
    assert cache.found.ready_endpoints == 1
    cache.put(ENDPOINTSLICES, endpoints("a", "b"), 3)
    assert cache.found.ready_endpoints == 1, "whatever a slice says of it later"


def test_pod_outlives_its_replicaset_in_the_proof(cache: Cache) -> None:
    """With revisionHistoryLimit 0 a ReplicaSet is deleted while its pods still end: they may answer until then."""
    joined(cache)
    cache.put(PODS, pod_object("old", 1))
    cache.store.drop(REPLICASETS, replicaset_object(1, 1))
    assert {r.hash for r in cache.found.revisions} == {"hash2"}
    assert {p.name for p in cache.found.active_pods()} == {"a", "b", "old"}
    cache.put(REPLICASETS, replicaset_object(1, 1), 2)
    assert len(cache.found.pods) == 3
    cache.store.drop_unless(REPLICASETS, {"target-uid/hash2"})
    assert len(cache.found.pods) == 3
    cache.store.drop(PODS, pod_object("old", 1))
    assert {p.name for p in cache.found.active_pods()} == {"a", "b"}


def test_objects_of_other_owners_and_namespaces_are_not_joined(cache: Cache) -> None:
    joined(cache)
    cache.put(REPLICASETS, replicaset_object(3, 3, owner="other"))
    cache.put(PODS, pod_object("c", 3, owner="other"))
    cache.put(PODS, pod_object("d", 2), ownerReferences=[])
    cache.put(ENDPOINTSLICES, endpoints("a", "b"), namespace="other", uid="other")
    cache.put(ENDPOINTSLICES, endpoints(), 2)
    assert ({p.name for p in cache.found.pods}, cache.found.ready_endpoints) == ({"a", "b"}, 0)


def test_template_is_known_to_be_in_place_from_when_it_was_written(cache: Cache) -> None:
    written = [{"manager": "argocd", "time": "2026-11-24T07:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}}]
    with_target(cache, managedFields=written)
    since = cache.found.template_since
    assert since is not None
    assert (since.hour, since.minute, since.second) == (7, 0, 1), "the time was cut to the second"
    cache.put(DEPLOYMENTS, deployment_object(replicas=9), 11, creationTimestamp=CREATED, managedFields=written)
    assert cache.found.template_since == since
    later = [{**written[0], "time": "2026-11-24T08:00:00Z"}]
    cache.put(DEPLOYMENTS, deployment_object(3), 12, creationTimestamp=CREATED, managedFields=later)
    assert cache.found.template_since == since + timedelta(hours=1)


# --- What is asked for ------------------------------------------------------------------------------------------------


def test_new_reading_is_urgent_and_a_status_is_not(cache: Cache) -> None:
    stored = cache.new(SIGNALS, "a", signal_document(bias=0.3))
    assert cache.took() == {(KEY, True)}
    cache.put(SIGNALS, {**stored, "status": {"tier": "high"}}, 2)
    assert cache.took() == {(KEY, False)}
    cache.put(SIGNALS, {**stored, "spec": signal_document(bias=0.4)}, 3, generation=2)
    assert cache.took() == {(KEY, True)}


@pytest.mark.parametrize(("action", "urgent"), [("Contain", True), ("Acknowledge", False)])
def test_stop_button_is_urgent_and_other_decisions_are_not(cache: Cache, action: str, urgent: bool) -> None:
    stored = open_one(cache)
    cache.took()
    spec = {"escalation": stored["metadata"]["name"], "action": action, "role": "legal", "rationale": "I have seen it"}
    cache.new(DECISIONS, "pressed", spec)
    assert cache.took() == {(KEY, urgent)}


def test_signal_that_turns_to_another_target_leaves_the_first(cache: Cache) -> None:
    stored = cache.new(SIGNALS, "a", signal_document(bias=0.3))
    other = edited(signal_document(bias=0.3), lambda spec: spec["target"].update(name="other"))
    cache.took()
    cache.put(SIGNALS, {**stored, "spec": other}, 2, generation=2)
    assert cache.took() == {(KEY, True), (KEY._replace(name="other"), True)}
    assert cache.snapshot().signals == ()


def test_signal_about_a_kind_that_is_not_enabled_is_looked_at_for_what_it_says(cache: Cache) -> None:
    document = edited(signal_document(bias=0.3), lambda spec: spec["target"].update(kind="Rollout"))
    cache.new(SIGNALS, "a", document)
    assert cache.took() == {(KEY._replace(kind="Rollout"), True)}


def test_edited_ladder_asks_for_its_targets_and_its_status_does_not(cache: Cache) -> None:
    cache.new(SIGNALS, "a", signal_document(bias=0.3))
    cache.took()
    stored = cache.new(LADDERS, "credit", LADDER)
    assert cache.took() == {(LADDER_KEY, False), (KEY, True)}
    cache.put(LADDERS, {**stored, "status": {"openEscalations": 1}}, 2)
    assert cache.took() == {(LADDER_KEY, False)}
    cache.put(LADDERS, stored, 3, generation=2)
    assert (KEY, True) in cache.took()
    cache.store.drop(LADDERS, stored)
    assert cache.took() == {(KEY, True)}


def test_changed_ladder_asks_for_the_targets_of_its_escalations_without_any_signal(cache: Cache) -> None:
    stored = cache.new(LADDERS, "credit", LADDER)
    open_one(cache)
    cache.took()
    cache.store.drop(LADDERS, stored)
    assert cache.took() == {(KEY, True)}


def test_changed_target_is_urgent_only_where_somebody_watches_it(cache: Cache) -> None:
    with_target(cache)
    assert cache.took() == set()
    cache.new(SIGNALS, "a", signal_document(bias=0.3))
    cache.took()
    with_target(cache, resourceVersion="11", generation=2)
    assert cache.took() == {(KEY, True)}
    with_target(cache, resourceVersion="12", generation=2)
    assert cache.took() == {(KEY, False)}


def open_one(cache: Cache, edit: Edit | None = None, **metadata: Any) -> Document:
    opening = Scene([signal(bias=0.3)]).acted().opening
    assert opening is not None
    return cache.new(ESCALATIONS, metadata.pop("name", opening.name), edited(opening.spec.to_api(), edit), **metadata)


def test_pods_are_asked_about_only_while_a_containment_is_to_be_proved(cache: Cache) -> None:
    joined(cache)
    cache.new(SIGNALS, "a", signal_document(bias=0.3))
    cache.took()
    cache.put(PODS, pod_object("a", 2, phase="Succeeded"), 2)
    assert cache.took() == set()
    open_one(cache)
    cache.took()
    cache.put(PODS, pod_object("a", 2, phase="Failed"), 3)
    assert cache.took() == {(KEY, False)}


def test_list_forgets_nothing_that_is_newer_than_it(cache: Cache) -> None:
    """Created while the list was read, page by page, and heard of by the answer to the write or by the watch."""
    cache.new(SIGNALS, "old", signal_document(bias=0.3), 4)
    cache.new(SIGNALS, "new", signal_document(bias=0.3), 9)
    cache.store.drop_unless(SIGNALS, (), version="7")
    assert [s.name for s in cache.snapshot().signals] == ["new"]
    cache.store.drop_unless(SIGNALS, (), version="9")
    assert cache.snapshot().signals == ()


# --- What is read -----------------------------------------------------------------------------------------------------


def test_object_that_does_not_validate_is_quarantined_alone(cache: Cache) -> None:
    cache.new(LADDERS, "credit", {"tiers": []})
    cache.new(SIGNALS, "bad", {**signal_document(bias=0.3), "source": "NOT A NAME"})
    cache.new(SIGNALS, "good", signal_document(bias=0.3))
    ladder = cache.store.ladders[(NAMESPACE, "credit")].ladder
    assert ladder.spec is None
    assert any("spec.tiers" in problem for problem in ladder.problems)
    bad, good = sorted(cache.snapshot().signals, key=lambda s: s.name)
    assert (bad.spec, good.problems) == (None, ())
    assert "spec.source" in bad.problems[0]
    open_one(cache, lambda spec: spec.update(tiers="none", policy=None), name="bad")
    assert cache.snapshot().escalations == ()


def test_computed_status_is_kept_until_it_is_written(cache: Cache) -> None:
    stored = cache.new(SIGNALS, "a", signal_document(bias=0.3))
    computed = SignalStatus(tier="high")
    cache.store.remember(KEY, "a", "a-uid", computed)
    cache.store.remember(KEY, "a", "other-uid", None)
    cache.put(SIGNALS, {**stored, "spec": signal_document(bias=0.4)}, 2, generation=2)
    (seen,) = cache.snapshot().signals
    assert (seen.carried, seen.status.tier) == (computed, None)
    cache.store.remember(KEY, "a", "a-uid", None)
    assert cache.snapshot().signals[0].carried.tier is None
    cache.store.remember(KEY, "a", "a-uid", computed)
    cache.new(SIGNALS, "a", signal_document(bias=0.4), 3, uid="new-uid")
    assert cache.snapshot().signals[0].carried.tier is None, "another signal of the same name"


def closed(cache: Cache, previous: str, uid: str, created: str) -> None:
    done = {"type": "Closed", "status": "True", "reason": "Cleared", "lastTransitionTime": CREATED}
    opening = Scene([signal(bias=0.3)]).acted().opening
    assert opening is not None
    about = {"namespace": NAMESPACE, "name": escalation_name(KEY.name, "target-uid", "credit", previous), "uid": uid}
    obj = {"metadata": about, "spec": opening.spec.to_api(), "status": {"conditions": [done]}}
    cache.put(ESCALATIONS, obj, creationTimestamp=created)


@pytest.mark.parametrize("uids", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_last_closed_is_the_last_episode_though_all_are_of_one_second(
    cache: Cache, uids: Sequence[str], order: Sequence[int]
) -> None:
    """Otherwise the next escalation would get the name of one that exists, and could never be opened."""
    with_target(cache)
    for index in order:
        closed(cache, ("", *uids)[index], uids[index], CREATED)
    assert cache.snapshot().last_closed == {"credit": uids[-1]}
    assert cache.snapshot().escalations == ()


def test_last_closed_is_the_newest_where_older_ones_have_been_deleted(cache: Cache) -> None:
    with_target(cache)
    closed(cache, "", "x", "2026-11-24T06:00:00Z")
    closed(cache, "deleted", "a", "2026-11-24T07:00:00Z")
    assert cache.snapshot().last_closed == {"credit": "a"}


def test_spec_of_an_escalation_is_read_again_only_where_it_may_be_another_one(cache: Cache) -> None:
    stored = open_one(cache)
    first = cache.snapshot().escalations[0].spec
    cache.put(ESCALATIONS, stored, 20)
    assert cache.snapshot().escalations[0].spec is first
    other = {**stored, "spec": {**stored["spec"], "drill": True}}
    cache.put(ESCALATIONS, other, 21, generation=2)
    assert cache.snapshot().escalations[0].spec.drill
    cache.put(ESCALATIONS, stored, 22, generation=2, uid="another")
    assert not cache.snapshot().escalations[0].spec.drill


def test_open_escalations_are_reported_by_ladder_and_deletions_while_open_once(cache: Cache) -> None:
    stored = open_one(cache)
    assert (LADDER_KEY, False) in cache.took()
    name = stored["metadata"]["name"]
    assert [e.name for e in cache.store.escalations.open_ones((NAMESPACE, "credit"))] == [name]
    assert cache.store.escalations.open_ones((NAMESPACE, "other")) == []
    assert cache.store.targets() == {KEY}
    cache.store.drop(ESCALATIONS, stored)
    assert cache.took() == {(LADDER_KEY, False), (KEY, True)}, "it holds by label, and is in no index"
    [gone] = cache.store.escalations.deleted(KEY)
    assert gone.name == name
    cache.store.escalations.forget_deleted(KEY, gone.uid)
    assert cache.store.escalations.deleted(KEY) == []
    assert cache.store.targets() == set()


def test_index_is_looked_at_only_where_what_it_says_has_changed(cache: Cache) -> None:
    """A burst changes thousands of escalations, each several times, and one index."""
    index, held = IndexKey(NAMESPACE), {LABEL_CONTAINMENT: "ScaleToZero"}
    stored = open_one(cache, labels=held)
    assert (index, False) in cache.took()
    version, [entry] = cache.store.indexed.version(NAMESPACE), cache.store.indexed.of(NAMESPACE).values()
    assert (entry.action, entry.escalation) == ("ScaleToZero", stored["metadata"]["name"])

    waiting = {**stored, "status": {**stored.get("status", {}), "waitingOn": ["legal"]}}
    cache.put(ESCALATIONS, waiting, 20, labels=held, name=stored["metadata"]["name"], uid=stored["metadata"]["uid"])
    assert (index, False) not in cache.took()
    assert cache.store.indexed.version(NAMESPACE) == version

    cache.put(ESCALATIONS, waiting, 21, labels={}, name=stored["metadata"]["name"], uid=stored["metadata"]["uid"])
    assert (index, False) in cache.took(), "the lock was removed"
    assert cache.store.indexed.of(NAMESPACE) == {}
    cache.put(ESCALATIONS, waiting, 22, labels=held, name=stored["metadata"]["name"], uid=stored["metadata"]["uid"])
    cache.took()
    cache.store.drop(ESCALATIONS, stored)
    assert (index, False) in cache.took()
    assert cache.store.indexed.of(NAMESPACE) == {}
    assert cache.store.indexed.version(NAMESPACE) > version
