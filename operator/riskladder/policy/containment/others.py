"""What the escalations of several ladders hold on one target, and which of them an object carries.

Each ladder opens an escalation of its own. All intents in force are held; an object carries the hold of the one for
the safest state. A Resume ends the hold of its own escalation, and the model is restored, to the earliest evidence,
once the last hold has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from riskladder.api.intent import Intent, Restore, SavedField
from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment.note import note, noted_in
from riskladder.policy.containment.state import is_locked, prove
from riskladder.policy.snapshot import LONG_AGO, Escalation, Snapshot
from riskladder.workloads.network import title


@dataclass(frozen=True, slots=True)
class Holding:
    """An intent in force of an open escalation."""

    escalation: Escalation
    intent: Intent

    @property
    def who(self) -> str:
        """Who holds it, for people."""
        return f"Escalation {self.escalation.name} (ladder {self.escalation.spec.ladder.name})"


def object_of(intent: Intent) -> str:
    """Return the object that an intent acts on, as ``Kind/name``; empty for the workload."""
    return title(intent.target_ref) if intent.target_ref is not None else ""


def holdings(snapshot: Snapshot) -> Iterator[Holding]:
    """Yield what is in force on the target, the safest state first and then the earliest intent."""
    found = [Holding(e, intent) for e in snapshot.open for intent in e.in_force.values()]
    yield from sorted(found, key=lambda h: (-h.intent.action.strength, h.intent.intended_at, h.escalation.name))


def of_others(snapshot: Snapshot, escalation: str) -> list[Holding]:
    """Return what is in force by other escalations than the one of that name, the safest state first."""
    return [holding for holding in holdings(snapshot) if holding.escalation.name != escalation]


def carrier(snapshot: Snapshot, object_title: str) -> Holding | None:
    """Return whose hold an object has to carry: that for the safest state, and of equal ones the earliest."""
    return next((holding for holding in holdings(snapshot) if object_of(holding.intent) == object_title), None)


def carriers(snapshot: Snapshot) -> list[Holding]:
    """Return whose hold each object has to carry, the workload first."""
    found: dict[str, Holding] = {}
    for holding in holdings(snapshot):
        found.setdefault(object_of(holding.intent), holding)
    return [found[object_title] for object_title in sorted(found)]


def lock_of(snapshot: Snapshot, object_title: str, *, own: Intent | None = None) -> str:
    """Return the action that the lock has to hold an object to; empty where no ladder wants it locked.

    Args:
        snapshot: The target and everything that bears on it.
        object_title: The object; empty for the workload.
        own: An intent that is not in force yet, and wants the lock.
    """
    if own is not None:
        return str(own.action)
    locked = (h for h in holdings(snapshot) if is_locked(snapshot, h.escalation, h.intent))
    return next((str(h.intent.action) for h in locked if object_of(h.intent) == object_title), "")


def covering(snapshot: Snapshot, escalation: str, action: ContainmentAction) -> Holding | None:
    """Return what another escalation has in effect that is as safe as a safe state on its axis, or safer on either."""
    workload = snapshot.target
    if workload is None:
        return None
    for holding in of_others(snapshot, escalation):
        held = holding.intent.action
        is_as_safe = held.strength == action.strength and held.axis is action.axis
        if not is_as_safe and held.strength <= action.strength:
            continue
        if prove(workload, holding.escalation, holding.intent).applied:
            return holding
    return None


def stopped_by(snapshot: Snapshot, escalation: str) -> Holding | None:
    """Return the other escalation that holds the model at zero, if one does."""
    stops = (h for h in of_others(snapshot, escalation) if h.intent.action is ContainmentAction.SCALE_TO_ZERO)
    return next(stops, None)


def restore_so_far(escalation: Escalation) -> Restore | None:
    """Return what a Resume of an escalation restores, also where its status does not say so yet."""
    return note(escalation, noted_in(escalation.status), escalation.status.resume).restore


def restore_for(snapshot: Snapshot, escalation: str) -> Restore | None:
    """Return what a further hold on the workload has to restore, where others had contained it before; else ``None``.

    That is the state before the first of them, also where a Resume of one is under way. A workload that was created
    again with no replicas, which is all that the lock lets through, has to restore what the one of before had.
    """
    found = []
    for other in (*snapshot.open, *_predecessors(snapshot)):
        resume, active = other.status.resume, other.in_force.get(Axis.WORKLOAD)
        is_under_way = resume is not None and resume.applied_at is None
        if other.name == escalation or not (active or is_under_way):
            continue
        restore = restore_so_far(other)
        if restore is not None and restore.replicas:
            found.append((active.intended_at if active else LONG_AGO, other.name, restore))
    if not found:
        return None
    _, _, first = min(found, key=lambda item: item[:2])
    return first.model_copy(update={"fields": tuple(field for field in first.fields if not field.object)})


def _predecessors(snapshot: Snapshot) -> Iterator[Escalation]:
    """Yield the open escalations of a workload of that name whose place a stopped one has taken."""
    workload = snapshot.target
    if workload is not None and not workload.replicas:
        others = (e for e in snapshot.escalations if e.spec.target.uid != workload.uid)
        yield from (e for e in others if e.is_open and not e.spec.drill)


def saved_by(holding: Holding) -> tuple[SavedField, ...]:
    """Return what was overwritten of the object that an intent acts on, as it was before."""
    restore, object_title = restore_so_far(holding.escalation), object_of(holding.intent)
    return tuple(
        field for field in (restore.fields if restore else ()) if object_title and field.object == object_title
    )
