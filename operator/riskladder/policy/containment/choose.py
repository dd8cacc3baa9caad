"""What is done to a running model: the action that is demanded, or what stands in for it, on evidence as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from riskladder.api.escalation import PinnedPolicy
from riskladder.api.intent import Evidence, Image, ImageRole, Intent, NetworkTargetRef, Restore, SavedField
from riskladder.api.reasons import Reason
from riskladder.api.tiers import Connections, Containment, ContainmentAction
from riskladder.policy.signals.evaluate import rank
from riskladder.workloads.model import History, Revision, Workload
from riskladder.workloads.privileges import gained
from riskladder.workloads.results import Impossible
from riskladder.workloads.runtimes.replicas import running_images
from riskladder.workloads.safe_states import fallback, isolate
from riskladder.workloads.safe_states.network_path import Planned, Unsupported
from riskladder.workloads.selectors import query

IMAGE_DETAILS = {
    "images": ImageRole.CONTAINER,
    "initImages": ImageRole.INIT_CONTAINER,
    "sidecarImages": ImageRole.SIDECAR,
    "volumeImages": ImageRole.VOLUME,
}
"""By particular of a record: whose images it names."""


def take_evidence(workload: Workload, now: datetime, saved: Sequence[SavedField] = ()) -> Evidence:
    """Return the workload as it is, before anything is touched.

    Args:
        workload: As it is now.
        now: The time.
        saved: What is overwritten of other objects.
    """
    current = workload.current
    images: dict[tuple[str, str], Image] = {}
    for image in running_images(workload):
        kept = Image(container=image.container, role=image.role, image=image.image, image_id=image.image_id or None)
        images.setdefault((image.role, image.container), kept)
    return Evidence(
        replicas=workload.replicas,
        revision=str(current.number) if current else None,
        pod_template_hash=current.hash if current else None,
        images=tuple(list(images.values())[:32]),
        ready_pods=sum(pod.ready and pod.active for pod in workload.pods),
        ready_endpoints=workload.ready_endpoints,
        selector=query(workload.selector or {}) or None,
        fields=(*(SavedField(path=path, value=value) for path, value in sorted(workload.fields.items())), *saved),
        taken_at=now,
    )


def evidence_detail(evidence: Evidence | None) -> dict[str, str]:
    """Return evidence as the particulars of a record; what is not known is left out."""
    if evidence is None:
        return {}
    found = {
        "replicas": str(evidence.replicas),
        "readyPods": "" if evidence.ready_pods is None else str(evidence.ready_pods),
        "readyEndpoints": str(evidence.ready_endpoints),
        "revision": evidence.revision,
        "podTemplateHash": evidence.pod_template_hash,
        **{key: " ".join(_names(evidence, role)) for key, role in IMAGE_DETAILS.items()},
    }
    return {key: value for key, value in found.items() if value}


def _names(evidence: Evidence, role: ImageRole) -> Iterator[str]:
    yield from (image.image_id or image.image for image in evidence.images if image.role is role)


@dataclass(frozen=True, slots=True)
class Choice:
    """The action that will really be taken, and why."""

    action: ContainmentAction
    reason: Reason
    message: str
    revision: Revision | None = None
    target_ref: NetworkTargetRef | None = None
    """What is acted on in place of the workload."""
    saved: tuple[SavedField, ...] = ()
    """What is overwritten of that, as it was."""
    restore: Restore | None = None
    """What a Resume restores of the workload, where another escalation had contained it before."""
    connections: Connections | None = None
    """Close, where the pods of an isolated model are restarted."""
    like: Intent | None = None
    """The intent of another escalation by which it is in that state already, with its evidence."""


def asked_for(declared: Containment | None, action: ContainmentAction | None) -> Containment:
    """Return the containment that a Contain asks for: its own action, else that of the tier, else ScaleToZero.

    Args:
        declared: The containment of the tier.
        action: The action that the decision names.
    """
    action = action or (declared.action if declared else ContainmentAction.SCALE_TO_ZERO)
    return (declared or Containment(action=action)).model_copy(update={"action": action})


def choose(
    containment: Containment,
    workload: Workload,
    history: History,
    *,
    by: Reason = Reason.THRESHOLD_BREACHED,
    escalation: str = "drill",
) -> Choice:
    """Return the containment's action, or its ``ifImpossible`` with the reason.

    Args:
        containment: What is demanded.
        workload: As it is now.
        history: What readings and people have said about its revisions.
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
            history=history,
        )
        found = without_gain(workload, found)
        if isinstance(found, Revision):
            message = f"roll back from revision {current.number if current else '?'} to {found.number}"
            return Choice(ContainmentAction.ROLLBACK, intended, message, found)
        return instead_of(containment, workload, Reason.ROLLBACK_IMPOSSIBLE, f"no rollback: {found.why}", escalation)
    if containment.action is ContainmentAction.SCALE_TO_ZERO:
        return Choice(ContainmentAction.SCALE_TO_ZERO, intended, workload.runtime.stopping(workload))
    if containment.action is ContainmentAction.FALLBACK:
        planned, reason = fallback.choose(workload, containment.fallback), Reason.FALLBACK_IMPOSSIBLE
    else:
        planned, reason = isolate.choose(workload, escalation), Reason.ISOLATE_IMPOSSIBLE
    if isinstance(planned, Planned):
        return planned_choice(containment.action, intended, planned, planned.message)
    reason = Reason.ACTION_NOT_SUPPORTED if isinstance(planned, Unsupported) else reason
    return instead_of(containment, workload, reason, f"no {containment.action}: {planned.why}", escalation)


