"""Describe the readings that were acted on, so that a record can be understood where nothing else is left."""

from __future__ import annotations

from collections.abc import Sequence

from riskladder.api.escalation import PinnedPolicy
from riskladder.api.intent import SignalRef
from riskladder.api.ladder import Indicator
from riskladder.api.measurement import indicator_of, no_measurement, with_unit
from riskladder.api.tiers import Tier, Trigger
from riskladder.policy import authentication


def read_values(policy: PinnedPolicy, signal: SignalRef, *, most: int, form: str = "{}={}") -> str:
    """Return what a signal reads in words, with units: the first readings of those that count."""
    found = []
    for reading in signal.readings:
        declared = indicator_of(policy.indicators, reading.indicator)
        if no_measurement(declared, reading) is None:
            found.append(form.format(reading.indicator, with_unit(reading.value, declared)))
    return ", ".join(found[:most])


def reading_particulars(signal: SignalRef, tier: Tier | None, indicators: Sequence[Indicator] = ()) -> dict[str, str]:
    """Return each reading with its threshold in the tier, sample size, window and evidence, as far as it has them.

    The keys are ``reading.INDICATOR``, ``threshold.INDICATOR`` (with the unit), ``sampleSize.INDICATOR``,
    ``window.INDICATOR`` and ``evidence.INDICATOR``. Those that are no measurement are there as well: the threshold says
    that they were not counted.
    """
    triggers = {trigger.indicator: trigger for trigger in tier.triggers} if tier else {}
    found: dict[str, str | None] = {}
    for reading in signal.readings:
        name, declared = reading.indicator, indicator_of(indicators, reading.indicator)
        why = no_measurement(declared, reading)
        unit = f" {declared.unit}" if declared is not None and declared.unit else ""
        found |= {
            f"reading.{name}": repr(reading.value),
            f"threshold.{name}": f"not counted: {why[0]}" if why else _threshold(triggers.get(name), unit),
            f"sampleSize.{name}": None if reading.sample_size is None else str(reading.sample_size),
            f"window.{name}": reading.window,
            f"evidence.{name}": reading.evidence,
        }
    return {key: str(value) for key, value in found.items() if value}


def reporter_particulars(signal: SignalRef, *, known: bool) -> dict[str, str]:
    """Return who reported and with which credential, or that it was by impersonation, as far as that was stamped.

    Who raised something manually is named by ``raisedBy`` already.

    Args:
        signal: What was reported.
        known: Whether the API server knows credentials.
    """
    by = signal.reported_by
    if by is None:
        return {"binding": signal.binding} if signal.binding else {}
    name = {"reportedBy": by.username} if signal.manual is None else {}
    return name | authentication.recorded(by.credential_id, binding=signal.binding or "", known=known)


def _threshold(trigger: Trigger | None, unit: str) -> str:
    if trigger is None:
        return ""
    side, number = ("above", trigger.above) if trigger.above is not None else ("below", trigger.below)
    in_a_row = f", {trigger.readings} readings in a row" if trigger.readings > 1 else ""
    return f"{side} {number!r}{unit}{in_a_row}"
