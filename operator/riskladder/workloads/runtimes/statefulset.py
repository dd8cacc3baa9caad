"""StatefulSets: their history is their ControllerRevisions.

Source of the mechanics: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ (update strategies,
revision history).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from riskladder.api.foreign import time_in
from riskladder.api.resource import Resource
from riskladder.workloads.model import History, Revision, Workload
from riskladder.workloads.privileges import privileges
from riskladder.workloads.results import Impossible, Object
from riskladder.workloads.runtimes.replicas import REVISION_LABEL, Replicas, content_digest, template_digest

CONTROLLERREVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")


class StatefulSetRuntime(Replicas):
    """apps/v1 StatefulSet."""

    resource = Resource("apps", "v1", "statefulsets", "StatefulSet")
    history = CONTROLLERREVISIONS

    def read(self, obj: Object) -> Workload:
        """Return the facts; an update strategy that replaces no pods by itself is a reason against a rollback."""
        return replace(super().read(obj), no_rollback=_no_rollback(obj["spec"].get("updateStrategy") or {}))

    def rollback_target(self, workload: Workload, *, quarantined: str, history: History) -> Revision | Impossible:
        """Return it as for other workloads with a history, unless its update strategy leaves breached pods running."""
        if workload.no_rollback:
            return Impossible(workload.no_rollback)
        return super().rollback_target(workload, quarantined=quarantined, history=history)

    def template_of(self, old: Object) -> Mapping[str, Any]:
        """Return the pod template that a ControllerRevision holds."""
        template: Mapping[str, Any] = old["data"]["spec"]["template"]
        return template


def _no_rollback(strategy: Mapping[str, Any]) -> str:
    if strategy.get("type") == "OnDelete":
        return "its update strategy is OnDelete: pods of the breached revision would stay until somebody deletes them"
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        return f"its update strategy has partition {partition}: pods of a lower ordinal would stay as they are"
    return ""


STATEFULSET = StatefulSetRuntime()


def read_controllerrevision(obj: Object) -> Revision | None:
    """Return the facts of a ControllerRevision as a revision of its owner; ``None`` where it holds no pod template."""
    metadata = obj["metadata"]
    template = ((obj.get("data") or {}).get("spec") or {}).get("template")
    if template is None:
        return None
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        number=obj.get("revision", 0),
        hash=(metadata.get("labels") or {}).get(REVISION_LABEL) or metadata["name"],
        digest=template_digest(template),
        content=content_digest(template),
        created=time_in(metadata.get("creationTimestamp")),
        reused=True,  # as far as is known: a ControllerRevision that is used again has another number, and no more
        replicas=0,
        privileges=privileges(template),
    )