def without_gain(workload: Workload, found: Revision | Impossible) -> Revision | Impossible:
    """Return the revision to go back to, unless its pods would be granted more than they are now.

    The admission policy riskladder-operator refuses such a rollback to the operator, whoever holds its token.
    """
    more = gained(workload.privileges, found.privileges) if isinstance(found, Revision) else ""
    if not more or isinstance(found, Impossible):
        return found
    return Impossible(f"revision {found.number} would give its pods more than they have now ({more[:512]})")


def with_connections(choice: Choice, containment: Containment, *, ends_pods: bool) -> Choice:
    """Return the choice of an Isolate that says what becomes of open connections.

    Args:
        choice: What was chosen.
        containment: What is demanded.
        ends_pods: Whether the operator may end pods.
    """
    if choice.action is not ContainmentAction.ISOLATE or choice.like is not None:
        return choice
    if containment.connections is Connections.CLOSE and ends_pods:
        message = f"{choice.message}, and restart its pods, so that open ones end"
        return replace(choice, connections=Connections.CLOSE, message=message[:1024])
    return replace(choice, message=f"{choice.message}; open ones may go on"[:1024])


def planned_choice(action: ContainmentAction, reason: Reason, planned: Planned, message: str) -> Choice:
    """Return the choice of a safe state that acts on the network path."""
    return Choice(action, reason, message[:1024], target_ref=planned.target_ref, saved=(planned.saved,))


def instead_of(containment: Containment, workload: Workload, reason: Reason, why: str, escalation: str) -> Choice:
    """Return the action of ``ifImpossible``; where that is impossible, too, the stop."""
    if ContainmentAction.ISOLATE in (containment.action, containment.if_impossible):
        if containment.action is ContainmentAction.ISOLATE:
            return Choice(ContainmentAction.SCALE_TO_ZERO, reason, why[:1024])
        planned = isolate.choose(workload, escalation)
        if isinstance(planned, Planned):
            return planned_choice(ContainmentAction.ISOLATE, reason, planned, f"{why}; {planned.message}")
        why = f"{why}; nor can it be isolated: {planned.why}"
    return Choice(ContainmentAction.SCALE_TO_ZERO, reason, why[:1024])


def intent_of(number: int, tier: str, choice: Choice, now: datetime) -> Intent:
    """Return the intent to do what was chosen."""
    like = choice.like
    return Intent(
        id=number,
        tier=tier,
        action=choice.action,
        revision=str(choice.revision.number) if choice.revision else like.revision if like else None,
        pod_template_hash=choice.revision.hash if choice.revision else like.pod_template_hash if like else None,
        target_ref=choice.target_ref,
        connections=choice.connections or (like.connections if like else None),
        reason=str(choice.reason),
        message=choice.message[:1024],
        evidence=like.evidence if like else None,
        restore=choice.restore,
        intended_at=now,
    )


def severity(policy: PinnedPolicy, tier: str) -> int:
    """Return the severity of a tier as a share of its ladder, in thousandths, to compare long and short ladders."""
    return 1000 * rank(policy, tier) // max(len(policy.tiers), 1)
