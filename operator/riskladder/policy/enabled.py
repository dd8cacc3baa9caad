"""What a ladder asks for that the operator has not been enabled to do."""

from __future__ import annotations

from collections.abc import Iterator

from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.tiers import OWN_GRACE, Connections, Containment, ContainmentAction
from riskladder.workloads.network import HTTPROUTES, NETWORKPOLICIES, SERVICES, not_enabled
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.safe_states.prompt_stop import PROMPT_STOP


def missing_components(spec: EscalationLadderSpec, runtimes: Runtimes) -> list[str]:
    """Return what needs a component that is not enabled, each with the field that asks for it.

    Of the kind of a target the signal speaks that names it: whoever may report makes no ladder one that is not ready.

    Args:
        spec: The ladder.
        runtimes: What is enabled.
    """
    return [
        f"spec.tiers[{index}].containment.{what}"
        for index, tier in enumerate(spec.tiers)
        if tier.containment is not None
        for what in _of_containment(tier.containment, runtimes)
    ]


def slow_stops(spec: EscalationLadderSpec, why: str) -> str:
    """Return which tiers stop a model more slowly than they ask for, and why; empty where none does.

    Args:
        spec: The ladder.
        why: Why the operator ends no pods of a model that it stops; empty where it does.
    """
    paths = [path for path, _ in graces(spec)]
    if not why or not paths:
        return ""
    return (
        f"{', '.join(paths)}: {why}: apply the component {PROMPT_STOP.component}; until then a stop takes as long as "
        "the pods' terminationGracePeriodSeconds, and a StatefulSet ends one pod after the other"
    )


def graces(spec: EscalationLadderSpec) -> list[tuple[str, str]]:
    """Return where the tiers that stop a model ask for its pods to end within a time, and which."""
    return [
        (f"spec.tiers[{index}].containment.grace", tier.containment.grace)
        for index, tier in enumerate(spec.tiers)
        if tier.containment is not None
        and tier.containment.action is ContainmentAction.SCALE_TO_ZERO
        and tier.containment.grace != OWN_GRACE
    ]


def ends_no_pods(runtimes: Runtimes) -> str:
    """Return why pods of a stopped model are not ended; empty where the component is enabled that does it."""
    return "" if runtimes.ends_pods else f"this operator ends no pods (--enable={PROMPT_STOP.component} does)"


def _of_containment(containment: Containment, runtimes: Runtimes) -> Iterator[str]:
    for field, action in (("action", containment.action), ("ifImpossible", containment.if_impossible)):
        kind = _changed_by(action, containment)
        if kind and kind not in runtimes.changes:
            yield f"{field} {action}: {not_enabled(kind)}"
    isolates = ContainmentAction.ISOLATE in (containment.action, containment.if_impossible)
    if isolates and containment.connections is Connections.CLOSE and (why := ends_no_pods(runtimes)):
        yield f"connections {containment.connections}: {why}; open connections may go on"
    for index, companion in enumerate(containment.also_suspend):
        if why := runtimes.not_suspended(companion.kind):
            yield f"alsoSuspend[{index}] {companion.kind}: {why}"


def _changed_by(action: ContainmentAction, containment: Containment) -> str:
    """Return the kind that a safe state changes in front of the model; empty where it changes the model itself."""
    if action is ContainmentAction.ISOLATE:
        return NETWORKPOLICIES.kind
    if action is not ContainmentAction.FALLBACK:
        return ""
    to = containment.fallback
    return HTTPROUTES.kind if to is not None and to.http_route is not None else SERVICES.kind
