"""The trail of an escalation: its status as it should be, and the entries that the change is worth.

Everything here is derived from stored objects, so that a killed operator writes the rest of a trail exactly as it would
have been. What only the operator saw (the time of a write to the millisecond) comes in as stamps and is replaced by
what the API server keeps (managedFields, to the second) where it was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from riskladder.api.base import format_time
from riskladder.api.conditions import Conditions
from riskladder.api.escalation import ContainmentStatus, EscalationStatus, Evidence, Intent, Restore, Rung, Undone
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.signal import Observed
from riskladder.api.tiers import Containment, ContainmentAction, ContainmentWhen
from riskladder.policy import contain, rungs
from riskladder.policy.contain import LABEL_CONTAINMENT, LABEL_TIER
from riskladder.policy.evaluate import rank, step, tier_of
from riskladder.policy.judge import Group, Judgement
from riskladder.policy.plan import Entry, EscalationUpdate, On
from riskladder.policy.snapshot import Escalation, Snapshot, Stamps
from riskladder.workloads.deployment import Proof

SETTLE = timedelta(seconds=1)
"""How long the trail of a fresh containment waits for its proof, so that both are written at once."""

MAX_UNDONE = 16
OTHERS = "others"
"""Stands in the status for all field managers beyond the limit; the records name each."""


@dataclass(slots=True)
class Draft:
    """An escalation's next status in the making."""

    escalation: Escalation
    conditions: Conditions
    entries: list[Entry] = field(default_factory=list)
    wake: list[datetime] = field(default_factory=list)
    labels: dict[str, str | None] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether nothing has been recorded of it yet."""
        return self.escalation.status.ledger is None


def write_trail(
    snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime
) -> tuple[EscalationUpdate, datetime | None] | datetime:
    """What the trail of this escalation lacks now and when to look again; only a time where it should settle first."""
    settled_at = _settles_at(snapshot, escalation, now)
    if settled_at is not None:
        return settled_at
    conditions = Conditions(escalation.status.conditions, generation=escalation.generation, now=now)
    draft = Draft(escalation, conditions)
    is_about_target = snapshot.target is None or snapshot.target.uid == escalation.spec.target.uid
    group = judgement.group(escalation.spec.ladder.name) if is_about_target else None
    tier = rungs.current_tier(escalation, group)
    rung = rungs.enter(escalation, tier, now)
    _opening(draft, tier, rung)
    containment = _containment(draft, snapshot, judgement, tier, now)
    _people(draft, rung.acknowledge_by, rung.decide_by, now)
    is_closed = _closing(draft, snapshot, judgement, tier, now)
    status = EscalationStatus(
        observed_generation=escalation.generation,
        tier=tier,
        rung=rung,
        waiting_on=() if is_closed else rungs.waiting_on(escalation, tier),
        next_deadline=None if is_closed else rungs.next_deadline(rung, now),
        notifications=escalation.status.notifications,
        decisions=escalation.status.decisions,
        containment=containment,
        risk_acceptance=escalation.status.risk_acceptance,
        clocks=rungs.clocks(escalation, tier, rung),
        ledger=escalation.status.ledger,
        conditions=conditions.result(),
    )
    if escalation.labels.get(LABEL_TIER) != tier:
        draft.labels[LABEL_TIER] = tier
    wake = min((w for w in draft.wake if w > now), default=None)
    return EscalationUpdate(escalation, status, tuple(draft.entries), draft.labels or None), wake


def _settles_at(snapshot: Snapshot, escalation: Escalation, now: datetime) -> datetime | None:
    """When to write the trail of a containment that has just been applied and is not proved yet."""
    intent = contain.active_intent(escalation)
    if intent is None or snapshot.target is None:
        return None
    stamps = snapshot.stamps.get((escalation.uid, intent.id))
    recorded = escalation.status.containment
    if stamps is None or stamps.applied_at is None or (recorded is not None and recorded.intent == intent.id):
        return None
    due = stamps.applied_at + SETTLE
    if not stamps.applied_at <= now < due or contain.prove(snapshot.target, escalation, intent).pods_gone:
        return None
    return due


# --- Opening and rising -------------------------------------------------------------------------------------------


def _opening(draft: Draft, tier: str, rung: Rung) -> None:
    escalation, spec = draft.escalation, draft.escalation.spec
    stood_at = escalation.status.tier
    if draft.is_new:
        at = spec.evidence.taken_at if spec.evidence else spec.signal.observed_at
        opened_at = stood_at = spec.intents[0].tier if spec.intents and spec.intents[0].evidence is None else tier
        draft.entries.append(
            Entry(
                event=Reason.ESCALATION_OPENED,
                key="opened",
                at=at,
                message=f"{spec.target.kind} {spec.target.name} is in tier {opened_at}: {_cause(escalation)}",
                detail={
                    "namespace": escalation.namespace,
                    "ladder": spec.ladder.name,
                    "ladderUid": spec.ladder.uid,
                    "ladderGeneration": str(spec.ladder.generation),
                    "ladderDigest": spec.ladder.digest,
                    "target": f"{spec.target.kind}/{spec.target.name}",
                    "targetUid": spec.target.uid,
                    "signal": spec.signal.name,
                    "signalUid": spec.signal.uid,
                    "observedAt": format_time(spec.signal.observed_at),
                    "tier": opened_at,
                    **_readings(escalation),
                    **_evidence(spec.evidence),
                },
                on=(On.SIGNAL, On.ESCALATION),
                warning=True,
            )
        )
    if stood_at and rank(spec.policy, tier) > rank(spec.policy, stood_at):
        draft.entries.append(
            Entry(
                event=Reason.TIER_RAISED,
                key=f"tier/{tier}",
                at=rung.entered_at,
                message=f"raised from tier {stood_at} to {tier}",
                detail={"from": stood_at, "tier": tier},
                on=(On.SIGNAL, On.ESCALATION),
                warning=True,
            )
        )


def _cause(escalation: Escalation) -> str:
    signal = escalation.spec.signal
    if signal.manual is not None:
        return f"raised by hand in signal {signal.name}"
    values = ", ".join(f"{r.indicator}={r.value:g}" for r in signal.readings)
    return f"signal {signal.name} reads {values}" if values else f"signal {signal.name}"


def _readings(escalation: Escalation) -> dict[str, str]:
    return {f"reading.{r.indicator}": repr(r.value) for r in escalation.spec.signal.readings[:8]}


def _evidence(evidence: Evidence | None) -> dict[str, str]:
    if evidence is None:
        return {}
    found = {
        "replicas": str(evidence.replicas),
        "readyEndpoints": str(evidence.ready_endpoints),
        "revision": evidence.revision,
        "podTemplateHash": evidence.pod_template_hash,
        "images": " ".join(i.image_id or i.image for i in evidence.images)[:4096],
    }
    return {key: value for key, value in found.items() if value}


# --- Containment --------------------------------------------------------------------------------------------------


def _containment(
    draft: Draft, snapshot: Snapshot, judgement: Judgement, tier: str, now: datetime
) -> ContainmentStatus | None:
    escalation = draft.escalation
    intent = contain.active_intent(escalation)
    before = escalation.status.containment
    if intent is None:
        _not_contained(draft, snapshot, tier)
        return before
    workload = snapshot.target
    if workload is None:
        if not draft.conditions.is_true(ConditionType.CONTAINED) or _reason(draft) != Reason.TARGET_DELETED:
            message = (
                f"{escalation.spec.target.kind} {escalation.spec.target.name} was deleted: nothing is left to contain"
            )
            draft.entries.append(
                Entry(
                    Reason.TARGET_DELETED,
                    f"deleted/{intent.id}",
                    now,
                    message,
                    {"intent": str(intent.id)},
                    warning=True,
                )
            )
        draft.conditions.set(
            ConditionType.CONTAINED, True, Reason.TARGET_DELETED, "the target was deleted: nothing is left to contain"
        )
        return before
    if workload.uid != escalation.spec.target.uid:
        return before

    proof = contain.prove(workload, escalation, intent)
    stamps = snapshot.stamps.get((escalation.uid, intent.id), Stamps())
    current = before if before is not None and before.intent == intent.id else None
    at_zero = intent.reason == Reason.ALREADY_AT_ZERO
    status = ContainmentStatus(
        intent=intent.id,
        action=intent.action,
        revision=intent.revision,
        intended_at=intent.intended_at,
        applied_at=(current.applied_at if current else None)
        or (stamps.applied_at or _managed_at(snapshot, intent, now) if proof.applied and not at_zero else None),
        endpoints_empty_at=(current.endpoints_empty_at if current else None)
        or ((stamps.endpoints_empty_at or now) if proof.endpoints_empty else None),
        pods_gone_at=(current.pods_gone_at if current else None)
        or ((stamps.pods_gone_at or now) if proof.pods_gone else None),
        undone=current.undone if current else (),
        restore=(before.restore if before else None) or restore_of(escalation),
    )
    _contained(draft, intent, status, proof, current, now)
    _released(draft, snapshot, judgement)
    return status


def _reason(draft: Draft) -> str:
    found = draft.conditions.get(ConditionType.CONTAINED)
    return found.reason if found else ""


def _not_contained(draft: Draft, snapshot: Snapshot, tier: str) -> None:
    pinned = tier_of(draft.escalation.spec.policy, tier)
    containment: Containment | None = pinned.containment if pinned else None
    if containment is None:
        reason, message = Reason.CONTAINMENT_NOT_REQUIRED, f"tier {tier} has no containment"
    elif contain.is_suspended(snapshot, draft.escalation):
        reason, message = Reason.LADDER_SUSPENDED, "the ladder is suspended: it acts on nothing"
    elif containment.when is ContainmentWhen.ON_DECISION:
        reason, message = Reason.AWAITING_DECISION, f"{containment.action} waits for a decision"
    elif containment.when is ContainmentWhen.ON_TIMEOUT:
        reason, message = Reason.AWAITING_TIMEOUT, f"{containment.action} waits for the deadline"
    else:
        reason, message = Reason.NOT_CONTAINED, f"{containment.action} is not under way"
    draft.conditions.set(ConditionType.CONTAINED, False, reason, message)
    draft.conditions.set(ConditionType.CONTAINMENT_HOLDS, None, Reason.NOT_CONTAINED, "nothing is contained")


def _managed_at(snapshot: Snapshot, intent: Intent, now: datetime) -> datetime:
    """When the write was made, from managedFields (whole seconds), where the operator's own stamp was lost."""
    workload = snapshot.target
    text = ""
    if workload is not None:
        rollback = intent.action is ContainmentAction.ROLLBACK
        text = workload.template_set_at if rollback else workload.replicas_set_at
    if not text:
        return now
    return max(datetime.fromisoformat(text), intent.intended_at)


