"""An operator whose clock is wrong: what time alone would cause waits; breaches and people still act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.conditions import find
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.ladders import update_ladder

from .builders import NOW, Scene, at, ladder, signal, workload

WRONG = timedelta(minutes=10)


def patient(spec: dict[str, Any]) -> None:
    """A ladder in which time causes everything that it can."""
    spec["indicators"][0] |= {"staleAfter": "24h", "whenStale": "moderate"}
    spec["channels"] = [{"name": "pager", "type": "PagerDuty", "secretKey": "k"}]
    spec["stakeholders"] = [
        {"role": "model-risk", "notify": ["pager"], "alternates": ["legal"]},
        {"role": "legal"},
    ]
    moderate, high = spec["tiers"]
    moderate |= {
        "notify": [{"role": "model-risk"}, {"role": "legal", "after": "10m"}],
        "acknowledge": {"within": "30m", "remindEvery": "10m"},
        "onTimeout": "Escalate",
        "acceptRisk": {"atMost": "7d"},
        "clocks": [{"name": "report", "within": "2d", "role": "legal"}],
    }
    high |= {
        "notify": [{"role": "model-risk"}],
        "onTimeout": "Hold",
        "resume": {"quorum": [{"role": "legal"}], "watchFor": "30m", "steps": ["50%", "100%"]},
    }


def opened(**readings: float) -> Scene:
    scene = Scene([signal(**readings)], ladders=[ladder(patient)])
    scene.run()
    scene.deliver()
    return scene


def moderate() -> Scene:
    return opened(drift=0.5)


def contained() -> Scene:
    return opened(bias=0.3)


def silent() -> Scene:
    return opened(bias=0.0)


def accepted() -> Scene:
    scene = moderate()
    scene.decide("AcceptRisk", "model-risk", until=at(60 * 24).isoformat())
    return scene


def accepted_and_closed() -> Scene:
    scene = accepted()
    scene.decide("Comment", "legal", clock="report")
    scene.decide("Close", "model-risk", resolution="RiskAccepted")
    assert not scene.escalation.is_open
    return scene


def resumed() -> Scene:
    scene = contained()
    scene.now = at(5)
    scene.decide("Resume", "legal")
    scene.signals = [replace(s, spec=signal(at=at(6), bias=0.0).spec) for s in scene.signals]
    scene.now = at(7)
    scene.run()
    assert scene.escalation.status.resume is not None
    assert scene.escalation.status.resume.done == 1
    return scene


def cleared() -> Scene:
    def closes(spec: dict[str, Any]) -> None:
        spec["tiers"][0] |= {"closesWhen": {"for": "1h"}}

    scene = Scene([signal(drift=0.5)], ladders=[ladder(closes)])
    scene.run()
    scene.signals = [replace(s, spec=signal(at=at(6), drift=0.0).spec) for s in scene.signals]
    scene.now = at(7)
    scene.run()
    return scene


def unproved() -> Scene:
    scene = Scene([signal(bias=0.3)], ladders=[ladder(patient)])
    scene.intend()
    scene.stamps.clear()
    scene.target = workload(replicas=0, pods=1)
    scene.run()
    return scene


def drilled() -> Scene:
    scene = Scene([signal(drift=0.5, drill=True)], ladders=[ladder(patient)])
    scene.run()
    scene.deliver()
    assert scene.escalation.spec.drill
    return scene


SCENES: dict[str, Callable[[], Scene]] = {
    f.__name__: f
    for f in (
        moderate,
        contained,
        silent,
        accepted,
        accepted_and_closed,
        resumed,
        cleared,
        unproved,
        drilled,
    )
}


@given(st.sampled_from(sorted(SCENES)), st.integers(0, 60 * 24 * 20))
def test_time_alone_does_nothing(name: str, minutes: int) -> None:
    scene = SCENES[name]()
    scene.clock_error = WRONG
    scene.run()
    scene.now = at(minutes + 10)
    assert scene.run() == []


@pytest.mark.parametrize("name", sorted(SCENES))
def test_time_has_its_effect_once_the_clock_is_right_again(name: str) -> None:
    frozen, right = SCENES[name](), SCENES[name]()
    frozen.clock_error = WRONG
    frozen.now = right.now = at(60 * 24 * 3)
    frozen.run()
    frozen.clock_error = timedelta()
    assert [plan.has_trail or plan.urgent for plan in frozen.run()]
    right.run()
    assert frozen.events() == right.events()
    assert [e.status for e in frozen.escalations] == [e.status for e in right.escalations]


def test_breach_contains_whatever_the_clock_says() -> None:
    scene = silent()
    scene.clock_error = WRONG
    scene.now = at(60)
    scene.signals = [replace(s, spec=signal(at=at(59), bias=0.3).spec) for s in scene.signals]
    scene.run()
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


def test_breach_after_the_end_of_an_acceptance_acts_whatever_the_clock_says() -> None:
    scene = accepted_and_closed()
    scene.clock_error = WRONG
    scene.now = at(60 * 24 * 2)
    scene.run()
    assert len(scene.escalations) == 1
    scene.signals = [replace(s, spec=signal(at=scene.now, drift=0.5).spec) for s in scene.signals]
    scene.run()
    assert len(scene.escalations) == 2


def test_people_decide_whatever_the_clock_says() -> None:
    scene = contained()
    scene.clock_error = WRONG
    scene.now = at(90)
    decided = scene.decide("Resume", "legal")
    assert scene.verdict(decided) == ("True", Reason.QUORUM_MET)
    assert scene.escalation.status.resume is not None
    assert scene.escalation.status.resume.done == 1


def test_silence_that_stood_before_stands_on() -> None:
    scene = silent()
    scene.now = at(60 * 25)
    scene.run()
    assert len(scene.escalations) == 1
    scene.clock_error = -WRONG
    scene.now, said = at(60), scene.events()
    scene.run()
    assert scene.events() == said
    assert scene.escalation.is_open
    assert scene.signals[0].status.tier == "moderate"


@pytest.mark.parametrize(("seconds", "words"), [(95, "100 s ahead of"), (-95, "100 s behind")])
def test_every_ladder_says_that_the_clock_is_wrong_and_that_it_is_right_again(seconds: int, words: str) -> None:
    before = EscalationLadderStatus()
    about = {"created": NOW, "open_escalations": 0, "missing": ()}
    wrong, _ = update_ladder(ladder(), before, **about, clock_error=timedelta(seconds=seconds), now=NOW)  # type: ignore[arg-type]
    found = find(wrong.status.conditions, ConditionType.CLOCK_AGREES)
    assert found is not None
    assert (str(found.status), found.reason) == ("False", Reason.CLOCK_WRONG)
    assert words in found.message
    assert [str(entry.event) for entry in wrong.entries] == [Reason.CLOCK_WRONG]
    again, _ = update_ladder(ladder(), wrong.status, **about, clock_error=timedelta(seconds=seconds + 8), now=NOW)  # type: ignore[arg-type]
    assert again.entries == ()
    right, _ = update_ladder(ladder(), wrong.status, **about, now=NOW)  # type: ignore[arg-type]
    found = find(right.status.conditions, ConditionType.CLOCK_AGREES)
    assert found is not None
    assert (str(found.status), found.reason) == ("True", Reason.CLOCK_RIGHT)


def test_review_does_not_grow_overdue_by_a_wrong_clock() -> None:
    def reviewed(spec: dict[str, Any]) -> None:
        spec["charter"]["review"] = {"every": "90d"}

    about = {"created": NOW, "open_escalations": 0, "missing": ()}
    before, _ = update_ladder(ladder(reviewed), EscalationLadderStatus(), **about, now=NOW)  # type: ignore[arg-type]
    after, _ = update_ladder(
        ladder(reviewed),
        before.status,
        **about,  # type: ignore[arg-type]
        clock_error=WRONG,
        now=NOW + timedelta(days=100),
    )
    found = find(after.status.conditions, ConditionType.REVIEW_CURRENT)
    assert found is not None
    assert str(found.status) == "True"
