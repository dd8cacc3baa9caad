"""Writes what a payload has become, and says what came of it: the same for what was sent and what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

from riskladder.api.base import format_time
from riskladder.api.reasons import ConditionType
from riskladder.monitors.observations import Observation, Refusal, Translation, stream_name
from riskladder.reporting.bindings import Binding, Bindings
from riskladder.reporting.signals import Outcome, SignalWriter
from riskladder.reporting.status_writer import StatusWriter

log = structlog.get_logger(__name__)

Verdict = dict[str, Any]
"""What became of one value: path, verdict, and what there is of target, indicator, value, signal, reason, message."""


class Reporter:
    """Reports for all bindings."""

    def __init__(self, writer: SignalWriter, status: StatusWriter, bindings: Bindings) -> None:
        """Put the parts together.

        Args:
            writer: Where readings go.
            status: What is said of them afterwards.
            bindings: All there are: those of one source share what a registry says of a model.
        """
        self._writer, self._bindings = writer, bindings
        self.status = status
        """What is said on the bindings."""

    async def report(self, binding: Binding, found: Translation) -> tuple[list[Verdict], int]:
        """Write what a payload becomes; what became of each value, and the HTTP status that says so."""
        by_stream: dict[tuple[str, str], list[Observation]] = {}
        for one in found.observations:
            by_stream.setdefault((one.target, one.indicator), []).append(one)
        written = await asyncio.gather(*(self._in_order(binding, group) for group in by_stream.values()))
        pairs = [pair for group in written for pair in group]
        verdicts = [_verdict_of(observation, outcome) for observation, outcome in pairs]
        outcomes = [outcome for _, outcome in pairs]
        for version in found.versions:
            kept = await self._writer.keep_version(binding, version, self._of_source(binding, version.target))
            outcomes += kept
            said = {"path": version.path, "target": version.target, "value": version.version}
            verdicts.append(said | self._of_updates(binding, version.path, "Version", kept))
        if found.heartbeats:
            kept = await self._writer.keep_fresh(binding, max(one.heard_at for one in found.heartbeats))
            outcomes += kept
            became = self._of_updates(binding, found.heartbeats[0].path, "Heartbeat", kept)
            verdicts += [{"path": one.path} | became for one in found.heartbeats]
        for observation, outcome in pairs:
            if outcome.is_stored:
                self.status.stored(binding, outcome.signal, observation)
            elif outcome.reason is not None:
                refusal = Refusal(observation.path, outcome.reason, outcome.message, observation.indicator)
                self.refuse(binding, refusal)
                self.status.say(binding, ConditionType.RECEIVING, False, outcome.reason, outcome.message)
        for refusal in found.refusals:
            self.refuse(binding, refusal)
            verdicts.append(_refused(refusal))
        verdicts += [{"path": path, "verdict": "Unbound"} for path in found.unbound]
        return verdicts, _status_of(outcomes, found)

    def _of_updates(self, binding: Binding, path: str, word: str, outcomes: Iterable[Outcome]) -> Verdict:
        """Say what became of what is no reading, and is said in every signal of a binding: the worst of it."""
        failed = [outcome for outcome in outcomes if not outcome.is_stored]
        if not failed:
            return {"verdict": word}
        worst = next((outcome for outcome in failed if outcome.is_later), failed[0])
        if worst.reason is None:
            return {"verdict": "Later", "reason": "Later", "message": worst.message}
        self.refuse(binding, Refusal(path, worst.reason, worst.message))
        return {"verdict": "Refused", "reason": str(worst.reason), "message": worst.message}

    async def _in_order(
        self, binding: Binding, observations: Iterable[Observation]
    ) -> list[tuple[Observation, Outcome]]:
        """Write the observations of one stream, the oldest first."""
        return [(one, await self._writer.report(binding, one)) for one in observations]

    def _of_source(self, binding: Binding, target: str) -> list[str]:
        """Return the names of all signals of a target that may come from the source of a binding."""
        assert binding.spec is not None  # noqa: S101
        return [
            stream_name(other.name, target, reading.indicator)
            for other in self._bindings
            if other.namespace == binding.namespace and other.spec and other.spec.source == binding.spec.source
            for reading in other.spec.readings
        ]

    def refuse(self, binding: Binding, refusal: Refusal) -> None:
        """Say of a value that it became no reading."""
        self.status.refused(binding, refusal)
        log.info(
            "no reading",
            namespace=binding.namespace,
            binding=binding.name,
            source=binding.spec.source if binding.spec else None,
            indicator=refusal.indicator or None,
            target=refusal.target or None,
            reason=refusal.reason,
            error=refusal.message,
        )


def _status_of(outcomes: list[Outcome], found: Translation) -> int:
    if any(outcome.is_later for outcome in outcomes):
        return 503
    if any(outcome.is_stored for outcome in outcomes):
        return 200
    if outcomes:
        return 403 if all(outcome.is_forbidden for outcome in outcomes) else 422
    return 422 if found.refusals else 200


def _verdict_of(observation: Observation, outcome: Outcome) -> dict[str, Any]:
    verdict: dict[str, Any] = {
        "path": observation.path,
        "target": observation.target,
        "indicator": observation.indicator,
        "value": observation.value,
        "observedAt": format_time(observation.observed_at),
        "signal": outcome.signal,
    }
    if outcome.is_stored:
        return verdict | {"verdict": "Stored"}
    word = "Later" if outcome.is_later else "Refused"
    return verdict | {"verdict": word, "reason": outcome.reason or "Later", "message": outcome.message}


def _refused(refusal: Refusal) -> dict[str, Any]:
    about = {"target": refusal.target, "indicator": refusal.indicator}
    known = {name: value for name, value in about.items() if value}
    return {
        "path": refusal.path,
        **known,
        "verdict": "Refused",
        "reason": str(refusal.reason),
        "message": refusal.message,
    }