def restore_of(escalation: Escalation) -> Restore | None:
    """What a Resume has to bring back: the state before the first act, never a contained one.

    The evidence of the earliest intent counts, since a later one was taken on a workload that was contained already; an
    intent renewed on fresh evidence replaces those before it, which were never carried out.
    """
    evidence: Evidence | None = None
    for intent in sorted(escalation.spec.intents, key=lambda i: i.id, reverse=True):
        evidence = intent.evidence or escalation.spec.evidence
        if intent.reason == Reason.EVIDENCE_OUTDATED:
            break
    if evidence is None or not evidence.replicas:
        return None
    return Restore(replicas=evidence.replicas, revision=evidence.revision, pod_template_hash=evidence.pod_template_hash)


def _contained(
    draft: Draft,
    intent: Intent,
    status: ContainmentStatus,
    proof: Proof,
    before: ContainmentStatus | None,
    now: datetime,
) -> None:
    """Conditions and entries of a containment that is intended, applied, proved, or late."""
    conditions = draft.conditions
    detail = {"intent": str(intent.id), "action": str(intent.action), "tier": intent.tier}
    if intent.message:
        detail["why"] = intent.message
    if intent.revision:
        detail |= {"revision": intent.revision, "podTemplateHash": intent.pod_template_hash or ""}
    if status.applied_at and (before is None or before.applied_at is None):
        took = _milliseconds(intent.intended_at, status.applied_at)
        draft.entries.append(
            Entry(
                event=Reason.CONTAINMENT_APPLIED,
                key=f"applied/{intent.id}",
                at=status.applied_at,
                message=f"{_done(intent)} {took} ms after the intent ({intent.message})",
                detail=detail | {"intendedAt": format_time(intent.intended_at)},
                on=(On.TARGET,),
                warning=True,
            )
        )
    proved = Reason.ALREADY_AT_ZERO if intent.reason == Reason.ALREADY_AT_ZERO else _proved(intent)
    if status.pods_gone_at and proof.clear:
        conditions.set(
            ConditionType.CONTAINED, True, proved, f"{_done(intent)}: no ready endpoint and no pod of it is left"
        )
        if before is None or before.pods_gone_at is None:
            times = {"appliedAt": status.applied_at, "endpointsEmptyAt": status.endpoints_empty_at}
            draft.entries.append(
                Entry(
                    event=proved,
                    key=f"contained/{intent.id}",
                    at=status.pods_gone_at,
                    message=f"{_done(intent)}: proved, no ready endpoint and no pod of it is left",
                    detail=detail
                    | {key: format_time(at) for key, at in times.items() if at}
                    | {"podsGoneAt": format_time(status.pods_gone_at)},
                )
            )
    elif status.pods_gone_at:
        reason = Reason.CONTAINMENT_APPLIED if proof.applied else Reason.CONTAINMENT_UNDONE
        conditions.set(ConditionType.CONTAINED, False, reason, f"was proved and is not any more: {proof.left}")
    else:
        was_late = before is not None and _reason(draft) == Reason.CONTAINMENT_LATE
        _not_proved(draft, intent, proof, now, was_late=was_late)
    holds = conditions.get(ConditionType.CONTAINMENT_HOLDS)
    if proof.applied:
        reason = Reason.CONTAINED_AGAIN if holds is not None and status.undone else Reason.HOLDS
        conditions.set(ConditionType.CONTAINMENT_HOLDS, True, reason, _holds_message(status))
    elif status.applied_at:
        conditions.set(ConditionType.CONTAINMENT_HOLDS, False, Reason.CONTAINMENT_UNDONE, f"undone: {proof.left}")
    else:
        conditions.set(ConditionType.CONTAINMENT_HOLDS, None, Reason.NOT_CONTAINED, "nothing is contained yet")


