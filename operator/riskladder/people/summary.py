"""An escalation in five sentences, from its records alone: nothing is said that they do not say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from riskladder.api.reasons import Reason
from riskladder.api.text import count, length, listed, one_line
from riskladder.people.facts import Acceptance, Act, Agreement, Containment, Opening, Reading, Story
from riskladder.people.story import after, story
from riskladder.people.timeline import Timeline

_DONE: Mapping[str, str] = {
    "ScaleToZero": "scaled to zero",
    "Rollback": "rolled back",
    "Fallback": "cut off from its traffic, which goes to a fallback,",
    "Isolate": "isolated from the network",
}
_DECIDED: Mapping[str, str] = {
    Reason.RISK_ACCEPTED: "accepted the risk",
    Reason.RESUMED: "decided to resume the model",
}
_QUOTED = 160
"""Characters of somebody's words that a sentence repeats."""


def five_sentences(timeline: Timeline) -> tuple[str, ...]:
    """Return what was measured, what happened to the model, who knew, who decided, and how it stands.

    Args:
        timeline: Of one escalation.
    """
    return sentences(timeline, story(timeline))


def sentences(timeline: Timeline, told: Story) -> tuple[str, ...]:
    """Return the same of a story that is told already."""
    found = (
        _measured(timeline, told),
        _happened(timeline, told),
        _knew(told),
        _decided(told),
        _stands(timeline, told),
    )
    return tuple(one_line(sentence) for sentence in found)


