"""Suspension of companion workloads: data collection, retraining (``alsoSuspend``), and what scales the model.

It is no part of containing the model, and never delays that. What a workload was like before goes on record first;
only then is it suspended. It is looked at again every minute, and suspended again where somebody let it run. A resume
that is complete lets run what ran before.

What scales the model (KEDA's ScaledObjects) is named by no policy: it is looked for while the model is scaled to zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from riskladder.api.escalation import MAX_COMPANIONS, SuspendedStatus
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment import state
from riskladder.policy.containment.writes import switch_write
from riskladder.policy.draft import Draft
from riskladder.policy.plan import Effect
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.companions.suspend import Companion

LOOK_EVERY = timedelta(minutes=1)
"""Between looks at what is suspended: nothing of it is watched."""


def wanted(escalation: Escalation) -> tuple[tuple[str, str], ...]:
    """Return kind and name of all companion workloads of the escalation's containment."""
    if escalation.spec.drill or not escalation.status.containments or not escalation.is_open:
        return ()
    found = {(b.kind, b.name) for b in escalation.status.companions if b.resumed_at is None}
    for intent in escalation.in_force.values():
        pinned = tier_of(escalation.spec.policy, intent.tier)
        if pinned is not None and pinned.containment is not None:
            found |= {(s.kind, s.name) for s in pinned.containment.also_suspend}
    return tuple(sorted(found))


def looks_for_scalers(escalation: Escalation) -> bool:
    """Return whether what scales the model has to be looked for: while it is at zero, and has to stay there.

    Not with a Rollback: a ScaledObject that is paused at zero would stop the revision that was gone back to.
    """
    intent = escalation.in_force.get(Axis.WORKLOAD)
    return (
        intent is not None
        and intent.action is ContainmentAction.SCALE_TO_ZERO
        and escalation.is_open
        and bool(escalation.status.containments)
    )


def advance(draft: Draft) -> None:
    """Note how each workload was before, that it is suspended, and that it runs again."""
    if not draft.containments or draft.escalation.spec.drill:
        return
    listed, places = {(b.kind, b.name): b for b in draft.companions}, wanted(draft.escalation)
    for key, seen in draft.snapshot.companions.items():
        if key in places or (seen.found and draft.is_contained and len(listed) < MAX_COMPANIONS):
            listed[key] = _noted(draft, listed.get(key), seen)
    draft.companions = tuple(listed[key] for key in sorted(listed))
    seeks = draft.snapshot.seeks and draft.is_contained and looks_for_scalers(draft.escalation)
    if any(b.resumed_at is None for b in draft.companions) or places or seeks:
        draft.wake.append(draft.now + LOOK_EVERY)


def _noted(draft: Draft, before: SuspendedStatus | None, seen: Companion) -> SuspendedStatus:
    what, now = f"{seen.kind} {seen.name}", draft.now
    first = _as_found(draft, seen)
    entry = before or first
    if seen.problem:
        if entry.problem != seen.problem[:1024]:
            draft.warn(Reason.NOT_SUSPENDED, f"companion/{what}/{entry.problem[:40]}", f"{what}: {seen.problem}")
        return entry.model_copy(update={"problem": seen.problem[:1024]})
    if not entry.uid:  # it was not to be seen before, so how it is now is how it was
        entry = first
    update: dict[str, object] = {"problem": ""}
    if draft.is_contained and seen.suspended and entry.suspended_at is None:
        update["suspended_at"] = now
        was = " (it was before)" if entry.was else ""
        draft.note(Reason.ALSO_SUSPENDED, f"suspended/{what}", f"{what} is suspended with the model{was}")
    held = _is_held(draft.snapshot, draft.escalation, seen.kind, seen.name)
    if _is_resumed(draft.escalation) and not draft.is_contained and (entry.was or held or not seen.suspended):
        update["resumed_at"] = now
        if not entry.was and not held:
            draft.note(Reason.ALSO_RESUMED, f"resumed/{what}", f"{what} runs again")
    return entry.model_copy(update=update)


def _as_found(draft: Draft, seen: Companion) -> SuspendedStatus:
    """Return a companion workload as it was before anybody suspended it: another escalation may have been first."""
    for other in draft.snapshot.open:
        for entry in other.status.companions if other.name != draft.escalation.name else ():
            if (entry.kind, entry.name, entry.uid) == (seen.kind, seen.name, seen.uid) and entry.resumed_at is None:
                return SuspendedStatus(kind=seen.kind, name=seen.name, uid=seen.uid, was=entry.was, value=entry.value)
    return SuspendedStatus(kind=seen.kind, name=seen.name, uid=seen.uid, was=seen.suspended, value=seen.value)


def _is_held(snapshot: Snapshot, escalation: Escalation, kind: str, name: str) -> bool:
    """Return whether another escalation in force keeps a companion workload suspended."""
    others = (e for e in snapshot.open if e.name != escalation.name and state.is_contained(e))
    return any((c.kind, c.name) == (kind, name) for other in others for c in other.status.companions)


def _is_resumed(escalation: Escalation) -> bool:
    resume = escalation.status.resume
    return resume is not None and resume.applied_at is not None


def switches(snapshot: Snapshot) -> Iterator[Effect]:
    """Yield the writes that are due, for what is on record as it was before."""
    for escalation in snapshot.open:
        yield from _switches(snapshot, escalation)


def _switches(snapshot: Snapshot, escalation: Escalation) -> Iterator[Effect]:
    workload = snapshot.target
    if not escalation.status.companions:
        return
    if workload is not None and not state.may_touch(workload, escalation):
        return
    active, acts = state.is_contained(escalation), not snapshot.is_suspended(escalation.spec.ladder.name)
    for entry in escalation.status.companions:
        seen = snapshot.companions.get((entry.kind, entry.name))
        if seen is None or not seen.uid or seen.problem:
            continue
        if active and acts and not seen.suspended:
            yield switch_write(seen, escalation.name, suspend_it=True)
        elif _is_held(snapshot, escalation, entry.kind, entry.name):
            continue
        elif not active and _is_resumed(escalation) and seen.suspended and not entry.was and not entry.resumed_at:
            yield switch_write(seen, escalation.name, suspend_it=False, value=entry.value)