def _released(draft: Draft, snapshot: Snapshot, judgement: Judgement) -> None:
    escalation = draft.escalation
    if snapshot.target is None or contain.may_touch(snapshot.target, escalation):
        return
    if not contain.is_demanded_elsewhere(judgement, escalation):
        draft.conditions.set(
            ConditionType.CONTAINMENT_HOLDS,
            False,
            Reason.TARGET_RELEASED,
            "the target no longer carries the labels that put it under the ladder: it is not touched any more",
        )


def _not_proved(draft: Draft, intent: Intent, proof: Proof, now: datetime, *, was_late: bool) -> None:
    pinned = tier_of(draft.escalation.spec.policy, intent.tier)
    within = pinned.containment.within.delta if pinned and pinned.containment else timedelta(minutes=2)
    late_at = intent.intended_at + within
    if was_late or now >= late_at:
        message = f"not proved within {within}: {proof.left}"
        draft.conditions.set(ConditionType.CONTAINED, False, Reason.CONTAINMENT_LATE, message)
        if not was_late:
            draft.entries.append(
                Entry(
                    Reason.CONTAINMENT_LATE, f"late/{intent.id}", now, message, {"intent": str(intent.id)}, warning=True
                )
            )
        return
    draft.wake.append(late_at)
    if proof.applied:
        draft.conditions.set(
            ConditionType.CONTAINED, False, Reason.CONTAINMENT_APPLIED, f"{_done(intent)}; still there: {proof.left}"
        )
    else:
        draft.conditions.set(
            ConditionType.CONTAINED, False, Reason.CONTAINMENT_INTENDED, f"intended, not applied yet: {proof.left}"
        )


