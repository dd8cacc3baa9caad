"""A piece of advice: what would be taken, and what a reviewer would ask about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from riskladder.api.binding import BoundReading, MonitorBindingSpec
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.signal import ModelRiskSignalSpec, Reading

Reporting = ModelRiskSignalSpec | MonitorBindingSpec
"""What names a ladder, a source, and indicators that are reported."""


class Advice(NamedTuple):
    """One piece of advice."""

    id: str
    """Names the rule, for search and for exceptions."""
    path: str
    """Where, as ``spec.tiers[0].containment.lock``."""
    message: str
    """What follows from the policy as it is."""
    remedy: str
    """What to do about it."""


def advise_source(spec: Reporting, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    """Yield the advice to report as a source that the ladder trusts."""
    if ladder.trusted_sources and spec.source not in ladder.trusted_sources:
        yield Advice(
            "source-untrusted",
            "spec.source",
            f"ladder {spec.ladder} does not trust source {spec.source}, only {', '.join(ladder.trusted_sources)}",
            "report as one of these, or add it to trustedSources",
        )


def advise_indicators(spec: Reporting, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    """Yield the advice to report indicators that the ladder has."""
    known = [indicator.name for indicator in ladder.indicators]
    readings: Sequence[Reading | BoundReading] = spec.readings
    for index, reading in enumerate(readings):
        if reading.indicator not in known:
            yield Advice(
                "indicator-unknown",
                f"spec.readings[{index}].indicator",
                f"ladder {spec.ladder} has no indicator {reading.indicator}, only {', '.join(known) or 'none at all'}",
                "correct the name, or add it to the ladder's indicators",
            )
