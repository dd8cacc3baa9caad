"""The record chain on the cluster: appended to, never changed."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from riskladder.api.base import API_VERSION, format_time
from riskladder.api.chain import record_hash, record_name
from riskladder.api.commitments import sealed
from riskladder.api.escalation import LedgerHead
from riskladder.api.labels import LABEL_ESCALATION
from riskladder.api.record import GENESIS_HASH, MAX_ENTRIES, MAX_SEQUENCE, OPEN_NAMES, entries_of
from riskladder.cluster.client import Client, Conflict, NotFound, Object
from riskladder.cluster.resources import RECORDS

KEY = "key"
"""Entry of ``detail`` that identifies an action within its escalation: it distinguishes a repeated append from a second
action."""

LOOK_BACK = 8
"""Last records of a chain among which what an escalation has on record already is looked for, at its first pass."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One thing that happened, about to be recorded."""

    event: str
    key: str
    at: datetime
    actor: str
    detail: Mapping[str, str]

    def to_api(self) -> Object:
        """Return it as an entry of a record, its personal text sealed under fresh salts."""
        entry: Object = {
            "at": format_time(self.at),
            "actor": self.actor,
            "event": self.event,
            "detail": {KEY: self.key} | {name: text for name, text in self.detail.items() if name not in OPEN_NAMES},
        }
        personal = {name: sealed(text) for name, text in self.detail.items() if name in OPEN_NAMES}
        if personal:
            entry["commitments"] = {name: committed for name, (committed, _) in personal.items()}
            entry["open"] = {name: opened for name, (_, opened) in personal.items()}
        return entry


