"""Containment: what to do to the running model, recorded before it is done, done at most once for each intent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from riskladder.api.decision import DecisionAction
from riskladder.api.escalation import (
    CountedDecision,
    EscalationSpec,
    Evidence,
    Image,
    Intent,
    PinnedPolicy,
    SavedField,
    TargetIdentity,
    Through,
)
from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_ESCALATION, LABEL_LADDER, LABEL_TIER
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Containment, ContainmentAction, ContainmentWhen, Fallback, TimeoutAction
from riskladder.policy.plan import Act, Opening, Rising, Settlement
from riskladder.policy.signals.evaluate import rank, tier_of
from riskladder.policy.signals.groups import Demand, Group, Judgement
from riskladder.policy.snapshot import Escalation, Signal, Snapshot, Stamps, is_governed
from riskladder.workloads import network
from riskladder.workloads.model import Revision, Settling, Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.results import Impossible, Verification
from riskladder.workloads.runtimes.replicas import running_images
from riskladder.workloads.safe_states import fallback, isolate, network_path
from riskladder.workloads.safe_states.network_path import Left, Outside, Unsupported, Waits, Way

MAX_INTENTS = 16
NAME_PREFIX_LIMIT = 40
STRENGTH = {
    ContainmentAction.ROLLBACK: 1,
    ContainmentAction.FALLBACK: 1,
    ContainmentAction.ISOLATE: 2,
    ContainmentAction.SCALE_TO_ZERO: 3,
}
"""How safe a safe state is: a further intent is only ever for a safer one."""


def escalation_name(target_name: str, target_uid: str, last_closed: str) -> str:
    """Name of a target's next escalation: the same for everyone who would open it, so that opening it twice conflicts.

    Args:
        target_name: Name of the workload; shortened to fit.
        target_uid: Its uid.
        last_closed: uid of its last closed escalation, which makes the episodes of one target differ.
    """
    digest = hashlib.sha256(f"{target_uid}/{last_closed}".encode()).hexdigest()[:10]
    return f"{target_name[:NAME_PREFIX_LIMIT].replace('.', '-').rstrip('-')}-{digest}"


def take_evidence(workload: Workload, now: datetime, saved: Sequence[SavedField] = ()) -> Evidence:
    """The workload as it is, before anything is touched.

    Args:
        workload: As it is now.
        now: The time.
        saved: What is overwritten of other objects.
    """
    current = workload.current
    images: dict[str, Image] = {}
    for image in running_images(workload):
        images.setdefault(
            image.container, Image(container=image.container, image=image.image, image_id=image.image_id or None)
        )
    return Evidence(
        replicas=workload.replicas,
        revision=str(current.number) if current else None,
        pod_template_hash=current.hash if current else None,
        images=tuple(list(images.values())[:32]),
        ready_endpoints=workload.ready_endpoints,
        fields=(*(SavedField(path=path, value=value) for path, value in sorted(workload.fields.items())), *saved),
        taken_at=now,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """The action that will really be taken, and why."""

    action: ContainmentAction
    reason: Reason
    message: str
    revision: Revision | None = None
    through: Through | None = None
    """What is acted on in place of the workload."""
    saved: tuple[SavedField, ...] = ()
    """What is overwritten of that, as it was."""


def choose(
    containment: Containment,
    workload: Workload,
    known_good: Iterable[str],
    *,
    breached: Iterable[str] = (),
    by: Reason = Reason.THRESHOLD_BREACHED,
    escalation: str = "drill",
) -> Choice:
    """The containment's action, or its ``ifImpossible`` with the reason.

    Args:
        containment: What is demanded.
        workload: As it is now.
        known_good: Hashes of the revisions that a Rollback may go back to.
        breached: Hashes of the revisions that an escalation was about.
        by: Why it is demanded, which is the intent's reason where no reading is behind it.
        escalation: Name of the escalation, after which a NetworkPolicy of its own is named.
    """
    intended = Reason.CONTAINMENT_INTENDED if by is Reason.THRESHOLD_BREACHED else by
    if workload.replicas == 0 and not workload.active_pods():
        return Choice(ContainmentAction.SCALE_TO_ZERO, Reason.ALREADY_AT_ZERO, "it was at zero replicas already")
    if containment.action is ContainmentAction.ROLLBACK:
        current = workload.current
        found = workload.runtime.rollback_target(
            workload,
            quarantined=current.hash if current else "",
            known_good=frozenset(known_good),
            breached=frozenset(breached),
        )
        if isinstance(found, Revision):
            message = f"roll back from revision {current.number if current else '?'} to {found.number}"
            return Choice(ContainmentAction.ROLLBACK, intended, message, found)
        return _instead(containment, workload, Reason.ROLLBACK_IMPOSSIBLE, f"no rollback: {found.why}", escalation)
    if containment.action is ContainmentAction.SCALE_TO_ZERO:
        return Choice(ContainmentAction.SCALE_TO_ZERO, intended, workload.runtime.stopping(workload))
    if containment.action is ContainmentAction.FALLBACK:
        way, reason = fallback.choose(workload, containment.fallback), Reason.FALLBACK_IMPOSSIBLE
    else:
        way, reason = isolate.choose(workload, escalation), Reason.ISOLATE_IMPOSSIBLE
    if isinstance(way, Way):
        return _by_way(containment.action, intended, way, way.message)
    reason = Reason.ACTION_NOT_SUPPORTED if isinstance(way, Unsupported) else reason
    return _instead(containment, workload, reason, f"no {containment.action}: {way.why}", escalation)


def _by_way(action: ContainmentAction, reason: Reason, way: Way, message: str) -> Choice:
    return Choice(action, reason, message[:1024], through=way.through, saved=(way.saved,))


def _instead(containment: Containment, workload: Workload, reason: Reason, why: str, escalation: str) -> Choice:
    """What ``ifImpossible`` says; where that is impossible, too, the stop."""
    if ContainmentAction.ISOLATE in (containment.action, containment.if_impossible):
        if containment.action is ContainmentAction.ISOLATE:
            return Choice(ContainmentAction.SCALE_TO_ZERO, reason, why[:1024])
        way = isolate.choose(workload, escalation)
        if isinstance(way, Way):
            return _by_way(ContainmentAction.ISOLATE, reason, way, f"{why}; {way.message}")
        why = f"{why}; nor can it be isolated: {way.why}"
    return Choice(ContainmentAction.SCALE_TO_ZERO, reason, why[:1024])


def known_good(signals: Iterable[Signal]) -> frozenset[str]:
    """Template hashes that were live while readings were at baseline."""
    return frozenset(
        s.status.last_known_good.digest
        for s in signals
        if s.status.last_known_good is not None and s.status.last_known_good.digest
    )


def intent_of(number: int, tier: str, choice: Choice, now: datetime) -> Intent:
    """The intent to do what was chosen."""
    return Intent(
        id=number,
        tier=tier,
        action=choice.action,
        revision=str(choice.revision.number) if choice.revision else None,
        pod_template_hash=choice.revision.hash if choice.revision else None,
        through=choice.through,
        reason=str(choice.reason),
        message=choice.message,
        intended_at=now,
    )


def _locks(snapshot: Snapshot, wanted: bool) -> bool:
    """Whether the lock is switched on in the very write that saves the intent.

    The API server holds every write on a workload against each lock of its namespace, which takes it some 0.3 ms for
    each: in a storm of breaches that would slow down the containments themselves. Then the lock comes with the trail,
    except where it is there already and only passes from one escalation of the target to the next.
    """
    is_held = any(e.is_open and LABEL_CONTAINMENT in e.labels for e in snapshot.escalations)
    return wanted and (is_held or not snapshot.storm)


def _labels(ladder: str, tier: str, intent: Intent | None, *, lock: bool) -> dict[str, str]:
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
    demand = _strongest(judgement.demands())
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
        choice = _carried_on(snapshot, workload, choice)
        intent = intent_of(1, demand.tier.name, choice, now)
    opening = Opening(
        namespace=snapshot.key.namespace,
        name=name,
        labels=_labels(
            group.ladder.name, tier, intent, lock=_locks(snapshot, demand is not None and demand.containment.lock)
        ),
        spec=opening_spec(
            workload, group, cause, (intent,) if intent else (), now, saved=choice.saved if choice else ()
        ),
    )
    if intent is None or choice is None or choice.reason is Reason.ALREADY_AT_ZERO:
        return opening, None
    return opening, Act(intent, intent.action, severity(group.policy, tier), choice.revision)


def _inherit(snapshot: Snapshot, workload: Workload, now: datetime) -> tuple[Opening, Act | None] | None:
    """A contained workload that was deleted and created again is contained again, whatever had contained it.

    A breach that stands sees to that by itself; a containment by people or by their silence has to be passed on.
    """
    for before in snapshot.escalations:
        intent = active_intent(before) if before.is_open and before.spec.target.uid != workload.uid else None
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
        choice = _carried_on(snapshot, workload, choice)
        who = f"; created again by {workload.template_set_by or 'unknown'}"
        renewed = intent_of(1, intent.tier, replace(choice, message=choice.message + who), now)
        target = before.spec.target.model_copy(update={"uid": workload.uid})
        evidence, known = take_evidence(workload, now, choice.saved), before.status.containment
        if not workload.replicas and known is not None and known.restore is not None:
            # The lock lets it be created with none only: what it had before is what a Resume brings back.
            evidence = evidence.model_copy(update={"replicas": known.restore.replicas})
        update = {"target": target, "evidence": evidence, "intents": (renewed,)}
        opening = Opening(
            namespace=snapshot.key.namespace,
            name=name,
            labels=_labels(
                before.spec.ladder.name,
                intent.tier,
                renewed,
                lock=_locks(snapshot, is_locked(snapshot, before, intent)),
            ),
            spec=before.spec.model_copy(update=update),
        )
        is_done = choice.reason is Reason.ALREADY_AT_ZERO
        severe = severity(before.spec.policy, intent.tier)
        return opening, None if is_done else Act(renewed, renewed.action, severe, choice.revision)
    return None


def _carried_on(snapshot: Snapshot, workload: Workload, choice: Choice) -> Choice:
    """With what had been overwritten of other objects before, and has not been given back.

    For a workload of that name, of which this one takes the place; or for this one, by a Resume that was broken off.

    What stands there now is the contained state, and never the one to restore.
    """
    saved = {(field.on, field.path): field for field in choice.saved}
    through = choice.through
    for before in snapshot.escalations:
        containment = before.status.containment
        if not before.is_open or before.spec.drill or containment is None or containment.restore is None:
            continue
        is_same, resume = before.spec.target.uid == workload.uid, before.status.resume
        if not active_intent(before) and (not is_same or resume is None or resume.applied_at is not None):
            continue
        for field in containment.restore.fields:
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
    intents: tuple[Intent, ...],
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
        intents=intents,
    )


def _strongest(demands: Iterable[Demand]) -> Demand | None:
    return max(demands, key=lambda d: STRENGTH[d.containment.action], default=None)


@dataclass(frozen=True, slots=True)
class Call:
    """A containment that people, or their silence, demand of an open escalation."""

    tier: str
    containment: Containment
    reason: Reason
    message: str
    decision: str | None = None


def calls(escalation: Escalation) -> Iterator[Call]:
    """What is due on an open escalation beside what its signals demand: by a decision, a deadline, or its rung."""
    status, policy = escalation.status, escalation.spec.policy
    rung = status.rung
    if rung is None:
        return
    pinned = tier_of(policy, rung.tier)
    declared = pinned.containment if pinned else None
    served = {intent.decision for intent in escalation.spec.intents}
    for decision in _since_the_last_resume(status.decisions):
        if not decision.counted or decision.action is not DecisionAction.CONTAIN or decision.name in served:
            continue
        action = decision.containment or (declared.action if declared else ContainmentAction.SCALE_TO_ZERO)
        containment = (declared or Containment(action=action)).model_copy(update={"action": action})
        why = f"decided by {decision.by} as {decision.role}"
        yield Call(rung.tier, containment, Reason.CONTAINED_BY_HAND, why, decision.name)
    if declared is None or _is_resumed_since(escalation, rung.entered_at):
        return
    if rung.stalled_at is not None and pinned is not None and pinned.on_timeout is TimeoutAction.CONTAIN:
        yield Call(rung.tier, declared, Reason.INTERIM_CONTAINMENT, "nobody decided in time: contained meanwhile")
    elif declared.when is ContainmentWhen.IMMEDIATELY and rung.reason in _ENTERED_BY_PEOPLE:
        yield Call(rung.tier, declared, Reason(rung.reason), f"tier {rung.tier} was entered: {rung.reason}")


_ENTERED_BY_PEOPLE = (Reason.STALLED, Reason.ESCALATED_BY_HAND, Reason.CONTAINMENT_LATE)
"""Why a rung is entered without any reading of its tier."""


def _since_the_last_resume(decisions: Sequence[CountedDecision]) -> Sequence[CountedDecision]:
    """What was decided after it, by order: what is judged in one pass has one time."""
    met = [n for n, d in enumerate(decisions) if d.action is DecisionAction.RESUME and d.reason == Reason.QUORUM_MET]
    return decisions[met[-1] + 1 :] if met else decisions


def _is_resumed_since(escalation: Escalation, at: datetime) -> bool:
    resume = escalation.status.resume
    return resume is not None and resume.at >= at


def raise_escalation(
    snapshot: Snapshot, judgement: Judgement, escalation: Escalation, now: datetime
) -> tuple[Rising, Act | None] | None:
    """A further intent for an open escalation.

    Needed where a breach, a decision or a deadline now asks for a safer state than the one in force, where the workload
    has changed between the evidence and the act, or where the revision to go back to has gone from the history.
    """
    workload = snapshot.target
    if workload is None or workload.uid != escalation.spec.target.uid or len(escalation.spec.intents) >= MAX_INTENTS:
        return None
    active = active_intent(escalation)
    number, policy = len(escalation.spec.intents) + 1, escalation.spec.policy
    found = _further(snapshot, judgement, escalation, active, number, now)
    if found is not None:
        intent, choice, lock = found
    elif active is not None and may_act(snapshot, judgement, escalation):
        renewed = _renewed(snapshot, escalation, active, number, now)
        if renewed is None:
            return None
        intent, choice = renewed
        pinned = tier_of(policy, active.tier)
        lock = pinned is None or pinned.containment is None or pinned.containment.lock
    else:
        return None
    tier = max((escalation.labels.get(LABEL_TIER, ""), intent.tier), key=lambda name: rank(policy, name))
    labels = _labels(escalation.spec.ladder.name, tier, intent, lock=_locks(snapshot, lock))
    rising = Rising(escalation, labels, intent)
    if choice.reason is Reason.ALREADY_AT_ZERO:
        return rising, None
    act = Act(intent, intent.action, severity(policy, intent.tier), choice.revision)
    if found is None and active is not None and was_applied(snapshot, escalation, active):
        act = replace(act, again=True, undone_by=_undone_by(workload, active))
    return rising, act


def _further(
    snapshot: Snapshot,
    judgement: Judgement,
    escalation: Escalation,
    active: Intent | None,
    number: int,
    now: datetime,
) -> tuple[Intent, Choice, bool] | None:
    """The intent for a safer state than the one in force, on fresh evidence, and whether it is locked."""
    workload = snapshot.target
    assert workload is not None  # noqa: S101
    strength = STRENGTH[active.action] if active else 0
    good = known_good(snapshot.signals)
    demand = _strongest(d for d in judgement.demands() if STRENGTH[d.containment.action] > strength)
    if demand is not None:
        choice = choose(
            demand.containment,
            workload,
            good,
            breached=snapshot.breached,
            by=demand.reason,
            escalation=escalation.name,
        )
        choice = _carried_on(snapshot, workload, choice)
        ladder = demand.group.ladder
        if ladder.name != escalation.spec.ladder.name:
            choice = replace(
                choice, message=f"{choice.message} (by ladder {ladder.name}, generation {ladder.generation})"
            )
        intent = intent_of(number, demand.tier.name, choice, now).model_copy(
            update={"signal": demand.signal.reference(), "evidence": take_evidence(workload, now, choice.saved)}
        )
        return (intent, choice, demand.containment.lock) if STRENGTH[intent.action] > strength else None
    due = [c for c in calls(escalation) if STRENGTH[c.containment.action] > strength]
    if not due or snapshot.is_suspended(escalation.spec.ladder.name) or not may_touch(workload, escalation):
        return None
    call = max(due, key=lambda c: STRENGTH[c.containment.action])
    choice = choose(
        call.containment, workload, good, breached=snapshot.breached, by=call.reason, escalation=escalation.name
    )
    choice = _carried_on(snapshot, workload, choice)
    choice = replace(choice, message=f"{choice.message}: {call.message}"[:1024])
    intent = intent_of(number, call.tier, choice, now).model_copy(
        update={"decision": call.decision, "evidence": take_evidence(workload, now, choice.saved)}
    )
    return (intent, choice, call.containment.lock) if STRENGTH[intent.action] > strength else None


def _renewed(
    snapshot: Snapshot, escalation: Escalation, active: Intent, number: int, now: datetime
) -> tuple[Intent, Choice] | None:
    """The intent in force once more, on fresh evidence, where it can no longer be carried out as it was written."""
    workload = snapshot.target
    if workload is None:
        return None
    current = workload.current
    is_back = active.action is ContainmentAction.ROLLBACK
    is_lost = is_back and not any(r.hash == active.pod_template_hash for r in workload.revisions)
    in_force = prove(workload, escalation, active).applied
    was_done = was_applied(snapshot, escalation, active)
    if active.through is not None:
        renewed = None if in_force else _another_way(workload, escalation, active, was_done=was_done)
        if renewed is None:
            return None
        choice = renewed
    elif in_force or (was_done and not is_lost):
        return None
    elif is_back:
        is_other = current is None or current.hash != quarantined_hash(escalation, active)
        why = Reason.EVIDENCE_OUTDATED if is_other and not was_done else Reason.ROLLBACK_IMPOSSIBLE
        if is_lost:
            message = f"no rollback: revision {active.revision} is no longer in the history"
            choice = Choice(ContainmentAction.SCALE_TO_ZERO, why, message)
        elif is_other:
            found = workload.runtime.rollback_target(
                workload, quarantined=current.hash if current else "", known_good={active.pod_template_hash or ""}
            )
            if isinstance(found, Revision):
                choice = Choice(ContainmentAction.ROLLBACK, why, "another revision was deployed", found)
            else:
                message = f"another revision was deployed, and no rollback: {found.why}"
                choice = Choice(ContainmentAction.SCALE_TO_ZERO, why, message)
        else:
            return None
    else:
        evidence = active.evidence or escalation.spec.evidence
        if evidence is None or workload.replicas in (0, evidence.replicas):
            return None
        message = f"replicas had changed from {evidence.replicas} to {workload.replicas} before the act"
        choice = Choice(active.action, Reason.EVIDENCE_OUTDATED, message)
    intent = intent_of(number, active.tier, choice, now).model_copy(
        update={
            "signal": active.signal,
            "decision": active.decision,
            "evidence": take_evidence(workload, now, choice.saved),
        }
    )
    return intent, choice


def _another_way(workload: Workload, escalation: Escalation, active: Intent, *, was_done: bool) -> Choice | None:
    """What is done where a Service or HTTPRoute is gone, or has changed between the evidence and the act."""
    through = active.through
    assert through is not None  # noqa: S101
    if through.kind == NETWORKPOLICIES.kind or isinstance(network_path.reach(workload, through.kind), Impossible):
        return None
    pinned = tier_of(escalation.spec.policy, active.tier)
    declared = (pinned.containment if pinned else None) or Containment(action=active.action)
    if why := fallback.usable(workload, through):
        return _instead(declared, workload, Reason.FALLBACK_IMPOSSIBLE, f"no Fallback any more: {why}", escalation.name)
    evidence = active.evidence or escalation.spec.evidence
    saved = next((f for f in evidence.fields if f.on == network.title(through)), None) if evidence else None
    way = fallback.choose(workload, _fallback_of(through))
    if was_done or not isinstance(way, Way) or saved is None or saved.value == way.saved.value:
        return None
    message = f"{through.kind} {through.name} had changed before the act; {way.message}"
    return _by_way(active.action, Reason.EVIDENCE_OUTDATED, way, message)


def _fallback_of(through: Through) -> Fallback:
    if through.backend is not None:
        return Fallback(http_route=through.name, backend=through.backend)
    return Fallback(service=through.name, selector=through.selector)


def severity(policy: PinnedPolicy, tier: str) -> int:
    """Severity of a tier as a share of its ladder, in thousandths, so that long and short ladders compare."""
    return 1000 * rank(policy, tier) // max(len(policy.tiers), 1)


def active_intent(escalation: Escalation) -> Intent | None:
    """The intent that is in force: the last one, unless a counted decision has ended it. A drill forces nothing."""
    intent = max(escalation.spec.intents, key=lambda i: i.id, default=None)
    resume = escalation.status.resume
    if intent is None or escalation.spec.drill or (resume is not None and resume.intent >= intent.id):
        return None
    return intent


def is_locked(snapshot: Snapshot, escalation: Escalation, intent: Intent) -> bool:
    """Whether the containment is to be held by admission: as pinned, unless the ladder has dropped the lock since."""
    pinned = tier_of(escalation.spec.policy, intent.tier)
    wanted = pinned is None or pinned.containment is None or pinned.containment.lock
    ladder = snapshot.ladders.get(escalation.spec.ladder.name)
    if ladder is None or ladder.spec is None or ladder.uid != escalation.spec.ladder.uid:
        return wanted
    now = next((t for t in ladder.spec.tiers if t.name == intent.tier), None)
    return wanted and (now is None or now.containment is None or now.containment.lock)


def quarantined_hash(escalation: Escalation, intent: Intent) -> str:
    """``pod-template-hash`` of the revision that a rollback takes out of service."""
    evidence = intent.evidence or escalation.spec.evidence
    return (evidence.pod_template_hash or "") if evidence else ""


def prove(workload: Workload, escalation: Escalation, intent: Intent) -> Verification:
    """How far the intent has got on the workload as it is now."""
    if intent.through is not None:
        if intent.through.kind == NETWORKPOLICIES.kind:
            return isolate.prove(workload, intent.through)
        return fallback.prove(workload, intent.through)
    if intent.action is ContainmentAction.ROLLBACK:
        wanted = intent.pod_template_hash or ""
        quarantined = quarantined_hash(escalation, intent)
        return workload.runtime.prove_rolled_back(workload, quarantined=quarantined, wanted=wanted)
    return workload.runtime.prove_stopped(workload)


def may_touch(workload: Workload, escalation: Escalation) -> bool:
    """Whether the workload is the very object of the escalation and still carries the labels that opted it in."""
    governs = escalation.spec.policy.governs
    return workload.uid == escalation.spec.target.uid and governs is not None and is_governed(governs, workload.labels)


def is_demanded_elsewhere(judgement: Judgement, escalation: Escalation) -> bool:
    """Whether another ladder that governs the target demands a containment, whatever became of this one's."""
    return any(demand.group.ladder.name != escalation.spec.ladder.name for demand in judgement.demands())


