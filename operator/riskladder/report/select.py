"""Chooses what an archive of a period holds: whole chains, and what belongs to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from riskladder.api.chain import ChainKey, position_of
from riskladder.api.reasons import Reason
from riskladder.api.record import entries_of
from riskladder.people.record_times import time_in_record

Object = dict[str, Any]


def of_period(
    objects: Iterable[Object], *, since: datetime | None, until: datetime | None, ladder: str = ""
) -> list[Object]:
    """Return what there is about the escalations with a record in the period or open in it, each chain as a whole.

    Args:
        objects: Records, escalations, decisions and ladders.
        since: Begin; ``None`` for the first record.
        until: End; ``None`` for the last record.
        ladder: Name of the one ladder that it is about; empty for all.
    """
    found = list(objects)
    records = [(position_of(obj).key, obj) for obj in found if obj.get("kind") == "EscalationRecord"]
    acts: dict[ChainKey, list[Mapping[str, Any]]] = {}
    for key, obj in records:
        acts.setdefault(key, []).extend(entries_of(_spec(obj)))
    chosen = {key for key, entries in acts.items() if _belongs(entries, since, until)}
    names: dict[ChainKey, set[str]] = {}
    for key, obj in records:
        names.setdefault(key, set()).update(_ladders(obj))
    for obj in found:
        if obj.get("kind") == "Escalation":
            names.setdefault(_key(obj), set()).update(filter(None, [_mapping(_spec(obj).get("ladder")).get("name")]))
    if ladder:
        chosen = {key for key in chosen if ladder in names.get(key, ())}
    ladders = {(key.namespace, name) for key in chosen for name in names.get(key, ())}
    kept = [obj for key, obj in records if key in chosen]
    for obj in found:
        namespace, name = _key(obj)
        match obj.get("kind"):
            case "Escalation" if _key(obj) in chosen:
                kept.append(obj)
            case "EscalationDecision" if ChainKey(namespace, str(_spec(obj).get("escalation"))) in chosen:
                kept.append(obj)
            case "EscalationLadder" if (namespace, name) in ladders:
                kept.append(obj)
    return kept


def _belongs(entries: Iterable[Mapping[str, Any]], since: datetime | None, until: datetime | None) -> bool:
    """Return whether something happened in the period, or the escalation was open in it."""
    timed = [(at, _ends(entry)) for entry in entries if (at := time_in_record(entry.get("at"))) is not None]
    if not timed:
        return since is None and until is None
    if any((since is None or since <= at) and (until is None or at < until) for at, _ in timed):
        return True
    return min(at for at, _ in timed) < (until or max(timed)[0]) and not any(is_end for _, is_end in timed)


def _ends(entry: Mapping[str, Any]) -> bool:
    key = str(_mapping(entry.get("detail")).get("key", ""))
    return key.endswith("/closed") or entry.get("event") == Reason.ESCALATION_DELETED


def _ladders(record: Object) -> Iterator[str]:
    for entry in entries_of(_spec(record)):
        if name := _mapping(entry.get("detail")).get("ladder"):
            yield str(name)


def _key(obj: Object) -> ChainKey:
    metadata = _mapping(obj.get("metadata"))
    return ChainKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def _spec(obj: Object) -> Mapping[str, Any]:
    return _mapping(obj.get("spec"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
