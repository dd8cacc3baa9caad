"""Two ladders on one model: each with its escalation, people and holds; restored when the last hold ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_TIER
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.containment.others import carrier, holdings
from riskladder.policy.containment.state import prove
from riskladder.policy.signals.groups import judge
from riskladder.workloads.holding import held_by
from tests.unit.builders import Document, Scene, at, contain_by, ladder, scaled_by, signal, workload

CONTAINED, HOLDS = ConditionType.CONTAINED, ConditionType.CONTAINMENT_HOLDS
BOTH = {"ladder": "credit", "privacy": "yes"}


def privacy(action: str = "ScaleToZero", **more: Any) -> Any:
    """The edit of a ladder that belongs to other people, measures something else and contains so."""

    def edit(spec: Document) -> None:
        spec.update(charter={"owner": "dpo"}, stakeholders=[{"role": "dpo"}, {"role": "ciso"}])
        spec.update(indicators=[{"name": "leak"}], governs={"selector": {"matchLabels": {"privacy": "yes"}}})
        severe = {"name": "severe", "triggers": [{"indicator": "leak", "above": 0.2}], "notify": [{"role": "dpo"}]}
        severe |= {"acknowledge": {"within": "10m"}, "decide": {"within": "1h", "quorum": [{"role": "dpo"}]}}
        spec["tiers"] = [severe | {"containment": {"action": action, **more}}]

    return edit


def scene(first: str = "ScaleToZero", second: str = "ScaleToZero", **more: Any) -> Scene:
    """Ladder credit has contained the model; ladder privacy is about to be breached."""
    ladders = [ladder(contain_by(first)), ladder(privacy(second, **more), name="privacy")]
    found = Scene([signal(bias=0.3)], target=workload(labels=BOTH), ladders=ladders)
    found.run()
    return found


def leak(found: Scene, minutes: float = 5) -> None:
    """Ladder privacy is breached."""
    found.now = at(minutes)
    found.signals = [*found.signals, signal("leak", source="dlp", ladder="privacy", at=at(minutes), leak=0.9)]
    found.run()


def carried(found: Scene) -> tuple[str, str]:
    """The ladder whose hold the target carries, and the action of the lock."""
    assert found.target is not None
    hold = held_by(found.target.carried, found.target.uid)
    return (hold.ladder.name if hold is not None else "", found.target.carried.lock)


def resume(found: Scene, name: str, minutes: float) -> None:
    """The people of a ladder restore the model."""
    found.now = at(minutes)
    role = {"credit": "legal", "privacy": "dpo"}[name]
    found.decide("Resume", role, on=found.under(name).name)


def test_each_ladder_opens_an_escalation_with_its_own_people_and_deadlines() -> None:
    found = Scene(
        [signal("drift", drift=0.5)],
        target=workload(labels=BOTH),
        ladders=[ladder(), ladder(privacy(), name="privacy")],
    )
    found.run()
    leak(found)
    first, second = found.under("credit"), found.under("privacy")
    assert (first.status.tier, second.status.tier) == ("moderate", "severe")
    assert found.target is not None
    assert found.target.replicas == 0
    assert found.reason(CONTAINED, first) == ("False", Reason.CONTAINMENT_NOT_REQUIRED)
    assert found.reason(CONTAINED, second) == ("True", Reason.SCALED_TO_ZERO)
    assert second.status.waiting_on == ("dpo",)
    assert {n.role for n in second.status.notifications} == {"dpo"}
    refused = found.decide("Resume", "legal", on=second.name)
    assert found.verdict(refused) == ("False", Reason.UNKNOWN_ROLE)
    counted = found.decide("Acknowledge", "dpo", on=second.name)
    assert found.verdict(counted) == ("True", Reason.ACKNOWLEDGED)
    assert first.status.containments == ()
    judged = {s.name: s.status.escalation for s in found.signals}
    assert judged == {"drift": first.name, "leak": second.name}


def test_what_another_ladder_holds_already_needs_no_write_and_outlasts_its_resume() -> None:
    found = scene()
    leak(found)
    second = found.under("privacy")
    [held] = second.status.containments
    assert (held.intent.action, held.intent.reason) == ("ScaleToZero", Reason.ALREADY_CONTAINED)
    assert found.under("credit").name in held.intent.message
    assert held.applied_at is None, "nothing was written for it"
    assert found.reason(CONTAINED, second) == ("True", Reason.SCALED_TO_ZERO)
    assert carried(found) == ("credit", "ScaleToZero")
    resume(found, "credit", 6)
    assert found.target is not None
    assert found.target.replicas == 0, "the other ladder still contains it"
    first = found.under("credit")
    assert first.status.resume is not None
    assert first.status.resume.applied_at is not None
    assert found.under("privacy").name in found.condition(CONTAINED, first).message
    assert carried(found) == ("privacy", "ScaleToZero")
    assert found.reason(HOLDS, found.under("privacy"))[0] == "True"
    resume(found, "privacy", 7)
    assert found.target.replicas == 3, "what was there before the first of them"
    assert carried(found) == ("", "")


def test_safer_state_of_another_ladder_is_carried_and_what_remains_after_it_is_held_again() -> None:
    found = scene("Rollback")
    assert carried(found) == ("credit", "Rollback")
    leak(found)
    assert carried(found) == ("privacy", "ScaleToZero")
    assert found.target is not None
    assert found.target.replicas == 0
    assert [found.reason(CONTAINED, found.under(name))[0] for name in ("credit", "privacy")] == ["True", "True"]
    resume(found, "privacy", 6)
    assert found.target.replicas == 3
    assert found.target.current is not None
    assert found.target.current.hash == "hash1", "rolled back, as the first ladder has it"
    assert carried(found) == ("credit", "Rollback")
    resume(found, "credit", 7)
    assert carried(found) == ("", "")


def test_safe_state_that_is_less_safe_than_what_another_ladder_holds_is_that() -> None:
    found = scene("ScaleToZero", "Rollback")
    leak(found)
    [held] = found.under("privacy").status.containments
    assert (held.intent.action, held.intent.reason) == ("ScaleToZero", Reason.ALREADY_CONTAINED)


@pytest.mark.parametrize("obstacle", ["suspended", "released"])
def test_ladder_that_does_not_act_mutes_no_other(obstacle: str) -> None:
    found = scene()
    assert found.target is not None
    if obstacle == "suspended":
        suspended = ladder(lambda spec: spec.update(suspended=True), generation=2)
        found.ladders = [suspended, found.ladders[1]]
    else:
        found.target = replace(found.target, labels={"privacy": "yes"})
    leak(found)
    scaled_by(found, 3)
    found.run()
    assert found.target.replicas == 0
    assert found.reason(HOLDS, found.under("privacy"))[0] == "True"


def test_both_breach_at_once_and_the_safest_state_comes_first() -> None:
    ladders = [ladder(contain_by("Rollback")), ladder(privacy(), name="privacy")]
    signals = [signal(bias=0.3), signal("leak", source="dlp", ladder="privacy", leak=0.9)]
    found = Scene(signals, target=workload(labels=BOTH), ladders=ladders)
    act = found.plan().stop
    assert act is not None
    assert (act.action, act.hold and act.hold.ladder.name) == ("ScaleToZero", "privacy")
    found.run()
    assert len(found.escalations) == 2
    assert found.under("credit").status.containments[0].intent.reason == Reason.ALREADY_CONTAINED
    assert [e.labels[LABEL_CONTAINMENT] for e in found.escalations] == ["ScaleToZero", "ScaleToZero"]
    assert found.under("credit").labels[LABEL_TIER] == "high"


def test_stop_in_the_middle_of_a_resume_restores_what_was_there_at_first() -> None:
    def in_steps(spec: Document) -> None:
        contain_by("ScaleToZero")(spec)
        spec["tiers"][1]["resume"] = {"quorum": [{"role": "legal"}], "steps": ["34%", "100%"]}

    found = Scene(
        [signal(bias=0.3)],
        target=workload(labels=BOTH),
        ladders=[ladder(in_steps), ladder(privacy(), name="privacy")],
    )
    found.run()
    resume(found, "credit", 1)
    assert found.target is not None
    assert found.target.replicas == 2
    leak(found)
    assert found.target.replicas == 0
    first = found.under("credit")
    assert first.status.resume is not None
    assert first.status.resume.applied_at is not None, "the rest of it is the other ladder's Resume"
    resume(found, "privacy", 6)
    assert found.target.replicas == 3


def test_what_was_handled_under_one_ladder_and_tier_outlasts_a_newer_close_and_the_object() -> None:
    found = Scene([signal(bias=0.3)])
    found.run()
    found.now = at(1)
    found.decide("Resume", "legal")
    found.decide("Close", "legal", resolution="FalsePositive")
    found.signals = [signal("drift", source="drift", at=at(2), drift=0.5)]
    found.now = at(2)
    found.run()
    assert found.escalation.status.tier == "moderate"
    found.now = at(3)
    found.decide("Close", "model-risk", resolution="FalsePositive")
    assert not found.escalation.is_open
    found.target = workload(uid="another-uid")
    found.signals = [signal("late", source="late", at=at(0.5), bias=0.3)]
    found.now = at(4)
    found.run()
    assert len(found.escalations) == 2, "it was dealt with by the first close"
    group = judge(found.snapshot(), found.now).group("credit")
    assert group is not None
    assert group.live_tier == ""


MOVES = st.lists(
    st.sampled_from(["leak", "bias", "resume credit", "resume privacy", "pull", "trail"]), min_size=2, max_size=8
)


@given(st.sampled_from(["ScaleToZero", "Rollback"]), st.sampled_from(["ScaleToZero", "Rollback"]), st.booleans(), MOVES)
def test_model_is_contained_while_anyone_holds_it_and_restored_to_the_first_evidence(
    first: str, second: str, lock: bool, moves: list[str]
) -> None:
    """Whatever the order of breaches, drift and Resumes of two ladders."""
    ladders = [ladder(contain_by(first)), ladder(privacy(second, lock=lock), name="privacy")]
    found = Scene([signal(bias=0.05)], target=workload(labels=BOTH), ladders=ladders)
    found.run()
    for minute, move in enumerate(moves, 1):
        found.now = at(minute)
        if move in ("leak", "bias"):
            more = {"ladder": "privacy", "source": "dlp"} if move == "leak" else {}
            kept = [s for s in found.signals if s.name != move]
            found.signals = [*kept, signal(move, at=at(minute), **more, **{move: 0.9})]
        elif move.startswith("resume"):
            name = move.split()[1]
            if any(e.spec.ladder.name == name and e.is_open for e in found.escalations):
                resume(found, name, minute)
        elif move == "pull" and found.target is not None and found.target.replicas == 0:
            kept_carried = found.target.carried
            scaled_by(found, 3)
            found.target = replace(found.target, carried=kept_carried)
        found.run(passes=25)
        found.now = at(minute, seconds=2)  # the trail waits a second for the proof
        found.run(passes=25)
        _is_consistent(found)
    for name in ("credit", "privacy"):
        if any(e.spec.ladder.name == name and e.is_open for e in found.escalations):
            resume(found, name, 30)
            found.run(passes=25)
    assert found.target is not None
    assert found.target.replicas == 3, "restored to what was there before the first of them"
    assert found.target.carried.is_empty


def _is_consistent(found: Scene) -> None:
    """Check that what is in force is in effect, carried by the safest, and said so."""
    snapshot, target = found.known(), found.target
    assert target is not None
    for holding in holdings(snapshot):
        assert prove(target, holding.escalation, holding.intent).applied
        assert found.reason(CONTAINED, holding.escalation)[0] == "True"
    wanted = carrier(snapshot, "")
    assert carried(found)[0] == (wanted.escalation.spec.ladder.name if wanted is not None else "")
    per_ladder = [e.spec.ladder.name for e in snapshot.open]
    assert len(per_ladder) == len(set(per_ladder))


# --- Any number of episodes -------------------------------------------------------------------------------------------


def test_model_is_contained_at_the_fortieth_breach_after_a_resume_as_at_the_first() -> None:
    found = scene()
    sizes = []
    for number in range(1, 41):
        resume(found, "credit", 10 * number)
        assert found.target is not None
        assert found.target.replicas == 3, f"not restored in episode {number}"
        found.now = at(10 * number + 5)
        found.signals = [signal(at=found.now, status=found.signals[0].status, bias=0.3)]
        found.run()
        assert found.target.replicas == 0, f"not contained in episode {number}"
        status = found.under("credit").status
        assert status.restore is not None
        assert status.restore.replicas == 3
        without_people = status.model_copy(update={"decisions": (), "notifications": ()})
        sizes.append(len(str(without_people.to_api())))
    assert max(sizes) - min(sizes) < 100, "what is over is on record, and takes no room in the status"