def may_act(snapshot: Snapshot, judgement: Judgement, escalation: Escalation) -> bool:
    """Whether an intent may be carried out: on the very object, for a ladder that governs it and is not suspended."""
    workload = snapshot.target
    if workload is None or workload.uid != escalation.spec.target.uid:
        return False
    by_its_own = may_touch(workload, escalation) and not snapshot.is_suspended(escalation.spec.ladder.name)
    return by_its_own or is_demanded_elsewhere(judgement, escalation)


def was_applied(snapshot: Snapshot, escalation: Escalation, intent: Intent) -> bool:
    """Whether the intent's write is known to have been accepted, now or in an earlier life of the operator."""
    contained = escalation.status.containment
    at_zero = intent.reason == Reason.ALREADY_AT_ZERO
    if contained is not None and contained.intent == intent.id:
        at = contained.pods_gone_at if at_zero else contained.applied_at  # what was at zero needed no write
        if at is not None:
            return True
    return snapshot.stamps.get((escalation.uid, intent.id), Stamps()).applied_at is not None


def carry_out(snapshot: Snapshot, judgement: Judgement, escalation: Escalation) -> Act | None:
    """The write that an open escalation's intent still needs, or needs again because somebody undid it."""
    workload, intent = snapshot.target, active_intent(escalation)
    if workload is None or intent is None or not may_act(snapshot, judgement, escalation):
        return None
    if prove(workload, escalation, intent).applied:
        return None
    revision = next((r for r in workload.revisions if r.hash == intent.pod_template_hash), None)
    if intent.action is ContainmentAction.ROLLBACK and revision is None:
        return None
    again = was_applied(snapshot, escalation, intent)
    return Act(
        intent=intent,
        action=intent.action,
        tier_rank=severity(escalation.spec.policy, intent.tier),
        revision=revision,
        again=again,
        undone_by=_undone_by(workload, intent) if again else "",
    )


