"""The trail of an escalation: its status as it should be, and the entries that the change is worth.

Everything here is derived from stored objects, so that a killed operator writes the rest of a trail exactly as it would
have been. What only the operator saw (the time of a write to the millisecond) comes in as stamps and is replaced by
what the API server keeps (managedFields, to the second) where it was lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from riskladder.api.base import format_time
from riskladder.api.chain import canonical
from riskladder.api.escalation import EscalationState, PinnedPolicy
from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_TIER
from riskladder.api.measurement import indicator_of, no_measurement
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import MAX_OPEN_VALUE, POLICY
from riskladder.api.signal import ModelInfo, Observed
from riskladder.policy import drills, repeats
from riskladder.policy.containment import companions, progress, resume, state, withheld
from riskladder.policy.containment.choose import evidence_detail
from riskladder.policy.containment.further import is_held_for_another
from riskladder.policy.decisions import apply
from riskladder.policy.draft import Draft, group_of
from riskladder.policy.escalation import deliveries, ladder_state, notifications, rungs, streams
from riskladder.policy.escalation.state import state_of
from riskladder.policy.plan import DecisionUpdate, Entry, EscalationUpdate, On
from riskladder.policy.signals.evaluate import step
from riskladder.policy.signals.groups import Group, Judgement
from riskladder.policy.signals.particulars import read_values, reading_particulars, reporter_particulars
from riskladder.policy.snapshot import Decision, Escalation, PolicyInForce, Snapshot, TargetKey

PROOF_GRACE = timedelta(seconds=1)
"""How long the trail of a fresh containment waits for its proof, so that both are written at once."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What the trail of one escalation lacks."""

    update: EscalationUpdate
    decisions: tuple[DecisionUpdate, ...]
    wake_at: datetime | None
    """When to look again."""


def write_trail(snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime) -> Trail | datetime:
    """Return what the trail lacks now and when to look again; only a time during the proof grace."""
    grace_ends_at = _grace_ends(snapshot, escalation, now)
    if grace_ends_at is not None:
        return grace_ends_at
    draft = _begin(snapshot, judgement, escalation, now)
    deliveries.record_deliveries(draft)
    if not draft.is_closed:
        draft.pin_owners()
    was_open = not draft.is_closed
    judged = apply.judge_all(draft)
    waited = withheld.advance(draft)
    if draft.is_closed and was_open:
        drills.conclude(draft)
    if not draft.is_closed:
        ladder_state.advance(draft)
        streams.advance(draft)
        rungs.pass_time(draft)
        progress.advance(draft)
    draft.entries += waited
    if not draft.is_closed:
        resume.resume(draft)
        companions.advance(draft)
        drills.advance(draft)
        rungs.start_clocks(draft)  # of a tier that was entered in this pass: whoever is notified of it hears of them
        _close_what_is_over(draft)
    rungs.say(draft)
    notifications.queue(draft)
    draft.repeats, over = repeats.ended(draft.repeats, draft.rung.number, now, over=draft.is_closed)
    draft.entries += over
    status = draft.status(
        state=state_of(draft), waiting_on=rungs.waiting_on(draft), next_deadline=rungs.next_deadline(draft)
    )
    if escalation.labels.get(LABEL_TIER) != draft.rung.tier and not draft.is_new:
        draft.labels[LABEL_TIER] = draft.rung.tier
    if draft.resume is not None and not draft.is_contained and LABEL_CONTAINMENT in escalation.labels:
        draft.labels[LABEL_CONTAINMENT] = None
    wake = min((w for w in draft.wake if w > now), default=None)
    return Trail(EscalationUpdate(escalation, status, tuple(draft.entries), draft.labels or None), judged, wake)


def _begin(snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime) -> Draft:
    """Return the draft, on the rung that breaches and containments call for."""
    reached = rungs.current_tier(escalation, group_of(snapshot, judgement, escalation))
    rung = escalation.status.rung
    if rung is None:
        intents = escalation.intents
        with_opening = bool(intents) and intents[0].evidence is None
        rung = rungs.first(escalation, intents[0].tier if with_opening else reached, now)
    draft = Draft.of(snapshot, judgement, escalation, rung, now)
    if draft.is_new:
        _open(draft)
    if not draft.is_closed:
        rungs.enter(draft, reached)
    return draft


