"""Isolate, and both that and Fallback from the breach to the Resume, with the objects on a model's network path."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from riskladder.api.conditions import find
from riskladder.api.labels import (
    LABEL_CONTAINED_BY,
    LABEL_CONTAINMENT,
    LABEL_ESCALATION,
    LABEL_LADDER,
    LABEL_LOCK,
)
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import Axis, Tier
from riskladder.policy.containment import hold
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.decide import decide
from riskladder.policy.plan import Effect, Phase, Plan
from riskladder.policy.signals.groups import judge
from riskladder.policy.trail import Trail, write_trail
from riskladder.workloads.holding import held_by, read_carried
from riskladder.workloads.network import NETWORKPOLICIES, SERVICES, NetworkObject, NetworkPath
from riskladder.workloads.results import Impossible
from riskladder.workloads.safe_states.fallback import read_service
from riskladder.workloads.safe_states.isolate import (
    allowing,
    choose,
    isolate,
    pod_selector,
    prove,
    read_policy,
    restore,
)
from riskladder.workloads.safe_states.network_path import Conflict, ObjectWrite, Planned, Unsupported
from tests.unit.builders import Document, Scene, at, carrying, contain_by, ladder, scaled_by, signal, workload

CONTAINED = ConditionType.CONTAINED
SELECTOR = {"matchLabels": {"app": "scorer"}}
RULES = {"app": "rules"}


def policy(name: str = "riskladder-drill", *, ours: bool = True, **spec: Any) -> Document:
    labels = {LABEL_ESCALATION: "drill"} if ours else {}
    about = {"namespace": "models", "name": name, "uid": f"{name}-uid", "resourceVersion": "3", "labels": labels}
    return {"metadata": about, "spec": {"podSelector": SELECTOR, "policyTypes": ["Ingress", "Egress"], **spec}}


def network_path_of(*objects: Document, **more: Any) -> NetworkPath:
    found = [read_policy(o) if "podSelector" in o["spec"] else read_service(o) for o in objects]
    return NetworkPath(frozenset({NETWORKPOLICIES.kind, SERVICES.kind}), {(o.kind, o.name): o for o in found}, **more)


def scorer(*objects: Document, **more: Any) -> Any:
    return workload(selector=SELECTOR, network_path=network_path_of(*objects), **more)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"policyTypes": ["Ingress"]}, ""),  # denies
        ({"policyTypes": ["Ingress"], "ingress": [{}]}, "NetworkPolicy other allows ingress"),
        ({"ingress": [{}], "egress": [{}]}, "NetworkPolicy other allows ingress and egress"),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, ""),  # rules of a direction it is not about
        ({"ingress": [{}], "podSelector": {}}, "NetworkPolicy other allows ingress"),
        ({"ingress": [{}], "podSelector": {"matchLabels": {"app": "other"}}}, ""),
    ],
)
def test_policies_add_up(other: Document, found: str) -> None:
    target = scorer(policy("other", ours=False, **other))
    assert allowing(target, target.network_path, "riskladder-drill") == found
    chosen = choose(target, "drill")
    assert isinstance(chosen, Impossible if found else Planned)


def test_what_cannot_be_isolated() -> None:
    assert isinstance(choose(workload(), "drill"), Unsupported)
    nameless = choose(replace(scorer(), selector=None), "drill")
    assert isinstance(nameless, Impossible)
    taken = choose(scorer(policy(ours=False)), "drill")
    assert isinstance(taken, Impossible)
    assert "of somebody else" in taken.why


def test_pods_are_recognized_by_the_selector_or_by_their_labels() -> None:
    assert pod_selector(scorer()) == SELECTOR
    assert pod_selector(replace(scorer(), selector={}, pod_labels={"a": "b"})) == {"matchLabels": {"a": "b"}}
    assert pod_selector(replace(scorer(), selector={})) is None, "an empty selector would isolate a whole namespace"


def test_policy_is_created_reapplied_and_deleted() -> None:
    found = choose(scorer(), "drill")
    assert isinstance(found, Planned)
    act = Scene([signal(bias=0.3)]).plan().stop
    assert act is not None
    assert act.hold is not None
    why = act.hold.model_copy(update={"escalation": "drill"})
    made = isolate(scorer(), found.target_ref, why, "Isolate")
    assert isinstance(made, ObjectWrite)
    assert (made.verb, made.name) == ("create", "riskladder-drill")
    assert made.body["spec"] == policy()["spec"]
    assert made.body["metadata"]["labels"] == {
        LABEL_LADDER: "credit",
        LABEL_ESCALATION: "drill",
        LABEL_CONTAINED_BY: "drill",
        LABEL_LOCK: "Isolate",
    }
    assert held_by(read_carried(made.body["metadata"]), "any", made=True) == why
    assert "ownerReferences" not in made.body["metadata"], "it is made before the Escalation, and goes with a decision"
    assert prove(scorer(policy()), found.target_ref).pods_gone
    for change in ({"ingress": [{}]}, {"policyTypes": ["Ingress"]}, {"podSelector": {"matchLabels": {"app": "x"}}}):
        changed = policy(**change)
        assert not prove(scorer(changed), found.target_ref).applied
        right = isolate(scorer(changed), found.target_ref, why, "Isolate")
        assert isinstance(right, ObjectWrite)
        after = jsonpatch.apply_patch(changed, json.loads(json.dumps(right.body)))
        assert after["spec"] == policy()["spec"]
        assert held_by(read_carried(after["metadata"]), "riskladder-drill-uid") is not None
        assert isinstance(restore(scorer(changed), found.target_ref), Conflict)
    back = restore(scorer(policy()), found.target_ref)
    assert back == ObjectWrite(
        NETWORKPOLICIES,
        "riskladder-drill",
        "delete",
        {"preconditions": {"uid": "riskladder-drill-uid", "resourceVersion": "3"}},
    )
    assert restore(scorer(), found.target_ref) is None


# --- From the breach to the Resume ------------------------------------------------------------------------------------


def patched(item: NetworkObject, patch: Any) -> NetworkObject:
    """An object as it is after a patch."""
    spec = {"selector": item.content} if item.kind == SERVICES.kind else item.content
    about = {"namespace": "models", "name": item.name, "uid": item.uid, "resourceVersion": item.resource_version}
    before = {"metadata": {**about, **carrying(item.labels, item.carried)}, "spec": spec}
    after = jsonpatch.apply_patch(before, json.loads(json.dumps(patch)))
    return read_service(after) if item.kind == SERVICES.kind else read_policy(after)


class NetworkScenario(Scene):
    """A scene with objects on the model's network path; writes on them are carried out."""

    def carry_out(self, plan: Plan) -> None:
        kept = self.target
        super().carry_out(plan)
        if any(e.on_target for e in plan.of(Phase.RESTORE)) and self.target and kept:
            self.target = replace(self.target, network_path=kept.network_path, selector=kept.selector)
        for effect in plan.of(Phase.RESTORE):
            if not effect.on_target:
                self.write(effect)

    def _carry(self, write: Effect) -> None:
        if write.resource.kind in (SERVICES.kind, NETWORKPOLICIES.kind):
            self.write(write)
        else:
            super()._carry(write)

    def act(self, act: Any) -> None:
        if act.intent.target_ref is None:
            kept = self.target
            super().act(act)
            if self.target and kept:
                self.target = replace(self.target, network_path=kept.network_path, selector=kept.selector)
            return
        assert isinstance(act.effect, Effect), act.effect
        self.write(act.effect)
        self.hold(act)

    def write(self, write: Effect) -> None:
        assert self.target is not None
        assert self.target.network_path is not None
        place, objects = (write.resource.kind, write.name), dict(self.target.network_path.objects)
        if write.verb == "create":
            body = write.body | {"metadata": {**write.body["metadata"], "uid": "p", "resourceVersion": "1"}}
            objects[place] = read_policy(body)
        elif write.verb == "delete":
            del objects[place]
        else:
            objects[place] = replace(patched(objects[place], write.body), set_by="riskladder")
        serving = {"scorer": frozenset({"rules-0"} if self.selects(objects) == RULES else {"pod-0"})}
        path = replace(self.target.network_path, objects=objects, serving=serving)
        self.target = replace(self.target, network_path=path)

    @staticmethod
    def selects(objects: Any) -> Any:
        found = objects.get(("Service", "scorer"))
        return found.content if found else None

    @property
    def selector(self) -> Any:
        assert self.target is not None
        assert self.target.network_path is not None
        return self.selects(self.target.network_path.objects)

    @property
    def policies(self) -> tuple[NetworkObject, ...]:
        assert self.target is not None
        assert self.target.network_path is not None
        return self.target.network_path.of("NetworkPolicy")

    def change(self, item: NetworkObject) -> None:
        assert self.target is not None
        assert self.target.network_path is not None
        objects = {**self.target.network_path.objects, (item.kind, item.name): item}
        self.target = replace(self.target, network_path=replace(self.target.network_path, objects=objects))

    def ready(self) -> None:
        """Pods of the model are ready again."""
        assert self.target is not None
        self.target = replace(self.target, pods=tuple(replace(p, ready=True) for p in self.target.pods))


