"""The escalation that a breached target needs, with the intent and the evidence saved in the same write."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from riskladder.api.escalation import (
    EscalationSpec,
    Intent,
    SavedField,
    TargetIdentity,
    Through,
)
from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_LADDER, LABEL_TIER
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Containment
from riskladder.policy.containment.choose import (
    STRENGTH,
    Choice,
    choose,
    intent_of,
    known_good,
    severity,
    take_evidence,
)
from riskladder.policy.containment.state import in_force, is_contained, is_locked
from riskladder.policy.plan import Act, Opening
from riskladder.policy.signals.evaluate import rank, tier_of
from riskladder.policy.signals.groups import Demand, Group, Judgement
from riskladder.policy.snapshot import Signal, Snapshot, is_governed
from riskladder.workloads import network
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES

NAME_PREFIX_LIMIT = 40


def escalation_name(target_name: str, target_uid: str, last_closed: str) -> str:
    """Name of a target's next escalation: the same for everyone who would open it, so that opening it twice conflicts.

    Args:
        target_name: Name of the workload; shortened to fit.
        target_uid: Its uid.
        last_closed: uid of its last closed escalation, which makes the episodes of one target differ.
    """
    digest = hashlib.sha256(f"{target_uid}/{last_closed}".encode()).hexdigest()[:10]
    return f"{target_name[:NAME_PREFIX_LIMIT].replace('.', '-').rstrip('-')}-{digest}"


def labels_of(ladder: str, tier: str, intent: Intent | None, *, lock: bool) -> dict[str, str]:
    """Return the labels of an escalation with that intent."""
    labels = {LABEL_LADDER: ladder, LABEL_TIER: tier}
    if intent is not None and lock:
        labels[LABEL_CONTAINMENT] = str(intent.action)
    return labels


def open_escalation(snapshot: Snapshot, judgement: Judgement, now: datetime) -> tuple[Opening, Act | None] | None:
    """The escalation that a breached target without one needs, with its containment if one is due."""
    workload = snapshot.target
    breached = [g for g in judgement.groups if g.live_tier]
    if workload is None:
        return None
    demand = strongest(judgement.demands())
    inherited = _inherit(snapshot, workload, now) if demand is None else None
    if inherited is not None or not breached:
        return inherited
    group = demand.group if demand else max(breached, key=lambda g: rank(g.policy, g.live_tier))
    tier = group.live_tier
    cause = demand.signal if demand else group.cause(tier)
    intent = choice = None
    name = escalation_name(workload.name, workload.uid, snapshot.last_closed)
    if demand is not None:
        bad, good = snapshot.breached, known_good(snapshot.signals)
        choice = choose(demand.containment, workload, good, breached=bad, by=demand.reason, escalation=name)
        choice = carried_on(snapshot, workload, choice)
        intent = intent_of(1, demand.tier.name, choice, now)
    opening = Opening(
        namespace=snapshot.key.namespace,
        name=name,
        labels=labels_of(
            group.ladder.name,
            tier,
            intent,
            lock=demand is not None and demand.containment.lock,
        ),
        spec=opening_spec(workload, group, cause, intent, now, saved=choice.saved if choice else ()),
    )
    if intent is None or choice is None:
        return opening, None
    return opening, Act(intent, intent.action, severity(group.policy, tier), choice.revision)


def _inherit(snapshot: Snapshot, workload: Workload, now: datetime) -> tuple[Opening, Act | None] | None:
    """A contained workload that was deleted and created again is contained again, whatever had contained it.

    A breach that stands sees to that by itself; a containment by people or by their silence has to be passed on.
    """
    for before in snapshot.escalations:
        active = in_force(before) if before.is_open and before.spec.target.uid != workload.uid else {}
        intent = strongest_of(active.values())
        governs = before.spec.policy.governs
        if intent is None or snapshot.is_suspended(before.spec.ladder.name) or governs is None:
            continue
        if not is_governed(governs, workload.labels):
            continue
        pinned = tier_of(before.spec.policy, intent.tier)
        declared = (pinned.containment if pinned else None) or Containment(action=intent.action)
        containment = declared.model_copy(update={"action": intent.action})
        name = escalation_name(workload.name, workload.uid, snapshot.last_closed)
        choice = choose(containment, workload, (), by=Reason.TARGET_RECREATED, escalation=name)
        choice = carried_on(snapshot, workload, choice)
        who = f"; created again by {workload.template_set_by or 'unknown'}"
        renewed = intent_of(1, intent.tier, replace(choice, message=choice.message + who), now)
        target = before.spec.target.model_copy(update={"uid": workload.uid})
        evidence, known = take_evidence(workload, now, choice.saved), before.status.restore
        if not workload.replicas and known is not None and known.replicas:
            # The lock lets it be created with none only: what it had before is what a Resume restores.
            evidence = evidence.model_copy(update={"replicas": known.replicas})
        update = {"target": target, "evidence": evidence, "intent": renewed}
        opening = Opening(
            namespace=snapshot.key.namespace,
            name=name,
            labels=labels_of(
                before.spec.ladder.name,
                intent.tier,
                renewed,
                lock=is_locked(snapshot, before, intent),
            ),
            spec=before.spec.model_copy(update=update),
        )
        severe = severity(before.spec.policy, intent.tier)
        return opening, Act(renewed, renewed.action, severe, choice.revision)
    return None


def carried_on(snapshot: Snapshot, workload: Workload, choice: Choice) -> Choice:
    """With what had been overwritten of other objects before, and has not been given back.

    For a workload of that name, of which this one takes the place; or for this one, by a Resume that was broken off.

    What stands there now is the contained state, and never the one to restore.
    """
    saved = {(field.on, field.path): field for field in choice.saved}
    through = choice.through
    for before in snapshot.escalations:
        known = before.status.restore
        if not before.is_open or before.spec.drill or known is None:
            continue
        is_same, resume = before.spec.target.uid == workload.uid, before.status.resume
        if not is_contained(before) and (not is_same or resume is None or resume.applied_at is not None):
            continue
        for field in known.fields:
            if field.on and (not is_same or (field.on, field.path) in saved):
                saved[(field.on, field.path)] = field
                kind, _, name = field.on.partition("/")
                if through is not None and through.kind == kind == NETWORKPOLICIES.kind:
                    through = Through(kind=kind, name=name)
    if through is not None and through.kind == NETWORKPOLICIES.kind:
        saved = {
            key: f
            for key, f in saved.items()
            if not key[0].startswith(through.kind) or key[0] == network.title(through)
        }
    return replace(choice, through=through, saved=tuple(saved.values()))


def opening_spec(
    workload: Workload,
    group: Group,
    cause: Signal,
    intent: Intent | None,
    now: datetime,
    *,
    saved: Sequence[SavedField] = (),
) -> EscalationSpec:
    """What is known and intended at opening."""
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
    return max(intents, key=lambda intent: STRENGTH[intent.action], default=None)


def strongest(demands: Iterable[Demand]) -> Demand | None:
    """Return the demand for the safest state."""
    return max(demands, key=lambda d: STRENGTH[d.containment.action], default=None)
