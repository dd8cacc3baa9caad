"""A storm: more containments are demanded than the blast radius allows. It is one message, and not one a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.conditions import Conditions
from riskladder.api.ladder import BlastRadius, StormStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.ladder_messages import LadderMessages, owner_of

TOPIC = "storm"
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Waiting:
    """A containment that waits because of the blast radius."""

    target: str
    """As ``Kind/name``."""
    until: datetime


@dataclass(frozen=True, slots=True)
class Demanded:
    """What the escalations of a ladder say of containments beyond its blast radius."""

    waiting: Sequence[Waiting] = ()
    last_at: datetime | None = None
    """When the last one was held up, whether it still waits or not."""
    limit: int = 1
    """How many targets the blast radius is, of those that are governed now."""


def update_storm(
    messages: LadderMessages,
    conditions: Conditions,
    before: StormStatus | None,
    found: Demanded,
    *,
    time_counts: bool = True,
) -> tuple[StormStatus | None, datetime | None]:
    """Return the storm as it stands, and when to look again; say so on the ladder, and notify its owner when it begins.

    Args:
        messages: The ladder's messages.
        conditions: The ladder's conditions.
        before: The storm as it is stored.
        found: What the escalations say.
        time_counts: Whether what time alone causes is to be done.
    """
    spec, now = messages.ladder.spec, messages.now
    if spec is None:
        return before, None
    radius, kind = spec.blast_radius, ConditionType.WITHIN_BLAST_RADIUS
    if radius is None:
        conditions.set(kind, True, Reason.NO_BLAST_RADIUS, "no blastRadius is set: any number of models is contained")
        return None, None
    times = [at for at in (found.last_at, before.last_at if before else None) if at is not None]
    last = max(times, default=None)
    is_recent = last is not None and now < last + radius.per.delta
    if last is None or not (found.waiting or is_recent or (before is not None and not time_counts)):
        if before is not None:
            _notify_of_end(messages, before)
        conditions.set(
            kind, True, Reason.BLAST_RADIUS_KEPT, f"at most {_allowed(radius)} contained within {radius.per}"
        )
        return None, None
    storm = StormStatus(since=before.since if before is not None else now, last_at=last)
    number = len(found.waiting)
    wait = f"{number} {'containment waits' if number == 1 else 'containments wait'} for a decision" if number else ""
    text = f"containments of more than {_allowed(radius)} are demanded within {radius.per}"
    text += f"; {wait}" if wait else ""
    conditions.set(kind, False, Reason.BLAST_RADIUS_EXCEEDED, text)
    if before is None and messages.may_notify:
        owner = owner_of(spec)
        messages.notify(
            TOPIC, format_time(last), [owner] if owner else [], Reason.BLAST_RADIUS_EXCEEDED, _text(radius, found)
        )
    return storm, None if found.waiting else last + radius.per.delta


def _allowed(radius: BlastRadius) -> str:
    if isinstance(radius.at_most, str):
        return f"{radius.at_most} of the governed models"
    return "1 model" if radius.at_most == 1 else f"{radius.at_most} models"


def _text(radius: BlastRadius, found: Demanded) -> str:
    """Return the message to the owner: what is held up, until when, and what to look for."""
    head = f"Many models breach at once, or one monitor is broken: the ladder contains at most {_allowed(radius)} "
    head += f"within {radius.per} without asking ({found.limit} now)"
    if not found.waiting:
        return f"{head}; for what is beyond that, traffic goes to its fallback"
    named = ", ".join(sorted(w.target for w in found.waiting)[:_MOST_NAMED])
    more = f" and {len(found.waiting) - _MOST_NAMED} more" if len(found.waiting) > _MOST_NAMED else ""
    first = min(w.until for w in found.waiting).replace(microsecond=0)
    wait = f"{named}{more} {'waits' if len(found.waiting) == 1 else 'wait'} for a decision"
    return f"{head}; {wait}, and from {format_time(first)} on what nobody has decided on will be contained all the same"


def _notify_of_end(messages: LadderMessages, before: StormStatus) -> None:
    spec = messages.ladder.spec
    owner = owner_of(spec) if spec is not None else ""
    text = "no containment is held up any more, and no further one was demanded"
    key = format_time(before.since)
    messages.end(TOPIC, key, [owner] if owner else [], Reason.BLAST_RADIUS_KEPT, text)
