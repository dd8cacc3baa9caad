"""How what was overwritten of other objects is restored."""

from __future__ import annotations

from riskladder.api.escalation import (
    ContainmentStatus,
    Evidence,
    Restore,
    Through,
)
from riskladder.api.reasons import Reason
from riskladder.policy.snapshot import Escalation
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.safe_states import fallback, isolate
from riskladder.workloads.safe_states.network_path import Left, Outside, Waits


def restore_of(escalation: Escalation) -> Restore | None:
    """What a Resume has to bring back: the state before the first act, never a contained one.

    The evidence of the earliest intent counts, since a later one was taken on a workload that was contained already; an
    intent renewed on fresh evidence replaces those before it, which were never carried out.
    """
    evidence: Evidence | None = None
    ended = escalation.status.resume.intent if escalation.status.resume else 0
    for intent in sorted(escalation.spec.intents, key=lambda i: i.id, reverse=True):
        if intent.id <= ended:
            break
        if evidence is not None and intent.through is not None:
            continue  # it did not touch the workload, which has had its own way since
        evidence = intent.evidence or escalation.spec.evidence
        if intent.reason == Reason.EVIDENCE_OUTDATED:
            break
    if evidence is None or not evidence.replicas:
        return None
    return Restore(
        replicas=evidence.replicas,
        revision=evidence.revision,
        pod_template_hash=evidence.pod_template_hash,
        fields=tuple(field for field in evidence.fields if not field.on),
    )


def kept(escalation: Escalation, before: ContainmentStatus | None) -> Restore | None:
    """What there is to bring back of the workload: as before, unless only what is around it was changed so far."""
    ended = escalation.status.resume
    broken_off = ended is not None and ended.applied_at is None
    touched = [i for i in escalation.spec.intents if before and i.id == before.intent and i.through is None]
    kept = before.restore if before is not None and (touched or broken_off) else None
    fresh = kept or restore_of(escalation)
    others = tuple(f for f in (before.restore.fields if before and before.restore else ()) if f.on)
    if fresh is None:
        return Restore(fields=others) if others else None
    return fresh.model_copy(update={"fields": (*(f for f in fresh.fields if not f.on), *others)})


def with_others(escalation: Escalation, restore: Restore | None) -> Restore | None:
    """With what the intents since the last Resume overwrite of other objects, as it was before the first of them."""
    ended = escalation.status.resume.intent if escalation.status.resume else 0
    found = {(f.on, f.path): f for f in (restore.fields if restore else ())}
    for intent in escalation.spec.intents:
        evidence = (intent.evidence or escalation.spec.evidence) if intent.id > ended else None
        fresh = {(f.on, f.path): f for f in (evidence.fields if evidence else ()) if f.on}
        found = {**found, **fresh} if intent.reason == Reason.EVIDENCE_OUTDATED else {**fresh, **found}
    fields = tuple(found.values())
    if not fields or (restore is not None and fields == restore.fields):
        return restore
    return (restore or Restore()).model_copy(update={"fields": fields})


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