def record_object(
    namespace: str, namespace_uid: str, escalation: str, acts: Sequence[LedgerEntry], head: LedgerHead | None
) -> Object:
    """Return the EscalationRecord that follows the head and says all of this."""
    sequence = (head.sequence if head else 0) + 1
    spec: dict[str, Any] = {
        "escalation": escalation,
        "namespaceUid": namespace_uid,
        "sequence": sequence,
        "entries": [act.to_api() for act in acts],
        "previousHash": head.hash if head else GENESIS_HASH,
    }
    spec["hash"] = record_hash(spec)
    return {
        "apiVersion": API_VERSION,
        "kind": RECORDS.kind,
        "metadata": {
            "namespace": namespace,
            "name": record_name(escalation, sequence),
            "labels": {LABEL_ESCALATION: escalation},
        },
        "spec": spec,
    }


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an append."""

    head: LedgerHead | None
    """The new head."""
    others: tuple[Object, ...] = ()
    """Entries of the records that stood behind the old head and are none of those asked for: of a writer that was
    killed before it had written the status that goes with them."""


async def append(
    client: Client,
    namespace: str,
    namespace_uid: str,
    escalation: str,
    head: LedgerHead | None,
    acts: Iterable[LedgerEntry],
) -> Appended:
    """Record what happened behind the head, each act exactly once, and as many in one record as it takes.

    The name of a record is its place in the chain, so a second writer, or this one after a crash, meets a conflict:
    what stands there says some of these acts, which are then done, or others, behind which they go. An act is known
    by event and key, never by its hash: two writers salt its personal text differently, and it may be redacted since.
    A chain that is full takes no more; that is logged, and everything else goes on.

    Raises:
        ApiError: The API server refused a record or was not there; nothing is known to be appended. ``Conflict`` where
            a record of another namespace of the same name stands in the place.
    """
    missing = {(act.event, act.key): act for act in acts}
    wanted, owners = set(missing), {key.partition("/")[0] for _, key in missing}
    others: list[Object] = []
    while missing:
        if head is not None and head.sequence >= MAX_SEQUENCE:
            # What is not recorded must keep nobody from being notified, and no status from being written.
            left_out = [act.event for act in missing.values()]
            log.error("chain full", namespace=namespace, escalation=escalation, event_reasons=left_out)
            break
        body = record_object(namespace, namespace_uid, escalation, list(missing.values())[:MAX_ENTRIES], head)
        spec, is_new = body["spec"], True
        try:
            await client.create(RECORDS, namespace, body, strict=True)  # with a field dropped it would not verify
        except Conflict:
            spec, is_new = (await client.get(RECORDS, namespace, body["metadata"]["name"]))["spec"], False
            _check_namespace(namespace, body["metadata"]["name"], spec, namespace_uid)
            if head is None and not _is_of(spec, owners):
                # The chain of an earlier escalation of that name, which may be long, is not gone through one by one.
                head = await _last_of_others(client, namespace, escalation, spec, owners)
                continue
        head = LedgerHead(sequence=spec["sequence"], hash=spec["hash"])
        for entry in entries_of(spec):
            act = (entry["event"], entry["detail"].get(KEY, ""))
            missing.pop(act, None)
            if act not in wanted:
                others.append(entry)
        log.info(
            "record",
            namespace=namespace,
            escalation=escalation,
            event_reasons=[entry["event"] for entry in entries_of(spec)],
            sequence=head.sequence,
            hash=head.hash,
            adopted=not is_new,
        )
    return Appended(head, tuple(others))


def _is_of(spec: Mapping[str, Any], owners: Collection[str]) -> bool:
    """Return whether a record says anything of the escalations with these uids."""
    return any(entry["detail"].get(KEY, "").partition("/")[0] in owners for entry in entries_of(spec))


async def _last_of_others(
    client: Client, namespace: str, escalation: str, first: Mapping[str, Any], owners: Collection[str]
) -> LedgerHead:
    """Return the head of what a chain says of earlier escalations of its name.

    Places are filled one after the other, so that the last one is found by halves: in a chain of a thousand records by
    some thirty requests. What a killed operator has written of the escalation that goes on is among the last few.

    Args:
        client: Where to look.
        namespace: Of the chain.
        escalation: The name of the chain.
        first: Its first record.
        owners: uids of the escalation that goes on with it.

    Raises:
        ApiError: A request was refused or not answered.
    """
    known = {1: first}

    async def is_there(sequence: int) -> bool:
        try:
            known[sequence] = (await client.get(RECORDS, namespace, record_name(escalation, sequence)))["spec"]
        except NotFound:
            return False
        return True

    last, above = 1, 2
    while above <= MAX_SEQUENCE and await is_there(above):
        last, above = above, 2 * above
    above = min(above, MAX_SEQUENCE + 1)
    while above - last > 1:
        middle = (last + above) // 2
        last, above = (middle, above) if await is_there(middle) else (last, middle)
    own = last + 1
    for sequence in range(last, max(last - LOOK_BACK, 0), -1):
        if (sequence in known or await is_there(sequence)) and _is_of(known[sequence], owners):
            own = sequence
    if own > last:
        return LedgerHead(sequence=last, hash=known[last]["hash"])
    return LedgerHead(sequence=own - 1, hash=known[own]["previousHash"])


async def behind(client: Client, namespace: str, escalation: str, head: LedgerHead | None) -> list[Object]:
    """Return the entries of the records behind a head.

    Raises:
        ApiError: A request was refused or not answered.
    """
    found: list[Object] = []
    for sequence in itertools.count(head.sequence + 1 if head else 1):
        try:
            record = await client.get(RECORDS, namespace, record_name(escalation, sequence))
        except NotFound:
            return found
        found.extend(entries_of(record["spec"]))
    return found


def _check_namespace(namespace: str, name: str, spec: Mapping[str, Any], namespace_uid: str) -> None:
    found = spec.get("namespaceUid", namespace_uid)
    if found != namespace_uid:
        message = (
            f"record {name} was written in another namespace {namespace}: spec.namespaceUid is {found}, expected "
            f"{namespace_uid}. It was restored from a backup: nothing is appended behind it until it is removed"
        )
        where = RECORDS.path(namespace, name)
        raise Conflict(409, "AlreadyExists", message, verb="create", resource=RECORDS.title, where=where)
