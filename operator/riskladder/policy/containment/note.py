"""What the status keeps of the intents in force, and what a Resume restores: noted once, when an intent is first seen.

What is no longer in force is in the records, so that an escalation may be contained and resumed any number of times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from riskladder.api.escalation import (
    MAX_QUARANTINED,
    ContainmentStatus,
    EscalationStatus,
    ResumeStatus,
    SuspendedStatus,
)
from riskladder.api.intent import Evidence, Intent, Restore
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Axis
from riskladder.policy.snapshot import Escalation


@dataclass(frozen=True, slots=True)
class Noted:
    """What is kept of a containment."""

    containments: Mapping[Axis, ContainmentStatus]
    companions: tuple[SuspendedStatus, ...]
    restore: Restore | None
    quarantined: tuple[str, ...]

    def in_status(self, status: EscalationStatus) -> EscalationStatus:
        """Return a status that says so, the workload first."""
        ordered = tuple(self.containments[axis] for axis in Axis if axis in self.containments)
        update = {"containments": ordered, "companions": self.companions}
        return status.model_copy(update=update | {"restore": self.restore, "quarantined": self.quarantined})


def noted_in(status: EscalationStatus) -> Noted:
    """Return what a status keeps of a containment."""
    by_axis = {found.axis: found for found in status.containments}
    return Noted(by_axis, status.companions, status.restore, status.quarantined)


def note(escalation: Escalation, known: Noted, resume: ResumeStatus | None) -> Noted:
    """Return what is to be kept once the intents in force are noted.

    Args:
        escalation: With all intents that are known of it.
        known: What is kept so far.
        resume: The last Resume.
    """
    active = escalation.in_force
    if not active:
        return known
    ended = resume.intent if resume is not None else 0
    goes_on = any(found.intent.id > ended for found in known.containments.values())
    broken_off = resume is not None and resume.applied_at is None
    kept = known if goes_on or broken_off else replace(known, companions=(), restore=None)
    before = {axis for axis, found in known.containments.items() if found.intent.id > ended}
    if broken_off and kept.restore is not None and kept.restore.replicas:
        before.add(Axis.WORKLOAD)
    restore, quarantined = kept.restore or Restore(), list(kept.quarantined)
    listed = {axis: found for axis, found in known.containments.items() if axis in active}
    for intent in sorted(active.values(), key=lambda i: i.id):
        axis, evidence = intent.action.axis, escalation.evidence(intent)
        if axis in listed and listed[axis].intent.id == intent.id:
            continue
        restore = _restored(restore, intent, evidence, is_first=axis not in before)
        if evidence is not None and evidence.pod_template_hash and evidence.pod_template_hash not in quarantined:
            quarantined.append(evidence.pod_template_hash)
        listed[axis] = ContainmentStatus(axis=axis, intent=_without_images(intent))
        before.add(axis)
    return Noted(
        listed, kept.companions, restore if restore != Restore() else None, tuple(quarantined[-MAX_QUARANTINED:])
    )


def _restored(known: Restore, intent: Intent, evidence: Evidence | None, *, is_first: bool) -> Restore:
    """Return what a Resume restores once an intent is in force: the state before the first act, never a contained one.

    An intent that was renewed on fresh evidence replaces one that was never carried out.
    """
    renews = intent.reason == Reason.EVIDENCE_OUTDATED
    old = {(field.object, field.path): field for field in known.fields if field.object}
    new = {(field.object, field.path): field for field in (evidence.fields if evidence else ()) if field.object}
    others = {**old, **new} if renews else {**new, **old}
    workload = known
    counts = intent.action.axis is Axis.WORKLOAD and (is_first or renews)
    if counts and intent.restore is not None:
        workload = intent.restore
    elif counts and evidence is not None and evidence.replicas:
        workload = Restore(
            replicas=evidence.replicas,
            revision=evidence.revision,
            pod_template_hash=evidence.pod_template_hash,
            fields=tuple(field for field in evidence.fields if not field.object),
        )
    own = tuple(field for field in workload.fields if not field.object)
    return workload.model_copy(update={"fields": (*own, *others.values())})


def _without_images(intent: Intent) -> Intent:
    """Return an intent without what only explains its evidence: that is on record."""
    if intent.evidence is None or not intent.evidence.images:
        return intent
    return intent.model_copy(update={"evidence": intent.evidence.model_copy(update={"images": ()})})
