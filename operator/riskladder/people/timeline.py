"""An escalation's timeline, from its records alone where nothing else is left. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from riskladder.api.base import format_time
from riskladder.api.chain import ChainKey, ChainResult, distinct, noted_heads, position_of, verify_chains
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import entries_of
from riskladder.api.text import count, length, listed
from riskladder.people.export import Export
from riskladder.people.record_times import between, clock, time_in_record
from riskladder.policy import authentication

MESSAGE, KEY = "message", "key"
"""Entries of a record's detail that every record has: the sentence for people, and what identifies the act."""

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
_STEPS = {
    "appliedAt": "applied",
    "endpointsEmptyAt": "out of service",
    "podsGoneAt": "no pod left",
    "provedAt": "proved",
}
_IMAGES = {"images": "running", "initImages": "after init", "sidecarImages": "sidecar", "volumeImages": "with volume"}
_EVIDENCE = ("replicas", "readyPods", "readyEndpoints", "revision", "podTemplateHash", *_IMAGES)
_OF_READING = ("reading", "threshold", "sampleSize", "window", "evidence")
_REPORTER = ("reportedBy", "raisedBy", "credential", "impersonated", "binding")
_MODEL = ("model", "modelVersion", "modelCard", "modelLineage", "owners")
_IN_HEADER = ("ladder", "ladderGeneration", "target")
_IDENTITIES = ("ladderUid", "ladderDigest", "policy", "targetUid", "signalUid")
"""Shown in full by the JSON output only."""

OPENINGS = (Reason.ESCALATION_OPENED, Reason.DRILL_STARTED)
_ENDS_OF_A_DRILL = (Reason.DRILL_COMPLETED, Reason.DRILL_EXPIRED)
_ROLE = "role."
"""Before a role, in the detail of a drill's result."""
_NEVER = "never answered"

_MESSAGE = ("notification", "about", "role", "channel", "attempts")
_DECISION = (
    *("decision", "decisionUid", "action", "role", "rationale", "decidedAt", "tier", "until", "containment"),
    *("resolution", "clock", "refusedBecause", "policyUpdated", "satisfaction", "lessons", "groups", "credential"),
    *("impersonated", "via"),
)
_VOTES_FOR: Mapping[str, tuple[str, str]] = {
    Reason.RISK_ACCEPTED: ("AcceptRisk", ""),
    Reason.RESUMED: ("Resume", ""),
    Reason.REMEDIATED: ("Close", "Remediated"),
    Reason.FALSE_POSITIVE: ("Close", "FalsePositive"),
    Reason.RETIRED: ("Close", "Retired"),
}
"""What several have agreed on, by action and resolution."""


@dataclass(frozen=True, slots=True)
class Particular:
    """One thing worth knowing about a step, under a heading."""

    heading: str
    text: str


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
        _intent_key(_detail(s)): _detail(s)["intendedAt"]
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
    intended: Mapping[_IntentKey, str],
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
        particulars=(*_particulars(event, at, detail, intended, before), *_redactions(redacted)),
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


def _particulars(
    event: str,
    at: datetime | None,
    detail: Mapping[str, str],
    intended: Mapping[_IntentKey, str],
    before: Sequence[Step],
) -> Iterable[Particular]:
    """Yield what is worth a line: readings, evidence, the times of a containment; then all else in the record."""
    shown = {MESSAGE, KEY, *_IDENTITIES}
    readings = [k.removeprefix("reading.") for k in detail if k.startswith("reading.")]
    if readings:
        shown |= {f"{about}.{name}" for about in _OF_READING for name in readings}
        observed = f" (observed {detail['observedAt']})" if "observedAt" in detail else ""
        shown.add("observedAt")
        yield Particular("readings", ", ".join(_reading(name, detail) for name in readings) + observed)
    if "decision" not in detail:
        shown |= set(_REPORTER)
        yield from _reporter(detail)
    if event in OPENINGS:
        shown |= {*_EVIDENCE, *_IN_HEADER, *_MODEL}
    if event in OPENINGS and (model := _model(detail)):
        yield Particular("model", model)
    if event in OPENINGS and (evidence := running(detail)):
        yield Particular("evidence", evidence)
    if times := _times(event, at, detail, intended):
        shown |= {"intendedAt", *_STEPS}
        yield Particular("times", times)
    if "decision" not in detail and "notification" not in detail and (why := detail.get("rationale")):
        shown.add("rationale")
        yield Particular("why", why)
        if by := detail.get("raisedBy"):
            shown |= {"raisedBy", "role"}
            yield Particular("raised by", f"{by} as {detail['role']}" if detail.get("role") else by)
    if "decision" in detail:
        shown |= set(_DECISION)
        yield from _decision(at, detail)
    elif "notification" in detail:
        shown |= set(_MESSAGE)
        yield from _notification(event, detail)
    elif agreed := votes(event, detail, before):
        yield Particular("agreed", listed(agreed))
    if event in _ENDS_OF_A_DRILL and "containment" in detail:
        shown |= {"containment", "channelsFailed", "openedAt", *(k for k in detail if k.startswith(_ROLE))}
    rest = {k: v for k, v in detail.items() if k not in shown and v}
    if rest:
        yield Particular("detail", ", ".join(f"{name} {value}" for name, value in rest.items()))