def _proved(intent: Intent) -> Reason:
    return Reason.ROLLED_BACK if intent.action is ContainmentAction.ROLLBACK else Reason.SCALED_TO_ZERO


def _done(intent: Intent) -> str:
    if intent.action is ContainmentAction.ROLLBACK:
        return f"rolled back to revision {intent.revision}"
    return "scaled to zero"


def _holds_message(status: ContainmentStatus) -> str:
    if not status.undone:
        return "nobody has undone it"
    last = max(status.undone, key=lambda u: u.at)
    return (
        f"undone {sum(u.count for u in status.undone)} time(s), last by {last.field_manager}; contained again each time"
    )


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)


def record_undone(escalation: Escalation, intent: Intent, undone_by: str, at: datetime) -> EscalationUpdate | None:
    """The status and entry after a containment was undone by somebody and put right again."""
    before = escalation.status.containment
    if before is None or before.intent != intent.id:
        return None
    counts = {u.field_manager: u for u in before.undone}
    manager = undone_by[:128]
    listed = manager if manager in counts or len(counts) < MAX_UNDONE - 1 else OTHERS
    count = counts[listed].count + 1 if listed in counts else 1
    counts[listed] = Undone(at=at, field_manager=listed, count=count)
    undone = tuple(sorted(counts.values(), key=lambda u: u.field_manager))
    containment = before.model_copy(update={"undone": undone})
    total = sum(u.count for u in undone)
    conditions = Conditions(escalation.status.conditions, generation=escalation.generation, now=at)
    conditions.set(ConditionType.CONTAINMENT_HOLDS, True, Reason.CONTAINED_AGAIN, _holds_message(containment))
    entry = Entry(
        event=Reason.CONTAINED_AGAIN,
        key=f"undone/{intent.id}/{total}",
        at=at,
        message=f"{manager} undid the containment ({total} time(s) in all); {_done(intent)} again",
        detail={"intent": str(intent.id), "fieldManager": manager, "count": str(total)},
        on=(On.ESCALATION, On.TARGET),
        warning=True,
    )
    status = escalation.status.model_copy(update={"containment": containment, "conditions": conditions.result()})
    return EscalationUpdate(escalation, status, (entry,))


