"""Advice on a signal against its ladder: why the operator would not use it (api.md: reasons of Ready=False)."""

from __future__ import annotations

from collections.abc import Iterator

from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.signal import ModelRiskSignalSpec
from riskladder.policy.advice.ladder import Advice


def advise_signal(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec | None) -> list[Advice]:
    """Why the operator would not use a signal.

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
    return [*_source(spec, ladder), *_indicators(spec, ladder), *_manual_tier(spec, ladder)]


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


def _manual_tier(spec: ModelRiskSignalSpec, ladder: EscalationLadderSpec) -> Iterator[Advice]:
    known = [tier.name for tier in ladder.tiers]
    if spec.manual is not None and spec.manual.tier not in known:
        yield Advice(
            "tier-unknown",
            "spec.manual.tier",
            f"ladder {spec.ladder} has no tier {spec.manual.tier}, only {', '.join(known)}",
            "correct the name",
        )
