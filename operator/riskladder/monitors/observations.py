"""What a payload becomes: observations, heartbeats, refusals, and how each is written to the API server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Observation:
    """One reading to be."""

    target: str
    """Name of the workload."""
    indicator: str
    value: float
    """In the unit of the indicator."""
    observed_at: datetime
    path: str
    """Where it stands in the payload."""
    heard_at: datetime | None = None
    """When the monitor said so, where to repeat it is a heartbeat."""
    sample_size: int | None = None
    window: str | None = None
    evidence: str | None = None
    version: str | None = None
    """Version of the model, where the payload says it."""
    back: int = 0
    """How many later observations of the same indicator the payload has."""
    delivery_id: str = ""
    """What the sender calls it, however often it sends it; empty where it says nothing."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The monitor says that it is alive: every reading of the binding stays fresh."""

    path: str
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registry says which version of a model has an alias now, or that there is one: no measurement."""

    path: str
    target: str
    version: str
    name: str = ""
    """What the registry calls the model."""
    alias: str = ""
    """Which alias points there now; empty for a version that is only new."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that becomes no reading."""

    path: str
    """Where it stands in the payload, or the field of the binding that it fails on."""
    reason: Reason
    message: str
    """What was found, and what was expected."""
    indicator: str = ""
    target: str = ""


MAX_REFUSALS = 256
"""Refusals of one payload that are said one by one: each is a verdict in the answer, and a line in the log."""


def said(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Return each refusal once, and of too many how many more there are."""
    found = tuple(dict.fromkeys(refusals))
    if len(found) <= MAX_REFUSALS:
        return found
    more = found[MAX_REFUSALS - 1 :]
    return (*found[: MAX_REFUSALS - 1], Refusal("", more[0].reason, f"found {len(more)} more that become no reading"))


class Translation(NamedTuple):
    """What a payload becomes."""

    observations: tuple[Observation, ...]
    heartbeats: tuple[Heartbeat, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unbound: tuple[str, ...] = ()
    """Where entries stand that no reading of the binding is about."""
    versions: tuple[ModelVersion, ...] = ()
    """What a registry says of the versions of the model."""


def signal_name(binding: str, observation: Observation) -> str:
    """Return the name of the ModelRiskSignal of an observation: of one stream the same, however often it is sent."""
    return stream_name(binding, observation.target, observation.indicator) + (
        f"-{observation.back}" if observation.back else ""
    )


def stream_name(binding: str, target: str, indicator: str) -> str:
    """Return the name of the ModelRiskSignal that has the newest reading of an indicator of a target."""
    digest = hashlib.sha256(f"{binding}/{target}/{indicator}".encode()).hexdigest()[:8]
    return f"{binding[:200].rstrip('.')}-{digest}"


def streams(binding: str, spec: MonitorBindingSpec) -> list[str]:
    """Return the names of all signals that may have the newest reading of a stream of a binding."""
    targets = [spec.target.name] if spec.target else list(spec.target_from.allowed if spec.target_from else ())
    return [stream_name(binding, target, reading.indicator) for target in targets for reading in spec.readings]


def reading_of(observation: Observation) -> Mapping[str, Any]:
    """Return the item of ``spec.readings`` of a ModelRiskSignal."""
    further = {
        "sampleSize": observation.sample_size,
        "window": observation.window,
        "evidence": observation.evidence,
    }
    known = {name: value for name, value in further.items() if value is not None}
    return {"indicator": observation.indicator, "value": observation.value, **known}
