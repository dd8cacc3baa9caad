"""One message: every fact of it, composed from what the escalation pinned and from the queued notification alone.

There is no clock here, so a message that is sent again under the same key is the same, byte for byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from riskladder.api.base import format_time
from riskladder.api.escalation import EscalationSpec, signal_at
from riskladder.api.intent import Intent
from riskladder.api.ladder import Stakeholder
from riskladder.api.measurement import indicator_of, no_measurement
from riskladder.api.notification import Message, Notification
from riskladder.api.reasons import Reason
from riskladder.api.signal import Reading
from riskladder.api.text import length
from riskladder.api.tiers import Tier
from riskladder.api.zones import local


class Status(StrEnum):
    """What a receiver that keeps incidents should make of it."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How grave it is: the position of the tier, counted from the top of the ladder."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


RESOLVED = frozenset(
    {
        Reason.REMEDIATED,
        Reason.FALSE_POSITIVE,
        Reason.RISK_ACCEPTED,
        Reason.RETIRED,
        Reason.CLEARED,
        Reason.TARGET_RECREATED,
        Reason.RESUMED,
        Reason.DRILL_COMPLETED,
        Reason.DRILL_EXPIRED,
        Reason.RUNG_LEFT,
        Reason.SIGNALS_USABLE,
        Reason.BLAST_RADIUS_KEPT,
    }
)
"""The reasons after which nobody is waited for."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One reading, and the threshold of the highest tier that it is beyond; no threshold where it is beyond none."""

    indicator: str
    description: str
    value: float
    side: str
    """``above``, ``below``, or empty."""
    threshold: float | None
    tier: str
    """The tier of that threshold, or empty."""
    unit: str
    not_counted: str
    """Why it did not count, one word, or empty."""
    sample_size: int | None
    window: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person raised in place of readings."""

    tier: str
    rationale: str
    raised_by: str


@dataclass(frozen=True, slots=True)
class Option:
    """One act that the reader may take, who may take it, and the command."""

    what: str
    who: str
    command: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that is asked for, with its deadline."""

    what: str
    """In words that the deadline follows: ``acknowledge``."""
    who: str
    due_at: datetime
    deadline: str
    """``by 2026-11-24 13:00 UTC (14:00 in Berlin), in 59 min``: the reader's time where the ladder says where they are,
    and the span from when the message was queued."""
    otherwise: str
    """What happens by itself at that time if nobody does it; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where to find more. Shown, never fetched."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Every fact of one message to one role. Text may be hostile: renderings escape it."""

    key: str
    dedup: str
    """``<namespace>/<escalation>/<role>/<uid>``: one incident for each escalation and role."""
    status: Status
    severity: Severity
    drill: bool
    headline: str
    """What happened and what was done, in one line."""
    about: str
    at: datetime
    namespace: str
    escalation: str
    """Empty for a message of the ladder itself; so is the tier then."""
    uid: str
    ladder: str
    tier: str
    role: str
    target: str
    """``Kind/name``."""
    model: str
    model_version: str
    observed_at: datetime | None
    readings: tuple[Measurement, ...]
    judgement: Judgement | None
    remedies: tuple[str, ...]
    options: tuple[Option, ...]
    due_at: datetime | None
    deadline: str
    """The same of ``due_at``, or empty."""
    asked: tuple[Asked, ...]
    """What is asked for by when: what the deadline is about in front, the duties last."""
    references: tuple[Reference, ...]
    serves: str = ""
    """What served when it was queued: ``nothing``, a version of the model, or what stands in for it; or empty."""
    page: str = ""
    """Where the console shows it, or nothing."""

    @property
    def do_there(self) -> str:
        """What can be done on that page: ``Read it``, or ``Read it and decide``."""
        return "Read it" if self.status is Status.RESOLVED else f"Read it and {self.act}"

    @property
    def act(self) -> str:
        """What the deadline is about: ``acknowledge``."""
        is_about = bool(self.asked) and self.asked[0].due_at == self.due_at
        return self.asked[0].what if is_about else "act"

    @property
    def state(self) -> str:
        """Where it stands, for people: after a Resume it is not over, though nobody is alarmed any more."""
        return "resumed, to be closed" if self.about == Reason.RESUMED else str(self.status)

    def to_json(self) -> dict[str, Any]:
        """Return JSON types, camelCase, times in RFC 3339; what does not apply is absent."""
        value: dict[str, Any] = _json(dataclasses.asdict(self))
        return value


def compose(
    *,
    namespace: str,
    name: str,
    uid: str,
    spec: EscalationSpec,
    notification: Notification,
    intents: Sequence[Intent] = (),
    options: Sequence[Option] = (),
) -> Notice:
    """Return the message that a notification stands for.

    Args:
        namespace: Of the escalation.
        name: Of the escalation.
        uid: Of the escalation.
        spec: What it pinned.
        notification: The queued notification; its state, attempts and errors are not read.
        intents: Those in force: of them, what had been acted on when the notification was queued.
        options: What the reader may do.
    """
    tiers = spec.policy.tiers
    position = next((i for i, tier in enumerate(tiers) if tier.name == notification.tier), None)
    status = status_of(notification.about)
    signal = signal_at(spec, intents, notification.at)
    model, manual = spec.model, signal.manual
    readings = tuple(_measurement(spec, reading) for reading in signal.readings)
    zone = _zone(spec.policy.stakeholders, notification.role)
    references = [
        *([Reference("model card", model.card)] if model and model.card else ()),
        *([Reference("lineage", model.lineage)] if model and model.lineage else ()),
        *(Reference(f"evidence of {r.indicator}", r.evidence) for r in readings if r.evidence),
    ]
    return Notice(
        key=notification.key,
        dedup=f"{namespace}/{name}/{notification.role}/{uid}",
        status=status,
        severity=_severity(tiers, position),
        drill=spec.drill,
        headline=notification.message or notification.about,
        about=notification.about,
        at=notification.at,
        namespace=namespace,
        escalation=name,
        uid=uid,
        ladder=spec.ladder.name,
        tier=notification.tier,
        role=notification.role,
        target=f"{spec.target.kind}/{spec.target.name}",
        model=model.name if model else "",
        model_version=(model.version or "") if model else "",
        observed_at=signal.observed_at,
        readings=readings,
        judgement=Judgement(manual.tier, manual.rationale, manual.raised_by or "") if manual else None,
        remedies=tiers[position].remedies if position is not None and status is not Status.RESOLVED else (),
        options=tuple(options),
        due_at=notification.due_at if status is not Status.RESOLVED else None,
        deadline=_deadline(notification, zone) if status is not Status.RESOLVED else "",
        asked=_asked(notification, zone) if status is not Status.RESOLVED else (),
        references=tuple(references),
        serves=notification.serves,
    )