def settle(snapshot: Snapshot, judgement: Judgement) -> Settlement | None:
    """The second write that a containment needs with some runtimes, until it is proved.

    Afterwards, too, where somebody takes it back for the breached revision; another one may be prepared meanwhile.
    """
    escalation, workload = snapshot.open, snapshot.target
    intent = active_intent(escalation) if escalation else None
    if escalation is None or workload is None or intent is None or not isinstance(workload.runtime, Settling):
        return None
    if intent.action not in (ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ROLLBACK):
        return None
    proof, known = prove(workload, escalation, intent), escalation.status.containment
    is_proved = known is not None and known.intent == intent.id and known.pods_gone_at is not None
    is_other = workload.current_hash != quarantined_hash(escalation, intent)
    if not proof.applied or (is_proved and proof.clear and is_other) or not may_act(snapshot, judgement, escalation):
        return None
    back = intent.action is ContainmentAction.ROLLBACK
    write = workload.runtime.settle(workload, intent.pod_template_hash if back else None)
    return Settlement(escalation, write) if write is not None else None


def _undone_by(workload: Workload, intent: Intent) -> str:
    if intent.through is not None:
        found = network_path.seen(workload, intent.through)
        return (found.set_by if found else "") or "unknown"  # a deletion leaves no name
    rollback = intent.action is ContainmentAction.ROLLBACK
    return (workload.template_set_by if rollback else workload.replicas_set_by) or "unknown"


