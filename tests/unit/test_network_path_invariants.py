"""The invariants of test_invariants, where a Service or a NetworkPolicy contains the model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.labels import ANNOTATION_CONTAINMENT
from riskladder.api.record import entries_of
from riskladder.cluster.client import Conflict
from riskladder.cluster.resources import CACHED, ENDPOINTSLICES, ESCALATIONS, RECORDS, Resource
from riskladder.controller.caches import store
from riskladder.workloads.network import NETWORKPOLICIES, SERVICES
from riskladder.workloads.registry import Runtimes
from tests.unit import simulator, world
from tests.unit.builders import NAMESPACE, Document, contain_by, deployment_object, pod_object
from tests.unit.simulator import Server, intents, resumed
from tests.unit.test_invariants import BREACH, DECIDED, FAULT, RISING, SIMULATED, STEPS, THOROUGH, strike_each_request
from tests.unit.world import SimulatedCluster, Step, condition, simulate

RULES, MODEL = {"app": "rules"}, {"app": "scorer"}
FALLBACK = {"fallback": {"service": "scorer", "selector": RULES}}
WATCHED = (*CACHED, SERVICES, NETWORKPOLICIES)


def then_zero(spec: Document) -> None:
    contain_by("ScaleToZero")(spec)
    spec["tiers"][0]["containment"] = {"action": "Fallback", **FALLBACK}


POLICIES = {
    "fallback": contain_by("Fallback", **FALLBACK),
    "isolate": contain_by("Isolate"),
    "fallback, then zero": then_zero,
}


class AroundServer(Server):
    """Serves deletions, too."""

    def request(self, method: str, path: str, body: Any, content_type: str) -> Document:
        if method != "DELETE":
            return super().request(method, path, body, content_type)
        name = path.rpartition("/")[2]
        about = {"verb": method, "resource": NETWORKPOLICIES.title, "where": path}
        found = self.find(NETWORKPOLICIES, name)
        if found is None or found["metadata"]["uid"] != body["preconditions"]["uid"]:
            raise Conflict(409, "Conflict", "not that one", **about)
        self.delete(NETWORKPOLICIES, name)
        self.writes += 1
        return {}

    def _check(self, resource: Resource, before: Document | None, after: Document) -> None:
        restore = (after.get("status", {}).get("containment") or {}).get("restore")
        if resource is not ESCALATIONS or restore is None or "replicas" in restore:
            super()._check(resource, before, after)
        else:  # it was at zero, with pods that were ending: a network object is to be restored, and no replicas
            assert restore["fields"]
        for act in entries_of(after["spec"]) if resource is RECORDS else ():
            if act["event"] in ("FellBack", "Isolated"):
                assert not {"podsGoneAt", "endpointsEmptyAt"} & set(act["detail"]), "its pods go on running"
                assert "provedAt" in act["detail"]
        if resource is SERVICES and before is not None and before["spec"] != after["spec"]:
            text = after["metadata"].get("annotations", {}).get(ANNOTATION_CONTAINMENT)
            if after["spec"]["selector"] == RULES:
                assert text, "invariant 2: an act that does not say why"
                assert json.loads(text)["uid"] == after["metadata"]["uid"]
            else:
                assert not text, "it was restored, and is still held"


class SimulatedNetwork(SimulatedCluster):
    """Its model is behind a Service, whose slices list what it selects."""

    def __init__(self, policy: str) -> None:
        with mock.patch.object(world, "Operator"):
            super().__init__(policy)
        about = {"name": "scorer", "namespace": NAMESPACE}
        self.server.save(SERVICES, {"metadata": about, "spec": {"selector": dict(MODEL)}})
        self.slices()
        self.operators = [simulator.Operator(self.server, name) for name in ("one", "two")]

    def slices(self) -> None:
        found = self.server.find(SERVICES, "scorer")
        ready = ["rules-0"] if found and found["spec"]["selector"] == RULES else []
        endpoints = [{"targetRef": {"kind": "Pod", "name": name}} for name in ready]
        labels = {"kubernetes.io/service-name": "scorer"}
        self.server.save(ENDPOINTSLICES, {"metadata": {"name": "scorer-1", "labels": labels}, "endpoints": endpoints})

    def roll_out(self, *, finish: bool = True) -> None:
        super().roll_out(finish=finish)
        if self.server.find(SERVICES, "scorer"):
            self.slices()

    def pull(self) -> None:
        """Somebody changes the selector back, and deletes every policy."""
        found = self.server.find(SERVICES, "scorer")
        assert found is not None
        self.server.save(SERVICES, {**found, "spec": {"selector": dict(MODEL)}})
        for policy in self.server.all(NETWORKPOLICIES):
            self.server.delete(NETWORKPOLICIES, policy["metadata"]["name"])
        self.server.disturbed += 1

    def check(self, *, breached: bool) -> None:
        super().check(breached=breached)
        escalations = self.server.all(ESCALATIONS)
        ended = [e for e in escalations if intents(e) and resumed(e) >= intents(e)[-1]["id"]]
        is_open = [e for e in escalations if not condition(e, "Closed").startswith("True")]
        if escalations and len(ended) == len(escalations) == len(is_open) and not self._ladder.get("suspended"):
            found = self.server.find(SERVICES, "scorer")
            if all(e["status"]["resume"].get("appliedAt") for e in ended):
                assert found is not None
                assert found["spec"]["selector"] == MODEL, "resumed, and never restored"
                assert self.server.all(NETWORKPOLICIES) == [], "resumed, and still isolated"

    def _is_contained(self, escalation: Document, intent: Document, target: Document) -> None:
        if intent["action"] not in ("Fallback", "Isolate"):
            super()._is_contained(escalation, intent, target)
            return
        if intent["action"] == "Fallback":
            found = self.server.find(SERVICES, "scorer")
            assert found is not None
            assert found["spec"]["selector"] == RULES, "invariant 1: not diverted"
        else:
            assert self.server.find(NETWORKPOLICIES, intent["targetRef"]["name"]), "invariant 1: not isolated"
        assert condition(escalation, "Contained").startswith("True"), "contained, and its status does not say so"


def model(version: int = 2, **more: Any) -> Document:
    obj = deployment_object(version, **more)
    obj["spec"]["selector"] = {"matchLabels": MODEL}
    return obj


def pod(name: str, version: int, **more: Any) -> Document:
    obj = pod_object(name, version, **more)
    obj["metadata"]["labels"] = dict(MODEL)
    obj["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return obj


@contextmanager
def simulated() -> Iterator[None]:
    """Operators with the components enabled, on that server."""
    with ExitStack() as stack:
        for module, name, value in (
            (world, "Server", AroundServer),
            (world, "SimulatedCluster", SimulatedNetwork),
            (world, "CACHED", WATCHED),
            (simulator, "CACHED", WATCHED),
            (world, "POLICIES", POLICIES),
            (world, "deployment_object", model),
            (world, "pod_object", pod),
            (store, "Runtimes", lambda: Runtimes(["fallback", "isolate"])),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


AROUND = st.one_of(STEPS, STEPS, st.just(("pull",)))


@SIMULATED
@given(st.sampled_from(sorted(POLICIES)), st.lists(AROUND, min_size=8, max_size=30), st.booleans())
def test_invariants_hold_whatever_happens_around(policy: str, steps: list[Step], breached: bool) -> None:
    with simulated():
        simulate(policy, steps, breached=breached)


@SIMULATED
@given(st.sampled_from(sorted(POLICIES)), DECIDED, st.booleans())
def test_invariants_hold_whatever_people_decide_around(policy: str, steps: list[Step], breached: bool) -> None:
    with simulated():
        simulate(policy, [("read", "a", 0.95, 0), ("keep_up", 0), ("jump", 1.0), *steps], breached=breached)


PULLED: list[Step] = [
    ("read", "a", 0.95, 0),
    ("keep_up", 0),
    ("roll_out",),
    ("keep_up", 0),
    ("jump", 3.0),
    ("pull",),
    ("roll_out",),
]
SCENARIOS = {"fallback": PULLED, "isolate": PULLED, "fallback, then zero": RISING}
SEEN: Step = ("deliver", 0, WATCHED)


FAULTS_OF: list[tuple[str, str]] = [
    ("fallback", "killed after"),
    ("isolate", "answer lost"),
    ("fallback, then zero", "killed before"),
    ("isolate", "refused"),
]
"""A choice of policy and fault for every day; HYPOTHESIS_PROFILE=thorough tries all of them."""


@pytest.mark.parametrize(("policy", "fault"), list(itertools.product(POLICIES, FAULT)) if THOROUGH else FAULTS_OF)
def test_fault_at_every_request_around(policy: str, fault: str) -> None:
    with simulated():
        strike_each_request(policy, [*BREACH, SEEN], fault)
        strike_each_request(policy, [*SCENARIOS[policy], SEEN], fault)
