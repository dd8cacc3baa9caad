"""Describe the readings that were acted on, so that a record can be understood where nothing else is left."""

from __future__ import annotations

from riskladder.api.intent import SignalRef
from riskladder.api.tiers import Tier, Trigger


def reading_particulars(signal: SignalRef, tier: Tier | None) -> dict[str, str]:
    """Return each reading with its threshold in the tier, sample size, window and evidence, as far as it has them.

    The keys are ``reading.INDICATOR``, ``threshold.INDICATOR``, ``sampleSize.INDICATOR``, ``window.INDICATOR`` and
    ``evidence.INDICATOR``.
    """
    triggers = {trigger.indicator: trigger for trigger in tier.triggers} if tier else {}
    found: dict[str, str | None] = {}
    for reading in signal.readings:
        name = reading.indicator
        found |= {
            f"reading.{name}": repr(reading.value),
            f"threshold.{name}": _threshold(triggers.get(name)),
            f"sampleSize.{name}": None if reading.sample_size is None else str(reading.sample_size),
            f"window.{name}": reading.window,
            f"evidence.{name}": reading.evidence,
        }
    return {key: str(value) for key, value in found.items() if value}


def _threshold(trigger: Trigger | None) -> str:
    if trigger is None:
        return ""
    side, number = ("above", trigger.above) if trigger.above is not None else ("below", trigger.below)
    in_a_row = f", {trigger.readings} readings in a row" if trigger.readings > 1 else ""
    return f"{side} {number!r}{in_a_row}"
