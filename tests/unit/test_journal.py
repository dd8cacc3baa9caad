"""The journal of readings: a line for each that counts or is refused, once, and gauges of where each stream stands."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from riskladder.api.base import format_time
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.controller import reading_gauges
from riskladder.controller.journal import MESSAGE_LIMIT, Journal, lines_of
from riskladder.controller.metrics import Metrics
from riskladder.controller.reading_gauges import ReadingGauges, StoredStatus
from riskladder.policy.decide import decide
from riskladder.policy.plan import SignalUpdate
from riskladder.policy.snapshot import Signal
from tests.patience import PATIENCE
from tests.unit.builders import NAMESPACE, NOW, Scene, at, ladder, signal, signal_document
from tests.unit.live import Live, live

Line = dict[str, Any]


def said(found: Iterable[Line], event: str) -> list[Line]:
    return [line for line in found if line["event"] == event]


def judged(*signals: Signal, **more: Any) -> list[Line]:
    """What the journal says of one pass over these signals."""
    scene = Scene(signals, **more)
    plan = decide(scene.snapshot(), scene.now, urgent=False)  # as after the stop
    return [line for update in plan.signals for line in lines_of(update.signal, update.status)]


# --- A reading that counts --------------------------------------------------------------------------------------------


def test_reading_that_counts_is_one_line_with_all_that_a_journal_needs() -> None:
    document = signal_document(bias=0.15) | {"readings": [{"indicator": "bias", "value": 0.3, "sampleSize": 40}]}
    spec = ModelRiskSignalSpec.model_validate(document)
    [line] = judged(Signal(NAMESPACE, "fairness", "u", 1, SignalStatus(), spec))
    assert line == {
        "event": "reading",
        "namespace": "models",
        "ladder": "credit",
        "target": "Deployment/scorer",
        "source": "monitor",
        "signal": "fairness",
        "indicator": "bias",
        "value": 0.3,
        "observedAt": "2026-11-24T12:00:00Z",
        "sampleSize": 40,
        "tier": "high",
    }


def test_tier_is_that_of_the_indicator_and_what_is_not_said_is_left_out() -> None:
    first, second = judged(signal(bias=0.15, drift=0.3))
    assert (first["indicator"], first["tier"]) == ("bias", "baseline")  # beyond a threshold once, which asks for two
    assert (second["indicator"], second["tier"]) == ("drift", "moderate")
    assert "sampleSize" not in first


def test_drill_is_marked() -> None:
    [line] = judged(signal(drill=True, bias=0.3))
    assert line["drill"] is True


def test_what_a_person_raises_is_no_reading() -> None:
    assert judged(signal(manual="high")) == judged(signal(manual="nonsense")) == []


def after(found: Signal, status: SignalStatus, **more: Any) -> Signal:
    spec = ModelRiskSignalSpec.model_validate(signal_document(**more))
    return Signal(found.namespace, found.name, found.uid, found.generation + 1, found.status, spec, computed=status)


def test_reading_counts_once_also_before_its_status_is_stored() -> None:
    first = signal(bias=0.05)
    [update] = Scene([first]).plan().signals
    assert judged(after(first, update.status, bias=0.05)) == []
    [line] = judged(after(first, update.status, at=at(5), bias=0.06), now=at(6))
    assert (line["value"], line["observedAt"]) == (0.06, format_time(at(5)))


# --- A reading that is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"nonsense": 1.0}, "UnknownIndicator"),
        ({"bias": 0.3, "at": at(60)}, "InvalidReading"),
        ({"bias": 0.3, "ladder": "other"}, "LadderNotFound"),
    ],
)
def test_reading_that_is_refused_is_one_line_with_the_reason(document: dict[str, Any], reason: str) -> None:
    [line] = judged(signal(**document))
    assert (line["event"], line["reason"]) == ("reading refused", reason)
    assert (line["namespace"], line["target"], line["source"]) == ("models", "Deployment/scorer", "monitor")
    assert (line["signal"], line["ladder"]) == ("fairness", document.get("ladder", "credit"))
    assert line["message"]


def test_refusal_is_said_once_for_a_generation() -> None:
    first = signal(nonsense=1.0)
    [update] = Scene([first]).plan().signals
    same = Signal(NAMESPACE, "fairness", first.uid, 1, SignalStatus(), first.spec, computed=update.status)
    assert judged(same) == []
    assert [line["reason"] for line in judged(after(first, update.status, nonsense=2.0))] == ["UnknownIndicator"]


def test_message_is_clipped() -> None:
    many = {f"nonsense_{number:02}_{'x' * 40}": 1.0 for number in range(32)}
    [line] = judged(signal(**many))
    assert len(line["message"]) <= MESSAGE_LIMIT < 1024


def test_of_one_signal_some_readings_count_and_others_are_refused() -> None:
    found = judged(signal(bias=0.05, nonsense=1.0))
    assert [(line["event"], line.get("indicator")) for line in found] == [
        ("reading", "bias"),
        ("reading refused", None),
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.05, 0.15, 0.3])), max_size=8))
def test_every_reading_that_counts_is_said_exactly_once(given_: list[tuple[int, float]]) -> None:
    """Whatever the order, and however often the same is looked at: the lines are what was counted."""
    current, lines, counted = signal(at=at(-60), bias=0.01), [], []
    status = SignalStatus()
    for minutes, value in given_:
        current = after(current, status, at=at(minutes), bias=value)
        for _ in range(2):
            scene = Scene([current], now=at(10), ladders=[ladder(lambda s: s["tiers"][1].pop("containment"))])
            for update in scene.plan().signals:
                lines += said(lines_of(update.signal, update.status), "reading")
                before = {o.observed_at for o in status.observed}
                counted += [o for o in update.status.observed if o.observed_at not in before]
                status = update.status
            current = Signal(
                current.namespace,
                current.name,
                current.uid,
                current.generation,
                current.status,
                current.spec,
                computed=status,
            )
    assert [(line["value"], line["observedAt"]) for line in lines] == [
        (o.value, format_time(o.observed_at)) for o in counted
    ]


# --- Written behind the work ------------------------------------------------------------------------------------------


def noted(*values: float) -> list[SignalUpdate]:
    return [update for value in values for update in Scene([signal(bias=value)]).plan().signals]


async def test_lines_are_written_in_the_background_and_the_rest_at_the_end() -> None:
    journal = Journal()
    with capture_logs() as found:
        task = asyncio.create_task(journal.run())
        for update in noted(0.05):
            journal.note(update)
        assert found == [], "noting writes nothing by itself"
        async with asyncio.timeout(PATIENCE):
            while not said(found, "reading"):  # noqa: ASYNC110 - it is what is tested that would have to set an event
                await asyncio.sleep(0.01)
        task.cancel()
        for update in noted(0.06):
            journal.note(update)
        journal.flush()
    assert [line["value"] for line in said(found, "reading")] == [0.05, 0.06]


def test_what_waits_is_bounded_and_what_is_left_out_is_said() -> None:
    journal = Journal(limit=2)
    [update] = noted(0.05)
    with capture_logs() as found:
        for _ in range(5):
            journal.note(update)
        journal.flush()
    assert len(said(found, "reading")) == 2
    [line] = said(found, "readings not logged")
    assert line["number"] == 3


async def test_operator_that_works_writes_each_reading_once() -> None:
    async with live() as plane:
        plane.report(bias=0.05)
        await plane.until(lambda: plane.says("Breached", signal="fairness")[1] == "AtBaseline")
        plane.report(bias=0.3)
        await plane.until(lambda: plane.says("Breached", signal="fairness")[1] == "ThresholdBreached")
        with capture_logs() as found:
            plane.operator.journal.flush()
    assert [(line["value"], line["tier"]) for line in said(found, "reading")] == [(0.05, "baseline"), (0.3, "high")]


# --- Gauges -----------------------------------------------------------------------------------------------------------


def stored(
    uid: str = "u", *, indicator: str = "bias", value: float = 0.3, when: datetime = NOW, **counted: Any
) -> StoredStatus:
    about = {"ladder": "credit", "kind": "Deployment", "name": "scorer", "source": "monitor", "drill": False}
    observed = [{"indicator": indicator, "value": value, "observedAt": format_time(when)}]
    document = {"countedFor": {**about, **counted}, "observed": observed}
    return StoredStatus(uid, NAMESPACE, json.dumps(document).encode())


async def exposed(gauges: ReadingGauges, *found: StoredStatus) -> dict[tuple[str, ...], float]:
    """Name and label values of what a scrape shows."""
    await gauges.refresh(found)
    families = text_string_to_metric_families(gauges.text().decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


STREAM = ("models", "credit", "Deployment/scorer", "monitor", "bias")


async def test_gauges_show_where_each_stream_stands() -> None:
    found = await exposed(Metrics().readings, stored(value=0.27, when=at(1)))
    assert found == {
        ("riskladder_reading", *STREAM): 0.27,
        ("riskladder_reading_observed_timestamp_seconds", *STREAM): at(1).timestamp(),
    }


async def test_newest_reading_of_a_stream_counts_whatever_object_carries_it() -> None:
    gauges = Metrics().readings
    old, new = stored("a", value=0.1, when=at(0)), stored("b", value=0.2, when=at(5))
    for order in ((old, new), (new, old)):
        assert (await exposed(gauges, *order))["riskladder_reading", *STREAM] == 0.2


async def test_stream_that_is_gone_or_is_a_drill_has_no_gauge() -> None:
    gauges = Metrics().readings
    assert len(await exposed(gauges, stored("a"), stored("b", source="other"))) == 4
    assert len(await exposed(gauges, stored("b", source="other"))) == 2
    assert await exposed(gauges) == {}
    assert await exposed(gauges, stored("a", drill=True)) == {}
    await gauges.refresh([stored("a")])
    gauges.clear()
    assert gauges.text() == b""


@pytest.mark.parametrize(
    "status",
    [b"{}", b"[]", b"null", b'{"countedFor":{},"observed":[{}]}', b'{"observed":[{"indicator":"a"}]}', b"no JSON"],
)
async def test_status_that_is_none_has_no_gauge_and_breaks_nothing(status: bytes) -> None:
    found = await exposed(Metrics().readings, StoredStatus("a", NAMESPACE, status), stored("b"))
    assert len(found) == 2


async def test_series_are_bounded_and_those_that_are_there_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_gauges, "MAX_SERIES", 4)
    metrics = Metrics()
    gauges = metrics.readings
    first, second, third = (stored(source, source=source) for source in ("a", "b", "c"))
    await gauges.refresh([second, third])
    with capture_logs() as lines:
        for _ in range(2):
            found = await exposed(gauges, first, second, third)
            assert {key[4] for key in found} == {"b", "c"}
    [line] = said(lines, "readings not exported")
    assert (line["streams"], line["not_exported"]) == (3, 1)
    assert b"riskladder_readings_not_exported 1.0" in generate_latest(metrics.registry)
    assert {key[4] for key in await exposed(gauges, first, third)} == {"a", "c"}
    assert b"riskladder_readings_not_exported 0.0" in generate_latest(metrics.registry)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1)),
)
def test_whatever_a_name_or_a_value_is_the_exposition_can_be_read(name: str, value: float, when: datetime) -> None:
    when = when.replace(tzinfo=NOW.tzinfo)
    found = asyncio.run(exposed(Metrics().readings, stored(source=name, value=value, when=when)))
    assert found["riskladder_reading", *STREAM[:3], name, "bias"] == value
    shown = found["riskladder_reading_observed_timestamp_seconds", *STREAM[:3], name, "bias"]
    assert math.isclose(shown, when.timestamp(), abs_tol=1e-3)


async def test_scrape_of_many_streams_costs_next_to_nothing_where_nothing_changed() -> None:
    """The event loop has other things to do: what a scrape sends is made before, in slices."""
    gauges = Metrics().readings
    many = [stored(str(n), name=f"scorer-{n}") for n in range(2000)]
    await gauges.refresh(many)
    first = gauges.text()
    await gauges.refresh(many)
    assert gauges.text() == first
    assert gauges.text() is gauges.text()


async def test_signals_that_are_stored_are_found_for_the_gauges() -> None:
    plane = Live()
    plane.report(bias=0.05)
    [found] = plane.operator.store.signal_statuses()
    assert found.namespace == NAMESPACE
    assert isinstance(found.status, bytes)
