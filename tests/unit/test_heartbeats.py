"""A heartbeat: the source says that nothing has changed since, which keeps a reading fresh and is none itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from riskladder.api.escalation import LadderRef
from riskladder.api.reasons import Reason
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.api.validation import validate
from riskladder.policy.signals.evaluate import Verdict, evaluate
from riskladder.policy.signals.groups import Group
from riskladder.policy.snapshot import Signal, pin

from .builders import NOW, ladder, signal, signal_document

SPEC = ladder().spec
assert SPEC is not None
POLICY = pin(SPEC)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


def heard(reading: Signal, at: datetime | None) -> Signal:
    assert reading.spec is not None
    return replace(reading, spec=reading.spec.model_copy(update={"heard_at": at}))


def verdict(reading: Signal, now: datetime) -> Verdict:
    return evaluate(POLICY, [reading], now)[reading.uid]


def test_silence_counts_from_when_the_source_was_last_heard() -> None:
    reading = heard(signal(bias=0.01), NOW + DAY / 2)
    fresh, stale = verdict(reading, NOW + DAY), verdict(reading, NOW + 1.5 * DAY)
    assert (fresh.stale, fresh.tier, fresh.next_change) == ((), "", NOW + 1.5 * DAY)
    assert (stale.stale, stale.tier) == (("bias",), "moderate")
    assert [b.heard_at for b in stale.breaches] == [NOW + DAY / 2]


def test_repeating_is_no_reading() -> None:
    reading = signal(bias=0.15)
    first = verdict(reading, NOW)
    status = SignalStatus(observed=first.observed, breaches=first.breaches)
    again = verdict(replace(heard(reading, NOW + DAY / 4), status=status), NOW + DAY / 4)
    assert [(b.readings, b.confirmed) for b in again.breaches] == [(b.readings, b.confirmed) for b in first.breaches]


def test_what_still_stands_is_not_too_old() -> None:
    """An alert that has fired since last month is heard for the first time today."""
    old = signal(at=NOW - 4 * WEEK, drift=5.0)
    assert verdict(old, NOW).reason is Reason.READING_TOO_OLD
    assert verdict(heard(old, NOW), NOW).tier == "moderate"


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), DAY])
def test_nobody_is_heard_in_the_future(ahead: timedelta) -> None:
    reading = heard(signal(bias=0.01), NOW + DAY + ahead)
    assert verdict(reading, NOW + DAY).stale == ("bias",)


def test_silence_after_a_resume_is_news() -> None:
    """A Resume deals with what was observed before it. The source falls silent after it."""
    reading = heard(signal(bias=0.01), NOW + DAY)
    found = verdict(reading, NOW + 2 * DAY)
    group = Group(
        LadderRef(name="credit", uid="u", generation=1, digest="0" * 64),
        POLICY,
        False,
        (reading,),
        {reading.uid: found},
        handled=((NOW + 1.5 * DAY, "high"),),
    )
    assert [tier.name for tier in group.breached()] == ["moderate"]
    settled = replace(group, handled=((NOW + 2 * DAY, "high"),))
    assert settled.breached() == ()


def test_heartbeat_before_the_observation_is_refused() -> None:
    spec = signal_document(bias=0.01) | {"heardAt": "2020-01-01T00:00:00Z"}
    document = {"apiVersion": "riskladder.dev/v1alpha1", "kind": "ModelRiskSignal", "metadata": {"name": "a"}}
    [problem] = validate("ModelRiskSignal", {**document, "spec": spec})
    assert "heardAt must not lie before observedAt" in problem.message
    assert ModelRiskSignalSpec.model_validate(signal_document(bias=0.01)).heard_at is None
