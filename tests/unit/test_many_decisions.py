"""However much is decided, the next decision is heard, and the stop button most of all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import CountedDecision
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.resources import DECISIONS
from riskladder.controller.caches.store import Store
from riskladder.controller.metrics import Metrics
from riskladder.controller.observations import Observations
from riskladder.policy.decisions.keep import AT_ONCE, MAX_DECISIONS, RECENT, RESERVED, first_of, in_turn

from .builders import Scene, at, contained, ladder, signal
from .live import live


def flood(scene: Scene, action: str, role: str, *, times: int = 300, by: str = "", **more: object) -> None:
    """One person decides the same over and over, before anybody looks."""
    run, scene.run = scene.run, lambda **_: []  # type: ignore[method-assign]
    for number in range(times):
        scene.now = at(1 + number / 60)
        scene.decide(action, role, by=by, **more)
    scene.run = run  # type: ignore[method-assign]
    scene.run(passes=20)


@pytest.mark.parametrize("action", ["Acknowledge", "Comment"])
def test_one_person_who_says_it_over_and_over_blocks_nobody(action: str) -> None:
    scene = contained()
    flood(scene, action, "model-risk", by="bot")
    assert len(scene.escalation.status.decisions) <= RECENT + AT_ONCE
    scene.now = at(30)
    assert scene.verdict(scene.decide("Object", "legal")) == ("True", Reason.OBJECTED)
    assert scene.verdict(scene.decide("Object", "legal", withdraw=True)) == ("True", Reason.OBJECTION_WITHDRAWN)
    assert scene.verdict(scene.decide("Resume", "legal")) == ("True", Reason.QUORUM_MET)
    assert scene.verdict(scene.decide("Close", "legal", resolution="Remediated")) == ("True", Reason.QUORUM_MET)
    assert len(scene.escalation.status.decisions) <= RECENT + 8


def test_acknowledgement_of_one_person_counts_once_and_is_recorded_once() -> None:
    scene = contained()
    flood(scene, "Acknowledge", "model-risk", by="bot")
    assert Counter(scene.verdict(d) for d in scene.decisions) == {
        ("True", Reason.ACKNOWLEDGED): 1,
        ("False", Reason.ALREADY_COUNTED): 299,
    }
    assert sum(d.counted for d in scene.escalation.status.decisions) == 1
    assert scene.events().count("Acknowledged") == 1
    assert "DecisionRefused" not in scene.events()


def test_every_comment_is_recorded_though_the_status_keeps_a_few() -> None:
    scene = contained()
    flood(scene, "Comment", "model-risk", by="ann", times=100)
    assert scene.events().count("Commented") == 100


def test_role_that_has_answered_has_answered_however_much_follows() -> None:
    scene = contained()
    scene.decide("Acknowledge", "model-risk", by="ann")
    flood(scene, "Comment", "model-risk", by="ann", times=100)
    assert scene.reason(ConditionType.ACKNOWLEDGED) == ("True", Reason.ACKNOWLEDGED)


def test_stop_button_works_with_every_place_taken() -> None:
    """Each of many people of one role objects once: all places that others may have are taken."""
    scene = Scene([signal(drift=0.5)], ladders=[ladder()])
    scene.run()
    decided = scene.decide("Acknowledge", "model-risk", by="ann")
    kept = next(d for d in scene.escalation.status.decisions if d.name == decided.name)
    full = tuple(
        kept.model_copy(update={"name": f"v{n}", "uid": f"v{n}", "action": DecisionAction.CLOSE, "by": f"p{n}"})
        for n in range(MAX_DECISIONS - RESERVED)
    )
    status = scene.escalation.status.model_copy(update={"decisions": full})
    scene._replace(replace(scene.escalation, status=status))
    scene.now = at(5)
    assert scene.verdict(scene.decide("Object", "model-risk")) == ("False", Reason.TOO_MANY_DECISIONS)
    assert scene.verdict(scene.decide("Contain", "legal")) == ("True", Reason.CONTAINED_MANUALLY)
    assert scene.target is not None
    assert scene.target.replicas == 0


def test_contain_is_carried_out_after_it_was_dropped_from_the_list() -> None:
    scene = Scene([signal(drift=0.5)], ladders=[ladder()])
    scene.run()
    scene.decide("Contain", "legal", by="ben")
    assert scene.target is not None
    assert scene.target.replicas == 0
    flood(scene, "Comment", "model-risk", by="ann", times=60)
    assert scene.target.replicas == 0
    scene.decide("Resume", "model-risk", by="ann")
    assert scene.target.replicas == 3, "the Contain that was carried out contains nothing again"


def test_quorum_of_more_people_than_the_status_names_resumes() -> None:
    def crowd(spec: dict[str, Any]) -> None:
        spec["stakeholders"][1]["seats"] = 100
        quorum = [{"role": "legal", "count": 16}, {"role": "model-risk", "count": 16}, {"role": "ds", "count": 8}]
        spec["stakeholders"] = [{"role": m["role"], "seats": 100} for m in quorum]
        spec["tiers"][1]["decide"]["quorum"] = quorum

    scene = Scene([signal(bias=0.3)], ladders=[ladder(crowd)])
    scene.run()
    scene.now = at(5)
    people = [("legal", 16), ("model-risk", 16), ("ds", 8)]
    for role, count in people:
        for number in range(count):
            decided = scene.decide("Resume", role, by=f"{role}-{number}")
    assert scene.verdict(decided) == ("True", Reason.QUORUM_MET)
    assert scene.escalation.status.resume is not None
    assert len(scene.escalation.status.resume.by) == 32
    assert scene.target is not None
    assert scene.target.replicas == 3


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Acknowledge", "Comment", "Contain", "Object", "Withdraw", "Resume"]),
        st.sampled_from(["legal", "model-risk"]),
        st.sampled_from(["ann", "ben", "cem"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_dropped_has_no_effect(steps: list[tuple[str, str, str]]) -> None:
    """With room for everything and with room for nothing but what has an effect, the same comes of it."""
    from riskladder.policy.decisions import keep

    def play(recent: int) -> tuple[list[tuple[str, str]], list[str], int | None, tuple[str, ...]]:
        before, keep.RECENT = keep.RECENT, recent
        try:
            scene = contained()
            for number, (action, role, person) in enumerate(steps, start=1):
                scene.now = at(number)
                if action == "Withdraw":
                    scene.decide("Object", role, by=person, withdraw=True)
                else:
                    scene.decide(action, role, by=person)
            verdicts = [scene.verdict(d) for d in scene.decisions]
            replicas = scene.target.replicas if scene.target else None
            return verdicts, scene.trail(), replicas, scene.escalation.status.waiting_on
        finally:
            keep.RECENT = before

    assert play(0) == play(10_000)


@pytest.mark.parametrize("action", ["Acknowledge", "Comment"])
def test_stop_button_waits_for_nobody_who_only_talks(action: str) -> None:
    """However much of it there is, and though it was said before: it is judged in the first pass."""
    scene = Scene([signal(drift=0.5)])
    scene.run()
    run, scene.run = scene.run, lambda **_: []  # type: ignore[method-assign]
    for number in range(3 * AT_ONCE):
        scene.now = at(1 + number / 60)
        scene.decide(action, "model-risk", by=f"bot-{number}")
    scene.now = at(20)
    stop = scene.decide("Contain", "legal")
    scene.run = run  # type: ignore[method-assign]
    scene.carry_out(scene.plan())
    assert scene.verdict(stop)[0] == "True"


def test_votes_and_the_stop_button_keep_the_order_in_which_they_were_made() -> None:
    scene = contained()
    run, scene.run = scene.run, lambda **_: []  # type: ignore[method-assign]
    for minute, action in enumerate(("Comment", "Resume", "Contain", "Object", "Acknowledge"), start=1):
        scene.now = at(minute)
        scene.decide(action, "legal")
    scene.run = run  # type: ignore[method-assign]
    assert [str(d.spec.action) for d in in_turn(scene.decisions)] == [
        *("Resume", "Contain", "Object"),
        *("Comment", "Acknowledge"),
    ]


async def test_authorizer_is_asked_about_as_many_decisions_as_are_judged() -> None:
    """Else a thousand that wait would be asked about in every pass, and nothing else of the target would be done."""
    many = 4 * AT_ONCE
    async with live() as plane:
        plane.report(drift=0.5)
        await plane.until(lambda: plane.says()[0])
        plane.operator.scheduler.pause()
        for number in range(many):
            plane.decide(f"d{number:03}", "Comment", "model-risk")
        plane.operator.scheduler.activate()
        await plane.until(lambda: all(d.get("status") for d in plane.server.all(DECISIONS)))
        assert plane.api.calls["POST localsubjectaccessreviews"] <= 3 * many


@given(st.lists(st.sampled_from(["Contain", "Object", "Resume", "Comment"]), max_size=300))
def test_stop_button_is_asked_about_whatever_waits_before_it(actions: list[str]) -> None:
    scene = contained()
    scene.run = lambda **_: []  # type: ignore[method-assign]
    for number, action in enumerate(actions):
        scene.now = at(1 + number / 60)
        scene.decide(action, "legal")
    pending = in_turn(scene.decisions)
    found = first_of(pending)
    names = [d.name for d in found]
    assert names == [d.name for d in pending if d.name in set(names)], "in turn"
    kinds = Counter(d.spec.action for d in found)
    assert kinds[DecisionAction.CONTAIN] == min(actions.count("Contain"), AT_ONCE)
    assert len(found) - kinds[DecisionAction.CONTAIN] == min(len(actions) - actions.count("Contain"), AT_ONCE)


def test_stop_that_cannot_be_written_is_put_first_once_and_then_waits_with_the_rest() -> None:
    scene = contained()
    escalation = scene.escalation
    seen = Observations(Store(lambda *_, **__: None), Metrics(), now=lambda: scene.now, refusing=lambda namespace: None)
    snapshot = scene.snapshot()

    def press(*uids: str) -> bool:
        stops = [stop(uid, scene.now) for uid in uids]
        seen.press(escalation, stops)
        return seen.is_just_pressed(snapshot)

    assert [press("a"), press("a"), press("a", "b"), press("a", "b")] == [True, False, True, False]
    seen.stand_by()
    assert seen.join(snapshot).open[0].pressed == ()


def stop(uid: str, now: datetime) -> CountedDecision:
    """A Contain that counts and is in no status yet."""
    about = {"name": uid, "uid": uid, "action": "Contain", "role": "legal", "by": "ann", "at": now}
    return CountedDecision.model_validate({**about, "counted": True, "reason": "ContainedManually"})