SERVICE = {
    "metadata": {"namespace": "models", "name": "scorer", "uid": "service-uid", "resourceVersion": "1"},
    "spec": {"selector": {"app": "scorer"}},
}


def network_scenario(action: str, bias: float = 0.3, **more: Any) -> NetworkScenario:
    fallback = {"fallback": {"service": "scorer", "selector": RULES}} if action == "Fallback" else {}
    target = workload(
        selector=SELECTOR, network_path=network_path_of(SERVICE, serving={"scorer": frozenset({"pod-0"})})
    )

    def edit(spec: Document) -> None:
        contain_by(action, **fallback, **more)(spec)
        severe = {"name": "severe", "triggers": [{"indicator": "bias", "above": 0.5}]}
        severe |= {"decide": spec["tiers"][1]["decide"], "containment": {"action": "ScaleToZero"}}
        spec["tiers"].append(severe)

    scene = NetworkScenario([signal(bias=bias)], target=target, ladders=[ladder(edit)])
    scene.run()
    scene.ready()
    return scene


@pytest.mark.parametrize(("action", "reason"), [("Fallback", Reason.FELL_BACK), ("Isolate", Reason.ISOLATED)])
def test_contained_and_restored(action: str, reason: Reason) -> None:
    scene = network_scenario(action)
    assert scene.target is not None
    assert scene.reason(CONTAINED) == ("True", reason)
    assert scene.target.replicas == 3, "the model keeps running"
    assert scene.trail() == ["opened", "applied/1", "contained/1"]
    assert scene.escalation.labels[LABEL_CONTAINMENT] == action
    [proved] = [entry for entry in scene.entries if entry.event == reason]
    assert {"appliedAt", "provedAt"} <= set(proved.detail)
    assert not {"podsGoneAt", "endpointsEmptyAt"} & set(proved.detail), "its pods go on running"
    scene.decide("Resume", "legal")
    resume = scene.escalation.status.resume
    assert resume is not None
    assert resume.applied_at is not None
    assert resume.left == ()
    assert scene.selector == {"app": "scorer"}
    assert scene.policies == ()
    assert scene.trail()[-1] == "restored/1/0"


