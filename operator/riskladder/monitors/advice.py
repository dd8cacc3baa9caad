"""Advice on a binding, by itself and against its ladder: it would be taken, and may do what nobody wants."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from riskladder.api.advice import Advice, advise_indicators, advise_source
from riskladder.api.binding import BoundReading, MonitorBindingSpec, MonitorFormat, ReadingKind, TimeSource
from riskladder.api.ladder import EscalationLadderSpec, Indicator
from riskladder.api.measurement import indicator_of
from riskladder.api.tiers import Trigger
from riskladder.monitors.entries import Direction
from riskladder.monitors.expressions import named
from riskladder.monitors.formats import FORMATS
from riskladder.monitors.methods import NOTHING, Known, known

_FACTOR = 20.0
"""A range that is so much wider than what a metric can be is in another unit, as per cent are."""
_SHORT = 3
"""Letters of a word in a query that may well mean something else than a metric."""
_QUIET_ZERO = re.compile(r"\bor\b(\s+(on|ignoring)\s*\([^)]*\))?\s*\(*\s*vector\s*\(", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[a-zA-Z_:][\w:]*")


def advise_binding(spec: MonitorBindingSpec, ladder: EscalationLadderSpec | None, *, has_ladders: bool) -> list[Advice]:
    """Return what a reviewer would ask about a binding.

    Args:
        spec: A binding that ``api.validation`` and ``problems`` have nothing against.
        ladder: Its ladder, or None if that is not among the ladders at hand.
        has_ladders: Whether there are ladders at hand to compare with.
    """
    found = [*_time(spec), *_query(spec), *_registry(spec)]
    if ladder is not None:
        found += [advice for rule in _AGAINST_LADDER for advice in rule(spec, ladder)]
    elif has_ladders:
        found.append(
            Advice(
                "ladder-missing",
                "spec.ladder",
                f"no ladder {spec.ladder} is among these files and this namespace: its readings would stay unused",
                "correct the name, or add the ladder",
            )
        )
    return found


# --- By itself --------------------------------------------------------------------------------------------------------


def _time(spec: MonitorBindingSpec) -> Iterator[Advice]:
    if spec.observed_at.source is TimeSource.PAYLOAD and not FORMATS[spec.format].has_time:
        yield Advice(
            "no-time",
            "spec.observedAt",
            f"{spec.format} says no time of a measurement: every value would be refused",
            "write observedAt: {from: Received}, or take the time from a header",
        )


def _query(spec: MonitorBindingSpec) -> Iterator[Advice]:
    if spec.poll is not None and _QUIET_ZERO.search(spec.poll.query):
        yield Advice(
            "silence-hidden",
            "spec.poll.query",
            "a query with `or vector(…)` answers with a number where there is no measurement: silence would never be "
            "noticed",
            "leave it out: no sample is no reading, and the indicator becomes stale",
        )


def _registry(spec: MonitorBindingSpec) -> Iterator[Advice]:
    if spec.format is MonitorFormat.MLFLOW:
        yield Advice(
            "no-measurement",
            "spec.readings",
            "an event of MLflow's registry is never a measurement: every reading of it would be refused",
            "bind the monitor that measures; this one keeps model.version current",
        )


# --- Against the ladder -----------------------------------------------------------------------------------------------


def _staleness(spec: MonitorBindingSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    for i, reading in enumerate(spec.readings):
        indicator = indicator_of(ladder.indicators, reading.indicator)
        if spec.poll is None or indicator is None or indicator.stale_after is None:
            continue
        if indicator.stale_after.delta < spec.poll.every.delta:
            yield Advice(
                "stale-between-polls",
                f"spec.readings[{i}].indicator",
                f"{reading.indicator} becomes stale after {indicator.stale_after}, and is asked for every "
                f"{spec.poll.every} only",
                "ask more often, or raise staleAfter",
            )


def _methods(spec: MonitorBindingSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    for i, reading in enumerate(spec.readings):
        indicator = indicator_of(ladder.indicators, reading.indicator)
        about, word = _known(spec, reading)
        if indicator is None or about is NOTHING or reading.as_ is ReadingKind.BREACH:
            continue
        triggers = [t for tier in ladder.tiers for t in tier.triggers if t.indicator == reading.indicator]
        yield from _direction(f"spec.readings[{i}]", spec, reading, about, word, triggers)
        if reading.pick is None:
            yield from _scale(f"spec.readings[{i}].scale", reading, about, word, indicator, triggers)


def _known(spec: MonitorBindingSpec, reading: BoundReading) -> tuple[Known, str]:
    """Return what is known of the method or metric that a reading names, and the word that says it."""
    words = named(reading.where or "")
    if spec.poll is not None:
        words += [word for word in _IDENTIFIER.findall(spec.poll.query) if len(word) > _SHORT]
    found = [(about, word) for word in words if (about := known(word)) is not NOTHING]
    return found[0] if len({about.direction for about, _ in found}) == 1 else (NOTHING, "")


def _direction(
    path: str, spec: MonitorBindingSpec, reading: BoundReading, about: Known, word: str, triggers: list[Trigger]
) -> Iterator[Advice]:
    above = any(trigger.above is not None for trigger in triggers)
    below = any(trigger.below is not None for trigger in triggers)
    direction = about.direction
    if reading.scale < 0:
        flipped = {Direction.HIGH_IS_BAD: Direction.LOW_IS_BAD, Direction.LOW_IS_BAD: Direction.HIGH_IS_BAD}
        direction = flipped.get(direction, direction)
    if reading.pick is not None or not triggers:
        return
    if direction is Direction.LOW_IS_BAD and above and not below:
        text, remedy = "is bad when it is low, and the ladder acts when it is above", "write below in the triggers"
    elif direction is Direction.HIGH_IS_BAD and below and not above:
        text, remedy = "is bad when it is high, and the ladder acts when it is below", "write above in the triggers"
    elif direction is Direction.BOTH_ARE_BAD and above != below:
        side = "above" if above else "below"
        text = f"is fair at {about.fair:g} and bad on both sides, and the ladder acts {side} only"
        remedy = "bind the distance from what is fair, for example by pick, or two indicators"
    else:
        return
    yield Advice("direction-suspicious", path, f"{word} {text} a threshold (ladder {spec.ladder})", remedy)


def _scale(
    path: str, reading: BoundReading, about: Known, word: str, indicator: Indicator, triggers: list[Trigger]
) -> Iterator[Advice]:
    ends = [None if end is None else end * reading.scale for end in (about.least, about.most)]
    least, most = ends if reading.scale > 0 else reversed(ends)
    if least is None or most is None:
        return
    lies = f"{word} lies between {least:g} and {most:g} with this scale"
    out = [f"{t:g}" for trigger in triggers for t in (trigger.above, trigger.below) if t is not None]
    if any(not least <= float(threshold) <= most for threshold in out):
        yield Advice(
            "threshold-unreachable",
            path,
            f"{lies}, and a threshold of {indicator.name} does not ({', '.join(out)})",
            "correct the scale, or the threshold",
        )
    declared = indicator.range
    if declared is None:
        return
    too_small = declared.max is not None and most > 0 and declared.max / most >= _FACTOR
    too_large = declared.max is not None and declared.max > 0 and most / declared.max >= _FACTOR
    if too_small or too_large:
        yield Advice(
            "scale-suspicious",
            path,
            f"{lies}, and {indicator.name} is declared {declared}",
            "say by scale what one is in the unit of the indicator, for example 100 for per cent",
        )


_AGAINST_LADDER: tuple[Callable[[MonitorBindingSpec, EscalationLadderSpec], Iterator[Advice]], ...] = (
    advise_source,
    advise_indicators,
    _staleness,
    _methods,
)
