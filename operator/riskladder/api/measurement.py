"""What an indicator says of its readings: whether they are measurements at all, and how people read them."""

from __future__ import annotations

from collections.abc import Iterable

from riskladder.api.ladder import Indicator
from riskladder.api.reasons import Reason
from riskladder.api.signal import Reading
from riskladder.api.text import count


def indicator_of(indicators: Iterable[Indicator], name: str) -> Indicator | None:
    """Return the indicator of that name."""
    return next((indicator for indicator in indicators if indicator.name == name), None)


def with_unit(value: float, indicator: Indicator | None) -> str:
    """Return a value as people read it, with the unit of its indicator."""
    return f"{value:g} {indicator.unit}" if indicator is not None and indicator.unit else f"{value:g}"


def no_measurement(indicator: Indicator | None, reading: Reading) -> tuple[Reason, str] | None:
    """Return why a reading is no measurement of its indicator, and what was found and expected; else nothing."""
    if indicator is None:
        return None
    unit = f" {indicator.unit}" if indicator.unit else ""
    if indicator.range is not None and not indicator.range.takes(reading.value):
        expected = f"expected {indicator.range}{unit} (range of the indicator)"
        return Reason.OUT_OF_RANGE, f"{reading.indicator}: found {reading.value!r}{unit}, {expected}"
    if reading.sample_size is not None and reading.sample_size < indicator.min_samples:
        expected = f"expected at least {indicator.min_samples} (minSamples of the indicator)"
        return Reason.TOO_FEW_SAMPLES, f"{reading.indicator}: found {count(reading.sample_size, 'sample')}, {expected}"
    return None