def test_reverted_it_is_reapplied_and_named() -> None:
    scene = network_scenario("Fallback")
    scene.change(replace(read_service(SERVICE), set_by="argocd"))
    plan = scene.plan()
    assert plan.stop is not None
    assert (plan.stop.again, plan.stop.reverted_by) == (True, "argocd")
    scene.run()
    assert scene.selector == RULES


def test_stop_over_a_fallback_gives_back_both() -> None:
    scene = network_scenario("Fallback")
    scaled_around(scene, 5)
    scene.signals = [signal(bias=0.6, at=at(1))]
    scene.now = at(1)
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    assert scene.selector == RULES, "traffic stays with the fallback"
    scene.now = at(2)
    scene.decide("Resume", "legal")
    assert scene.target is not None
    assert scene.target.replicas == 5, "as it was before the stop, not before the fallback"
    resume = scene.escalation.status.resume
    assert resume is not None
    assert resume.applied_at is None, "no pod is ready: the fallback goes on serving"
    assert "once a pod of the Deployment is ready" in scene.condition(CONTAINED).message
    scene.ready()
    scene.run()
    assert scene.selector == {"app": "scorer"}
    resume = scene.escalation.status.resume
    assert resume is not None
    assert resume.applied_at is not None


def scaled_around(scene: NetworkScenario, replicas: int) -> None:
    assert scene.target is not None
    kept = scene.target
    scaled_by(scene, replicas)
    scene.target = replace(scene.target, network_path=kept.network_path, selector=kept.selector)
    scene.ready()


def stopped() -> NetworkScenario:
    """A Fallback, and then a ScaleToZero for a worse reading."""
    scene = network_scenario("Fallback")
    scene.signals = [signal(bias=0.6, at=at(1))]
    scene.now = at(1)
    scene.run()
    return scene


