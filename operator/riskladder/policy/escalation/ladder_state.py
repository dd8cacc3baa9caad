"""Whether the ladder of an escalation is in force: its suspension and deletion are on record in each that is open."""

from __future__ import annotations

from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.draft import Draft

_IN_FORCE = "the ladder is in force, and not suspended"
_EARLIER = Reason.ACTIVE
"""What versions before called that, on the ladder and here alike: nothing has changed where it stands there."""


def advance(draft: Draft) -> None:
    """Say how the ladder stands, and put each change of that on record.

    An escalation keeps the policy that it was opened under: a deletion changes nothing for it, but a suspension does.
    """
    active, reason, message = _stands(draft)
    before = draft.conditions.get(ConditionType.LADDER_ACTIVE)
    draft.conditions.set(ConditionType.LADDER_ACTIVE, active, reason, message)
    detail = {"ladder": draft.escalation.spec.ladder.name}
    if before is None and not active:
        draft.warn(reason, f"ladder/{reason}/{draft.last_record}", message, **detail)
    elif before is not None and before.reason != reason and not (active and before.reason == _EARLIER):
        (draft.note if active else draft.warn)(reason, f"ladder/{reason}/{draft.last_record}", message, **detail)
    elif before is not None and active and before.message == _IN_FORCE != message:
        draft.warn(Reason.LADDER_DELETED, f"ladder/{Reason.LADDER_DELETED}/{draft.last_record}", message, **detail)


def _stands(draft: Draft) -> tuple[bool, Reason, str]:
    name, uid = draft.escalation.spec.ladder.name, draft.escalation.spec.ladder.uid
    found = draft.snapshot.ladders.get(name)
    if found is None:
        message = f"EscalationLadder {name} was deleted: the policy that was pinned at the opening stays in force"
        return False, Reason.LADDER_DELETED, message
    if draft.is_suspended:
        message = f"EscalationLadder {name} is suspended: nobody is notified, and nothing is contained or late"
        return False, Reason.LADDER_SUSPENDED, message
    if found.uid != uid:
        message = f"EscalationLadder {name} was deleted and created again: the policy that was pinned stays in force"
        return True, Reason.LADDER_IN_FORCE, message
    return True, Reason.LADDER_IN_FORCE, _IN_FORCE
