"""Whole scenarios, and every sentence of every message: is it so, and is what it offers taken?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from riskladder.policy.decide import decide
from tests.unit.builders import Document, Scene, edited, ladder, scaled_by, signal
from tests.unit.test_people import LADDER
from tests.unit.true_messages import assert_offers_work, assert_true, new_messages

steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.1, 6, 31, 61, 24 * 60])),
        st.tuples(st.just("read"), st.sampled_from([0.02, 0.15, 0.3])),
        st.tuples(st.just("decide"), st.sampled_from(["Acknowledge", "Escalate", "Resume", "Contain", "Object"])),
        st.tuples(st.just("deliver"), st.sampled_from(["", "refused"])),
        st.tuples(st.just("revert"), st.just(3)),
        st.tuples(st.just("refuse"), st.sampled_from(["denied by a policy", "exceeded quota"])),
    ),
    max_size=6,
)
"""What happens, one after another."""


def _edit(action: str, when: str) -> Document:
    def change(spec: Document) -> None:
        spec["tiers"][1]["containment"] = {"action": action, "when": when}

    return edited(LADDER, change)


def _take(scene: Scene, what: str, how: object) -> None:
    match what, how:
        case "wait", float() | int() as minutes:
            scene.now += timedelta(minutes=minutes)
        case "read", float() as value:
            read = signal(bias=value, at=scene.now)
            before = scene.signals[0]
            scene.signals = [replace(read, status=before.status, generation=before.generation + 1)]
        case "decide", str() as action:
            for role in ("legal", "model-risk", "executive"):
                more = {"tier": "high"} if action == "Escalate" else {}
                scene.decide(action, role, **more)
        case "deliver", str() as error:
            scene.deliver(error=error, given_up=bool(error))
        case "revert", int() as replicas if scene.target is not None:
            scaled_by(scene, replicas)
        case "refuse", str() as obstacle:
            scene.carry_out(decide(replace(scene.snapshot(), obstacle=obstacle), scene.now, urgent=False))


@settings(max_examples=max(settings().max_examples // 2, 10))
@given(
    action=st.sampled_from(["ScaleToZero", "Rollback"]),
    when=st.sampled_from(["Immediately", "OnDecision", "OnTimeout"]),
    bias=st.sampled_from([0.15, 0.3]),
    blocked=st.booleans(),
    course=steps,
)
def test_every_message_is_true_and_what_it_offers_works(
    action: str, when: str, bias: float, blocked: bool, course: list[tuple[str, object]]
) -> None:
    document = _edit(action, when)
    scene = Scene([signal(bias=bias)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))])
    known: set[tuple[str, str]] = set()
    if blocked and when == "Immediately" and bias == 0.3:
        scene.intend()
        _take(scene, "refuse", "denied by a policy")
    else:
        scene.run()
    for what, how in [("start", None), *course]:
        _take(scene, what, how)
        for escalation, notification in new_messages(scene, known):
            assert_true(scene, escalation, notification)
            assert_offers_work(scene, escalation, notification)
        if what != "refuse":
            scene.run()
        for escalation, notification in new_messages(scene, known):
            assert_true(scene, escalation, notification)
            assert_offers_work(scene, escalation, notification)
