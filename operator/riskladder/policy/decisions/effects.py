"""What a containment and a Resume will do, in words, before anybody asks for them."""

from __future__ import annotations

from collections.abc import Iterable

from riskladder.api.escalation import EscalationSpec
from riskladder.api.intent import Intent, NetworkTargetRef, Restore
from riskladder.api.tiers import Axis, Containment, ContainmentAction, Tier
from riskladder.policy.containment.choose import asked_for
from riskladder.policy.containment.further import is_further
from riskladder.workloads.safe_states import words

NOTHING_CHANGED = "it is a drill, so nothing was changed and nothing has to come back"


def containment_of(tier: Tier | None, action: ContainmentAction | None) -> Containment:
    """Return the containment that a Contain asks for in a tier, where it names an action or none."""
    return asked_for(tier.containment if tier is not None else None, action)


def contains(target: str, containment: Containment, *, rehearsed: bool = False) -> str:
    """Return what a containment does to a target, as ``Kind/name``; what it would do in a drill."""
    return words.sentence(
        target,
        containment.action,
        target_ref=_path(containment),
        connections=containment.connections,
        lock=containment.lock,
        rehearsed=rehearsed,
    )


def adds(containment: Containment, intents: Iterable[Intent]) -> bool:
    """Return whether a containment adds to the safe states in force; where it does not, nothing further is done."""
    return is_further(containment.action, {intent.action.axis: intent for intent in intents})


def restores(
    spec: EscalationSpec,
    intents: Iterable[Intent],
    noted: Restore | None = None,
    *,
    declared: Containment | None = None,
    steps: str = "",
) -> str:
    """Return what a Resume restores, for each safe state that is in force.

    Args:
        spec: The escalation's spec.
        intents: Those in force, of which the newest on each axis counts.
        noted: What the status says is to be restored, if it does already.
        declared: The containment of the tier, for where no intent is known yet.
        steps: How the replicas come back, where that is not at once.
    """
    if spec.drill:
        return NOTHING_CHANGED
    newest: dict[Axis, Intent] = {}
    for intent in intents:
        newest[intent.action.axis] = intent
    target = f"{spec.target.kind}/{spec.target.name}"
    if not newest and declared is not None:
        found = [words.restored(target, declared.action, target_ref=_path(declared))]
    else:
        found = [_restored(spec, target, newest[axis], noted, steps) for axis in Axis if axis in newest]
    return f"{'; '.join(found) or 'it serves again'}, and the lock is removed"


def _restored(spec: EscalationSpec, target: str, intent: Intent, noted: Restore | None, steps: str) -> str:
    known = (noted, intent.restore, intent.evidence or spec.evidence)
    replicas = next((of.replicas for of in known if of is not None and of.replicas is not None), None)
    text = words.restored(
        target, intent.action, target_ref=intent.target_ref, revision=intent.revision, replicas=replicas
    )
    return f"{text}{steps}" if intent.action is ContainmentAction.SCALE_TO_ZERO else text


def _path(containment: Containment) -> NetworkTargetRef | None:
    return words.path_of(containment.fallback) if containment.action is ContainmentAction.FALLBACK else None
