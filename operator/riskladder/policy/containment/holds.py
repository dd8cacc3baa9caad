"""The hold that contained objects carry: what it says, the Escalation that is created from it, and when it is removed.

The write that contains says why in the same instant (``api/hold.py``). What an operator was killed before it could
create, the next one creates from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from riskladder.api.escalation import EscalationSpec, LadderRef, PinnedPolicy
from riskladder.api.hold import Hold
from riskladder.api.intent import Intent
from riskladder.api.labels import LABEL_CONTAINMENT, LABEL_TIER
from riskladder.api.resource import Resource
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.containment.opening import labels_of
from riskladder.policy.containment.others import carriers, lock_of, object_of
from riskladder.policy.containment.state import (
    may_touch,
    prove,
    reverted_by,
    verify,
    wants_lock,
)
from riskladder.policy.plan import Effect, NewEscalation, Phase, Stop
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Escalation, Snapshot, pin
from riskladder.workloads.holding import Carried, held_by, hold_patch, release_patch
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES, RESOURCES, NetworkObject
from riskladder.workloads.results import ObjectWrite
from riskladder.workloads.safe_states.network_path import seen

MAX_AHEAD = 1000
"""How far the number of an intent that an object carries may be ahead of the status: it is no number of ours beyond."""


def is_carried(workload: Workload, intent: Intent) -> bool:
    """Return whether what an intent acts on can carry a hold: of some kinds only the scale is written."""
    if intent.target_ref is not None:
        return True
    runtime = workload.runtime
    return runtime.annotates and (intent.action is not ContainmentAction.ROLLBACK or runtime.carries_rollback)


def of_opening(opening: NewEscalation, intent: Intent) -> Hold:
    """Return the hold of a containment whose Escalation is not there yet."""
    spec = opening.spec
    assert spec.evidence is not None  # noqa: S101 - taken at every opening
    return Hold(
        escalation=opening.name,
        tier=opening.labels[LABEL_TIER],
        target=spec.target,
        ladder=spec.ladder,
        signal=spec.signal,
        model=spec.model,
        evidence=spec.evidence,
        intent=intent,
    )


def of_escalation(escalation: Escalation, intent: Intent, tier: str = "") -> Hold | None:
    """Return the hold of an intent of an open escalation; ``None`` where no evidence was ever taken."""
    spec = escalation.spec
    evidence = intent.evidence or spec.evidence
    if evidence is None:
        return None
    return Hold(
        escalation=escalation.name,
        tier=tier or escalation.labels.get(LABEL_TIER) or intent.tier,
        target=spec.target,
        ladder=spec.ladder,
        signal=intent.signal or spec.signal,
        model=spec.model,
        evidence=evidence,
        intent=intent.model_copy(update={"signal": None, "evidence": None}),
    )


def with_hold(act: Stop, hold: Hold | None, *, lock: str) -> Stop:
    """Return a containment write that carries a hold.

    Args:
        act: The write.
        hold: What the object is to carry.
        lock: The action that the lock is to hold it to; empty for no lock.
    """
    return replace(act, hold=hold, lock=lock)


# --- From the hold to the Escalation ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Held:
    """An object that carries something of a containment."""

    resource: Resource
    name: str
    uid: str
    version: str
    carried: Carried

    @classmethod
    def workload(cls, found: Workload) -> _Held:
        """Return the target itself."""
        return cls(found.runtime.resource, found.name, found.uid, found.resource_version, found.carried)

    @classmethod
    def network_object(cls, found: NetworkObject) -> _Held:
        """Return what its traffic passes."""
        return cls(RESOURCES[found.kind], found.name, found.uid, found.resource_version, found.carried)

    @property
    def hold(self) -> Hold | None:
        """What it carries, where that counts."""
        return held_by(self.carried, self.uid, made=self.resource == NETWORKPOLICIES)


def is_held(snapshot: Snapshot, escalation: Escalation, until: int) -> bool:
    """Return whether anything still carries a hold of an escalation, of its intents up to that one."""
    holds = [found.hold for found in _held(snapshot)]
    return any(hold and hold.escalation == escalation.name and hold.intent.id <= until for hold in holds)


def _held(snapshot: Snapshot) -> Iterator[_Held]:
    """Yield the target and what its traffic passes, as far as they carry anything for this target."""
    workload = snapshot.target
    if workload is not None and not workload.carried.is_empty:
        yield _Held.workload(workload)
    path = workload.network_path if workload is not None else None
    for item in path.objects.values() if path else snapshot.carrying:
        if not item.carried.is_empty:
            found = _Held.network_object(item)
            hold = found.hold
            if hold is not None and (hold.target.kind, hold.target.name) == snapshot.key[1:]:
                yield found


def _holds(snapshot: Snapshot) -> list[Hold]:
    """Return what is held for the target: what was acknowledged last, and what the objects carry."""
    found = (snapshot.pending, *(held.hold for held in _held(snapshot)))
    return [hold for hold in found if hold is not None]


def with_holds(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot whose open escalations know what objects carry for them and their status does not say yet."""
    workload = snapshot.target
    holds = _holds(snapshot)
    if not holds:
        return snapshot
    found = []
    for escalation in snapshot.escalations:
        mine = {
            hold.intent.id: _intent_of(escalation, hold)
            for hold in holds
            if hold.escalation == escalation.name
            and hold.target.uid == escalation.spec.target.uid
            and (workload is None or hold.target.uid == workload.uid)
            and 0 < hold.intent.id - escalation.last_saved <= MAX_AHEAD
        }
        unsaved = tuple(mine[number] for number in sorted(mine))
        found.append(escalation if unsaved == escalation.unsaved else replace(escalation, unsaved=unsaved))
    return replace(snapshot, escalations=tuple(found))