def _redactions(redacted: Mapping[str, Mapping[str, str]]) -> Iterable[Particular]:
    """Say who has erased what, when and why: once for what was erased together."""
    together: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, said in redacted.items():
        together.setdefault(tuple(said.items()), []).append(name)
    for items, names in together.items():
        about = dict(items)
        how = f"by {about['by']} at {about['at']}: {about['reason']}" if about else "and no redaction says so"
        yield Particular("redacted", f"{', '.join(names)}, {how}")


def _reading(name: str, detail: Mapping[str, str]) -> str:
    """Return a reading with what it is judged by and what it rests on."""
    size, window = detail.get(f"sampleSize.{name}"), detail.get(f"window.{name}")
    parts = [
        detail.get(f"threshold.{name}"),
        f"{size} samples" if size else "",
        f"over {window}" if window else "",
        detail.get(f"evidence.{name}"),
    ]
    about = ", ".join(part for part in parts if part)
    return f"{name} {detail[f'reading.{name}']}" + (f" ({about})" if about else "")


def _model(detail: Mapping[str, str]) -> str:
    """Return what the workload serves, by name and version, whose it is, and where to find more."""
    if "model" not in detail:
        return ""
    name = " ".join(filter(None, (detail["model"], detail.get("modelVersion"))))
    owners = f"owned by {detail['owners']}" if "owners" in detail else ""
    return ", ".join(filter(None, (name, owners, detail.get("modelCard"), detail.get("modelLineage"))))


def _decision(at: datetime | None, detail: Mapping[str, str]) -> Iterable[Particular]:
    """Yield why somebody decided so, for how long and how, or why it does not count."""
    if "refusedBecause" in detail:
        yield Particular("refused", detail["refusedBecause"])
    if rationale := detail.get("rationale"):
        yield Particular("why", rationale)
    asked = ("tier", "until", "containment", "resolution", "clock")
    if given := [f"{name} {detail[name]}" for name in asked if detail.get(name)]:
        yield Particular("asked for", ", ".join(given))
    if "satisfaction" in detail:
        policy = "is changed" if detail.get("policyUpdated") == "true" else "stays as it is"
        yield Particular("review", f"the policy {policy}, satisfaction {detail['satisfaction']} of 5")
    if lessons := detail.get("lessons"):
        yield Particular("lessons", lessons)
    made = time_in_record(detail.get("decidedAt"))
    late = at is not None and made is not None and at - made >= timedelta(seconds=5)
    waited = f", decided {detail['decidedAt']}" if late else ""
    yield Particular("decision", f"{detail['decision']}{waited}")
    groups = detail.get("groups")
    found = (f"groups {groups}" if groups else "", how_authenticated(detail))
    if any(found):
        yield Particular("authenticated", ", ".join(filter(None, found)))


def _reporter(detail: Mapping[str, str]) -> Iterable[Particular]:
    """Yield who reported a reading, or raised it manually, and with which credential."""
    through = detail.get("binding")
    how_reported = how_authenticated(detail) or (f"through MonitorBinding {through}" if through else "")
    name = detail.get("reportedBy") or detail.get("raisedBy")
    if name or how_reported:
        heading = "raised by" if "raisedBy" in detail else "reported by"
        yield Particular(heading, ", ".join(filter(None, (name, how_reported))))


