"""The record chain on the cluster: appended to, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from riskladder.api.base import API_VERSION, format_time
from riskladder.api.chain import record_hash, record_name
from riskladder.api.escalation import LedgerHead
from riskladder.api.labels import LABEL_ESCALATION
from riskladder.api.record import GENESIS_HASH, MAX_ENTRIES, acts_of
from riskladder.cluster.client import Client, Conflict, Object
from riskladder.cluster.resources import RECORDS

KEY = "key"
"""Entry of ``detail`` that identifies an act within its escalation: what tells a repeated append from a second act."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happened, about to be recorded."""

    event: str
    key: str
    at: datetime
    actor: str
    detail: Mapping[str, str]

    def to_api(self) -> Object:
        """Return it as an entry of a record."""
        return {
            "at": format_time(self.at),
            "actor": self.actor,
            "event": self.event,
            "detail": {KEY: self.key, **self.detail},
        }


def record_object(namespace: str, escalation: str, acts: Sequence[Act], head: LedgerHead | None) -> Object:
    """Return the EscalationRecord that follows the head and says all of this."""
    sequence = (head.sequence if head else 0) + 1
    spec: dict[str, Any] = {
        "escalation": escalation,
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
    client: Client, namespace: str, escalation: str, head: LedgerHead | None, acts: Iterable[Act]
) -> Appended:
    """Record what happened behind the head, each act exactly once, and as many in one record as it takes.

    The name of a record is its place in the chain, so a second writer, or this one after a crash, meets a conflict:
    what stands there says some of these acts, which are then done, or others, behind which they go.

    Raises:
        ApiError: The API server refused a record or was not there; nothing is known to be appended.
    """
    missing = {(act.event, act.key): act for act in acts}
    wanted = set(missing)
    others: list[Object] = []
    while missing:
        body = record_object(namespace, escalation, list(missing.values())[:MAX_ENTRIES], head)
        spec, is_new = body["spec"], True
        try:
            await client.create(RECORDS, namespace, body)
        except Conflict:
            spec, is_new = (await client.get(RECORDS, namespace, body["metadata"]["name"]))["spec"], False
        head = LedgerHead(sequence=spec["sequence"], hash=spec["hash"])
        for entry in acts_of(spec):
            act = (entry["event"], entry["detail"].get(KEY, ""))
            missing.pop(act, None)
            if act not in wanted:
                others.append(entry)
        log.info(
            "record",
            namespace=namespace,
            escalation=escalation,
            event_reasons=[entry["event"] for entry in acts_of(spec)],
            sequence=head.sequence,
            hash=head.hash,
            adopted=not is_new,
        )
    return Appended(head, tuple(others))
