"""One line that says where an escalation stands: in which tier and why, and whether the model is contained."""

from __future__ import annotations

from riskladder.api.conditions import ConditionStatus
from riskladder.api.decision import DecisionAction
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.policy.draft import Draft
from riskladder.policy.signals.particulars import read_values

UNCONFIRMED = (Reason.CONTAINMENT_APPLIED, Reason.PODS_UNCONFIRMED)
"""It was done, and is not proved."""

ABOUT_TO = (Reason.CONTAINMENT_INTENDED, Reason.CONTAINMENT_DUE)
"""It is done within moments."""

_WHY = {
    Reason.STALLED: "since nobody acknowledged or decided in time",
    Reason.CONTAINMENT_LATE: "since the containment was not proved in time",
    Reason.CONTAINMENT_INEFFECTIVE: "since the revision that was gone back to breaches, too",
    Reason.CONTENTION: "since somebody keeps reverting the containment",
    Reason.RISK_ACCEPTANCE_EXPIRED: "since the acceptance of its risk has ended",
}
"""Why a rung was entered, where no reading of its tier is the cause."""


def what(draft: Draft) -> str:
    """Return the model and its workload, in a few words."""
    spec = draft.escalation.spec
    target = f"{spec.target.kind} {spec.target.name}"
    return f"{spec.model.name} ({target})" if spec.model else target


def summarise(draft: Draft) -> str:
    """Return what happened and what was done about it, in one line."""
    signal = draft.cause(draft.rung.tier)
    silence = draft.group.silence(draft.rung.tier) if draft.group else ""
    if silence:
        cause = silence
    elif signal.manual is not None:
        cause = f"raised by {signal.manual.raised_by or 'hand'}: {signal.manual.rationale}"
    else:
        cause = read_values(draft.policy, signal, most=4, form="{} is {}")
    why = _why_entered(draft)
    stands = f"is in tier {draft.rung.tier}"
    about = f"{stands}, {why}; read last: {cause}" if why else f"{stands}: {cause}"
    return f"{what(draft)} {about}{_contained(draft)}"[:900]


def serves(draft: Draft) -> str:
    """Return what serves now: a version of the model, what stands in for it, or no pod of it. Empty for a drill.

    Of other workloads, whose pods a Service may list as well, nothing is known.
    """
    escalation = draft.escalation
    spec = escalation.spec
    if spec.drill:
        return ""
    found = draft.conditions.get(ConditionType.CONTAINED)
    if found is not None and found.reason == Reason.TARGET_DELETED:
        return "nothing, since the workload was deleted"
    version = f"version {spec.model.version}" if spec.model and spec.model.version else "what was deployed"
    ended = max(escalation.ended_intent, draft.resume.intent if draft.resume else 0)
    intents = {intent.action: intent for intent in escalation.in_force.values() if intent.id > ended}
    if not intents:
        return version
    if found is None or found.status is not ConditionStatus.TRUE:
        return f"perhaps still {version}: it is not proved yet that it is contained"
    if ContainmentAction.FALLBACK in intents:
        return f"its fallback, in place of {version}"
    if ContainmentAction.SCALE_TO_ZERO in intents:
        return f"no pod of {spec.target.kind} {spec.target.name}"
    if ContainmentAction.ISOLATE in intents:
        return "nothing: its pods run, and nobody reaches them"
    back = intents[ContainmentAction.ROLLBACK].revision
    return f"revision {back}, which was known to be good, in place of {version}"


def _why_entered(draft: Draft) -> str:
    """Return why the rung was entered, where the readings are not the cause."""
    reason = draft.rung.reason
    if reason == Reason.ESCALATED_MANUALLY:
        counted = [d for d in draft.decisions if d.counted and d.action is DecisionAction.ESCALATE]
        raised = [d for d in counted if d.tier == draft.rung.tier]
        return f"raised by {raised[-1].by} as {raised[-1].role}" if raised else "raised by a decision"
    return next((text for known, text in _WHY.items() if known == reason), "")


def _contained(draft: Draft) -> str:
    """Return whether the model is contained, in a sentence for people who know no Kubernetes."""
    found = draft.conditions.get(ConditionType.CONTAINED)
    if found is None:
        return ""
    message = found.message
    if draft.escalation.spec.drill:
        return f". Drill: {message}"
    if found.status is ConditionStatus.TRUE and found.reason != Reason.TARGET_DELETED:
        return f". Contained: yes, {message}"
    if found.reason == Reason.TARGET_DELETED:
        return f". {message[:1].upper()}{message[1:]}"
    if found.reason in UNCONFIRMED:
        was_proved = any(status.pods_gone_at is not None for status in draft.containments.values())
        word = "no longer confirmed" if was_proved else "not confirmed yet"
        return f". Contained: {word} at {draft.now:%H:%M:%S} UTC: {message}"
    word = "not yet:" if found.reason in ABOUT_TO else "no,"
    return f". Contained: {word} {message}"