def after_close(
    escalation: Escalation,
    found: tuple[Decision, ...],
    proof: PolicyInForce | None,
    now: datetime,
    *,
    knows_credentials: bool = False,
) -> Trail:
    """Judge decisions on a closed escalation: a review counts, a comment is recorded, the rest is too late.

    Args:
        escalation: The escalation.
        found: What was decided on it.
        proof: Whether the policy that proves who decided is in force.
        now: Current time, UTC.
        knows_credentials: Whether the API server says with which credential somebody calls.
    """
    target = escalation.spec.target
    key = TargetKey(escalation.namespace, target.kind, target.name)
    snapshot = Snapshot(
        key,
        None,
        {},
        (),
        (escalation,),
        decisions={escalation.name: found},
        proof=proof,
        knows_credentials=knows_credentials,
    )
    rung = escalation.status.rung or rungs.first(escalation, rungs.current_tier(escalation, None), now)
    draft = Draft.of(snapshot, Judgement((), {}), escalation, rung, now)
    judged = apply.judge_all(draft)
    status = draft.status(state=EscalationState.CLOSED, waiting_on=(), next_deadline=None)
    return Trail(EscalationUpdate(escalation, status, tuple(draft.entries)), judged, None)


def _grace_ends(snapshot: Snapshot, escalation: Escalation, now: datetime) -> datetime | None:
    """Return when to write the trail of a containment that has just been applied and is not proved yet."""
    intent = max(escalation.in_force.values(), key=lambda i: i.id, default=None)
    if intent is None or snapshot.target is None:
        return None
    stamps = snapshot.stamps.get((escalation.uid, intent.id))
    recorded = escalation.status.containment(intent.action.axis)
    if stamps is None or stamps.applied_at is None or (recorded is not None and recorded.intent.id == intent.id):
        return None
    due = stamps.applied_at + PROOF_GRACE
    if not stamps.applied_at <= now < due or state.prove(snapshot.target, escalation, intent).pods_gone:
        return None
    return due


# --- Opening ----------------------------------------------------------------------------------------------------------


def _open(draft: Draft) -> None:
    escalation, spec, tier = draft.escalation, draft.escalation.spec, draft.rung.tier
    what = "is in tier" if not spec.drill else "is taken through a drill of tier"
    draft.entries.append(
        Entry(
            event=Reason.DRILL_STARTED if spec.drill else Reason.ESCALATION_OPENED,
            key="opened",
            at=rungs.opened_at(escalation),
            message=f"{spec.target.kind} {spec.target.name} {what} {tier}: {_cause(draft)}",
            detail={
                "namespace": escalation.namespace,
                "ladder": spec.ladder.name,
                "ladderUid": spec.ladder.uid,
                "ladderGeneration": str(spec.ladder.generation),
                "ladderDigest": spec.ladder.digest,
                **_policy(spec.policy),
                "target": f"{spec.target.kind}/{spec.target.name}",
                "targetUid": spec.target.uid,
                "signal": spec.signal.name,
                "signalUid": spec.signal.uid,
                "observedAt": format_time(spec.signal.observed_at),
                "tier": tier,
                **rungs.deadline_particulars(draft.rung),
                **_judgement(escalation),
                **reporter_particulars(spec.signal, known=draft.snapshot.knows_credentials),
                **reading_particulars(spec.signal, draft.tier, spec.policy.indicators),
                **_model(spec.model),
                **evidence_detail(spec.evidence),
            },
            on=(On.SIGNAL, On.ESCALATION),
            warning=True,
        )
    )


