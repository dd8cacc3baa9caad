"""Any kind with ``/scale`` that the settings allow: stopped and restored by its scale, rolled back never.

Of such a kind nothing is known but what its CustomResourceDefinition publishes by the usual paths: ``.spec.replicas``,
``.status.replicas`` and ``.status.selector``, which autoscalers go by, too.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from riskladder.api.resource import Resource
from riskladder.workloads.grant import Grant
from riskladder.workloads.model import Workload
from riskladder.workloads.results import Impossible, JsonPatch, Object, Verification, Write
from riskladder.workloads.runtimes.replicas import NoRollback, identity, last_writer, prove_gone

FORM = "GROUP/VERSION/PLURAL=KIND"
EXAMPLE = "example.dev/v1/scorers=Scorer"

_FORM = re.compile(
    r"(?P<group>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)/(?P<version>v[0-9]+((alpha|beta)[0-9]+)?)"
    r"/(?P<plural>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)=(?P<kind>[A-Z][A-Za-z0-9]{0,62})"
)
_TERM = re.compile(
    r"\s*(?P<key>([A-Za-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)\s*==?\s*(?P<value>[\w.-]*)\s*"
)
_NO_PATH = "it has no spec.replicas, so nothing says how it is stopped by its scale"
_UNPROVED = "its status.selector names no pods by equality alone, so nothing can be proved by them"


def parse(text: str) -> Resource:
    """Return a resource, of ``GROUP/VERSION/PLURAL=KIND``.

    Raises:
        ValueError: It is not of that form.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not {FORM}, for example {EXAMPLE}")
    return Resource(match["group"], match["version"], match["plural"], match["kind"])


def equalities(selector: str) -> dict[str, str] | None:
    """Return the labels that a selector in ``kubectl``'s form asks for; ``None`` where it asks for none, or more."""
    found: dict[str, str] = {}
    for term in selector.split(","):
        match = _TERM.fullmatch(term)
        if match is None or found.get(match["key"], match["value"]) != match["value"]:
            return None
        found[match["key"]] = match["value"]
    return found


class Scalable(NoRollback):
    """One kind with a scale subresource."""

    component = ""
    history: Resource | None = None
    by_labels = True
    level = "object.spec.?replicas.orValue(1)"
    annotates = False
    is_switch = False
    no_history = "a {kind} is known by its scale alone, which has no revisions"

    def __init__(self, resource: Resource) -> None:
        """Take the kind."""
        self.resource = resource
        self.permissions = (
            Grant(resource.group, (resource.plural,), ("get", "list", "watch"), "--scalable: the targets"),
            Grant(resource.group, (f"{resource.plural}/scale",), ("patch",), "--scalable: scales to zero"),
        )

    def read(self, obj: Object) -> Workload:
        """Return the facts of a stored object, by the usual paths; its pods are joined by the cache.

        A kind whose status has no ``observedGeneration`` does not say what its controller has seen: its pods say so.
        """
        metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        stated, generation = _number(spec.get("replicas"), -1), metadata.get("generation", 0)
        by, at = last_writer(metadata, "f:replicas")
        selector = status.get("selector")
        total = _number(status.get("replicas"), 0)
        return Workload(
            **identity(self, obj),
            observed_generation=_number(status.get("observedGeneration"), generation),
            replicas=stated if stated >= 0 else 1,
            updated_replicas=total,
            total_replicas=total,
            paused=False,
            digest="",
            replicas_set_by=by,
            replicas_set_at=at,
            pod_labels=equalities(selector) if isinstance(selector, str) else None,
            no_stop="" if stated >= 0 else _NO_PATH,
        )

    def stop(self, workload: Workload) -> Write | Impossible:
        """Set its scale to zero, only if this is still the object and the number that was seen."""
        return Impossible(workload.no_stop) if workload.no_stop else self.restore(workload, 0, {})

    def stopping(self, workload: Workload) -> str:
        """Return what ``stop`` does, for people."""
        return f"scale from {workload.replicas} to 0"

    def restore(self, workload: Workload, replicas: int, fields: Mapping[str, str | None]) -> Write:
        """Bring replicas back by the scale, if it is still the object and nobody has asked for others meanwhile.

        A Scale leaves ``spec.replicas`` out at zero (``omitempty``), so its whole ``spec`` is tested.
        """
        spec = {"replicas": workload.replicas} if workload.replicas else {}
        patch: JsonPatch = [
            {"op": "test", "path": "/metadata/uid", "value": workload.uid},
            {"op": "test", "path": "/spec", "value": spec},
            {"op": "add", "path": "/spec/replicas", "value": replicas},
        ]
        return Write(patch, subresource="scale")

    def prove_stopped(self, workload: Workload) -> Verification:
        """Verify that no replicas are asked for, and no pod is left that its selector names; without one: no proof."""
        proof = prove_gone(workload, known=workload.pod_labels is not None)
        return proof if workload.pod_labels is not None else replace(proof, left=f"{_UNPROVED}; {proof.left}")


def _number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
