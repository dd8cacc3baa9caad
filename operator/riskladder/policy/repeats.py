"""Facts that repeat, such as reminders and re-applied containments: an Event for each, and a record now and then.

The first three of a rung are recorded one by one, and the first of everybody who has a hand in it. After that there is
one record an hour at most, which says how many it stands for; what is left over is recorded when the rung ends. So an
escalation that nobody answers grows by a few records a day and not by hundreds, and no count is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.escalation import MAX_REPEATS, MAX_REPEATS_BY, Repeat
from riskladder.api.foreign import clip
from riskladder.api.reasons import Reason
from riskladder.policy.plan import Entry

FREE = 3
"""Of a rung, that are recorded one by one."""

EVERY = timedelta(hours=1)
"""Between two records of the same fact after that, at least."""


def repeat(before: Iterable[Repeat], entry: Entry, rung: int, who: str) -> tuple[tuple[Repeat, ...], Entry]:
    """Count a fact once more.

    Args:
        before: What has been counted.
        entry: The fact.
        rung: Number of the rung on which it happened.
        who: Who has a hand in it: the first fact of each is recorded.

    Returns:
        What has been counted now, and the entry: with the count and the time of the last one, and not as a record where
        none is due.
    """
    fact, name = str(entry.event), clip(who, 128)
    found = {(r.fact, r.rung): r for r in before}
    known = found.get((fact, rung)) or Repeat(fact=fact, rung=rung, count=0, recorded=0, last_at=entry.at)
    count = known.count + 1
    is_new = name not in known.by and len(known.by) < MAX_REPEATS_BY
    is_due = count <= FREE or is_new or known.recorded_at is None or entry.at - known.recorded_at >= EVERY
    found[fact, rung] = known.model_copy(
        update={
            "count": count,
            "by": (*known.by, name) if is_new else known.by,
            "last_at": entry.at,
            "recorded": count if is_due else known.recorded,
            "recorded_at": entry.at if is_due else known.recorded_at,
        }
    )
    times = count - known.recorded
    detail = {"count": str(count), "lastAt": format_time(entry.at), **entry.detail}
    detail |= {"times": str(times)} if times > 1 else {}
    counted = replace(entry, detail=detail if is_due else entry.detail, recorded=is_due)
    return tuple(found.values())[-MAX_REPEATS:], counted


def ended(before: Iterable[Repeat], rung: int, now: datetime, *, over: bool) -> tuple[tuple[Repeat, ...], list[Entry]]:
    """Return what is still counted, and the records of what has ended: of earlier rungs, or all where it is over."""
    kept: list[Repeat] = []
    left: list[Entry] = []
    for known in before:
        if known.rung == rung and not over:
            kept.append(known)
        else:
            left += _rest(known, now)
    return tuple(kept), left


def _rest(known: Repeat, now: datetime) -> Iterator[Entry]:
    times = known.count - known.recorded
    if times <= 0:
        return
    last = format_time(known.last_at)
    message = f"{known.count} times on rung {known.rung}, last at {last}; {times} of them have no other record"
    detail = {"rung": str(known.rung), "count": str(known.count), "lastAt": last, "times": str(times)}
    key = f"repeated/{known.rung}/{known.fact}/{known.count}"
    yield Entry(Reason(known.fact), key, now, f"{known.fact}: {message}", detail, on=())
