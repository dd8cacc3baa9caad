"""The cache of serving workloads: Deployments joined with their ReplicaSets, pods and ready endpoints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from riskladder.cluster import resources
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads import deployment
from riskladder.workloads.facts import Pod, Revision, Workload

Object = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""


class WorkloadCache:
    """Deployments and what belongs to them, each cut down to the facts that decisions need."""

    def __init__(self, *, changed: Callable[[TargetKey, bool], None], moved: Callable[[TargetKey], None]) -> None:
        """Start empty.

        Args:
            changed: Told of a Deployment, and whether its spec, labels or identity changed (or only its status).
            moved: Told of a Deployment some of whose ReplicaSets, pods or endpoints changed.
        """
        self._changed = changed
        self._moved = moved
        self._deployments: dict[Name, Workload] = {}
        self._deployment_names: dict[str, Name] = {}
        self._revisions: dict[str, dict[str, Revision]] = defaultdict(dict)
        """By Deployment uid, by ReplicaSet uid."""
        self._revision_owner: dict[str, str] = {}
        self._orphans: dict[str, set[str]] = defaultdict(set)
        """By Deployment uid: ReplicaSets that are gone and have pods left, which may still answer."""
        self._pods: dict[str, dict[str, Pod]] = defaultdict(dict)
        """By ReplicaSet uid, by pod name."""
        self._pod_owner: dict[Name, str] = {}
        self._ghosts: dict[str, set[str]] = defaultdict(set)
        """By ReplicaSet uid: pods that are gone but that some slice still lists as ready."""
        self._ready_in_slice: dict[Name, frozenset[str]] = {}
        self._ready: Counter[Name] = Counter()
        """How many slices list a pod as ready."""
        self.readers: dict[str, tuple[Callable[[Object], None], Callable[[Object], None]]] = {
            resources.DEPLOYMENTS.plural: (self._put_deployment, self._drop_deployment),
            resources.REPLICASETS.plural: (self._put_replicaset, self._drop_replicaset),
            resources.PODS.plural: (self._put_pod, self._drop_pod),
            resources.ENDPOINTSLICES.plural: (self._put_slice, self._drop_slice),
        }
        """By resource: how to take an object in, and how to forget it."""

    def _put_deployment(self, obj: Object) -> None:
        workload = deployment.read_deployment(obj)
        name = (workload.namespace, workload.name)
        before = self._deployments.get(name)
        workload = replace(workload, template_since=_template_since(workload, before, obj))
        self._deployments[name] = workload
        self._deployment_names[workload.uid] = name
        key = TargetKey(workload.namespace, deployment.KIND, workload.name)
        changed = before is None or (before.uid, before.generation, before.labels) != (
            workload.uid,
            workload.generation,
            workload.labels,
        )
        self._changed(key, changed)

    def _drop_deployment(self, obj: Object) -> None:
        metadata = obj["metadata"]
        name = (metadata["namespace"], metadata["name"])
        self._deployment_names.pop(metadata["uid"], None)
        if name in self._deployments and self._deployments[name].uid == metadata["uid"]:
            del self._deployments[name]
            self._changed(TargetKey(name[0], deployment.KIND, name[1]), False)

    def _put_replicaset(self, obj: Object) -> None:
        owner = deployment.controller_uid(obj["metadata"], deployment.KIND)
        if not owner:
            return
        revision = deployment.read_replicaset(obj)
        self._revisions[owner][revision.uid] = revision
        self._revision_owner[revision.uid] = owner
        self._orphans.get(owner, set()).discard(revision.uid)
        self._tell(owner)

    def _drop_replicaset(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        owner = self._revision_owner.get(uid)
        if owner is not None:
            self._revisions[owner].pop(uid, None)
            if not self._revisions[owner]:
                del self._revisions[owner]
            self._orphans[owner].add(uid)
            self._lay_orphan(uid)
            self._tell(owner)

    def _put_pod(self, obj: Object) -> None:
        pod = deployment.read_pod(obj)
        if not pod.owner_uid:
            return
        self._pods[pod.owner_uid][pod.name] = pod
        self._pod_owner[(obj["metadata"]["namespace"], pod.name)] = pod.owner_uid
        self._tell(self._revision_owner.get(pod.owner_uid, ""))

    def _drop_pod(self, obj: Object) -> None:
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        owner = self._pod_owner.get(name)
        if owner is None:
            return
        self._pods[owner].pop(name[1], None)
        if not self._pods[owner]:
            del self._pods[owner]
        if name in self._ready:  # it counts as an endpoint until the slice is corrected
            self._ghosts[owner].add(name[1])
        else:
            del self._pod_owner[name]
        self._tell(self._revision_owner.get(owner, ""))
        self._lay_orphan(owner)

    def _put_slice(self, obj: Object) -> None:
        metadata = obj["metadata"]
        ready = frozenset(
            endpoint["targetRef"]["name"]
            for endpoint in obj.get("endpoints") or ()
            if (endpoint.get("targetRef") or {}).get("kind") == "Pod"
            and (endpoint.get("conditions") or {}).get("ready") is not False
        )
        self._set_slice((metadata["namespace"], metadata["name"]), ready)

    def _drop_slice(self, obj: Object) -> None:
        self._set_slice((obj["metadata"]["namespace"], obj["metadata"]["name"]), frozenset())

    def _set_slice(self, name: Name, ready: frozenset[str]) -> None:
        before = self._ready_in_slice.pop(name, frozenset())
        if ready:
            self._ready_in_slice[name] = ready
        owners = set()
        for pod in before ^ ready:
            pod_name = (name[0], pod)
            owners.add(self._pod_owner.get(pod_name, ""))
            self._ready[pod_name] += 1 if pod in ready else -1
            if self._ready[pod_name] <= 0:
                del self._ready[pod_name]
                self._lay_ghost(pod_name)
        for owner in owners:
            self._tell(self._revision_owner.get(owner, ""))
            self._lay_orphan(owner)

    def _lay_ghost(self, name: Name) -> None:
        owner = self._pod_owner.get(name)
        if owner is not None and name[1] in self._ghosts.get(owner, ()):
            del self._pod_owner[name]
            self._ghosts[owner].discard(name[1])
            if not self._ghosts[owner]:
                del self._ghosts[owner]

    def _lay_orphan(self, uid: str) -> None:
        """Forget a ReplicaSet that is gone once nothing of it is left."""
        owner = self._revision_owner.get(uid, "")
        if uid in self._orphans.get(owner, ()) and not self._pods.get(uid) and not self._ghosts.get(uid):
            del self._revision_owner[uid]
            self._orphans[owner].discard(uid)
            if not self._orphans[owner]:
                del self._orphans[owner]

    def _tell(self, deployment_uid: str) -> None:
        name = self._deployment_names.get(deployment_uid)
        if name is not None:
            self._moved(TargetKey(name[0], deployment.KIND, name[1]))

    def get(self, key: TargetKey) -> Workload | None:
        """A workload joined with its history, pods and endpoints."""
        base = self._deployments.get((key.namespace, key.name)) if key.kind == deployment.KIND else None
        if base is None:
            return None
        revisions = tuple(self._revisions.get(base.uid, {}).values())
        owners = (*(r.uid for r in revisions), *self._orphans.get(base.uid, ()))
        pods = tuple(pod for owner in owners for pod in self._pods.get(owner, {}).values())
        ready = sum((key.namespace, pod.name) in self._ready for pod in pods)
        ready += sum(len(self._ghosts.get(owner, ())) for owner in owners)
        return replace(base, revisions=revisions, pods=pods, ready_endpoints=ready)


def _template_since(workload: Workload, before: Workload | None, obj: Object) -> datetime:
    """From when on the pod template has certainly been in place.

    The API server keeps the time of the write to the second only, cut off, so one second later it is certain; where the
    change was seen as it happened, this clock is finer.
    """
    if before is not None and before.uid == workload.uid and before.digest == workload.digest and before.template_since:
        return before.template_since
    written = workload.template_set_at or obj["metadata"]["creationTimestamp"]
    return min(datetime.now(UTC), datetime.fromisoformat(written) + timedelta(seconds=1))
