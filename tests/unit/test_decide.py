"""What is decided, behaviour by behaviour: opening, rising, containing, proving, holding, closing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_LADDER, LABEL_TIER
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.containment.choose import evidence_detail
from riskladder.policy.containment.opening import escalation_name
from tests.unit.builders import (
    NOW,
    Document,
    Scene,
    at,
    contain_by,
    contained,
    ladder,
    recorded,
    scaled_by,
    signal,
    workload,
)

CONTAINED, HOLDS, CLOSED = ConditionType.CONTAINED, ConditionType.CONTAINMENT_HOLDS, ConditionType.CLOSED
HIGH = signal(bias=0.3)
MODERATE = signal(drift=0.3)


def risen() -> Scene:
    """A moderate escalation whose model has just reached tier high; nothing has been done about that yet."""
    scene = Scene([MODERATE])
    scene.run()
    scene.now = at(5)
    scene.signals = [*scene.signals, signal("bias", at=at(5), bias=0.3)]
    return scene


# --- Opening ----------------------------------------------------------------------------------------------------------


def test_baseline_writes_only_the_status_of_the_signal() -> None:
    scene = Scene([signal(bias=0.01)])
    (plan,) = scene.run()
    assert (plan.urgent, plan.escalations, [u.signal.name for u in plan.signals]) == (False, (), ["fairness"])
    status = plan.signals[0].status
    assert (status.tier, status.escalation, status.breaches) == ("baseline", None, ())


def test_moderate_breach_opens_without_touching_the_model() -> None:
    scene = Scene([MODERATE])
    plan = scene.plan()
    assert plan.opening is not None
    assert (plan.stop, plan.opening.spec.intent) == (None, None)
    assert dict(plan.opening.labels) == {LABEL_LADDER: "credit", LABEL_TIER: "moderate"}
    scene.run()
    assert scene.trail() == ["opened"]
    assert scene.reason(CONTAINED) == ("False", Reason.CONTAINMENT_NOT_REQUIRED)


def test_high_breach_is_contained_by_one_write_that_says_why_and_opens_from_that() -> None:
    scene = Scene([HIGH], now=at(2))
    plan = scene.plan()
    assert (plan.opening, plan.noted) == (None, None), "one write stops the model: nothing comes before it"
    assert plan.stop is not None
    assert plan.stop.hold is not None
    assert not plan.has_trail, "the trail waits until the API server has acknowledged the act"
    opening = scene.acted().opening
    assert opening is not None
    assert (opening.name, plan.stop.lock) == (plan.stop.hold.escalation, "ScaleToZero")
    assert scene.plan() == scene.plan()
    spec = opening.spec
    assert dict(opening.labels) == {LABEL_LADDER: "credit", LABEL_TIER: "high", LABEL_CONTAINMENT: "ScaleToZero"}
    assert (spec.ladder.uid, spec.ladder.generation, spec.target.uid) == ("credit-uid", 1, "target-uid")
    assert (spec.signal.uid, spec.signal.observed_at, spec.signal.readings[0].value) == ("fairness-uid", NOW, 0.3)
    assert spec.evidence is not None
    assert (spec.evidence.replicas, spec.evidence.pod_template_hash, spec.evidence.revision) == (3, "hash2", "2")
    assert (spec.evidence.ready_endpoints, spec.evidence.taken_at) == (3, at(2))
    assert [(i.container, i.image_id) for i in spec.evidence.images] == [("server", "scorer@sha256:2")]
    assert (plan.stop.intent, plan.stop.action, plan.stop.severity) == (spec.intent, "ScaleToZero", 1000)


def test_without_lock_there_is_no_lock_label() -> None:
    scene = Scene([HIGH], ladders=[ladder(contain_by("ScaleToZero", lock=False))])
    act = scene.plan().stop
    assert act is not None
    assert act.lock == ""
    opening = scene.acted().opening
    assert opening is not None
    assert LABEL_CONTAINMENT not in opening.labels


@pytest.mark.parametrize("when", ["OnDecision", "OnTimeout"])
def test_containment_that_waits_for_people_is_not_carried_out(when: str) -> None:
    def edit(spec: Document) -> None:
        spec["tiers"][1].update(onTimeout="Contain", containment={"action": "ScaleToZero", "when": when})

    scene = Scene([HIGH], ladders=[ladder(edit)])
    scene.run()
    assert scene.escalation.intents == ()
    waits = Reason.AWAITING_DECISION if when == "OnDecision" else Reason.AWAITING_TIMEOUT
    assert scene.reason(CONTAINED) == ("False", waits)


def test_breach_while_open_joins_and_never_opens_a_second() -> None:
    scene = Scene([MODERATE])
    scene.run()
    scene.signals = [*scene.signals, signal("other", source="other", drift=0.9)]
    assert all(plan.opening is None for plan in scene.run())
    assert len(scene.escalations) == 1
    assert [s.status.escalation for s in scene.signals] == [scene.escalation.name] * 2


def test_episodes_of_one_target_have_names_of_their_own() -> None:
    first = escalation_name("scorer", "uid", "credit", "")
    assert first == escalation_name("scorer", "uid", "credit", "")
    others = [("uid", "credit", "closed"), ("uid", "safety", ""), ("other", "credit", "")]
    assert len({first, *(escalation_name("scorer", *other) for other in others)}) == 4
    assert escalation_name("a." * 60, "uid", "credit", "").count(".") == 0


# --- Rising -----------------------------------------------------------------------------------------------------------


def test_rising_appends_an_intent_with_evidence_and_the_lock() -> None:
    scene = risen()
    plan = scene.plan()
    assert (plan.opening, plan.noted) == (None, None)
    assert plan.stop is not None
    intent = scene.raised()
    assert (intent.id, intent.tier, intent.intended_at) == (1, "high", at(5))
    assert intent.signal is not None
    assert (intent.signal.uid, intent.signal.observed_at) == ("bias-uid", at(5))
    assert intent.evidence is not None
    assert (intent.evidence.replicas, intent.evidence.taken_at) == (3, at(5))
    scene.run()
    assert scene.escalation.labels[LABEL_CONTAINMENT] == "ScaleToZero"
    assert scene.trail() == ["opened", "tier/high", "applied/1", "contained/1"]
    rung = scene.escalation.status.rung
    assert rung is not None
    assert (rung.tier, rung.entered_at, rung.decide_by) == ("high", at(5), at(65))


def test_tier_never_falls_by_a_better_reading() -> None:
    scene = risen()
    scene.run()
    scene.signals = [signal("bias", at=at(7), bias=0.01, status=scene.signals[1].status)]
    scene.run()
    assert (scene.escalation.status.tier, scene.escalation.labels[LABEL_TIER]) == ("high", "high")


def test_tier_stands_by_its_intent_though_the_label_was_removed_manually() -> None:
    scene = Scene([HIGH])
    scene.carry_out(scene.acted())
    scene.signals = []
    scene.escalations = [replace(scene.escalation, labels={})]
    scene.run()
    assert (scene.escalation.status.tier, scene.escalation.labels[LABEL_TIER]) == ("high", "high")


def test_tier_reached_before_the_first_trail_is_on_record() -> None:
    """The containing tier is not the worst one: both were entered, so both are recorded."""

    def edit(spec: Document) -> None:
        spec["tiers"][0]["containment"] = spec["tiers"][1].pop("containment")

    scene = Scene([signal(bias=0.3, drift=0.3)], ladders=[ladder(edit)])
    scene.run()
    assert scene.escalation.status.tier == "high"
    assert recorded(scene.entries, "opened").detail["tier"] == "moderate"
    raised = recorded(scene.entries, "tier/high").detail
    assert (raised["from"], raised["tier"], raised["rung"]) == ("moderate", "high", "2")


# --- The ladder or the signal changes meanwhile -----------------------------------------------------------------------


def test_ladder_edited_while_open_is_not_the_policy_of_the_escalation() -> None:
    scene = risen()
    looser = ladder(lambda s: s["tiers"][1]["triggers"][0].update(above=0.9), generation=2)
    scene.ladders = [looser]
    assert scene.plan().stop is not None, "0.3 is high under the policy it was opened under"
    assert scene.escalation.spec.ladder.generation == 1


def test_ladder_deleted_in_mid_escalation_goes_on() -> None:
    scene = risen()
    scene.ladders = []
    scene.run()
    assert scene.target is not None
    assert scene.target.replicas == 0
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


def test_signal_deleted_in_mid_escalation_restores_nothing() -> None:
    scene = Scene([HIGH])
    scene.intend()  # the act is refused
    scene.signals = []
    assert scene.plan().stop is not None
    scene.run()
    assert scene.target is not None
    assert scene.target.replicas == 0
    assert scene.reason(CLOSED) == ("False", Reason.OPEN)


def test_suspended_ladder_opens_and_does_nothing_until_it_acts() -> None:
    scene = Scene([HIGH], ladders=[ladder(lambda s: s.update(suspended=True))])
    assert all(plan.stop is None for plan in scene.run())
    assert scene.escalation.intents == ()
    assert scene.reason(CONTAINED) == ("False", Reason.LADDER_SUSPENDED)
    scene.ladders = [ladder(generation=2)]
    scene.run()
    assert scene.target is not None
    assert scene.target.replicas == 0


def test_ladder_suspended_between_intent_and_act_holds_the_act() -> None:
    scene = Scene([HIGH])
    scene.intend()
    scene.ladders = [ladder(lambda s: s.update(suspended=True), generation=2)]
    assert all(plan.stop is None for plan in scene.run())
    scene.ladders = [ladder(generation=3)]
    assert scene.plan().stop is not None


# --- The target changes meanwhile -------------------------------------------------------------------------------------


def test_target_released_from_the_ladder_is_never_touched_again() -> None:
    scene = contained()
    assert scene.target is not None
    scene.target = replace(scene.target, labels={})
    scaled_by(scene, 3)
    assert all(not plan.urgent for plan in scene.run())
    assert scene.reason(HOLDS) == ("False", Reason.TARGET_RELEASED)
    assert {s.status.conditions[-1].reason for s in scene.signals} == {Reason.TARGET_NOT_GOVERNED}


def test_target_deleted_is_nothing_left_to_contain() -> None:
    scene = contained()
    scene.target = None
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.TARGET_DELETED)
    assert scene.trail()[-1] == "deleted/1"
    assert scene.escalation.is_open


def test_target_recreated_closes_the_old_and_is_judged_by_itself() -> None:
    scene = contained()
    scene.target = workload(uid="new-uid")
    scene.now = at(3)
    scene.run()
    old, new = scene.escalations
    assert (old.is_open, new.is_open, new.spec.target.uid, new.name == old.name) == (False, True, "new-uid", False)
    assert recorded(scene.entries, "closed").event is Reason.TARGET_RECREATED
    assert LABEL_CONTAINMENT not in old.labels
    assert scene.target.replicas == 0


def test_breach_of_a_recreated_target_is_not_a_rise_of_the_old_escalation() -> None:
    scene = risen()
    scene.target = workload(uid="new-uid")
    scene.run()
    assert scene.escalations[0].status.tier == "moderate"
    assert "tier/high" not in scene.trail()


def test_model_at_zero_already_is_left_alone_with_nothing_to_restore() -> None:
    scene = Scene([HIGH], target=workload(replicas=0))
    held, *others = scene.run()
    assert held.stop is not None
    assert held.stop.intent.reason == Reason.ALREADY_AT_ZERO, "it is held, and nothing about it is changed"
    assert all(plan.stop is None for plan in others)
    assert scene.reason(CONTAINED) == ("True", Reason.ALREADY_AT_ZERO)
    status = scene.escalation.status
    assert (status.restore, status.containments[0].applied_at) == (None, None)
    assert scene.trail() == ["opened", "contained/1"]
    assert scene.escalation.labels[LABEL_CONTAINMENT] == "ScaleToZero", "and nobody may raise it"


def test_replicas_changed_between_evidence_and_act_are_evidence_again() -> None:
    scene = Scene([HIGH])
    scene.intend()
    scaled_by(scene, 5)
    intent = scene.raised()
    assert (intent.id, intent.reason) == (2, Reason.EVIDENCE_OUTDATED)
    assert intent.evidence is not None
    assert intent.evidence.replicas == 5
    scene.run()
    status = scene.escalation.status
    assert status.restore is not None
    assert status.restore.replicas == 5


# --- Two ladders govern one target ------------------------------------------------------------------------------------


def two(first_edit: object = None, **second: object) -> Scene:
    """Ladder credit has a moderate escalation open; ladder safety, which contains, is breached now."""
    both = {"ladder": "credit", "safety": "yes"}
    safety = ladder(
        lambda s: s["governs"]["selector"].update(matchLabels={"safety": "yes"}), name="safety", generation=4
    )
    scene = Scene([MODERATE], target=workload(labels=both), ladders=[ladder(), safety])
    scene.run()
    scene.now = at(1)
    scene.signals = [*scene.signals, signal("safety", at=at(1), ladder="safety", bias=0.3, **second)]
    return scene


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("obstacle", ["suspended", "released"])
def test_ladder_that_does_not_act_does_not_keep_another_from_acting(obstacle: str, crashed: bool) -> None:
    scene = two()
    assert scene.target is not None
    if crashed:  # after the intent, before the act
        scene.intend()
    if obstacle == "suspended":
        scene.ladders = [ladder(lambda s: s.update(suspended=True), generation=2), scene.ladders[1]]
    else:
        scene.target = replace(scene.target, labels={"safety": "yes"})
    scene.run()
    assert scene.target.replicas == 0


def test_evidence_counts_ready_pods_apart_from_endpoints() -> None:
    """A model without a Service has ready pods and no endpoint: it was not "0 ready"."""
    target = workload()
    pods = tuple(replace(pod, ready=number < 2) for number, pod in enumerate(target.pods))
    opening = Scene([signal(bias=0.3)], target=replace(target, pods=pods, ready_endpoints=0)).acted().opening
    assert opening is not None
    assert opening.spec.evidence is not None
    assert (opening.spec.evidence.ready_pods, opening.spec.evidence.ready_endpoints) == (2, 0)
    assert evidence_detail(opening.spec.evidence).items() >= {("readyPods", "2"), ("readyEndpoints", "0")}
