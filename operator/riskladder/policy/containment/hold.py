"""The writes that an intent needs, and needs again where somebody has reverted them."""

from __future__ import annotations

from riskladder.api.intent import Intent
from riskladder.api.tiers import Axis, ContainmentAction
from riskladder.policy.containment.choose import severity
from riskladder.policy.containment.holds import is_carried, of_escalation, with_hold
from riskladder.policy.containment.others import carrier, lock_of, object_of
from riskladder.policy.containment.state import (
    may_act,
    prove,
    quarantined_hash,
    reverted_by,
    was_applied,
)
from riskladder.policy.plan import Effect, Phase, Stop
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.model import HasFollowUp, Workload


def carry_out(snapshot: Snapshot, escalation: Escalation) -> Stop | None:
    """Return the write that an intent in force still needs, or needs again because somebody has reverted it.

    The workload comes first; the other axis follows in the next pass.
    """
    workload = snapshot.target
    if workload is None or not may_act(snapshot, escalation):
        return None
    acts = (_carry_out(snapshot, workload, escalation, intent) for intent in escalation.in_force.values())
    return next((act for act in acts if act is not None), None)


def _carry_out(snapshot: Snapshot, workload: Workload, escalation: Escalation, intent: Intent) -> Stop | None:
    """Return the write of one intent, where it is not in effect."""
    if prove(workload, escalation, intent).applied:
        return None
    revision = next((r for r in workload.revisions if r.hash == intent.pod_template_hash), None)
    if intent.action is ContainmentAction.ROLLBACK and revision is None:
        return None
    again = was_applied(snapshot, escalation, intent)
    act = Stop(
        intent=intent,
        action=intent.action,
        severity=severity(escalation.spec.policy, intent.tier),
        revision=revision,
        again=again,
        reverted_by=reverted_by(workload, intent) if again else "",
        escalation=escalation.name,
    )
    # What refuses the write may have refused what it carries: the Escalation says why by now, so the act goes alone.
    is_refused = bool(snapshot.obstacle) and intent.target_ref is None
    if is_refused or not is_carried(workload, intent):
        return act
    found = carrier(snapshot, object_of(intent))  # the object carries the hold for the safest state, whoever acts
    holder, held = (found.escalation, found.intent) if found is not None else (escalation, intent)
    return with_hold(act, of_escalation(holder, held), lock=lock_of(snapshot, object_of(intent)))


def follow_up(snapshot: Snapshot) -> Effect | None:
    """Return the second write that a containment needs with some runtimes, until it is proved.

    Afterwards, too, where somebody takes it back for the breached revision; another one may be prepared meanwhile.
    """
    found = (_follow_up(snapshot, escalation) for escalation in snapshot.open)
    return next((effect for effect in found if effect is not None), None)


def _follow_up(snapshot: Snapshot, escalation: Escalation) -> Effect | None:
    workload, intent = snapshot.target, escalation.in_force.get(Axis.WORKLOAD)
    if workload is None or intent is None or not isinstance(workload.runtime, HasFollowUp):
        return None
    proof, known = prove(workload, escalation, intent), escalation.status.containment(Axis.WORKLOAD)
    is_proved = known is not None and known.intent.id == intent.id and known.pods_gone_at is not None
    is_other = workload.current_hash != quarantined_hash(escalation, intent)
    if not proof.applied or (is_proved and proof.clear and is_other) or not may_act(snapshot, escalation):
        return None
    back = intent.action is ContainmentAction.ROLLBACK
    write = workload.runtime.follow_up(workload, intent.pod_template_hash if back else None)
    if write is None:
        return None
    return Effect.on(Phase.FOLLOW_UP, workload, write, escalation.name)
