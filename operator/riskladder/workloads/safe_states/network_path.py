"""What a safe state in front of a model needs: what may be changed there, the write, and what it overwrites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from riskladder.api.hold import Hold
from riskladder.api.intent import NetworkTargetRef, SavedField
from riskladder.workloads.holding import hold_patch
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NetworkObject, NetworkPath, not_enabled
from riskladder.workloads.results import Impossible, ObjectWrite


class Unsupported(Impossible):
    """The operator has not been allowed to; the reason says how it would be."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A safe state that can be brought about, and what it overwrites, as it was."""

    target_ref: NetworkTargetRef
    saved: SavedField
    message: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Not restored: somebody has changed it while it was Riskladder's."""

    why: str


@dataclass(frozen=True, slots=True)
class NotReady:
    """Not to be restored yet."""

    why: str


def reach(workload: Workload, kind: str) -> NetworkPath | Unsupported:
    """Return the network path of a workload, if the operator may change objects of that kind."""
    if workload.network_path is None or kind not in workload.network_path.enabled:
        return Unsupported(not_enabled(kind))
    return workload.network_path


def seen(workload: Workload, target_ref: NetworkTargetRef) -> NetworkObject | None:
    """Return the object, where it is there."""
    return workload.network_path.objects.get((target_ref.kind, target_ref.name)) if workload.network_path else None


def labels_of(workload: Workload) -> Iterable[Mapping[str, str]]:
    """Yield the labels of its pods: of those that run, and of those to come."""
    if workload.template_labels:
        yield workload.template_labels
    elif workload.pod_labels:
        yield workload.pod_labels
    yield from (pod.labels for pod in workload.pods if pod.active and pod.labels)


def held(write: ObjectWrite, found: NetworkObject, hold: Hold | None, lock: str) -> ObjectWrite:
    """Return a patch of an object with the hold that it is to carry, in the same write."""
    if hold is None:
        return write
    hold = hold.model_copy(update={"uid": found.uid})
    version = found.resource_version
    return replace(write, body=[*write.body, *hold_patch(found.carried, hold, lock, version=version)])
