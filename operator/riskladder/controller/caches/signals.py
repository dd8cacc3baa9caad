"""The cache of signals, of which there may be many thousands: compact JSON, parsed when their target is looked at."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from pydantic import ValidationError

from riskladder.api.base import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN
from riskladder.api.labels import BINDING_ANNOTATION
from riskladder.api.reasons import ConditionType
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.api.text import shared
from riskladder.api.validation import validate
from riskladder.cluster import resources
from riskladder.controller.caches.endpoints import Name, Object
from riskladder.controller.caches.entries import Enqueue, LadderKey, SignalEntry, compact, version_of
from riskladder.controller.caches.reading import received_at
from riskladder.controller.reading_gauges import StoredStatus
from riskladder.policy.snapshot import Signal, TargetKey
from riskladder.policy.unusable import UnusableSignal

MANY_SIGNALS = 64
"""Signals of one target from which on they are kept as models, too: there, time is dearer than memory."""

MAX_NAME = 253
RECENT = 256
"""Signals of all other targets that are kept as models: a target that is looked at is looked at again a few times."""


class SignalCache:
    """Every signal by the target that it names."""

    def __init__(self, enqueue: Enqueue) -> None:
        """Start empty; ``enqueue`` is called with the target that each change concerns."""
        self._enqueue = enqueue
        self._entries: dict[TargetKey, dict[str, SignalEntry]] = defaultdict(dict)
        self._targets: dict[Name, TargetKey] = {}
        self._unusable: dict[Name, dict[str, UnusableSignal]] = {}
        """By ladder, by name: those that report something that would breach, and cannot be used."""

    def put(self, obj: Object) -> None:
        """Take in a signal; urgent where anything but its status is new."""
        metadata, stored = obj["metadata"], obj.get("spec") or {}
        name = (metadata["namespace"], metadata["name"])
        spec = stored if isinstance(stored, Mapping) else {}  # an older schema may have let anything in
        target = spec.get("target")
        target = target if isinstance(target, Mapping) else {}
        key = TargetKey(name[0], shared(str(target.get("kind", ""))), shared(str(target.get("name", ""))))
        old_key = self._targets.get(name)
        before = self._entries[old_key].get(name[1]) if old_key is not None else None
        if old_key is not None and old_key != key:
            self._forget(name, old_key)
            self._enqueue(old_key, True)
        ladder = shared(str(spec.get("ladder", "")))
        generation, status = metadata.get("generation", 0), compact(obj.get("status") or {})
        same = before is not None and before.uid == metadata["uid"] and before.generation == generation
        self._entries[key][name[1]] = SignalEntry(
            uid=metadata["uid"],
            version=version_of(obj),
            generation=generation,
            target=key,
            ladder=ladder,
            spec=before.spec if same and before else compact(stored),
            status=status,
            problems=before.problems if same and before else None,
            # A status stored meanwhile, by another operator perhaps, is newer than what was computed here.
            pending=before.pending if before and (before.uid, before.status) == (metadata["uid"], status) else None,
            received_at=before.received_at if same and before else received_at(metadata),
            binding=_binding_of(metadata),
        )
        self._targets[name] = key
        if before is not None and before.ladder != ladder:
            self._note_unusable(name, before.ladder, None)
        self._note_unusable(name, ladder, unusable_as_stored(name[1], spec, obj.get("status")))
        self._enqueue(key, not same)

    def drop(self, obj: Object) -> None:
        """Forget a deleted signal."""
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        key = self._targets.get(name)
        if key is not None and self._entries[key][name[1]].uid == obj["metadata"]["uid"]:
            self._forget(name, key)
            self._enqueue(key, False)

    def _forget(self, name: Name, key: TargetKey) -> None:
        self._targets.pop(name, None)
        entry = self._entries[key].get(name[1])
        if entry is not None:
            self._note_unusable(name, entry.ladder, None)
        self._entries[key].pop(name[1], None)
        if not self._entries[key]:
            del self._entries[key]

    def unusable(self, ladder: Name) -> tuple[UnusableSignal, ...]:
        """Return the signals of a ladder that report something that would breach, and cannot be used."""
        return tuple(self._unusable.get(ladder, {}).values())

    def count_unusable(self) -> Counter[tuple[str, str, str]]:
        """Count them by namespace, ladder and reason."""
        return Counter((*ladder, one.reason) for ladder, found in self._unusable.items() for one in found.values())

    def _note_unusable(self, name: Name, ladder: str, found: UnusableSignal | None) -> None:
        """Keep what the status of a signal says of that; the ladder says so, too, where it has changed."""
        ladder_key = (name[0], ladder)
        known = self._unusable.get(ladder_key, {})
        if known.get(name[1]) == found:
            return
        if found is not None:
            self._unusable.setdefault(ladder_key, {})[name[1]] = found
        else:
            del known[name[1]]
            if not known:
                del self._unusable[ladder_key]
        self._enqueue(LadderKey(*ladder_key), False)

    def stored(self) -> list[StoredStatus]:
        """Return the statuses of all signals, as they are stored."""
        return [
            StoredStatus(entry.uid, key.namespace, entry.status)
            for key, by_name in self._entries.items()
            for entry in by_name.values()
        ]

    def __contains__(self, key: TargetKey) -> bool:
        return key in self._entries

    def targets(self, ladder: Name | None = None) -> set[TargetKey]:
        """Return the targets that any signal names, or any signal of one ladder."""
        if ladder is None:
            return set(self._entries)
        return {
            key
            for key, by_name in self._entries.items()
            if key.namespace == ladder[0] and any(entry.ladder == ladder[1] for entry in by_name.values())
        }

    def remember(self, key: TargetKey, name: str, uid: str, status: SignalStatus | None) -> None:
        """Keep a signal's computed status until it is written (``None``: it has been), so that no reading is lost."""
        entries = self._entries.get(key, {})
        entry = entries.get(name)
        if entry is not None and entry.uid == uid:
            entry.pending = status
            if status is not None and len(entries) < MANY_SIGNALS:
                entry.pending = status.model_dump_json(by_alias=True, exclude_none=True).encode()

    def of(self, key: TargetKey, *, thorough: bool) -> Iterator[Signal]:
        """Yield the signals of a target as models.

        Args:
            key: The target.
            thorough: Hold them against every rule of the schema.
        """
        entries = self._entries.get(key, {})
        for name, entry in entries.items():
            if entry.parsed is not None and (entry.problems is not None or not thorough):
                spec, status = entry.parsed
            else:
                spec, status = _spec_of(name, entry, thorough=thorough), _read_status(entry.status)
                entry.parsed = (spec, status) if len(entries) >= MANY_SIGNALS else None
            yield Signal(
                namespace=key.namespace,
                name=name,
                uid=entry.uid,
                generation=entry.generation,
                status=status,
                spec=spec,
                problems=entry.problems or (),
                computed=_read_status(entry.pending) if isinstance(entry.pending, bytes) else entry.pending,
                resource_version=str(entry.version),
                received_at=entry.received_at,
                binding=entry.binding,
            )

    def unchecked(self, key: TargetKey) -> Iterator[Callable[[], object]]:
        """Yield what is left to do before a thorough look at a target costs nothing: a piece for each signal."""
        for name, entry in list(self._entries.get(key, {}).items()):
            if entry.problems is None:
                yield partial(_spec_of, name, entry, thorough=True)


