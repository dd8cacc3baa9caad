"""The record chain on the cluster: appended to, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from riskladder.api.base import API_VERSION, format_time
from riskladder.api.chain import record_hash, record_name
from riskladder.api.escalation import LedgerHead
from riskladder.api.labels import LABEL_ESCALATION
from riskladder.api.record import GENESIS_HASH
from riskladder.cluster.client import Client, Conflict, Object
from riskladder.cluster.resources import RECORDS

KEY = "key"
"""Entry of ``detail`` that identifies an act within its escalation: what tells a repeated append from a second act."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A record about to be appended."""

    event: str
    key: str
    at: datetime
    actor: str
    detail: Mapping[str, str]


def record_object(namespace: str, escalation: str, record: Record, head: LedgerHead | None) -> Object:
    """The EscalationRecord that follows the head."""
    sequence = (head.sequence if head else 0) + 1
    spec: dict[str, Any] = {
        "escalation": escalation,
        "sequence": sequence,
        "at": format_time(record.at),
        "actor": record.actor,
        "event": record.event,
        "detail": {KEY: record.key, **record.detail},
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
    """Specs of the records that stood behind the old head and are none of those asked for: of a writer that was killed
    before it had written the status that goes with them."""


async def append(
    client: Client, namespace: str, escalation: str, head: LedgerHead | None, records: Iterable[Record]
) -> Appended:
    """Append records behind the head, each exactly once.

    The name of a record is its place in the chain, so a second writer, or this one after a crash, meets a conflict:
    what stands there is one of these acts, which is then done, or another, behind which they go.

    Raises:
        ApiError: The API server refused a record or was not there; nothing is known to be appended.
    """
    records = list(records)
    wanted = {(record.event, record.key) for record in records}
    found: set[tuple[str, str]] = set()
    others: list[Object] = []
    for record in records:
        while (record.event, record.key) not in found:
            body = record_object(namespace, escalation, record, head)
            spec, is_new = body["spec"], True
            try:
                await client.create(RECORDS, namespace, body)
            except Conflict:
                spec, is_new = (await client.get(RECORDS, namespace, body["metadata"]["name"]))["spec"], False
            head = LedgerHead(sequence=spec["sequence"], hash=spec["hash"])
            act = (spec["event"], spec["detail"].get(KEY, ""))
            found.add(act)
            if act not in wanted:
                others.append(spec)
            log.info(
                "record",
                namespace=namespace,
                escalation=escalation,
                event_reason=spec["event"],
                sequence=head.sequence,
                hash=head.hash,
                adopted=not is_new,
            )
    return Appended(head, tuple(others))
