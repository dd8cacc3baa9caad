"""Records and escalations, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from riskladder.api.chain import ChainResult

Object = dict[str, Any]

SAME_FILE = "the Escalation in the same file"
"""Where a head comes from that whoever wrote the records may have written, too."""


@dataclass(frozen=True, slots=True)
class Export:
    """What there is to check."""

    records: list[Object]
    escalations: list[Object]
    namespace: str | None
    """The namespace looked at; None for all of them."""
    origin: str = "the Escalation on the cluster"
    """Where the heads come from that the escalations note."""
    is_yaml: bool = False
    """Whether it was read from YAML, in which kubectl does not keep every character."""


def end_of(result: ChainResult) -> str:
    """Return with which heads a chain agrees, and where each was noted."""
    last = [origin for origin, sequence in result.origins.items() if sequence == result.length]
    passed = [f"{sequence} of {origin}" for origin, sequence in result.origins.items() if sequence < result.length]
    parts = [f"ends at the head of {' and of '.join(last)}"] if last else []
    parts += [f"passes through head {' and '.join(passed)}"] if passed else []
    return ", ".join(parts) or "no noted head to compare the end with"
