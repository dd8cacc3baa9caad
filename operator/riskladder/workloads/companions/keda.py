"""KEDA ScaledObjects that scale a model: paused at zero while it is contained.

A ScaledObject scales its target up from zero by itself, as soon as one of its triggers is active, so it would revert
what stops the model, or fail again and again at the lock. (A HorizontalPodAutoscaler does not: it is disabled while its
target has no replicas.) The annotation ``autoscaling.keda.sh/paused-replicas: "0"`` has KEDA delete its autoscaler and
leave the target at zero. Nothing is proved by that: the model is stopped and proved as always.

Source: https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling and, of how often KEDA asks for
the number that it is paused at, ``controllers/keda/scaledobject_controller.go`` (``handlePause``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from riskladder.api.resource import Resource
from riskladder.workloads.companions.suspend import Companion
from riskladder.workloads.grant import Component, Grant
from riskladder.workloads.results import JsonPatch

SCALEDOBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
ANNOTATION = "autoscaling.keda.sh/paused-replicas"
PAUSED = "0"
LONGEST = 1024
"""Characters of the annotation that are kept."""

KEDA = Component(
    "keda",
    (
        Grant(
            SCALEDOBJECTS.group,
            (SCALEDOBJECTS.plural,),
            ("get", "list", "patch"),
            "autoscalers: pauses the ScaledObjects that scale a contained model, and gives them back",
        ),
    ),
    "ScaledObjects (keda.sh/v1alpha1) that scale a model: paused at zero while it is contained",
)

_PATH = f"/metadata/annotations/{ANNOTATION.replace('~', '~0').replace('/', '~1')}"


def scales(obj: Mapping[str, Any], resource: Resource, name: str) -> bool:
    """Return whether a ScaledObject scales this target; without a kind it is a Deployment's."""
    reference = (obj.get("spec") or {}).get("scaleTargetRef") or {}
    kind, version = reference.get("kind") or "Deployment", reference.get("apiVersion") or "apps/v1"
    group = version.rpartition("/")[0]
    return (kind, group, reference.get("name")) == (resource.kind, resource.group, name)


def read(obj: Mapping[str, Any], *, found: bool = False) -> Companion:
    """Return the facts of a stored ScaledObject."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations")
    value = (annotations or {}).get(ANNOTATION)
    too_long = value is not None and len(value) > LONGEST
    return Companion(
        SCALEDOBJECTS.kind,
        metadata["name"],
        metadata["uid"],
        value == PAUSED,
        annotations is not None,
        problem=f"its annotation {ANNOTATION} is too long to be restored" if too_long else "",
        value=None if too_long else value,
        resource_version=metadata["resourceVersion"],
        found=found,
    )


def switch(seen: Companion, *, suspend: bool, value: str | None = None) -> JsonPatch:
    """Pause it at zero, or restore what stood there, if it is the same object in the same version.

    The version, since a JSON Patch cannot test that an annotation is absent.
    """
    wanted = PAUSED if suspend else value
    same = [
        {"op": "test", "path": "/metadata/uid", "value": seen.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": seen.resource_version},
    ]
    if wanted is None:
        return [*same, {"op": "remove", "path": _PATH}] if seen.value is not None else same
    if not seen.is_stated:
        return [*same, {"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: wanted}}]
    return [*same, {"op": "add", "path": _PATH, "value": wanted}]
