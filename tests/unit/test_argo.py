"""Argo Rollouts: what is read off them, what stops them in mid-update, and where they are rolled back to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import jsonpatch
import pytest

from riskladder.cluster.client import Client, Refused
from riskladder.cluster.resources import REPLICASETS
from riskladder.controller.caches.store import Store
from riskladder.controller.caches.workloads import WorkloadCache
from riskladder.controller.executor import Executor, NotContainable
from riskladder.policy.plan import Effect, Phase
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.model import HasFollowUp, History, Pod, Revision, Workload
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.results import Impossible, Write
from riskladder.workloads.runtimes.argo import HASH_LABEL, INJECTED_METADATA, ROLLOUT, own_template, read_revision
from tests.unit.builders import Document, Scene, contain_by, edited, ladder, signal, template

CANARY: Document = {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}
ROUTED: Document = {"canary": {"trafficRouting": {}, "steps": [{"setCanaryScale": {"replicas": 2}}]}}
BLUE_GREEN: Document = {"blueGreen": {"activeService": "scorer", "previewReplicaCount": 1}}


def rollout(version: int = 2, replicas: int = 3, *, strategy: Document = CANARY, **status: Any) -> Document:
    """A Rollout that has been rolled out completely; or, by its status, not."""
    name = f"hash{version}"
    about = {"namespace": "models", "name": "scorer", "uid": "target-uid", "resourceVersion": "1", "generation": 4}
    about["creationTimestamp"] = "2026-11-24T11:00:00Z"
    known = {"observedGeneration": "4", "replicas": replicas, "updatedReplicas": replicas}
    return {
        "metadata": {**about, "labels": {"ladder": "credit"}},
        "spec": {"replicas": replicas, "template": template(version), "strategy": strategy},
        "status": {**known, "currentPodHash": name, "stableRS": name, **status},
    }


def replicaset(version: int, number: int, **annotations: str) -> Document:
    """The ReplicaSet of one version, with a pod template as the API server completes it."""
    completed = template(version)
    completed["metadata"]["labels"][HASH_LABEL] = f"hash{version}"
    completed["spec"]["restartPolicy"] = "Always"
    return {
        "metadata": {
            "name": f"scorer-hash{version}",
            "uid": f"uid{version}",
            "labels": {HASH_LABEL: f"hash{version}"},
            "annotations": {"rollout.argoproj.io/revision": str(number), **annotations},
        },
        "spec": {"template": completed},
    }


def target(obj: Document, *history: int) -> Workload:
    """The facts, joined with a history, version by version."""
    revisions = tuple(read_revision(replicaset(version, n)) for n, version in enumerate(history, start=1))
    return replace(ROLLOUT.read(obj), revisions=revisions)


def applied(obj: Document, write: object) -> Document:
    assert isinstance(write, Write)
    after: Document = jsonpatch.apply_patch(obj, write.patch)
    return after


# --- Facts in ---------------------------------------------------------------------------------------------------------


def test_current_revision_is_the_one_that_the_status_names() -> None:
    facts = target(rollout(2), 1, 2)
    assert [r.number for r in facts.revisions] == [1, 2]
    assert facts.current is not None
    assert (facts.current.hash, facts.digest == facts.current.digest) == ("hash2", False)
    assert (facts.observed_generation, facts.is_rolled_out) == (4, True)


def test_nothing_is_said_of_a_revision_that_the_controller_has_not_seen() -> None:
    assert target(rollout(2, observedGeneration="3"), 1, 2).current is None


@pytest.mark.parametrize(("stored", "seen"), [("4", 4), (None, 0), ("", 0), ("5d9c8f7b6", 4), ("12", 12)])
def test_observed_generation_is_text(stored: str | None, seen: int) -> None:
    assert ROLLOUT.read(rollout(observedGeneration=stored)).observed_generation == seen


@pytest.mark.parametrize("status", [None, {}])
def test_rollout_without_status_or_strategy_is_read(status: Document | None) -> None:
    obj = rollout()
    obj["status"] = status
    del obj["spec"]["strategy"]
    facts = ROLLOUT.read(obj)
    assert (facts.replicas, facts.fallback, facts.fields, facts.requested) == (3, "", {}, frozenset())
    assert ROLLOUT.read({**obj, "spec": None}).replicas == 1


def test_update_under_way_is_not_rolled_out_whatever_the_numbers_say() -> None:
    facts = ROLLOUT.read(rollout(2, stableRS="hash1"))
    assert (facts.fallback, facts.is_rolled_out) == ("hash1", False)


def test_what_the_controller_injects_is_no_part_of_a_template() -> None:
    injected = {"labels": {"role": "canary"}, "annotations": {"phase": "trial"}}
    plain = replicaset(1, 1)
    live = replicaset(1, 1, **{INJECTED_METADATA: json.dumps(injected)})
    live["spec"]["template"]["metadata"]["labels"]["role"] = "canary"
    live["spec"]["template"]["metadata"]["annotations"] = {"phase": "trial"}
    term = {"labelSelector": {"matchExpressions": [{"key": HASH_LABEL, "operator": "NotIn", "values": ["hash0"]}]}}
    weighted = {"weight": 1, "podAffinityTerm": term}
    live["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term],
            "preferredDuringSchedulingIgnoredDuringExecution": [weighted],
        }
    }
    assert own_template(live) == plain["spec"]["template"]
    assert read_revision(live).digest == read_revision(plain).digest


@pytest.mark.parametrize("note", ["null", "[", "{}", '{"labels": null}'])
def test_people_s_own_affinity_and_metadata_stay(note: str) -> None:
    live = replicaset(1, 1, **{INJECTED_METADATA: note})
    own = {"labelSelector": {"matchLabels": {"app": "scorer"}}, "topologyKey": "zone"}
    anti = {"requiredDuringSchedulingIgnoredDuringExecution": [own]}
    live["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": {}, "podAntiAffinity": anti}
    assert own_template(live) == live["spec"]["template"]


def test_revision_is_known_while_its_controller_has_not_seen_the_rest() -> None:
    moved: list[TargetKey] = []
    cache = WorkloadCache(Runtimes(["argo-rollouts"]), changed=lambda key, _: None, moved=moved.append)
    put, drop = cache.readers[ROLLOUT.resource.title]
    owned = replicaset(2, 7)
    owned["metadata"]["ownerReferences"] = [{"kind": "Rollout", "uid": "target-uid", "controller": True}]
    key = TargetKey("models", "Rollout", "scorer")

    def current(obj: Document) -> str | None:
        put(obj)
        found = cache.get(key)
        return found.current.hash if found and found.current else None

    assert current(rollout(2)) is None
    cache.readers[REPLICASETS.title][0](owned)
    assert moved == [key]
    assert current(rollout(2)) == "hash2"
    assert current(rollout(2, 5, observedGeneration="3")) == "hash2", "somebody has scaled it"
    assert current(rollout(3, observedGeneration="3", currentPodHash="hash2")) is None, "another template"
    drop(rollout(3))
    assert cache.get(key) is None


# --- Stop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "left"),
    [
        (CANARY, CANARY),
        (ROUTED, {"canary": {**ROUTED["canary"], "abortScaleDownDelaySeconds": 1, "scaleDownDelayRevisionLimit": 0}}),
        (
            BLUE_GREEN,
            {"blueGreen": {"activeService": "scorer", "abortScaleDownDelaySeconds": 0, "autoPromotionEnabled": False}},
        ),
    ],
)
def test_stop_takes_away_what_keeps_pods_at_zero_replicas(strategy: Document, left: Document) -> None:
    before = rollout(strategy=strategy)
    stopped = applied(before, ROLLOUT.stop(ROLLOUT.read(before)))
    assert stopped["spec"] == {**before["spec"], "replicas": 0, "strategy": left}
    assert stopped["status"] == before["status"], "that is another write"
    fields = ROLLOUT.read(before).fields
    assert applied(stopped, ROLLOUT.restore(ROLLOUT.read(stopped), 3, fields)) == before


def test_canary_paused_manually_would_not_be_scaled() -> None:
    before = edited(rollout(), lambda obj: obj["spec"].update(paused=True))
    stopped = applied(before, ROLLOUT.stop(ROLLOUT.read(before)))
    assert (stopped["spec"]["replicas"], stopped["spec"]["paused"]) == (0, False)
    assert applied(stopped, ROLLOUT.restore(ROLLOUT.read(stopped), 3, ROLLOUT.read(before).fields)) == before


def test_what_others_ask_for_meanwhile_is_theirs() -> None:
    before = rollout(strategy=BLUE_GREEN)
    saved = ROLLOUT.read(before).fields
    stopped = applied(before, ROLLOUT.stop(ROLLOUT.read(before)))
    stopped["spec"]["strategy"]["blueGreen"]["abortScaleDownDelaySeconds"] = 90
    back = applied(stopped, ROLLOUT.restore(ROLLOUT.read(stopped), 1, saved))
    assert back["spec"]["strategy"]["blueGreen"] == {**BLUE_GREEN["blueGreen"], "abortScaleDownDelaySeconds": 90}
    further = applied(back, ROLLOUT.restore(ROLLOUT.read(back), 3, saved))
    assert further["spec"] == {**back["spec"], "replicas": 3}, "a second step of a Resume"
    stopped["spec"]["strategy"] = CANARY
    assert applied(stopped, ROLLOUT.restore(ROLLOUT.read(stopped), 3, saved))["spec"]["strategy"] == CANARY


# --- The second write -------------------------------------------------------------------------------------------------


def under_way(**status: Any) -> Workload:
    return ROLLOUT.read(rollout(2, 0, **{"stableRS": "hash1", **status}))


def test_update_is_aborted_as_people_would() -> None:
    assert isinstance(ROLLOUT, HasFollowUp)
    write = ROLLOUT.follow_up(under_way(), None)
    assert write is not None
    assert write.subresource == "status"
    assert applied(rollout(2, 0, stableRS="hash1"), write)["status"]["abort"] is True
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        applied(rollout(3, 0, stableRS="hash1"), write)


def test_rollback_is_promoted_as_people_would() -> None:
    write = ROLLOUT.follow_up(under_way(), "hash2")
    assert write is not None
    assert applied(rollout(2, 0, stableRS="hash1"), write)["status"]["promoteFull"] is True


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (under_way(observedGeneration="3"), None),
        (under_way(stableRS="hash2"), None),
        (under_way(stableRS=""), None),
        (under_way(abort=True), None),
        (under_way(promoteFull=True), "hash2"),
        (under_way(), "hash1"),
    ],
)
def test_nothing_is_said_too_early_or_twice(facts: Workload, wanted: str | None) -> None:
    assert ROLLOUT.follow_up(facts, wanted) is None


def test_second_write_comes_behind_the_stop_until_it_is_proved_and_again_for_the_breached_revision() -> None:
    scene = Scene([signal(bias=0.3)], target=target(rollout(2, stableRS="hash1"), 1, 2))
    first = scene.plan()
    assert (first.stop is not None, first.effects) == (True, ())
    scene.carry_out(first)
    scene.carry_out(scene.plan())
    assert follow_up(scene) is not None

    def now(**changes: Any) -> Effect | None:
        assert scene.target is not None
        scene.target = replace(scene.target, **changes)
        return follow_up(scene)

    assert now(requested=frozenset({"abort"})) is None
    scene.run()
    proved = next(entry for entry in scene.entries if entry.key == "contained/1")
    assert proved.detail["requested"] == "abort"
    assert now(requested=frozenset()) is not None, "somebody retries it"
    assert now(current_hash="hash3") is None, "what is to be resumed with is prepared"
    assert now(pods=(Pod("preview", "uid3", active=True),)) is not None, "and it runs"
    assert now(labels={}) is None, "it is no longer ours to touch"


def test_rollback_is_promoted_behind_its_write() -> None:
    scene = Scene([signal(bias=0.3)], target=target(rollout(2), 1, 2), ladders=[ladder(contain_by("Rollback"))])
    plan = scene.plan()
    assert plan.stop is not None
    scene.intend()
    scene.target = target(rollout(1, stableRS="hash2"), 1, 2)
    effect = follow_up(scene)
    assert effect is not None
    assert effect.body[-1]["path"] == "/status/promoteFull"


def follow_up(scene: Scene) -> Effect | None:
    """The second write of its containment, if one is due."""
    return next(iter(scene.plan().of(Phase.FOLLOW_UP)), None)


class Stub:
    """An API server that takes every patch, and forgets it."""

    def __init__(self) -> None:
        self.patched: list[str | None] = []
        self.refuses = False

    async def request(self, method: str, path: str, **about: Any) -> Document:
        if self.refuses:
            raise Refused(422, "Invalid", "a test failed", verb="patch", resource=about["resource"], where="scorer")
        self.patched.append(path.rpartition("/")[2])
        return {}

    async def get(self, *where: Any) -> Document:
        return rollout(2, 0, stableRS="hash1")


async def test_second_write_that_is_not_kept_is_not_made_over_and_over() -> None:
    scene = Scene([signal(bias=0.3)], target=target(rollout(2, stableRS="hash1"), 1, 2))
    scene.carry_out(scene.acted())
    effect, stub = follow_up(scene), Stub()
    assert effect is not None
    executor = Executor(cast(Client, stub), Store(lambda key, urgent: None, Runtimes(["argo-rollouts"])))
    key = TargetKey("models", "Rollout", "scorer")
    stub.refuses = True
    with pytest.raises(NotContainable):  # nothing has changed: it is refused, and not stale
        await executor.follow_up(key, effect)
    stub.refuses = False
    assert await executor.follow_up(key, effect) == 0
    assert 0 < await executor.follow_up(key, effect) <= 2
    assert stub.patched == ["status"]


# --- Rollback ---------------------------------------------------------------------------------------------------------


def back_to(facts: Workload, **known: Any) -> Revision | Impossible:
    current = facts.current
    history = History(**{name: frozenset(hashes) for name, hashes in known.items()})
    return ROLLOUT.rollback_target(facts, quarantined=current.hash if current else "", history=history)


@pytest.mark.parametrize(
    ("stable", "known", "wanted"),
    [
        (1, {}, "hash1"),
        (1, {"known_good": {"hash2"}}, "hash1"),
        (1, {"breached": {"hash1"}}, "hash2"),
        (1, {"breached": {"hash1"}, "known_good": {"hash1"}}, "hash1"),
        (3, {}, "hash2"),
        (3, {"known_good": {"hash1"}}, "hash1"),
    ],
)
def test_rollback_goes_to_the_stable_revision_else_as_ever(stable: int, known: Any, wanted: str) -> None:
    found = back_to(target(rollout(3, stableRS=f"hash{stable}"), 1, 2, 3), **known)
    assert isinstance(found, Revision)
    assert found.hash == wanted


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"paused": True}, "paused"),
        ({"workloadRef": {"kind": "Deployment", "name": "other"}}, "spec.workloadRef"),
        ({"strategy": {"blueGreen": {"scaleDownDelaySeconds": 61}}}, "for 61 s"),
        ({"strategy": {"canary": {"trafficRouting": {}, "scaleDownDelaySeconds": 3600}}}, "for 3600 s"),
    ],
)
def test_no_rollback_where_breached_pods_would_stay_or_nothing_would_happen(edit: Document, why: str) -> None:
    found = back_to(target(edited(rollout(2, stableRS="hash1"), lambda obj: obj["spec"].update(edit)), 1, 2))
    assert isinstance(found, Impossible)
    assert why in found.why


@pytest.mark.parametrize(
    "strategy",
    [
        {"blueGreen": {}},
        {"blueGreen": {"scaleDownDelaySeconds": 60}},
        {"canary": {"scaleDownDelaySeconds": 3600}},
        {"canary": {"trafficRouting": {}, "dynamicStableScale": True, "scaleDownDelaySeconds": 3600}},
    ],
)
def test_short_delays_are_waited_for(strategy: Document) -> None:
    assert isinstance(back_to(target(rollout(2, strategy=strategy), 1, 2)), Revision)


def test_rolled_back_it_is_at_the_revision_at_once_and_proved_when_the_update_is_over() -> None:
    live, old = rollout(2), replicaset(1, 1)
    stored = applied(live, ROLLOUT.roll_back(live, old, read_revision(old)))
    assert HASH_LABEL not in stored["spec"]["template"]["metadata"]["labels"]
    stored["metadata"]["generation"] = 5
    facts = target(stored, 1, 2)
    proof = ROLLOUT.prove_rolled_back(facts, quarantined="hash2", wanted="hash1")
    assert (proof.applied, proof.pods_gone) == (True, False)
    stored["status"] |= {"observedGeneration": "5", "currentPodHash": "hash1", "stableRS": "hash2"}
    assert not ROLLOUT.prove_rolled_back(target(stored, 1, 2), quarantined="hash2", wanted="hash1").pods_gone
    stored["status"]["stableRS"] = "hash1"
    done = target(stored, 1, 2)
    assert ROLLOUT.prove_rolled_back(done, quarantined="hash2", wanted="hash1").pods_gone
    left = replace(done, pods=(Pod("old", "uid2", active=True),))
    assert not ROLLOUT.prove_rolled_back(left, quarantined="hash2", wanted="hash1").clear


def test_template_that_was_replaced_by_a_reference_is_restored() -> None:
    live, old = rollout(2), replicaset(1, 1)
    del live["spec"]["template"]
    live["spec"]["workloadRef"] = {"kind": "Deployment", "name": "other"}
    stored = applied(live, ROLLOUT.roll_back(live, old, read_revision(old)))
    assert "workloadRef" not in stored["spec"]
    assert ROLLOUT.read(stored).digest == read_revision(old).digest


def test_zero_is_proved_by_the_controller_pods_and_endpoints() -> None:
    zero = ROLLOUT.read(rollout(2, 0))
    assert ROLLOUT.prove_stopped(zero).pods_gone
    assert not ROLLOUT.prove_stopped(ROLLOUT.read(rollout(2, 0, observedGeneration="3"))).pods_gone
    assert not ROLLOUT.prove_stopped(replace(zero, pods=(Pod("canary", "uid2", active=True),))).clear
    assert not ROLLOUT.prove_stopped(replace(zero, ready_endpoints=1)).endpoints_empty
