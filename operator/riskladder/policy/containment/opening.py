"""The escalation that a breached target needs, with the intent and the evidence saved in the same write."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from riskladder.api.escalation import EscalationSpec, TargetIdentity
from riskladder.api.intent import Intent, NetworkTargetRef, Restore, SavedField
from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_LADDER, LABEL_TIER
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Axis, Containment, ContainmentAction
from riskladder.policy.containment.choose import (
    Choice,
    choose,
    intent_of,
    severity,
    take_evidence,
    with_connections,
)
from riskladder.policy.containment.others import Holding, covering, restore_for, saved_by
from riskladder.policy.containment.radius import RadiusDecision, check_radius, exceeded
from riskladder.policy.containment.state import declared_for, is_contained, is_locked
from riskladder.policy.plan import NewEscalation, Stop
from riskladder.policy.signals.groups import Demand, Group, Judgement, demands_of
from riskladder.policy.signals.history import history_of
from riskladder.policy.snapshot import Escalation, Signal, Snapshot, is_governed
from riskladder.workloads import network
from riskladder.workloads.model import History, Workload
from riskladder.workloads.network import NETWORKPOLICIES

NAME_PREFIX_LIMIT = 40


def escalation_name(target_name: str, target_uid: str, ladder: str, last_closed: str) -> str:
    """Return the name of a target's next escalation under a ladder.

    It is the same for everyone who would open it, so that opening it twice conflicts.

    Args:
        target_name: Name of the workload; shortened to fit.
        target_uid: Its uid.
        ladder: Name of the ladder.
        last_closed: uid of its last closed escalation under that ladder, which makes the episodes of one target differ.
    """
    digest = hashlib.sha256(f"{target_uid}/{ladder}/{last_closed}".encode()).hexdigest()[:10]
    return f"{target_name[:NAME_PREFIX_LIMIT].replace('.', '-').rstrip('-')}-{digest}"


def _next_name(snapshot: Snapshot, workload: Workload, ladder: str) -> str:
    return escalation_name(workload.name, workload.uid, ladder, snapshot.last_closed.get(ladder, ""))


def labels_of(ladder: str, tier: str, intent: Intent | None, *, lock: bool) -> dict[str, str]:
    """Return the labels of an escalation with that intent."""
    labels = {LABEL_LADDER: ladder, LABEL_TIER: tier}
    if intent is not None and lock:
        labels[LABEL_CONTAINMENT] = str(intent.action)
    return labels


def openings(snapshot: Snapshot, judgement: Judgement, now: datetime) -> Iterator[tuple[NewEscalation, Stop | None]]:
    """Yield the escalation that each ladder needs on the target and lacks, with its containment if one is due."""
    workload = snapshot.target
    if workload is None:
        return
    opened = {escalation.spec.ladder.name for escalation in snapshot.open}
    groups = {group.ladder.name: group for group in judgement.groups if group.live_tier}
    before = {e.spec.ladder.name: e for e in snapshot.escalations if e.spec.target.uid != workload.uid}
    for ladder in sorted((groups.keys() | before.keys()) - opened):
        group = groups.get(ladder)
        demands = by_strength(demands_of(group)) if group is not None and not group.suspended else []
        name = _next_name(snapshot, workload, ladder)
        granted = first_granted(snapshot, workload, demands, name, None, now)
        inherited = _inherit(snapshot, workload, before[ladder], now) if granted is None and ladder in before else None
        if inherited is not None:
            yield inherited
        elif group is not None:
            yield _open(snapshot, workload, group, demands, granted, now)


def _open(
    snapshot: Snapshot,
    workload: Workload,
    group: Group,
    demands: Sequence[Demand],
    granted: tuple[Demand, Choice] | None,
    now: datetime,
) -> tuple[NewEscalation, Stop | None]:
    """Return the escalation of a ladder whose signals breach, with what is done of what they demand."""
    tier = group.live_tier
    name = _next_name(snapshot, workload, group.ladder.name)
    if granted is None:
        cause = demands[0].signal if demands else group.cause(tier)
        spec = opening_spec(workload, group, cause, None, now)
        return NewEscalation(
            snapshot.key.namespace, name, labels_of(group.ladder.name, tier, None, lock=False), spec
        ), None
    demand, choice = granted
    intent = intent_of(1, demand.tier.name, choice, now)
    spec = opening_spec(workload, group, demand.signal, intent, now, saved=choice.saved)
    labels = labels_of(group.ladder.name, tier, intent, lock=demand.containment.lock)
    act = Stop(intent, intent.action, severity(group.policy, tier), choice.revision, escalation=name)
    return NewEscalation(snapshot.key.namespace, name, labels, spec), act


def first_granted(
    snapshot: Snapshot,
    workload: Workload,
    demands: Iterable[Demand],
    name: str,
    escalation: Escalation | None,
    now: datetime,
) -> tuple[Demand, Choice] | None:
    """Return the first demand that may be carried out now, with the safe state that meets it; ``None`` for none.

    Args:
        snapshot: The target and everything that bears on it.
        workload: The target.
        demands: What is demanded, the safest state first.
        name: Of the escalation that it is for.
        escalation: That escalation, where it is open already.
        now: Current time, UTC.
    """
    for demand in demands:
        found = choose_within(snapshot, workload, demand, name, escalation, now)
        if isinstance(found, Choice):
            return demand, found
    return None


def choose_within(
    snapshot: Snapshot, workload: Workload, demand: Demand, name: str, escalation: Escalation | None, now: datetime
) -> Choice | RadiusDecision:
    """Return the safe state that meets a demand, within the blast radius of its ladder; else why there is none now.

    Args:
        snapshot: The target and everything that bears on it.
        workload: The target.
        demand: What a breached tier asks for.
        name: Of the escalation that it is for.
        escalation: That escalation, where it is open already.
        now: Current time, UTC.
    """
    containment, group = demand.containment, demand.group
    choice = choose_for(snapshot, workload, containment, escalation=name, by=demand.reason, group=group)
    found = check_radius(snapshot, demand, choice, escalation, now)
    if found is RadiusDecision.NOW:
        return choice
    if found is RadiusDecision.LATE:
        late = choose_for(snapshot, workload, containment, escalation=name, by=Reason.INTERIM_CONTAINMENT, group=group)
        return replace(late, message=f"{late.message}: nobody decided in time whether it is contained")
    if found is RadiusDecision.REPLACED and containment.fallback is not None:
        diverted = containment.model_copy(update={"action": ContainmentAction.FALLBACK})
        other = choose_for(snapshot, workload, diverted, escalation=name, by=Reason.BLAST_RADIUS_EXCEEDED, group=group)
        if other.reason is Reason.BLAST_RADIUS_EXCEEDED:
            budget = snapshot.radius_budgets[group.ladder.name]
            return replace(other, message=f"{other.message}: {exceeded(budget)}, {containment.action} is one too many")
    return found if found is RadiusDecision.DONE else RadiusDecision.WAIT


def passed_on(snapshot: Snapshot, workload: Workload, before: Escalation) -> Mapping[Axis, Intent]:
    """Return the intents of an escalation that a workload which was deleted and created again takes over."""
    governs = before.spec.policy.governs
    if not before.is_open or before.spec.target.uid == workload.uid or snapshot.is_suspended(before.spec.ladder.name):
        return {}
    return before.in_force if governs is not None and is_governed(governs, workload.labels) else {}


def choose_again(snapshot: Snapshot, workload: Workload, before: Escalation, intent: Intent, name: str) -> Choice:
    """Return the safe state that takes the place of one of a workload that was deleted and created again.

    Args:
        snapshot: The target and everything that bears on it.
        workload: The target.
        before: The escalation of the one that was deleted.
        intent: What was in force on it.
        name: Of the escalation of the new one.
    """
    containment = declared_for(before.spec.policy, intent).model_copy(update={"action": intent.action})
    return choose_for(snapshot, workload, containment, escalation=name, by=Reason.TARGET_RECREATED, history=History())


def _inherit(
    snapshot: Snapshot, workload: Workload, before: Escalation, now: datetime
) -> tuple[NewEscalation, Stop | None] | None:
    """Return the escalation of a contained workload that was deleted and created again, whatever had contained it.

    A breach that stands sees to that by itself; a containment by people or by their silence has to be passed on.
    """
    intent = strongest_of(passed_on(snapshot, workload, before).values())
    if intent is None:
        return None
    name = _next_name(snapshot, workload, before.spec.ladder.name)
    choice = choose_again(snapshot, workload, before, intent, name)
    who = f"; created again by {workload.template_set_by or 'unknown'}"
    renewed = intent_of(1, intent.tier, replace(choice, message=choice.message + who), now)
    target = before.spec.target.model_copy(update={"uid": workload.uid})
    evidence = take_evidence(workload, now, choice.saved)
    labels = labels_of(before.spec.ladder.name, intent.tier, renewed, lock=is_locked(snapshot, before, intent))
    spec = before.spec.model_copy(update={"target": target, "evidence": evidence, "intent": renewed})
    act = Stop(renewed, renewed.action, severity(before.spec.policy, intent.tier), choice.revision, escalation=name)
    return NewEscalation(snapshot.key.namespace, name, labels, spec), act


def choose_for(
    snapshot: Snapshot,
    workload: Workload,
    containment: Containment,
    *,
    escalation: str,
    by: Reason,
    group: Group | None = None,
    history: History | None = None,
) -> Choice:
    """Return the safe state that an escalation brings about, which may be one that another ladder holds already.

    Args:
        snapshot: The target and everything that bears on it.
        workload: The target.
        containment: What is demanded.
        escalation: Name of the escalation.
        by: Why it is demanded.
        group: The signals on whose account it is demanded, if any are.
        history: What is known of its revisions; by default what readings and people have said.
    """
    other = covering(snapshot, escalation, containment.action)
    if other is not None:
        return covered_by(other, restore_for(snapshot, escalation))
    choice = choose(
        containment,
        workload,
        history_of(snapshot, group) if history is None else history,
        by=by,
        escalation=escalation,
    )
    choice = with_connections(carried_on(snapshot, workload, choice), containment, ends_pods=snapshot.ends_pods)
    return replace(choice, restore=restore_for(snapshot, escalation))


def covered_by(other: Holding, restore: Restore | None) -> Choice:
    """Return the choice of a safe state that another escalation holds already."""
    message = f"contained by {other.who} already: {other.intent.action} holds as long as any of both"
    return Choice(
        other.intent.action,
        Reason.ALREADY_CONTAINED,
        message,
        target_ref=other.intent.target_ref,
        saved=saved_by(other),
        restore=restore,
        like=other.intent.model_copy(update={"evidence": other.escalation.evidence(other.intent)}),
    )


def carried_on(snapshot: Snapshot, workload: Workload, choice: Choice) -> Choice:
    """Add what had been overwritten of other objects before, and has not been restored.

    For a workload of that name, of which this one takes the place; or for this one, by a Resume that was broken off.

    What stands there now is the contained state, and never the one to restore.
    """
    saved = {(field.object, field.path): field for field in choice.saved}
    target_ref = choice.target_ref
    for before in snapshot.escalations:
        known = before.status.restore
        if not before.is_open or before.spec.drill or known is None:
            continue
        is_same, resume = before.spec.target.uid == workload.uid, before.status.resume
        if not is_contained(before) and (not is_same or resume is None or resume.applied_at is not None):
            continue
        for field in known.fields:
            if field.object and (not is_same or (field.object, field.path) in saved):
                saved[(field.object, field.path)] = field
                kind, _, name = field.object.partition("/")
                if target_ref is not None and target_ref.kind == kind == NETWORKPOLICIES.kind:
                    target_ref = NetworkTargetRef(kind=kind, name=name)
    if target_ref is not None and target_ref.kind == NETWORKPOLICIES.kind:
        saved = {
            key: f
            for key, f in saved.items()
            if not key[0].startswith(target_ref.kind) or key[0] == network.title(target_ref)
        }
    return replace(choice, target_ref=target_ref, saved=tuple(saved.values()))


def opening_spec(
    workload: Workload,
    group: Group,
    cause: Signal,
    intent: Intent | None,
    now: datetime,
    *,
    saved: Sequence[SavedField] = (),
) -> EscalationSpec:
    """Return what is known and intended at opening."""
    assert cause.spec is not None  # noqa: S101 - only valid signals cause anything
    return EscalationSpec(
        ladder=group.ladder,
        policy=group.policy,
        target=TargetIdentity(
            api_version=workload.api_version, kind=workload.kind, name=workload.name, uid=workload.uid
        ),
        model=cause.spec.model,
        signal=cause.reference(),
        drill=cause.spec.drill,
        evidence=take_evidence(workload, now, saved),
        intent=intent,
    )


def strongest_of(intents: Iterable[Intent]) -> Intent | None:
    """Return the intent for the safest state."""
    return max(intents, key=lambda intent: intent.action.strength, default=None)


def by_strength(demands: Iterable[Demand]) -> list[Demand]:
    """Return demands, that for the safest state first."""
    return sorted(demands, key=lambda d: d.containment.action.strength, reverse=True)
