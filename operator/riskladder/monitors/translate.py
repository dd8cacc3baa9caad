"""A payload and a binding to readings: what each value becomes, or why it becomes none.

Nothing is guessed and nothing becomes a quiet zero: what is missing, no number, not finite, of no samples, ambiguous or
without a time is refused by name, and the indicator grows stale as if nothing had been sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from riskladder.api.binding import Aggregate, BoundReading, MonitorBindingSpec, ReadingKind, TimeSource
from riskladder.api.foreign import clip
from riskladder.api.reasons import Reason
from riskladder.api.text import one_line
from riskladder.monitors import times
from riskladder.monitors.entries import Content, Delivery, Entry
from riskladder.monitors.expressions import BadExpression, Scope
from riskladder.monitors.observations import (
    Heartbeat,
    ModelVersion,
    Observation,
    Refusal,
    Translation,
    reading_of,
    said,
    signal_name,
    stream_name,
    streams,
)
from riskladder.monitors.payload import shown
from riskladder.monitors.times import NoTime
from riskladder.monitors.values import Refused, aggregated, breach_of, scaled, target_of

__all__ = [
    "HISTORY",
    "Heartbeat",
    "ModelVersion",
    "Observation",
    "Refusal",
    "Translation",
    "reading_of",
    "signal_name",
    "stream_name",
    "streams",
    "translate",
]

MAX_VERSION = 253
"""Characters of a version, at most: a longer one is left out, not cut."""
HISTORY = 10
"""Observations of one indicator in one payload that become readings: the newest ones."""


@dataclass(frozen=True, slots=True)
class _Picked:
    """One number of one entry, before it is aggregated."""

    entry: Entry
    value: float


def translate(binding: MonitorBindingSpec, content: Content, delivery: Delivery) -> Translation:
    """Return the readings of a payload.

    Args:
        binding: What its words mean.
        content: The payload, taken apart by the preset of the binding's format.
        delivery: The headers of the request, and when it was received (UTC).
    """
    return _Translator(binding, content, delivery).run()


class _Translator:
    """One payload on its way."""

    def __init__(self, binding: MonitorBindingSpec, content: Content, delivery: Delivery) -> None:
        self._binding, self._content, self._delivery = binding, content, delivery
        self._scope = Scope([entry.to_cel() for entry in content.entries], content.body, len(delivery.raw))
        self._refusals: list[Refusal] = []
        self._zone: ZoneInfo | None = None

    def run(self) -> Translation:
        try:
            self._zone = times.zone_of(self._binding.time_zone)
        except NoTime as error:
            return Translation((), refusals=(Refusal("spec.timeZone", Reason.INVALID_BINDING, str(error)),))
        if left_out := self._content.left_out:
            message = (
                f"found {left_out} left out by the monitor, expected all of them: raise its limit (max_alerts of "
                "Alertmanager)"
            )
            self._refuse("body", Refused(Reason.TRUNCATED, message))
        heartbeats = dict(self._heartbeats())
        bound: set[int] = set()
        observations: list[Observation] = []
        for number, reading in enumerate(self._binding.readings):
            chosen = [i for i in self._chosen(number, reading) if i not in heartbeats]
            bound.update(chosen)
            observations += self._observations(number, reading, chosen)
        rest = [(i, e) for i, e in enumerate(self._content.entries) if i not in bound and i not in heartbeats]
        return Translation(
            tuple(observations),
            tuple(heartbeats.values()),
            said(self._refusals),
            tuple(entry.path for _, entry in rest),
            tuple(self._versions()),
        )

    def _refuse(self, path: str, why: Refused, *, indicator: str = "", target: str = "") -> None:
        self._refusals.append(Refusal(path, why.reason, one_line(why.message, 1024), indicator, target))

    def _versions(self) -> Iterator[ModelVersion]:
        """Return what a registry says of the model of the binding: of that name, where spec.model has one."""
        model = self._binding.model
        for entry in self._content.entries:
            name = entry.labels.get("name", "")
            alias = entry.labels.get("alias", "")
            if not entry.version or not entry.no_reading or (model is not None and model.name != name):
                continue
            if self._binding.alias is not None and self._binding.alias != alias:
                continue
            try:
                target = target_of(self._binding, entry)
            except Refused as why:
                self._refuse(entry.path, why)
                continue
            yield ModelVersion(entry.path, target, entry.version, name, alias)

    # --- Which entries ---

    def _heartbeats(self) -> Iterator[tuple[int, Heartbeat]]:
        expression, received = self._binding.heartbeat, self._delivery.received_at
        if expression is None or received is None:
            return
        for i, entry in enumerate(self._content.entries):
            if self._is_true("spec.heartbeat", expression, i) and entry.firing is not False:
                yield i, Heartbeat(entry.path, received)

    def _chosen(self, number: int, reading: BoundReading) -> list[int]:
        if reading.where is None:
            return list(range(len(self._content.entries)))
        path = f"spec.readings[{number}].where"
        return [i for i in range(len(self._content.entries)) if self._is_true(path, reading.where, i)]

    def _is_true(self, field: str, expression: str, i: int) -> bool:
        """Return whether an entry is meant; one that lacks what the expression looks at is not."""
        try:
            found = self._scope.evaluate(expression, i)
        except BadExpression as error:
            if not error.lacks:
                self._refuse(field, Refused(Reason.INVALID_BINDING, f"{error}"))
            return False
        if not isinstance(found, bool):
            message = f"found {shown(found)}, expected true or false"
            self._refuse(field, Refused(Reason.INVALID_BINDING, message))
            return False
        return found

    # --- What they become ---

    def _observations(self, number: int, reading: BoundReading, chosen: Sequence[int]) -> list[Observation]:
        """Return one for each target and time; alerts that stand count together, whenever they began."""
        if not chosen:
            if not self._content.is_partial:
                missing = Refused(Reason.NO_READING, "found no entry of this indicator in the payload")
                self._refuse(f"spec.readings[{number}]", missing, indicator=reading.indicator)
            return []
        found: dict[tuple[str, datetime | None], list[tuple[datetime, _Picked]]] = {}
        partial: set[tuple[str, datetime | None]] = set()
        unplaced: set[str] = set()  # targets with a value of unknown time, or an alert that fires
        for i in chosen:
            entry = self._content.entries[i]
            target, key = "", None
            try:
                target = target_of(self._binding, entry)
                if entry.no_reading:
                    raise Refused(Reason.NO_READING, entry.no_reading)
                at = self._observed_at(i)
                key = (target, None if entry.stands else at)
                numbers = self._numbers(number, reading, i)
            except Refused as why:
                self._refuse(entry.path, why, indicator=reading.indicator, target=target)
                if key is not None and not entry.stands:
                    partial.add(key)
                elif entry.firing if entry.stands else reading.aggregate is not Aggregate.ONLY:
                    unplaced.add(target)
                continue
            found.setdefault(key, []).extend((at, _Picked(entry, value)) for value in numbers)
        observations = []
        for key, group in found.items():
            target = key[0]
            try:
                if key in partial:  # what is left of several values may be the better part of them
                    raise Refused(Reason.AMBIGUOUS, "found another value of the same time that is no number")
                one = self._observation(reading, target, group)
                if target in unplaced and not (one.value and group[0][1].entry.stands):
                    raise Refused(Reason.AMBIGUOUS, "found another one that cannot be read, expected all of them")
                observations.append(one)
            except Refused as why:
                self._refuse(group[0][1].entry.path, why, indicator=reading.indicator, target=target)
        return list(self._newest(observations))

    def _numbers(self, number: int, reading: BoundReading, i: int) -> list[float]:
        entry = self._content.entries[i]
        if entry.samples == 0:
            raise Refused(Reason.TOO_FEW_SAMPLES, "found 0 samples, expected at least 1")
        if reading.as_ is ReadingKind.BREACH:
            return [breach_of(entry)]
        if entry.stands and entry.firing is False:
            message = (
                "the alert has ended: its annotations have the value from while it fired; use as: Breach, or a query"
            )
            raise Refused(Reason.NO_READING, message)
        field = f"spec.readings[{number}].pick"
        try:
            value = self._scope.evaluate(reading.pick, i) if reading.pick else entry.value
        except BadExpression as error:
            reason = Reason.NO_READING if error.lacks else Reason.INVALID_BINDING
            raise Refused(reason, f"{field} {error}") from error
        values = value if isinstance(value, list) else [value]
        if not values:
            raise Refused(Reason.NO_READING, f"{field}: found an empty list, expected a number")
        return [scaled(one, reading.scale) for one in values]

    def _observed_at(self, i: int) -> datetime:
        wanted, received = self._binding.observed_at, self._delivery.received_at
        value: Any
        if wanted.source is TimeSource.RECEIVED:
            value = received
        elif wanted.source is TimeSource.HEADER:
            value = self._delivery.headers.get((wanted.header or "").lower())
            if value is None:
                raise Refused(Reason.INVALID_READING, f"found no header {wanted.header} (observedAt of the binding)")
        elif wanted.source is TimeSource.EXPRESSION:
            try:
                value = self._scope.evaluate(wanted.cel or "", i)
            except BadExpression as error:
                raise Refused(Reason.INVALID_BINDING, f"spec.observedAt.cel {error}") from error
        else:
            value = self._content.entries[i].at
            if value is None:
                expected = "expected one: set observedAt of the binding to Expression, Header or Received"
                raise Refused(Reason.INVALID_READING, f"found no time of the measurement in the payload, {expected}")
        try:
            return times.parse(value, self._zone, received)
        except NoTime as error:
            raise Refused(Reason.INVALID_READING, f"time of the measurement: {error}") from error

    def _observation(
        self, reading: BoundReading, target: str, group: Sequence[tuple[datetime, _Picked]]
    ) -> Observation:
        if self._content.left_out and reading.aggregate is not Aggregate.ONLY:
            message = (
                f"found a payload of which {self._content.left_out} entries were left out, expected all of them "
                f"(aggregate {reading.aggregate})"
            )
            raise Refused(Reason.TRUNCATED, message)
        if reading.aggregate is Aggregate.ONLY and len(group) > 1:
            paths = ", ".join(dict.fromkeys(picked.entry.path for _, picked in group))
            expected = "expected one: narrow where, or say how to aggregate"
            raise Refused(Reason.AMBIGUOUS, f"found {len(group)} values of one time ({clip(paths, 200)}), {expected}")
        values = [picked.value for _, picked in group]
        entries = [picked.entry for _, picked in group]
        stands = any(entry.stands for entry in entries)
        sizes = [entry.samples for entry in entries if entry.samples is not None]
        first = entries[0]
        return Observation(
            target=target,
            indicator=reading.indicator,
            value=aggregated(reading.aggregate, values),
            observed_at=max(at for at, _ in group),
            path=first.path if len(group) == 1 else f"{first.path} and {len(group) - 1} more",
            heard_at=self._delivery.received_at if stands and any(entry.firing for entry in entries) else None,
            sample_size=min(sizes) if len(sizes) == len(entries) else None,
            window=times.span(first.window, self._zone),
            evidence=first.evidence or None,
            version=first.version if 0 < len(first.version) <= MAX_VERSION else None,
            delivery_id=first.delivery_id,
        )

    def _newest(self, observations: Iterable[Observation]) -> Iterator[Observation]:
        """The newest observations of each target, oldest first, each with how many are newer."""
        by_target: dict[str, list[Observation]] = {}
        for one in observations:
            by_target.setdefault(one.target, []).append(one)
        for of_target in by_target.values():
            of_target.sort(key=lambda one: one.observed_at)
            for back, one in reversed(list(enumerate(reversed(of_target)))):
                if back < HISTORY:
                    yield one if back == one.back else replace(one, back=back)
                    continue
                message = f"found {len(of_target)} observations, expected at most {HISTORY}: the newest ones are taken"
                why = Refused(Reason.OUT_OF_ORDER, message)
                self._refuse(one.path, why, indicator=one.indicator, target=one.target)
