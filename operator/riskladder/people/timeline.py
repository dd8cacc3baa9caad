"""An escalation's timeline, from its records alone where nothing else is left. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from riskladder.api.base import format_time
from riskladder.api.chain import ChainKey, ChainResult, distinct, noted_heads, position_of, verify_chains
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import entries_of
from riskladder.api.text import length
from riskladder.people.export import Export
from riskladder.people.particulars import (
    ENDS_OF_A_DRILL,
    KEY,
    MESSAGE,
    OPENINGS,
    ROLE,
    IntentKey,
    Particular,
    intent_key,
    particulars,
    redactions,
)
from riskladder.people.record_times import time_in_record

PROOFS = (Reason.SCALED_TO_ZERO, Reason.ROLLED_BACK, Reason.FELL_BACK, Reason.ISOLATED, Reason.ALREADY_AT_ZERO)
_CONTAINMENT: Mapping[str, str] = {
    Reason.CONTAINMENT_APPLIED: "applied, not proved yet",
    Reason.PODS_UNCONFIRMED: "pods vanished, and their node has not confirmed that they ended",
    Reason.CONTAINMENT_LATE: "not proved in time",
    Reason.CONTAINMENT_INEFFECTIVE: "did not help",
    Reason.CONTAINMENT_REAPPLIED: "reverted by somebody and re-applied",
    Reason.TARGET_DELETED: "the target was deleted",
    Reason.RESUMED: "people have agreed to restore it",
    Reason.RESTORED: "restored",
    Reason.REHEARSED: "a drill touches nothing",
    **dict.fromkeys(PROOFS, "proved"),
}
_NEVER = "never answered"

_VOTES_FOR: Mapping[str, tuple[str, str]] = {
    Reason.RISK_ACCEPTED: ("AcceptRisk", ""),
    Reason.RESUMED: ("Resume", ""),
    Reason.REMEDIATED: ("Close", "Remediated"),
    Reason.FALSE_POSITIVE: ("Close", "FalsePositive"),
    Reason.RETIRED: ("Close", "Retired"),
}
"""What several have agreed on, by action and resolution."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, as a record says."""

    sequence: int
    """Of the record."""
    at: datetime | None
    """None where it has no readable time."""
    at_text: str
    since: timedelta | None
    """Time since the opening."""
    event: str
    actor: str
    message: str
    says: str
    """The message for people: without the words of a notification that others have got before."""
    particulars: tuple[Particular, ...]
    detail: Mapping[str, str]
    redacted: Mapping[str, Mapping[str, str]]
    """By name of a particular that was erased: by whom, at what time and for which reason."""
    verified: bool
    """Whether the chain is intact up to here."""


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a drill has shown, by its last record."""

    answers: tuple[tuple[str, str], ...]
    """Role, and after how long it answered."""
    containment: str
    """``permitted``, ``failed`` or ``none``."""
    channels_failed: str

    @property
    def never_answered(self) -> int:
        """How many roles have not answered at all."""
        return sum(answer == _NEVER for _, answer in self.answers)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that the timeline of an escalation shows."""

    key: ChainKey
    chain: ChainResult
    target: str
    ladder: str
    tier: str
    opened: datetime | None
    closed: str
    contained: str
    drill: bool
    result: DrillResult | None
    """Of a drill that is over."""
    steps: tuple[Step, ...]


def timeline_of(export: Export, key: ChainKey) -> Timeline:
    """Return the timeline of one escalation; what its object says is used where there is one, else the records alone.

    Raises:
        ValueError: The status of an escalation has a ledger that is none.
        LookupError: There is no record of it.
    """
    records = distinct(export.records)
    results = verify_chains(records, noted_heads(export.escalations, export.origin))
    chain = next((result for result in results if result.key == key), None)
    if chain is None:
        raise LookupError(f"no record of {key}")
    placed = [(position_of(record), record) for record in records]
    mine = sorted((p.sequence, i) for i, (p, _) in enumerate(placed) if p.key == key)
    specs = [(sequence, act) for sequence, i in mine for act in _acts(records[i])]
    escalation = next((e for e in export.escalations if _key(e) == key), {})

    opened = time_in_record(next((s.get("at") for _, s in specs if s.get("event") in OPENINGS), None))
    if opened is None:
        opened = min((at for _, s in specs if (at := time_in_record(s.get("at")))), default=None)
    intended = {
        intent_key(_detail(s)): _detail(s)["intendedAt"]
        for _, s in specs
        if {"intent", "intendedAt"} <= set(_detail(s))
    }
    steps: list[Step] = []
    for sequence, spec in specs:
        steps.append(_step(sequence, spec, opened, intended, steps, 0 < sequence <= chain.length))
    status, spec = _mapping(escalation.get("status")), _mapping(escalation.get("spec"))
    return Timeline(
        key=key,
        chain=chain,
        target=_latest(steps, "target") or _target(spec) or "unknown",
        ladder=_ladder(steps) or str(_mapping(spec.get("ladder")).get("name") or "unknown"),
        tier=str(status.get("tier") or _latest(steps, "tier") or "unknown"),
        opened=opened,
        closed=closed_text(steps),
        contained=contained_now(status, steps),
        drill=spec.get("drill") is True or any(step.event == Reason.DRILL_STARTED for step in steps),
        result=result_of(steps),
        steps=tuple(steps),
    )


