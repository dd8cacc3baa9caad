"""Whole scenarios, and every sentence of every message: is it so, and is what it offers taken?"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from riskladder.policy.decide import decide
from riskladder.policy.plan import Plan
from tests.unit.builders import Document, Scene, edited, ladder, scaled_by, signal
from tests.unit.test_people import LADDER
from tests.unit.true_messages import assert_nobody_is_left, assert_offers_work, assert_once, assert_true, new_messages

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


@dataclass
class Watched(Scene):
    """Every message is checked as soon as it is queued: a moment later other things are so."""

    seen: set[tuple[str, str]] = field(default_factory=set)

    def carry_out(self, plan: Plan) -> None:
        super().carry_out(plan)
        found = new_messages(self, self.seen)
        assert_once(found)
        for escalation, notification in found:
            assert_true(self, escalation, notification)
            assert_offers_work(self.copy(), escalation, notification)
        self.now += timedelta(milliseconds=1)  # no two passes are at one time

    def copy(self) -> Scene:
        """The same scene, that nobody watches."""
        return Scene(**{f.name: copy.deepcopy(getattr(self, f.name)) for f in fields(Scene)})


def _edit(action: str, when: str) -> Document:
    def change(spec: Document) -> None:
        spec["tiers"][1]["containment"] = {"action": action, "when": when}
        if when == "OnTimeout":
            spec["tiers"][1]["onTimeout"] = "Contain"

    return edited(LADDER, change)


def _take(scene: Scene, what: str, how: object) -> None:
    match what, how:
        case "wait", float() | int() as minutes:
            scene.now += timedelta(minutes=minutes)
        case "read", float() as value:
            before = scene.signals[0]
            drill = before.spec is not None and before.spec.drill
            read = signal(bias=value, at=scene.now, drill=drill)
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


@settings(max_examples=max(settings().max_examples // 4, 10))
@given(
    action=st.sampled_from(["ScaleToZero", "Rollback"]),
    when=st.sampled_from(["Immediately", "OnDecision", "OnTimeout"]),
    bias=st.sampled_from([0.15, 0.3]),
    blocked=st.booleans(),
    drill=st.booleans(),
    course=steps,
)
def test_every_message_is_true_and_what_it_offers_works(
    action: str, when: str, bias: float, blocked: bool, drill: bool, course: list[tuple[str, object]]
) -> None:
    document = _edit(action, when)
    made = ladder(lambda spec: (spec.clear(), spec.update(document)))
    scene = Watched([signal(bias=bias, drill=drill)], ladders=[made])
    if blocked and not drill and when == "Immediately" and bias == 0.3:
        scene.intend()
        _take(scene, "refuse", "denied by a policy")
    else:
        scene.run()
    for what, how in [("start", None), *course]:
        _take(scene, what, how)
        if what != "refuse":
            scene.run()
        for escalation in scene.escalations:
            assert_nobody_is_left(escalation)
