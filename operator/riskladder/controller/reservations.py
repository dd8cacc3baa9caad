"""Reservations: a containment counts against the blast radius of its ladder in the instant in which it is decided.

In a burst many targets are decided before the first of their writes is acknowledged, and each has to see the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from riskladder.api.intent import Intent, SignalRef
from riskladder.controller.caches.store import Store
from riskladder.policy.containment.radius import is_automatic
from riskladder.policy.plan import Plan
from riskladder.policy.snapshot import RadiusBudget, Snapshot, TargetKey


def radius_budgets(store: Store, key: TargetKey, ladders: Iterable[str], now: datetime) -> dict[str, RadiusBudget]:
    """Return by ladder, of those that have a blast radius, how many more targets they may contain now.

    Args:
        store: The caches.
        key: The target that is to be decided upon.
        ladders: The ladders that concern it.
        now: Current time, UTC.
    """
    if not store.radius:
        return {}
    found = {name: store.radius.budget((key.namespace, name), key, now) for name in ladders}
    return {name: budget for name, budget in found.items() if budget is not None}


def reserve(store: Store, snapshot: Snapshot, plan: Plan) -> None:
    """Count what a plan contains without anybody being asked, and let go of what was counted and is not to be any more.

    To be called in the same instant in which the plan was made.

    Args:
        store: The caches.
        snapshot: What was decided upon.
        plan: What was decided.
    """
    if not snapshot.radius_budgets:
        return
    planned = _planned(snapshot, plan)
    for name in snapshot.radius_budgets:
        ladder = (snapshot.key.namespace, name)
        if planned is not None and planned[0] == name:
            store.radius.reserve(ladder, snapshot.key, planned[1].intended_at)
        elif plan.stop is None and snapshot.pending is None:
            store.radius.reserve(ladder, snapshot.key, None)


def _planned(snapshot: Snapshot, plan: Plan) -> tuple[str, Intent] | None:
    """Return the ladder and the intent of a containment that a plan begins by itself, if it does."""
    stop = plan.stop
    found: tuple[str, Intent | None, SignalRef] | None = None
    if plan.opening is not None:
        spec = plan.opening.spec
        found = (spec.ladder.name, spec.intent, spec.signal)
    elif plan.noted is not None:
        spec, containments = plan.noted.escalation.spec, plan.noted.status.containments
        newest = max((c.intent for c in containments), key=lambda i: i.id, default=None)
        found = (spec.ladder.name, newest, spec.signal)
    elif stop is not None and not stop.again and stop.hold is not None:
        found = (stop.hold.ladder.name, stop.intent, stop.hold.signal)
    elif stop is not None and not stop.again:
        escalation = next((e for e in snapshot.open if e.name == stop.escalation), None)
        found = (escalation.spec.ladder.name, stop.intent, escalation.spec.signal) if escalation is not None else None
    if found is None or found[1] is None or not is_automatic(found[1], found[2]):
        return None
    return found[0], found[1]
