"""The writes of a plan: on the target, on what its traffic passes, on companion workloads. Each a compare-and-swap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from riskladder.api.base import Duration
from riskladder.api.hold import Hold
from riskladder.api.intent import Intent
from riskladder.api.reasons import Reason
from riskladder.api.tiers import OWN_GRACE, ContainmentAction
from riskladder.policy.containment.state import declared_for
from riskladder.policy.plan import Effect, Phase, Plan, Rollback, Stop
from riskladder.policy.snapshot import Snapshot
from riskladder.workloads.companions import keda, suspend
from riskladder.workloads.companions.suspend import Companion
from riskladder.workloads.holding import release_patch, with_hold
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.results import Impossible, ObjectWrite, Write
from riskladder.workloads.safe_states import fallback, isolate, prompt_stop


def with_write(snapshot: Snapshot, plan: Plan) -> Plan:
    """Return a plan whose stop has its write."""
    if plan.stop is None or snapshot.target is None:
        return plan
    ends = tuple(pod_ends(snapshot, plan.stop))
    return replace(plan, stop=replace(plan.stop, effect=stop_write(snapshot.target, plan.stop), ends=ends))


def pod_ends(snapshot: Snapshot, stop: Stop) -> Iterator[Effect]:
    """Yield the deletions of the pods that a stop is to end soon, where the operator may and the tier wants that."""
    workload = snapshot.target
    if workload is None or not snapshot.ends_pods or stop.action is not ContainmentAction.SCALE_TO_ZERO:
        return
    opened = next((e.spec.policy for e in snapshot.open if e.name == stop.escalation), None)
    containment = declared_for(stop.policy or opened, stop.intent)
    if containment.grace != OWN_GRACE:
        for write in prompt_stop.ends(workload.active_pods(), seconds_of(containment.grace)):
            yield Effect.of(Phase.STOP, write, stop.escalation)


def seconds_of(grace: str) -> int | None:
    """Return how many seconds a pod may take to end; ``None`` for as many as it asks for itself."""
    return None if grace == OWN_GRACE else int(Duration(grace).delta.total_seconds())


def stop_write(workload: Workload, stop: Stop) -> Effect | Impossible:
    """Return the one write that contains, or why there is none."""
    what = f"{workload.kind} {workload.name}"
    if stop.intent.target_ref is not None:
        write = network_write(workload, stop.intent, stop.hold, stop.lock)
        if isinstance(write, Impossible):
            return Impossible(f"{what}: {write.why}")
        return Effect.of(Phase.STOP, write, stop.escalation)
    if stop.intent.reason == Reason.ALREADY_AT_ZERO and not stop.again:
        held = with_hold(_as_seen(workload), workload, stop.hold, stop.lock)
        return Effect.on(Phase.STOP, workload, held, stop.escalation)
    if stop.action is ContainmentAction.ROLLBACK and stop.revision is not None:
        effect = Effect.on(Phase.STOP, workload, Write([]), stop.escalation)
        return replace(effect, rollback=Rollback(workload, stop.revision, stop.hold, stop.lock))
    stopping = workload.runtime.stop(workload)
    if isinstance(stopping, Impossible):
        return Impossible(f"{what} cannot be stopped: {stopping.why}")
    return Effect.on(Phase.STOP, workload, with_hold(stopping, workload, stop.hold, stop.lock), stop.escalation)


def network_write(workload: Workload, intent: Intent, hold: Hold | None, lock: str) -> ObjectWrite | Impossible:
    """Return the write that carries out an intent which does not act on the workload itself."""
    target_ref = intent.target_ref
    if target_ref is None or hold is None:
        return Impossible("no evidence of it was ever taken")
    if target_ref.kind != NETWORKPOLICIES.kind:
        return fallback.divert(workload, target_ref, hold, lock)
    return isolate.isolate(workload, target_ref, hold, lock)


def rehearsal_write(workload: Workload, stop: Stop) -> Effect:
    """Return the same write as a dry run, without a hold on the workload: nothing is to say that it is contained."""
    bare = stop if stop.intent.target_ref is not None else replace(stop, hold=None)
    found = stop_write(workload, bare)
    if isinstance(found, Impossible):
        nothing = Effect.on(Phase.REHEARSE, workload, Write([]), stop.escalation, dry_run=True)
        return replace(nothing, impossible=found.why)
    return replace(found, phase=Phase.REHEARSE, dry_run=True)


def restore_write(workload: Workload, escalation: str, write: Write, hold: Hold | None, lock: str) -> Effect:
    """Return the patch that restores the workload.

    In the same write it is held no more, or for another escalation that holds it still.

    Args:
        workload: As it was seen.
        escalation: Name of the escalation whose Resume it is.
        write: What its runtime restores.
        hold: The hold of another escalation.
        lock: The action that the lock is to hold it to then.
    """
    if write.subresource is None and hold is None:
        write = Write([*write.patch, *release_patch(workload.carried)])
    return Effect.on(Phase.RESTORE, workload, with_hold(write, workload, hold, lock), escalation)


def switch_write(seen: Companion, escalation: str, *, suspend_it: bool, value: str | None = None) -> Effect:
    """Return the patch that suspends a companion workload, or lets it run again.

    Args:
        seen: As it was seen.
        escalation: Name of the escalation.
        suspend_it: Whether to suspend it.
        value: What stood where it is suspended, before: that is restored, where it is no switch.
    """
    if seen.kind == keda.SCALEDOBJECTS.kind:
        patch = keda.switch(seen, suspend=suspend_it, value=value)
    else:
        patch = suspend.switch(seen, suspend=suspend_it)
    resource = suspend.RESOURCES.get(seen.kind, keda.SCALEDOBJECTS)
    return Effect.of(Phase.COMPANION, ObjectWrite(resource, seen.name, "patch", patch), escalation)


def _as_seen(workload: Workload) -> Write:
    """Return a patch that changes nothing, if the workload is as it was seen: it is only held."""
    seen = {"/metadata/uid": workload.uid, "/metadata/resourceVersion": workload.resource_version}
    return Write([{"op": "test", "path": path, "value": value} for path, value in seen.items()])
