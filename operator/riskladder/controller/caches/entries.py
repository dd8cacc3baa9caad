"""What the store keeps of each object, and the keys of the work that it enqueues."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.controller.caches.endpoints import Object
from riskladder.policy.snapshot import (
    Handled,
    Ladder,
    TargetKey,
)


class LadderKey(NamedTuple):
    """Names one ladder, as a unit of work of its own."""

    namespace: str
    name: str


class LateDecisionKey(NamedTuple):
    """Names an escalation that is not open, on which somebody has decided: a review, or a late decision."""

    namespace: str
    name: str
    kind: str = "late-decision"
    """Distinguishes it from a target of the same name: named tuples are compared by their values."""


class IndexKey(NamedTuple):
    """Names the index of what is contained in one namespace, as a unit of work of its own."""

    namespace: str
    kind: str = "index"


GONE_LIMIT = 4096
"""How many deleted objects are remembered: more than can be deleted while a request is under way."""


Key = TargetKey | LadderKey | LateDecisionKey | IndexKey


Enqueue = Callable[[Key, bool], None]
"""Called with the key that a change concerns, and whether a containment may depend on it."""


@dataclass(slots=True)
class LadderEntry:
    """A cached ladder."""

    ladder: Ladder
    status: EscalationLadderStatus
    created: datetime
    version: int


@dataclass(slots=True)
class SignalEntry:
    """A cached signal."""

    uid: str
    version: int
    generation: int
    target: TargetKey
    ladder: str
    spec: bytes
    status: bytes
    problems: tuple[str, ...] | None = None
    """What is wrong with the spec; ``None`` until somebody looks."""
    pending: SignalStatus | bytes | None = None
    """The status as computed last, while it waits to be written: as JSON, which takes a third of a model, since at a
    first start all of them wait; as a model for a target that is looked at often."""
    received_at: datetime | None = None
    """When the API server stored observedAt as it stands."""
    binding: str = ""
    """The MonitorBinding through which it was reported."""
    parsed: tuple[ModelRiskSignalSpec | None, SignalStatus] | None = None
    """Spec and status as models, for a target that is looked at often; ``None`` until somebody looks."""


class ClosedEntry(NamedTuple):
    """What is kept of a closed escalation."""

    created: str
    name: str
    ladder: str
    drill: bool
    handled: tuple[Handled, ...]
    breached: frozenset[str]


def version_of(obj: Object) -> int:
    """Return the resourceVersion as a number: comparable within one resource (Kubernetes 1.35 and later promise it)."""
    text = str(obj["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdigit() else 0


def compact(value: Any) -> bytes:
    """Return a value as JSON without white space: what is kept of an object until somebody asks for it."""
    return json.dumps(value, separators=(",", ":")).encode()
