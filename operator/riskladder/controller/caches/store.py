"""The caches: every watched object cut down to what decisions need, and the joins between them.

Objects are kept as they were seen last, never older: an answer to one of our own writes may arrive before the watch
event of an earlier change, and a relisted object may be behind both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from riskladder.api.signal import SignalStatus
from riskladder.api.text import shared
from riskladder.cluster import resources
from riskladder.cluster.resources import WATCHED, Resource, followed
from riskladder.controller.caches.decisions import DecisionCache
from riskladder.controller.caches.endpoints import Name, Object
from riskladder.controller.caches.entries import GONE_LIMIT, Enqueue, LadderEntry, LateDecisionKey, version_of
from riskladder.controller.caches.escalations import EscalationCache
from riskladder.controller.caches.indexed import IndexedTargets
from riskladder.controller.caches.ladders import LadderCache
from riskladder.controller.caches.network import NetworkCache
from riskladder.controller.caches.radius import RadiusCache
from riskladder.controller.caches.signals import SignalCache
from riskladder.controller.caches.workloads import WorkloadCache
from riskladder.controller.governance_gauges import Stored
from riskladder.controller.reading_gauges import StoredStatus
from riskladder.policy.snapshot import Snapshot, TargetKey
from riskladder.policy.unusable import UnusableSignal
from riskladder.workloads.holding import held_by
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.registry import Runtimes


class Store:
    """All cached objects of the cluster, or of the namespaces the operator was given."""

    def __init__(self, enqueue: Enqueue, runtimes: Runtimes | None = None) -> None:
        """Start empty.

        Args:
            enqueue: Called with what each change concerns.
            runtimes: The kinds of workloads that may be targets; by default those that are always dealt with.
        """
        self._enqueue = enqueue
        self.runtimes = runtimes or Runtimes()
        """The kinds of workloads that may be targets."""
        cached = (*WATCHED, *followed(self.runtimes))
        self._known: dict[str, dict[str, tuple[int, str, str]]] = {resource.title: {} for resource in cached}
        """By resource and uid: version, namespace and name of every cached object."""
        self._gone: dict[str, None] = {}
        """uids of the objects deleted last, oldest first."""
        self._ladders = LadderCache(enqueue, changed=self._ladder_changed)
        self._signals = SignalCache(enqueue)
        self.indexed = IndexedTargets(self.runtimes.by_kind)
        """What the indexes of containments have to say."""
        self.radius = RadiusCache()
        """What the blast radii of ladders are counted by."""
        self.escalations = EscalationCache(
            enqueue, closed=self._escalation_closed, indexed=self.indexed, radius=self.radius
        )
        """All escalations, open and closed."""
        self.decisions = DecisionCache(decided=self._decided)
        """The decisions that have not been judged."""
        self.workloads = WorkloadCache(
            self.runtimes, changed=self._workload_changed, moved=self._workload_moved, served=self._served
        )
        self.network_path = NetworkCache(self.runtimes.changes, changed=self._network_changed)
        self._readers: dict[str, tuple[Callable[[Object], None], Callable[[Object], None]]] = {
            resources.LADDERS.title: (self._ladders.put, self._ladders.drop),
            resources.SIGNALS.title: (self._signals.put, self._signals.drop),
            resources.ESCALATIONS.title: (self.escalations.put, self.escalations.drop),
            resources.DECISIONS.title: (self.decisions.put, self.decisions.drop),
            **self.workloads.readers,
            **self.network_path.readers,
        }

    # --- Feeding --------------------------------------------------------------------------------------------------

    def put(self, resource: Resource, obj: Object) -> None:
        """Take in an object, unless what is cached is as new, and enqueue what it concerns."""
        metadata, known = _sharing(obj["metadata"]), self._known[resource.title]
        version = version_of(obj)
        before = known.get(metadata["uid"])
        if metadata["uid"] in self._gone or (before is not None and version <= before[0]):
            return
        known[metadata["uid"]] = (version, metadata["namespace"], metadata["name"])
        self._readers[resource.title][0]({**obj, "metadata": metadata})

    def drop(self, resource: Resource, obj: Object) -> None:
        """Forget a deleted object (not another of the same name that is known already) and enqueue what it concerns.

        It is gone for good: the answer to a write that was served before the deletion may still be on its way.
        """
        self._gone[obj["metadata"]["uid"]] = None
        if len(self._gone) > GONE_LIMIT:
            del self._gone[next(iter(self._gone))]
        self._forget(resource, obj)

    def _forget(self, resource: Resource, obj: Object) -> None:
        self._known[resource.title].pop(obj["metadata"]["uid"], None)
        self._readers[resource.title][1](obj)

    def drop_unless(
        self,
        resource: Resource,
        present: Collection[str],
        *,
        namespace: str = "",
        name: str = "",
        version: str = "",
    ) -> None:
        """Forget what a fresh look no longer finds: deletions whose event was never delivered.

        Args:
            resource: What was looked at.
            present: The uids that were found.
            namespace: Only objects of this namespace, or of all.
            name: Only objects of this name, or of all.
            version: Only what is as old as this resourceVersion: what was created while a list was read is not in it.
        """
        newest = int(version) if version.isdigit() else None
        for uid, (known, in_namespace, known_name) in list(self._known[resource.title].items()):
            if newest is not None and known > newest:
                continue
            if uid not in present and namespace in ("", in_namespace) and name in ("", known_name):
                self._forget(resource, {"metadata": {"uid": uid, "namespace": in_namespace, "name": known_name}})

    # --- Joins: whom a change concerns ----------------------------------------------------------------------------

    def _ladder_changed(self, ladder: Name) -> None:
        entry = self.ladders.get(ladder)
        if self.radius.put_ladder(ladder, entry.ladder if entry is not None else None):
            for key in self.workloads.keys(ladder[0]):
                self._put_in_radius(key)
        open_ones = {
            TargetKey(e.namespace, e.spec.target.kind, e.spec.target.name) for e in self.escalations.open_ones(ladder)
        }
        for key in self._signals.targets(ladder) | open_ones:
            self._enqueue(key, True)

    def _escalation_closed(self, name: Name) -> None:
        if name in self.decisions:
            self._enqueue(LateDecisionKey(*name), False)

    def _decided(self, escalation: Name, urgent: bool) -> None:
        target = self.escalations.open_target(escalation)
        if target is not None:
            self._enqueue(target, urgent)
        else:
            self._enqueue(LateDecisionKey(*escalation), False)

    def _workload_changed(self, key: TargetKey, spec: bool) -> None:
        if self.radius:
            self._put_in_radius(key)
        if key in self._signals or key in self.escalations or key in self.workloads.carrying:
            self._enqueue(key, spec)

    def _put_in_radius(self, key: TargetKey) -> None:
        """Have a workload counted among the governed ones, and what is carried for it among what is contained."""
        workload = self.workloads.bare(key)
        carried = held_by(workload.carried, workload.uid) if workload and not workload.carried.is_empty else None
        holds = [carried] if carried is not None else []
        self.radius.put_workload(key, workload, [*holds, *self.network_path.holds(key)])

    def _workload_moved(self, key: TargetKey) -> None:
        """Enqueue a target whose pods or endpoints changed, if a containment is to be proved; others stay asleep."""
        if key in self.workloads.carrying or any(e.intents for e in self.escalations.of(key)):
            self._enqueue(key, False)

    def _network_changed(self, namespace: str, kind: str, name: str, content: bool) -> None:
        """Enqueue whatever is isolated where a policy changed, and what goes through a changed Service or route."""
        if (key := self.network_path.held_for(namespace, kind, name)) is not None:
            self._enqueue(key, False)
            if self.radius:
                self._put_in_radius(key)
        is_policy = kind == NETWORKPOLICIES.kind  # they add up, so that each may concern whatever is isolated
        escalations = self.escalations
        concerned = escalations.network_paths(namespace) if is_policy else escalations.paths_through(namespace, name)
        for key, escalation, target_ref in concerned:
            if (target_ref.kind, target_ref.name) == (kind, name):
                self._enqueue(key, content and escalation.is_open)
            elif target_ref.kind == kind == NETWORKPOLICIES.kind or target_ref.backend == name:
                self._enqueue(key, False)

    def _served(self, namespace: str, service: str) -> None:
        for path in self.escalations.paths_through(namespace, service):
            self._enqueue(path.key, False)

    # --- Reading --------------------------------------------------------------------------------------------------

    @property
    def ladders(self) -> dict[Name, LadderEntry]:
        """All ladders by namespace and name."""
        return self._ladders.entries

    def remember(self, key: TargetKey, name: str, uid: str, status: SignalStatus | None) -> None:
        """Keep a signal's computed status until it is written (``None``: it has been), so that no reading is lost."""
        self._signals.remember(key, name, uid, status)

    def signal_statuses(self) -> list[StoredStatus]:
        """Return the statuses of all signals, as they are stored."""
        return self._signals.stored()

    def governed(self) -> Stored:
        """Return what the gauges of governance are made from."""
        return Stored(
            ladders=list(self.ladders.values()),
            open=self.escalations.open_ones(),
            outcomes=self.escalations.outcomes,
            acceptances=self.escalations.acceptances(),
        )

    def unusable(self, ladder: Name) -> tuple[UnusableSignal, ...]:
        """Return the signals of a ladder that report something that would breach, and cannot be used."""
        return self._signals.unusable(ladder)

    def count_unusable(self) -> Counter[tuple[str, str, str]]:
        """Count them by namespace, ladder and reason."""
        return self._signals.count_unusable()

    def unchecked(self, key: TargetKey) -> Iterator[Callable[[], object]]:
        """Yield what is left to do before a thorough snapshot of a target costs nothing: a piece for each signal."""
        return self._signals.unchecked(key)

    def targets(self) -> set[TargetKey]:
        """Return every target that some signal, open escalation or hold names."""
        named = self._signals.targets() | self.escalations.targets()
        return named | self.workloads.carrying | self.network_path.carrying

    # --- The snapshot ---------------------------------------------------------------------------------------------

    def snapshot(self, key: TargetKey, *, thorough: bool = True) -> Snapshot:
        """Return everything that bears on one target.

        Args:
            key: The target.
            thorough: Hold signals against every rule of the schema, as admission does. Without it, only what a decision
                needs is checked: the rules take a millisecond that a model may serve in.
        """
        signals = tuple(self._signals.of(key, thorough=thorough))
        escalations = tuple(self.escalations.of(key))
        target = self.workloads.get(key)
        if target is not None and self.network_path.enabled:
            serving, taken = self.workloads.serving(key.namespace), self.escalations.taken_by_others(key)
            target = replace(target, network_path=self.network_path.get(key.namespace, serving, taken))
        names = {s.spec.ladder for s in signals if s.spec} | {e.spec.ladder.name for e in escalations}
        names |= self._held_under(key, target)
        ladders = {
            name: entry.ladder for name in names if (entry := self.ladders.get((key.namespace, name))) is not None
        }
        uids = {hold.target.uid for hold in self.network_path.holds(key)} | ({target.uid} if target else set())
        return Snapshot(
            key=key,
            target=target,
            carrying=self.network_path.carrying_for(key),
            ladders=ladders,
            signals=signals,
            escalations=escalations,
            last_closed=self.escalations.last_closed(target) if target else {},
            unsupported=self.runtimes.unsupported(key.kind),
            ends_pods=self.runtimes.ends_pods,
            handled=self.escalations.handled(key),
            breached=self.escalations.breached(target.uid) if target else frozenset(),
            closed=self.escalations.closed_names(uids),
            decisions={
                e.name: d for e in escalations if e.is_open and (d := self.decisions.undecided(key.namespace, e.name))
            },
        )

    def _held_under(self, key: TargetKey, target: Workload | None) -> set[str]:
        """Return the ladders of the holds carried for a target: their Escalations may still have to be created."""
        carried = [held_by(target.carried, target.uid)] if target and not target.carried.is_empty else []
        return {hold.ladder.name for hold in (*carried, *self.network_path.holds(key)) if hold is not None}


def _sharing(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an object with strings that all objects share: the name of a model is in many places.

    What a controller names, such as a pod, is named once.
    """
    once: dict[str, Any] = {"namespace": shared(metadata["namespace"])}
    if not metadata.get("ownerReferences"):
        once["name"] = shared(metadata["name"])
    if labels := metadata.get("labels"):
        once["labels"] = {shared(key): shared(value) for key, value in labels.items()}
    return {**metadata, **once}
