"""The cache of what traffic passes on its way to models: Services, HTTPRoutes and NetworkPolicies, where enabled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from riskladder.api.hold import Hold
from riskladder.policy.snapshot import TargetKey
from riskladder.workloads.holding import held_by
from riskladder.workloads.network import HTTPROUTES, NETWORKPOLICIES, RESOURCES, SERVICES, NetworkObject, NetworkPath
from riskladder.workloads.safe_states.fallback import read_route, read_service
from riskladder.workloads.safe_states.isolate import read_policy

Object = Mapping[str, Any]
READ = {SERVICES.kind: read_service, HTTPROUTES.kind: read_route, NETWORKPOLICIES.kind: read_policy}


class NetworkCache:
    """Each object cut down to the facts that decisions need, by namespace."""

    def __init__(self, enabled: frozenset[str], *, changed: Callable[[str, str, str, bool], None]) -> None:
        """Start empty.

        Args:
            enabled: The kinds that may be changed, which are watched.
            changed: Called with namespace, kind and name, and whether what is changed of it changed (or only its
                status).
        """
        self.enabled = enabled
        """The kinds that are watched."""
        self._changed = changed
        self._objects: dict[str, dict[tuple[str, str], NetworkObject]] = defaultdict(dict)
        self._held: dict[tuple[str, str, str], Hold] = {}
        """By namespace, kind and name: the holds that these objects carry."""
        self._held_for: dict[TargetKey, dict[tuple[str, str, str], Hold]] = defaultdict(dict)
        """The same by target, so that no look at one goes through those of all others."""
        self.readers: dict[str, tuple[Callable[[Object], None], Callable[[Object], None]]] = {
            RESOURCES[kind].title: (partial(self._put, kind), partial(self._drop, kind)) for kind in enabled
        }
        """By resource: how to take an object in, and how to forget it."""

    def _put(self, kind: str, obj: Object) -> None:
        namespace, item = obj["metadata"]["namespace"], READ[kind](obj)
        before = self._objects[namespace].get((kind, item.name))
        # A snapshot that was taken of the namespace stays as it was taken.
        self._objects[namespace] = {**self._objects[namespace], (kind, item.name): item}
        self._note(namespace, item)
        same = before is not None and (before.uid, before.content) == (item.uid, item.content)
        self._changed(namespace, kind, item.name, not same)

    def _drop(self, kind: str, obj: Object) -> None:
        metadata = obj["metadata"]
        namespace, object_key = metadata["namespace"], (kind, metadata["name"])
        known = self._objects[namespace].get(object_key)
        if known is None or known.uid != metadata["uid"]:
            return
        self._set_hold((namespace, *object_key), None)
        left = {key: item for key, item in self._objects[namespace].items() if key != object_key}
        if left:
            self._objects[namespace] = left
        else:
            del self._objects[namespace]
        self._changed(namespace, kind, metadata["name"], True)

    def _note(self, namespace: str, item: NetworkObject) -> None:
        """Keep for which target an object carries a hold."""
        hold = held_by(item.carried, item.uid, made=item.kind == NETWORKPOLICIES.kind)
        self._set_hold((namespace, item.kind, item.name), hold)

    def _set_hold(self, object_key: tuple[str, str, str], hold: Hold | None) -> None:
        if (before := self.held_for(*object_key)) is not None:
            self._held_for[before].pop(object_key)
            if not self._held_for[before]:
                del self._held_for[before]
        self._held.pop(object_key, None)
        if hold is not None:
            self._held[object_key] = hold
            self._held_for[TargetKey(object_key[0], hold.target.kind, hold.target.name)][object_key] = hold

    def held_for(self, namespace: str, kind: str, name: str) -> TargetKey | None:
        """Return the target for which an object carries a hold, if it does."""
        hold = self._held.get((namespace, kind, name))
        return TargetKey(namespace, hold.target.kind, hold.target.name) if hold else None

    def holds(self, key: TargetKey) -> list[Hold]:
        """Return the holds that are carried for a target."""
        return list(self._held_for.get(key, {}).values())

    def carrying_for(self, key: TargetKey) -> tuple[NetworkObject, ...]:
        """Return the objects that carry a hold for a target, which may be gone."""
        object_keys = self._held_for.get(key, {})
        return tuple(self._objects[namespace][kind, name] for namespace, kind, name in object_keys)

    @property
    def carrying(self) -> set[TargetKey]:
        """The targets for which anything carries a hold."""
        return set(self._held_for)

    def get(
        self, namespace: str, serving: Mapping[str, frozenset[str]], taken: Mapping[tuple[str, str], str]
    ) -> NetworkPath | None:
        """Return the network objects of a namespace; ``None`` where none of them may be changed.

        Args:
            namespace: Where.
            serving: By Service: the pods that are ready behind it.
            taken: By kind and name: what an open escalation of another target goes through.
        """
        if not self.enabled:
            return None
        return NetworkPath(self.enabled, self._objects.get(namespace, {}), serving, taken)
