"""Readings to tiers: thresholds, confirmation, hysteresis, staleness, order, trust."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.escalation import PinnedPolicy
from riskladder.api.reasons import Reason
from riskladder.api.signal import Breach, SignalStatus
from riskladder.policy.signals.evaluate import CLOCK_SKEW, Verdict, evaluate, worst
from riskladder.policy.signals.groups import judge
from riskladder.policy.snapshot import Signal, pin
from tests.unit.builders import NOW, Edit, Scene, at, ladder, signal


def policy(edit: Edit | None = None) -> PinnedPolicy:
    spec = ladder(edit).spec
    assert spec is not None
    return pin(spec)


POLICY = policy()
LATER = at(60)


def only(*signals: Signal, by: PinnedPolicy = POLICY, now: datetime = LATER) -> Verdict:
    """The verdict of the last of them."""
    return evaluate(by, signals, now)[signals[-1].uid]


def kept(signal: Signal, verdict: Verdict) -> Signal:
    """The signal with the verdict in its stored status."""
    return replace(signal, status=SignalStatus(observed=verdict.observed, breaches=verdict.breaches))


def updated(readings: Iterable[Signal], *, by: PinnedPolicy = POLICY, now: datetime = LATER) -> tuple[Signal, Verdict]:
    """One object that is given the content of one signal after the other, looked at each time."""
    status, last, verdict = SignalStatus(), None, None
    for reading in readings:
        last = replace(reading, name="one", uid="one-uid", status=status)
        verdict = only(last, by=by, now=now)
        status = kept(last, verdict).status
    assert last is not None
    assert verdict is not None
    return replace(last, status=status), verdict


def counts(verdict: Verdict) -> dict[tuple[str, str], tuple[int, bool]]:
    return {(b.indicator, b.tier): (b.readings, b.confirmed) for b in verdict.breaches}


def drop_out(spec: dict[str, list[dict[str, object]]]) -> None:
    """A lower bound in place of an upper one."""
    spec["tiers"][0]["triggers"] = [{"indicator": "bias", "below": 0.7, "clearsAt": 0.75}]  # type: ignore[typeddict-item]
    spec["tiers"][1]["triggers"] = [{"indicator": "bias", "below": 0.5}]  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("value", "tier"),
    [(0.0, ""), (0.2, ""), (0.2000001, "moderate"), (5.0, "moderate")],
)
def test_above_is_breached_strictly_beyond_the_threshold(value: float, tier: str) -> None:
    assert only(signal(drift=value)).tier == tier


@pytest.mark.parametrize(
    ("value", "tier"), [(0.9, ""), (0.7, ""), (0.69, "moderate"), (0.5, "moderate"), (0.49, "high")]
)
def test_below_is_breached_strictly_beyond_the_threshold(value: float, tier: str) -> None:
    verdict = only(signal(bias=value), by=policy(drop_out))
    assert verdict.tier == tier
    assert all(b.value == value for b in verdict.breaches)


def test_below_zero_is_a_threshold_like_any_other() -> None:
    by = policy(lambda s: s["tiers"][0].update(triggers=[{"indicator": "drift", "below": 0.0}]))
    assert [only(signal(drift=v), by=by).tier for v in (0.0, -0.1)] == ["", "moderate"]


def test_breach_says_value_threshold_and_time() -> None:
    breach = only(signal(at=NOW, bias=0.3)).breaches[-1]
    assert breach == Breach(
        indicator="bias", tier="high", value=0.3, threshold=0.2, readings=1, confirmed=True, observed_at=NOW
    )


# --- Confirmation -----------------------------------------------------------------------------------------------------


def series(*values: float, source: str = "monitor") -> list[Signal]:
    """One signal object for each reading of bias, a minute apart."""
    return [signal(f"{source}-{n}", at=at(n), bias=v, source=source) for n, v in enumerate(values)]


def test_consecutive_readings_confirm() -> None:
    assert counts(updated(series(0.15))[1]) == {("bias", "moderate"): (1, False)}
    assert counts(updated(series(0.15, 0.15))[1]) == {("bias", "moderate"): (2, True)}


def test_reading_within_bounds_starts_the_count_again() -> None:
    assert updated(series(0.15, 0.05, 0.15))[1].tier == ""
    assert updated(series(0.15, 0.05, 0.15, 0.15))[1].tier == "moderate"


def test_the_same_reading_again_counts_once() -> None:
    first = series(0.15)[0]
    one, verdict = updated([first, first, first])
    assert counts(verdict) == {("bias", "moderate"): (1, False)}
    copy = replace(first, name="copy", uid="copy-uid")
    assert counts(only(copy, one)) == {("bias", "moderate"): (1, False)}
    assert counts(only(one, copy)) == {}, "the copy adds nothing of its own"


def test_another_value_for_a_time_already_counted_changes_nothing() -> None:
    verdict = updated([signal(at=NOW, bias=0.15), signal(at=NOW, bias=0.3)])[1]
    assert counts(verdict) == {("bias", "moderate"): (1, False)}
    assert verdict.observed[0].value == pytest.approx(0.15)


def test_older_reading_is_out_of_order_and_not_used() -> None:
    _, verdict = updated([signal(at=at(1), bias=0.05), signal(at=NOW, bias=0.9)])
    assert (verdict.usable, verdict.reason, verdict.tier) == (False, Reason.OUT_OF_ORDER, "")
    assert verdict.observed[0].observed_at == at(1)


def test_new_object_with_an_older_reading_is_out_of_order() -> None:
    one, _ = updated([signal(at=at(1), bias=0.05)])
    late = signal("late", at=NOW, bias=0.9)
    verdict = only(one, late)
    assert (verdict.reason, verdict.tier, verdict.observed) == (Reason.OUT_OF_ORDER, "", ())
    assert only(late, one).tier == ""


def test_objects_of_one_source_are_one_stream() -> None:
    verdicts = evaluate(POLICY, series(0.15, 0.16), LATER)
    assert verdicts["monitor-0-uid"].tier == ""
    assert verdicts["monitor-1-uid"].tier == "moderate"


def test_objects_of_two_sources_are_two_streams() -> None:
    mixed = [*series(0.15, source="a"), *series(0.16, source="b")]
    assert {v.tier for v in evaluate(POLICY, mixed, LATER).values()} == {""}


def test_order_of_objects_does_not_matter() -> None:
    readings = series(0.15, 0.05, 0.3)
    assert evaluate(POLICY, readings, LATER) == evaluate(POLICY, readings[::-1], LATER)
    by_name_the_other_way_round = [signal("z", at=NOW, bias=0.15), signal("a", at=at(1), bias=0.15)]
    assert evaluate(POLICY, by_name_the_other_way_round, LATER)["a-uid"].tier == "moderate"


def test_object_that_was_newest_loses_the_stream_to_a_newer_one() -> None:
    old, _ = updated(series(0.15, 0.15))
    new = signal("new", at=at(9), bias=0.05)
    verdicts = evaluate(POLICY, [old, new], LATER)
    assert verdicts[old.uid].tier == ""
    assert verdicts[old.uid].observed == old.status.observed, (
        "what it has seen stays known, so that it never counts again"
    )
    assert verdicts[new.uid].tier == ""


values = st.lists(st.sampled_from([0.05, 0.09, 0.1, 0.15, 0.25]), min_size=1, max_size=6)


@given(values, st.data())
def test_one_object_updated_and_one_for_each_reading_mean_the_same(readings: list[float], data: st.DataObject) -> None:
    objects = series(*readings)
    one = counts(updated(objects)[1])
    at_once = evaluate(POLICY, objects, LATER)[objects[-1].uid]

    seen: list[Signal] = []
    for item in objects:  # each looked at when it comes, all statuses stored, some readings sent again
        seen.append(item)
        again = [replace(s, name=f"z-{s.name}", uid=f"z-{s.uid}") for s in seen if data.draw(st.booleans())]
        verdicts = evaluate(POLICY, [*seen, *again], LATER)
        seen = [kept(s, verdicts[s.uid]) for s in seen]
    one_by_one = evaluate(POLICY, seen, LATER)

    assert one == counts(at_once) == counts(one_by_one[objects[-1].uid])
    assert worst(POLICY, (v.tier for v in one_by_one.values())) == at_once.tier


# --- Hysteresis -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "tier"), [(0.0999, "moderate"), (0.0801, "moderate"), (0.08, ""), (0.0, "")])
def test_standing_breach_clears_at_or_past_clears_at(value: float, tier: str) -> None:
    assert updated(series(0.15, 0.15, value))[1].tier == tier


def test_unconfirmed_breach_does_not_linger_between_threshold_and_clears_at() -> None:
    assert counts(updated(series(0.15, 0.09))[1]) == {}
    assert updated(series(0.15, 0.09, 0.15))[1].tier == ""


@pytest.mark.parametrize(("value", "stands"), [(0.21, True), (0.2, False), (0.1, False)])
def test_without_clears_at_the_threshold_itself_clears(value: float, stands: bool) -> None:
    assert (("bias", "high") in counts(updated(series(0.3, value))[1])) == stands


@pytest.mark.parametrize(("value", "tier"), [(0.74, "moderate"), (0.75, "")])
def test_lower_bound_clears_upwards(value: float, tier: str) -> None:
    assert updated(series(0.6, value), by=policy(drop_out))[1].tier == tier


# --- Staleness --------------------------------------------------------------------------------------------------------

DAY = timedelta(hours=24)


def test_silence_puts_the_model_in_the_tier_of_when_stale() -> None:
    reading = signal(bias=0.01)
    fresh, stale = only(reading, now=NOW + DAY - timedelta(seconds=1)), only(reading, now=NOW + DAY)
    assert (fresh.tier, fresh.stale, fresh.next_change) == ("", (), NOW + DAY)
    assert (stale.tier, stale.stale, stale.next_change) == ("moderate", ("bias",), None)
    assert [(b.stale, b.confirmed, b.threshold) for b in stale.breaches] == [(True, True, None)]


def test_indicator_without_stale_after_is_never_stale() -> None:
    assert only(signal(drift=0.01), now=NOW + 100 * DAY).stale == ()


def test_stale_indicator_without_when_stale_only_says_so() -> None:
    by = policy(lambda s: s["indicators"][0].pop("whenStale"))
    verdict = only(signal(bias=0.01), by=by, now=NOW + DAY)
    assert (verdict.tier, verdict.stale) == ("", ("bias",))


def test_silence_never_lowers_a_worse_tier() -> None:
    verdict = only(signal(bias=0.3), now=NOW + DAY)
    assert (verdict.tier, verdict.stale) == ("high", ("bias",))


def test_stale_reading_that_comes_back_is_judged_by_its_value() -> None:
    silent, verdict = updated([signal(bias=0.01)], now=NOW + DAY)
    assert verdict.tier == "moderate"
    back = signal(at=NOW + DAY, bias=0.01)
    verdict = only(replace(back, name="one", uid="one-uid", status=silent.status), now=NOW + DAY)
    assert (verdict.tier, verdict.stale, verdict.breaches) == ("", (), ())


@pytest.mark.parametrize("looks", [[], [DAY], [DAY, DAY + timedelta(hours=1)]])
def test_being_looked_at_while_silent_does_not_lose_the_count(looks: Sequence[timedelta]) -> None:
    """Three in a row are asked for, two came before the silence: the third confirms, whoever looked meanwhile."""
    by = policy(lambda s: s["tiers"][0]["triggers"][0].update(readings=3))
    one, _ = updated(series(0.15, 0.15), by=by)
    for after in looks:
        verdict = only(one, by=by, now=at(1) + after)
        assert (verdict.tier, verdict.stale) == ("moderate", ("bias",))
        one = kept(one, verdict)
    back = replace(signal(at=NOW + 3 * DAY, bias=0.15), uid=one.uid, name=one.name, status=one.status)
    assert counts(only(back, by=by, now=NOW + 3 * DAY)) == {("bias", "moderate"): (3, True)}


# --- What cannot be used ----------------------------------------------------------------------------------------------


def test_reading_from_the_future_waits_until_it_is_near() -> None:
    reading = signal(at=NOW + CLOCK_SKEW, bias=0.3)
    early, due = only(reading, now=NOW - timedelta(seconds=1)), only(reading, now=NOW)
    assert (early.usable, early.reason, early.tier, early.next_change) == (False, Reason.INVALID_READING, "", NOW)
    assert (due.usable, due.tier) == (True, "high")


def test_reading_from_the_future_leaves_what_stands() -> None:
    _, verdict = updated([signal(bias=0.3), signal(at=at(600), bias=0.0)], now=at(1))
    assert (verdict.usable, verdict.tier) == (False, "high")


def test_untrusted_source_counts_nothing() -> None:
    by = policy(lambda s: s.update(trustedSources=["auditor"]))
    verdict = only(signal(bias=0.3), by=by)
    assert (verdict.usable, verdict.reason, verdict.tier) == (False, Reason.UNTRUSTED_SOURCE, "")
    assert only(signal(bias=0.3, source="auditor"), by=by).tier == "high"


def test_unknown_indicator_is_named_and_the_others_count() -> None:
    verdict = only(signal(bias=0.3, colour=7.0))
    assert (verdict.usable, verdict.reason, verdict.tier) == (False, Reason.UNKNOWN_INDICATOR, "high")
    assert "colour" in verdict.message
    assert [o.indicator for o in verdict.observed] == ["bias"]


def test_manual_signal_puts_the_model_in_its_tier() -> None:
    verdict = only(signal(manual="high"))
    assert (verdict.usable, verdict.tier, verdict.next_change) == (True, "high", None)


def test_manual_signal_with_an_unknown_tier_is_refused_by_name() -> None:
    verdict = only(signal(manual="severe"))
    assert (verdict.usable, verdict.reason, verdict.tier) == (False, Reason.UNKNOWN_TIER, "")
    assert "severe" in verdict.message
    assert "moderate, high" in verdict.message


# --- Edited thresholds ------------------------------------------------------------------------------------------------


def test_standing_reading_is_judged_again_when_thresholds_are_edited() -> None:
    one, verdict = updated(series(0.15), by=POLICY)
    assert verdict.tier == ""
    stricter = policy(lambda s: s["tiers"][1]["triggers"][0].update(above=0.12))
    assert only(one, by=stricter).tier == "high"
    looser = policy(lambda s: s["tiers"][1]["triggers"][0].update(above=0.9))
    breached, _ = updated(series(0.3), by=POLICY)
    assert only(breached, by=looser).tier == ""


def test_standing_reading_is_never_counted_twice() -> None:
    one, _ = updated(series(0.15))
    for above in (0.11, 0.12, 0.11):
        by = policy(lambda s, above=above: s["tiers"][0]["triggers"][0].update(above=above))
        verdict = only(one, by=by)
        assert counts(verdict) == {("bias", "moderate"): (1, False)}
        one = kept(one, verdict)


def test_threshold_lowered_below_a_standing_reading_counts_it_once() -> None:
    one, verdict = updated(series(0.05))
    assert verdict.breaches == ()
    by = policy(lambda s: s["tiers"][0]["triggers"][0].update(above=0.04, clearsAt=0.01))
    for _ in range(3):
        verdict = only(one, by=by)
        one = kept(one, verdict)
        assert counts(verdict) == {("bias", "moderate"): (1, False)}


def test_fewer_readings_asked_for_confirm_what_stands() -> None:
    one, _ = updated(series(0.15))
    assert only(one, by=policy(lambda s: s["tiers"][0]["triggers"][0].update(readings=1))).tier == "moderate"


# --- Several signals --------------------------------------------------------------------------------------------------


def test_worst_of_several_signals_wins() -> None:
    signals = [signal("a", bias=0.01), signal("b", source="b", bias=0.3), signal("c", source="c", drift=0.3)]
    group = judge(Scene(signals).snapshot(), NOW).groups[0]
    assert (group.tier, [t.name for t in group.breached()], group.cause("high").name) == (
        "high",
        ["high", "moderate"],
        "b",
    )


def test_drill_is_judged_and_counted_nowhere() -> None:
    drill = signal("drill", at=at(-1), drill=True, bias=0.15)
    judgement = judge(Scene([drill, signal("real", bias=0.15)]).snapshot(), NOW)
    assert judgement.groups[0].tier == "", "a drill reading is not the first of two"
    high = judge(Scene([signal("drill", drill=True, bias=0.9)]).snapshot(), NOW)
    assert high.verdicts["drill-uid"].tier == "high"
    assert (high.groups[0].tier, high.at_baseline, high.demands()) == ("", True, ())


def test_manual_signal_is_withdrawn_by_deleting_it() -> None:
    manual = signal("manual", manual="high")
    assert judge(Scene([manual, signal(bias=0.01)]).snapshot(), NOW).groups[0].tier == "high"
    assert judge(Scene([signal(bias=0.01)]).snapshot(), NOW).groups[0].tier == ""
