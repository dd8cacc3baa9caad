"""What of a record's entry is worth a line of its own: readings, evidence, times, decisions. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.reasons import Reason
from riskladder.api.text import count, listed
from riskladder.people.record_times import between, clock, time_in_record
from riskladder.policy import authentication

MESSAGE, KEY = "message", "key"
"""Entries of a record's detail that every record has: the sentence for people, and what identifies the act."""

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
ENDS_OF_A_DRILL = (Reason.DRILL_COMPLETED, Reason.DRILL_EXPIRED)
ROLE = "role."
"""Before a role, in the detail of a drill's result."""

_MESSAGE = ("notification", "about", "role", "channel", "attempts")
_DECISION = (
    *("decision", "decisionUid", "action", "role", "rationale", "decidedAt", "tier", "until", "containment"),
    *("resolution", "clock", "refusedBecause", "policyUpdated", "satisfaction", "lessons", "groups", "credential"),
    *("impersonated", "via"),
)

IntentKey = tuple[str, str]
"""uid of an escalation, which distinguishes the episodes of one chain, and intent."""


@dataclass(frozen=True, slots=True)
class Particular:
    """One thing worth knowing about a step, under a heading."""

    heading: str
    text: str


def intent_key(detail: Mapping[str, str]) -> IntentKey:
    """Return which containment of which episode of a chain an entry is about."""
    return detail.get(KEY, "").partition("/")[0], detail.get("intent", "")


def particulars(
    event: str,
    at: datetime | None,
    detail: Mapping[str, str],
    intended: Mapping[IntentKey, str],
    agreed: Sequence[str],
) -> Iterable[Particular]:
    """Yield what is worth a line: readings, evidence, the times of a containment; then all else in the record.

    Args:
        event: What happened.
        at: At what time, UTC, where that is readable.
        detail: What the entry says.
        intended: By containment: when it was intended, where an earlier entry says so.
        agreed: The votes that a joint decision is made of, in words.
    """
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
    elif agreed:
        yield Particular("agreed", listed(agreed))
    if event in ENDS_OF_A_DRILL and "containment" in detail:
        shown |= {"containment", "channelsFailed", "openedAt", *(k for k in detail if k.startswith(ROLE))}
    rest = {k: v for k, v in detail.items() if k not in shown and v}
    if rest:
        yield Particular("detail", ", ".join(f"{name} {value}" for name, value in rest.items()))


def redactions(redacted: Mapping[str, Mapping[str, str]]) -> Iterable[Particular]:
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


def _times(event: str, at: datetime | None, detail: Mapping[str, str], intended: Mapping[IntentKey, str]) -> str:
    """Return the steps of a containment, each with the time it took after the one before."""
    start = time_in_record(detail.get("intendedAt") or intended.get(intent_key(detail)))
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
