"""Containments after they have been decided: reverted, late, proved; and where a rollback goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from riskladder.api.labels import FIELD_MANAGER, LABEL_CONTAINMENT
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import LastKnownGood, SignalStatus
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.containment.drift import MAX_DRIFT, record_drift
from riskladder.policy.snapshot import Signal
from riskladder.policy.trail import PROOF_GRACE
from riskladder.workloads.model import Revision, Workload
from riskladder.workloads.runtimes.deployment import DEPLOYMENT, read_replicaset
from tests.unit.builders import (
    NOW,
    Document,
    Scene,
    at,
    contain_by,
    contained,
    deployment_object,
    ladder,
    replicaset_object,
    scaled_by,
    signal,
    workload,
    written,
)

CONTAINED, HOLDS = ConditionType.CONTAINED, ConditionType.CONTAINMENT_HOLDS
HIGH = signal(bias=0.3)


# --- Reverted, late, proved -------------------------------------------------------------------------------------------


def test_reverted_containment_is_reapplied_and_names_who() -> None:
    scene = contained()
    scaled_by(scene, 3, "argocd")
    plan = scene.plan()
    assert plan.noted is None, "no new intent: it is the same containment"
    assert plan.stop is not None
    assert (plan.stop.again, plan.stop.reverted_by, plan.stop.intent.id) == (True, "argocd", 1)
    scene.carry_out(plan)
    for total in (1, 2):
        update = record_drift(scene.escalation, plan.stop.intent, "argocd", at(total))
        assert update is not None
        assert [e.key for e in update.entries] == [f"reverted/1/{total}"]
        assert update.entries[0].detail["fieldManager"] == "argocd"
        scene.escalations = [written(update)]
    assert scene.reason(HOLDS) == ("True", Reason.CONTAINMENT_REAPPLIED)
    status = scene.escalation.status
    assert [(u.field_manager, u.count, u.at) for u in status.containments[0].drift] == [("argocd", 2, at(2))]
    assert status.restore is not None
    assert status.restore.replicas == 3
    scene.run()
    assert scene.reason(HOLDS) == ("True", Reason.CONTAINMENT_REAPPLIED)


def test_containment_reverted_after_a_restart_is_known_to_have_been_done() -> None:
    """The stamps of the operator that did it are lost; the status says it."""
    scene = contained()
    scene.stamps = {}
    scaled_by(scene, 5, "hpa")
    plan = scene.plan()
    assert plan.stop is not None
    assert (plan.noted, plan.stop.again, plan.stop.reverted_by) == (None, True, "hpa")


def test_reverts_by_more_managers_than_are_listed_are_not_attributed_to_others() -> None:
    scene = contained()
    intent = scene.escalation.intents[0]
    for number in range(MAX_DRIFT + 3):
        update = record_drift(scene.escalation, intent, f"m{number}", at(number))
        assert update is not None
        assert update.entries[0].detail["fieldManager"] == f"m{number}"
        scene.escalations = [written(update)]
    [status] = scene.escalation.status.containments
    assert len(status.drift) == MAX_DRIFT
    assert sum(u.count for u in status.drift) == MAX_DRIFT + 3
    assert {u.count for u in status.drift if u.field_manager.startswith("m")} == {1}


def applied() -> Scene:
    """Contained at NOW, and the Escalation says so; the trail is not written yet."""
    scene = Scene([HIGH])
    scene.carry_out(scene.acted())
    return scene


def ending(scene: Scene) -> Workload:
    """The contained model while its pods are still ending."""
    assert scene.target is not None
    return workload(replicas=0, pods=2, carried=scene.target.carried)


def unproved() -> Scene:
    """Applied at NOW, pods still there, recorded so."""
    scene = applied()
    scene.target = ending(scene)
    scene.now = NOW + PROOF_GRACE
    scene.run()
    return scene


def test_trail_of_a_fresh_containment_waits_for_the_proof_grace() -> None:
    scene = applied()
    done, scene.target = scene.target, ending(scene)
    plan = scene.plan()
    assert (plan.has_trail, plan.urgent, plan.wake_at) == (False, False, NOW + PROOF_GRACE)
    scene.target = done
    assert scene.plan().has_trail, "proved: nothing to wait for"


def test_clock_that_jumped_back_does_not_hold_the_trail() -> None:
    scene = applied()
    scene.target = ending(scene)
    scene.now = at(-60)
    assert scene.plan().has_trail


def test_containment_not_proved_in_time_is_late_once() -> None:
    scene = unproved()
    assert scene.reason(CONTAINED) == ("False", Reason.CONTAINMENT_APPLIED)
    assert scene.plan().wake_at == at(2)
    scene.now = at(2)
    scene.run()
    assert scene.reason(CONTAINED) == ("False", Reason.CONTAINMENT_LATE)
    scene.now = at(1)  # a clock that jumps back and forth makes it no second time
    scene.run()
    scene.now = at(4)
    scene.run()
    assert scene.trail() == ["opened", "applied/1", "late/1"]
    scene.target = workload(replicas=0, pods=0)
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    assert scene.trail()[-1] == "contained/1"


def test_proved_containment_that_is_reverted_is_not_late() -> None:
    scene = contained()
    scene.now = at(10)
    scene.target = workload(replicas=0, pods=2)  # contained again, but the pods that came up are not gone yet
    scene.run()
    assert scene.condition(CONTAINED).status == "False"
    assert scene.condition(CONTAINED).reason != Reason.CONTAINMENT_LATE
    assert "late/1" not in scene.trail()


def test_proof_outlives_a_controller_that_lags_behind_another_edit() -> None:
    """At zero the template may be edited: until the controller has seen that, nothing about the proof has changed."""
    scene = contained()
    assert scene.target is not None
    scene.now = at(10)
    scene.target = replace(scene.target, generation=7)
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


def test_rolled_back_model_that_scales_stays_contained() -> None:
    scene = contained(action="Rollback")
    assert scene.target is not None
    scene.now = at(10)
    scene.target = replace(scene.target, replicas=5, generation=7, observed_generation=7, total_replicas=4)
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.ROLLED_BACK)
    assert "late/1" not in scene.trail()


def test_second_containment_is_proved_on_record_as_well() -> None:
    """From a rollback in the lower tier to zero in the higher one; the trail of each is written when it is proved."""

    def edit(spec: Document) -> None:
        spec["tiers"][0]["containment"] = {"action": "Rollback"}

    scene = Scene([signal(drift=0.3)], ladders=[ladder(edit)])
    scene.run()
    assert scene.trail() == ["opened", "applied/1", "contained/1"]
    scene.signals = [*scene.signals, signal("bias", bias=0.3)]
    scene.run()
    assert scene.trail()[3:] == ["tier/high", "applied/2", "contained/2"]
    status = scene.escalation.status
    assert status.restore is not None
    assert (status.restore.replicas, status.restore.pod_template_hash) == (3, "hash2"), "what ran before the first act"


# --- Rollback: where to, and what if not ------------------------------------------------------------------------------


def good(version: int, name: str = "fairness") -> Signal:
    """A high breach of a model whose version so and so was good."""
    known = LastKnownGood(revision=str(version), digest=f"hash{version}", since=at(-60))
    return signal(name, bias=0.3, status=SignalStatus(last_known_good=known))


def without_hash(version: int) -> Revision:
    return replace(workload(history=(version,)).revisions[0], hash="")


@pytest.mark.parametrize(
    ("signals", "history", "version"),
    [
        ([HIGH], (1, 2, 3), 2),  # nothing is known to be good: the previous one
        ([good(1)], (1, 2, 3), 1),  # the last known good one, though it is older
        ([good(3)], (1, 2, 3), 2),  # never the breached one, whatever was said of it
        ([good(3), good(1, "b")], (1, 2, 3), 1),
        ([HIGH], (1, 2, 4, 3), 4),  # the breached one had been deployed again: the one before it
        ([good(9)], (1, 2, 3), 2),  # what was good has left the history
    ],
)
def test_rollback_goes_to(signals: Sequence[Signal], history: Sequence[int], version: int) -> None:
    scene = Scene(signals, target=workload(3, history=history), ladders=[ladder(contain_by("Rollback"))])
    plan = scene.plan()
    assert plan.stop is not None
    assert plan.stop.revision is not None
    assert (plan.stop.action, plan.stop.revision.hash) == (ContainmentAction.ROLLBACK, f"hash{version}")
    assert plan.stop.intent.pod_template_hash == f"hash{version}"
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.ROLLED_BACK)


@pytest.mark.parametrize("if_impossible", ["ScaleToZero", "Isolate"])
@pytest.mark.parametrize(
    ("target", "why"),
    [
        (workload(1, history=(1,)), "no earlier revision"),  # the first, or revisionHistoryLimit: 0
        (workload(2, history=(1, 2), paused=True), "paused"),
        (workload(1, history=(1, 2)), "newer"),  # somebody had gone back manually without a new number
        (workload(3, history=(1, 2)), "not yet recorded"),  # its ReplicaSet has not been made
        (workload(2, history=(2,), revisions=(*workload(2, history=(2,)).revisions, without_hash(1))), "no earlier"),
    ],
)
def test_impossible_rollback_scales_to_zero_and_says_why(target: Workload, why: str, if_impossible: str) -> None:
    scene = Scene([HIGH], target=target, ladders=[ladder(contain_by("Rollback", ifImpossible=if_impossible))])
    plan = scene.plan()
    assert plan.stop is not None
    assert (plan.stop.action, plan.stop.intent.reason) == ("ScaleToZero", Reason.ROLLBACK_IMPOSSIBLE)
    assert why in plan.stop.intent.message
    assert plan.stop.lock == "ScaleToZero", "the lock is that of what is really done"


@pytest.mark.parametrize("action", ["Fallback", "Isolate"])
def test_action_that_a_deployment_does_not_have_scales_to_zero(action: str) -> None:
    plan = Scene([HIGH], ladders=[ladder(contain_by(action))]).plan()
    assert plan.stop is not None
    assert (plan.stop.action, plan.stop.intent.reason) == ("ScaleToZero", Reason.ACTION_NOT_SUPPORTED)


def test_revision_deployed_between_evidence_and_rollback_is_the_quarantined_one() -> None:
    scene = Scene([HIGH], ladders=[ladder(contain_by("Rollback"))])
    scene.intend()
    scene.target = workload(3, history=(1, 2, 3))
    intent = scene.raised()
    assert (intent.reason, intent.pod_template_hash) == (Reason.EVIDENCE_OUTDATED, "hash1")
    assert intent.evidence is not None
    assert intent.evidence.pod_template_hash == "hash3"


def test_template_deployed_before_the_rollback_and_not_recorded_yet_is_contained_on_fresh_evidence() -> None:
    """Whether its controller is slow, down, or kept from it by spec.paused: to wait for it may be to wait for ever."""
    scene = Scene([HIGH], ladders=[ladder(contain_by("Rollback"))])
    scene.intend()
    scene.target = workload(3, history=(1, 2), template_set_by="helm")
    intent = scene.raised()
    assert (intent.action, intent.reason) == ("ScaleToZero", Reason.EVIDENCE_OUTDATED)
    assert intent.evidence is not None
    assert intent.evidence.images[0].image == "scorer:3"
    scene.run()
    assert scene.trail() == ["opened", "applied/2", "contained/2"]


def test_deleted_replicaset_of_the_rollback_is_made_again_by_its_controller() -> None:
    scene = contained(action="Rollback")
    scene.target = workload(1, history=(2,), template_set_by=FIELD_MANAGER)
    assert not scene.plan().urgent


def test_revision_pruned_before_the_rollback_scales_to_zero() -> None:
    scene = Scene([HIGH], ladders=[ladder(contain_by("Rollback"))])
    scene.intend()
    scene.target = workload(2, history=(2,))
    intent = scene.raised()
    assert (intent.action, intent.reason) == ("ScaleToZero", Reason.ROLLBACK_IMPOSSIBLE)
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


def test_rollback_reverted_after_its_revision_was_pruned_scales_to_zero() -> None:
    scene = contained(action="Rollback")
    scene.target = workload(2, history=(2,), template_set_by="argocd")
    scene.run()
    assert scene.target.replicas == 0
    assert scene.reason(CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    status = scene.escalation.status
    assert status.restore is not None
    assert status.restore.pod_template_hash == "hash2"


def test_another_template_in_place_of_the_one_gone_back_to_is_drift() -> None:
    """The breached image with one more annotation is another revision, and not the one gone back to."""
    scene = contained(action="Rollback")
    scene.target = workload(3, history=(1, 2, 3), template_set_by="helm")
    plan = scene.plan()
    assert plan.stop is not None
    assert plan.stop.revision is not None
    assert (plan.stop.again, plan.stop.reverted_by, plan.stop.revision.hash) == (True, "helm", "hash1")


def test_known_good_is_the_revision_that_was_read_at_baseline() -> None:
    scene = Scene([signal(bias=0.01)])
    scene.run()
    known = scene.signals[0].status.last_known_good
    assert known is not None
    assert (known.digest, known.revision, known.since) == ("hash2", "2", NOW)


@pytest.mark.parametrize(
    "scene",
    [
        Scene([signal(bias=0.15)]),  # beyond a threshold, if unconfirmed
        Scene([signal(bias=0.01), signal("b", source="b", drift=0.3)]),  # another signal is not at baseline
        Scene([signal(bias=0.01)], target=workload(template_since=at(1))),  # read before it was put in place
        Scene([signal(bias=0.01)], target=workload(updated_replicas=1)),  # not rolled out
        Scene([signal(bias=0.01)], target=workload(replicas=0)),
        Scene([signal(drill=True, bias=0.01)]),
        Scene([signal(bias=0.01)], now=at(24 * 60)),  # silent
        Scene([signal(manual="high")]),
    ],
)
def test_revision_is_not_known_to_be_good(scene: Scene) -> None:
    scene.run()
    assert [s.status.last_known_good for s in scene.signals] == [None] * len(scene.signals)


def test_lasting_contention_enters_the_next_rung_and_notifies_of_the_first_and_every_tenth() -> None:
    def edit(spec: Document) -> None:
        spec["tiers"][0] |= {"containment": {"action": "ScaleToZero"}, "notify": [{"role": "model-risk"}]}

    scene = Scene([signal(drift=0.3)], ladders=[ladder(edit)])
    scene.run()
    assert scene.escalation.status.tier == "moderate"
    messages = []
    for number in range(1, 11):
        scene.now = at(seconds=number)
        scaled_by(scene, 3, "argocd")
        plan = scene.plan()
        assert plan.stop is not None
        scene.carry_out(plan)
        update = record_drift(scene.escalation, plan.stop.intent, "argocd", scene.now)
        assert update is not None
        scene.escalations = [written(update)]
        scene.run()
        messages.append(sum("reverted-" in n.key for n in scene.escalation.status.notifications))
    assert messages[:9] == [1] * 9, "the first, and not each of those that follow"
    rung = scene.escalation.status.rung
    assert rung is not None
    assert (rung.tier, rung.reason) == ("high", Reason.CONTENTION)
    assert scene.events().count(Reason.CONTENTION) == 1
    since = scene.condition(HOLDS).last_transition_time
    assert since == at(seconds=10), "the last time it was broken"


def test_slow_contention_that_the_longer_waits_stretch_is_resolved_by_people_too() -> None:
    scene = contained()
    intent = scene.escalation.intents[0]
    for number in range(10):
        update = record_drift(scene.escalation, intent, "gitops", at(seconds=15 * number))
        assert update is not None
        scene.escalations = [written(update)]
    scene.now = at(seconds=140)
    scene.run()
    assert scene.events().count(Reason.CONTENTION) == 1
    update = record_drift(scene.escalation, intent, "gitops", at(10))
    assert update is not None
    contention = update.status.containments[0].contention
    assert contention is not None
    assert contention.count == 1, "a minute without a revert ends a contention"


def test_model_that_was_at_zero_and_is_raised_has_been_reverted() -> None:
    scene = Scene([HIGH], target=workload(replicas=0))
    scene.run()
    assert scene.reason(CONTAINED) == ("True", Reason.ALREADY_AT_ZERO)
    scaled_by(scene, 5, "rival")
    plan = scene.plan()
    assert plan.noted is None, "not on fresh evidence: the 5 of another writer are nothing to be restored"
    assert plan.stop is not None
    assert (plan.stop.again, plan.stop.reverted_by) == (True, "rival")
    scene.carry_out(plan)
    update = record_drift(scene.escalation, plan.stop.intent, "rival", scene.now)
    assert update is not None
    assert update.entries[0].event is Reason.CONTAINMENT_REAPPLIED


def test_lock_passes_to_the_next_escalation_of_a_recreated_target() -> None:
    scene = contained()
    assert scene.escalation.labels[LABEL_CONTAINMENT] == "ScaleToZero"
    scene.target = workload(uid="another-uid", replicas=0, template_set_by="kubectl-create")
    act = scene.plan().stop
    assert act is not None
    assert act.lock == "ScaleToZero"


@pytest.mark.parametrize("breach_stands", [True, False])
def test_recreated_with_no_replicas_it_is_still_known_what_to_bring_back(*, breach_stands: bool) -> None:
    scene = contained()
    if not breach_stands:
        scene.signals = []
    scene.target = workload(uid="another-uid", replicas=0, template_set_by="kubectl-create")
    scene.run()
    [intent] = scene.escalation.intents
    assert (intent.reason, scene.escalation.spec.target.uid) == (Reason.ALREADY_AT_ZERO, "another-uid")
    assert breach_stands or "created again by kubectl-create" in intent.message
    status = scene.escalation.status
    assert status.restore is not None
    assert status.restore.replicas == 3


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(("manager", "stands"), [(FIELD_MANAGER, True), ("helm", False)])
def test_rollback_that_admission_changes_on_its_way_is_reverted_by_nobody(
    manager: str, stands: bool, recorded: bool
) -> None:
    """A policy that adds something to every template makes a third one of it, and would again."""
    scene = contained(action="Rollback")
    assert scene.target is not None
    changed = {"policy.example/scanned": "true"}
    stored = deployment_object(1, 3)
    stored["spec"]["template"]["metadata"]["annotations"] = changed
    stored["metadata"]["managedFields"] = [
        {"manager": manager, "time": "2026-11-24T12:00:05Z", "fieldsV1": {"f:spec": {"f:template": {}}}}
    ]
    made = replicaset_object(1, 3, replicas=3)
    made["metadata"] |= {"name": "scorer-hash9", "uid": "hash9", "labels": {"pod-template-hash": "hash9"}}
    made["spec"]["template"]["metadata"] = {"annotations": changed, "labels": {"app": "scorer"}}
    revisions = (*scene.target.revisions, *((read_replicaset(made),) if recorded else ()))
    there = {"carried": scene.target.carried, "revisions": revisions, "ready_endpoints": 3}
    scene.target = replace(DEPLOYMENT.read(stored), **there)
    plan = scene.plan()
    assert (plan.stop is None) is stands
    if stands:
        scene.run()
        assert scene.reason(CONTAINED) == ("True", Reason.ROLLED_BACK)
        assert "ContainmentReapplied" not in scene.events()
        assert ("admission has changed what was restored" in scene.condition(CONTAINED).message) is recorded
    else:
        assert plan.stop is not None
        assert plan.stop.reverted_by == "helm"
