"""Advice on a signal against its ladder: why the operator would not use it (api.md: reasons of Ready=False)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from riskladder.api.advice import Advice
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.measurement import indicator_of, no_measurement, with_unit
from riskladder.api.reasons import Reason
from riskladder.api.signal import ModelRiskSignalSpec
from riskladder.api.tiers import Trigger

_CLOSEST, _FARTHEST = 20.0, 500.0
"""Factors between which a value and a threshold are about a hundred apart: a measured value is seldom right at one."""


def advise_signal(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec | None) -> list[Advice]:
    """Return why the operator would not use a signal.

    Args:
        spec: A signal that ``api.validation`` has nothing against.
        ladder: Its ladder, or None if that is not among the ladders at hand.
    """
    if ladder is None:
        return [
            Advice(
                "ladder-missing",
                "spec.ladder",
                f"no ladder {spec.ladder} is among these files and this namespace: the signal would stay unused",
                "correct the name, or add the ladder",
            )
        ]
    return [
        *_source(spec, ladder),
        *_indicators(spec, ladder),
        *_measurements(spec, ladder),
        *_manual_tier(spec, ladder),
    ]


def _source(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    if ladder.trusted_sources and spec.source not in ladder.trusted_sources:
        yield Advice(
            "source-untrusted",
            "spec.source",
            f"ladder {spec.ladder} does not trust source {spec.source}, only {', '.join(ladder.trusted_sources)}",
            "report as one of these, or add it to trustedSources",
        )


def _indicators(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    known = [indicator.name for indicator in ladder.indicators]
    for index, reading in enumerate(spec.readings):
        if reading.indicator not in known:
            yield Advice(
                "indicator-unknown",
                f"spec.readings[{index}].indicator",
                f"ladder {spec.ladder} has no indicator {reading.indicator}, only {', '.join(known) or 'none at all'}",
                "correct the name, or add it to the ladder's indicators",
            )


def _measurements(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    for index, reading in enumerate(spec.readings):
        path = f"spec.readings[{index}]"
        declared = indicator_of(ladder.indicators, reading.indicator)
        if declared is None:
            continue
        if (why := no_measurement(declared, reading)) is not None:
            reason, text = why
            is_value = reason is Reason.OUT_OF_RANGE
            yield Advice(
                "reading-outside-range" if is_value else "samples-too-few",
                f"{path}.value" if is_value else f"{path}.sampleSize",
                f"{text}: the reading would not be counted ({reason})",
                f"report it in the unit of ladder {spec.ladder}, or correct the range"
                if is_value
                else "report a measurement that rests on more, or lower minSamples",
            )
            continue
        if reading.sample_size is None and declared.min_samples > 1:
            yield Advice(
                "sample-size-missing",
                path,
                f"indicator {reading.indicator} asks for at least {declared.min_samples} samples, and the reading does "
                "not say on how many it rests: it would be counted all the same",
                "add sampleSize",
            )
        triggers = [t for tier in ladder.tiers for t in tier.triggers if t.indicator == reading.indicator]
        if declared.range is None and _is_in_another_unit(reading.value, triggers):
            thresholds = ", ".join(f"{_threshold(t):g}" for t in triggers)
            yield Advice(
                "unit-suspicious",
                f"{path}.value",
                f"{reading.indicator} reads {with_unit(reading.value, declared)}, and the thresholds of ladder "
                f"{spec.ladder} are {thresholds}: they are about a hundred apart, as percent and fraction are",
                "report the value in the unit of the thresholds, or say by a range of the indicator that it is",
            )


def _threshold(trigger: Trigger) -> float:
    return trigger.above if trigger.above is not None else trigger.below or 0.0


def _is_in_another_unit(value: float, triggers: Sequence[Trigger]) -> bool:
    """Return whether a value and all thresholds of its indicator differ as percent and fraction do.

    A value that is far on the safe side is what a healthy model reads: that is suspicious only where the one is below 1
    and the other above, as a fraction and a percentage are.
    """
    ratios = []
    for trigger in triggers:
        threshold = _threshold(trigger)
        if not value * threshold > 0:
            return False
        ratio = abs(value / threshold)
        is_apart = max(ratio, 1 / ratio) >= _CLOSEST
        is_beyond = value > threshold if trigger.above is not None else value < threshold
        if not is_apart or not (is_beyond or (abs(value) <= 1) != (abs(threshold) <= 1)):
            return False
        ratios.append(max(ratio, 1 / ratio))
    return bool(ratios) and min(ratios) <= _FARTHEST


def _manual_tier(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    known = [tier.name for tier in ladder.tiers]
    if spec.manual is not None and spec.manual.tier not in known:
        yield Advice(
            "tier-unknown",
            "spec.manual.tier",
            f"ladder {spec.ladder} has no tier {spec.manual.tier}, only {', '.join(known)}",
            "correct the name",
        )