def at_words(at: datetime | None) -> str:
    """Return a time of a record as a sentence says it, in UTC to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else "at a time that the record does not say"


def span_words(delta: timedelta | None) -> str:
    """Return how long something took: in milliseconds below a second, in tenths of a second below ten."""
    if delta is None:
        return "a time that is not on record"
    if delta < timedelta(seconds=1):
        return f"{round(delta / timedelta(milliseconds=1))} ms"
    return f"{delta.total_seconds():.1f} s" if delta < timedelta(seconds=10) else length(delta)


def model_words(opening: Opening | None, target: str) -> str:
    """Return the model as a sentence names it: with its version and the workload."""
    if opening is None or not opening.model:
        return target
    return f"{' '.join(filter(None, (opening.model, opening.version)))} ({opening.target or target})"


def _measured(timeline: Timeline, told: Story) -> str:
    opening = told.opening
    if opening is None:
        return (
            f"The record of the opening is missing, so the records do not say what was measured of {timeline.target}."
        )
    model, drill = model_words(opening, timeline.target), "In a drill, " if timeline.drill else ""
    when = at_words(opening.at)
    if opening.raised_by:
        role = f" as {opening.raised_in_role}" if opening.raised_in_role else ""
        why = f": “{_quoted(opening.rationale)}”" if opening.rationale else ""
        return f"{drill}{opening.raised_by}{role} raised {model} to tier {opening.tier} manually, {when}{why}."
    readings = [reading for reading in told.readings if reading.record == opening.record]
    breaches = [reading for reading in readings if reading.is_breach] or readings
    if not breaches:
        return f"{drill}{model} was put in tier {opening.tier}, {when}: {_quoted(opening.text)}."
    said = listed(_reading(reading) for reading in breaches[:3])
    more = f" and {len(breaches) - 3} more" if len(breaches) > 3 else ""
    return f"{drill}{model} was put in tier {opening.tier}, {when}, because {said}{more} was measured."


def _reading(reading: Reading) -> str:
    parts = [
        f"threshold {reading.threshold}" if reading.threshold else "no threshold on record",
        f"{reading.sample_size} samples" if reading.sample_size else "",
    ]
    return f"{reading.indicator} {reading.value} ({', '.join(filter(None, parts))})"


def _happened(timeline: Timeline, told: Story) -> str:
    if timeline.drill:
        tried = f": {_quoted(told.rehearsals[0])}" if told.rehearsals else ", and no rehearsal is on record"
        return f"The model was not touched, because it was a drill{tried}."
    if not told.containments:
        return "No containment is on record, so the records do not say that the model was stopped."
    first, more = told.containments[0], told.containments[1:]
    further = f"; {count(len(more), 'further safe state')} followed" if more else ""
    reverts = [revert for containment in told.containments for revert in containment.reverts]
    by = listed(dict.fromkeys(revert.by for revert in reverts if revert.by)) or "somebody"
    undone = f"; it was reverted by {by} and contained again" if reverts else ""
    return f"The model {_containment(first)}{further}{undone}."


def _containment(found: Containment) -> str:
    done = _DONE.get(found.action, f"was put in the safe state {found.action or '(not on record)'}")
    applied = f"was {done}" if found.action in _DONE else done
    if found.applied_at is None:
        return f"was to be contained ({found.action or 'safe state not on record'}), and no record says that it was"
    text = f"{applied} {span_words(found.applied_after)} after that was intended"
    if found.proof_record is None:
        return f"{text}, which no record proves"
    return f"{text}, and the proof is on record {span_words(found.took)} after the intent (record {found.proof_record})"


def _knew(told: Story) -> str:
    delivered = [m for m in told.messages if m.delivered]
    opened = told.opening.at if told.opening else None
    roles = list(dict.fromkeys(m.role for m in delivered))
    if not roles:
        text = "No message to anybody is on record as delivered"
    else:
        text = f"{listed(roles)} {'was' if len(roles) == 1 else 'were'} notified"
        text += _later(", the first", opened, delivered[0].at)
    answered = [act for act in told.acts if act.counts and act.action not in ("Comment", "Review")]
    if not answered:
        return f"{text}, and no answer is on record."
    people = list(dict.fromkeys(f"{act.who} as {act.role}" for act in answered))
    said = listed(people[:3]) + (f" and {len(people) - 3} more" if len(people) > 3 else "")
    return f"{text}; {said} answered{_later(', first', opened, answered[0].at)}."


def _later(words: str, opened: datetime | None, at: datetime | None) -> str:
    since = after(opened, at)
    return f"{words} {span_words(since)} after the opening" if since is not None else ""


def _decided(told: Story) -> str:
    refused = [act for act in told.acts if not act.counts]
    tail = f"; {count(len(refused), 'decision')} {'was' if len(refused) == 1 else 'were'} refused" if refused else ""
    if not told.agreements:
        alone = [a for a in told.acts if a.counts and a.action in ("Contain", "Escalate", "Object")]
        said = f"; {_alone(alone)}" if alone else ""
        return f"No decision of a quorum is on record{said}{tail}."
    said = listed(_agreement(a) for a in told.agreements)
    return f"{said}{tail}."


def _alone(acts: Iterable[Act]) -> str:
    return listed(f"{act.who} as {act.role} decided {act.action}" for act in acts)


def _agreement(found: Agreement) -> str:
    people = listed(vote.partition(" (record")[0] for vote in found.by) or "people whose votes are not on record"
    what = f"closed it as {found.event}" if found.closes else _DECIDED.get(found.event, found.event)
    return f"{people} {what} ({at_words(found.at)})"


def _stands(timeline: Timeline, told: Story) -> str:
    ended = told.ended
    if ended is not None and ended.event == Reason.ESCALATION_DELETED:
        return f"The Escalation was deleted while it was open, {at_words(ended.at)}."
    if ended is not None:
        review = f"; it was reviewed by {told.reviews[-1].by}" if told.reviews else "; no review is on record"
        how = f"“{_quoted(ended.text)}”" if not ended.by else f"as {ended.event}"
        return f"It was closed {at_words(ended.at)}, {how}{review}."
    standing = _standing(told.acceptances)
    if standing is not None:
        until = at_words(standing.until) if standing.until else "a time that is not on record"
        return (
            f"It is open, with the risk of tier {standing.tier} accepted until {until}, as of {at_words(told.as_of)}."
        )
    owed = [d.name for d in told.duties if d.met_at is None]
    duties = f"; {listed(owed)} {'is' if len(owed) == 1 else 'are'} not met on record" if owed else ""
    return (
        f"It is open in tier {timeline.tier} as of {at_words(told.as_of)}, which is the last that is told here{duties}."
    )


def _standing(found: Iterable[Acceptance]) -> Acceptance | None:
    return next((acceptance for acceptance in found if not acceptance.ended_by), None)


def _quoted(text: str) -> str:
    return one_line(text, _QUOTED).rstrip(".")
