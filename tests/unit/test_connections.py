"""Open connections under an Isolate: kept, and said to be; or ended with the pods that were there before the policy."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.intent import Intent, NetworkTargetRef
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import Connections
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor
from riskladder.policy.containment.connections import restarts
from riskladder.policy.enabled import missing_components
from riskladder.policy.plan import Effect, Phase
from riskladder.policy.snapshot import Snapshot
from riskladder.workloads.model import Pod
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.safe_states import isolate, words
from riskladder.workloads.safe_states.isolate import read_policy

from .builders import KEY, NOW, at, contain_by, ladder, signal, workload
from .test_isolation import NetworkScenario, network_path_of, policy

SELECTOR = {"matchLabels": {"app": "scorer"}}
THROUGH = NetworkTargetRef(kind=NETWORKPOLICIES.kind, name="riskladder-drill")
MADE = NOW.replace(microsecond=0)


def pod(name: str, created: datetime, **more: Any) -> Pod:
    return Pod(name, "target-uid/hash2", active=True, uid=f"{name}-uid", created=created, **more)


class Closing(NetworkScenario):
    """A model whose open connections are to end; a deleted pod ends when the test says so."""

    may: bool = True

    def snapshot(self) -> Snapshot:
        return replace(super().snapshot(), ends_pods=self.may)

    def write(self, write: Effect) -> None:
        super().write(write)
        if write.verb == "create":
            assert self.target is not None
            assert self.target.network_path is not None
            place = (write.resource.kind, write.name)
            made = replace(self.target.network_path.objects[place], created=self.now.replace(microsecond=0))
            objects = {**self.target.network_path.objects, place: made}
            self.target = replace(self.target, network_path=replace(self.target.network_path, objects=objects))

    def effect(self, effect: Effect) -> None:
        super().effect(effect)
        if effect.phase is Phase.RESTART:
            assert self.target is not None
            self.sent.append(effect)
            pods = (replace(p, is_ending=p.is_ending or p.name == effect.name) for p in self.target.pods)
            self.target = replace(self.target, pods=tuple(pods))

    def take_places(self) -> None:
        """The pods that are ending have ended, and others have taken their places."""
        assert self.target is not None
        fresh = tuple(
            pod(f"new-{p.name}", self.now.replace(microsecond=0)) if p.is_ending else p for p in self.target.pods
        )
        self.target = replace(self.target, pods=fresh)

    def says(self) -> tuple[str, str, str]:
        found = self.condition(ConditionType.CONTAINED)
        return str(found.status), found.reason, found.message


def closing(*, may: bool = True, **containment: Any) -> Closing:
    pods = tuple(pod(f"pod-{n}", MADE - timedelta(hours=1)) for n in range(3))
    target = replace(workload(selector=SELECTOR, network_path=network_path_of()), pods=pods)
    edit = contain_by(containment.pop("action", "Isolate"), **{"connections": "Close", **containment})
    scene = Closing([signal(bias=0.3)], target=target, ladders=[ladder(edit)])
    scene.may, scene.sent = may, []
    scene.run()
    return scene


def later(scene: Closing, seconds: float) -> None:
    scene.now = scene.now + timedelta(seconds=seconds)
    scene.run()


def test_pods_from_before_the_policy_are_restarted_each_once_and_then_it_is_proved() -> None:
    scene = closing()
    assert scene.sent == [], "not in the second in which the policy was made"
    later(scene, 1.5)
    assert [(e.verb, e.name, e.body["gracePeriodSeconds"], e.body["preconditions"]) for e in scene.sent] == [
        ("delete", f"pod-{n}", 5, {"uid": f"pod-{n}-uid"}) for n in range(3)
    ]
    status, reason, message = scene.says()
    assert (status, reason) == ("False", Reason.CONTAINMENT_APPLIED)
    assert "3 pods from before NetworkPolicy" in message
    scene.take_places()
    later(scene, 5)
    assert len(scene.sent) == 3, "those that took their places are isolated from their first moment"
    status, reason, message = scene.says()
    assert (status, reason) == ("True", Reason.ISOLATED)
    assert message.endswith("; its pods were restarted, so that open connections ended")
    [entry] = [entry for entry in scene.entries if entry.event is Reason.ISOLATED]
    assert "its pods were restarted, so that open connections ended" in entry.message
    intent = scene.escalation.intents[-1]
    assert (intent.connections, intent.message) == (
        Connections.CLOSE,
        "turn away new connections to its pods and from them, and restart its pods, so that open ones end",
    )
    later(scene, 60)
    assert len(scene.sent) == 3


def test_keep_is_the_default_and_says_that_open_ones_may_go_on() -> None:
    scene = closing(connections="Keep")
    later(scene, 5)
    assert scene.sent == []
    assert scene.says()[0] == "True"
    assert scene.says()[2].endswith("; open ones may go on")
    said = [entry.message for entry in scene.entries]
    assert [text for text in said if "nothing" in text and "isolat" in text] == []
    assert scene.escalation.intents[-1].message.endswith("; open ones may go on")
    assert scene.escalation.intents[-1].connections is None


def test_without_the_component_it_is_kept_and_the_ladder_says_so() -> None:
    scene = closing(may=False)
    later(scene, 5)
    assert (scene.sent, scene.says()[0]) == ([], "True")
    assert scene.says()[2].endswith("; open ones may go on"), "never that they ended"
    [spec] = [found.spec for found in scene.ladders]
    assert spec is not None
    [why] = missing_components(spec, Runtimes(["isolate"]))
    assert why.startswith(
        "spec.tiers[1].containment.connections Close: this operator ends no pods (--enable=prompt-stop"
    )
    assert missing_components(spec, Runtimes(["isolate", "prompt-stop"])) == []


def test_isolate_in_place_of_what_was_impossible_closes_as_well() -> None:
    pods = tuple(pod(f"pod-{n}", MADE - timedelta(hours=1)) for n in range(2))
    target = replace(workload(1, history=(1,), selector=SELECTOR, network_path=network_path_of()), pods=pods)
    edit = contain_by("Rollback", ifImpossible="Isolate", connections="Close", grace="Own")
    scene = Closing([signal(bias=0.3)], target=target, ladders=[ladder(edit)])
    scene.sent = []
    scene.run()
    later(scene, 2)
    assert scene.escalation.intents[-1].connections is Connections.CLOSE
    assert [e.name for e in scene.sent] == ["pod-0", "pod-1"]
    assert all("gracePeriodSeconds" not in e.body for e in scene.sent), "Own: as long as the pods ask for"


def test_pod_that_vanished_from_a_node_that_hangs_may_keep_its_connections() -> None:
    scene = closing()
    later(scene, 1.5)
    scene.take_places()
    assert scene.target is not None
    old = pod("pod-0", MADE - timedelta(hours=1), node="node-1", vanished_at=scene.now)
    new = pod("new", MADE + timedelta(hours=1), node="node-1", vanished_at=scene.now)
    scene.target = replace(scene.target, unconfirmed=(replace(old, active=False), replace(new, active=False)))
    later(scene, 5)
    status, reason, message = scene.says()
    assert (status, reason) == ("False", Reason.PODS_UNCONFIRMED)
    assert "1 pod vanished without their node confirming that they ended: pod-0 (node-1)" in message


def test_policy_that_was_deleted_restarts_nothing() -> None:
    scene = closing()
    assert scene.target is not None
    assert scene.target.network_path is not None
    scene.target = replace(scene.target, network_path=replace(scene.target.network_path, objects={}))
    assert restarts(scene.snapshot(), at(1)) == ((), None)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), max_size=5),
    st.floats(0, 4, allow_nan=False),
)
def test_what_is_restarted_came_before_the_policy_and_has_not_been_yet(
    found: list[tuple[int, bool, bool]], after: float
) -> None:
    pods = tuple(
        replace(pod(f"pod-{n}", MADE + timedelta(seconds=seconds)), active=active, is_ending=ending)
        for n, (seconds, active, ending) in enumerate(found)
    )
    scene = SCENE
    assert scene.target is not None
    snapshot = replace(scene.snapshot(), target=replace(scene.target, pods=pods))
    effects, due = restarts(snapshot, MADE + timedelta(seconds=after))
    wanted = [f"pod-{n}" for n, (s, active, ending) in enumerate(found) if s <= 0 and active and not ending]
    assert [effect.name for effect in effects] == (wanted if after >= 1 else [])
    assert due == (None if after >= 1 else MADE + timedelta(seconds=1))
    assert snapshot.target is not None
    [intent] = scene.escalation.intents
    assert intent.target_ref is not None
    proof = isolate.prove(snapshot.target, intent.target_ref, close=True)
    assert proof.pods_gone is proof.clear is not any(s <= 0 and active for s, active, _ in found)
    assert proof.applied
    assert isolate.prove(snapshot.target, intent.target_ref).pods_gone


SCENE = closing()


def test_times_of_policies_and_pods_are_read() -> None:
    stored = policy()
    stored["metadata"]["creationTimestamp"] = "2026-11-24T06:00:00Z"
    assert str(read_policy(stored).created) == "2026-11-24 06:00:00+00:00"


@pytest.mark.parametrize(
    ("connections", "end"),
    [(Connections.KEEP, "open ones may go on)"), (Connections.CLOSE, "its pods are restarted, so that open ones end)")],
)
def test_what_is_announced_says_which(connections: Connections, end: str) -> None:
    said = words.sentence("Deployment/scorer", SCENE.escalation.intents[0].action, connections=connections)
    assert said.endswith(end)
    assert "new connections are turned away" in said


def test_hold_that_is_carried_keeps_it() -> None:
    [intent] = SCENE.escalation.intents
    assert Intent.model_validate(intent.to_api()).connections is Connections.CLOSE


class Server:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any]] = []

    async def request(self, method: str, path: str, *, body: Any, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.sent.append((method, path, body))
        return {}


async def test_pod_that_is_restarted_stays_in_the_cache_until_it_has_ended() -> None:
    server, store = Server(), Store(lambda key, urgent: None)
    dropped: list[Any] = []
    store.drop = lambda *found: dropped.append(found)  # type: ignore[method-assign]
    [effect] = [e for e in _effects() if e.name == "pod-0"]
    executor = Executor(server, store)  # type: ignore[arg-type]
    assert not await executor.carry_out(KEY, effect)
    assert [(method, path.rpartition("/")[2]) for method, path, _ in server.sent] == [("DELETE", "pod-0")]
    assert dropped == []


def _effects() -> tuple[Effect, ...]:
    return restarts(SCENE.snapshot(), at(1))[0]
