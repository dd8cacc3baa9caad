"""The MonitorBindings as they are stored now, validated, by namespace and name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from riskladder.api.binding import MonitorBindingSpec, MonitorBindingStatus
from riskladder.api.validation import validate
from riskladder.cluster.client import Client, Object
from riskladder.cluster.events import ObjectReference
from riskladder.cluster.informer import Informer
from riskladder.cluster.resources import BINDINGS, Resource
from riskladder.monitors.check import problems

Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A MonitorBinding; ``spec`` is ``None`` where it cannot be used."""

    namespace: str
    name: str
    uid: str
    generation: int
    status: MonitorBindingStatus
    spec: MonitorBindingSpec | None = None
    problems: tuple[str, ...] = ()
    """Why it cannot be used: field, what was found, what was expected."""

    @property
    def reference(self) -> ObjectReference:
        """What Events are about."""
        return ObjectReference(BINDINGS.api_version, BINDINGS.kind, self.namespace, self.name, self.uid)

    @property
    def account(self) -> str:
        """User name of the service account under whose name the signals are written."""
        assert self.spec is not None  # noqa: S101 - asked of usable bindings only
        return f"system:serviceaccount:{self.account_namespace}:{self.spec.service_account}"

    @property
    def account_namespace(self) -> str:
        """Namespace of that service account."""
        assert self.spec is not None  # noqa: S101
        return self.spec.service_account_namespace or self.namespace

    @classmethod
    def of(cls, obj: Object) -> Binding:
        """Return the binding that an object is."""
        metadata = obj["metadata"]
        try:
            status = MonitorBindingStatus.model_validate(obj.get("status") or {})
        except ValidationError:  # of another version: what is counted begins anew
            status = MonitorBindingStatus()
        found = [f"{problem.path}: {problem.message}" for problem in validate(BINDINGS.kind, obj)]
        spec = None if found else MonitorBindingSpec.model_validate(obj["spec"])
        found += [f"{problem.path}: {problem.message}" for problem in problems(spec)] if spec is not None else ()
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            status=status,
            spec=None if found else spec,
            problems=tuple(found),
        )


class Bindings:
    """All bindings of the namespaces that are watched."""

    def __init__(self, seen: Callable[[Binding], None] = lambda _: None) -> None:
        """Start with none.

        Args:
            seen: Called with every binding that is new or has changed.
        """
        self._by_name: dict[Name, Binding] = {}
        self._seen = seen

    def get(self, namespace: str, name: str) -> Binding | None:
        """Return the binding of that name."""
        return self._by_name.get((namespace, name))

    def __iter__(self) -> Iterator[Binding]:
        """Iterate over all of them."""
        return iter(tuple(self._by_name.values()))

    def informers(self, client: Client, namespaces: Collection[str]) -> list[Informer]:
        """Return what keeps them current: one for each namespace, or one for all."""
        return [
            Informer(client, BINDINGS, namespace, put=self.put, drop=self.drop, drop_unless=self.drop_unless)
            for namespace in (namespaces or (None,))
        ]

    def put(self, _: Resource, obj: Object) -> None:
        """Take in a binding as it is now."""
        metadata = obj["metadata"]
        key = (metadata["namespace"], metadata["name"])
        known = self._by_name.get(key)
        if known is not None and (known.uid, known.generation) == (metadata["uid"], metadata.get("generation", 0)):
            return  # its status alone has changed, which is written from here
        binding = self._by_name[key] = Binding.of(obj)
        self._seen(binding)

    def drop(self, _: Resource, obj: Object) -> None:
        """Forget a binding that was deleted."""
        self._by_name.pop((obj["metadata"]["namespace"], obj["metadata"]["name"]), None)

    def drop_unless(self, _: Resource, present: Collection[str], namespace: str, __: str) -> None:
        """Forget the bindings of a namespace, or of all, that a fresh list has not found."""
        for key, binding in tuple(self._by_name.items()):
            if binding.uid not in present and namespace in ("", key[0]):
                del self._by_name[key]
