"""What traffic passes on its way to a workload: plain facts of Services, HTTPRoutes and NetworkPolicies.

They are no targets: a ladder names the first two itself, and the third is the operator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from riskladder.api.foreign import time_in
from riskladder.api.intent import NetworkTargetRef
from riskladder.api.resource import Resource
from riskladder.workloads.holding import NOTHING, Carried, read_carried
from riskladder.workloads.results import Object
from riskladder.workloads.selectors import matches

SERVICES = Resource("", "v1", "services", "Service")
HTTPROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
NETWORKPOLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")

COMPONENTS = {SERVICES.kind: "fallback", HTTPROUTES.kind: "fallback-httproute", NETWORKPOLICIES.kind: "isolate"}
"""The component that lets the operator change each kind."""


def not_enabled(kind: str) -> str:
    """Return why an object of that kind is not changed, and what turns it on."""
    component = COMPONENTS[kind]
    return f"this operator changes no {kind}; its component {component} turns that on (--enable={component})"


RESOURCES = {resource.kind: resource for resource in (SERVICES, HTTPROUTES, NETWORKPOLICIES)}


@dataclass(frozen=True, slots=True)
class NetworkObject:
    """A Service, HTTPRoute or NetworkPolicy, as it was seen last."""

    kind: str
    name: str
    uid: str
    resource_version: str
    content: Any
    """What is changed of it: the selector, the rules, the spec; ``None`` where there is none."""
    set_by: str = ""
    """Field manager that last wrote that."""
    set_at: str = ""
    problem: str = ""
    """Why it cannot be used, or what has not taken effect yet, for people."""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    """When it was made, by the API server's clock, in whole seconds."""
    carried: Carried = NOTHING
    """What its metadata say of a containment."""

    @classmethod
    def read(cls, kind: str, obj: Object, content: Any, by: tuple[str, str], problem: str = "") -> NetworkObject:
        """Return the facts of one, as it is stored.

        Args:
            kind: Its kind.
            obj: The object.
            content: What is changed of it.
            by: Who last wrote that, and when.
            problem: Why it cannot be used, or what has not taken effect yet.
        """
        metadata = obj["metadata"]
        return cls(
            kind=kind,
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata.get("resourceVersion", ""),
            content=content,
            set_by=by[0],
            set_at=by[1],
            problem=problem,
            labels=dict(metadata.get("labels") or {}),
            created=time_in(metadata.get("creationTimestamp")),
            carried=read_carried(metadata),
        )


@dataclass(frozen=True, slots=True)
class NetworkPath:
    """The network objects of one namespace."""

    enabled: frozenset[str] = frozenset()
    """The kinds that the operator may change."""
    objects: Mapping[tuple[str, str], NetworkObject] = field(default_factory=dict)
    """By kind and name."""
    serving: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By Service: the pods that its EndpointSlices list as ready."""
    taken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By kind and name: what an open escalation of another target goes through, and which that is."""

    def of(self, kind: str) -> tuple[NetworkObject, ...]:
        """Return all objects of a kind."""
        return tuple(item for (of, _), item in self.objects.items() if of == kind)


def title(target_ref: NetworkTargetRef) -> str:
    """Return ``Kind/name``, as ``SavedField.object`` has it."""
    return f"{target_ref.kind}/{target_ref.name}"


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a ``metav1.LabelSelector`` selects what carries these labels; an empty one selects everything."""
    requirements = selector.get("matchExpressions") or ()
    return matches(
        labels,
        selector.get("matchLabels") or {},
        ((r["key"], r["operator"], r.get("values") or ()) for r in requirements),
    )