def test_fallback_under_a_stop_that_somebody_switches_back_is_seen_recorded_and_applied_again() -> None:
    scene = stopped()
    assert [(c.axis, c.intent.action) for c in scene.escalation.status.containments] == [
        (Axis.WORKLOAD, "ScaleToZero"),
        (Axis.TRAFFIC, "Fallback"),
    ]
    scene.change(replace(read_service(SERVICE), set_by="helm"))
    snapshot = scene.snapshot()
    act = decide(snapshot, scene.now).stop
    assert act is not None
    assert (act.action, act.again, act.reverted_by) == ("Fallback", True, "helm")
    broken = write_trail(snapshot, judge(snapshot, scene.now), scene.escalation, scene.now)
    assert isinstance(broken, Trail)
    for kind in (CONTAINED, ConditionType.CONTAINMENT_HOLDS):
        found = find(broken.update.status.conditions, kind)
        assert found is not None
        assert found.status == "False"
    scene.run()
    assert scene.selector == RULES
    update = record_drift(scene.escalation, act.intent, act.reverted_by, scene.now)
    assert update is not None
    assert [(c.axis, sum(u.count for u in c.drift)) for c in update.status.containments] == [
        (Axis.WORKLOAD, 0),
        (Axis.TRAFFIC, 1),
    ]
    assert update.entries[0].event is Reason.CONTAINMENT_REAPPLIED
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    scene.now = at(2)
    scene.decide("Resume", "legal")
    scene.ready()
    scene.run()
    assert scene.selector == {"app": "scorer"}
    assert scene.target is not None
    assert scene.target.replicas == 3


def test_changed_while_it_waits_to_be_restored_it_is_left_and_on_record() -> None:
    scene = stopped()
    scene.now = at(2)
    scene.decide("Resume", "legal")
    third = read_service({**SERVICE, "spec": {"selector": {"app": "third"}}})
    scene.change(replace(third, set_by="helm"))
    scene.ready()
    scene.run()
    assert scene.selector == {"app": "third"}
    assert Reason.NOT_RESTORED in scene.events()
    assert "changed by helm" in scene.condition(CONTAINED).message


def test_service_changed_between_evidence_and_act_is_saved_again() -> None:
    target = workload(selector=SELECTOR, network_path=network_path_of(SERVICE))
    fallback = {"service": "scorer", "selector": RULES}
    scene = NetworkScenario(
        [signal(bias=0.3)], target=target, ladders=[ladder(contain_by("Fallback", fallback=fallback))]
    )
    scene.intend()
    scene.change(read_service({**SERVICE, "spec": {"selector": {"app": "scorer", "track": "stable"}}}))
    assert scene.target is not None
    scene.target = replace(scene.target, template_labels={"app": "scorer", "track": "stable"})
    intent = scene.raised()
    assert (intent.action, intent.reason) == ("Fallback", Reason.EVIDENCE_OUTDATED)
    scene.run()
    status = scene.escalation.status
    assert status.restore is not None
    assert [f.value for f in status.restore.fields] == ['{"app":"scorer","track":"stable"}']


def test_service_that_is_gone_stops_the_model() -> None:
    scene = network_scenario("Fallback")
    assert scene.target is not None
    assert scene.target.network_path is not None
    scene.target = replace(scene.target, network_path=replace(scene.target.network_path, objects={}))
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    assert scene.escalation.intents[-1].reason == Reason.FALLBACK_IMPOSSIBLE


@pytest.mark.parametrize("action", ["Fallback", "Isolate"])
def test_model_created_again_is_contained_with_what_stood_there_first(action: str) -> None:
    scene = network_scenario(action)
    assert scene.target is not None
    name = scene.escalation.intents[0].target_ref
    scene.target = replace(scene.target, uid="another-uid")
    scene.run()
    scene.ready()
    intent = scene.escalation.intents[0]
    assert scene.escalation.spec.target.uid == "another-uid"
    assert intent.target_ref == name
    scene.decide("Resume", "legal")
    assert scene.selector == {"app": "scorer"}, "never the contained state"
    assert scene.policies == ()


@pytest.mark.parametrize("breach_stands", [False, True])
@pytest.mark.parametrize("action", ["Fallback", "Isolate"])
def test_model_created_again_takes_over_what_was_in_force_on_both_axes(action: str, breach_stands: bool) -> None:
    scene = network_scenario(action)
    scene.signals = [signal(bias=0.6, at=at(1))]
    scene.now = at(1)
    scene.run()
    assert scene.target is not None
    before = scene.escalation
    assert {i.action for i in before.in_force.values()} == {"ScaleToZero", action}
    scene.signals = scene.signals if breach_stands else []
    scene.target = replace(scene.target, uid="another-uid", replicas=3)
    scene.run()
    old, new = scene.escalations
    assert (old.is_open, new.is_open, new.spec.target.uid) == (False, True, "another-uid")
    assert {i.action for i in new.in_force.values()} == {"ScaleToZero", action}
    assert scene.target.replicas == 0
    assert scene.run() == [], "and that is all"
    if action == "Fallback":
        scene.change(replace(read_service(SERVICE), set_by="helm"))
        scene.run()
        assert scene.selector == RULES, "it is held there as well"
    scene.now = at(2)
    scene.decide("Resume", "legal")
    scene.ready()
    scene.run()
    assert (scene.target.replicas, scene.selector, scene.policies) == (3, {"app": "scorer"}, ())


