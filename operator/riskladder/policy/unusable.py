"""Breaches that cannot be used: who is notified of them, when, and how many are one message.

A monitor that misspells an indicator, or reports percent for a fraction, keeps silent as far as the ladder goes. The
owner and the contact of its source are notified once for each source and reason, and again only after all of its
signals could be used in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.foreign import clip
from riskladder.api.ladder import MAX_UNUSABLE, UnusableSignals
from riskladder.api.reasons import Reason
from riskladder.policy.ladder_messages import LadderMessages, owner_of

TOPIC = "unusable"

GATHER = timedelta(seconds=10)
"""How long what cannot be used is gathered before anybody is notified: many are one message, and most of what is out of
order while objects are created heals by itself."""

APART = timedelta(minutes=5)
"""Between two messages, at least, however often a monitor comes and goes."""

OTHERS = "*"
"""Stands for all further sources."""

_MOST_OWN = MAX_UNUSABLE // 2
"""Sources and reasons that are listed separately where there are too many; the rest is summed up by reason."""

_MOST_NAMED = 4
_EXAMPLE_LIMIT = 200
"""Characters."""


@dataclass(frozen=True, slots=True)
class UnusableSignal:
    """A signal that reports something that would breach, or that nobody knows, and cannot be used."""

    name: str
    source: str
    reason: str
    message: str
    """Of its condition Ready."""


def notify_of_unusable(
    messages: LadderMessages, before: Sequence[UnusableSignals], found: Iterable[UnusableSignal]
) -> tuple[tuple[UnusableSignals, ...], datetime | None]:
    """Notify of unusable signals; return what the ladder's status says of them, and when to look again.

    Args:
        messages: The ladder's messages.
        before: What its status says.
        found: The signals that cannot be used now.
    """
    now, known = messages.now, {(one.source, one.reason): one for one in before}
    groups = _grouped(found, known)
    after = {}
    for key, signals in groups.items():
        was = known.get(key)
        example = was.example if was and any(s.name == was.example for s in signals) else min(s.name for s in signals)
        after[key] = UnusableSignals(
            source=key[0],
            reason=key[1],
            signals=len(signals),
            example=example,
            since=was.since if was else now,
            notified_at=was.notified_at if was else None,
        )
    wake = None
    news = {key: one for key, one in after.items() if one.notified_at is None}
    if messages.may_notify and news:
        due = min(one.since for one in news.values()) + GATHER
        notified = [messages.last_notified(TOPIC), *(one.notified_at for one in before)]
        last = max((at for at in notified if at is not None), default=None)
        due = max(due, last + APART) if last is not None else due
        if now < due:
            wake = due
        else:
            _notify(messages, news, groups)
            after |= {key: one.model_copy(update={"notified_at": now}) for key, one in news.items()}
    elif messages.may_notify and not after and any(one.notified_at is not None for one in before):
        _notify_of_end(messages, before)
    return tuple(after[key] for key in sorted(after)), wake


def _grouped(
    found: Iterable[UnusableSignal], known: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], list[UnusableSignal]]:
    """Return the signals by source and reason; of too many sources, those that are known first keep their own."""
    groups: dict[tuple[str, str], list[UnusableSignal]] = defaultdict(list)
    for signal in found:
        groups[signal.source or OTHERS, signal.reason].append(signal)
    if len(groups) <= MAX_UNUSABLE:
        return groups
    known = set(known)
    own = sorted(groups, key=lambda key: (key not in known, key))[:_MOST_OWN]
    merged: dict[tuple[str, str], list[UnusableSignal]] = defaultdict(list)
    for key, signals in groups.items():
        merged[key if key in own else (OTHERS, key[1])] += signals
    return merged


def _notify(
    messages: LadderMessages,
    news: dict[tuple[str, str], UnusableSignals],
    groups: dict[tuple[str, str], list[UnusableSignal]],
) -> None:
    """Notify the owner of all that is news, and each contact of what concerns its source: one message to each role."""
    spec = messages.ladder.spec
    assert spec is not None  # noqa: S101 - nobody is notified by an invalid ladder
    key, owner = format_time(min(one.since for one in news.values())), owner_of(spec)
    texts = {source_key: _text(one, groups[source_key]) for source_key, one in sorted(news.items())}
    messages.notify(TOPIC, key, [owner] if owner else [], Reason.SIGNALS_UNUSABLE, _joined(list(texts.values())))
    by_role: dict[str, list[str]] = defaultdict(list)
    for contact in spec.source_contacts:
        if contact.role != owner:
            by_role[contact.role] += [text for (of, _), text in texts.items() if of in (contact.source, OTHERS)]
    for role, mine in by_role.items():
        if mine:
            messages.queue(TOPIC, key, role, Reason.SIGNALS_UNUSABLE, _joined(list(dict.fromkeys(mine))))


def _notify_of_end(messages: LadderMessages, before: Sequence[UnusableSignals]) -> None:
    spec = messages.ladder.spec
    assert spec is not None  # noqa: S101
    roles = [owner_of(spec), *(c.role for c in spec.source_contacts if _concerns(c.source, before))]
    text = f"every signal of ladder {messages.ladder.name} that could not be used can be used again, or is gone"
    last = max(one.notified_at for one in before if one.notified_at is not None)
    messages.end(TOPIC, format_time(last), [role for role in roles if role], Reason.SIGNALS_USABLE, text)


def _concerns(source: str, before: Sequence[UnusableSignals]) -> bool:
    return any(one.source in (source, OTHERS) and one.notified_at is not None for one in before)


def _text(one: UnusableSignals, signals: Sequence[UnusableSignal]) -> str:
    why = clip(next((s.message for s in signals if s.name == one.example), ""), _EXAMPLE_LIMIT)
    of = "other sources" if one.source == OTHERS else f"source {one.source}"
    if one.signals == 1:
        return f"signal {one.example} of {of} cannot be used: {one.reason}: {why}"
    return f"{one.signals} signals of {of} cannot be used: {one.reason}, for example {one.example}: {why}"


def _joined(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _MOST_NAMED} more sources or reasons" if len(texts) > _MOST_NAMED else ""
    return f"A breach may go unseen: {'; '.join(texts[:_MOST_NAMED])}{more}"
