"""Fallback: where traffic can be sent, when that is proved, and that it comes back as it was."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.intent import NetworkTargetRef, SavedField
from riskladder.api.tiers import Fallback
from riskladder.cluster.resources import DEPLOYMENTS, ENDPOINTSLICES, ESCALATIONS, PODS, REPLICASETS
from riskladder.controller.caches.endpoints import ListedAddresses, serves
from riskladder.controller.caches.store import Store
from riskladder.workloads.model import Workload
from riskladder.workloads.network import HTTPROUTES, SERVICES, NetworkPath, selects
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.results import Impossible
from riskladder.workloads.safe_states.fallback import choose, divert, prove, read_route, read_service, restore
from riskladder.workloads.safe_states.network_path import Conflict, ObjectWrite, Planned, Unsupported
from tests.unit.builders import (
    KEY,
    Document,
    Scene,
    contain_by,
    deployment_object,
    ladder,
    pod_object,
    replicaset_object,
    signal,
    workload,
)

CREATED = "2026-11-24T06:00:00Z"
RULES = {"app": "rules"}
TO_PODS = Fallback(service="scorer", selector=RULES)
TO_SERVICE = Fallback(http_route="scorer", backend="rules")


def service(selector: Document | None = None, **spec: Any) -> Document:
    given = {"selector": {"app": "scorer"}} if selector is None else {"selector": selector} if selector else {}
    return {
        "metadata": {"namespace": "models", "name": "scorer", "uid": "service-uid", "resourceVersion": "1"},
        "spec": {**given, "ports": [{"port": 80}], **spec},
    }


def route(*rules: Document, parents: list[Document] | None = None) -> Document:
    return {
        "metadata": {
            "namespace": "models",
            "name": "scorer",
            "uid": "route-uid",
            "resourceVersion": "1",
            "generation": 2,
        },
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": list(rules)},
        "status": {"parents": parents or []},
    }


def network_path_of(obj: Document, **more: Any) -> NetworkPath:
    item = read_route(obj) if "rules" in obj["spec"] else read_service(obj)
    enabled = frozenset({SERVICES.kind, HTTPROUTES.kind})
    return NetworkPath(enabled, {(item.kind, item.name): item}, **more)


def scorer(obj: Document, **more: Any) -> Workload:
    """The model, with its network path."""
    return workload(network_path=network_path_of(obj, **more))


def applied(obj: Document, write: object) -> Document:
    assert isinstance(write, ObjectWrite), write
    assert write.verb == "patch"
    assert write.body[0] == {"op": "test", "path": "/metadata/uid", "value": obj["metadata"]["uid"]}
    found: Document = jsonpatch.apply_patch(obj, json.loads(json.dumps(write.body)))
    return found


def way(obj: Document, to: Fallback = TO_PODS, **more: Any) -> Planned:
    found = choose(scorer(obj, **more), to)
    assert isinstance(found, Planned), found
    return found


# --- Where it can be sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "to", "why"),
    [
        (service({}), TO_PODS, "no selector"),
        (service(type="ExternalName"), TO_PODS, "ExternalName"),
        (service(), Fallback(service="other", selector=RULES), "there is no Service other"),
        (service(), Fallback(service="scorer", selector={"app": "scorer"}), "selects pods of the Deployment itself"),
        (service({"app": "third"}), TO_PODS, "does not select the pods"),
        (service(), None, "no fallback"),
        (route({"filters": []}), TO_SERVICE, "no rule of HTTPRoute scorer has a backend"),
        (route({"backendRefs": [{"name": "x" * 20000, "port": 80}]}), TO_SERVICE, "too long"),
    ],
)
def test_why_traffic_cannot_be_sent_elsewhere(obj: Document, to: Fallback | None, why: str) -> None:
    found = choose(scorer(obj), to)
    assert isinstance(found, Impossible)
    assert why in found.why


def test_what_another_escalation_goes_through_is_not_for_two() -> None:
    taken = {("Service", "scorer"): "Deployment canary (Escalation canary-1)"}
    found = choose(scorer(service(), taken=taken), TO_PODS)
    assert isinstance(found, Impossible)
    assert "diverted already, for Deployment canary" in found.why


def test_backend_that_leads_to_the_model_is_no_fallback() -> None:
    obj = route({"backendRefs": [{"name": "scorer", "port": 80}]})
    found = choose(scorer(obj, serving={"rules": frozenset({"pod-0"})}), TO_SERVICE)
    assert isinstance(found, Impossible)


@pytest.mark.parametrize(("to", "component"), [(TO_PODS, "fallback"), (TO_SERVICE, "fallback-httproute")])
def test_component_that_is_not_enabled_is_named(to: Fallback, component: str) -> None:
    for target in (workload(), workload(network_path=NetworkPath())):
        found = choose(target, to)
        assert isinstance(found, Unsupported)
        assert f"component {component} turns that on" in found.why


# --- Proof ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "ready", "steps"),
    [
        ({"app": "scorer"}, {"pod-0"}, (False, False, False)),
        (RULES, {"pod-0", "rules-0"}, (True, False, False)),
        (RULES, set(), (True, True, False)),
        (RULES, {"rules-0"}, (True, True, True)),
        ({**RULES, "more": "x"}, {"rules-0"}, (False, False, False)),
    ],
)
def test_service_is_proved_by_its_slices(selector: Document, ready: set[str], steps: tuple[bool, bool, bool]) -> None:
    through = way(service()).target_ref
    proof = prove(scorer(service(selector), serving={"scorer": frozenset(ready)}), through)
    assert (proof.applied, proof.endpoints_empty, proof.pods_gone) == steps


@pytest.mark.parametrize(
    ("parents", "proved"),
    [
        ([], True),  # nobody says anything of it: no Gateway has taken it
        ([{"parentRef": {"name": "g"}, "conditions": [accepted := {"type": "Accepted", "status": "True"}]}], False),
        ([{"parentRef": {"name": "g"}, "conditions": [{**accepted, "observedGeneration": 1}]}], False),
        ([{"parentRef": {"name": "g"}, "conditions": [{**accepted, "observedGeneration": 2}]}], True),
        (
            [{"parentRef": {"name": "g"}, "conditions": [{**accepted, "observedGeneration": 2, "status": "False"}]}],
            False,
        ),
    ],
)
def test_route_is_proved_once_its_gateways_have_taken_it_over(parents: list[Document], proved: bool) -> None:
    through = NetworkTargetRef(kind="HTTPRoute", name="scorer", backend="rules")
    obj = route({"backendRefs": [{"name": "rules", "port": 80, "weight": 1}]}, parents=parents)
    proof = prove(scorer(obj, serving={"rules": frozenset({"rules-0"})}), through)
    assert (proof.applied, proof.pods_gone) == (True, proved)


def test_rule_added_meanwhile_is_not_in_place_and_is_reapplied() -> None:
    through = NetworkTargetRef(kind="HTTPRoute", name="scorer", backend="rules")
    obj = route({"backendRefs": [{"name": "rules", "port": 80}]}, {"backendRefs": [{"name": "scorer", "port": 8080}]})
    assert not prove(scorer(obj), through).applied
    put_right = applied(obj, divert(scorer(obj), through))
    assert [r["backendRefs"][0]["port"] for r in put_right["spec"]["rules"]] == [80, 8080]
    assert prove(scorer(put_right), through).applied


# --- Divert, then restore -------------------------------------------------------------------------------------------


words = st.text("abcdef", min_size=1, max_size=4)
selectors = st.dictionaries(words, words, max_size=3).map(lambda more: {"app": "scorer", **more})
references = st.fixed_dictionaries(
    {"name": words, "port": st.integers(1, 99)},
    optional={"weight": st.integers(0, 9), "group": st.just(""), "filters": st.just([{"type": "RequestMirror"}])},
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "matches": st.lists(st.fixed_dictionaries({"path": st.fixed_dictionaries({"value": words})}), max_size=2),
        "filters": st.just([{"type": "RequestRedirect"}]),
        "backendRefs": st.lists(references, max_size=3),
    },
)


@given(selectors, st.dictionaries(words, words), st.dictionaries(words, words))
def test_service_comes_back_and_nothing_else_is_changed(selector: Document, more: Document, later: Document) -> None:
    before = service(selector, **more)
    model = replace(scorer(before), template_labels=selector, pods=())
    found = choose(model, TO_PODS)
    assert isinstance(found, Planned)
    during = applied(before, divert(model, found.target_ref))
    assert during == {**before, "spec": {**before["spec"], "selector": RULES}}
    during["spec"].update({key: value for key, value in later.items() if key != "selector"})
    after = applied(during, restore(scorer(during), found.saved))
    assert after == {**during, "spec": {**during["spec"], "selector": selector}}
    assert restore(scorer(after), found.saved) is None, "once is enough"


@given(st.lists(rules, min_size=1, max_size=4).filter(lambda found: any(r.get("backendRefs") for r in found)), words)
def test_route_comes_back_and_nothing_else_is_changed(given_rules: list[Document], later: str) -> None:
    before = route(*given_rules)
    found = way(before, TO_SERVICE)
    during = applied(before, divert(scorer(before), found.target_ref))
    without = [
        [{k: v for k, v in r.items() if k != "backendRefs"} for r in o["spec"]["rules"]] for o in (before, during)
    ]
    assert without[0] == without[1]
    assert {ref["name"] for r in during["spec"]["rules"] for ref in r.get("backendRefs", ())} == {"rules"}
    expected = copy.deepcopy(before)
    for obj in (during, expected):
        obj["spec"]["hostnames"] = [later]
        obj["spec"]["rules"][0]["matches"] = [{"path": {"value": later}}]
    write = restore(scorer(during), found.saved)
    assert (applied(during, write) if write is not None else during) == expected
    assert restore(scorer(expected), found.saved) is None, "once is enough"


@pytest.mark.parametrize(
    ("before", "during", "to"),
    [
        (service(), service({"app": "third"}), TO_PODS),
        (
            route({"backendRefs": [{"name": "a", "port": 80}]}),
            route({"backendRefs": [{"name": "third", "port": 80}]}),
            TO_SERVICE,
        ),
        (
            route({"backendRefs": [{"name": "a", "port": 80}]}),
            route(
                *({"backendRefs": [{"group": "", "kind": "Service", "name": "rules", "weight": 1, "port": 80}]},) * 2
            ),
            TO_SERVICE,
        ),
    ],
)
def test_what_somebody_changed_meanwhile_is_left(before: Document, during: Document, to: Fallback) -> None:
    found = restore(scorer(during), way(before, to).saved)
    assert isinstance(found, Conflict)
    assert "it stays as it is" in found.why


def test_service_that_is_gone_is_left() -> None:
    saved = SavedField(path="/spec/selector", object="Service/other", value="{}", replacement="{}")
    assert isinstance(restore(scorer(service()), saved), Conflict)


# --- Selectors and caches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_label_selectors(selector: Document, found: bool) -> None:
    assert selects(selector, {"a": "1"}) is found


def test_services_are_watched_only_where_that_is_enabled() -> None:
    assert SERVICES not in Runtimes().followed
    assert Runtimes(["fallback"]).followed[-1] == SERVICES
    assert HTTPROUTES not in Runtimes(["fallback"]).followed
    assert SERVICES.title not in Store(lambda key, urgent: None).network_path.readers


def cached(*enabled: str) -> tuple[Store, list[tuple[Any, bool]]]:
    asked: list[tuple[Any, bool]] = []
    return Store(lambda key, urgent: asked.append((key, urgent)), Runtimes(enabled)), asked


def test_what_is_around_a_model_is_joined_to_it() -> None:
    store, _ = cached("fallback")
    store.put(DEPLOYMENTS, deployment_object(creationTimestamp=CREATED))
    store.put(SERVICES, service())
    endpoints = [{"targetRef": {"kind": "Pod", "name": name}, "conditions": {"ready": True}} for name in ("a", "b")]
    about = {"namespace": "models", "resourceVersion": "1", "labels": {"kubernetes.io/service-name": "scorer"}}
    for number, endpoint in enumerate(endpoints):
        name = f"scorer-{number}"
        store.put(ENDPOINTSLICES, {"metadata": {**about, "name": name, "uid": name}, "endpoints": [endpoint]})

    def found() -> NetworkPath:
        target = store.snapshot(KEY).target
        assert target is not None
        assert target.network_path is not None
        return target.network_path

    before = found()
    assert before.enabled == {"Service"}
    assert before.objects[("Service", "scorer")].content == {"app": "scorer"}
    assert before.serving == {"scorer": {"a", "b"}}
    store.drop(ENDPOINTSLICES, {"metadata": {**about, "name": "scorer-1", "uid": "scorer-1"}})
    assert found().serving == {"scorer": {"a"}}
    store.drop(SERVICES, service())
    assert found().objects == {}
    assert before.objects, "a snapshot stays as it was taken"


def test_slice_that_is_written_manually_lists_pods_by_their_addresses() -> None:
    """Of a Service without a selector, or next to the one of its controller: it says of nobody whose address it is."""
    store, asked = cached("fallback")
    store.put(DEPLOYMENTS, deployment_object(creationTimestamp=CREATED))
    store.put(REPLICASETS, replicaset_object(2, 2))
    pod = pod_object("pod-0", 2)
    pod["status"]["podIPs"] = [{"ip": "10.0.0.7"}]
    about = {"namespace": "models", "labels": {"kubernetes.io/service-name": "scorer"}, "name": "manual", "uid": "h"}

    def put(version: int, *endpoints: Document) -> None:
        metadata = {**about, "resourceVersion": str(version)}
        store.put(ENDPOINTSLICES, {"metadata": metadata, "endpoints": list(endpoints)})

    def listed() -> tuple[frozenset[str], int]:
        target = store.snapshot(KEY).target
        assert target is not None
        assert target.network_path is not None
        return target.network_path.serving.get("scorer", frozenset()), target.ready_endpoints

    mine: Document = {"addresses": ["10.0.0.7"], "conditions": {"ready": True}}
    put(1, mine, {"addresses": ["10.0.0.9"]})
    assert listed() == (frozenset(), 0), "whose they are is not known yet"
    store.put(PODS, pod)
    assert listed() == ({"pod-0"}, 1)
    put(2, {**mine, "conditions": {"ready": False, "serving": False}})
    assert listed() == (frozenset(), 0)
    put(3, mine, {"targetRef": {"kind": "Pod", "name": "pod-0"}, "addresses": ["10.0.0.7"]})
    assert listed() == ({"pod-0"}, 1), "one pod is one endpoint"
    store.drop(ENDPOINTSLICES, {"metadata": about})
    assert listed() == (frozenset(), 0)
    assert asked == [] or {key for key, _ in asked} <= {KEY}


MINE: Document = {"addresses": ["10.0.0.7"], "conditions": {"ready": True}}


@pytest.mark.parametrize(
    "endpoints",
    [
        pytest.param([MINE, {"targetRef": {"kind": "Pod"}, "addresses": ["10.0.0.9"]}], id="another names no pod"),
        pytest.param([{**MINE, "targetRef": {"kind": "Pod", "name": "nobody"}}], id="a pod that is not there"),
        pytest.param([{**MINE, "targetRef": {"kind": "Pod", "name": "pod-1"}}], id="a pod that is elsewhere"),
        pytest.param([{**MINE, "targetRef": {"kind": "Pod", "name": None}}], id="null"),
        pytest.param(
            [{**MINE, "targetRef": {"kind": "Pod", "name": "pod-0"}, "conditions": {"ready": True, "serving": False}}],
            id="published though it is not ready",
        ),
    ],
)
@pytest.mark.parametrize("slice_first", [True, False])
def test_traffic_goes_by_addresses_whatever_pod_a_slice_names(endpoints: list[Document], slice_first: bool) -> None:
    store, _ = cached("fallback")
    store.put(DEPLOYMENTS, deployment_object(creationTimestamp=CREATED))
    store.put(REPLICASETS, replicaset_object(2, 2))

    def put_pods() -> None:
        for number, address in enumerate(("10.0.0.7", "10.0.0.8")):
            pod = pod_object(f"pod-{number}", 2)
            store.put(PODS, {**pod, "status": {**pod["status"], "podIPs": [{"ip": address}]}})

    about = {"namespace": "models", "labels": {"kubernetes.io/service-name": "scorer"}, "name": "manual", "uid": "h"}
    if not slice_first:
        put_pods()
    store.put(ENDPOINTSLICES, {"metadata": {**about, "resourceVersion": "1"}, "endpoints": endpoints})
    if slice_first:
        put_pods()
    target = store.snapshot(KEY).target
    assert target is not None
    assert target.network_path is not None
    assert "pod-0" in target.network_path.serving["scorer"]
    assert target.ready_endpoints >= 1
    store.drop(ENDPOINTSLICES, {"metadata": about})
    target = store.snapshot(KEY).target
    assert target is not None
    assert target.network_path is not None
    assert (target.network_path.serving.get("scorer", frozenset()), target.ready_endpoints) == (frozenset(), 0)


def test_slice_of_a_controller_needs_no_watching_once_its_pod_is_known() -> None:
    listed = ListedAddresses()
    slice_ = ("models", "scorer-x")
    assert listed.put_slice(slice_, [("pod-0", ["10.0.0.7"])]) == {"10.0.0.7"}, "it came before its pod"
    assert listed.has_any_of("models", ("10.0.0.7",))
    listed.put_pod("models", "pod-0", (), ("10.0.0.7",))
    assert not listed
    assert listed.put_slice(slice_, [("pod-0", ["10.0.0.7"])]) == set()
    listed.put_pod("models", "pod-0", ("10.0.0.7",), ("10.0.0.9",))
    assert listed.pods_at("models", ["10.0.0.7"]) == []
    assert listed.put_slice(slice_, [("pod-0", ["10.0.0.7"])]) == {"10.0.0.7"}, "it is elsewhere by now"
    listed.put_pod("models", "pod-0", ("10.0.0.9",), ())
    assert listed.put_slice(slice_, []) == {"10.0.0.7"}
    assert not listed
    assert not listed.of("models")


WORDS = st.sampled_from([True, False, None])


@given(ready=WORDS, serving=WORDS, terminating=WORDS)
def test_endpoint_that_kube_proxy_may_choose_serves(ready: Any, serving: Any, terminating: Any) -> None:
    """Ready ones (null: yes), and where there is none, those that serve (null: yes) while they terminate (null: no)."""
    is_chosen = ready is not False or (serving is not False and terminating is True)
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    assert serves(conditions) is (is_chosen or serving is True)
    assert serves({word: value for word, value in conditions.items() if value is not None}) is serves(conditions)


def test_fallback_is_not_proved_while_an_address_of_the_model_is_listed() -> None:
    through = NetworkTargetRef(kind="Service", name="scorer", selector=RULES)
    proof = prove(scorer(service(RULES), serving={"scorer": frozenset({"pod-0", "rules-0"})}), through)
    assert (proof.applied, proof.endpoints_empty, proof.pods_gone) == (True, False, False)
    assert proof.left == "1 ready endpoint of it and 1 of the fallback in Service scorer"


def test_without_a_component_nothing_is_joined() -> None:
    store, _ = cached()
    store.put(DEPLOYMENTS, deployment_object(creationTimestamp=CREATED))
    target = store.snapshot(KEY).target
    assert target is not None
    assert target.network_path is None


def test_who_goes_through_it_is_notified_of_a_change_and_others_find_it_taken() -> None:
    store, asked = cached("fallback")
    scene = Scene([signal(bias=0.3)], target=replace(scorer(service()), template_labels={"app": "scorer"}))
    scene.ladders = [ladder(contain_by("Fallback", fallback={"service": "scorer", "selector": RULES}))]
    scene.intend()
    opening = scene.escalation
    metadata = {"namespace": "models", "name": opening.name, "uid": "esc", "resourceVersion": "1"}
    about = {"labels": dict(opening.labels), "generation": 1, "creationTimestamp": CREATED}
    store.put(ESCALATIONS, {"metadata": {**metadata, **about}, "spec": opening.spec.to_api()})
    store.put(DEPLOYMENTS, deployment_object(name="other", uid="other-uid", creationTimestamp=CREATED))
    asked.clear()
    store.put(SERVICES, service())
    assert asked == [(KEY, True)]
    asked.clear()
    store.put(SERVICES, {**service(), "metadata": {**service()["metadata"], "resourceVersion": "2"}})
    assert asked == [(KEY, False)], "nothing of it that matters"
    other = store.snapshot(KEY._replace(name="other")).target
    assert other is not None
    assert other.network_path is not None
    assert f"Deployment {KEY.name}" in other.network_path.taken[("Service", "scorer")]
    store.put(DEPLOYMENTS, deployment_object(creationTimestamp=CREATED))
    mine = store.snapshot(KEY).target
    assert mine is not None
    assert mine.network_path is not None
    assert mine.network_path.taken == {}


def test_longest_selector_that_a_ladder_may_name_can_be_saved() -> None:
    longest = {f"{'a' * 253}/{n:063}": "x" * 63 for n in range(16)}
    saved = way(service(), Fallback(service="scorer", selector=longest)).saved
    assert json.loads(saved.replacement or "") == longest
