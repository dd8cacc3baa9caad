"""A further intent for an open escalation: for a safer state, or because the one in force cannot be carried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import CountedDecision
from riskladder.api.intent import Intent, NetworkTargetRef
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Axis, Containment, ContainmentAction, ContainmentWhen, Fallback, TimeoutAction, adds
from riskladder.policy.containment.choose import (
    Choice,
    asked_for,
    instead_of,
    intent_of,
    planned_choice,
    severity,
    take_evidence,
    with_connections,
    without_gain,
)
from riskladder.policy.containment.failing import failing, safer
from riskladder.policy.containment.note import note, noted_in
from riskladder.policy.containment.opening import (
    by_strength,
    choose_again,
    choose_for,
    choose_within,
    covered_by,
    first_granted,
    passed_on,
)
from riskladder.policy.containment.others import covering, restore_for
from riskladder.policy.containment.radius import RadiusDecision
from riskladder.policy.containment.state import (
    declared_for,
    is_locked,
    may_act,
    may_touch,
    prove,
    quarantined_hash,
    reverted_by,
    wants_lock,
    was_applied,
)
from riskladder.policy.plan import EscalationUpdate, Stop
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.signals.groups import Demand, Group, Judgement, demands_of
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads import network
from riskladder.workloads.model import History, Revision, Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.results import Impossible
from riskladder.workloads.safe_states import fallback, network_path
from riskladder.workloads.safe_states.network_path import Planned


@dataclass(frozen=True, slots=True)
class DueContainment:
    """A containment that people, or their silence, demand of an open escalation."""

    tier: str
    containment: Containment
    reason: Reason
    message: str
    decision: str | None = None


def due_containments(escalation: Escalation) -> Iterator[DueContainment]:
    """Return the containments that a decision, a deadline or the rung demands, besides what the signals demand."""
    status, policy = escalation.status, escalation.spec.policy
    rung = status.rung
    if rung is None:
        return
    pinned = tier_of(policy, rung.tier)
    declared = pinned.containment if pinned else None
    served = {intent.decision for intent in escalation.intents}
    known = {decision.uid for decision in status.decisions}
    pressed = [decision for decision in escalation.pressed if decision.uid not in known]
    for decision in _since_the_last_resume((*status.decisions, *pressed)):
        if not decision.counted or decision.action is not DecisionAction.CONTAIN or decision.name in served:
            continue
        containment = asked_for(declared, decision.containment)
        why = f"decided by {decision.by} as {decision.role}"
        yield DueContainment(rung.tier, containment, Reason.CONTAINED_MANUALLY, why, decision.name)
    if declared is None or _is_resumed_since(escalation, rung.entered_at):
        return
    if rung.stalled_at is not None and pinned is not None and pinned.on_timeout is TimeoutAction.CONTAIN:
        yield DueContainment(
            rung.tier, declared, Reason.INTERIM_CONTAINMENT, "nobody decided in time: contained meanwhile"
        )
    elif declared.when is ContainmentWhen.IMMEDIATELY and rung.reason in ENTERED_WITHOUT_A_READING:
        yield DueContainment(rung.tier, declared, Reason(rung.reason), f"tier {rung.tier} was entered: {rung.reason}")


ENTERED_WITHOUT_A_READING = (
    Reason.STALLED,
    Reason.ESCALATED_MANUALLY,
    Reason.CONTAINMENT_LATE,
    Reason.CONTAINMENT_INEFFECTIVE,
    Reason.CONTENTION,
)
"""Why a rung is entered without any reading of its tier, which would demand the containment by itself."""


def _since_the_last_resume(decisions: Sequence[CountedDecision]) -> Sequence[CountedDecision]:
    """Return what was decided after it, by order: what is judged in one pass has one time."""
    met = [n for n, d in enumerate(decisions) if d.action is DecisionAction.RESUME and d.reason == Reason.QUORUM_MET]
    return decisions[met[-1] + 1 :] if met else decisions


def _is_resumed_since(escalation: Escalation, at: datetime) -> bool:
    resume = escalation.status.resume
    return resume is not None and resume.at >= at


def raise_escalation(
    snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime
) -> tuple[Stop, bool] | None:
    """Return the act of a further intent of an open escalation, and whether it is to be locked.

    Needed where a breach, a decision or a deadline now asks for a safer state than the one in force, where the workload
    has changed between the evidence and the act, or where the revision to go back to has gone from the history.
    """
    workload = snapshot.target
    if workload is None or workload.uid != escalation.spec.target.uid:
        return None
    number, policy = escalation.last_intent + 1, escalation.spec.policy
    before: Intent | None = None
    if (found := _further(snapshot, judgement, escalation, number, now)) is not None:
        intent, choice, lock = found
    elif (taken := _taken_over(snapshot, escalation, number, now)) is not None:
        intent, choice, lock = taken
    elif may_act(snapshot, escalation):
        renewed = _first_renewed(snapshot, escalation, number, now)
        if renewed is None:
            return None
        before, intent, choice = renewed
        lock = wants_lock(policy, before)
    else:
        return None
    act = Stop(intent, intent.action, severity(policy, intent.tier), choice.revision, escalation=escalation.name)
    if before is not None and was_applied(snapshot, escalation, before):
        act = replace(act, again=True, reverted_by=reverted_by(workload, before))
    return act, lock


def noted_first(escalation: Escalation, intent: Intent) -> EscalationUpdate:
    """Return the status with a further intent, to be saved before the act where no object carries its hold."""
    known = replace(escalation, unsaved=(*escalation.unsaved, intent))
    noted = note(known, noted_in(escalation.status), escalation.status.resume)
    return EscalationUpdate(escalation, noted.in_status(escalation.status))


def is_further(action: ContainmentAction, active: Mapping[Axis, Intent]) -> bool:
    """Return whether a safe state adds to those in force: a safer one, or one as safe on the other axis."""
    return adds(action, [intent.action for intent in active.values()])


def _further(
    snapshot: Snapshot,
    judgement: Judgement,
    escalation: Escalation,
    number: int,
    now: datetime,
) -> tuple[Intent, Choice, bool] | None:
    """Return the intent that adds to those in force, on fresh evidence, and whether it is locked."""
    workload, active = snapshot.target, escalation.in_force
    assert workload is not None  # noqa: S101
    group = judgement.group(escalation.spec.ladder.name)
    granted = first_granted(snapshot, workload, _demands(group, active), escalation.name, escalation, now)
    if granted is not None:
        demand, choice = granted
        intent = _fresh(intent_of(number, demand.tier.name, choice, now), workload, choice, now)
        intent = intent.model_copy(update={"signal": demand.signal.reference()})
        return (intent, choice, demand.containment.lock) if is_further(intent.action, active) else None
    failed = _failed(snapshot, escalation, group)
    due = [c for c in (*due_containments(escalation), *failed) if is_further(c.containment.action, active)]
    if not due or snapshot.is_suspended(escalation.spec.ladder.name) or not may_touch(workload, escalation):
        return None
    call = max(due, key=lambda c: c.containment.action.strength)
    choice = choose_for(snapshot, workload, call.containment, escalation=escalation.name, by=call.reason, group=group)
    choice = replace(choice, message=f"{choice.message}: {call.message}"[:1024])
    intent = _fresh(intent_of(number, call.tier, choice, now), workload, choice, now)
    intent = intent.model_copy(update={"decision": call.decision})
    return (intent, choice, call.containment.lock) if is_further(intent.action, active) else None


def is_held_for_another(snapshot: Snapshot, before: Escalation, now: datetime) -> bool:
    """Return whether an escalation still holds the workload that took the place of its own.

    It does until the new one has an escalation that has taken over what was in force: what holds it is never let go in
    between, though its containment may take several attempts.
    """
    workload = snapshot.target
    if workload is None or not passed_on(snapshot, workload, before):
        return False
    after = snapshot.open_under(before.spec.ladder.name)
    return after is None or _taken_over(snapshot, after, after.last_intent + 1, now) is not None


def _taken_over(
    snapshot: Snapshot, escalation: Escalation, number: int, now: datetime
) -> tuple[Intent, Choice, bool] | None:
    """Return the intent on the other axis that a workload has yet to take over from the one before it."""
    workload = snapshot.target
    if workload is None or not escalation.in_force or escalation.status.resume is not None:
        return None
    for before in snapshot.escalations:
        if before.spec.ladder.name != escalation.spec.ladder.name:
            continue
        for axis, was in passed_on(snapshot, workload, before).items():
            if axis in escalation.in_force:
                continue
            # That it is at zero, if it is, is what has been taken over already, and says nothing about the other axis.
            running = replace(workload, replicas=max(workload.replicas, 1))
            choice = choose_again(snapshot, running, before, was, escalation.name)
            if choice.action.axis is not axis:
                continue
            intent = _fresh(intent_of(number, was.tier, choice, now), workload, choice, now)
            return intent, choice, is_locked(snapshot, before, was)
    return None


def _demands(group: Group | None, active: Mapping[Axis, Intent]) -> list[Demand]:
    """Return what breached tiers demand beyond what is in force, that for the safest state first."""
    demands = demands_of(group) if group is not None and not group.suspended else ()
    return by_strength(d for d in demands if is_further(d.containment.action, active))


def withheld(snapshot: Snapshot, group: Group | None, escalation: Escalation, now: datetime) -> Demand | None:
    """Return the containment that would be carried out now if the blast radius of the ladder were not exceeded."""
    workload = snapshot.target
    if workload is None or escalation.spec.ladder.name not in snapshot.radius_budgets:
        return None
    for demand in _demands(group, escalation.in_force):
        found = choose_within(snapshot, workload, demand, escalation.name, escalation, now)
        if found is RadiusDecision.WAIT:
            return demand
        if isinstance(found, Choice):
            return None
    return None


def _failed(snapshot: Snapshot, escalation: Escalation, group: Group | None) -> Iterator[DueContainment]:
    """Yield the safer states that follow containments which do not work.

    What follows a fallback that stands in for what the blast radius held up is held up, too: it is demanded again.
    """
    is_bounded = escalation.spec.ladder.name in snapshot.radius_budgets
    for found in failing(escalation, group):
        if not is_bounded or found.intent.reason != Reason.BLAST_RADIUS_EXCEEDED:
            yield DueContainment(
                found.intent.tier, safer(escalation.spec.policy, found.intent), found.reason, found.message
            )


def _fresh(intent: Intent, workload: Workload, choice: Choice, now: datetime) -> Intent:
    """Return an intent with the workload as it is now as its evidence, unless it takes over what another one holds."""
    evidence = intent.evidence or take_evidence(workload, now, choice.saved)
    return intent.model_copy(update={"evidence": evidence})


def _first_renewed(
    snapshot: Snapshot, escalation: Escalation, number: int, now: datetime
) -> tuple[Intent, Intent, Choice] | None:
    """Return the first intent in force that has to be renewed, with the new one and the choice made for it."""
    for intent in escalation.in_force.values():
        if (renewed := _renewed(snapshot, escalation, intent, number, now)) is not None:
            return intent, *renewed
    return None


def _renewed(
    snapshot: Snapshot, escalation: Escalation, active: Intent, number: int, now: datetime
) -> tuple[Intent, Choice] | None:
    """Renew the intent in force on fresh evidence, where it can no longer be carried out as it was written."""
    workload = snapshot.target
    if workload is None:
        return None
    current = workload.current
    is_back = active.action is ContainmentAction.ROLLBACK
    is_lost = is_back and not any(r.hash == active.pod_template_hash for r in workload.revisions)
    is_applied = prove(workload, escalation, active).applied
    was_done = was_applied(snapshot, escalation, active)
    if active.target_ref is not None:
        renewed = None if is_applied else _another_way(snapshot, workload, escalation, active, was_done=was_done)
        if renewed is None:
            return None
        choice = renewed
    elif is_applied or (was_done and not is_lost):
        return None
    elif is_back:
        is_other = current is None or current.hash != quarantined_hash(escalation, active)
        why = Reason.EVIDENCE_OUTDATED if is_other and not was_done else Reason.ROLLBACK_IMPOSSIBLE
        if is_lost:
            message = f"no rollback: revision {active.revision} is no longer in the history"
            choice = Choice(ContainmentAction.SCALE_TO_ZERO, why, message)
        elif is_other:
            found = workload.runtime.rollback_target(
                workload,
                quarantined=current.hash if current else "",
                history=History(known_good=frozenset({active.pod_template_hash or ""})),
            )
            found = without_gain(workload, found)
            if isinstance(found, Revision):
                choice = Choice(ContainmentAction.ROLLBACK, why, "another revision was deployed", found)
            else:
                message = f"another revision was deployed, and no rollback: {found.why}"
                choice = Choice(ContainmentAction.SCALE_TO_ZERO, why, message)
        else:
            return None
    else:
        evidence = escalation.evidence(active)
        if evidence is None or workload.replicas in (0, evidence.replicas):
            return None
        message = f"replicas had changed from {evidence.replicas} to {workload.replicas} before the act"
        choice = Choice(active.action, Reason.EVIDENCE_OUTDATED, message)
    if (other := covering(snapshot, escalation.name, choice.action)) is not None:
        choice = covered_by(other, restore_for(snapshot, escalation.name))
    intent = _fresh(intent_of(number, active.tier, choice, now), workload, choice, now).model_copy(
        update={
            "signal": active.signal,
            "decision": active.decision,
            "restore": active.restore or choice.restore,
            "replaces": active.id if choice.action.axis is not active.action.axis else None,
        }
    )
    return intent, choice


def _another_way(
    snapshot: Snapshot, workload: Workload, escalation: Escalation, active: Intent, *, was_done: bool
) -> Choice | None:
    """Return what to do where a Service or HTTPRoute is gone, or has changed between the evidence and the act."""
    target_ref = active.target_ref
    assert target_ref is not None  # noqa: S101
    if target_ref.kind == NETWORKPOLICIES.kind or isinstance(network_path.reach(workload, target_ref.kind), Impossible):
        return None
    declared = declared_for(escalation.spec.policy, active)
    if why := fallback.usable(workload, target_ref):
        replacement = instead_of(
            declared, workload, Reason.FALLBACK_IMPOSSIBLE, f"no Fallback any more: {why}", escalation.name
        )
        return with_connections(replacement, declared, ends_pods=snapshot.ends_pods)
    evidence = escalation.evidence(active)
    saved = next((f for f in evidence.fields if f.object == network.title(target_ref)), None) if evidence else None
    planned = fallback.choose(workload, _fallback_of(target_ref))
    if was_done or not isinstance(planned, Planned) or saved is None or saved.value == planned.saved.value:
        return None
    message = f"{target_ref.kind} {target_ref.name} had changed before the act; {planned.message}"
    return planned_choice(active.action, Reason.EVIDENCE_OUTDATED, planned, message)


def _fallback_of(target_ref: NetworkTargetRef) -> Fallback:
    if target_ref.backend is not None:
        return Fallback(http_route=target_ref.name, backend=target_ref.backend)
    return Fallback(service=target_ref.name, selector=target_ref.selector)