def _spec_of(name: str, entry: SignalEntry, *, thorough: bool) -> ModelRiskSignalSpec | None:
    """Return the spec, or nothing where it is wrong; what is wrong is kept, so that it is looked for only once."""
    if entry.problems is None:
        if not thorough:
            with contextlib.suppress(ValidationError):
                spec = _read_spec(entry.spec)
                if bool(spec.readings) != bool(spec.manual):
                    return spec
        document = {"metadata": {"name": name}, "spec": json.loads(entry.spec)}
        entry.problems = tuple(str(problem) for problem in validate(resources.SIGNALS.kind, document))
        entry.parsed = None
    return None if entry.problems else _read_spec(entry.spec)


def _binding_of(metadata: Mapping[str, Any]) -> str:
    """Return the MonitorBinding that an annotation names; nothing where that can be no name."""
    name = (metadata.get("annotations") or {}).get(BINDING_ANNOTATION, "")
    return name if len(name) <= MAX_NAME and re.fullmatch(DNS_SUBDOMAIN_PATTERN, name) else ""


@lru_cache(maxsize=RECENT)
def _read_spec(stored: bytes) -> ModelRiskSignalSpec:
    return ModelRiskSignalSpec.model_validate_json(stored)


@lru_cache(maxsize=RECENT)
def _read_status(stored: bytes) -> SignalStatus:
    try:
        return SignalStatus.model_validate_json(stored)
    except ValidationError:
        return SignalStatus()


def unusable_as_stored(name: str, spec: Object, status: object) -> UnusableSignal | None:
    """Return what the stored status of a signal says of why it cannot be used, where somebody is to be notified."""
    found = status if isinstance(status, Mapping) else {}
    reason, source = found.get("unusable"), spec.get("source")
    if not isinstance(reason, str) or not reason:
        return None
    known = source if isinstance(source, str) and re.fullmatch(DNS_LABEL_PATTERN, source) and len(source) < 64 else ""
    conditions: Iterable[Object] = found.get("conditions") or ()
    ready: Object = next((c for c in conditions if c.get("type") == ConditionType.READY), {})
    return UnusableSignal(name, known, reason, str(ready.get("message", "")))
