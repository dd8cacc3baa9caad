"""Records and escalations as the operator writes them, for tests of what reads them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from riskladder.api.base import API_VERSION
from riskladder.api.escalation import LedgerHead
from riskladder.api.labels import FIELD_MANAGER
from riskladder.api.record import entries_of
from riskladder.cluster.ledger import LedgerEntry, record_object

Document = dict[str, Any]

NAMESPACE, ESCALATION = "models", "credit-scorer-3f9a1c2b"
NAMESPACE_UID = "5e1f7a90-2b3c-4d5e-8f60-718293a4b5c6"
UID = "0f5b1c52-7d0e-4d1c-9b1e-1f6f0f4f8c11"
OPENED = datetime(2026, 11, 24, 6, 0, 3, 120_417, tzinfo=UTC)
INTENDED, APPLIED, EMPTY, GONE = (
    f"2026-11-24T06:00:03.{fraction}Z" for fraction in ("120417", "152300", "205000", "612000")
)

ENTRIES: tuple[LedgerEntry, ...] = (
    LedgerEntry(
        "EscalationOpened",
        f"{UID}/opened",
        OPENED,
        FIELD_MANAGER,
        {
            "ladder": "credit-scoring",
            "ladderUid": "0e6c3c0a-6f55-4a0c-8f0a-3d8c0f4c8f11",
            "ladderGeneration": "3",
            "ladderDigest": "1b7e5c" * 10 + "1b7e",
            "policy": '{"tiers":[{"name":"high"}]}',
            "target": "Deployment/credit-scorer",
            "targetUid": "4ad6a1c0-54a1-4d38-9d5f-0f7a3c1a2b3c",
            "signal": "credit-scorer-fairness",
            "signalUid": "7c1d2e3f-0a1b-4c5d-8e9f-a0b1c2d3e4f5",
            "observedAt": "2026-11-24T06:00:00Z",
            "tier": "high",
            "reading.demographic_parity_difference": "0.240878",
            "reading.population_stability_index": "0.15231",
            "replicas": "3",
            "readyPods": "3",
            "readyEndpoints": "3",
            "revision": "4",
            "podTemplateHash": "6f9c7b5d4",
            "images": "registry.example/credit-scorer@sha256:9b2d",
            "message": "Deployment credit-scorer is in tier high: signal credit-scorer-fairness reads "
            "demographic_parity_difference=0.240878, population_stability_index=0.15231",
        },
    ),
    LedgerEntry(
        "ContainmentApplied",
        f"{UID}/applied/1",
        OPENED + timedelta(microseconds=31_883),
        FIELD_MANAGER,
        {
            "intent": "1",
            "action": "Rollback",
            "tier": "high",
            "revision": "3",
            "podTemplateHash": "58d7f9c4b",
            "intendedAt": INTENDED,
            "message": "rolled back to revision 3 32 ms after the intent (tier high)",
        },
    ),
    LedgerEntry(
        "RolledBack",
        f"{UID}/contained/1",
        OPENED + timedelta(microseconds=491_583),
        FIELD_MANAGER,
        {
            "intent": "1",
            "action": "Rollback",
            "tier": "high",
            "revision": "3",
            "podTemplateHash": "58d7f9c4b",
            "appliedAt": APPLIED,
            "endpointsEmptyAt": EMPTY,
            "podsGoneAt": GONE,
            "message": "rolled back to revision 3: proved, none of its pods is left"
            ", and no Service lists one of them as serving",
        },
    ),
    LedgerEntry(
        "ContainmentReapplied",
        f"{UID}/reverted/1/1",
        OPENED + timedelta(hours=2, minutes=3),
        FIELD_MANAGER,
        {
            "intent": "1",
            "fieldManager": "kubectl-edit",
            "count": "1",
            "message": "kubectl-edit reverted the containment (1 time(s) in all); rolled back to revision 3 again",
        },
    ),
)


def chain(
    records: Sequence[LedgerEntry] = ENTRIES,
    *,
    escalation: str = ESCALATION,
    namespace: str = NAMESPACE,
    namespace_uid: str = NAMESPACE_UID,
) -> list[Document]:
    """The records, chained; their salts are the same each time, and so are the hashes."""
    head: LedgerHead | None = None
    objects: list[Document] = []
    salts = (f"{number:032x}" for number in itertools.count())
    with patch("riskladder.api.commitments.secrets.token_hex", lambda size: next(salts)):
        for record in records:
            objects.append(record_object(namespace, namespace_uid, escalation, [record], head))
            spec = objects[-1]["spec"]
            head = LedgerHead(sequence=spec["sequence"], hash=spec["hash"])
    return objects


def said(records: Sequence[Document]) -> list[Document]:
    """All that records say happened, in order, each as if it had a record of its own."""
    return [
        {**r, "spec": {"escalation": r["spec"]["escalation"], **act}} for r in records for act in entries_of(r["spec"])
    ]


def escalation(records: Sequence[Document], *, status: Mapping[str, Any] | None = None) -> Document:
    """The Escalation whose ledger notes the last of the records; as much of it as the command line reads."""
    last = records[-1]
    return {
        "apiVersion": API_VERSION,
        "kind": "Escalation",
        "metadata": {"name": last["spec"]["escalation"], "namespace": last["metadata"]["namespace"]},
        "spec": {
            "ladder": {"name": "credit-scoring"},
            "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "credit-scorer"},
            "drill": False,
        },
        "status": {
            "tier": "high",
            "ledger": {"sequence": last["spec"]["sequence"], "hash": last["spec"]["hash"]},
            "conditions": [
                {
                    "type": "Contained",
                    "status": "True",
                    "reason": "RolledBack",
                    "message": "rolled back to revision 3: none of its pods is left"
                    ", and no Service lists one of them as serving",
                }
            ],
            **(status or {}),
        },
    }


def listed(*objects: Document) -> Document:
    """The objects as ``kubectl get -o yaml`` prints them."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": copy.deepcopy(objects)}
