"""Which readings of a signal are not used: of no indicator of the ladder, too old, or no measurement."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from riskladder.api.escalation import PinnedPolicy
from riskladder.api.measurement import indicator_of, no_measurement
from riskladder.api.reasons import Reason
from riskladder.policy.signals import ages
from riskladder.policy.snapshot import Signal

REASONS = (Reason.READING_TOO_OLD, Reason.UNKNOWN_INDICATOR, Reason.OUT_OF_RANGE, Reason.TOO_FEW_SAMPLES)
"""Why one reading of a signal is not used while others are, the gravest first."""


def unused_readings(
    policy: PinnedPolicy,
    signal: Signal,
    now: datetime,
    heads: Mapping[tuple[str, str], tuple[datetime, datetime]],
) -> dict[str, tuple[Reason, str]]:
    """Return the indicators whose readings are not used, each with the reason and what was found and expected.

    A reading that has been counted stands as it was counted, whatever the ladder says by now of age, range and samples.

    Args:
        policy: What says so.
        signal: What is looked at.
        now: Current time, UTC.
        heads: By source and indicator, where the newest reading of the stream stands.
    """
    assert signal.spec is not None  # noqa: S101 - only valid signals are judged
    old, found = ages.too_old(policy, signal, now, heads), {}
    for reading in signal.spec.readings:
        name = reading.indicator
        declared = indicator_of(policy.indicators, name)
        if name in old:
            found[name] = (Reason.READING_TOO_OLD, f"{name} no older than {old[name]}")
        elif declared is None:
            found[name] = (Reason.UNKNOWN_INDICATOR, name)
        elif ages.counted(signal, name) is None and (why := no_measurement(declared, reading)) is not None:
            found[name] = why
    return found


def refusal(policy: PinnedPolicy, signal: Signal, unused: Mapping[str, tuple[Reason, str]]) -> tuple[Reason, str]:
    """Return the gravest reason for which readings of a signal are not used, and a message that names them all."""
    assert signal.spec is not None  # noqa: S101
    by_reason = {reason: sorted(text for why, text in unused.values() if why is reason) for reason in REASONS}
    parts = []
    if texts := by_reason[Reason.READING_TOO_OLD]:
        parts.append(ages.too_old_text(signal.spec.observed_at, texts))
    if texts := by_reason[Reason.UNKNOWN_INDICATOR]:
        known = ", ".join(indicator.name for indicator in policy.indicators)
        parts.append(f"spec.readings: {', '.join(texts)} is no indicator of the ladder, which has {known}")
    if texts := by_reason[Reason.OUT_OF_RANGE]:
        parts.append(f"spec.readings: {', '.join(texts)}: not counted; report it in the unit of the ladder")
    if texts := by_reason[Reason.TOO_FEW_SAMPLES]:
        parts.append(f"spec.readings: {', '.join(texts)}: not counted; report a measurement that rests on more")
    if len(unused) < len(signal.spec.readings):
        parts.append("the other readings were used")
    gravest = next(reason for reason in REASONS if by_reason[reason])
    return gravest, "; ".join(parts)


SUPERSEDED = (Reason.OUT_OF_ORDER, Reason.LADDER_NOT_FOUND, Reason.LADDER_INVALID)
"""Why a signal is not used, and nobody is notified: a later reading is known, or there is nobody who could be."""


def would_breach(policy: PinnedPolicy, signal: Signal, used: Collection[str]) -> bool:
    """Return whether what is not used of a signal lies beyond a threshold, or is of no indicator of the ladder.

    Args:
        policy: The thresholds.
        signal: What is looked at. A person who raises it means a breach.
        used: The indicators of which its readings were used.
    """
    if signal.spec is None or signal.spec.manual is not None:
        return True
    left = {reading.indicator: reading.value for reading in signal.spec.readings if reading.indicator not in used}
    if any(indicator_of(policy.indicators, name) is None for name in left):
        return True
    triggers = (trigger for tier in policy.tiers for trigger in tier.triggers if trigger.indicator in left)
    return any(trigger.is_beyond(left[trigger.indicator]) for trigger in triggers)
