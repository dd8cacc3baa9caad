"""Chooses what an archive of a period holds: whole chains, and what belongs to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from riskladder.api.chain import ChainKey, position_of
from riskladder.api.record import entries_of
from riskladder.people.record_times import time_in_record

Object = dict[str, Any]


def of_period(
    objects: Iterable[Object], *, since: datetime | None, until: datetime | None, ladder: str = ""
) -> list[Object]:
    """Return what there is about the escalations with a record in the period, each chain as a whole.

    Args:
        objects: Records, escalations, decisions and ladders.
        since: Begin; ``None`` for the first record.
        until: End; ``None`` for the last record.
        ladder: Name of the one ladder that it is about; empty for all.
    """
    found = list(objects)
    records = [(position_of(obj).key, obj) for obj in found if obj.get("kind") == "EscalationRecord"]
    chosen = {key for key, obj in records if any(_within(at, since, until) for at in _times(obj))}
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


def _within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or since <= at) and (until is None or at < until)


def _times(record: Object) -> Iterator[datetime]:
    for entry in entries_of(_spec(record)):
        if (at := time_in_record(entry.get("at"))) is not None:
            yield at


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
