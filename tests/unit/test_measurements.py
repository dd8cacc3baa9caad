"""What is no measurement does not count: outside the range of its indicator, or on too few samples."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.conditions import find
from riskladder.api.escalation import PinnedPolicy
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import ModelRiskSignalSpec, Reading, SignalStatus
from riskladder.policy.signals.evaluate import Verdict, evaluate
from riskladder.policy.snapshot import Signal, pin

from .builders import NOW, Document, Scene, at, edited, ladder, signal, signal_document, workload


def declared(spec: Document, indicator: str = "drift", **fields: Any) -> None:
    next(i for i in spec["indicators"] if i["name"] == indicator).update(fields)


def policy(**fields: Any) -> PinnedPolicy:
    spec = ladder(lambda spec: declared(spec, **fields)).spec
    assert isinstance(spec, EscalationLadderSpec)
    return pin(spec)


def reading(value: float, samples: int | None = None, *, when: Any = NOW, **others: float) -> Signal:
    """A signal that reads drift, on so many samples where it says so, and other indicators."""
    document = signal_document(at=when, drift=value, **others)
    if samples is not None:
        document["readings"][0]["sampleSize"] = samples
    return replace(signal(drift=value), spec=ModelRiskSignalSpec.model_validate(document))


def only(found: Signal, by: PinnedPolicy, *, status: SignalStatus | None = None) -> Verdict:
    found = replace(found, status=status or SignalStatus())
    return evaluate(by, [found], at(60))[found.uid]


def ready(scene: Scene) -> tuple[str, str, str]:
    found = find(scene.signals[0].status.conditions, ConditionType.READY)
    assert found is not None
    return str(found.status), found.reason, found.message


# --- The rule ---------------------------------------------------------------------------------------------------------

finite = st.floats(-1000, 1000, allow_nan=False)


@given(finite, finite, finite)
def test_reading_counts_exactly_where_it_lies_within_the_range(value: float, one: float, other: float) -> None:
    least, most = sorted((one, other))
    verdict = only(reading(value), policy(range={"min": least, "max": most}) if least < most else policy())
    counts = not least < most or least <= value <= most
    assert (verdict.usable, bool(verdict.observed)) == (counts, counts)
    assert verdict.reason == (Reason.ACCEPTED if counts else Reason.OUT_OF_RANGE)
    assert verdict.tier == ("moderate" if counts and value > 0.2 else "")


@given(finite, st.none() | st.integers(0, 50), st.integers(1, 40))
def test_reading_counts_where_it_rests_on_enough_samples_or_does_not_say(
    value: float, samples: int | None, least: int
) -> None:
    verdict = only(reading(value, samples), policy(minSamples=least))
    counts = samples is None or samples >= least
    assert (verdict.usable, bool(verdict.observed)) == (counts, counts)
    assert verdict.reason == (Reason.ACCEPTED if counts else Reason.TOO_FEW_SAMPLES)
    assert verdict.tier == ("moderate" if counts and value > 0.2 else "")


@pytest.mark.parametrize(("bounds", "counts"), [({"min": 0}, {0, 7}), ({"max": 0}, {-7, 0})])
def test_range_may_be_open_on_one_side(bounds: dict[str, float], counts: set[float]) -> None:
    assert {v for v in (-7, 0, 7) if only(reading(v), policy(range=bounds)).usable} == counts


@given(st.lists(st.tuples(finite, st.sampled_from([None, 0, 5])), min_size=1, max_size=8))
def test_what_does_not_count_changes_nothing_of_its_stream(reports: list[tuple[float, int | None]]) -> None:
    """A series with readings of no samples in it ends as the series without them, for one object as for many."""
    by = policy(range={"min": -500, "max": 500})

    def series(reports: list[tuple[int, float, int | None]]) -> dict[str, Any]:
        status = SignalStatus()
        for minute, value, samples in reports:
            verdict = only(reading(value, samples, when=at(minute)), by, status=status)
            status = SignalStatus(observed=verdict.observed, breaches=verdict.breaches)
        return status.to_api()

    numbered = [(n, value, samples) for n, (value, samples) in enumerate(reports)]
    assert series(numbered) == series([r for r in numbered if r[2] != 0 and -500 <= r[1] <= 500])


# --- What follows -----------------------------------------------------------------------------------------------------


def test_auc_of_no_samples_stops_no_model_and_says_why() -> None:
    def lower(spec: Document) -> None:
        spec["tiers"][1]["triggers"] = [{"indicator": "drift", "below": 0.1}]
        spec["tiers"][0]["triggers"] = [{"indicator": "drift", "below": 0.2}]

    scene = Scene([reading(0.0, 0)], ladders=[ladder(lower)])
    scene.run()
    assert scene.escalations == []
    status, reason, message = ready(scene)
    assert (status, reason) == ("False", Reason.TOO_FEW_SAMPLES)
    for part in ("spec.readings", "drift", "found 0", "expected at least 1"):
        assert part in message
    assert [str(e.event) for e in scene.entries] == [Reason.TOO_FEW_SAMPLES]


def test_reading_of_no_samples_clears_nothing_and_makes_nothing_known_good() -> None:
    scene = Scene([reading(0.3, 5000)], ladders=[ladder(lambda s: s["tiers"][0].update(closesWhen={"cleared": True}))])
    scene.target = workload(template_since=NOW - timedelta(days=1))
    scene.run()
    assert scene.escalation.status.tier == "moderate"
    scene.now = at(10)
    scene.signals = [
        replace(scene.signals[0], generation=2, spec=reading(0.0, 0, when=at(10)).spec),
        signal("other", source="other", at=at(9), bias=0.01),
    ]
    scene.run()
    scene.now = at(60 * 24)
    scene.run()
    assert scene.escalation.is_open
    assert scene.signals[0].status.tier == "moderate"
    assert scene.signals[0].status.last_known_good is None
    scene.signals = [
        replace(scene.signals[0], generation=3, spec=reading(0.0, 900, when=at(60 * 24)).spec),
        *scene.signals[1:],
    ]
    scene.run()
    assert not scene.escalation.is_open


def test_silence_runs_on_while_nothing_that_counts_is_heard() -> None:
    by = [ladder(lambda s: declared(s, "bias", range={"min": 0, "max": 1}))]
    scene = Scene([signal(bias=0.01)], ladders=by)
    scene.run()
    scene.now = at(60 * 23)
    scene.signals = [replace(scene.signals[0], spec=signal(at=scene.now, bias=40.0).spec, generation=2)]
    scene.run()
    assert ready(scene)[:2] == ("False", Reason.OUT_OF_RANGE)
    scene.now = at(60 * 24)
    scene.run()
    assert scene.signals[0].status.tier == "moderate"


def test_other_readings_of_the_signal_count() -> None:
    verdict = only(reading(83.0, bias=0.3), policy(range={"min": 0, "max": 1}))
    assert (verdict.usable, verdict.reason, verdict.tier) == (False, Reason.OUT_OF_RANGE, "high")
    assert [o.indicator for o in verdict.observed] == ["bias"]
    assert "found 83.0, expected from 0.0 to 1.0" in verdict.message
    assert "the other readings were used" in verdict.message


def test_every_reading_that_does_not_count_is_named() -> None:
    verdict = only(reading(83.0, colour=1.0), policy(range={"min": 0, "max": 1}, unit="share"))
    assert verdict.reason == Reason.UNKNOWN_INDICATOR
    assert "colour" in verdict.message
    assert "drift: found 83.0 share, expected from 0.0 to 1.0 share" in verdict.message


def test_reading_next_to_the_one_that_opened_an_escalation_need_not_clear_if_it_did_not_count() -> None:
    """An escalation that drift opened closes when drift clears, whatever another reading of no samples said."""

    def closing(spec: Document) -> None:
        spec["tiers"][0].update(closesWhen={"cleared": True})
        spec["tiers"][1]["triggers"][0]["above"] = 0.9

    first = reading(0.3, 5000, bias=0.2)
    assert first.spec is not None
    empty = Reading(indicator="bias", value=0.5, sample_size=0)
    first = replace(first, spec=first.spec.model_copy(update={"readings": (first.spec.readings[0], empty)}))
    scene = Scene([first], ladders=[ladder(closing)])
    scene.run()
    scene.signals = [replace(scene.signals[0], spec=reading(0.0, 5000, when=at(5)).spec, generation=2)]
    scene.now = at(5)
    scene.run()
    assert not scene.escalation.is_open


def test_step_of_a_resume_waits_for_no_reading_that_did_not_count() -> None:
    def in_steps(spec: Document) -> None:
        spec["tiers"][1]["resume"] = {"quorum": [{"role": "legal"}], "steps": ["50%", "100%"], "watchFor": "10m"}

    first = signal(bias=0.3)
    assert first.spec is not None
    empty = Reading(indicator="drift", value=0.0, sample_size=0)
    first = replace(first, spec=first.spec.model_copy(update={"readings": (*first.spec.readings, empty)}))
    scene = Scene([first], ladders=[ladder(in_steps)])
    scene.run()
    scene.decide("Resume", "legal")
    assert scene.target is not None
    assert scene.target.replicas == 2
    scene.now = at(20)
    scene.signals = [replace(scene.signals[0], spec=signal(at=at(15), bias=0.01).spec, generation=2)]
    scene.run()
    assert scene.target.replicas == 3


def test_reading_that_counted_stands_when_the_range_is_narrowed() -> None:
    scene = Scene([reading(0.15)])
    scene.run()
    scene.ladders = [ladder(lambda s: declared(s, range={"min": 0, "max": 0.1}), generation=2)]
    scene.run()
    assert ready(scene)[:2] == ("True", Reason.ACCEPTED)
    scene.signals = [replace(scene.signals[0], spec=reading(0.15, when=at(1)).spec, generation=2)]
    scene.now = at(1)
    scene.run()
    assert ready(scene)[:2] == ("False", Reason.OUT_OF_RANGE)


def test_unit_is_said_where_a_reading_is() -> None:
    scene = Scene([reading(0.3)], ladders=[ladder(lambda s: declared(s, unit="%"))])
    scene.run()
    breached = find(scene.signals[0].status.conditions, ConditionType.BREACHED)
    assert breached is not None
    assert "drift 0.3 % (threshold 0.2 %)" in breached.message
    opened = next(e for e in scene.entries if e.event is Reason.ESCALATION_OPENED)
    assert "drift=0.3 %" in opened.message
    assert opened.detail["threshold.drift"] == "above 0.2 %"


def test_model_of_an_indicator_defaults_to_what_was_before() -> None:
    spec = EscalationLadderSpec.model_validate(
        edited(
            {
                "governs": {"selector": {"matchLabels": {"a": "b"}}},
                "indicators": [{"name": "psi"}],
                "tiers": [{"name": "high"}],
            },
            None,
        )
    )
    assert (spec.indicators[0].unit, spec.indicators[0].range, spec.indicators[0].min_samples) == ("", None, 1)
