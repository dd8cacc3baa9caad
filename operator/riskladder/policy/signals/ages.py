"""When a reading counts as observed, and when it is too old to count at all.

A monitor's clock may be ahead. What it reports counts as observed when it was received at the latest: else it would
outrank what is measured later, and override a Resume that was decided meanwhile. And a reading that is very old when it
is first seen says nothing of the model that serves now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.escalation import PinnedPolicy
from riskladder.api.signal import Observed, Reading
from riskladder.policy.snapshot import Signal

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of the operator's clock a reading may be (API contract: InvalidReading)."""

MANUAL_MAX_AGE = timedelta(days=7)
"""How old the observation of a person may be when it is first seen."""

_PRECISION = timedelta(seconds=1)
"""Of the time at which the API server has stored something: a second, of which the beginning is given."""


_LEEWAY = timedelta(seconds=2)
"""How far the operator's clock may be behind where it has to stand for the API server's: on the side of containing."""


def counted(signal: Signal, indicator: str) -> Observed | None:
    """Return the reading of an indicator as it has been counted, where the signal still says the same reading."""
    assert signal.spec is not None  # noqa: S101 - only valid signals are judged
    for observed in signal.carried.observed:
        if observed.indicator == indicator and observed.observed_at == signal.spec.observed_at:
            return observed
    return None


def counts_at(signal: Signal, now: datetime) -> datetime:
    """Return when what a signal says counts as observed: as it says, or when it was received if that is earlier."""
    spec = signal.spec
    assert spec is not None  # noqa: S101
    for observed in signal.carried.observed:
        if observed.observed_at == spec.observed_at:
            return observed.at
    if signal.received_at is not None:
        bound = signal.received_at + _PRECISION
    elif spec.manual is not None and _stands(signal) and signal.carried.since is not None:
        bound = signal.carried.since
    else:
        bound = now + _LEEWAY
    return min(spec.observed_at, bound)


def heard_at(signal: Signal, now: datetime) -> datetime | None:
    """Return when the source last said that nothing has changed; ``None`` for never, or for a time to come."""
    assert signal.spec is not None  # noqa: S101
    heard = signal.spec.heard_at
    return heard if heard is not None and heard <= now + CLOCK_SKEW else None


def observe(signal: Signal, reading: Reading, now: datetime, head: Observed | None) -> Observed:
    """Return a reading of a signal as it counts now, behind the newest one of its stream."""
    assert signal.spec is not None  # noqa: S101
    before = counted(signal, reading.indicator)
    if before is not None:
        return before.model_copy(update={"value": reading.value})
    stated, at = signal.spec.observed_at, counts_at(signal, now)
    if head is not None and stated > head.observed_at:
        at = max(at, head.at)  # another operator's clock may have been ahead of this one
    elif head is not None and (at, stated) < head.order and _follows(signal, head.order):
        at = head.at + timedelta(microseconds=1)
    return Observed(
        indicator=reading.indicator, value=reading.value, observed_at=stated, received_at=at if at != stated else None
    )


def is_later(signal: Signal, now: datetime, head: tuple[datetime, datetime]) -> bool:
    """Return whether a signal says nothing that is older than where the newest reading of its stream stands."""
    assert signal.spec is not None  # noqa: S101
    stated = signal.spec.observed_at
    return stated > head[1] or (counts_at(signal, now), stated) >= head or _follows(signal, head)


def _follows(signal: Signal, head: tuple[datetime, datetime]) -> bool:
    """Return whether a signal follows a reading that was ahead, and of which only the reception is known, roughly.

    What is measured within seconds of that may have been measured before it or after it. It was received later.
    """
    assert signal.spec is not None  # noqa: S101
    at, stated = head
    is_rough = at != stated
    is_received_later = signal.received_at is None or signal.received_at + _PRECISION >= at
    return is_rough and is_received_later and signal.spec.observed_at >= at - _PRECISION - _LEEWAY


def too_old(
    policy: PinnedPolicy,
    signal: Signal,
    now: datetime,
    heads: Mapping[tuple[str, str], tuple[datetime, datetime]],
) -> dict[str, str]:
    """Return the indicators whose readings are too old to count, with the greatest age of each.

    Args:
        policy: What says so.
        signal: What is looked at.
        now: Current time, UTC.
        heads: By source and indicator, where the newest reading of the stream stands: one that is no newer has been
            superseded, however old it is.
    """
    spec = signal.spec
    assert spec is not None  # noqa: S101
    age, found = now - max(spec.observed_at, heard_at(signal, now) or spec.observed_at), {}
    for reading in spec.readings:
        declared = next((i for i in policy.indicators if i.name == reading.indicator), None)
        if declared is None or age <= declared.max_age.delta or counted(signal, reading.indicator) is not None:
            continue
        head = heads.get((spec.source, reading.indicator))
        if head is None or (spec.observed_at != head[1] and is_later(signal, now, head)):
            found[reading.indicator] = str(declared.max_age)
    return found


def too_old_text(observed_at: datetime, expected: Iterable[str]) -> str:
    """Return what was found and what was expected where readings are too old."""
    return (
        f"spec.observedAt: found {format_time(observed_at)}, expected {', '.join(expected)} when it is first seen "
        "(maxAge of the indicator): not counted; report a new measurement"
    )


def manual_too_old(signal: Signal, now: datetime) -> str:
    """Return why the observation of a person is too old to count, or nothing."""
    spec = signal.spec
    assert spec is not None  # noqa: S101
    if now - spec.observed_at <= MANUAL_MAX_AGE or _stands(signal):
        return ""
    return (
        f"spec.observedAt: found {format_time(spec.observed_at)}, expected no older "
        f"than {MANUAL_MAX_AGE.days}d when it is first seen: raise it again with the present time"
    )


def _stands(signal: Signal) -> bool:
    """Return whether what a person raised has been accepted as it stands."""
    manual = signal.spec.manual if signal.spec else None
    accepted = (signal.carried.observed_generation, signal.carried.tier)
    return manual is not None and accepted == (signal.generation, manual.tier)
