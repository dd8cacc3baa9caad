"""Which runtimes an operator deals with: Deployments and StatefulSets always, each other one where it is enabled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from riskladder.api.base import GROUP
from riskladder.api.resource import Resource
from riskladder.workloads.companions.keda import KEDA, SCALEDOBJECTS
from riskladder.workloads.companions.suspend import ARGO_WORKFLOWS, CRONWORKFLOWS
from riskladder.workloads.grant import Component
from riskladder.workloads.model import Runtime
from riskladder.workloads.network import COMPONENTS, RESOURCES
from riskladder.workloads.runtimes.argo import ROLLOUT
from riskladder.workloads.runtimes.deployment import DEPLOYMENT
from riskladder.workloads.runtimes.kserve import INFERENCESERVICE, LLMINFERENCESERVICE
from riskladder.workloads.runtimes.ray import RAYCLUSTER, RAYSERVICE
from riskladder.workloads.runtimes.scalable import Scalable, parse
from riskladder.workloads.runtimes.seldon import SELDON_MODEL
from riskladder.workloads.runtimes.statefulset import STATEFULSET
from riskladder.workloads.safe_states.fallback import FALLBACK, FALLBACK_HTTPROUTE
from riskladder.workloads.safe_states.isolate import ISOLATE
from riskladder.workloads.safe_states.prompt_stop import PROMPT_STOP

ALWAYS: tuple[Runtime, ...] = (DEPLOYMENT, STATEFULSET)
"""Part of Kubernetes itself."""

OPTIONAL: tuple[Runtime, ...] = (INFERENCESERVICE, LLMINFERENCESERVICE, SELDON_MODEL, RAYCLUSTER, RAYSERVICE, ROLLOUT)
"""Enabled by name, as an installation grants what each needs."""

ALL_RUNTIMES = (*ALWAYS, *OPTIONAL)
"""Every kind that has an adapter of its own."""

COMPANION_KINDS: tuple[Component, ...] = (ARGO_WORKFLOWS, KEDA)
"""Companion workloads, enabled in the same way."""

SAFE_STATES: tuple[Component, ...] = (FALLBACK, FALLBACK_HTTPROUTE, ISOLATE, PROMPT_STOP)
"""Safe states other than the one write that stops a model, enabled in the same way."""

NOT_SERVING = frozenset({"endpointslices.discovery.k8s.io", "replicasets.apps", "controllerrevisions.apps"})
"""What is followed as a part of other workloads, by ``Resource.title``."""


class Runtimes:
    """The adapters in use, by the kind of workload."""

    def __init__(self, enabled: Iterable[str] = (), scalable: Iterable[str] = ()) -> None:
        """Take what is always there, and what is enabled.

        Args:
            enabled: Names of components.
            scalable: Further kinds that have a scale, as ``GROUP/VERSION/PLURAL=KIND``.

        Raises:
            ValueError: There is no such component, or a kind is no such kind.
        """
        names = dict.fromkeys(enabled)
        known = {runtime.component for runtime in OPTIONAL} | {c.component for c in (*COMPANION_KINDS, *SAFE_STATES)}
        if unknown := sorted(set(names) - known):
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(sorted(known))}")
        allowed = _scalable(scalable)
        chosen = (*ALWAYS, *(runtime for runtime in OPTIONAL if runtime.component in names), *allowed)
        self.companions = tuple(companion for companion in COMPANION_KINDS if companion.component in names)
        """Companion workloads in addition to those that are always allowed."""
        self.safe_states = tuple(state for state in SAFE_STATES if state.component in names)
        """The safe states that are enabled."""
        self.ends_pods = PROMPT_STOP in self.safe_states
        """Whether the pods of a stopped model are ended soon."""
        self.changes = frozenset(kind for kind, component in COMPONENTS.items() if component in names)
        """The kinds that are changed for that."""
        self.by_kind: Mapping[str, Runtime] = MappingProxyType({r.resource.kind: r for r in chosen})
        """By the kind of their workloads."""

    def __iter__(self) -> Iterator[Runtime]:
        """Return all of them."""
        return iter(self.by_kind.values())

    @property
    def by_labels(self) -> bool:
        """Whether some of them recognize their pods by labels."""
        return any(runtime.by_labels for runtime in self)

    @property
    def followed(self) -> tuple[Resource, ...]:
        """What has to be watched for them: the workloads, and the objects that hold their history."""
        histories = (runtime.history for runtime in self if runtime.history is not None)
        network = (resource for kind, resource in RESOURCES.items() if kind in self.changes)
        return tuple(dict.fromkeys((*(runtime.resource for runtime in self), *histories, *network)))

    def not_suspended(self, kind: str) -> str:
        """Return why companion workloads of that kind are not suspended; empty where they are, or no component does."""
        component = {CRONWORKFLOWS.kind: ARGO_WORKFLOWS, SCALEDOBJECTS.kind: KEDA}.get(kind)
        if component is None or component in self.companions:
            return ""
        name = component.component
        return f"this operator suspends no {kind}; its component {name} turns that on (--enable={name})"

    def unsupported(self, kind: str) -> str:
        """Return why a target of that kind is not dealt with; empty where it is."""
        if kind in self.by_kind:
            return ""
        component = next((r.component for r in OPTIONAL if r.resource.kind == kind), "")
        hint = (
            f": apply its component {component}, which grants what that takes and turns it on (--enable={component})"
            if component
            else ""
        )
        return f"{kind} is not supported by this operator ({', '.join(sorted(self.by_kind))} are){hint}"


def _scalable(texts: Iterable[str]) -> tuple[Scalable, ...]:
    """Return adapters of the kinds that the settings allow: each once, and none that has its own.

    Raises:
        ValueError: What is wrong, in one line.
    """
    kinds = {runtime.resource.kind: _by(runtime) for runtime in ALL_RUNTIMES}
    plurals = {runtime.resource.plural: _by(runtime) for runtime in ALL_RUNTIMES}  # the lock goes by these
    found = []
    for text in texts:
        resource = parse(text)
        if resource.group == GROUP or resource.title in NOT_SERVING:
            raise ValueError(f"{text}: {resource.title} are no workloads that serve")
        for name, found_by in ((resource.kind, kinds), (resource.plural, plurals)):
            if name in found_by:
                raise ValueError(f"{text}: {name} is dealt with already, by {found_by[name]}")
            found_by[name] = text
        found.append(Scalable(resource))
    return tuple(found)


def _by(runtime: Runtime) -> str:
    return f"--enable {runtime.component}" if runtime.component else "every operator"
