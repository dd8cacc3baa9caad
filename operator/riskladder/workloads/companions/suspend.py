"""Companion workloads that can be suspended: kinds with ``spec.suspend`` (batch/v1 CronJob and Job, Argo CronWorkflow).

What that does, by their documentation: a CronJob and a CronWorkflow start nothing new, and what they have started goes
on; a Job has its pods terminated, and starts them again once it runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from riskladder.api.resource import Resource
from riskladder.workloads.grant import Component, Grant
from riskladder.workloads.results import JsonPatch


@dataclass(frozen=True, slots=True)
class Companion:
    """A companion workload, as it was seen last."""

    kind: str
    name: str
    uid: str = ""
    suspended: bool = False
    is_stated: bool = False
    """Whether what suspends it is written out: a JSON Patch cannot replace what is not there."""
    problem: str = ""
    """Why it could not be seen, or be changed the last time."""
    value: str | None = None
    """What stands where it is suspended, where that is no switch; ``None`` where nothing does."""
    resource_version: str = ""
    found: bool = False
    """Whether it scales the model, as was found by looking; no policy has to name it."""


CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob")
JOBS = Resource("batch", "v1", "jobs", "Job")
CRONWORKFLOWS = Resource("argoproj.io", "v1alpha1", "cronworkflows", "CronWorkflow")

SWITCHED = (CRONJOBS, JOBS, CRONWORKFLOWS)
"""What has ``spec.suspend``."""

RESOURCES = {resource.kind: resource for resource in SWITCHED}

KINDS = (*(resource.kind for resource in SWITCHED), "ScaledObject")
"""The kinds that can be suspended."""

ARGO_WORKFLOWS = Component(
    "argo-workflows",
    (
        Grant(
            CRONWORKFLOWS.group,
            (CRONWORKFLOWS.plural,),
            ("get", "patch"),
            "alsoSuspend: suspends the CronWorkflows that a tier names as companion workloads, and lets them run again",
        ),
    ),
    "CronWorkflows (argoproj.io/v1alpha1) that a tier names in alsoSuspend",
)


def read(kind: str, obj: Mapping[str, Any]) -> Companion:
    """Return the facts of a stored object."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    return Companion(
        kind,
        metadata["name"],
        metadata["uid"],
        bool(spec.get("suspend")),
        "suspend" in spec,
        resource_version=metadata.get("resourceVersion", ""),
    )


def switch(seen: Companion, *, suspend: bool) -> JsonPatch:
    """Suspend it, or let it run again, if it is still the same object and as it was seen."""
    test = [{"op": "test", "path": "/spec/suspend", "value": seen.suspended}] if seen.is_stated else []
    return [
        {"op": "test", "path": "/metadata/uid", "value": seen.uid},
        *test,
        {"op": "add", "path": "/spec/suspend", "value": suspend},
    ]
