"""What runtimes with replicas and a pod template do alike.

Source of the mechanics: the Deployment controller's own rollback (``kubectl rollout undo``), which puts the pod
template of an old ReplicaSet back without its ``pod-template-hash`` label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any, ClassVar, TypedDict

from riskladder.api.foreign import time_in
from riskladder.api.intent import ImageRole
from riskladder.api.labels import FIELD_MANAGER, LABEL_CONTAINED_BY, LABEL_LOCK
from riskladder.api.resource import Resource
from riskladder.api.text import count, shared
from riskladder.workloads.grant import Grant
from riskladder.workloads.holding import Carried, read_carried
from riskladder.workloads.model import History, Image, Pod, Revision, Runtime, Workload
from riskladder.workloads.privileges import privileges
from riskladder.workloads.results import Impossible, Object, Verification, Write
from riskladder.workloads.runtimes.fitness import fittest

HASH_LABELS = ("pod-template-hash", "rollouts-pod-template-hash")
"""What controllers add to the labels of a pod template, to distinguish its pods from those of another."""

OWNERS = ("ReplicaSet", "StatefulSet")
"""What controls the pods of serving workloads."""

_CONTENT = ("name", "image", "command", "args", "env", "envFrom", "workingDir", "volumeMounts", "restartPolicy")

REVISION_LABEL = "controller-revision-hash"
"""Names the revision that a StatefulSet's pod is of."""

KUBELETS = frozenset({"kubelet", "k3s", "kubelite"})
"""The field managers of kubelets: each by the name of its program.

A kubelet (from 1.27 on, KEP-3329) says that the containers of a pod have ended before it lets the API server forget the
pod. What only plays a node, such as kwok, does not, and has no containers.
"""

LOST = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
"""Reasons of the condition DisruptionTarget by which controllers delete pods of a node that is not heard of."""


# --- Facts in -----------------------------------------------------------------------------------------------------


def template_digest(template: Mapping[str, Any]) -> str:
    """Return the digest of a pod template without its hash label, so that it can be compared across owners."""
    return _digest(_without_hash(template))


def _digest(content: Any) -> str:
    """Return a string that all who are told the same share: a workload, its revision, and many others."""
    return shared(hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16])


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    metadata.pop("creationTimestamp", None)
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key not in HASH_LABELS}
    if labels:
        metadata["labels"] = labels
    rest = {key: value for key, value in template.items() if key != "$patch"}
    return {**rest, "metadata": metadata}


def content_digest(template: Mapping[str, Any]) -> str:
    """Return the digest of what a pod template runs: the containers, and the volumes that may hold the model.

    Not of annotations, labels, resources, probes or where it runs: what differs in these alone serves the same.
    """
    spec = template.get("spec") or {}
    runs = [
        [{key: c.get(key) for key in _CONTENT} for c in spec.get(kind) or () if isinstance(c, Mapping)]
        for kind in ("initContainers", "containers")
    ]
    return _digest([runs, spec.get("volumes")])


def declared_images(template: Mapping[str, Any]) -> tuple[Image, ...]:
    """Return the images of a pod template, those of init containers, sidecars and volumes among them."""
    return _images(template.get("spec") or {}, {})


_image = lru_cache(maxsize=1024)(Image)
"""The same for every pod and every template that runs it."""


def _images(spec: Mapping[str, Any], ids: Mapping[str, str]) -> tuple[Image, ...]:
    """Yield the images that a pod spec names, with the digest by name of the container where it is known."""

    def each() -> Iterator[Image]:
        for c in spec.get("containers") or ():
            yield _image(str(c["name"]), str(c.get("image") or ""), ids.get(c["name"], ""))
        for c in spec.get("initContainers") or ():
            role = ImageRole.SIDECAR if c.get("restartPolicy") == "Always" else ImageRole.INIT_CONTAINER
            yield _image(str(c["name"]), str(c.get("image") or ""), ids.get(c["name"], ""), role)
        for volume in spec.get("volumes") or ():
            if source := volume.get("image"):
                yield _image(str(volume["name"]), str(source.get("reference") or ""), "", ImageRole.VOLUME)

    return tuple(each())


