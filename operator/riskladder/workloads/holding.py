"""What an object carries of its containment, in labels and an annotation; and the patches that write and remove that.

The label ``riskladder.dev/contained-by`` and the annotation ``riskladder.dev/containment`` count together only: both
name the same escalation, and the annotation names the uid of the object. Controllers copy either of them to what they
make (the Deployment controller copies annotations to its ReplicaSets, KServe copies labels to its Deployments), and
``kubectl rollout undo`` puts the annotations of a ReplicaSet in place of those of its Deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from riskladder.api.hold import Hold, read_hold, write_hold
from riskladder.api.labels import ANNOTATION_CONTAINMENT, FIELD_MANAGER, LABEL_CONTAINED_BY, LABEL_LOCK
from riskladder.workloads.results import JsonPatch, Write

ANCIENT = "ancient-changes"
"""The manager under which the API server gathers the oldest owners, where there are many."""

LABELS, ANNOTATIONS = "/metadata/labels", "/metadata/annotations"


@dataclass(frozen=True, slots=True)
class Carried:
    """What the metadata of an object say of a containment; empty for nearly every object."""

    by: str = ""
    """The escalation that the label names."""
    lock: str = ""
    """The action of the label that locks it."""
    text: str = ""
    """The annotation."""
    has_labels: bool = True
    has_annotations: bool = True
    """Whether it has any: a JSON Patch cannot add to a map that is not there."""
    is_ours: bool = True
    """Whether the operator has written the annotation."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a containment is there."""
        return not (self.by or self.lock or self.text)


class Held(Protocol):
    """An object that can carry a hold: a workload, or what its traffic passes."""

    @property
    def uid(self) -> str:
        """Its uid."""

    @property
    def resource_version(self) -> str:
        """Its resourceVersion."""

    @property
    def carried(self) -> Carried:
        """What it carries now."""


_NOTHING = {(a, b): Carried(has_labels=a, has_annotations=b) for a in (True, False) for b in (True, False)}
NOTHING = _NOTHING[True, True]


def read_carried(metadata: Mapping[str, Any]) -> Carried:
    """Return what the metadata of a stored object say of its containment."""
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    by, lock = str(labels.get(LABEL_CONTAINED_BY, "")), str(labels.get(LABEL_LOCK, ""))
    text = str(annotations.get(ANNOTATION_CONTAINMENT, ""))
    if not (by or lock or text):
        return _NOTHING[bool(labels), bool(annotations)]
    return Carried(by, lock, text, bool(labels), bool(annotations), _is_of_operator(metadata))


def _is_of_operator(metadata: Mapping[str, Any]) -> bool:
    """Return whether the annotation is as the operator wrote it, as far as managedFields show.

    Who writes another value takes it over; who applies the same one owns it as well.
    """
    field = f"f:{ANNOTATION_CONTAINMENT}"
    managers = [
        str(entry.get("manager", ""))
        for entry in metadata.get("managedFields") or ()
        if field in (((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {})
    ]
    return not managers or not {FIELD_MANAGER, ANCIENT}.isdisjoint(managers)


def held_by(carried: Carried, uid: str, *, made: bool = False) -> Hold | None:
    """Return the hold on an object, or ``None`` where what it carries does not count.

    The uid has to be there as it is written, since the lock looks for it in the text.

    Args:
        carried: What its metadata say.
        uid: Its uid.
        made: Whether it is of a kind that is created with its hold, which cannot name its uid.
    """
    if not carried.by or not carried.text or not carried.is_ours:
        return None
    hold = read_hold(carried.text)
    if hold is None or hold.escalation != carried.by:
        return None
    if hold.uid == uid and uid in carried.text:
        return hold
    return hold if made and not hold.uid else None


def _path(under: str, key: str) -> str:
    return f"{under}/{key.replace('~', '~0').replace('/', '~1')}"


def hold_labels(hold: Hold, lock: str) -> dict[str, str]:
    """Return the labels of what is held: by which escalation, and the action that the lock is to hold it to, if any."""
    return {LABEL_CONTAINED_BY: hold.escalation} | ({LABEL_LOCK: lock} if lock else {})


def hold_patch(carried: Carried, hold: Hold, lock: str, *, version: str, has_annotations: bool = False) -> JsonPatch:
    """Return the operations that put a hold on an object, to be sent with those that contain it.

    Args:
        carried: What it carries now.
        hold: The hold, with the uid of the object.
        lock: The action that the lock is to hold it to; empty for no lock.
        version: Its resourceVersion, tested only where a whole map is added: nobody else's entries may be lost by that.
        has_annotations: Whether the operations before these have made annotations.
    """
    labels = hold_labels(hold, lock)
    patch: JsonPatch = []
    if not carried.has_labels or not (carried.has_annotations or has_annotations):
        patch.append({"op": "test", "path": "/metadata/resourceVersion", "value": version})
    if carried.has_labels:
        patch += [{"op": "add", "path": _path(LABELS, key), "value": value} for key, value in labels.items()]
        if carried.lock and not lock:
            patch.append({"op": "remove", "path": _path(LABELS, LABEL_LOCK)})
    else:
        patch.append({"op": "add", "path": LABELS, "value": labels})
    text = write_hold(hold)
    if carried.has_annotations or has_annotations:
        patch.append({"op": "add", "path": _path(ANNOTATIONS, ANNOTATION_CONTAINMENT), "value": text})
    else:
        patch.append({"op": "add", "path": ANNOTATIONS, "value": {ANNOTATION_CONTAINMENT: text}})
    return patch


def with_hold(write: Write, facts: Held, hold: Hold | None, lock: str) -> Write:
    """Return a patch of an object with the hold that it is to carry, where there is one and it can carry it.

    Args:
        write: The patch.
        facts: The object that it was made for.
        hold: The hold.
        lock: The action that the lock is to hold it to; empty for no lock.
    """
    if hold is None or write.subresource is not None:
        return write
    hold = hold.model_copy(update={"uid": facts.uid})
    made = any(step["op"] == "add" and step["path"] == ANNOTATIONS for step in write.patch)
    more = hold_patch(facts.carried, hold, lock, version=facts.resource_version, has_annotations=made)
    return Write([*write.patch, *more])


def release_patch(carried: Carried) -> JsonPatch:
    """Return the operations that remove all of a hold from an object; none where it carries nothing."""
    patch: JsonPatch = []
    for key, value in ((LABEL_CONTAINED_BY, carried.by), (LABEL_LOCK, carried.lock)):
        if value:
            patch.append({"op": "test", "path": _path(LABELS, key), "value": value})
            patch.append({"op": "remove", "path": _path(LABELS, key)})
    if carried.text:
        patch.append({"op": "test", "path": _path(ANNOTATIONS, ANNOTATION_CONTAINMENT), "value": carried.text})
        patch.append({"op": "remove", "path": _path(ANNOTATIONS, ANNOTATION_CONTAINMENT)})
    return patch
