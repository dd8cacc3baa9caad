"""Which runtimes an operator deals with: Deployments and StatefulSets always, each other one where it is enabled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from riskladder.api.resource import Resource
from riskladder.workloads.deployment import DEPLOYMENT
from riskladder.workloads.runtime import Runtime
from riskladder.workloads.statefulset import STATEFULSET

ALWAYS: tuple[Runtime, ...] = (DEPLOYMENT, STATEFULSET)
"""Part of Kubernetes itself."""

OPTIONAL: tuple[Runtime, ...] = ()
"""Enabled by name, as an installation grants what each needs."""


class Runtimes:
    """The adapters in use, by the kind of workload."""

    def __init__(self, enabled: Iterable[str] = ()) -> None:
        """Take what is always there, and what is enabled.

        Args:
            enabled: Names of components.

        Raises:
            ValueError: There is no such component.
        """
        names = dict.fromkeys(enabled)
        known = {runtime.component for runtime in OPTIONAL}
        if unknown := sorted(set(names) - known):
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(sorted(known))}")
        chosen = (*ALWAYS, *(runtime for runtime in OPTIONAL if runtime.component in names))
        self.by_kind: Mapping[str, Runtime] = MappingProxyType({r.resource.kind: r for r in chosen})
        """By the kind of their workloads."""

    def __iter__(self) -> Iterator[Runtime]:
        """All of them."""
        return iter(self.by_kind.values())

    @property
    def by_labels(self) -> bool:
        """Whether some of them tell their pods by labels."""
        return any(runtime.by_labels for runtime in self)

    @property
    def followed(self) -> tuple[Resource, ...]:
        """What has to be watched for them: the workloads, and the objects that hold their history."""
        histories = (runtime.history for runtime in self if runtime.history is not None)
        return tuple(dict.fromkeys((*(runtime.resource for runtime in self), *histories)))

    def unsupported(self, kind: str) -> str:
        """Why a target of that kind is not dealt with; empty where it is."""
        if kind in self.by_kind:
            return ""
        component = next((r.component for r in OPTIONAL if r.resource.kind == kind), "")
        hint = f"; --enable {component} turns it on" if component else ""
        return f"{kind} is not supported by this operator ({', '.join(sorted(self.by_kind))} are){hint}"