def read_pod(obj: Object, *, labelled: bool = False) -> Pod:
    """Return the facts of a pod: what runs in it and whether it may still answer.

    Args:
        obj: As stored.
        labelled: Keep its labels, for runtimes whose pods are identified by them.
    """
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    shown = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    ready: Mapping[str, Any] = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    is_ready = ready.get("status") == "True"
    labels = metadata.get("labels") or {}
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner_uid=controller_uid(metadata, OWNERS),
        active=status.get("phase") not in ("Succeeded", "Failed"),
        images=_images(spec, {s["name"]: s.get("imageID", "") for s in shown}),
        revision=labels.get(REVISION_LABEL, ""),
        labels=dict(labels) if labelled else {},
        ready=is_ready,
        generate_name=str(metadata.get("generateName") or ""),
        ips=tuple(str(found["ip"]) for found in status.get("podIPs") or () if found.get("ip")),
        created=time_in(metadata.get("creationTimestamp")),
        is_ending=bool(metadata.get("deletionTimestamp")),
        node=_runs_on(metadata, spec, status, shown),
        grace=int(spec.get("terminationGracePeriodSeconds") or 30),
        ready_since=time_in(ready.get("lastTransitionTime")) if is_ready else None,
    )


def _runs_on(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any], shown: Iterable[Mapping[str, Any]]
) -> str:
    """Return the node that says last that some container of a pod runs; empty where no kubelet does.

    A phase alone is no word of a node: the garbage collector of pods sets Failed for nodes that are gone.
    """
    if not any((container.get("state") or {}).get("running") for container in shown):
        return ""
    by, _ = last_writer(metadata, "f:containerStatuses", under="f:status")
    return str(spec.get("nodeName") or "") if by in KUBELETS or _is_lost(status) else ""


def _is_lost(status: Mapping[str, Any]) -> bool:
    """Return whether a controller has given up the node of a pod."""
    if status.get("reason") == "NodeLost":
        return True
    reasons = {c.get("type"): c.get("reason") for c in status.get("conditions") or () if isinstance(c, Mapping)}
    return reasons.get("DisruptionTarget") in LOST or reasons.get("Ready") in ("NodeNotReady", "NodeLost")


