"""Breaches that cannot be used: which are notified, to whom, how often, and how many at once are one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.ladder import MAX_UNUSABLE, EscalationLadderStatus
from riskladder.api.reasons import Reason
from riskladder.cluster.resources import SIGNALS
from riskladder.controller.caches.entries import LadderKey
from riskladder.policy.decide import decide
from riskladder.policy.ladders import update_ladder
from riskladder.policy.plan import LadderUpdate
from riskladder.policy.snapshot import Ladder, Signal
from riskladder.policy.unusable import APART, GATHER, OTHERS, UnusableSignal
from tests.unit.builders import NAMESPACE, NOW, Document, Scene, at, ladder, signal, signal_document
from tests.unit.fakes import Cache

# --- Which signals ----------------------------------------------------------------------------------------------------


def strict(spec: Document) -> None:
    spec["trustedSources"] = ["monitor"]
    spec["indicators"][0] |= {"range": {"min": 0, "max": 1}, "minSamples": 30}


def manual(tier: str) -> Signal:
    return signal(manual=tier)


def few(value: float) -> Signal:
    found = signal(bias=value)
    assert found.spec is not None
    readings = tuple(r.model_copy(update={"sample_size": 3}) for r in found.spec.readings)
    return replace(found, spec=found.spec.model_copy(update={"readings": readings}))


@pytest.mark.parametrize(
    ("item", "target", "reason"),
    [
        (signal(bais=0.3), True, "UnknownIndicator"),
        (signal(bais=0.0), True, "UnknownIndicator"),  # nobody knows whether that would breach
        (signal(bias=0.3, bais=0.1), True, "UnknownIndicator"),
        (signal(bias=31.0), True, "OutOfRange"),
        (signal(bias=-1.0), True, None),
        (few(0.3), True, "TooFewSamples"),
        (few(0.05), True, None),
        (signal(bias=0.3, source="stranger"), True, "UntrustedSource"),
        (signal(bias=0.05, source="stranger"), True, None),
        (signal(bias=0.3, at=at(10)), True, "InvalidReading"),
        (signal(bias=0.3, at=NOW - timedelta(days=30)), True, "ReadingTooOld"),
        (signal(bias=0.3), False, "TargetNotFound"),
        (signal(bias=0.05), False, None),
        (signal(bias=0.3, ladder="other"), True, None),  # nobody would be notified
        (manual("severe"), True, "UnknownTier"),
        (signal(bais=0.3, drill=True), True, None),
        (signal(bias=0.3), True, None),
        (signal(bias=0.05, drift=0.0), True, None),
    ],
)
def test_signal_says_that_a_breach_is_not_used(item: Signal, target: bool, reason: str | None) -> None:
    scene = Scene([item], ladders=[ladder(strict)])
    if not target:
        scene.target = None
    scene.run()
    [after] = scene.signals
    assert after.status.unusable == reason


def test_late_reading_of_a_stream_that_is_known_notifies_nobody() -> None:
    scene = Scene([signal(bias=0.05)])
    scene.run()
    known = scene.signals[0]
    late = signal("late", bias=0.3, at=at(-5))
    scene.signals = [known, late]
    scene.run()
    found = next(s for s in scene.signals if s.name == "late")
    assert (found.status.conditions[0].reason, found.status.unusable) == ("OutOfOrder", None)


def test_signal_that_can_be_used_again_says_so() -> None:
    scene = Scene([signal(bais=0.3)])
    scene.run()
    before = scene.signals[0]
    assert before.status.unusable == "UnknownIndicator"
    scene.signals = [replace(signal(bias=0.05, at=at(1)), status=before.status, generation=2)]
    scene.now = at(1)
    scene.run()
    assert scene.signals[0].status.unusable is None


def test_nothing_is_written_while_it_stays_so() -> None:
    scene = Scene([signal(bais=0.3)])
    scene.run()
    assert not decide(scene.snapshot(), at(1)).has_trail


# --- What the caches keep ---------------------------------------------------------------------------------------------


def stored(cache: Cache, name: str, version: int, *, unusable: str = "", source: str = "monitor", **spec: Any) -> None:
    status = {"conditions": [{"type": "Ready", "status": "False", "reason": unusable, "message": f"{name} is odd"}]}
    document = {**signal_document(source=source, bias=0.3), **spec}
    about = {"namespace": NAMESPACE, "name": name, "uid": f"{name}-uid", "generation": 1, "creationTimestamp": "x"}
    obj = {"metadata": about, "spec": document, "status": status | ({"unusable": unusable} if unusable else {})}
    cache.put(SIGNALS, obj, version)


def test_caches_know_what_each_ladder_cannot_use_and_ask_for_it_where_that_changes() -> None:
    cache, mine = Cache(), (LadderKey(NAMESPACE, "credit"), False)
    stored(cache, "a", 1)
    assert mine not in cache.took()
    stored(cache, "a", 2, unusable="UnknownIndicator")
    assert mine in cache.took()
    stored(cache, "b", 3, unusable="OutOfRange")
    assert mine in cache.took()
    expected = (
        UnusableSignal("a", "monitor", "UnknownIndicator", "a is odd"),
        UnusableSignal("b", "monitor", "OutOfRange", "b is odd"),
    )
    assert cache.store.unusable((NAMESPACE, "credit")) == expected
    assert cache.store.count_unusable() == {
        (NAMESPACE, "credit", "UnknownIndicator"): 1,
        (NAMESPACE, "credit", "OutOfRange"): 1,
    }
    cache.took()
    stored(cache, "a", 4, unusable="UnknownIndicator", ladder="other")
    assert {key.name for key, _ in cache.took() if isinstance(key, LadderKey)} == {"credit", "other"}
    cache.store.drop(SIGNALS, {"metadata": {"namespace": NAMESPACE, "name": "b", "uid": "b-uid"}})
    assert mine in cache.took()
    assert cache.store.unusable((NAMESPACE, "credit")) == ()
    stored(cache, "a", 5)
    assert cache.store.count_unusable() == {}


def test_source_that_is_no_name_is_none() -> None:
    cache = Cache()
    stored(cache, "a", 1, unusable="Invalid", source="Not A Name" * 20)
    [found] = cache.store.unusable((NAMESPACE, "credit"))
    assert found.source == ""


# --- Who is notified --------------------------------------------------------------------------------------------------


def contacts(spec: Document) -> None:
    spec["stakeholders"] += [{"role": "platform"}, {"role": "data"}]
    spec["sourceContacts"] = [{"source": "drift-monitor", "role": "platform"}, {"source": "other", "role": "data"}]


def bad(name: str = "churn", source: str = "drift-monitor", reason: str = "UnknownIndicator") -> UnusableSignal:
    return UnusableSignal(name, source, reason, "spec.readings: pis is no indicator")


class Notified:
    """A ladder that is looked at again and again."""

    def __init__(self, item: Ladder | None = None) -> None:
        self.item = item or ladder(contacts)
        self.status = EscalationLadderStatus()
        self.update: LadderUpdate | None = None

    def look(self, found: Iterable[UnusableSignal], seconds: float) -> list[tuple[str, str]]:
        """Look at it, and return the roles that are notified now, with the words."""
        before = {m.key for m in self.status.notifications}
        self.update, self.wake = update_ladder(
            self.item,
            self.status,
            created=NOW,
            open_escalations=0,
            missing=(),
            unusable=found,
            now=at(seconds=seconds),
        )
        self.status = self.update.status
        return [(m.role, m.message) for m in self.status.notifications if m.key not in before]


def test_owner_and_contact_are_notified_once_for_source_and_reason() -> None:
    notified, many = Notified(), [bad(f"churn-{n:02}") for n in range(37)]
    assert notified.look(many, 0) == []
    assert notified.wake == at(seconds=10)
    first = notified.look(many, 10)
    text = (
        "A breach may go unseen: 37 signals of source drift-monitor cannot be used: UnknownIndicator, for example "
        "churn-00: spec.readings: pis is no indicator"
    )
    assert first == [("model-risk", text), ("platform", text)]
    assert [e.event for e in notified.update.entries] == [Reason.SIGNALS_UNUSABLE]  # type: ignore[union-attr]
    assert notified.look([*many, bad("late")], 600) == []
    [kept] = notified.status.unusable
    assert (kept.signals, kept.example, kept.since, kept.notified_at) == (38, "churn-00", NOW, at(seconds=10))


def test_it_is_notified_again_after_it_could_be_used_in_between() -> None:
    notified = Notified()
    notified.look([bad()], 0)
    assert notified.look([bad()], 10)
    assert notified.look([], 20) == []
    assert notified.update is not None
    assert [e.event for e in notified.update.entries] == [Reason.SIGNALS_USABLE]
    notified.look([bad()], 30)
    assert notified.look([bad()], 45) == [], "not twice within five minutes, however often it comes and goes"
    assert notified.look([bad()], 10 + APART.total_seconds())


def test_each_contact_hears_of_its_own_source_only_and_all_at_once_is_one_message() -> None:
    notified = Notified()
    found = [bad(), bad("fraud", "other", "OutOfRange"), bad("x", "third", "UntrustedSource")]
    notified.look(found, 0)
    first = dict(notified.look(found, 10))
    assert set(first) == {"model-risk", "platform", "data"}
    assert all(word in first["model-risk"] for word in ("drift-monitor", "source other", "source third"))
    assert "other" not in first["platform"]
    assert "drift-monitor" not in first["data"]


def test_suspended_ladder_notifies_nobody_until_it_acts_again() -> None:
    notified = Notified(ladder(lambda spec: (contacts(spec), spec.update(suspended=True))))
    notified.look([bad()], 0)
    assert notified.look([bad()], 60) == []
    notified.item = ladder(contacts, generation=2)
    assert notified.look([bad()], 120)


def test_ladder_without_anybody_to_notify_says_so_by_an_event() -> None:
    def nobody(spec: Document) -> None:
        del spec["charter"]
        spec["stakeholders"] = []
        spec["tiers"] = [{"name": "high", "triggers": [{"indicator": "bias", "above": 0.2}]}]

    notified = Notified(ladder(nobody))
    notified.look([bad()], 0)
    assert notified.look([bad()], 10) == []
    assert notified.update is not None
    assert [e.event for e in notified.update.entries] == [Reason.SIGNALS_UNUSABLE]
    assert notified.status.unusable[0].notified_at is not None


SOURCES = st.integers(0, 60).map(lambda n: f"s{n}")
FOUND = st.lists(
    st.builds(bad, st.integers(0, 99).map(lambda n: f"n{n}"), SOURCES, st.sampled_from(["OutOfRange", "Invalid"])),
    max_size=90,
    unique_by=lambda s: s.name,
)


@given(st.lists(st.tuples(FOUND, st.integers(1, 400)), max_size=8))
def test_nobody_is_notified_twice_and_everything_is_notified_in_the_end(
    steps: Sequence[tuple[list[UnusableSignal], int]],
) -> None:
    """However signals come and go: what is bounded stays so, two messages are apart, and what lasts is notified."""
    notified, seconds = Notified(), 0.0
    sent: list[float] = []
    for found, pause in steps:
        seconds += pause
        if any(role == "model-risk" for role, _ in notified.look(found, seconds)):
            sent.append(seconds)
        unusable = notified.status.unusable
        assert len(unusable) <= MAX_UNUSABLE
        assert sum(one.signals for one in unusable) == len(found)
        again = notified.look(found, seconds)
        assert again == []
    assert all(later - earlier >= APART.total_seconds() for earlier, later in pairwise(sent))
    if steps:
        last = steps[-1][0]
        notified.look(last, seconds + GATHER.total_seconds())
        notified.look(last, seconds + APART.total_seconds() + GATHER.total_seconds())
        assert all(one.notified_at is not None for one in notified.status.unusable)
        assert all(one.source == OTHERS or one.source.startswith("s") for one in notified.status.unusable)
