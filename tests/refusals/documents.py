"""Documents that pass, with every optional part that a case needs."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
LADDER = ROOT / "examples" / "ladders" / "credit-scoring.yaml"
Document = dict[str, Any]

HASH = "ab" * 32
TIME = "2026-11-24T06:00:00Z"

SIGNAL: Document = {
    "apiVersion": "riskladder.dev/v1alpha1",
    "kind": "ModelRiskSignal",
    "metadata": {"name": "fairness", "namespace": "models"},
    "spec": {
        "ladder": "credit-scoring",
        "target": {"kind": "Deployment", "name": "credit-scorer"},
        "model": {"name": "credit-scorer", "version": "2026.11.3", "card": "https://models.example/credit"},
        "source": "fairness-monitor",
        "observedAt": TIME,
        "readings": [
            {"indicator": "demographic_parity_difference", "value": 0.27, "window": "24h", "evidence": "s3://reports/1"}
        ],
    },
}

ESCALATION: Document = {
    "apiVersion": "riskladder.dev/v1alpha1",
    "kind": "Escalation",
    "metadata": {"name": "credit-scorer-1", "namespace": "models"},
    "spec": {
        "ladder": {"name": "credit-scoring", "uid": "u1", "generation": 1, "digest": HASH},
        "policy": {"tiers": [{"name": "high"}]},
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "credit-scorer", "uid": "u2"},
        "model": {"name": "credit-scorer"},
        "signal": {"name": "fairness", "uid": "u3", "observedAt": TIME},
        "evidence": {"replicas": 3, "takenAt": TIME},
        "intent": {
            "id": 1,
            "tier": "high",
            "action": "ScaleToZero",
            "reason": "ThresholdBreached",
            "intendedAt": TIME,
        },
    },
}

RECORD: Document = {
    "apiVersion": "riskladder.dev/v1alpha1",
    "kind": "EscalationRecord",
    "metadata": {"name": "credit-scorer-1-000001", "namespace": "models"},
    "spec": {
        "escalation": "credit-scorer-1",
        "sequence": 1,
        "entries": [
            {
                "at": TIME,
                "actor": "system:serviceaccount:riskladder:riskladder",
                "event": "Opened",
                "detail": {"tier": "high"},
            }
        ],
        "previousHash": "0" * 64,
        "hash": HASH,
    },
}

DECISION: Document = {
    "apiVersion": "riskladder.dev/v1alpha1",
    "kind": "EscalationDecision",
    "metadata": {"name": "credit-scorer-1-legal", "namespace": "models"},
    "spec": {
        "escalation": "credit-scorer-1",
        "action": "Acknowledge",
        "role": "legal",
        "rationale": "Seen, counsel is on it",
    },
}

INDEX: Document = {
    "apiVersion": "riskladder.dev/v1alpha1",
    "kind": "ContainmentIndex",
    "metadata": {"name": "riskladder", "namespace": "models"},
    "spec": {
        "targets": {
            "deployments.apps/credit-scorer": {
                "kind": "Deployment",
                "escalation": "credit-scorer-1",
                "tier": "high",
                "action": "ScaleToZero",
            }
        }
    },
}

BINDING: Document = {
    "apiVersion": "riskladder.dev/v1alpha1",
    "kind": "MonitorBinding",
    "metadata": {"name": "credit-alerts", "namespace": "models"},
    "spec": {
        "format": "Alertmanager",
        "ladder": "credit-scoring",
        "target": {"kind": "Deployment", "name": "credit-scorer"},
        "model": {"name": "credit-scorer"},
        "source": "fairness-monitor",
        "serviceAccount": "fairness-monitor",
        "sender": {"audienceToken": {}},
        "readings": [{"indicator": "demographic_parity_difference", "pick": "double(entry.annotations.value)"}],
    },
}

DOCUMENTS = {
    "ModelRiskSignal": SIGNAL,
    "Escalation": ESCALATION,
    "EscalationRecord": RECORD,
    "EscalationDecision": DECISION,
    "ContainmentIndex": INDEX,
    "MonitorBinding": BINDING,
}


@cache
def _ladder() -> Document:
    """The ladder of the examples, read once, with an indicator that is to stay above."""
    document: Document = yaml.safe_load(LADDER.read_text())
    document["spec"]["indicators"].append({"name": "auc"})
    for tier, below in zip(document["spec"]["tiers"], (0.7, 0.6), strict=True):
        tier["triggers"].append({"indicator": "auc", "below": below})
    return document


def valid(kind: str) -> Document:
    """A new document that passes, with every optional part that a case needs."""
    return copy.deepcopy(_ladder() if kind == "EscalationLadder" else DOCUMENTS[kind])