# --- People and the end -------------------------------------------------------------------------------------------


def _people(draft: Draft, acknowledge_by: datetime | None, decide_by: datetime | None, now: datetime) -> None:
    """The conditions that wait for people."""
    conditions = draft.conditions
    for kind, by in ((ConditionType.ACKNOWLEDGED, acknowledge_by), (ConditionType.DECIDED, decide_by)):
        if not conditions.is_true(kind):
            conditions.set(
                kind, False, Reason.NOT_YET, f"due by {format_time(by)}" if by else "no deadline in this tier"
            )
    if not conditions.is_true(ConditionType.REVIEW_DONE):
        conditions.set(ConditionType.REVIEW_DONE, False, Reason.NOT_YET, "no review yet")
    missed = [by for by in (acknowledge_by, decide_by) if by is not None and by <= now]
    if missed:
        conditions.set(ConditionType.STALLED, True, Reason.OVERDUE, f"nobody acted by {format_time(max(missed))}")
    else:
        conditions.set(ConditionType.STALLED, False, Reason.ON_TIME, "no deadline has been missed")
    draft.wake.extend(by for by in (acknowledge_by, decide_by) if by is not None)


def _closing(draft: Draft, snapshot: Snapshot, judgement: Judgement, tier: str, now: datetime) -> bool:
    """Close what is over by itself: a target that is another object now, or a breach that cleared uncontained."""
    escalation, conditions = draft.escalation, draft.conditions
    target = escalation.spec.target
    if snapshot.target is not None and snapshot.target.uid != target.uid:
        message = f"{target.kind} {target.name} was deleted and created again: the new one is judged by itself"
        _close(draft, Reason.TARGET_RECREATED, message, now)
        return True
    pinned = tier_of(escalation.spec.policy, tier)
    closes = pinned.closes_when if pinned else None
    group = judgement.group(escalation.spec.ladder.name)
    if closes is not None and closes.cleared and not escalation.spec.intents and group and _is_clear(group, escalation):
        since = max((s.status.since for s in group.signals if s.status.since is not None), default=now)
        due = since + closes.for_.delta
        if now >= due and all(s.status.tier in (None, "baseline") for s in group.signals):
            _close(draft, Reason.CLEARED, f"at baseline for {closes.for_} and never contained", now)
            return True
        draft.wake.append(due)
    conditions.set(ConditionType.CLOSED, False, Reason.OPEN, "open")
    return False


def _is_clear(group: Group, escalation: Escalation) -> bool:
    """Whether all is at baseline, and what had breached was heard of since: deleting a signal clears nothing."""
    opened = escalation.spec.signal
    breached: set[str] = set()
    for reading in opened.readings:
        value = Observed(indicator=reading.indicator, value=reading.value, observed_at=opened.observed_at)
        breached.update(breach.indicator for breach in step(escalation.spec.policy, (), value).breaches)
    heard = [o for s in group.signals for o in group.verdicts[s.uid].observed if o.observed_at > opened.observed_at]
    return bool(group.signals) and not group.tier and breached <= {o.indicator for o in heard}


def _close(draft: Draft, reason: Reason, message: str, now: datetime) -> None:
    draft.conditions.set(ConditionType.CLOSED, True, reason, message)
    draft.entries.append(Entry(reason, "closed", now, message, on=(On.ESCALATION, On.SIGNAL)))
    if LABEL_CONTAINMENT in draft.escalation.labels:
        draft.labels[LABEL_CONTAINMENT] = None