def _intent_of(escalation: Escalation, hold: Hold) -> Intent:
    """Return the intent of a hold, completed by the hold's other fields."""
    signal = hold.signal if hold.signal != escalation.spec.signal else None
    return hold.intent.model_copy(update={"signal": signal, "evidence": hold.evidence})


def adopted(snapshot: Snapshot) -> NewEscalation | None:
    """Return the Escalation that an acknowledged containment write calls for."""
    workload = snapshot.target
    for hold in sorted(_holds(snapshot), key=lambda h: h.intent.id):
        is_other = workload is not None and hold.target.uid != workload.uid and hold != snapshot.pending
        if hold.escalation in snapshot.closed or is_other or _escalation_of(snapshot, hold) is not None:
            continue
        if (found := _opening(snapshot, hold)) is not None:
            return found
    return None


def _escalation_of(snapshot: Snapshot, hold: Hold) -> Escalation | None:
    return next((e for e in snapshot.escalations if e.name == hold.escalation), None)


def is_proved(snapshot: Snapshot) -> bool:
    """Return whether something that the target carries contains it, with an Escalation or without."""
    workload = snapshot.target
    return workload is not None and any(
        verify(workload, hold.intent, hold.evidence.pod_template_hash or "").pods_gone for hold in _holds(snapshot)
    )


def reverted(snapshot: Snapshot) -> Stop | None:
    """Return the write that contains once more what was raised before its Escalation was there.

    It waits for no Escalation, as the first one did not.
    """
    workload = snapshot.target
    for held in _held(snapshot):
        hold = held.hold
        if hold is None or workload is None or hold.target.uid != workload.uid or hold.escalation in snapshot.closed:
            continue
        if _escalation_of(snapshot, hold) is not None:
            continue
        intent = hold.intent
        if verify(workload, intent, hold.evidence.pod_template_hash or "").applied:
            continue
        revision = next((r for r in workload.revisions if r.hash == intent.pod_template_hash), None)
        if intent.action is ContainmentAction.ROLLBACK and revision is None:
            continue
        by = reverted_by(workload, intent)
        name, lock = hold.escalation, held.carried.lock
        return Stop(intent, intent.action, 1000, revision, True, by, escalation=name, hold=hold, lock=lock)
    return None


def orphaned(snapshot: Snapshot) -> Hold | None:
    """Return a hold whose Escalation cannot be created: its ladder is gone, and so is the operator that knew it."""
    for found in _held(snapshot):
        hold = found.hold
        if hold is None or not _stands(snapshot, found) or _escalation_of(snapshot, hold) is not None:
            continue
        if _policy(snapshot, hold) is None:
            return hold
    return None


def _opening(snapshot: Snapshot, hold: Hold) -> NewEscalation | None:
    """Return the Escalation of a hold; nothing while there is no ladder that says who decides."""
    found = _policy(snapshot, hold)
    if found is None:
        return None
    ladder, policy = found
    tier = hold.tier if tier_of(policy, hold.tier) else policy.tiers[-1].name
    spec = EscalationSpec(
        ladder=ladder,
        policy=policy,
        target=hold.target,
        model=hold.model,
        signal=hold.signal,
        evidence=hold.evidence,
        intent=hold.intent,
    )
    labels = labels_of(ladder.name, tier, hold.intent, lock=wants_lock(policy, hold.intent))
    return NewEscalation(snapshot.key.namespace, hold.escalation, labels, spec)


