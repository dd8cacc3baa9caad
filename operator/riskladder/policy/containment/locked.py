"""The condition Locked: whether admission refuses to revert what is in force."""

from __future__ import annotations

from collections.abc import Sequence

from riskladder.api.base import format_time
from riskladder.api.conditions import Condition
from riskladder.api.intent import Intent
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.containment import state
from riskladder.policy.containment.holds import is_locked_by_label
from riskladder.policy.draft import Draft


def say(draft: Draft, active: Sequence[Intent]) -> None:
    """Keep the label of what is locked as the ladder wants it, and say whether admission holds it.

    Args:
        draft: The escalation.
        active: The intents in force, the workload first.
    """
    wanted = [intent for intent in active if state.is_locked(draft.snapshot, draft.escalation, intent)]
    label = draft.escalation.labels.get(LABEL_CONTAINMENT)
    if wanted and label != str(wanted[0].action):
        draft.labels[LABEL_CONTAINMENT] = str(wanted[0].action)
    elif not wanted and label is not None:
        draft.labels[LABEL_CONTAINMENT] = None
    conditions, missing, workload = draft.conditions, draft.snapshot.lock, draft.snapshot.target
    was = conditions.get(ConditionType.LOCKED)
    if not wanted:
        message = "the ladder wants no lock: what is reverted is re-applied and recorded"
        conditions.set(ConditionType.LOCKED, False, Reason.LOCK_NOT_WANTED, message)
    elif not missing and workload is not None and not all(is_locked_by_label(workload, i) for i in wanted):
        message = "it does not carry the label yet that the lock goes by"
        conditions.set(ConditionType.LOCKED, None, Reason.NOT_YET, message)
    elif missing is None:
        if was is None:
            conditions.set(ConditionType.LOCKED, None, Reason.NOT_YET, "nobody has looked yet")
    elif missing:
        if was is None or was.reason != Reason.LOCK_MISSING:
            key = f"unlocked/{wanted[0].id}/{_since(was)}"
            draft.warn(Reason.LOCK_MISSING, key, f"admission does not hold the containment: {missing}")
        conditions.set(ConditionType.LOCKED, False, Reason.LOCK_MISSING, f"admission does not hold it: {missing}")
    else:
        if was is not None and was.reason == Reason.LOCK_MISSING:
            key = f"locked/{wanted[0].id}/{_since(was)}"
            draft.note(Reason.LOCK_RESTORED, key, "admission holds the containment again")
        conditions.set(ConditionType.LOCKED, True, Reason.LOCKED, "admission refuses to revert the containment")


def _since(condition: Condition | None) -> str:
    """Return a key for one change of a condition, the same when it is written again after a crash."""
    return format_time(condition.last_transition_time) if condition else "first"
