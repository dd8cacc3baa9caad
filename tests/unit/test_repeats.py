"""Facts that repeat: a handful of records, and no count lost."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.escalation import Repeat
from riskladder.api.reasons import Reason
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.plan import Entry
from riskladder.policy.repeats import FREE, ended, repeat

from .builders import NOW, Scene, at, contained, ladder, signal, written


def reminding(spec: dict[str, Any]) -> None:
    spec["channels"] = [{"name": f"c{n}", "type": "PagerDuty", "secretKey": "k"} for n in range(2)]
    spec["stakeholders"] = [{"role": r, "notify": ["c0", "c1"]} for r in ("model-risk", "legal", "ds")]
    spec["tiers"][0] |= {
        "acknowledge": {"within": "30m", "remindEvery": "10m"},
        "notify": [{"role": "model-risk"}, {"role": "legal"}, {"role": "ds"}],
    }


def unanswered(hours: int) -> Scene:
    """Nobody answers for so many hours, and everybody is reminded every ten minutes."""
    scene = Scene([signal(drift=0.5)], ladders=[ladder(reminding)])
    scene.run()
    scene.deliver()
    for number in range(1, hours * 6 + 1):
        scene.now = at(10 * number)
        scene.run()
        scene.deliver()
    return scene


def test_unanswered_day_is_a_few_dozen_records_and_every_reminder_is_counted() -> None:
    scene = unanswered(24)
    ledger = scene.escalation.status.ledger
    assert ledger is not None
    assert ledger.sequence < 60
    reminders = [e for e in scene.entries if e.event is Reason.REMINDED]
    channels, instead = 2, 2  # who is told that nobody has acted in time is not reminded in that moment as well
    assert len(reminders) == (24 * 6 * 3 - instead) * channels
    recorded = [e for e in reminders if e.recorded]
    assert {e.detail["role"] for e in recorded[:5]} == {"model-risk", "legal", "ds"}
    assert recorded[-1].detail["count"] == str(sum(int(e.detail.get("times", "1")) for e in recorded))
    assert "lastAt" in recorded[-1].detail


def test_what_is_left_over_is_recorded_when_the_rung_ends() -> None:
    scene = unanswered(2)
    reminders = sum(e.event is Reason.REMINDED for e in scene.entries)
    scene.decide("Escalate", "legal", tier="high")
    recorded = [e for e in scene.entries if e.event is Reason.REMINDED and e.recorded]
    assert recorded[-1].key == f"repeated/1/Reminded/{reminders}"
    assert sum(int(e.detail.get("times", "1")) for e in recorded) == reminders
    assert not [r for r in scene.escalation.status.repeats if r.rung == 1]


def test_hours_of_contention_are_a_few_records_and_each_manager_is_named() -> None:
    scene = contained()
    for number in range(1, 6 * 240 + 1):
        scene.now = at(number / 4)
        who = "late-comer" if number == 700 else "gitops"
        update = record_drift(scene.escalation, scene.escalation.intents[-1], who, scene.now)
        assert update is not None
        scene.entries.extend(update.entries)
        scene._replace(written(update))
    again = [e for e in scene.entries if e.event is Reason.CONTAINMENT_REAPPLIED]
    assert len(again) == 1440
    recorded = [e for e in again if e.recorded]
    assert len(recorded) <= FREE + 6 + 1
    assert "late-comer" in {e.detail["fieldManager"] for e in recorded}


FACTS = st.lists(
    st.tuples(
        st.sampled_from([Reason.REMINDED, Reason.CONTAINMENT_REAPPLIED]),
        st.integers(1, 3),
        st.sampled_from(["ann", "ben", "cem"]),
        st.timedeltas(timedelta(0), timedelta(hours=2)),
    ),
    max_size=60,
)


@given(FACTS)
def test_no_count_is_lost_and_no_hour_has_many(facts: list[tuple[Reason, int, str, timedelta]]) -> None:
    counted: tuple[Repeat, ...] = ()
    entries: list[Entry] = []
    now, rung = NOW, 1
    for number, (fact, next_rung, who, later) in enumerate(facts):
        now += later
        if next_rung > rung:
            rung = next_rung
            counted, left = ended(counted, rung, now, over=False)
            entries += left
        counted, entry = repeat(counted, Entry(fact, f"k{number}", now, "x"), rung, who)
        entries.append(entry)
    counted, left = ended(counted, rung, now, over=True)
    assert counted == ()
    recorded = [e for e in [*entries, *left] if e.recorded]
    for fact in (Reason.REMINDED, Reason.CONTAINMENT_REAPPLIED):
        times = sum(int(e.detail.get("times", "1")) for e in recorded if e.event is fact)
        assert times == sum(f[0] is fact for f in facts)
    keys = Counter(e.key for e in recorded)
    assert all(count == 1 for count in keys.values())


def test_after_the_first_three_an_hour_passes_between_records() -> None:
    counted: tuple[Repeat, ...] = ()
    times: list[datetime] = []
    for number in range(24 * 60):
        counted, entry = repeat(counted, Entry(Reason.REMINDED, f"k{number}", at(number), "x"), 1, "legal")
        times += [at(number)] if entry.recorded else []
    assert len(times) <= FREE + 24
    assert all(b - a >= timedelta(hours=1) for a, b in zip(times[FREE - 1 :], times[FREE:], strict=False))