def _policy(snapshot: Snapshot, hold: Hold) -> tuple[LadderRef, PinnedPolicy] | None:
    """Return the policy that the hold was under; the ladder's present one where that is no longer to be had."""
    if snapshot.pending == hold and snapshot.pending_policy is not None:
        return hold.ladder, snapshot.pending_policy
    for escalation in snapshot.escalations:
        if escalation.spec.ladder == hold.ladder:
            return escalation.spec.ladder, escalation.spec.policy
    ladder = snapshot.ladders.get(hold.ladder.name)
    if ladder is None or ladder.spec is None:
        return None
    reference = LadderRef(name=ladder.name, uid=ladder.uid, generation=ladder.generation, digest=ladder.digest)
    is_same = (ladder.uid, ladder.digest) == (hold.ladder.uid, hold.ladder.digest)
    return hold.ladder if is_same else reference, pin(ladder.spec)


# --- Upkeep -----------------------------------------------------------------------------------------------------------


def upkeep(snapshot: Snapshot) -> Iterator[Effect]:
    """Yield the writes that make what objects carry what it should be.

    A hold that ended is removed, and so is one that was copied from elsewhere; one that somebody has taken away while
    the lock was, or whose lock the ladder no longer wants, is written again.
    """
    workload = snapshot.target
    if workload is not None:
        missing = (_missing(snapshot, workload, c.escalation, c.intent) for c in carriers(snapshot))
        if (found := next((effect for effect in missing if effect is not None), None)) is not None:
            yield found
            return
    for held in _held(snapshot):
        if _stands(snapshot, held):
            continue
        if workload is None and held.resource == NETWORKPOLICIES:  # nothing of the model is left to be isolated
            preconditions = {"uid": held.uid, "resourceVersion": held.version}
            write = ObjectWrite(held.resource, held.name, "delete", {"preconditions": preconditions})
        else:
            write = ObjectWrite(held.resource, held.name, "patch", [_same(held.uid), *release_patch(held.carried)])
        yield Effect.of(Phase.UPKEEP, write, held.carried.by)


def _stands(snapshot: Snapshot, held: _Held) -> bool:
    """Return whether a hold has to stay: its escalation is open and contains, or will be created from it."""
    workload, hold = snapshot.target, held.hold
    if hold is None or hold.escalation in snapshot.closed:
        return False
    if workload is not None and hold.target.uid != workload.uid:
        return False
    escalation = _escalation_of(snapshot, hold)
    if escalation is None:
        return True
    resume = escalation.status.resume
    is_over = resume is not None and resume.intent >= hold.intent.id and LABEL_CONTAINMENT not in escalation.labels
    return escalation.is_open and not is_over


def is_locked_by_label(workload: Workload, intent: Intent) -> bool:
    """Return whether what an intent acts on carries the lock, or is of a kind that cannot and goes by its name."""
    if intent.target_ref is not None:
        found = seen(workload, intent.target_ref)
        return found is not None and bool(found.carried.lock)
    return not workload.runtime.annotates or bool(workload.carried.lock)


def _missing(snapshot: Snapshot, workload: Workload, escalation: Escalation, intent: Intent) -> Effect | None:
    """Return the hold of an intent in force, where what it acts on does not carry it, or carries another lock."""
    recorded = escalation.status.containment(intent.action.axis)
    if recorded is None or recorded.intent.id != intent.id or snapshot.is_suspended(escalation.spec.ladder.name):
        return None
    if not may_touch(workload, escalation):
        return None
    proof = prove(workload, escalation, intent)
    if not is_carried(workload, intent):  # it would be rolled out again by that, which is to come after the rollback
        is_back = intent.action is ContainmentAction.ROLLBACK and workload.runtime.annotates
        if not is_back or not proof.pods_gone:
            return None
    if not proof.applied:
        return None
    if intent.target_ref is None:
        held = _Held.workload(workload)
    elif (item := seen(workload, intent.target_ref)) is not None:
        held = _Held.network_object(item)
    else:
        return None
    lock = lock_of(snapshot, object_of(intent))
    there, wanted = held.hold, of_escalation(escalation, intent)
    if wanted is None:
        return None
    is_same = there is not None and there.escalation == escalation.name and there.intent.id >= intent.id
    if is_same and held.carried.lock == lock:
        return None
    wanted = wanted.model_copy(update={"uid": held.uid})
    patch = hold_patch(held.carried, wanted, lock, version=held.version)
    write = ObjectWrite(held.resource, held.name, "patch", [_same(held.uid), *patch])
    return Effect.of(Phase.UPKEEP, write, escalation.name)


def _same(uid: str) -> dict[str, str]:
    return {"op": "test", "path": "/metadata/uid", "value": uid}
