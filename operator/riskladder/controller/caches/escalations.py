"""The cache of escalations: open ones as models, what outlasts closed ones, and those deleted while they were open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from riskladder.api.intent import NetworkTargetRef
from riskladder.controller.caches.closed import ClosedEscalations
from riskladder.controller.caches.endpoints import Name, Object
from riskladder.controller.caches.entries import ClosedEntry, Enqueue, IndexKey, LadderKey
from riskladder.controller.caches.indexed import IndexedTargets
from riskladder.controller.caches.outcomes import Acceptance, OutcomeCache
from riskladder.controller.caches.radius import RadiusCache
from riskladder.controller.caches.reading import has_pending_messages, read_escalation
from riskladder.policy.containment.state import is_contained
from riskladder.policy.snapshot import Escalation, Handled, TargetKey, breached_by, handled_by
from riskladder.workloads.model import Workload

_Key = TypeVar("_Key")


class _Known(NamedTuple):
    """Says what an escalation is about, open or closed."""

    uid: str
    target: TargetKey
    target_uid: str
    ladder: str


class _Path(NamedTuple):
    """What an escalation acts on besides its target."""

    key: TargetKey
    escalation: Escalation
    target_ref: NetworkTargetRef

    @property
    def is_taken(self) -> bool:
        """Whether it has not been restored."""
        resume = self.escalation.status.resume
        is_back = resume is not None and resume.applied_at is not None and not is_contained(self.escalation)
        return self.escalation.is_open and not is_back


def _paths_of(escalation: Escalation) -> list[NetworkTargetRef]:
    refs = (intent.target_ref for intent in escalation.intents if not escalation.spec.drill)
    return [ref for ref in refs if ref is not None]


class _Taken(Mapping[tuple[str, str], str]):
    """By kind and name: what others than one target act on. It is looked up, since there may be a thousand of them."""

    def __init__(self, cache: EscalationCache, key: TargetKey) -> None:
        self._cache, self._key = cache, key

    def _others(self, paths: Iterable[_Path]) -> Iterator[_Path]:
        return (path for path in paths if path.key != self._key and path.is_taken)

    def __getitem__(self, object_key: tuple[str, str]) -> str:
        for path in self._others(self._cache.paths_through(self._key.namespace, object_key[1])):
            if (path.target_ref.kind, path.target_ref.name) == object_key:
                return f"{path.key.kind} {path.key.name} (Escalation {path.escalation.name})"
        raise KeyError(object_key)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        paths = self._others(self._cache.network_paths(self._key.namespace))
        return iter(dict.fromkeys((path.target_ref.kind, path.target_ref.name) for path in paths))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class EscalationCache:
    """Every escalation by its target."""

    def __init__(
        self, enqueue: Enqueue, *, closed: Callable[[Name], None], indexed: IndexedTargets, radius: RadiusCache
    ) -> None:
        """Start empty.

        Args:
            enqueue: Called with what each change concerns.
            closed: Called with the name of an escalation that is stored as closed, or is gone.
            indexed: Called with every escalation, too.
            radius: The same.
        """
        self._enqueue = enqueue
        self._when_closed = closed
        self._indexed = indexed
        self._radius = radius
        self._current: dict[TargetKey, dict[str, Escalation]] = defaultdict(dict)
        """The open ones, and those closed ones that have messages to deliver."""
        self._paths: dict[str, dict[str, dict[str, _Path]]] = defaultdict(lambda: defaultdict(dict))
        """By namespace, and by name of what is acted on or of where its traffic goes: escalations that act on more than
        their target."""
        self._known: dict[Name, _Known] = {}
        self._deleted: dict[TargetKey, list[Escalation]] = defaultdict(list)
        """Escalations that somebody deleted while they were open: their chains still lack that fact."""
        self._closed: dict[str, ClosedEscalations] = defaultdict(ClosedEscalations)
        """By target uid."""
        self._closed_by_name: dict[TargetKey, ClosedEscalations] = defaultdict(ClosedEscalations)
        """The same by the name of the target: what people have handled outlasts the object."""
        self._accepted: set[TargetKey] = set()
        """Names of targets whose risk was accepted with a close, the last one perhaps."""
        self.outcomes = OutcomeCache()
        """How the closed ones ended."""

    # --- Feeding --------------------------------------------------------------------------------------------------

    def put(self, obj: Object) -> None:
        """Take in an escalation, unless an operator of another version wrote it, whose business it is."""
        metadata = obj["metadata"]
        name = (metadata["namespace"], metadata["name"])
        known = self._known.get(name)
        escalation = read_escalation(obj, self.get(known.target, name[1]) if known is not None else None)
        if escalation is None:
            return
        spec = escalation.spec
        key = TargetKey(metadata["namespace"], spec.target.kind, spec.target.name)
        self._known[name] = _Known(metadata["uid"], key, spec.target.uid, spec.ladder.name)
        before = self.get(key, metadata["name"])
        was_open = before is not None and before.is_open
        self._forget_paths(before)
        was_waiting = before.status.waiting if before is not None else None
        if escalation.is_open or has_pending_messages(escalation):
            self._current[key][metadata["name"]] = escalation
            self._note_paths(key, escalation)
        else:
            self._forget(key, metadata["name"])
        if not escalation.is_open:
            entry = ClosedEntry(
                metadata.get("creationTimestamp", ""),
                metadata["name"],
                spec.ladder.name,
                spec.drill,
                handled_by(escalation),
                breached_by(escalation),
            )
            self._closed[spec.target.uid].put(metadata["uid"], entry)
            self._closed_by_name[key].put(metadata["uid"], entry)
            self.outcomes.put(escalation)
            if any(one.acceptance for one in entry.handled):
                self._accepted.add(key)
            self._when_closed(name)
        is_waiting = escalation.status.waiting if escalation.is_open else None
        if was_open != escalation.is_open or was_waiting != is_waiting:
            self._enqueue(LadderKey(metadata["namespace"], spec.ladder.name), False)
        self._radius.put_escalation(escalation)
        if self._indexed.put(escalation):
            self._enqueue(IndexKey(metadata["namespace"]), False)
        self._enqueue(key, False)

    def drop(self, obj: Object) -> None:
        """Forget a deleted escalation, but for the fact that it was open."""
        metadata = obj["metadata"]
        name = (metadata["namespace"], metadata["name"])
        known = self._known.get(name)
        if known is None or known.uid != metadata["uid"]:
            return
        del self._known[name]
        self.outcomes.drop(known.uid)
        was_open = self.get(known.target, metadata["name"])
        if was_open is not None and was_open.is_open:
            self._deleted[known.target].append(was_open)
        self._forget(known.target, metadata["name"])
        self._radius.drop_escalation((name[0], known.ladder), known.target, known.uid)
        _remove(self._closed, known.target_uid, metadata["uid"])
        _remove(self._closed_by_name, known.target, metadata["uid"])
        self._enqueue(LadderKey(metadata["namespace"], known.ladder), False)
        if self._indexed.drop(*name):
            self._enqueue(IndexKey(metadata["namespace"]), False)
        self._when_closed(name)
        self._enqueue(known.target, True)

    def _forget(self, key: TargetKey, name: str) -> None:
        self._forget_paths(self._current[key].pop(name, None))
        if not self._current[key]:
            del self._current[key]

    def ladder_of(self, namespace: str, name: str) -> Name | None:
        """Return the ladder of an escalation that is known, open or closed."""
        known = self._known.get((namespace, name))
        return (namespace, known.ladder) if known is not None else None

    def deleted(self, key: TargetKey) -> list[Escalation]:
        """Return the escalations of a target that were gone while they were known to be open."""
        return list(self._deleted.get(key, ()))

    def forget_deleted(self, key: TargetKey, uid: str) -> None:
        """Forget that one is gone: it is on record, or it is not so."""
        left = [escalation for escalation in self._deleted.pop(key, ()) if escalation.uid != uid]
        if left:
            self._deleted[key] = left

    # --- Open -----------------------------------------------------------------------------------------------------

    def __contains__(self, key: TargetKey) -> bool:
        return key in self._current

    def is_known(self, namespace: str, name: str) -> bool:
        """Return whether an escalation of that name is known, open or closed."""
        return (namespace, name) in self._known

    def get(self, key: TargetKey, name: str) -> Escalation | None:
        """Return an escalation of a target that is open or has messages to deliver, by name."""
        return self._current.get(key, {}).get(name)

    def of(self, key: TargetKey) -> list[Escalation]:
        """Return the escalations of a target that are open or have messages to deliver."""
        return list(self._current.get(key, {}).values())

    def targets(self) -> set[TargetKey]:
        """Return the targets of the escalations that are open or have messages to deliver."""
        return {key for key, by_name in self._current.items() if by_name}

    def open_target(self, name: Name) -> TargetKey | None:
        """Return the target of an escalation, if that is open."""
        known = self._known.get(name)
        current = self.get(known.target, name[1]) if known is not None else None
        return known.target if known is not None and current is not None and current.is_open else None

    def open_ones(self, ladder: Name | None = None) -> list[Escalation]:
        """Return all open escalations, or those of one ladder."""
        return [
            e
            for by_name in self._current.values()
            for e in by_name.values()
            if e.is_open and ladder in (None, (e.namespace, e.spec.ladder.name))
        ]

    # --- The network path -----------------------------------------------------------------------------------------

    def _note_paths(self, key: TargetKey, escalation: Escalation) -> None:
        for target_ref in _paths_of(escalation):
            for name in {target_ref.name, target_ref.backend} - {None}:
                path = _Path(key, escalation, target_ref)
                self._paths[key.namespace][str(name)][f"{escalation.name}/{target_ref.kind}"] = path

    def _forget_paths(self, escalation: Escalation | None) -> None:
        if escalation is None:
            return
        paths = self._paths[escalation.namespace]
        for target_ref in _paths_of(escalation):
            for name in {target_ref.name, target_ref.backend} - {None}:
                paths[str(name)].pop(f"{escalation.name}/{target_ref.kind}", None)
                if not paths[str(name)]:
                    del paths[str(name)]

    def paths_through(self, namespace: str, name: str) -> list[_Path]:
        """Return what the open escalations of a namespace act on that has a name, or sends its traffic there."""
        return list(self._paths[namespace][name].values()) if name in self._paths[namespace] else []

    def network_paths(self, namespace: str) -> Iterator[_Path]:
        """Yield what the open escalations of a namespace act on besides their targets."""
        for name, by_name in list(self._paths[namespace].items()):
            yield from (path for path in list(by_name.values()) if path.target_ref.name == name)

    def taken_by_others(self, key: TargetKey) -> Mapping[tuple[str, str], str]:
        """Return by kind and name what escalations of other targets act on, until it is restored."""
        return _Taken(self, key)

    # --- Closed ---------------------------------------------------------------------------------------------------

    def handled(self, key: TargetKey) -> tuple[Handled, ...]:
        """Return the breaches that people have handled on targets of that name, the latest of each ladder and tier."""
        known = self._closed_by_name.get(key)
        return known.handled if known is not None else ()

    def acceptances(self) -> list[Acceptance]:
        """Return the risks that were accepted with a close, as far as no later close has its say on that target."""
        found = []
        for key in list(self._accepted):
            last = {one.ladder: one for one in self.handled(key)}
            if not any(one.acceptance for one in last.values()):
                self._accepted.discard(key)
            for ladder, one in last.items():
                if (accepted := one.acceptance) is not None:
                    target = f"{key.kind}/{key.name}"
                    found.append(Acceptance(key.namespace, ladder, target, accepted.tier, accepted.until))
        return found

    def breached(self, target_uid: str) -> frozenset[str]:
        """Return the hashes of the revisions that the closed escalations of a target were about."""
        known = self._closed.get(target_uid)
        return known.breached if known is not None else frozenset()

    def closed_names(self, target_uids: Iterable[str]) -> frozenset[str]:
        """Return the names of the closed escalations of some targets."""
        known = [self._closed[uid].names for uid in dict.fromkeys(target_uids) if uid in self._closed]
        return known[0] if len(known) == 1 else frozenset().union(*known)

    def last_closed(self, target: Workload) -> dict[str, str]:
        """Return by ladder the uid of a target's newest closed escalation."""
        known = self._closed.get(target.uid)
        return known.last(target.name, target.uid) if known is not None else {}


def _remove(closed: dict[_Key, ClosedEscalations], key: _Key, uid: str) -> None:
    closed[key].remove(uid)
    if not closed[key]:
        del closed[key]
