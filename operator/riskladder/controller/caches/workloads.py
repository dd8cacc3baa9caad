"""The cache of serving workloads: each joined with its history, its pods and their ready endpoints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from riskladder.cluster import resources
from riskladder.controller.caches.endpoints import ListedAddresses, Name, Object, pod_of, serves
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.model import Pod, Revision, Runtime, Workload
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.runtimes import argo, deployment, ray, statefulset
from riskladder.workloads.runtimes.replicas import controller_uid, read_pod

SERVICE_NAME = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service."""


MAX_VANISHED = 1024
"""Pods of which it is remembered that they have vanished without the word of their node."""

MAX_SERVED = 16
"""Pod templates of one workload of which it is remembered that they were available."""


class WorkloadCache:
    """Workloads and what belongs to them, each cut down to the facts that decisions need.

    Pods belong to a workload by who controls them: the workload itself, or a revision of it. Where a runtime reports
    its pods by their labels instead, the pods of the namespace are gone through, and their labels are kept.
    """

    def __init__(
        self,
        runtimes: Runtimes,
        *,
        changed: Callable[[TargetKey, bool], None],
        moved: Callable[[TargetKey], None],
        served: Callable[[str, str], None] = lambda namespace, service: None,
    ) -> None:
        """Start empty.

        Args:
            runtimes: The kinds of workloads.
            changed: Called with a workload, and whether its spec, labels or identity changed (or only its status).
            moved: Called with a workload some of whose revisions, pods or endpoints changed.
            served: Called with the namespace and name of a Service whose endpoints changed.
        """
        self._runtimes = runtimes
        self._changed = changed
        self._moved = moved
        self._served = served
        self._labelled = runtimes.by_labels or bool(runtimes.changes)
        self._services: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        """By namespace and Service: names of its slices, where traffic may be sent elsewhere."""
        self._serving: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        """By namespace and Service: the pods that its slices list as ready."""
        self._workloads: dict[TargetKey, Workload] = {}
        self.carrying: set[TargetKey] = set()
        """The workloads that carry anything of a containment."""
        self._keys: dict[str, TargetKey] = {}
        """By uid of the workload."""
        self._revisions: dict[str, dict[str, Revision]] = defaultdict(dict)
        """By uid of the workload, by uid of the revision."""
        self._revision_owner: dict[str, str] = {}
        self._orphans: dict[str, set[str]] = defaultdict(set)
        """By uid of the workload: revisions that are gone and have pods left, which may still answer."""
        self._pods: dict[str, dict[str, Pod]] = defaultdict(dict)
        """By uid of the controller (or by namespace where there is none), by name of the pod."""
        self._deleted_pods: dict[str, dict[str, Pod]] = defaultdict(dict)
        """By the same: pods that are gone but that some slice still lists as ready."""
        self._vanished: dict[str, tuple[str, str, Pod]] = {}
        """By uid of the pod, oldest first: its namespace, the uid of its workload (as far as an owner names it), and
        it, since the API server has forgotten it and its node has not said that it has ended."""
        self._pod_owner: dict[str, dict[str, str]] = defaultdict(dict)
        """By namespace, by name of the pod: under what it is kept."""
        self._ready_in_slice: dict[Name, frozenset[str]] = {}
        self._addresses = ListedAddresses()
        """What slices list that is not of the pod that they name."""
        self._ready: Counter[Name] = Counter()
        """How many slices list a pod as ready."""
        self._by_labels: dict[str, dict[TargetKey, Mapping[str, str]]] = defaultdict(dict)
        """By namespace: the workloads whose pods are identified by their labels."""
        self._owning = {r.resource.kind for r in runtimes if r.history == deployment.REPLICASETS}
        self.readers: dict[str, tuple[Callable[[Object], None], Callable[[Object], None]]] = {
            resources.REPLICASETS.title: (self._put_replicaset, self._drop_revision),
            resources.CONTROLLERREVISIONS.title: (self._put_controllerrevision, self._drop_revision),
            resources.PODS.title: (self._put_pod, self._drop_pod),
            resources.ENDPOINTSLICES.title: (self._put_slice, self._drop_slice),
        }
        """By resource: how to take an object in, and how to forget it."""
        for runtime in runtimes:
            self.readers[runtime.resource.title] = (
                partial(self._put_workload, runtime),
                partial(self._drop_workload, runtime),
            )
        self._between: set[str] = set()
        """Kinds that stand between a workload and its pods, and may be targets themselves."""
        if any(runtime.history == ray.RAYCLUSTERS for runtime in runtimes):
            self._between.add(ray.RAYCLUSTERS.kind)
            put, drop = self.readers.get(ray.RAYCLUSTERS.title, (_nothing, _nothing))
            self.readers[ray.RAYCLUSTERS.title] = (
                partial(_each, (put, self._put_raycluster)),
                partial(_each, (drop, self._drop_revision)),
            )

    # --- Workloads and their history ------------------------------------------------------------------------------

    def _put_workload(self, runtime: Runtime, obj: Object) -> None:
        workload = runtime.read(obj)
        key = TargetKey(workload.namespace, workload.kind, workload.name)
        before = self._workloads.get(key)
        workload = replace(
            workload,
            template_since=_template_since(workload, before, obj),
            served=_served(workload, before),
        )
        if before is not None and not workload.current_hash and _same_template(before, workload):
            workload = replace(workload, current_hash=before.current_hash)  # until its controller has seen the rest
        self._workloads[key] = workload
        self._keys[workload.uid] = key
        if workload.carried.is_empty:
            self.carrying.discard(key)
        else:
            self.carrying.add(key)
        if workload.pod_labels is not None:
            self._by_labels[key.namespace][key] = workload.pod_labels
        changed = before is None or (before.uid, before.generation, before.labels, before.replicas) != (
            workload.uid,
            workload.generation,
            workload.labels,
            workload.replicas,
        )
        self._changed(key, changed)

    def _drop_workload(self, runtime: Runtime, obj: Object) -> None:
        metadata = obj["metadata"]
        key = TargetKey(metadata["namespace"], runtime.resource.kind, metadata["name"])
        self._keys.pop(metadata["uid"], None)
        if key in self._workloads and self._workloads[key].uid == metadata["uid"]:
            del self._workloads[key]
            self.carrying.discard(key)
            self._by_labels[key.namespace].pop(key, None)
            if not self._by_labels[key.namespace]:
                del self._by_labels[key.namespace]
            self._changed(key, False)

    def _put_replicaset(self, obj: Object) -> None:
        owner = controller_uid(obj["metadata"], self._owning)
        if owner:
            is_rollout = controller_uid(obj["metadata"], (argo.ROLLOUT.resource.kind,)) == owner
            self._put_revision(owner, argo.read_revision(obj) if is_rollout else deployment.read_replicaset(obj))

    def _put_controllerrevision(self, obj: Object) -> None:
        owner = controller_uid(obj["metadata"], (statefulset.STATEFULSET.resource.kind,))
        revision = statefulset.read_controllerrevision(obj) if owner else None
        if revision is not None:
            self._put_revision(owner, revision)

    def _put_raycluster(self, obj: Object) -> None:
        owner = controller_uid(obj["metadata"], (ray.RAYSERVICES.kind,))
        if owner:
            self._put_revision(owner, ray.read_owned(obj))

    def _put_revision(self, owner: str, revision: Revision) -> None:
        self._revisions[owner][revision.uid] = revision
        self._revision_owner[revision.uid] = owner
        self._orphans.get(owner, set()).discard(revision.uid)
        self._notify(owner)

    def _drop_revision(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        owner = self._revision_owner.get(uid)
        if owner is not None:
            self._revisions[owner].pop(uid, None)
            if not self._revisions[owner]:
                del self._revisions[owner]
            self._orphans[owner].add(uid)
            self._remove_orphan(uid)
            self._notify(owner)

    # --- Pods -----------------------------------------------------------------------------------------------------

    def _put_pod(self, obj: Object) -> None:
        pod = read_pod(obj, labelled=self._labelled)
        namespace = obj["metadata"]["namespace"]
        owner = pod.owner_uid or controller_uid(obj["metadata"], self._between)
        owner = owner or (f"{namespace}/" if self._runtimes.by_labels else "")
        if not owner:
            return
        self._vanished.pop(pod.uid, None)
        known = self._pods.get(self._owner_of((namespace, pod.name)), {}).get(pod.name)
        if known is None or known.ips != pod.ips:
            self._addresses.put_pod(namespace, pod.name, known.ips if known is not None else (), pod.ips)
        self._pods[owner][pod.name] = pod
        self._pod_owner[namespace][pod.name] = owner
        self._notify_of_pod(namespace, owner, pod)

    def _drop_pod(self, obj: Object) -> None:
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        owner = self._owner_of(name)
        if not owner:
            return
        pod = self._pods[owner].pop(name[1], None)
        if pod is not None:
            self._addresses.put_pod(name[0], pod.name, pod.ips, ())
        if not self._pods[owner]:
            del self._pods[owner]
        last = read_pod(obj, labelled=self._labelled) if pod is not None and "status" in obj else pod
        if last is not None and last.node:
            self._note_vanished(name[0], self._revision_owner.get(owner, owner), last)
        if pod is not None and name in self._ready:  # it counts as an endpoint until the slice is corrected
            self._deleted_pods[owner][name[1]] = pod
        else:
            self._forget_owner(name)
        self._notify_of_pod(name[0], owner, pod)
        self._remove_orphan(owner)

    def _note_vanished(self, namespace: str, workload: str, pod: Pod) -> None:
        """Remember a pod that has vanished while its containers ran by the last word of their node."""
        gone = replace(pod, active=False, ready=False, vanished_at=datetime.now(UTC))
        self._vanished[pod.uid] = (namespace, workload, gone)
        if len(self._vanished) > MAX_VANISHED:
            del self._vanished[next(iter(self._vanished))]

    def vanished(self, workload: str) -> tuple[Pod, ...]:
        """Return the pods of a workload, by its uid, that have vanished without the word of their node."""
        return tuple(pod for _, owner, pod in self._vanished.values() if owner == workload)

    def confirm(self, pod: str) -> None:
        """Forget that a pod, by its uid, has vanished: it has ended."""
        self._vanished.pop(pod, None)

    def _put_slice(self, obj: Object) -> None:
        metadata, namespace = obj["metadata"], obj["metadata"]["namespace"]
        listed = [(pod_of(e), e) for e in obj.get("endpoints") or () if serves(e.get("conditions") or {})]
        service = (metadata.get("labels") or {}).get(SERVICE_NAME)
        if service and self._runtimes.changes:
            self._services[namespace][service].add(metadata["name"])
        self._set_slice((namespace, metadata["name"]), frozenset(pod for pod, _ in listed if pod))
        self._set_addresses((namespace, metadata["name"]), [(pod, e.get("addresses") or ()) for pod, e in listed])
        if service and self._runtimes.changes:
            self._note_serving(namespace, service)
            self._served(namespace, service)

    def _drop_slice(self, obj: Object) -> None:
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self._set_slice((namespace, name), frozenset())
        self._set_addresses((namespace, name), ())
        for service, slices in list(self._services.get(namespace, {}).items()):
            if name in slices:
                slices.discard(name)
                if not slices:
                    del self._services[namespace][service]
                self._note_serving(namespace, service)
                self._served(namespace, service)

    def _note_serving(self, namespace: str, service: str) -> None:
        """Keep which pods a Service lists; what a snapshot was given of the namespace stays as it was."""
        slices = self._services.get(namespace, {}).get(service, ())
        ready = frozenset(pod for name in slices for pod in self._ready_in_slice.get((namespace, name), ()))
        known = self._serving[namespace]
        if slices and known.get(service) == ready:
            return
        self._serving[namespace] = {**known, service: ready}
        if not slices:
            del self._serving[namespace][service]

    def serving(self, namespace: str) -> Mapping[str, frozenset[str]]:
        """Return, by Service of a namespace, the pods that its slices list as ready, by reference or by address."""
        found = self._serving.get(namespace, {})
        by_hand: dict[str, frozenset[str]] = {}
        for service, slices in self._services.get(namespace, {}).items() if self._addresses else ():
            if addresses := self._addresses.listed_by((namespace, name) for name in slices):
                listed = self._addresses.pods_at(namespace, addresses)
                by_hand[service] = found.get(service, frozenset()).union(listed)
        return {**found, **by_hand} if by_hand else found

    def _set_addresses(self, name: Name, endpoints: Iterable[tuple[str, Iterable[Any]]]) -> None:
        namespace = name[0]
        for pod in self._addresses.pods_at(namespace, self._addresses.put_slice(name, endpoints)):
            owner = self._owner_of((namespace, pod))
            self._notify_of_pod(namespace, owner, self._pods[owner][pod])

    def serving_addresses(self, namespace: str) -> frozenset[str]:
        """Return the addresses that slices of a namespace list as ready and that are not of the pod that they name."""
        return self._addresses.of(namespace)

    def serving_names(self, namespace: str) -> frozenset[str]:
        """Return the names of the pods of a namespace that some slice lists as ready."""
        slices = (ready for (of, _), ready in self._ready_in_slice.items() if of == namespace)
        return frozenset(name for ready in slices for name in ready)

    def _set_slice(self, name: Name, ready: frozenset[str]) -> None:
        before = self._ready_in_slice.pop(name, frozenset())
        if ready:
            self._ready_in_slice[name] = ready
        concerned = {}
        for pod in before ^ ready:
            pod_name = (name[0], pod)
            owner = self._owner_of(pod_name)
            concerned[owner, pod] = self._pods.get(owner, {}).get(pod) or self._deleted_pods.get(owner, {}).get(pod)
            self._ready[pod_name] += 1 if pod in ready else -1
            if self._ready[pod_name] <= 0:
                del self._ready[pod_name]
                self._remove_deleted_pod(pod_name)
        owners = set()
        for (owner, _), facts in concerned.items():
            if owner not in owners or self._by_labels:
                self._notify_of_pod(name[0], owner, facts)
            owners.add(owner)
        for owner in owners:
            self._remove_orphan(owner)

    def _remove_deleted_pod(self, name: Name) -> None:
        owner = self._owner_of(name)
        if name[1] in self._deleted_pods.get(owner, ()):
            self._forget_owner(name)
            del self._deleted_pods[owner][name[1]]
            if not self._deleted_pods[owner]:
                del self._deleted_pods[owner]

    def _owner_of(self, name: Name) -> str:
        """Return under what a pod is kept; empty where it is not."""
        return self._pod_owner.get(name[0], {}).get(name[1], "")

    def _forget_owner(self, name: Name) -> None:
        del self._pod_owner[name[0]][name[1]]
        if not self._pod_owner[name[0]]:
            del self._pod_owner[name[0]]

    def _remove_orphan(self, uid: str) -> None:
        """Forget a revision that is gone once nothing of it is left."""
        owner = self._revision_owner.get(uid, "")
        if uid in self._orphans.get(owner, ()) and not self._pods.get(uid) and not self._deleted_pods.get(uid):
            del self._revision_owner[uid]
            self._orphans[owner].discard(uid)
            if not self._orphans[owner]:
                del self._orphans[owner]

    # --- Callbacks and reading ------------------------------------------------------------------------------------

    def _notify_of_pod(self, namespace: str, owner: str, pod: Pod | None) -> None:
        """Report a change of a pod to the workload that controls it, and to those that select it."""
        self._notify(self._revision_owner.get(owner, owner))
        if pod is not None:
            for key, labels in self._by_labels.get(namespace, {}).items():
                if labels.items() <= pod.labels.items():
                    self._moved(key)

    def _notify(self, uid: str) -> None:
        key = self._keys.get(uid)
        if key is not None:
            self._moved(key)

    def is_owned(self, owner_uid: str) -> bool:
        """Return whether what controls a pod belongs to a workload that is there, or is one."""
        return self._revision_owner.get(owner_uid, owner_uid) in self._keys

    def get(self, key: TargetKey) -> Workload | None:
        """Return a workload joined with its history (unless it reports its revisions itself), pods and endpoints."""
        base = self._workloads.get(key)
        if base is None:
            return None
        revisions = base.revisions or tuple(self._revisions.get(base.uid, {}).values())
        if base.pod_labels is not None:
            pods, deleted_pods = self._selected(key.namespace, base.pod_labels)
            wanted = base.pod_labels.items()
            gone = [p for ns, _, p in self._vanished.values() if ns == key.namespace and wanted <= p.labels.items()]
        else:
            owners = (base.uid, *(r.uid for r in revisions), *self._orphans.get(base.uid, ()))
            pods = tuple(pod for owner in owners for pod in self._pods.get(owner, {}).values())
            deleted_pods = sum(len(self._deleted_pods.get(owner, ())) for owner in owners)
            gone = list(self.vanished(base.uid)) if self._vanished else []
        # Who calls a pod ended while its node says that it runs has not asked the node.
        unconfirmed = (*gone, *(pod for pod in pods if pod.node and not pod.active))
        ready = sum((key.namespace, pod.name) in self._ready for pod in pods) + deleted_pods
        if self._addresses:
            others = (pod for pod in pods if (key.namespace, pod.name) not in self._ready)
            ready += sum(self._addresses.has_any_of(key.namespace, pod.ips) for pod in others)
        return replace(base, revisions=revisions, pods=pods, ready_endpoints=ready, unconfirmed=unconfirmed)

    def bare(self, key: TargetKey) -> Workload | None:
        """Return a workload as it was read, joined with nothing."""
        return self._workloads.get(key)

    def keys(self, namespace: str) -> list[TargetKey]:
        """Return the workloads of a namespace."""
        return [key for key in self._workloads if key.namespace == namespace]

    def _selected(self, namespace: str, labels: Mapping[str, str]) -> tuple[tuple[Pod, ...], int]:
        """Return the pods of a namespace with these labels, and how many are gone that a slice still lists as ready."""
        if not labels:
            return (), 0

        def matching(by_owner: Mapping[str, Mapping[str, Pod]]) -> Iterator[Pod]:
            for name, owner in self._pod_owner.get(namespace, {}).items():
                pod = by_owner.get(owner, {}).get(name)
                if pod is not None and labels.items() <= pod.labels.items():
                    yield pod

        return tuple(matching(self._pods)), sum(1 for _ in matching(self._deleted_pods))


def _each(readers: Iterable[Callable[[Object], None]], obj: Object) -> None:
    for reader in readers:
        reader(obj)


def _nothing(obj: Object) -> None:
    del obj


def _same_template(before: Workload, workload: Workload) -> bool:
    return before.uid == workload.uid and before.digest == workload.digest


def _served(workload: Workload, before: Workload | None) -> Mapping[str, datetime]:
    """Return which pod templates were seen to be available, the newest ones, and when first."""
    known = before.served if before is not None and before.uid == workload.uid else {}
    if not workload.is_available or workload.replicas == 0 or workload.digest in known:
        return known
    return dict([*known.items(), (workload.digest, datetime.now(UTC))][-MAX_SERVED:])


def _template_since(workload: Workload, before: Workload | None, obj: Object) -> datetime:
    """Return from when on the pod template has certainly been in place.

    The API server keeps the time of the write to the second only, cut off, so one second later it is certain; where the
    change was seen as it happened, this clock is finer.
    """
    if before is not None and _same_template(before, workload) and before.template_since:
        return before.template_since
    written = workload.template_set_at or obj["metadata"]["creationTimestamp"]
    return min(datetime.now(UTC), datetime.fromisoformat(written) + timedelta(seconds=1))
