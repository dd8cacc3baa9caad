"""Which tier is entered, and that whichever tier is entered contains, where it does so at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.decision import Resolution
from riskladder.api.escalation import Rung
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.containment.drift import CONTENTION_LIMIT, record_drift

from .builders import Document, Scene, at, contained, ladder, signal, written


def rung(scene: Scene) -> Rung:
    found = scene.escalation.status.rung
    assert found is not None
    return found


def read(scene: Scene, when: datetime, **readings: float) -> None:
    """The monitor reports again."""
    before = scene.signals[0]
    scene.now = when
    scene.signals = [
        replace(before, spec=signal(at=when, **readings).spec, generation=before.generation + 1),
        *scene.signals[1:],
    ]
    scene.run()


def replicas(scene: Scene) -> int:
    assert scene.target is not None
    return scene.target.replicas


# --- After a Resume ---------------------------------------------------------------------------------------------------


def waiting(when: str) -> Any:
    def edit(spec: Document) -> None:
        spec["tiers"][0]["notify"] = [{"role": "model-risk"}]
        spec["tiers"][1]["notify"] = [{"role": "legal"}]
        spec["tiers"][1]["containment"] = {"action": "ScaleToZero", "when": when}
        spec["tiers"][1]["onTimeout"] = "Contain"

    return edit


def resumed_from_high(when: str = "OnTimeout") -> Scene:
    """Contained in tier high, by its deadline or by people, and resumed at minute 70."""
    scene = Scene([signal(bias=0.3)], ladders=[ladder(waiting(when))])
    scene.run()
    scene.now = at(61)
    scene.run()
    if when == "OnDecision":
        scene.decide("Contain", "legal")
    assert replicas(scene) == 0
    scene.now = at(70)
    scene.decide("Resume", "legal")
    scene.run()
    assert replicas(scene) == 3
    return scene


@pytest.mark.parametrize("when", ["OnTimeout", "OnDecision"])
def test_moderate_reading_after_a_resume_from_high_enters_moderate(when: str) -> None:
    scene = resumed_from_high(when)
    read(scene, at(100), bias=0.05, drift=0.21)
    found = rung(scene)
    assert (found.number, found.tier, found.reason) == (2, "moderate", Reason.BREACHED_AGAIN)
    notified = {(n.role, n.tier) for n in scene.escalation.status.notifications if n.rung == 2}
    assert notified == {("model-risk", "moderate")}
    scene.now = at(60 * 24)
    scene.run()
    assert replicas(scene) == 3
    again = next(e for e in scene.entries if e.event is Reason.BREACHED_AGAIN)
    assert again.message == "tier moderate was entered: BreachedAgain: signal fairness reads bias=0.05, drift=0.21"
    assert (again.detail["from"], again.detail["tier"]) == ("high", "moderate")


def test_high_reading_after_that_enters_high_again_with_a_record_of_its_own() -> None:
    scene = resumed_from_high()
    read(scene, at(100), bias=0.05, drift=0.21)
    read(scene, at(110), bias=0.4, drift=0.21)
    assert (rung(scene).number, rung(scene).tier, rung(scene).reason) == (3, "high", Reason.TIER_RAISED)
    keys = scene.trail()
    assert len(keys) == len(set(keys))


def test_what_the_resume_handled_of_high_stays_handled_in_the_lower_tier() -> None:
    """The monitor of bias has not reported since: its reading from before the Resume is no news in any tier."""
    scene = resumed_from_high()
    scene.signals = [*scene.signals, signal("drift", source="other", at=at(100), drift=0.21)]
    scene.now = at(100)
    scene.run()
    assert rung(scene).tier == "moderate"
    scene.now = at(103)
    scene.run()
    assert (rung(scene).number, rung(scene).tier) == (2, "moderate")
    scene.decide("Close", "model-risk", resolution="Remediated")
    assert scene.escalation.status.resolution is Resolution.REMEDIATED
    scene.run()
    assert len(scene.escalations) == 1
    assert replicas(scene) == 3


def test_second_resume_in_a_lower_tier_forgets_nothing_that_the_first_has_handled() -> None:
    scene = resumed_from_high()
    scene.signals = [*scene.signals, signal("drift", source="other", at=at(100), drift=0.21)]
    scene.now = at(100)
    scene.run()
    assert scene.verdict(scene.decide("Contain", "model-risk")) == ("True", Reason.CONTAINED_MANUALLY)
    scene.now = at(110)
    assert scene.verdict(scene.decide("Resume", "model-risk")) == ("True", Reason.QUORUM_MET)
    for later in (111, 200, 60 * 20):
        scene.now = at(later)
        scene.run()
        assert (rung(scene).tier, replicas(scene)) == ("moderate", 3)


def test_containment_of_the_lower_tier_enters_the_lower_tier() -> None:
    def both(spec: Document) -> None:
        waiting("OnTimeout")(spec)
        spec["tiers"][0]["containment"] = {"action": "ScaleToZero"}

    scene = Scene([signal(bias=0.3, drift=0.0)], ladders=[ladder(both)])
    scene.run()
    scene.now = at(61)
    scene.run()
    scene.now = at(70)
    scene.decide("Resume", "legal")
    scene.run()
    read(scene, at(100), bias=0.05, drift=0.21)
    assert replicas(scene) == 0
    assert (rung(scene).number, rung(scene).tier, rung(scene).reason) == (2, "moderate", Reason.BREACHED_AGAIN)
    scene.now = at(103)
    scene.run()
    assert (rung(scene).number, rung(scene).tier) == (2, "moderate")


@given(st.lists(st.sampled_from(["baseline", "moderate", "high"]), min_size=1, max_size=6))
def test_after_a_resume_the_worst_tier_read_since_is_entered(reports: list[str]) -> None:
    scene = resumed_from_high()
    values = {"baseline": (0.0, 0.0), "moderate": (0.0, 0.3), "high": (0.3, 0.0)}
    for number, tier in enumerate(reports):
        bias, drift = values[tier]
        read(scene, at(100 + number), bias=bias, drift=drift)
    worst = max(reports, key=["baseline", "moderate", "high"].index)
    assert rung(scene).tier == ("high" if worst == "baseline" else worst)
    assert (rung(scene).number > 1) == (worst != "baseline")


# --- A tier that contains at once contains, however it is entered -----------------------------------------------------


def rolled_back(**more: Any) -> Scene:
    """Rolled back in tier moderate; tier high stops the model at once."""

    def edit(spec: Document) -> None:
        spec["tiers"][0]["containment"] = {"action": "Rollback", "lock": False, **more}

    scene = Scene([signal(drift=0.5)], ladders=[ladder(edit)])
    scene.run()
    assert scene.escalation.status.tier == "moderate"
    assert replicas(scene) == 3
    return scene


def test_tier_entered_in_contention_contains() -> None:
    scene = rolled_back()
    intent = scene.escalation.intents[-1]
    for number in range(CONTENTION_LIMIT):
        scene.now = at(seconds=5 * number + 5)
        update = record_drift(scene.escalation, intent, "rival", scene.now)
        assert update is not None
        scene._replace(written(update))
    scene.run()
    assert (rung(scene).tier, rung(scene).reason) == ("high", Reason.CONTENTION)
    assert replicas(scene) == 0
    assert scene.escalation.intents[-1].action is ContainmentAction.SCALE_TO_ZERO
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


ENTERED = (
    Reason.STALLED,
    Reason.ESCALATED_MANUALLY,
    Reason.CONTAINMENT_LATE,
    Reason.CONTAINMENT_INEFFECTIVE,
    Reason.CONTENTION,
)
"""Why a higher tier is entered though nothing has read so."""


@pytest.mark.parametrize("reason", ENTERED)
def test_tier_that_is_entered_without_a_reading_of_it_contains(reason: Reason) -> None:
    scene = rolled_back()
    status = scene.escalation.status
    entered = rung(scene).model_copy(
        update={"number": 2, "tier": "high", "reason": str(reason), "entered_at": at(5), "decide_by": None}
    )
    scene._replace(replace(scene.escalation, status=status.model_copy(update={"rung": entered, "tier": "high"})))
    scene.now = at(6)
    scene.run()
    assert replicas(scene) == 0
    last: Intent = scene.escalation.intents[-1]
    assert (last.action, last.tier, last.reason) == (ContainmentAction.SCALE_TO_ZERO, "high", reason)


def test_tier_that_a_resume_has_left_contains_no_more() -> None:
    """What had entered it is handled by the Resume, whatever it was."""
    scene = rolled_back()
    scene.now = at(5)
    scene.decide("Escalate", "legal", tier="high")
    scene.run()
    assert replicas(scene) == 0
    scene.now = at(10)
    scene.decide("Resume", "legal")
    scene.now = at(60)
    scene.run()
    assert replicas(scene) == 3


# --- What people handled ----------------------------------------------------------------------------------------------


def test_handled_higher_tier_outlasts_a_newer_close() -> None:
    """Two sources: what was handled of the one is no news after the escalation of the other was closed."""
    scene = contained()
    scene.now = at(10)
    scene.decide("Resume", "legal")
    scene.now = at(11)
    scene.decide("Close", "legal", resolution="Remediated")
    scene.now = at(60)
    scene.signals = [*scene.signals, signal("drift", source="drift", at=at(60), drift=0.5)]
    scene.run()
    assert [e.status.tier for e in scene.escalations] == ["high", "moderate"]
    scene.now = at(70)
    scene.decide("Close", "model-risk", resolution="Remediated")
    for later in (71, 100, 60 * 20):
        scene.now = at(later)
        scene.run()
        assert len(scene.escalations) == 2
        assert replicas(scene) == 3
