"""The caches: every watched object cut down to what decisions need, and the joins between them.

Objects are kept as they were seen last, never older: an answer to one of our own writes may arrive before the watch
event of an earlier change, and a relisted object may be behind both. Signals, of which there may be many thousands,
are kept as compact JSON and parsed when their target is looked at.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial

import structlog
from pydantic import ValidationError

from riskladder.api.conditions import find
from riskladder.api.decision import DecisionAction, DecisionStatus, EscalationDecisionSpec
from riskladder.api.escalation import Through
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.api.validation import validate
from riskladder.cluster import resources
from riskladder.cluster.resources import WATCHED, Resource, followed
from riskladder.controller.caches.entries import (
    GONE_LIMIT,
    ClosedEntry,
    Enqueue,
    IndexKey,
    LadderEntry,
    LadderKey,
    LateDecisionKey,
    SignalEntry,
    compact,
    version_of,
)
from riskladder.controller.caches.network import AroundCache
from riskladder.controller.caches.reading import (
    _status,
    created_at,
    has_pending_messages,
    read_escalation,
    read_ladder,
    received_at,
)
from riskladder.controller.caches.workloads import Name, Object, WorkloadCache
from riskladder.policy.containment.opening import escalation_name
from riskladder.policy.containment.state import is_contained
from riskladder.policy.snapshot import (
    Decision,
    Escalation,
    Signal,
    Snapshot,
    Stamps,
    TargetKey,
    breached_by,
    latest,
    settled_by,
)
from riskladder.workloads.holding import held_by
from riskladder.workloads.model import Workload
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.registry import Runtimes

log = structlog.get_logger(__name__)

MANY_SIGNALS = 64
"""Signals of one target from which on they are kept as models, too: there, time is dearer than memory."""


class Store:
    """All cached objects of the cluster, or of the namespaces the operator was given."""

    def __init__(self, enqueue: Enqueue, runtimes: Runtimes | None = None) -> None:
        """Start empty.

        Args:
            enqueue: Told what each change concerns.
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
        self.ladders: dict[Name, LadderEntry] = {}
        self._signals: dict[TargetKey, dict[str, SignalEntry]] = defaultdict(dict)
        self._signal_targets: dict[Name, TargetKey] = {}
        self._open: dict[TargetKey, dict[str, Escalation]] = defaultdict(dict)
        """The open ones, and those closed ones that have messages to deliver."""
        self._escalations: dict[Name, tuple[str, TargetKey, str, str]] = {}
        """uid, target, target uid and ladder of every escalation, open or closed."""
        self._deleted: dict[TargetKey, list[Escalation]] = defaultdict(list)
        """Escalations that somebody deleted while they were open: their chains still lack that fact."""
        self._closed: dict[str, dict[str, ClosedEntry]] = defaultdict(dict)
        """By target uid: its closed escalations by uid."""
        self._over: dict[TargetKey, dict[str, ClosedEntry]] = defaultdict(dict)
        """The same by the name of the target: what people have settled outlasts the object."""
        self._decisions: dict[Name, dict[str, Decision]] = defaultdict(dict)
        """By namespace and escalation: decisions by name, those not judged yet only."""
        self.workloads = WorkloadCache(
            self.runtimes, changed=self._workload_changed, moved=self._workload_moved, served=self._served
        )
        self.around = AroundCache(self.runtimes.changes, changed=self._around_changed)
        self._readers: dict[str, tuple[Callable[[Object], None], Callable[[Object], None]]] = {
            resources.LADDERS.title: (self._put_ladder, self._drop_ladder),
            resources.SIGNALS.title: (self._put_signal, self._drop_signal),
            resources.ESCALATIONS.title: (self._put_escalation, self._drop_escalation),
            resources.DECISIONS.title: (self._put_decision, self._drop_decision),
            **self.workloads.readers,
            **self.around.readers,
        }

    # --- Feeding --------------------------------------------------------------------------------------------------

    def put(self, resource: Resource, obj: Object) -> None:
        """Take in an object, unless what is cached is as new, and enqueue what it concerns."""
        metadata, known = obj["metadata"], self._known[resource.title]
        version = version_of(obj)
        before = known.get(metadata["uid"])
        if metadata["uid"] in self._gone or (before is not None and version <= before[0]):
            return
        known[metadata["uid"]] = (version, sys.intern(metadata["namespace"]), metadata["name"])
        self._readers[resource.title][0](obj)

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

    # --- Ladders --------------------------------------------------------------------------------------------------

    def _put_ladder(self, obj: Object) -> None:
        metadata = obj["metadata"]
        name = (metadata["namespace"], metadata["name"])
        before = self.ladders.get(name)
        version = (metadata["uid"], metadata.get("generation", 0))
        if before is not None and (before.ladder.uid, before.ladder.generation) == version:
            ladder = before.ladder
        else:
            ladder = read_ladder(obj)
        self.ladders[name] = LadderEntry(
            ladder, _status(EscalationLadderStatus, obj), created_at(metadata), version_of(obj)
        )
        self._enqueue(LadderKey(*name), False)
        if before is None or before.ladder.generation != ladder.generation or before.ladder.uid != ladder.uid:
            self._enqueue_ladder_targets(name)

    def _drop_ladder(self, obj: Object) -> None:
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        entry = self.ladders.get(name)
        if entry is not None and entry.ladder.uid == obj["metadata"]["uid"]:
            del self.ladders[name]
            self._enqueue_ladder_targets(name)

    def _enqueue_ladder_targets(self, name: Name) -> None:
        for key, by_name in self._signals.items():
            if key.namespace == name[0] and any(entry.ladder == name[1] for entry in by_name.values()):
                self._enqueue(key, True)

    # --- Signals --------------------------------------------------------------------------------------------------

    def _put_signal(self, obj: Object) -> None:
        metadata, stored = obj["metadata"], obj.get("spec") or {}
        name = (metadata["namespace"], metadata["name"])
        spec = stored if isinstance(stored, Mapping) else {}  # an older schema may have let anything in
        target = spec.get("target")
        target = target if isinstance(target, Mapping) else {}
        key = TargetKey(name[0], str(target.get("kind", "")), str(target.get("name", "")))
        old_key = self._signal_targets.get(name)
        before = self._signals[old_key].get(name[1]) if old_key is not None else None
        if old_key is not None and old_key != key:
            self._forget_signal(name, old_key)
            self._enqueue(old_key, True)
        generation, status = metadata.get("generation", 0), compact(obj.get("status") or {})
        same = before is not None and before.uid == metadata["uid"] and before.generation == generation
        self._signals[key][name[1]] = SignalEntry(
            uid=metadata["uid"],
            version=version_of(obj),
            generation=generation,
            target=key,
            ladder=str(spec.get("ladder", "")),
            spec=before.spec if same and before else compact(stored),
            status=status,
            problems=before.problems if same and before else None,
            # A status stored meanwhile, by another operator perhaps, is newer than what was computed here.
            pending=before.pending if before and (before.uid, before.status) == (metadata["uid"], status) else None,
            received_at=before.received_at if same and before else received_at(metadata),
        )
        self._signal_targets[name] = key
        self._enqueue(key, not same)

    def _drop_signal(self, obj: Object) -> None:
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        key = self._signal_targets.get(name)
        if key is not None and self._signals[key][name[1]].uid == obj["metadata"]["uid"]:
            self._forget_signal(name, key)
            self._enqueue(key, False)

    def _forget_signal(self, name: Name, key: TargetKey) -> None:
        self._signal_targets.pop(name, None)
        self._signals[key].pop(name[1], None)
        if not self._signals[key]:
            del self._signals[key]

    def remember(self, key: TargetKey, name: str, uid: str, status: SignalStatus | None) -> None:
        """Keep a signal's computed status until it is written (``None``: it has been), so that no reading is lost."""
        entry = self._signals.get(key, {}).get(name)
        if entry is not None and entry.uid == uid:
            entry.pending = status

    def _signals_of(self, key: TargetKey, *, thorough: bool) -> Iterator[Signal]:
        entries = self._signals.get(key, {})
        for name, entry in entries.items():
            if entry.parsed is not None and (entry.problems is not None or not thorough):
                spec, status = entry.parsed
            else:
                spec, status = self._spec_of(name, entry, thorough=thorough), _signal_status(entry)
                entry.parsed = (spec, status) if len(entries) >= MANY_SIGNALS else None
            yield Signal(
                namespace=key.namespace,
                name=name,
                uid=entry.uid,
                generation=entry.generation,
                status=status,
                spec=spec,
                problems=entry.problems or (),
                computed=entry.pending,
                resource_version=str(entry.version),
                received_at=entry.received_at,
            )

    def unchecked(self, key: TargetKey) -> Iterator[Callable[[], object]]:
        """Yield what is left to do before a thorough snapshot of a target costs nothing: a piece for each signal."""
        for name, entry in list(self._signals.get(key, {}).items()):
            if entry.problems is None:
                yield partial(self._spec_of, name, entry, thorough=True)

    @staticmethod
    def _spec_of(name: str, entry: SignalEntry, *, thorough: bool) -> ModelRiskSignalSpec | None:
        """The spec, or nothing where it is wrong; what is wrong is kept, so that nobody has to look twice."""
        if entry.problems is None:
            if not thorough:
                with contextlib.suppress(ValidationError):
                    spec = ModelRiskSignalSpec.model_validate_json(entry.spec)
                    if bool(spec.readings) != bool(spec.manual):
                        return spec
            document = {"metadata": {"name": name}, "spec": json.loads(entry.spec)}
            entry.problems = tuple(str(problem) for problem in validate(resources.SIGNALS.kind, document))
            entry.parsed = None
        return None if entry.problems else ModelRiskSignalSpec.model_validate_json(entry.spec)

    # --- Escalations ----------------------------------------------------------------------------------------------

    def _put_escalation(self, obj: Object) -> None:
        metadata = obj["metadata"]
        escalation = read_escalation(obj)
        if escalation is None:
            return  # written by an operator of another version: left alone, it is its business
        spec = escalation.spec
        key = TargetKey(metadata["namespace"], spec.target.kind, spec.target.name)
        ladder = LadderKey(metadata["namespace"], spec.ladder.name)
        name = (metadata["namespace"], metadata["name"])
        self._escalations[name] = (metadata["uid"], key, spec.target.uid, spec.ladder.name)
        before = self._open.get(key, {}).get(metadata["name"])
        was_open = before is not None and before.is_open
        if escalation.is_open or has_pending_messages(escalation):
            self._open[key][metadata["name"]] = escalation
        else:
            self._forget_open(key, metadata["name"])
        if not escalation.is_open:
            entry = ClosedEntry(
                metadata.get("creationTimestamp", ""),
                metadata["name"],
                spec.ladder.name,
                spec.drill,
                settled_by(escalation),
                breached_by(escalation),
            )
            self._closed[spec.target.uid][metadata["uid"]] = self._over[key][metadata["uid"]] = entry
            if name in self._decisions:
                self._enqueue(LateDecisionKey(*name), False)
        if was_open != escalation.is_open:
            self._enqueue(ladder, False)
        self._enqueue(IndexKey(metadata["namespace"]), False)
        self._enqueue(key, False)

    def _drop_escalation(self, obj: Object) -> None:
        metadata = obj["metadata"]
        known = self._escalations.get((metadata["namespace"], metadata["name"]))
        if known is None or known[0] != metadata["uid"]:
            return
        del self._escalations[(metadata["namespace"], metadata["name"])]
        _, key, target_uid, ladder = known
        was_open = self._open.get(key, {}).get(metadata["name"])
        if was_open is not None and was_open.is_open:
            self._deleted[key].append(was_open)
        self._forget_open(key, metadata["name"])
        for closed, by in ((self._closed, target_uid), (self._over, key)):
            closed[by].pop(metadata["uid"], None)  # type: ignore[index]
            if not closed[by]:  # type: ignore[index]
                del closed[by]  # type: ignore[arg-type]
        self._enqueue(LadderKey(metadata["namespace"], ladder), False)
        self._enqueue(IndexKey(metadata["namespace"]), False)
        self._enqueue(key, True)

    def _forget_open(self, key: TargetKey, name: str) -> None:
        self._open[key].pop(name, None)
        if not self._open[key]:
            del self._open[key]

    def has_escalation(self, namespace: str, name: str) -> bool:
        """Whether an escalation of that name is known, open or closed."""
        return (namespace, name) in self._escalations

    def take_deleted(self, key: TargetKey) -> list[Escalation]:
        """The escalations of a target that were deleted while open, once."""
        return self._deleted.pop(key, [])

    def open_escalations(self, ladder: Name | None = None) -> list[Escalation]:
        """All open escalations, or those of one ladder."""
        return [
            e
            for by_name in self._open.values()
            for e in by_name.values()
            if e.is_open and ladder in (None, (e.namespace, e.spec.ladder.name))
        ]

    # --- Decisions ------------------------------------------------------------------------------------------------

    def _put_decision(self, obj: Object) -> None:
        metadata = obj["metadata"]
        try:
            spec = EscalationDecisionSpec.model_validate(obj["spec"])
            status = DecisionStatus.model_validate(obj.get("status") or {})
        except ValidationError:
            log.warning("decision left out", namespace=metadata["namespace"], name=metadata["name"])
            return
        name = (metadata["namespace"], spec.escalation)
        if find(status.conditions, ConditionType.ACCEPTED) is not None:
            self._forget_decision(name, metadata["name"])
            return
        before = self._decisions[name].get(metadata["name"])
        self._decisions[name][metadata["name"]] = Decision(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            created=created_at(metadata),
            spec=spec,
            status=status,
            authorized=before.authorized if before and before.uid == metadata["uid"] else None,
        )
        self._enqueue_decided(name, urgent=spec.action is DecisionAction.CONTAIN)

    def _drop_decision(self, obj: Object) -> None:
        namespace, gone = obj["metadata"]["namespace"], obj["metadata"]["name"]
        for name in [n for n, by_name in self._decisions.items() if n[0] == namespace and gone in by_name]:
            if self._decisions[name][gone].uid == obj["metadata"]["uid"]:
                self._forget_decision(name, gone)

    def _forget_decision(self, name: Name, decision: str) -> None:
        self._decisions[name].pop(decision, None)
        if not self._decisions[name]:
            del self._decisions[name]

    def _enqueue_decided(self, name: Name, *, urgent: bool) -> None:
        known = self._escalations.get(name)
        current = self._open.get(known[1], {}).get(name[1]) if known is not None else None
        if known is not None and current is not None and current.is_open:
            self._enqueue(known[1], urgent)
        else:
            self._enqueue(LateDecisionKey(*name), False)

    def undecided(self, namespace: str, escalation: str) -> tuple[Decision, ...]:
        """The decisions on an escalation that have not been judged, in the order in which they were made."""
        found = self._decisions.get((namespace, escalation), {}).values()
        return tuple(sorted(found, key=lambda d: (d.created, d.name)))

    def authorize(self, decision: Decision, allowed: bool) -> None:
        """Keep what the API server's authorizer says of a decision."""
        by_name = self._decisions.get((decision.namespace, decision.spec.escalation), {})
        known = by_name.get(decision.name)
        if known is not None and known.uid == decision.uid:
            by_name[decision.name] = replace(known, authorized=allowed)

    # --- Workloads ------------------------------------------------------------------------------------------------

    def _workload_changed(self, key: TargetKey, spec: bool) -> None:
        if key in self._signals or key in self._open or key in self.workloads.carrying:
            self._enqueue(key, spec)

    def _workload_moved(self, key: TargetKey) -> None:
        """Pods and endpoints matter only while a containment is to be proved: everything else is left asleep."""
        if key in self.workloads.carrying or any(e.intents for e in self._open.get(key, {}).values()):
            self._enqueue(key, False)

    # --- What is around them --------------------------------------------------------------------------------------

    def _around_changed(self, namespace: str, kind: str, name: str, content: bool) -> None:
        """A policy of others matters to whatever is isolated, a Service or a route to what goes through it."""
        if (key := self.around.held_for(namespace, kind, name)) is not None:
            self._enqueue(key, False)
        for key, escalation, through in self._ways(namespace):
            if (through.kind, through.name) == (kind, name):
                self._enqueue(key, content and escalation.is_open)
            elif through.kind == kind == NETWORKPOLICIES.kind or through.backend == name:
                self._enqueue(key, False)

    def _served(self, namespace: str, service: str) -> None:
        for key, _, through in self._ways(namespace):
            if service in (through.name, through.backend):
                self._enqueue(key, False)

    def _ways(self, namespace: str) -> Iterator[tuple[TargetKey, Escalation, Through]]:
        """What the open escalations of a namespace act on beside their targets."""
        for key, by_name in list(self._open.items()):
            for escalation in by_name.values() if key.namespace == namespace else ():
                for intent in escalation.intents:
                    if intent.through is not None and not escalation.spec.drill:
                        yield key, escalation, intent.through

    def _taken(self, key: TargetKey) -> dict[tuple[str, str], str]:
        """What escalations of other targets act on, until it is given back."""
        found = {}
        for other, escalation, through in self._ways(key.namespace):
            resume = escalation.status.resume
            is_back = resume is not None and resume.applied_at is not None and not is_contained(escalation)
            if other != key and escalation.is_open and not is_back:
                found[(through.kind, through.name)] = f"{other.kind} {other.name} (Escalation {escalation.name})"
        return found

    # --- Reading --------------------------------------------------------------------------------------------------

    def escalation(self, key: TargetKey, name: str) -> Escalation | None:
        """An open escalation of a target, by name."""
        return self._open.get(key, {}).get(name)

    def mailing(self, key: TargetKey) -> list[Escalation]:
        """The escalations of a target that are open or have messages to deliver."""
        return list(self._open.get(key, {}).values())

    def snapshot(self, key: TargetKey, stamps: Mapping[tuple[str, int], Stamps], *, thorough: bool = True) -> Snapshot:
        """Everything that bears on one target.

        Args:
            key: The target.
            stamps: What the operator has seen of containments.
            thorough: Hold signals against every rule of the schema, as admission does. Without it, only what a decision
                needs is checked: the rules take a millisecond that a model may serve in.
        """
        signals = tuple(self._signals_of(key, thorough=thorough))
        escalations = tuple(self._open.get(key, {}).values())
        target = self.workloads.get(key)
        if target is not None and self.around.enabled:
            around = self.around.get(key.namespace, self.workloads.serving(key.namespace), self._taken(key))
            target = replace(target, around=around)
        names = {s.spec.ladder for s in signals if s.spec} | {e.spec.ladder.name for e in escalations}
        names |= self._held_under(key, target)
        ladders = {
            name: entry.ladder for name in names if (entry := self.ladders.get((key.namespace, name))) is not None
        }
        uids = {hold.target.uid for hold in self.around.holds(key)} | ({target.uid} if target else set())
        return Snapshot(
            key=key,
            target=target,
            carrying=self.around.carrying_for(key),
            ladders=ladders,
            signals=signals,
            escalations=escalations,
            last_closed=self._last_closed(target) if target else {},
            stamps={k: s for e in escalations for i in e.intents if (s := stamps.get(k := (e.uid, i.id)))},
            unsupported=self.runtimes.unsupported(key.kind),
            settled=latest(one for entry in self._over.get(key, {}).values() for one in entry.settled),
            breached=frozenset(h for e in self._closed.get(target.uid, {}).values() for h in e.breached)
            if target
            else frozenset(),
            closed=frozenset(e.name for uid in uids for e in self._closed.get(uid, {}).values()),
            decisions={e.name: d for e in escalations if e.is_open and (d := self.undecided(key.namespace, e.name))},
        )

    def _held_under(self, key: TargetKey, target: Workload | None) -> set[str]:
        """The ladders of the holds that are carried for a target: their Escalations may still have to be created."""
        carried = [held_by(target.carried, target.uid)] if target and not target.carried.is_empty else []
        return {hold.ladder.name for hold in (*carried, *self.around.holds(key)) if hold is not None}

    def _last_closed(self, target: Workload) -> dict[str, str]:
        """Return by ladder the uid of a target's newest closed escalation.

        Creation times are whole seconds, so several episodes may share one: the last is the one that the name of no
        other was made from.
        """
        closed = {uid: e for uid, e in self._closed.get(target.uid, {}).items() if not e.drill}
        names, found = {entry.name for entry in closed.values()}, {}
        for uid, entry in sorted(closed.items(), key=lambda item: (item[1].created, item[0])):
            if escalation_name(target.name, target.uid, entry.ladder, uid) not in names:
                found[entry.ladder] = uid
        return found

    def targets(self) -> set[TargetKey]:
        """Every target that some signal, open escalation or hold names."""
        named = set(self._signals) | {key for key, by_name in self._open.items() if by_name}
        return named | self.workloads.carrying | self.around.carrying


def _signal_status(entry: SignalEntry) -> SignalStatus:
    try:
        return SignalStatus.model_validate_json(entry.status)
    except ValidationError:
        return SignalStatus()
