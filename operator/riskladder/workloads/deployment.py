"""Deployments: read facts, save evidence, scale to zero, roll back, prove it.

Source of the mechanics: the Deployment controller's own rollback (``kubectl rollout undo``), which puts the pod
template of an old ReplicaSet back without its ``pod-template-hash`` label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from riskladder.workloads.facts import OPERATOR, Image, JsonPatch, Pod, Revision, Workload

API_VERSION = "apps/v1"
KIND = "Deployment"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
HASH_LABEL = "pod-template-hash"


# --- Facts in -----------------------------------------------------------------------------------------------------


def template_digest(template: Mapping[str, Any]) -> str:
    """Digest of a pod template without its ``pod-template-hash`` label, so that it can be compared across owners."""
    return hashlib.sha256(json.dumps(_without_hash(template), sort_keys=True).encode()).hexdigest()[:16]


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(template.get("metadata") or {})
    metadata.pop("creationTimestamp", None)
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key != HASH_LABEL}
    if labels:
        metadata["labels"] = labels
    return {**template, "metadata": metadata}


def read_deployment(obj: Mapping[str, Any]) -> Workload:
    """The facts of a Deployment; history, pods and endpoints are joined by the cache."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    template = spec["template"]
    scaled = _last_writer(metadata, ("f:replicas",))
    templated = _last_writer(metadata, ("f:template",))
    return Workload(
        api_version=API_VERSION,
        kind=KIND,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        labels=dict(metadata.get("labels") or {}),
        replicas=spec.get("replicas", 1),
        updated_replicas=status.get("updatedReplicas", 0),
        total_replicas=status.get("replicas", 0),
        paused=bool(spec.get("paused", False)),
        digest=template_digest(template),
        replicas_set_by=scaled[0],
        replicas_set_at=scaled[1],
        template_set_by=templated[0],
        template_set_at=templated[1],
        declared_images=tuple(Image(c["name"], c.get("image", "")) for c in template["spec"].get("containers", ())),
    )


def read_replicaset(obj: Mapping[str, Any]) -> Revision:
    """The facts of a ReplicaSet as a revision of its Deployment."""
    metadata, spec = obj["metadata"], obj["spec"]
    number = (metadata.get("annotations") or {}).get(REVISION_ANNOTATION, "0")
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        number=int(number) if number.isdigit() else 0,
        hash=(metadata.get("labels") or {}).get(HASH_LABEL, ""),
        digest=template_digest(spec["template"]),
        replicas=(obj.get("status") or {}).get("replicas", 0),
    )


def read_pod(obj: Mapping[str, Any]) -> Pod:
    """The facts of a pod: what runs in it and whether it may still answer."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    ids = {s["name"]: s.get("imageID", "") for s in status.get("containerStatuses") or ()}
    return Pod(
        name=metadata["name"],
        owner_uid=controller_uid(metadata, "ReplicaSet"),
        active=status.get("phase") not in ("Succeeded", "Failed"),
        images=tuple(Image(c["name"], c.get("image", ""), ids.get(c["name"], "")) for c in spec.get("containers", ())),
    )


def controller_uid(metadata: Mapping[str, Any], kind: str) -> str:
    """uid of the controlling owner of that kind, or an empty string."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == kind:
            return str(owner["uid"])
    return ""


def _last_writer(metadata: Mapping[str, Any], path: tuple[str, ...]) -> tuple[str, str]:
    """Field manager and time of the newest managedFields entry that owns ``spec`` + path."""
    newest = ("", "")
    for entry in metadata.get("managedFields") or ():
        fields: Any = (entry.get("fieldsV1") or {}).get("f:spec")
        for part in path:
            fields = fields.get(part) if isinstance(fields, dict) else None
        if fields is not None and entry.get("time", "") >= newest[1]:
            newest = (str(entry.get("manager", "")), str(entry.get("time", "")))
    return newest


# --- Evidence and patches out -------------------------------------------------------------------------------------


def running_images(workload: Workload) -> tuple[Image, ...]:
    """Each distinct container, image and imageID that runs now, or what the template declares where nothing runs."""
    seen = {image: None for pod in workload.active_pods() for image in pod.images}
    return tuple(seen) or workload.declared_images


def scale_to_zero(workload: Workload) -> JsonPatch:
    """Replicas to zero, only if this is still the object and the number that was seen (a compare-and-swap)."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": workload.uid},
        {"op": "test", "path": "/spec/replicas", "value": workload.replicas},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why a rollback cannot be done."""

    why: str


