"""How what was overwritten of other objects is restored."""

from __future__ import annotations

from riskladder.api.intent import NetworkTargetRef
from riskladder.policy.containment.others import object_of, of_others
from riskladder.policy.snapshot import Escalation, Snapshot
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.results import ObjectWrite
from riskladder.workloads.safe_states import fallback, isolate
from riskladder.workloads.safe_states.network_path import Conflict, NotReady


def back(
    snapshot: Snapshot, workload: Workload, escalation: Escalation
) -> dict[str, ObjectWrite | Conflict | NotReady | None]:
    """Return by ``Kind/name`` how what was overwritten of other objects is restored, or that it has been.

    What another escalation holds as well is left to its Resume.
    """
    held = {object_of(holding.intent) for holding in of_others(snapshot, escalation.name)}
    restore, resume = escalation.status.restore, escalation.status.resume
    asked = workload.replicas or (resume is not None and resume.steps)
    found: dict[str, ObjectWrite | Conflict | NotReady | None] = {}
    for field in restore.fields if restore else ():
        if not field.object or field.object in held:
            continue
        kind, _, name = field.object.partition("/")
        if kind == NETWORKPOLICIES.kind:
            found[field.object] = isolate.restore(workload, NetworkTargetRef(kind=kind, name=name))
            continue
        found[field.object] = fallback.restore(workload, field)
        if isinstance(found[field.object], ObjectWrite) and asked and not any(p.ready for p in workload.pods):
            found[field.object] = NotReady(f"{field.object} is restored once a pod of the {workload.kind} is ready")
    return found
