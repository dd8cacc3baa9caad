"""A target that is out of reach: deleted, with what it has left behind, or released from the ladder by its labels."""

from __future__ import annotations

from collections.abc import Sequence

from riskladder.api.conditions import Condition
from riskladder.api.intent import Intent
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import Axis
from riskladder.policy.containment import state
from riskladder.policy.containment.unconfirmed import note
from riskladder.policy.draft import Draft
from riskladder.workloads.model import Pod

NOTHING_LEFT = "nothing is left to contain"


def target_deleted(draft: Draft, was: Condition | None, intent: Intent | None) -> None:
    """Say that the target is gone, and what it has left behind: also where nothing was contained.

    Args:
        draft: The escalation.
        was: Its condition Contained as it was.
        intent: What was contained last, where anything is.
    """
    target, left = draft.escalation.spec.target, draft.snapshot.strays
    if left is None:  # whether it has left pods behind is looked at first
        if was is not None and was.reason == Reason.TARGET_DELETED:
            draft.conditions.set(ConditionType.CONTAINED, str(was.status) == "True", Reason.TARGET_DELETED, was.message)
        return
    vanished, listed = draft.snapshot.unconfirmed, draft.snapshot.listed
    if intent is not None:
        _note_vanished(draft, intent, vanished)
    parts = [state.strays_left(left, listed)] if left or listed else []
    parts += [state.unconfirmed_left(vanished)] if vanished else []
    what = "; ".join(parts) or NOTHING_LEFT
    is_known = was is not None and was.reason == Reason.TARGET_DELETED
    if was is None or not is_known or (NOTHING_LEFT in was.message) is bool(parts):
        number = intent.id if intent is not None else 0
        key = f"deleted/{number}" + (f"/{len(left) + len(listed) + len(vanished)}" if parts else "")
        about = {"intent": str(number)} if intent is not None else {}
        draft.warn(Reason.TARGET_DELETED, key, f"{target.kind} {target.name} was deleted: {what}", **about)
    is_contained = intent is not None and not parts
    draft.conditions.set(
        ConditionType.CONTAINED, is_contained, Reason.TARGET_DELETED, f"the target was deleted: {what}"
    )


def _note_vanished(draft: Draft, intent: Intent, pods: Sequence[Pod]) -> None:
    """Keep in the status which pods of a target that is gone have vanished without the word of their node."""
    known = draft.containments.get(intent.action.axis)
    if known is not None and known.intent.id == intent.id and intent.action.axis is Axis.WORKLOAD:
        draft.containments[intent.action.axis] = known.model_copy(update={"unconfirmed": note(pods)})


def target_released(draft: Draft, was: Condition | None) -> None:
    """Say that the target is not held where it has lost the ladder's labels; that, and their return, is on record.

    Args:
        draft: The escalation.
        was: Its condition ContainmentHolds as it was.
    """
    workload, escalation = draft.snapshot.target, draft.escalation
    was_released = was is not None and was.reason == Reason.TARGET_RELEASED
    if workload is None or state.may_touch(workload, escalation):
        if workload is not None and was_released:
            message = "the target carries the labels again that put it under the ladder: its containment is held again"
            draft.note(Reason.TARGET_GOVERNED, f"governed/{draft.last_record}", message)
        return
    message = "the target no longer carries the labels that put it under the ladder: it is not touched any more"
    if not was_released:
        draft.warn(Reason.TARGET_RELEASED, f"released/{draft.last_record}", message)
    draft.conditions.set(ConditionType.CONTAINMENT_HOLDS, False, Reason.TARGET_RELEASED, message)