def compose_for_ladder(
    *,
    namespace: str,
    name: str,
    uid: str,
    message: Message,
    options: Sequence[Option] = (),
    stakeholders: Sequence[Stakeholder] = (),
) -> Notice:
    """Return the message of a ladder, which is about no escalation.

    Args:
        namespace: Of the ladder.
        name: Of the ladder.
        uid: Of the ladder.
        message: The queued message; its state, attempts and errors are not read.
        options: What the reader may look at.
        stakeholders: Of the ladder: they say where the reader is.
    """
    topic = message.key.partition("/")[0]
    return Notice(
        key=message.key,
        dedup=f"{namespace}/{name}/{message.role}/{uid}/{topic}",
        status=status_of(message.about),
        severity=Severity.ERROR,
        drill=False,
        headline=message.message or message.about,
        about=message.about,
        at=message.at,
        namespace=namespace,
        escalation="",
        uid=uid,
        ladder=name,
        tier="",
        role=message.role,
        target=f"EscalationLadder/{name}",
        model="",
        model_version="",
        observed_at=None,
        readings=(),
        judgement=None,
        remedies=(),
        options=tuple(options),
        due_at=message.due_at,
        deadline=_deadline(message, _zone(stakeholders, message.role)),
        asked=(),
        references=(),
    )


def status_of(about: str) -> Status:
    """Return what a receiver that keeps incidents should make of a reason."""
    if about in RESOLVED:
        return Status.RESOLVED
    return Status.ACKNOWLEDGED if about == Reason.ACKNOWLEDGED else Status.FIRING


def _severity(tiers: tuple[Tier, ...], position: int | None) -> Severity:
    if position is None:
        return Severity.INFO
    from_top = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.INFO)
    return from_top[min(len(tiers) - 1 - position, len(from_top) - 1)]


def _measurement(spec: EscalationSpec, reading: Reading) -> Measurement:
    beyond = next(
        (
            (tier.name, trigger)
            for tier in reversed(spec.policy.tiers)
            for trigger in tier.triggers
            if trigger.indicator == reading.indicator and trigger.is_beyond(reading.value)
        ),
        None,
    )
    declared = indicator_of(spec.policy.indicators, reading.indicator)
    why = no_measurement(declared, reading)
    beyond = None if why else beyond
    trigger = beyond[1] if beyond else None
    side = "" if trigger is None else "above" if trigger.above is not None else "below"
    return Measurement(
        indicator=reading.indicator,
        description=declared.description if declared else "",
        value=reading.value,
        side=side,
        threshold=None if trigger is None else trigger.above if side == "above" else trigger.below,
        tier=beyond[0] if beyond else "",
        unit=declared.unit if declared else "",
        not_counted=why[0] if why else "",
        sample_size=reading.sample_size,
        window=reading.window or "",
        evidence=reading.evidence or "",
    )


def _asked(notification: Notification, zone: str | None) -> tuple[Asked, ...]:
    return tuple(
        Asked(ask.what, ask.who, ask.by, _until(ask.by, notification.at, zone), ask.otherwise)
        for ask in notification.asks
    )


def _deadline(message: Message, zone: str | None) -> str:
    return _until(message.due_at, message.at, zone) if message.due_at is not None else ""


def _until(due: datetime, at: datetime, zone: str | None) -> str:
    left = due - at
    seconds = round(left.total_seconds())
    span = f"in {length(left)}" if seconds > 0 else f"{length(-left)} ago" if seconds < 0 else "now"
    # The time is cut to the minute, never rounded up: who acts by the time shown is never late.
    return f"by {due:%Y-%m-%d %H:%M} UTC{_local(due, zone)}, {span}"


def _zone(stakeholders: Sequence[Stakeholder], role: str) -> str | None:
    return next((s.time_zone for s in stakeholders if s.role == role), None)


def _local(at: datetime, zone: str | None) -> str:
    """Return `` (14:00 in Berlin)``, with the date where it is another one; nothing where the zone is not known."""
    there = local(at, zone) if zone else None
    if zone is None or there is None:
        return ""
    place = zone.rpartition("/")[2].replace("_", " ")
    date = "" if there.date() == at.date() else "%Y-%m-%d "
    return f" ({there:{date}%H:%M} in {place})" if "/" in zone else f" ({there:{date}%H:%M} {place})"


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_camel(k): _json(v) for k, v in value.items() if v not in (None, "", (), [])}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, datetime):
        return format_time(value)
    return str(value) if isinstance(value, str) else value