def restore_replicas(workload: Workload, replicas: int) -> JsonPatch:
    """Bring replicas back, if it is still the same object and nobody has asked for others meanwhile.

    Args:
        workload: As it was seen.
        replicas: How many to ask for.
    """
    return [
        {"op": "test", "path": "/metadata/uid", "value": workload.uid},
        {"op": "test", "path": "/spec/replicas", "value": workload.replicas},
        {"op": "replace", "path": "/spec/replicas", "value": replicas},
    ]


def rollback_target(
    workload: Workload, *, quarantined: str, known_good: Iterable[str], breached: Iterable[str] = ()
) -> Revision | Impossible:
    """The revision to go back to.

    The newest revision whose hash was live while readings were at baseline, else the newest one before the quarantined
    one; never the quarantined one itself.

    Args:
        workload: The workload with its history.
        quarantined: ``pod-template-hash`` of the breached revision.
        known_good: Hashes that were live while readings were at baseline.
        breached: Hashes that an escalation was about: none of them is gone back to, unless it is known to be good.
    """
    if workload.paused:
        return Impossible("the Deployment is paused, so its controller would not roll anything out")
    if not quarantined:
        return Impossible("its controller has not yet recorded the current template as a revision")
    others = [r for r in workload.revisions if r.hash and r.hash != quarantined and r.digest != workload.digest]
    if not others:
        return Impossible("it has no earlier revision: this is its first, or revisionHistoryLimit is 0")
    good = set(known_good)
    known = [r for r in others if r.hash in good]
    if known:
        return max(known, key=lambda r: r.number)
    number = next((r.number for r in workload.revisions if r.hash == quarantined), None)
    previous = [r for r in others if number is None or r.number < number]
    if not previous:
        return Impossible("every other revision is newer than the breached one")
    bad = set(breached)
    previous = [r for r in previous if r.hash not in bad]
    if not previous:
        return Impossible("every earlier revision has breached before")
    return max(previous, key=lambda r: r.number)


def roll_back(deployment: Mapping[str, Any], replicaset: Mapping[str, Any]) -> JsonPatch:
    """The ReplicaSet's template put back, only if the Deployment is still the object and template that was read."""
    template = deepcopy(dict(replicaset["spec"]["template"]))
    labels = template.get("metadata", {}).get("labels", {})
    labels.pop(HASH_LABEL, None)
    return [
        {"op": "test", "path": "/metadata/uid", "value": deployment["metadata"]["uid"]},
        {"op": "test", "path": "/spec/template", "value": deployment["spec"]["template"]},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]


# --- Proof --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a containment has got; each step needs the one before it."""

    applied: bool
    """The write that contains has been accepted by the API server."""
    endpoints_empty: bool
    """No EndpointSlice lists a ready pod of what was contained."""
    pods_gone: bool
    """No pod of what was contained may still answer, and the controller has seen the write."""
    clear: bool
    """Nothing of what was contained is to be seen, whatever the controller has seen: a proof once given holds on."""
    left: str
    """What is still there, for people."""


def prove_scaled_to_zero(workload: Workload) -> Proof:
    """Zero replicas asked for, no ready endpoint, no pod left."""
    applied = workload.replicas == 0
    pods = len(workload.active_pods())
    empty = applied and workload.ready_endpoints == 0
    gone = empty and pods == 0 and workload.total_replicas == 0 and workload.observed_generation >= workload.generation
    left = f"{workload.ready_endpoints} ready endpoint(s), {pods} pod(s), {workload.replicas} replica(s) asked for"
    return Proof(applied, empty, gone, empty and pods == 0, left)


def prove_rolled_back(workload: Workload, *, quarantined: str, wanted: str) -> Proof:
    """The template gone back to in place, rolled out completely, and no pod of the quarantined revision left.

    Any third template is not that: the quarantined one with another annotation would be a new revision, too. One that
    its controller has not recorded yet is only where the operator wrote it itself.
    """
    current = workload.current
    bad = {r.digest for r in workload.revisions if r.hash == quarantined}
    applied = workload.digest not in bad and (
        current.hash == wanted if current else workload.template_set_by == OPERATOR
    )
    pods = len(workload.active_pods(quarantined))
    gone = applied and pods == 0 and workload.settled
    left = f"{pods} pod(s) of {quarantined}, {workload.updated_replicas} of {workload.replicas} replica(s) updated"
    return Proof(applied, gone, gone, applied and pods == 0, left)
