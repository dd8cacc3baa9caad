"""What a report came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Reported:
    """A reading that the API server has stored. Whether the operator uses it, ``verdict`` says."""

    namespace: str
    name: str
    """Of the ModelRiskSignal."""
    ladder: str
    observed_at: datetime
    """UTC."""
    generation: int
    """``metadata.generation`` of the signal."""
    attempts: int = 1
    """How often it was sent."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the operator makes of a signal."""

    ready: bool
    """Whether it is used."""
    reason: str
    """One word, such as ``OutOfRange``: docs/concepts.md explains each."""
    message: str
    tier: str | None = None
    """The tier that the readings put the model in."""
    escalation: str | None = None
    """Name of the Escalation that it has opened or joined."""
    warning: str | None = None
    """What keeps people from being notified of it, where something does."""