def controller_uid(metadata: Mapping[str, Any], kinds: Collection[str]) -> str:
    """Return the uid of the controlling owner of one of those kinds, or an empty string."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") in kinds:
            return str(owner["uid"])
    return ""


def last_writer(metadata: Mapping[str, Any], *path: str, under: str = "f:spec") -> tuple[str, str]:
    """Return the field manager and time of the newest managedFields entry that owns ``under`` + path."""
    newest = ("", "")
    for entry in metadata.get("managedFields") or ():
        fields: Any = (entry.get("fieldsV1") or {}).get(under)
        for part in path:
            fields = fields.get(part) if isinstance(fields, dict) else None
        if fields is not None and entry.get("time", "") >= newest[1]:
            newest = (shared(str(entry.get("manager", ""))), str(entry.get("time", "")))
    return newest


def running_images(workload: Workload) -> tuple[Image, ...]:
    """Return each container, image and imageID that runs now, or what the template declares where nothing runs."""
    seen = {image: None for pod in workload.active_pods() for image in pod.images}
    return tuple(seen) or workload.declared_images


class Identity(TypedDict):
    """The facts that say which object a workload is, for every kind alike."""

    runtime: Runtime
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    labels: Mapping[str, str]
    carried: Carried


def identity(runtime: Runtime, obj: Object) -> Identity:
    """Return which object it is."""
    metadata = obj["metadata"]
    carried, labels = read_carried(metadata), dict(metadata.get("labels") or {})
    if not carried.is_empty:  # they say nothing about what the workload is
        labels = {key: value for key, value in labels.items() if key not in (LABEL_CONTAINED_BY, LABEL_LOCK)}
    return Identity(
        runtime=runtime,
        api_version=runtime.resource.api_version,
        kind=runtime.resource.kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        labels=labels,
        carried=carried,
    )


def prove_gone(workload: Workload, more: str | None = None, *, known: bool = True) -> Verification:
    """Verify that nothing is asked for, nothing serves, no pod is left, and its controller has seen that.

    Args:
        workload: As it is now.
        more: What else is said of what is left; by default how many replicas are asked for.
        known: Whether it is known which pods are its own.
    """
    applied, pods = workload.replicas == 0, len(workload.active_pods())
    empty = applied and known and workload.ready_endpoints == 0
    seen = workload.observed_generation >= workload.generation
    gone = empty and pods == 0 and workload.total_replicas == 0 and seen
    if more is None:
        more = f"{count(workload.replicas, 'replica')} asked for" if workload.replicas else ""
    parts = [count(workload.ready_endpoints, "ready endpoint")] if workload.ready_endpoints else []
    parts += [count(pods, "pod")] if pods else []
    parts += [more] if more else []
    if not parts and not gone:
        parts = ["what its controller has not confirmed yet"]
    return Verification(applied, empty, gone, empty and pods == 0, ", ".join(parts))


# --- The runtime --------------------------------------------------------------------------------------------------


class NoRollback:
    """A kind of which no earlier revision can be gone back to."""

    content: str = ""
    annotates: bool = True
    carries_rollback: bool = True
    no_history: ClassVar[str]
    """Why, for people; ``{kind}`` stands for the kind."""

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return that there is none."""
        return Impossible(self.no_history.format(kind=workload.kind))

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Refuse: it is never asked for, since there is no target."""
        raise NotImplementedError

    def prove_rolled_back(self, workload: Workload, *, quarantined: str, wanted: str) -> Verification:
        """Return that nothing of the kind has happened."""
        return Verification(False, False, False, False, self.no_history.format(kind=workload.kind))


class Replicas:
    """A kind with ``spec.replicas``; with ``spec.template`` and a history, where it says so."""

    resource: ClassVar[Resource]
    component: str = ""
    history: Resource | None = None
    by_labels: bool = False
    annotates: bool = True
    carries_rollback: bool = True
    is_switch: bool = False
    permissions: tuple[Grant, ...] = ()
    level = "object.spec.?replicas.orValue(1)"
    content = (
        "[dyn(object.spec.template), dyn(object.spec.?paused.orValue(false)), "
        "dyn(object.spec.?minReadySeconds.orValue(0)), dyn(object.spec.?updateStrategy)]"
    )

    def read(self, obj: Object) -> Workload:
        """Return the facts of a stored object; history, pods and endpoints are joined by the cache."""
        metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        template = spec.get("template") or {}
        scaled = last_writer(metadata, "f:replicas")
        templated = last_writer(metadata, "f:template")
        return Workload(
            **identity(self, obj),
            observed_generation=int(status.get("observedGeneration") or 0),
            replicas=spec.get("replicas", 1),
            updated_replicas=status.get("updatedReplicas", 0),
            total_replicas=status.get("replicas", 0),
            paused=bool(spec.get("paused", False)),
            digest=template_digest(template),
            content=content_digest(template),
            available_replicas=status.get("availableReplicas", 0),
            replicas_set_by=scaled[0],
            replicas_set_at=scaled[1],
            template_set_by=templated[0],
            template_set_at=templated[1],
            declared_images=declared_images(template),
            selector=spec.get("selector") if isinstance(spec.get("selector"), Mapping) else None,
            privileges=privileges(template),
            template_labels=dict((template.get("metadata") or {}).get("labels") or {}),
        )

    def stop(self, workload: Workload) -> Write | Impossible:
        """Set replicas to zero, only if this is still the object and the number that was seen (a compare-and-swap)."""
        return self.restore(workload, 0, {})

    def stopping(self, workload: Workload) -> str:
        """Return what ``stop`` does, for people."""
        return f"scale from {workload.replicas} to 0"

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Bring replicas back, if it is still the same object and nobody has asked for others meanwhile."""
        return Write(
            [
                {"op": "test", "path": "/metadata/uid", "value": workload.uid},
                {"op": "test", "path": "/spec/replicas", "value": workload.replicas},
                {"op": "replace", "path": "/spec/replicas", "value": replicas},
            ]
        )

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return the revision to go back to.

        The newest one that is known to be good, else the newest one before the quarantined one that was seen serving,
        else simply the newest before it; in any case a fit one.
        """
        if workload.paused:
            return Impossible(f"the {workload.kind} is paused, so its controller would not roll anything out")
        if not quarantined:
            return Impossible("its controller has not yet recorded the current template as a revision")
        others = [r for r in workload.revisions if r.hash and r.hash != quarantined and r.digest != workload.digest]
        if not others:
            return Impossible("it has no earlier revision: this is its first, or revisionHistoryLimit is 0")
        number = next((r.number for r in workload.revisions if r.hash == quarantined), None)
        good = history.known_good
        candidates = [r for r in others if number is None or r.number < number or r.hash in good]
        if not candidates:
            return Impossible("every other revision is newer than the breached one")
        found = fittest(candidates, workload, history)
        return Impossible(found) if isinstance(found, str) else found

    def roll_back(self, live: Object, old: Object | None, to: Revision) -> Write:
        """Restore the old template, only if the workload is still the object and template that was read."""
        assert old is not None  # noqa: S101
        template = deepcopy(dict(self.template_of(old)))
        template.pop("$patch", None)
        labels = template.get("metadata", {}).get("labels", {})
        for label in HASH_LABELS:
            labels.pop(label, None)
        return Write(
            [
                {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
                {"op": "test", "path": "/spec/template", "value": live["spec"]["template"]},
                {"op": "replace", "path": "/spec/template", "value": template},
            ]
        )

    def template_of(self, old: Object) -> Mapping[str, Any]:
        """Return the pod template that an object of the history holds."""
        template: Mapping[str, Any] = old["spec"]["template"]
        return template

    def prove_stopped(self, workload: Workload) -> Verification:
        """Verify that zero replicas are asked for, nothing serves, and no pod is left."""
        return prove_gone(workload)

    def prove_rolled_back(self, workload: Workload, *, quarantined: str, wanted: str) -> Verification:
        """Verify that the earlier template is rolled out completely, and no pod of the quarantined revision is left.

        Any third template is not that: the quarantined one with another annotation would be a new revision, too. But
        one that the operator wrote itself is: a mutating admission policy may have made it of the one that was asked
        for, and would again.
        """
        current = workload.current
        bad = {r.digest for r in workload.revisions if r.hash == quarantined}
        is_wanted = current is not None and current.hash == wanted
        is_bad = workload.digest in bad or (current is not None and current.hash == quarantined)
        applied = not is_bad and (is_wanted or workload.template_set_by == FIELD_MANAGER)
        pods = len(workload.active_pods(quarantined))
        gone = applied and pods == 0 and workload.is_rolled_out
        updated = f"{workload.updated_replicas} of {count(workload.replicas, 'replica')} updated"
        left = f"{count(pods, 'pod')} of {quarantined}, {updated}"
        shown, available = "no pod of the revision before it is left", workload.available_replicas
        if available is not None and available < workload.replicas:
            shown += f"; of the one gone back to {available} of {count(workload.replicas, 'replica')} are available"
        if applied and current is not None and not is_wanted:
            shown += "; admission has changed what was restored"
        return Verification(applied, gone, gone, applied and pods == 0, left, shown)
