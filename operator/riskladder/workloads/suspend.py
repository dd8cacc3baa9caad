"""What is suspended beside a model: kinds with ``spec.suspend`` (batch/v1 CronJob and Job, Argo CronWorkflow)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from riskladder.workloads.facts import JsonPatch

KINDS = ("CronJob", "Job", "CronWorkflow")
"""The kinds that can be suspended."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A workload beside the model, as it was seen last."""

    kind: str
    name: str
    uid: str = ""
    suspended: bool = False
    is_stated: bool = False
    """Whether ``spec.suspend`` is written out: a JSON Patch cannot replace what is not there."""
    problem: str = ""
    """Why it could not be seen, or be changed the last time."""


def read(kind: str, obj: Mapping[str, Any]) -> Beside:
    """The facts of a stored object."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    return Beside(kind, metadata["name"], metadata["uid"], bool(spec.get("suspend")), "suspend" in spec)


def switch(seen: Beside, *, suspend: bool) -> JsonPatch:
    """Suspend it, or let it run again, if it is still the same object and as it was seen."""
    test = [{"op": "test", "path": "/spec/suspend", "value": seen.suspended}] if seen.is_stated else []
    return [
        {"op": "test", "path": "/metadata/uid", "value": seen.uid},
        *test,
        {"op": "add", "path": "/spec/suspend", "value": suspend},
    ]