def test_nothing_is_written_once_it_is_restored() -> None:
    scene = network_scenario("Fallback")
    scene.decide("Resume", "legal")
    assert scene.selector == {"app": "scorer"}
    assert scene.run() == [], "nothing more is written"


def test_if_impossible_isolate() -> None:
    scene = network_scenario("Rollback", ifImpossible="Isolate")
    assert scene.reason(CONTAINED)[1] == Reason.ROLLED_BACK
    target = workload(1, history=(1,), selector=SELECTOR, network_path=network_path_of(SERVICE))
    scene = NetworkScenario(
        [signal(bias=0.3)], target=target, ladders=[ladder(contain_by("Rollback", ifImpossible="Isolate"))]
    )
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.ISOLATED)
    assert scene.escalation.intents[0].reason == Reason.ROLLBACK_IMPOSSIBLE


def test_contained_again_before_a_resume_has_given_it_back_the_first_state_is_restored() -> None:
    scene = network_scenario("Fallback")
    assert scene.target is not None
    scene.target = replace(scene.target, pods=tuple(replace(p, ready=False) for p in scene.target.pods))
    scene.now = at(1)
    scene.decide("Resume", "legal")
    resume = scene.escalation.status.resume
    assert resume is not None
    assert resume.applied_at is None, "no pod is ready"
    scene.now = at(2)
    scene.signals = [signal(bias=0.35, at=at(2))]
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.FELL_BACK)
    again = scene.escalation.intents[-1]
    assert again.id == 2
    assert again.evidence is not None
    assert [f.value for f in again.evidence.fields] == ['{"app":"scorer"}'], "never the contained state"
    scene.ready()
    scene.now = at(3)
    scene.decide("Resume", "legal")
    assert scene.selector == {"app": "scorer"}


def test_a_runtime_with_a_follow_up_of_a_stop_has_none_here() -> None:
    scene = network_scenario("Fallback")
    assert hold.follow_up(scene.snapshot()) is None


@pytest.mark.parametrize("action", ["Fallback", "ScaleToZero"])
def test_resumed_before_the_first_trail_it_is_restored_all_the_same(action: str) -> None:
    target = workload(
        selector=SELECTOR, network_path=network_path_of(SERVICE, serving={"scorer": frozenset({"pod-0"})})
    )
    fallback = {"fallback": {"service": "scorer", "selector": RULES}} if action == "Fallback" else {}
    scene = NetworkScenario([signal(bias=0.3)], target=target, ladders=[ladder(contain_by(action, **fallback))])
    scene.carry_out(scene.acted())
    scene.ready()
    scene.now = at(1)
    scene.decide("Resume", "legal")
    scene.ready()
    scene.run()
    assert scene.target is not None
    assert (scene.target.replicas, scene.selector) == (3, {"app": "scorer"})
    resume = scene.escalation.status.resume
    assert resume is not None
    assert resume.applied_at is not None


def test_in_steps_the_diversion_is_lifted_with_the_first() -> None:
    scene = network_scenario("Fallback")
    [before] = scene.ladders
    assert before.spec is not None
    tiers = list(before.spec.tiers)
    resume = {"quorum": [{"role": "legal"}], "steps": ["34%", "100%"]}
    tiers[-1] = Tier.model_validate({**tiers[-1].to_api(), "resume": resume})
    fresh = replace(before, spec=before.spec.model_copy(update={"tiers": tuple(tiers)}))
    scene = NetworkScenario([signal(bias=0.3)], target=scene.target, ladders=[fresh])
    scene.change(read_service(SERVICE))
    scene.run()
    scene.now = at(1)
    scene.signals = [signal(bias=0.6, at=at(1))]
    scene.run()
    scene.now = at(2)
    scene.decide("Resume", "legal")
    scene.ready()
    scene.run()
    ended = scene.escalation.status.resume
    assert ended is not None
    assert (ended.steps, ended.done, ended.applied_at) == ((2, 3), 1, None)
    assert scene.selector == {"app": "scorer"}
    scene.change(read_service({**SERVICE, "spec": {"selector": RULES}}))
    scene.run()
    assert scene.selector == RULES, "from then on it is nobody's business but theirs"
