"""An entry: one alert, metric, row or sample of a payload, in the same shape whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Direction(StrEnum):
    """On which side of a threshold a measurement is bad."""

    HIGH_IS_BAD = "HighIsBad"
    LOW_IS_BAD = "LowIsBad"
    BOTH_ARE_BAD = "BothAreBad"
    """Fair is a value between, such as 0 of a difference and 1 of a ratio."""
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement or alert, as its monitor says it. CEL sees those of ``MEMBERS``."""

    path: str
    """Where it is in the payload, for messages: ``alerts[0]``, ``metrics[3]``, ``row 2``."""
    name: str = ""
    """What the monitor calls the metric or alert."""
    value: Any = None
    """The number, as it stands in the payload: whether it is one is checked when it becomes a reading."""
    firing: bool | None = None
    """Whether the monitor says that its own threshold is crossed; ``None`` where it does not say."""
    at: str | int | float | datetime | None = None
    """When it was observed, as the payload says it; ``None`` where it does not."""
    stands: bool = False
    """Whether to repeat it says that nothing has changed since ``at``: then it is a heartbeat, and no new reading."""
    method: str = ""
    """By which method or statistical test it was measured."""
    column: str = ""
    """Which column, feature or output it is about."""
    estimated: bool = False
    """Whether it is an estimate without the truth, as by CBPE."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The rest, as the payload has it."""
    samples: int | None = None
    """How many samples it rests on."""
    window: tuple[str, str] | None = None
    """From when to when it was measured, as the payload says it."""
    evidence: str = ""
    """Link to the full report. It is shown to people, and never fetched."""
    version: str = ""
    """Version of the model, where the payload says it."""
    direction: Direction = Direction.UNKNOWN
    """On which side it is bad, where the format says so."""
    range: tuple[float | None, float | None] = (None, None)
    """Between which values it can lie, where the format says so."""
    delivery_id: str = ""
    """What the sender calls this one, however often it sends it: one payload counts it once."""
    no_reading: str = ""
    """Why it is none, whatever a binding picks; empty where it may be one."""

    def to_cel(self) -> dict[str, Any]:
        """Return what an expression sees as ``entry``."""
        return {
            "path": self.path,
            "name": self.name,
            "value": self.value,
            "firing": self.firing,
            "method": self.method,
            "column": self.column,
            "estimated": self.estimated,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "fields": dict(self.fields),
            "samples": self.samples,
            "version": self.version,
            "at": self.at.isoformat() if isinstance(self.at, datetime) else self.at,
            "deliveryId": self.delivery_id,
        }


MEMBERS = tuple(Entry("").to_cel())
"""What an expression may ask of ``entry``."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived: the bytes and the headers of one request."""

    raw: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a payload holds."""

    entries: Sequence[Entry]
    body: Any
    """All of it, for expressions; ``None`` where it is not JSON."""
    left_out: int = 0
    """How many entries the monitor says that it has left out."""
    is_partial: bool = False
    """Whether it says only what has happened, as an alert or an event does: what it does not mention is not missing."""


@dataclass(frozen=True, slots=True)
class Format:
    """A preset: how a payload of one monitor is taken apart."""

    name: str
    read: Callable[[Delivery], Content]
    """Raises ``Malformed``."""
    content_types: tuple[str, ...] = ("application/json",)
    label: str = ""
    """Where targetFrom.label looks, in words; empty where entries have no labels."""
    has_time: bool = True
    """Whether a payload says when something was measured, in at least one of its forms."""
    looks_like: Callable[[Delivery], bool] = lambda _: False
    """Whether a sample file is probably of this format."""
