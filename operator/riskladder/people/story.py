"""Sorts what the records of one escalation say by subject. Pure: no I/O, no clock."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from riskladder.api.reasons import Reason
from riskladder.people import facts
from riskladder.people.facts import Act, Agreement, Fact, Story
from riskladder.people.particulars import KEY, OPENINGS, how_authenticated, running
from riskladder.people.record_times import time_in_record
from riskladder.people.story_people import acceptances, awareness, deadlines, duties
from riskladder.people.timeline import PROOFS, Step, Timeline, closed_text, contained_now, result_of, votes

_THRESHOLD = re.compile(r"(?P<side>above|below) (?P<limit>[-+0-9.eE]+)")
_PROBLEMS = (
    Reason.CONTAINMENT_LATE,
    Reason.CONTAINMENT_IMPOSSIBLE,
    Reason.CONTAINMENT_INEFFECTIVE,
    Reason.PODS_UNCONFIRMED,
    Reason.LOCK_MISSING,
    Reason.CONTENTION,
)
_CLOSED = "closed"
_ASKED = ("tier", "until", "containment", "resolution", "clock")
_STALLS = (Reason.STALLED, Reason.HELD, Reason.INTERIM_CONTAINMENT)
AGREED = (Reason.RISK_ACCEPTED, Reason.RESUMED)


def story(timeline: Timeline, *, until: datetime | None = None) -> Story:
    """Return what the records say.

    Args:
        timeline: Of one escalation.
        until: The time as of which it is told; the last one on record, if none is given.
    """
    steps = timeline.steps
    last = max((step.at for step in steps if step.at is not None), default=None)
    as_of = until or last
    acts = tuple(_act(step) for step in steps if "decision" in step.detail)
    agreed = tuple(_agreements(steps))
    return Story(
        opening=next((_opening(step) for step in steps if step.event in OPENINGS), None),
        as_of=as_of,
        limits=tuple(_limits(next((s.detail.get("policy", "") for s in steps if s.event in OPENINGS), ""))),
        readings=tuple(reading for step in steps for reading in _readings(step)),
        tiers=tuple((s.sequence, s.detail["tier"], s.detail.get("why", "")) for s in steps if is_rung(s)),
        messages=tuple(_message(step) for step in steps if "notification" in step.detail),
        acts=acts,
        agreements=agreed,
        deadlines=tuple(deadlines(steps, as_of)),
        containments=tuple(_containments(steps)),
        restorations=tuple(
            facts.Restoration(record=s.sequence, at=s.at, done=s.event == Reason.RESTORED, text=s.message)
            for s in steps
            if s.event in (Reason.RESTORED, Reason.NOT_RESTORED)
        ),
        acceptances=tuple(acceptances(steps)),
        duties=tuple(duties(steps, as_of)),
        stalls=tuple(
            facts.Stall(record=s.sequence, at=s.at, event=s.event, tier=s.detail.get("tier", ""), text=s.message)
            for s in steps
            if s.event in _STALLS and "onTimeout" in s.detail
        ),
        reviews=tuple(_review(step) for step in steps if step.event == Reason.REVIEWED),
        rehearsals=tuple(step.message for step in steps if step.event == Reason.REHEARSED),
        redacted=tuple(found for step in steps for found in _redacted(step)),
        awareness=awareness(steps),
        ended=_ended(steps, agreed),
    )


def is_rung(step: Step) -> bool:
    """Return whether a step enters a rung: the opening, and every later one."""
    return "tier" in step.detail and (step.event in OPENINGS or "from" in step.detail)


def episodes(timeline: Timeline) -> tuple[Timeline, ...]:
    """Return a timeline for each escalation of a chain: one that was deleted may have given its name to another."""
    groups: dict[str, list[Step]] = {}
    uid = ""
    for step in timeline.steps:
        uid = step.detail.get(KEY, "").partition("/")[0] or uid
        groups.setdefault(uid, []).append(step)
    if len(groups) < 2:
        return (timeline,)
    found = []
    for number, steps in enumerate(groups.values(), start=1):
        opened = next((step.at for step in steps if step.event in OPENINGS), None)
        since = [replace(s, since=s.at - opened if s.at is not None and opened is not None else None) for s in steps]
        is_last = number == len(groups)
        found.append(
            replace(
                timeline,
                steps=tuple(since),
                opened=opened or timeline.opened,
                closed=closed_text(steps),
                tier=timeline.tier if is_last else next((s.detail["tier"] for s in steps[::-1] if is_rung(s)), ""),
                drill=any(step.event == Reason.DRILL_STARTED for step in steps),
                result=result_of(steps),
            )
        )
    return tuple(found)


def as_it_was(timeline: Timeline, until: datetime) -> Timeline:
    """Return the timeline without what happened later; whether it is contained is told by what is left of its records.

    Args:
        timeline: Of one escalation.
        until: The time as of which it is told.
    """
    steps = tuple(step for step in timeline.steps if step.at is None or step.at < until)
    if len(steps) == len(timeline.steps):
        return timeline
    return replace(
        timeline,
        steps=steps,
        tier=next((step.detail["tier"] for step in steps[::-1] if is_rung(step)), timeline.tier),
        closed=closed_text(steps),
        contained=contained_now({}, steps),
        result=result_of(steps),
    )


def is_closing(step: Step) -> bool:
    """Return whether a step closes the escalation."""
    return step.detail.get(KEY, "").rpartition("/")[2] == _CLOSED


def _opening(step: Step) -> facts.Opening:
    detail = step.detail
    policy = detail.get("policy", "")
    is_there = bool(policy) and "policy" not in step.redacted
    return facts.Opening(
        record=step.sequence,
        at=step.at,
        event=step.event,
        ladder=detail.get("ladder", ""),
        generation=detail.get("ladderGeneration", ""),
        digest=detail.get("ladderDigest", ""),
        tier=detail.get("tier", ""),
        target=detail.get("target", ""),
        model=detail.get("model", ""),
        version=detail.get("modelVersion", ""),
        card=detail.get("modelCard", ""),
        lineage=detail.get("modelLineage", ""),
        owners=detail.get("owners", ""),
        raised_by=detail.get("raisedBy", ""),
        raised_in_role=detail.get("role", "") if "raisedBy" in detail else "",
        rationale=detail.get("rationale", ""),
        silence=detail.get("silence", ""),
        evidence=running(detail),
        policy_digest=hashlib.sha256(policy.encode()).hexdigest() if is_there else "",
        text=step.message,
    )


def _readings(step: Step) -> Iterator[facts.Reading]:
    detail = step.detail
    for name in (key.removeprefix("reading.") for key in detail if key.startswith("reading.")):
        value, threshold = detail[f"reading.{name}"], detail.get(f"threshold.{name}", "")
        found = _THRESHOLD.match(threshold)
        number, limit, side = _number(value), _number(found["limit"]) if found else None, found["side"] if found else ""
        beyond = number is not None and limit is not None and (number > limit if side == "above" else number < limit)
        yield facts.Reading(
            record=step.sequence,
            at=time_in_record(detail.get("observedAt")),
            indicator=name,
            value=value,
            threshold=threshold,
            number=number,
            limit=limit,
            side=side,
            is_breach=beyond,
            tier=detail.get("tier", ""),
            event=step.event,
            signal=detail.get("signal", ""),
            sample_size=detail.get(f"sampleSize.{name}", ""),
            window=detail.get(f"window.{name}", ""),
            evidence=detail.get(f"evidence.{name}", ""),
            reported_by=detail.get("reportedBy", ""),
            credential=how_authenticated(detail),
        )


def _limits(policy: str) -> Iterator[facts.Limit]:
    """Yield the thresholds of a policy as it is on record; nothing of one that is not, or cannot be read."""
    try:
        tiers = json.loads(policy)["tiers"]
        found = [(tier["name"], trigger) for tier in tiers for trigger in tier.get("triggers", ())]
        limits = [
            facts.Limit(tier=str(tier), indicator=str(trigger["indicator"]), side=side, value=float(trigger[side]))
            for tier, trigger in found
            for side in ("above", "below")
            if side in trigger
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    yield from limits


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def _message(step: Step) -> facts.Message:
    detail = step.detail
    times = detail.get("times", "1")
    return facts.Message(
        record=step.sequence,
        at=step.at,
        role=detail.get("role", ""),
        channel=detail.get("channel", ""),
        about=detail.get("about", "") or step.event,
        delivered=step.event != Reason.NOTIFICATION_FAILED,
        attempts=detail.get("attempts", ""),
        times=int(times) if times.isascii() and times.isdecimal() and len(times) < 10 else 1,
        text=step.message,
    )


def _act(step: Step) -> Act:
    detail = step.detail
    return Act(
        record=step.sequence,
        at=step.at,
        decided_at=time_in_record(detail.get("decidedAt")),
        who=step.actor,
        role=detail.get("role", ""),
        action=detail.get("action", ""),
        event=step.event,
        refused_because=detail.get("refusedBecause", ""),
        rationale=detail.get("rationale", ""),
        asked=", ".join(f"{name} {detail[name]}" for name in _ASKED if detail.get(name)),
        credential=detail.get("credential", ""),
        impersonated=detail.get("impersonated") == "true",
        via=detail.get("via", ""),
        groups=detail.get("groups", ""),
    )


def _agreements(steps: Sequence[Step]) -> Iterator[Agreement]:
    for number, step in enumerate(steps):
        is_resolution = is_closing(step) and bool(votes(step.event, step.detail, steps[:number]))
        if (step.event in AGREED and "decision" not in step.detail) or is_resolution:
            yield Agreement(
                record=step.sequence,
                at=step.at,
                event=step.event,
                tier=step.detail.get("tier", ""),
                by=tuple(votes(step.event, step.detail, steps[:number])),
                closes=is_closing(step),
                text=step.message,
            )


def _ended(steps: Sequence[Step], agreed: Sequence[Agreement]) -> Agreement | None:
    for step in reversed(steps):
        if is_closing(step) or step.event == Reason.ESCALATION_DELETED:
            same = next((a for a in agreed if (a.record, a.event) == (step.sequence, step.event)), None)
            return same or Agreement(
                record=step.sequence, at=step.at, event=step.event, tier="", by=(), closes=True, text=step.message
            )
    return None


def _containments(steps: Sequence[Step]) -> Iterator[facts.Containment]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        if step.event != Reason.RESTORED and (intent := step.detail.get("intent")):
            found.setdefault(intent, []).append(step)
    for intent, about in found.items():
        said: dict[str, str] = {}
        for step in about:
            said |= step.detail
        proof = next((step for step in about if step.event in PROOFS), None)
        applied = next((step.at for step in about if step.event == Reason.CONTAINMENT_APPLIED), None)
        times = {name: time_in_record(said.get(name)) for name in ("intendedAt", "appliedAt", "endpointsEmptyAt")}
        done = time_in_record(proof.detail.get("podsGoneAt") or proof.detail.get("provedAt")) if proof else None
        yield facts.Containment(
            intent=intent,
            action=said.get("action", ""),
            tier=said.get("tier", ""),
            intended_at=times["intendedAt"],
            applied_at=times["appliedAt"] or applied,
            out_of_service_at=times["endpointsEmptyAt"],
            proved_at=done or (proof.at if proof else None),
            proof=proof.message if proof else "",
            proof_record=proof.sequence if proof else None,
            records=tuple(dict.fromkeys(step.sequence for step in about)),
            problems=tuple(f"{s.event}: {s.message}" for s in about if s.event in _PROBLEMS),
            reverts=tuple(
                facts.Revert(
                    record=s.sequence,
                    at=s.at,
                    by=s.detail.get("fieldManager", ""),
                    count=s.detail.get("count", ""),
                    text=s.message,
                )
                for s in about
                if s.event == Reason.CONTAINMENT_REAPPLIED
            ),
        )


def _review(step: Step) -> facts.Review:
    detail = step.detail
    return facts.Review(
        record=step.sequence,
        at=step.at,
        by=step.actor,
        role=detail.get("role", ""),
        policy_updated=detail.get("policyUpdated") == "true",
        satisfaction=detail.get("satisfaction", ""),
        lessons=detail.get("lessons", ""),
        rationale=detail.get("rationale", ""),
    )


def _redacted(step: Step) -> Iterator[facts.Redacted]:
    together: dict[tuple[str, str, str], list[str]] = {}
    for name, about in step.redacted.items():
        said: Mapping[str, str] = about
        together.setdefault((said.get("at", ""), said.get("by", ""), said.get("reason", "")), []).append(name)
    for (at, by, reason), names in together.items():
        yield facts.Redacted(record=step.sequence, fields=tuple(sorted(names)), at=at, by=by, reason=reason)


def after(begin: datetime | None, end: datetime | None) -> timedelta | None:
    """Return how long after something it was, where both times are on record; never less than nothing."""
    return max(end - begin, timedelta()) if begin is not None and end is not None else None


__all__ = ["AGREED", "Fact", "after", "episodes", "is_closing", "is_rung", "story"]
