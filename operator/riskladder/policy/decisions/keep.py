"""Which decisions the status keeps: what still has an effect, and a few more for readers. The records keep all.

So no number of decisions silences the next one. What one person says over and over takes no place, and for the stop
button there is always one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from riskladder.api.decision import DecisionAction
from riskladder.api.reasons import Reason
from riskladder.policy.draft import Draft
from riskladder.policy.escalation.limits import MOST_ANSWERS
from riskladder.policy.quorum import VOTES
from riskladder.policy.snapshot import Decision, Escalation

MAX_DECISIONS = 256
"""Decisions that the status has room for."""

RESERVED = MAX_DECISIONS - MOST_ANSWERS
"""Places that only a Contain may take. Two at once have an effect that differs, so there is always one."""

RECENT = 16
"""Decisions without an effect that are kept for readers, the newest ones."""

AT_ONCE = 64
"""Decisions that are judged in one pass; the others are judged in the next ones."""


ASIDE = (DecisionAction.ACKNOWLEDGE, DecisionAction.COMMENT)
"""What says something and decides nothing: a Contain does not wait for it."""


def in_turn(pending: Iterable[Decision]) -> list[Decision]:
    """Return decisions in the order in which they are judged: as they were made, but talk after the stop button."""
    found = sorted(pending, key=lambda d: (d.created, d.name))
    if not any(d.spec.action is DecisionAction.CONTAIN for d in found):
        return found
    return [*(d for d in found if d.spec.action not in ASIDE), *(d for d in found if d.spec.action in ASIDE)]


def first_of(pending: Iterable[Decision]) -> list[Decision]:
    """Return what is asked about and judged in one pass, in turn: a bounded number, and no Contain is behind the rest.

    What has an answer already, which is only looked for on record, leaves its place to what has none.
    """
    found = in_turn(pending)
    contains = [d for d in found if d.spec.action is DecisionAction.CONTAIN][:AT_ONCE]
    others = [d for d in found if d.spec.action is not DecisionAction.CONTAIN]
    others.sort(key=lambda d: bool(d.status.conditions))  # stable: in turn otherwise
    chosen = {d.uid for d in (*contains, *others[:AT_ONCE])}
    return [d for d in found if d.uid in chosen]


def served(escalation: Escalation, *, before: datetime | None = None) -> frozenset[str]:
    """Return the names of the decisions that a containment was made for, by then."""
    made = (i for i in escalation.intents if before is None or i.intended_at < before)
    return frozenset(intent.decision for intent in made if intent.decision)


def with_effect(draft: Draft, *, repeated: bool = True) -> set[str]:
    """Return the uids of the decisions on which something still depends.

    Args:
        draft: Where they are kept.
        repeated: Whether the acknowledgement of each person counts as well, so that a repeated one is recognized.
    """
    found, acknowledged = set[str](), set[tuple[str, str]]()
    done, answered, asked = served(draft.escalation), set[str](), set[object]()
    met = [d for d in draft.decisions if d.action is DecisionAction.RESUME and d.reason == Reason.QUORUM_MET]
    since = draft.decisions.index(met[-1]) if met else -1
    found.update(d.uid for d in met[-1:])
    objected = {d.role: d.uid for d in draft.decisions if d.counted and d.action is DecisionAction.OBJECT}
    for number, decision in enumerate(draft.decisions):
        if not decision.counted:
            continue
        is_unserved = decision.action is DecisionAction.CONTAIN and number > since and decision.name not in done
        if is_unserved and decision.containment not in asked:
            asked.add(decision.containment)
            found.add(decision.uid)
        is_here = decision.rung == draft.rung.number or draft.escalation.spec.drill
        if not is_here or decision.action is DecisionAction.COMMENT:
            continue
        if decision.role not in answered or decision.action in VOTES:
            found.add(decision.uid)  # the first one is what the role has answered with
        answered.add(decision.role)
        is_first = decision.action is DecisionAction.ACKNOWLEDGE and (decision.role, decision.by) not in acknowledged
        if is_first and repeated:
            acknowledged.add((decision.role, decision.by))
            found.add(decision.uid)
        if objected.get(decision.role) == decision.uid:
            found.add(decision.uid)
    return found


def tidy(draft: Draft, unsaid: Collection[str]) -> None:
    """Drop what has no effect any more, but for the newest.

    Args:
        draft: Where they are kept.
        unsaid: uids of the decisions whose own status does not say yet what became of them: these would be judged
            again.
    """
    kept = with_effect(draft) | set(unsaid)
    idle = [d for d in draft.decisions if d.uid not in kept]
    dropped = {d.uid for d in idle[: max(len(idle) - RECENT, 0)]}
    draft.decisions[:] = [d for d in draft.decisions if d.uid not in dropped]


def has_room(draft: Draft, action: DecisionAction, unsaid: Collection[str]) -> bool:
    """Return whether one more decision can be kept; what has no effect makes room.

    Args:
        draft: Where they are kept.
        action: Of the one more.
        unsaid: As for ``tidy``.
    """
    limit = MAX_DECISIONS if action is DecisionAction.CONTAIN else MAX_DECISIONS - RESERVED
    if len(draft.decisions) < limit:
        return True
    kept = with_effect(draft, repeated=False) | set(unsaid)
    oldest = next((d for d in draft.decisions if d.uid not in kept), None)
    if oldest is not None:
        draft.decisions.remove(oldest)
    return oldest is not None