def _cause(draft: Draft) -> str:
    signal = draft.escalation.spec.signal
    silence = draft.group.silence(draft.rung.tier) if draft.group else ""
    if silence:
        return f"{silence} (signal {signal.name})"
    if signal.manual is not None:
        return f"raised manually in signal {signal.name}"
    values = read_values(draft.policy, signal, most=len(signal.readings))
    return f"signal {signal.name} reads {values}" if values else f"signal {signal.name}"


def _policy(pinned: PinnedPolicy) -> dict[str, str]:
    """Return the policy that governs, once, for whoever reads the chain when the Escalation and the ladder are gone.

    One that is larger than a record takes is left out: the digest of the ladder stays.
    """
    text = _canonical(pinned.model_dump_json(by_alias=True, exclude_none=True))
    return {POLICY: text} if len(text) <= MAX_OPEN_VALUE else {}


@lru_cache(maxsize=64)
def _canonical(policy: str) -> str:
    """Return a policy in its canonical form, which takes ten times as long as to write it down in any form."""
    return canonical(json.loads(policy))


def _judgement(escalation: Escalation) -> dict[str, str]:
    """Return who raised it, in which role and why, where a person did."""
    manual = escalation.spec.signal.manual
    if manual is None:
        return {}
    found = {"raisedBy": manual.raised_by, "role": manual.role, "rationale": manual.rationale}
    return {key: value for key, value in found.items() if value}


def _model(model: ModelInfo | None) -> dict[str, str]:
    if model is None:
        return {}
    found = {
        "model": model.name,
        "modelVersion": model.version,
        "modelCard": model.card,
        "modelLineage": model.lineage,
        "owners": ", ".join(model.owners)[:4096],
    }
    return {key: value for key, value in found.items() if value}


# --- The end ------------------------------------------------------------------------------------------------------


def _close_what_is_over(draft: Draft) -> None:
    """Close what is over by itself: a target that is another object now, or a breach that cleared uncontained."""
    if draft.is_closed:
        return
    target, workload = draft.escalation.spec.target, draft.snapshot.target
    if workload is not None and workload.uid != target.uid:
        if is_held_for_another(draft.snapshot, draft.escalation, draft.now):
            return  # else nothing would hold the new one until it is contained, which may take several attempts
        message = f"{target.kind} {target.name} was deleted and created again: the new one is judged by itself"
        apply.close(draft, Reason.TARGET_RECREATED, message)
        return
    draft.conditions.set(ConditionType.CLOSED, False, Reason.OPEN, "open")
    closes = draft.tier.closes_when if draft.tier else None
    group, was_contained = draft.group, bool(draft.escalation.intents)
    running = any(clock.met_at is None for clock in draft.clocks.values())
    if closes is None or not closes.cleared or was_contained or running or group is None:
        return
    if streams.is_withheld(draft) or not _is_clear(group, draft.escalation):
        return
    since = max((s.status.since for s in group.signals if s.status.since is not None), default=draft.now)
    due = since + closes.for_.delta
    is_due = draft.now >= due if draft.time_counts else not closes.for_.delta
    if is_due and all(s.status.tier in (None, "baseline") for s in group.signals):
        apply.close(draft, Reason.CLEARED, f"at baseline for {closes.for_} and never contained")
    draft.wake.append(due)


def _is_clear(group: Group, escalation: Escalation) -> bool:
    """Return whether all is at baseline, and what had breached was heard of since, from the source that had said so."""
    opened = escalation.spec.signal
    breached: set[str] = set()
    for reading in opened.readings:
        if no_measurement(indicator_of(escalation.spec.policy.indicators, reading.indicator), reading) is not None:
            continue
        value = Observed(indicator=reading.indicator, value=reading.value, observed_at=opened.observed_at)
        breached.update(breach.indicator for breach in step(escalation.spec.policy, (), value).breaches)
    since = min(opened.observed_at, rungs.opened_at(escalation))  # it may have been ahead of what is measured later
    heard = {
        o.indicator
        for s in group.signals
        for o in group.verdicts[s.uid].observed
        if o.observed_at != opened.observed_at
        and o.at > since
        and opened.source in (None, s.spec.source if s.spec else None)
    }
    return bool(group.signals) and not group.tier and breached <= heard
