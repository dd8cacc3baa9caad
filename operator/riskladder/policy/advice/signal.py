"""Advice on a signal against its ladder: why the operator would not use it (api.md: reasons of Ready=False)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from riskladder.api.advice import Advice, advise_indicators, advise_source
from riskladder.api.base import format_time
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.measurement import indicator_of, no_measurement, with_unit
from riskladder.api.reasons import Reason
from riskladder.api.signal import ModelRiskSignalSpec
from riskladder.api.tiers import Trigger
from riskladder.policy.signals.ages import MANUAL_MAX_AGE
from riskladder.policy.signals.evaluate import CLOCK_SKEW
from riskladder.workloads.registry import ALL_RUNTIMES, Runtimes

_CLOSEST, _FARTHEST = 20.0, 500.0
"""Factors between which a value and a threshold are about a hundred apart: a measured value is seldom right at one."""


def advise_kind(kind: str, runtimes: Runtimes | None) -> list[Advice]:
    """Return why the operator would not deal with a target of that kind.

    Args:
        kind: The kind of the target.
        runtimes: What the operator runs with, where that is known; else any kind that has a component.
    """
    if runtimes is None:
        known = sorted(runtime.resource.kind for runtime in ALL_RUNTIMES)
        why = f"{kind} is not supported by any component ({', '.join(known)} are)" if kind not in known else ""
    else:
        why = runtimes.unsupported(kind)
    if not why:
        return []
    message = f"{why}: the signal would stay unused. A kind with a scale subresource can be allowed by --scalable"
    return [Advice("target-unsupported", "spec.target.kind", message, "name the workload that serves the model")]


def advise_time(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec | None, now: datetime) -> list[Advice]:
    """Return why the operator would not count what was observed at that time, if it were applied now.

    Args:
        spec: A signal that ``api.validation`` has nothing against.
        ladder: Its ladder, or None if that is not among the ladders at hand: then nobody knows how old may be.
        now: Current time, UTC.
    """
    at = format_time(spec.observed_at)
    if spec.manual is None and spec.observed_at > now + CLOCK_SKEW:
        minutes = CLOCK_SKEW // timedelta(minutes=1)
        message = f"{at} lies more than {minutes} minutes in the future: the signal would not be used until then"
        return [
            Advice("observed-in-the-future", "spec.observedAt", message, "give the time of the measurement, in UTC")
        ]
    if spec.manual is not None:
        limits = {f"{MANUAL_MAX_AGE.days}d, as for all that is raised manually": MANUAL_MAX_AGE}
    else:
        declared = [indicator_of(ladder.indicators, r.indicator) for r in spec.readings] if ladder is not None else []
        limits = {f"{i.max_age}, maxAge of {i.name}": i.max_age.delta for i in declared if i is not None}
    old = [what for what, limit in limits.items() if now - spec.observed_at > limit]
    if not old:
        return []
    message = f"{at} is longer ago than {'; '.join(old)}: it would not be counted when it is first seen"
    return [Advice("observed-too-long-ago", "spec.observedAt", message, "report a new measurement")]


def advise_signal(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec | None) -> list[Advice]:
    """Return why the operator would not use a signal, whenever it is applied and to whatever.

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
        *advise_source(spec, ladder),
        *advise_indicators(spec, ladder),
        *_measurements(spec, ladder),
        *_manual_tier(spec, ladder),
    ]


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