# --- Around the workload ----------------------------------------------------------------------------------------------


def outside(workload: Workload, escalation: Escalation, intent: Intent) -> Outside | Impossible:
    """The write that carries out an intent which does not act on the workload itself."""
    through = intent.through
    assert through is not None  # noqa: S101
    if through.kind != NETWORKPOLICIES.kind:
        return fallback.divert(workload, through)
    labels = {LABEL_LADDER: escalation.spec.ladder.name, LABEL_ESCALATION: escalation.name}
    return isolate.isolate(workload, through, labels, escalation.uid)


def back(workload: Workload, escalation: Escalation) -> dict[str, Outside | Left | Waits | None]:
    """By ``Kind/name``: how what was overwritten of other objects is given back, or that it has been."""
    containment = escalation.status.containment
    restore, resume = containment.restore if containment else None, escalation.status.resume
    asked = workload.replicas or (resume is not None and resume.steps)
    found: dict[str, Outside | Left | Waits | None] = {}
    for field in restore.fields if restore else ():
        if not field.on:
            continue
        kind, _, name = field.on.partition("/")
        if kind == NETWORKPOLICIES.kind:
            found[field.on] = isolate.give_back(workload, Through(kind=kind, name=name))
            continue
        found[field.on] = fallback.give_back(workload, field)
        if isinstance(found[field.on], Outside) and asked and not any(p.ready for p in workload.pods):
            found[field.on] = Waits(f"{field.on} is given back once a pod of the {workload.kind} is ready")
    return found
