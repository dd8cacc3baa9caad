"""A containment that waits because of the blast radius: since when, until when, and how that ends, each on record."""

from __future__ import annotations

from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.escalation import WithheldStatus
from riskladder.api.reasons import Reason
from riskladder.policy.containment.further import withheld
from riskladder.policy.containment.radius import exceeded
from riskladder.policy.draft import Draft
from riskladder.policy.escalation import rungs
from riskladder.policy.plan import Entry


def advance(draft: Draft) -> tuple[Entry, ...]:
    """Note that a containment waits now, or waits no longer; return what is to be said of how that has ended.

    That is an effect of what is said of the containment itself, and comes after it.
    """
    ended: list[Entry] = []
    before, ladder = draft.withheld, draft.escalation.spec.ladder.name
    is_over = draft.is_closed or draft.escalation.spec.drill
    demand = None if is_over else withheld(draft.snapshot, draft.group, draft.escalation, draft.now)
    waits = before is not None and before.ended_at is None
    if demand is not None and not waits:
        budget = draft.snapshot.radius_budgets[ladder]
        since = rungs.opened_at(draft.escalation) if draft.is_new else draft.now
        until = since + budget.radius.decide_within.delta
        draft.withheld = WithheldStatus(tier=demand.tier.name, since=since, until=until)
        action = demand.containment.action
        message = (
            f"{action} waits: {exceeded(budget)}, and {budget.used} are; it will be done when somebody decides "
            f"Contain, or at {_time(until)}"
        )
        draft.warn(
            Reason.BLAST_RADIUS_EXCEEDED,
            f"withheld/{draft.last_record}",
            message,
            tier=demand.tier.name,
            action=str(action),
            dueAt=format_time(until),
        )
    elif before is not None and waits and demand is None:
        draft.withheld = before.model_copy(update={"ended_at": draft.now})
        why = "it is contained" if draft.is_contained else "nothing demands it any more"
        if _is_done_by_time(draft, before):
            done, key = (
                "nobody decided in time: the model is contained meanwhile",
                f"withheld-until/{draft.last_record}",
            )
            ended.append(Entry(Reason.INTERIM_CONTAINMENT, key, draft.now, done, {"tier": before.tier}, warning=True))
        key = f"not-withheld/{draft.last_record}"
        ended.append(Entry(Reason.WITHHELD_NO_MORE, key, draft.now, f"it waits no longer: {why}"))
    if draft.withheld is not None and draft.withheld.ended_at is None:
        draft.wake.append(draft.withheld.until)
    return tuple(ended)


def _is_done_by_time(draft: Draft, waited: WithheldStatus) -> bool:
    """Return whether what is in force was done because nobody had decided by then."""
    active = draft.escalation.in_force.values()
    return any(intent.decision is None and intent.intended_at >= waited.until for intent in active)


def waits_text(draft: Draft) -> str:
    """Return why nothing is contained, and until when; empty where nothing waits because of the blast radius."""
    waiting, budget = draft.withheld, draft.snapshot.radius_budgets.get(draft.escalation.spec.ladder.name)
    if waiting is None or waiting.ended_at is not None or budget is None:
        return ""
    return f"{exceeded(budget)}: it will be contained when somebody decides Contain, or at {_time(waiting.until)}"


def _time(at: datetime) -> str:
    """Return a time as people read it, to the second."""
    return format_time(at.replace(microsecond=0))