def _acts(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return what a record says happened; one that says nothing readable is still a step."""
    return entries_of(_mapping(record.get("spec"))) or [{}]


def _step(
    sequence: int,
    spec: Mapping[str, Any],
    opened: datetime | None,
    intended: Mapping[IntentKey, str],
    before: Sequence[Step],
    verified: bool,
) -> Step:
    at, detail, event = time_in_record(spec.get("at")), _detail(spec), str(spec.get("event") or "?")
    redacted: Mapping[str, Mapping[str, str]] = _mapping(spec.get("redacted"))
    return Step(
        sequence=sequence,
        at=at,
        at_text=format_time(at) if at else str(spec.get("at")),
        since=at - opened if at and opened else None,
        event=event,
        actor=str(spec.get("actor") or "?"),
        message=detail.get(MESSAGE, ""),
        says=_says(sequence, detail, before),
        particulars=(*particulars(event, at, detail, intended, votes(event, detail, before)), *redactions(redacted)),
        detail=detail,
        redacted=redacted,
        verified=verified,
    )


def _says(sequence: int, detail: Mapping[str, str], before: Sequence[Step]) -> str:
    message = detail.get(MESSAGE, "")
    words = _message_text(detail)
    if not words:
        return message
    first = next((s.sequence for s in before if _message_text(s.detail) == words), None)
    if first is None:
        return message
    where = "above" if first == sequence else f"of record {first}"
    return f"{message[: -len(words)]}the words {where}"


def _message_text(detail: Mapping[str, str]) -> str:
    """Return the words of a notification that arrived, behind who was notified over which channel."""
    if "notification" not in detail:
        return ""
    head = f"{detail.get('role')} was notified over {detail.get('channel')}: "
    message = detail.get(MESSAGE, "")
    return message.removeprefix(head) if message.startswith(head) else ""


def votes(event: str, detail: Mapping[str, str], before: Sequence[Step]) -> list[str]:
    """Return the counted votes that a joint decision is made of, in words: those of the same rung."""
    if event not in _VOTES_FOR:
        return []
    closes = detail.get(KEY, "").endswith("/closed")
    wanted, episode = ("Close", event) if closes else _VOTES_FOR[event], intent_key(detail)[0]
    found: list[str] = []
    for step in reversed(before):
        if "rung" in step.detail or step.event == event or intent_key(step.detail)[0] != episode:
            break
        vote = (step.detail.get("action", ""), step.detail.get("resolution", ""))
        if step.event == Reason.COUNTED and vote == wanted:
            found.append(f"{step.actor} as {step.detail.get('role')} (record {step.sequence})")
    return found[::-1]


def _ladder(steps: Sequence[Step]) -> str:
    opening = next((s.detail for s in steps if "ladder" in s.detail), None)
    if opening is None:
        return ""
    generation, digest = opening.get("ladderGeneration"), opening.get("ladderDigest", "")
    text = opening["ladder"] + (f", generation {generation}" if generation else "")
    return text + (f", digest {digest[:12]}…" if digest else "")


def contained_now(status: Mapping[str, Any], steps: Sequence[Step]) -> str:
    """Return whether the model is contained: by the status of its Escalation where that is known, else by records."""
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, Mapping) and condition.get("type") == ConditionType.CONTAINED:
            word = {"True": "yes", "False": "no"}.get(str(condition.get("status")), "unknown")
            return f"{word}, {condition.get('reason')}: {condition.get('message')}"
    relevant = (*_CONTAINMENT, Reason.ESCALATION_DELETED)
    last = next((s for s in reversed(steps) if s.event in relevant), None)
    if last is not None and last.event == Reason.ESCALATION_DELETED:
        return f"unknown: the Escalation was deleted {last.at_text} (as record {last.sequence} says)"
    if last is None:
        return "no containment on record"
    word = "yes" if last.event in (*PROOFS, Reason.CONTAINMENT_REAPPLIED) else "no"
    return f"{word}, {last.event}: {_CONTAINMENT[last.event]} (as record {last.sequence} says)"


def closed_text(steps: Sequence[Step]) -> str:
    """Return when and how it was closed; empty while it is open."""
    last = next((s for s in reversed(steps) if s.detail.get(KEY, "").rpartition("/")[2] == "closed"), None)
    return f"{last.at_text}, {last.event}" if last else ""


def result_of(steps: Sequence[Step]) -> DrillResult | None:
    """Return the result of a drill that is over."""
    last = next((s for s in reversed(steps) if s.event in ENDS_OF_A_DRILL and "containment" in s.detail), None)
    if last is None:
        return None
    roles = {k.removeprefix(ROLE): v for k, v in last.detail.items() if k.startswith(ROLE)}
    return DrillResult(
        answers=tuple((role, _readable(answer)) for role, answer in sorted(roles.items())),
        containment=last.detail["containment"],
        channels_failed=last.detail.get("channelsFailed", "none"),
    )


def _readable(answer: str) -> str:
    """Return ``answered after 754 s`` as ``answered after 12 min``."""
    head, seconds = "answered after ", answer.removeprefix("answered after ").removesuffix(" s")
    return (
        head + length(timedelta(seconds=int(seconds))) if answer == f"{head}{seconds} s" and _small(seconds) else answer
    )


def _small(number: str) -> bool:
    return number.isascii() and number.isdecimal() and len(number) < 10


def _latest(steps: Sequence[Step], name: str) -> str:
    """Return the last value in the records; what a decision asked for is not yet so."""
    found = (s.detail[name] for s in reversed(steps) if name in s.detail and "decision" not in s.detail)
    return next(found, "")


def _target(spec: Mapping[str, Any]) -> str:
    target = _mapping(spec.get("target"))
    return f"{target['kind']}/{target['name']}" if {"kind", "name"} <= set(target) else ""


def _detail(spec: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in _mapping(spec.get("detail")).items()}


def _key(escalation: Mapping[str, Any]) -> ChainKey:
    metadata = _mapping(escalation.get("metadata"))
    return ChainKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
