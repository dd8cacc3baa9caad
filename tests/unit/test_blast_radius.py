"""The blast radius: so many targets are contained without asking, one more waits, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.escalation import EscalationStatus
from riskladder.api.ladder import BlastRadius
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.resources import DEPLOYMENTS, ESCALATIONS, LADDERS
from riskladder.controller.caches.entries import LadderKey
from riskladder.controller.caches.radius import RadiusCache, Window
from riskladder.controller.caches.store import Store
from riskladder.controller.reservations import reserve
from riskladder.policy.containment.radius import automatic_at, is_automatic
from riskladder.policy.decisions.options import offers
from riskladder.policy.plan import Plan
from riskladder.policy.snapshot import Escalation, RadiusBudget, Snapshot, TargetKey
from riskladder.workloads.holding import held_by
from tests.unit.builders import (
    KEY,
    LADDER,
    NAMESPACE,
    NOW,
    Document,
    Scene,
    at,
    contain_by,
    contained,
    deployment_object,
    edited,
    ladder,
    signal,
    workload,
)
from tests.unit.fakes import CREATED, Cache
from tests.unit.test_traffic import network_path_of, service

FULL = {"limit": 2, "used": 2}
OTHER = TargetKey(NAMESPACE, "Deployment", "other")


def bounded(spec: Document, **radius: Any) -> None:
    spec["blastRadius"] = {"atMost": 2, **radius}


@dataclass
class Bounded(Scene):
    """A scene under a ladder with a blast radius, of which others have used so much."""

    budget: dict[str, Any] = field(default_factory=lambda: dict(FULL))
    radius: BlastRadius = field(default_factory=lambda: BlastRadius(at_most=2))

    def snapshot(self) -> Snapshot:
        radius_budgets = {"credit": RadiusBudget(self.radius, **self.budget)} if self.budget else {}
        return replace(super().snapshot(), radius_budgets=radius_budgets)

    def reads(self, value: float, minutes: float) -> None:
        """The monitor reports, and the operator looks."""
        self.now = at(minutes)
        before = {s.name: s for s in self.signals}
        fresh = signal(bias=value, at=self.now)
        old = before.get(fresh.name)
        status = old.status if old is not None else fresh.status
        self.signals = [*(s for s in self.signals if s.name != fresh.name), replace(fresh, status=status)]
        self.run()


def breached(**budget: Any) -> Bounded:
    scene = Bounded([signal(bias=0.3)], budget=FULL | budget)
    scene.run()
    return scene


# --- One target -------------------------------------------------------------------------------------------------------


def test_while_there_is_room_it_is_contained_at_once() -> None:
    scene = breached(used=1)
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    assert scene.escalation.status.withheld is None


def test_one_too_many_waits_and_says_so_and_until_when() -> None:
    scene = breached()
    assert scene.target is not None
    assert scene.target.replicas == 3
    assert scene.reason(ConditionType.CONTAINED) == ("False", Reason.BLAST_RADIUS_EXCEEDED)
    assert (
        "its ladder contains at most 2 models within 1h without asking: it will be contained when"
        in scene.condition(ConditionType.CONTAINED).message
    )
    waiting = scene.escalation.status.waiting
    assert waiting is not None
    assert (waiting.tier, waiting.since, waiting.until) == ("high", NOW, at(15))
    assert scene.escalation.status.next_deadline == at(15)
    assert scene.events() == ["EscalationOpened", "BlastRadiusExceeded"]
    assert scene.plan().wake_at is not None
    assert scene.plan().wake_at <= at(15)  # type: ignore[operator]


def test_people_are_offered_to_contain_it_and_not_to_resume_it() -> None:
    scene = Bounded([signal(bias=0.3)], ladders=[ladder(lambda s: s["tiers"][1].update(notify=[{"role": "legal"}]))])
    scene.run()
    [message] = [n for n in scene.escalation.status.notifications if n.role == "legal"]
    assert "Contained: no, its ladder contains at most 2 models" in message.message
    found = [offer.command for offer in offers(scene.escalation, message, is_over=False, is_acknowledged=False)]
    assert any(" contain " in command for command in found)
    assert not any(" resume " in command for command in found)


def test_decision_to_contain_does_it_at_once() -> None:
    scene = breached()
    scene.now = at(5)
    scene.decide("Contain", "legal")
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    [intent] = scene.escalation.intents
    assert (intent.reason, intent.decision) == (Reason.CONTAINED_MANUALLY, "d1")
    assert scene.escalation.status.waiting is None
    assert scene.events().index("WithheldNoMore") > scene.events().index("ContainmentApplied")
    assert "InterimContainment" not in scene.events(), "somebody has decided"
    assert automatic_at(scene.escalation) is None, "a decision counts for nothing"


@pytest.mark.parametrize(("minutes", "contained"), [(14.9, False), (15, True)])
def test_deadline_does_it_whether_somebody_has_decided_or_not(minutes: float, contained: bool) -> None:
    scene = breached()
    scene.now = at(minutes)
    scene.run()
    assert bool(scene.escalation.intents) is contained
    if contained:
        assert scene.escalation.intents[-1].reason == Reason.INTERIM_CONTAINMENT
        assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)
    done = ["ContainmentApplied", "ScaledToZero", "InterimContainment", "WithheldNoMore"] if contained else []
    assert scene.events() == ["EscalationOpened", "BlastRadiusExceeded", *done], "an effect comes after its cause"


def test_no_deadline_passes_by_a_clock_that_is_wrong() -> None:
    scene = breached()
    scene.now, scene.clock_error = at(60), timedelta(minutes=50)
    scene.run()
    assert not scene.escalation.intents
    scene.clock_error = timedelta()
    scene.run()
    assert scene.escalation.intents


def test_breach_that_ends_waits_no_longer_and_one_that_reappears_is_judged_again() -> None:
    scene = breached()
    scene.reads(0.05, 5)
    assert scene.escalation.status.waiting is None
    assert scene.events()[-1] == "WithheldNoMore"
    scene.now = at(30)
    scene.run()
    assert not scene.escalation.intents
    scene.reads(0.3, 40)
    assert scene.escalation.status.waiting is not None
    assert scene.escalation.status.waiting.until == at(55)
    scene.reads(0.05, 41)
    scene.budget["used"] = 1
    scene.reads(0.3, 42)
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


def test_what_waits_goes_on_waiting_when_there_is_room_again() -> None:
    scene = breached()
    scene.budget["used"] = 0
    scene.now = at(1)
    scene.run()
    assert not scene.escalation.intents


def test_ladder_that_drops_its_blast_radius_contains_what_waits() -> None:
    scene = breached()
    scene.budget = {}
    scene.now = at(1)
    scene.run()
    assert scene.reason(ConditionType.CONTAINED) == ("True", Reason.SCALED_TO_ZERO)


@pytest.mark.parametrize(
    "raised",
    [
        {"manual": "high"},
        {"manual": "high", "button": "ScaleToZero"},
    ],
)
def test_what_a_person_raises_is_never_held_up(raised: dict[str, str]) -> None:
    item = signal(manual=raised["manual"])
    if "button" in raised:
        assert item.spec is not None
        assert item.spec.manual is not None
        button = item.spec.manual.model_copy(update={"containment": raised["button"]})
        item = replace(item, spec=type(item.spec).model_validate(item.spec.to_api() | {"manual": button.to_api()}))
    scene = Bounded([item])
    scene.run()
    assert scene.escalation.intents
    assert automatic_at(scene.escalation) is None


def test_stop_button_contains_what_waits() -> None:
    scene = breached()
    item = signal("button", manual="high", at=at(1))
    scene.now = at(1)
    scene.signals = [*scene.signals, item]
    scene.run()
    assert scene.escalation.intents


def test_what_is_contained_already_may_become_safer() -> None:
    def both(spec: Document) -> None:
        contain_by("ScaleToZero")(spec)
        spec["tiers"][0]["containment"] = {"action": "Rollback"}

    scene = Bounded([signal(drift=0.3)], ladders=[ladder(both)], budget=FULL | {"used": 0})
    scene.run()
    assert [i.action for i in scene.escalation.intents] == ["Rollback"]
    scene.budget["used"] = 9
    scene.reads(0.3, 5)
    assert scene.escalation.intents[-1].action == "ScaleToZero"
    assert automatic_at(scene.escalation) == at(5)


def test_what_needs_no_write_is_not_held_up() -> None:
    scene = Bounded([signal(bias=0.3)], target=workload(replicas=0))
    scene.run()
    assert scene.escalation.intents[0].reason == Reason.ALREADY_AT_ZERO
    assert automatic_at(scene.escalation) is None


def test_without_a_blast_radius_nothing_changes() -> None:
    scene, plain = Bounded([signal(bias=0.3)], budget={}), contained()
    scene.run()
    assert scene.escalation.status == plain.escalation.status
    assert scene.entries == plain.entries


def test_close_ends_the_waiting() -> None:
    scene = breached()
    scene.decide("Close", "legal", resolution="FalsePositive")
    assert not scene.escalation.is_open
    assert scene.escalation.status.waiting is None


# --- Fallback in its place --------------------------------------------------------------------------------------------


def diverting(*, component: bool = True) -> Bounded:
    fallback = {"service": "scorer", "selector": {"app": "rules"}}
    edit = contain_by("ScaleToZero", fallback=fallback)
    target = (
        workload(network_path=network_path_of(service(), serving={"scorer": frozenset({"rules-0"})}))
        if component
        else None
    )
    radius = BlastRadius.model_validate({"atMost": 2, "whenExceeded": "Fallback"})
    scene = Bounded([signal(bias=0.3)], ladders=[ladder(edit)], radius=radius)
    scene.target = target or workload()
    return scene


def test_traffic_goes_to_the_fallback_in_place_of_one_too_many() -> None:
    scene = diverting()
    plan = scene.plan()
    assert plan.stop is not None
    assert (plan.stop.action, plan.stop.intent.reason) == ("Fallback", Reason.BLAST_RADIUS_EXCEEDED)
    assert "ScaleToZero is one too many" in plan.stop.intent.message
    assert plan.stop.hold is not None
    assert not is_automatic(plan.stop.intent, plan.stop.hold.signal)


def test_where_there_is_no_fallback_it_is_asked_for() -> None:
    scene = diverting(component=False)
    scene.run()
    assert scene.reason(ConditionType.CONTAINED) == ("False", Reason.BLAST_RADIUS_EXCEEDED)


# --- Counting ---------------------------------------------------------------------------------------------------------

PUTS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["one", "two", "reserved"]), st.none() | st.integers(0, 50)),
    max_size=60,
)


@given(PUTS, st.integers(0, 50), st.integers(0, 5))
def test_window_counts_as_a_plain_look_at_everything_would(
    puts: Sequence[tuple[int, str, int | None]], since: int, asked: int
) -> None:
    window, known = Window(), {}
    for target, says, minute in puts:
        when = at(minute) if minute is not None else None
        window.put(key_of(target), says, when)
        known[target, says] = when
    latest: dict[int, datetime] = {}
    for (target, _), when in known.items():
        if when is not None:
            latest[target] = max(when, latest.get(target, when))
    expected = {target for target, when in latest.items() if when > at(since)}
    assert window.count(at(since), key_of(asked)) == len(expected - {asked})


def key_of(number: int) -> TargetKey:
    return TargetKey(NAMESPACE, "Deployment", f"scorer-{number}")


@pytest.mark.parametrize(
    ("at_most", "governed", "limit"),
    [(5, 100, 5), (5, 0, 5), ("30%", 20, 6), ("30%", 9, 2), ("1%", 20, 1), ("30%", 0, 1), ("100%", 7, 7)],
)
def test_share_is_of_what_is_governed_and_one_at_least(at_most: int | str, governed: int, limit: int) -> None:
    assert BlastRadius.model_validate({"atMost": at_most}).limit(governed) == limit


def fleet_of(cache: Cache, number: int, **labels: str) -> None:
    for n in range(number):
        obj = deployment_object()
        about = {"name": f"scorer-{n}", "uid": f"target-{n}", "creationTimestamp": CREATED}
        obj["metadata"] |= about | {"labels": labels or obj["metadata"]["labels"]}
        cache.put(DEPLOYMENTS, obj, n + 1)


def with_ladder(cache: Cache, version: int = 1, **radius: Any) -> None:
    spec = edited(LADDER, (lambda s: s.update(blastRadius=radius)) if radius else None)
    obj = {"metadata": {"namespace": NAMESPACE, "name": "credit", "uid": "credit-uid", "creationTimestamp": CREATED}}
    obj["metadata"]["generation"] = version
    cache.put(LADDERS, obj | {"spec": spec}, version)


@pytest.mark.parametrize("ladder_first", [True, False])
def test_caches_count_what_a_ladder_governs_whatever_comes_first(ladder_first: bool) -> None:
    cache = Cache()
    if ladder_first:
        with_ladder(cache, atMost="30%")
    fleet_of(cache, 10)
    if not ladder_first:
        with_ladder(cache, atMost="30%")
    budget = cache.store.radius.budget((NAMESPACE, "credit"), KEY, NOW)
    assert budget is not None
    assert (budget.limit, budget.used) == (3, 0)
    gone = {"namespace": NAMESPACE, "name": "scorer-0", "uid": "target-0"}
    cache.store.drop(DEPLOYMENTS, {"metadata": gone})
    other = deployment_object()
    other["metadata"] |= {"name": "scorer-1", "uid": "target-1", "labels": {}, "creationTimestamp": CREATED}
    cache.put(DEPLOYMENTS, other, 99)
    budget = cache.store.radius.budget((NAMESPACE, "credit"), KEY, NOW)
    assert budget is not None
    assert budget.limit == 2
    with_ladder(cache, 2)
    assert cache.store.radius.budget((NAMESPACE, "credit"), KEY, NOW) is None
    assert not cache.store.radius


def escalation_object(found: Escalation, version: int) -> Document:
    metadata = {
        "namespace": NAMESPACE,
        "name": found.name,
        "uid": found.uid,
        "generation": 1,
        "labels": dict(found.labels),
        "resourceVersion": str(version),
        "creationTimestamp": CREATED,
    }
    return {"metadata": metadata, "spec": found.spec.to_api(), "status": found.status.to_api()}


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize("ladder_first", [True, False])
def test_caches_count_escalations_open_and_closed_and_forget_deleted_ones(is_closed: bool, ladder_first: bool) -> None:
    cache, scene = Cache(), contained()
    if is_closed:
        scene.decide("Resume", "legal")
        scene.decide("Close", "legal", resolution="Remediated")
        assert not scene.escalation.is_open
    if ladder_first:
        with_ladder(cache, atMost=2)
    obj = escalation_object(scene.escalation, 5)
    cache.store.put(ESCALATIONS, obj)
    if not ladder_first:
        with_ladder(cache, atMost=2)

    def count(minutes: float, key: TargetKey = OTHER) -> int:
        budget = cache.store.radius.budget((NAMESPACE, "credit"), key, at(minutes))
        assert budget is not None
        return budget.used

    assert (count(59), count(59, KEY)) == (1, 0)
    assert (count(60), count(60, KEY)) == (0, 0)
    cache.store.drop(ESCALATIONS, obj)
    assert count(59) == 0


def test_ladder_is_looked_at_when_a_containment_begins_or_ends_to_wait() -> None:
    cache, scene = Cache(), breached()
    status = scene.escalation.status
    quiet = replace(scene.escalation, status=status.model_copy(update={"withheld": None}))
    cache.store.put(ESCALATIONS, escalation_object(quiet, 1))
    cache.took()
    cache.store.put(ESCALATIONS, escalation_object(scene.escalation, 2))
    assert (LadderKey(NAMESPACE, "credit"), False) in cache.took()
    cache.store.put(ESCALATIONS, escalation_object(quiet, 3))
    assert (LadderKey(NAMESPACE, "credit"), False) in cache.took()


# --- A fleet ----------------------------------------------------------------------------------------------------------

LIMIT, PER, WITHIN = 2, timedelta(minutes=60), timedelta(minutes=15)
MODELS = 6


class Model(Bounded):
    """One of a fleet: its budget is what the others have left."""

    def __init__(self, number: int, fleet: Fleet) -> None:
        super().__init__([], ladders=[fleet.ladder])
        self.target = workload(name=f"scorer-{number}", uid=f"target-{number}")
        self.key = key_of(number)
        self.number = number
        self.fleet = fleet
        self.planned: Plan | None = None

    def snapshot(self) -> Snapshot:
        budget = self.fleet.radius.budget((NAMESPACE, "credit"), self.key, self.now)
        assert budget is not None
        return replace(Scene.snapshot(self), key=self.key, radius_budgets={"credit": budget})

    def plan(self) -> Plan:
        """Decide, and count what was decided in the same instant."""
        snapshot = self.snapshot()
        plan = super().plan()
        reserve(cast(Store, SimpleNamespace(radius=self.fleet.radius)), snapshot, plan)
        return plan

    def carry_out(self, plan: Plan) -> None:
        super().carry_out(plan)
        for escalation in self.escalations:
            self.fleet.radius.put_escalation(escalation)


class Fleet:
    """Models under one ladder, and monitors, people and time."""

    def __init__(self) -> None:
        self.now = NOW
        self.radius = RadiusCache()
        self.ladder = ladder(lambda s: bounded(s, per="60m", decideWithin="15m"))
        self.radius.put_ladder((NAMESPACE, "credit"), self.ladder)
        self.models = [Model(number, self) for number in range(MODELS)]

    def used(self) -> list[int]:
        """Return what each model sees of the others."""
        radius_budgets = [self.radius.budget((NAMESPACE, "credit"), model.key, self.now) for model in self.models]
        return [budget.used for budget in radius_budgets if budget is not None]

    def restart(self) -> None:
        """Another operator counts again from what is stored; what was decided and not written is forgotten."""
        before, is_idle = self.used(), all(m.planned is None or m.planned.stop is None for m in self.models)
        self.radius = RadiusCache()
        self.radius.put_ladder((NAMESPACE, "credit"), self.ladder)
        for model in self.models:
            model.planned = None
            for escalation in model.escalations:
                self.radius.put_escalation(escalation)
            assert model.target is not None
            hold = held_by(model.target.carried, model.target.uid) if not model.target.carried.is_empty else None
            self.radius.put_workload(model.key, model.target, [hold] if hold is not None else [])
        assert not is_idle or self.used() == before, "a restart counts the same"

    def read(self, number: int, value: float) -> None:
        """A monitor reports, and the operator decides again on what it has not written."""
        model = self.models[number]
        fresh = signal(bias=value, at=self.now)
        old = model.signals[0] if model.signals else None
        model.signals = [replace(fresh, status=old.status if old is not None else fresh.status)]
        if model.planned is not None:
            self.decide(number)

    def decide(self, number: int) -> None:
        """The operator decides, and its write is under way."""
        model = self.models[number]
        model.now = self.now
        model.planned = model.plan()

    def write(self, number: int) -> None:
        """Write what was decided, and then all that follows."""
        model = self.models[number]
        model.now = self.now
        if model.planned is not None and model.planned.stop is not None:
            model.carry_out(model.planned)
        model.planned = None
        model.run()

    def contain(self, number: int) -> None:
        """Somebody decides."""
        self.write(number)
        model = self.models[number]
        if model.escalations and model.escalation.is_open:
            model.decide("Contain", "legal")

    def resume(self, number: int) -> None:
        """Somebody resumes the model."""
        self.write(number)
        model = self.models[number]
        if model.escalations and model.escalation.is_open:
            model.decide("Resume", "legal")

    def burst(self, numbers: list[int]) -> None:
        """A broken monitor reports of several at once, and all are decided before anything is written."""
        for number in numbers:
            self.read(number, 0.3)
            self.decide(number)

    def pass_time(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    def everything(self) -> None:
        """Write whatever was decided, and all that follows."""
        for number in range(MODELS):
            self.write(number)

    def check(self) -> None:
        """Never more than the cap without asking, in any window."""
        times: dict[datetime, set[int]] = {}
        for model in self.models:
            for escalation in model.escalations:
                for intent in (escalation.spec.intent, *(c.intent for c in escalation.status.containments)):
                    if intent is not None and intent.reason == Reason.CONTAINMENT_INTENDED:
                        times.setdefault(intent.intended_at, set()).add(model.number)
        for end in times:
            within = set().union(*(found for when, found in times.items() if end - PER < when <= end))
            assert len(within) <= LIMIT, f"{sorted(within)} until {end}"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, MODELS - 1), st.sampled_from([0.05, 0.3, 0.3])),
        st.tuples(st.just("decide"), st.integers(0, MODELS - 1)),
        st.tuples(st.just("write"), st.integers(0, MODELS - 1)),
        st.tuples(st.just("contain"), st.integers(0, MODELS - 1)),
        st.tuples(st.just("resume"), st.integers(0, MODELS - 1)),
        st.tuples(st.just("pass_time"), st.sampled_from([1, 4, 16, 61])),
        st.tuples(st.just("burst"), st.lists(st.integers(0, MODELS - 1), min_size=2, unique=True)),
        st.tuples(st.just("everything")),
        st.tuples(st.just("restart")),
    ),
    max_size=60,
)


@given(STEPS)
def test_fleet_is_never_contained_beyond_the_cap_and_nothing_waits_for_ever(steps: Sequence[tuple[Any, ...]]) -> None:
    """However monitors, people, time, restarts and writes that are still under way come together."""
    fleet = Fleet()
    for name, *arguments in steps:
        getattr(fleet, name)(*arguments)
        fleet.check()
    for number in range(MODELS):
        fleet.write(number)
    fleet.check()
    fleet.restart()
    fleet.pass_time(16)
    for number in range(MODELS):
        fleet.write(number)
    fleet.check()
    for model in fleet.models:
        open_ones = [e for e in model.escalations if e.is_open]
        assert all(e.status.waiting is None for e in open_ones), "it waits for ever"
        breaches = bool(model.signals) and model.signals[0].status.tier == "high"
        assert not breaches or any(e.intents for e in open_ones), "it breaches, and is not contained"
        events = model.events()
        assert events.count("BlastRadiusExceeded") == events.count("WithheldNoMore"), "the end of each is on record"


def test_burst_that_is_decided_before_anything_is_written_stays_within_the_cap() -> None:
    fleet = Fleet()
    for number in range(MODELS):
        fleet.read(number, 0.3)
        fleet.decide(number)
    for number in range(MODELS):
        fleet.write(number)
    fleet.check()
    stopped = [m for m in fleet.models if m.target is not None and m.target.replicas == 0]
    assert len(stopped) == LIMIT
    waiting = [m for m in fleet.models if m.escalation.status.waiting is not None]
    assert len(waiting) == MODELS - LIMIT


def test_reservation_is_let_go_when_the_breach_ends_before_the_write() -> None:
    fleet = Fleet()
    fleet.read(0, 0.3)
    fleet.decide(0)
    budget = fleet.radius.budget((NAMESPACE, "credit"), key_of(1), NOW)
    assert budget is not None
    assert budget.used == 1
    fleet.read(0, 0.05)
    fleet.decide(0)
    budget = fleet.radius.budget((NAMESPACE, "credit"), key_of(1), NOW)
    assert budget is not None
    assert budget.used == 0


def test_status_of_an_earlier_version_has_nothing_that_waits() -> None:
    assert EscalationStatus().waiting is None
