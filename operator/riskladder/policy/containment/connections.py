"""Open connections under an Isolate: where they are to end, the pods from before its NetworkPolicy are restarted.

Each pod is deleted by name and uid, with the grace of the tier, once the policy is in place. Which pods those are
follows from when they and the policy were made, by the clock of the API server, so that an operator that starts again
goes on where the other one stopped, and restarts nothing twice. These times are whole seconds: the first deletion waits
for the next one, so that no pod that takes a place is taken for one from before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from riskladder.api.intent import Intent
from riskladder.api.tiers import Axis, Connections
from riskladder.policy.containment.state import declared_for, may_act
from riskladder.policy.containment.writes import seconds_of
from riskladder.policy.plan import Effect, Phase
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.safe_states import isolate, prompt_stop
from riskladder.workloads.safe_states.network_path import seen

TO_THE_SECOND = timedelta(seconds=1)
"""Resolution of the times by which pods are distinguished from those that replace them."""


def restarts(snapshot: Snapshot, now: datetime) -> tuple[tuple[Effect, ...], datetime | None]:
    """Return the deletions that are due, and when others will be.

    Args:
        snapshot: The target and everything that bears on it.
        now: The time.
    """
    if snapshot.target is None or not snapshot.ends_pods:
        return (), None
    effects: dict[str, Effect] = {}
    wakes = []
    for escalation in snapshot.open:
        intent = escalation.in_force.get(Axis.TRAFFIC)
        if intent is None or intent.connections is not Connections.CLOSE or not may_act(snapshot, escalation):
            continue
        due = _due(snapshot, intent)
        if due is not None and due > now:
            wakes.append(due)
        elif due is not None:
            effects |= {effect.name: effect for effect in _deletions(snapshot, escalation, intent)}
    return tuple(effects.values()), min(wakes, default=None)


def _due(snapshot: Snapshot, intent: Intent) -> datetime | None:
    """Return from when on pods may be distinguished; ``None`` while the policy is not in place."""
    workload, target_ref = snapshot.target, intent.target_ref
    if workload is None or target_ref is None:
        return None
    found = seen(workload, target_ref)
    if found is None or found.created is None or not isolate.in_place(workload, found):
        return None
    return found.created + TO_THE_SECOND


def _deletions(snapshot: Snapshot, escalation: Escalation, intent: Intent) -> list[Effect]:
    workload, target_ref = snapshot.target, intent.target_ref
    assert workload is not None  # noqa: S101
    assert target_ref is not None  # noqa: S101
    containment = declared_for(escalation.spec.policy, intent)
    pods = [pod for pod in isolate.from_before(workload, target_ref) if not pod.is_ending]
    writes = prompt_stop.ends(pods, seconds_of(containment.grace))
    return [Effect.of(Phase.RESTART, write, escalation.name) for write in writes]