def how_authenticated(detail: Mapping[str, str]) -> str:
    """Return with which credential something was done, or that it was by impersonation."""
    impersonated = detail.get("impersonated") == "true"
    binding = detail.get("binding", "") if impersonated else ""
    via = detail.get("via", "") if impersonated else ""
    return authentication.how(detail.get("credential", ""), binding=binding, via=via, known=impersonated)


def _notification(event: str, detail: Mapping[str, str]) -> Iterable[Particular]:
    """Yield what a message was about, where the event does not say so, and how often it was tried."""
    about, attempts = detail.get("about", ""), detail.get("attempts", "1")
    tried = f"{attempts} attempts" if attempts not in ("0", "1") else ""
    if parts := [part for part in (about if about != event else "", tried) if part]:
        yield Particular("about", ", ".join(parts))


def votes(event: str, detail: Mapping[str, str], before: Sequence[Step]) -> list[str]:
    """Return the counted votes that a joint decision is made of, in words: those of the same rung."""
    if event not in _VOTES_FOR:
        return []
    closes = detail.get(KEY, "").endswith("/closed")
    wanted, episode = ("Close", event) if closes else _VOTES_FOR[event], _intent_key(detail)[0]
    found: list[str] = []
    for step in reversed(before):
        if "rung" in step.detail or step.event == event or _intent_key(step.detail)[0] != episode:
            break
        vote = (step.detail.get("action", ""), step.detail.get("resolution", ""))
        if step.event == Reason.COUNTED and vote == wanted:
            found.append(f"{step.actor} as {step.detail.get('role')} (record {step.sequence})")
    return found[::-1]


def running(detail: Mapping[str, str]) -> str:
    """Return what ran before anything was touched, in words."""
    parts = []
    if replicas := detail.get("replicas"):
        parts.append(count(int(replicas), "replica") if replicas.isdecimal() else f"{replicas} replicas")
    for name, what in (("readyPods", "ready pod"), ("readyEndpoints", "ready endpoint")):
        if number := detail.get(name):
            parts.append(count(int(number), what) if number.isdecimal() else f"{number} {what}s")
    if revision := detail.get("revision"):
        template = detail.get("podTemplateHash")
        parts.append(f"revision {revision}" + (f" (template {template})" if template else ""))
    elif template := detail.get("podTemplateHash"):
        parts.append(f"template {template}")
    parts += [f"{words} {images}" for name, words in _IMAGES.items() if (images := detail.get(name))]
    return ", ".join(parts)


def _times(event: str, at: datetime | None, detail: Mapping[str, str], intended: Mapping[_IntentKey, str]) -> str:
    """Return the steps of a containment, each with the time it took after the one before."""
    start = time_in_record(detail.get("intendedAt") or intended.get(_intent_key(detail)))
    known = {name: time_in_record(detail.get(name)) for name in _STEPS}
    if event == Reason.CONTAINMENT_APPLIED:
        known["appliedAt"] = known["appliedAt"] or at
    reached = [(_STEPS[name], when) for name, when in known.items() if when is not None]
    if not reached:
        return ""
    begin = ("intended", start) if start is not None else reached.pop(0)
    text, before = f"{begin[0]} {clock(begin[1])}", begin[1]
    for name, when in reached:
        text, before = f"{text}, {name} {between(when - before)}", when
    whole = between(before - begin[1]).removeprefix("+")
    return text + (f" ({whole} in all)" if len(reached) > 1 else "")


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
    last = next((s for s in reversed(steps) if s.event in _ENDS_OF_A_DRILL and "containment" in s.detail), None)
    if last is None:
        return None
    roles = {k.removeprefix(_ROLE): v for k, v in last.detail.items() if k.startswith(_ROLE)}
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


_IntentKey = tuple[str, str]
"""uid of an escalation, which distinguishes the episodes of one chain, and intent."""


def _intent_key(detail: Mapping[str, str]) -> _IntentKey:
    return detail.get(KEY, "").partition("/")[0], detail.get("intent", "")


def _key(escalation: Mapping[str, Any]) -> ChainKey:
    metadata = _mapping(escalation.get("metadata"))
    return ChainKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
