"""Escalations as people meet them: contained, notified, half agreed. For tests of the commands for people."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from riskladder.api.base import API_VERSION, format_time

Document = dict[str, Any]

ROOT = Path(__file__).parents[1]
LADDER: Document = yaml.safe_load((ROOT / "examples" / "ladders" / "credit-scoring.yaml").read_text())
NAMESPACE, NAME = "models", "credit-scorer-3f9a1c2b"
OPENED = datetime(2026, 11, 24, 6, 0, 3, tzinfo=UTC)
NOW = OPENED + timedelta(minutes=20)


def at(minutes: float = 0, seconds: float = 0) -> str:
    """So long after the opening."""
    return format_time(OPENED + timedelta(minutes=minutes, seconds=seconds))


def condition(kind: str, status: bool, reason: str, message: str = "") -> Document:
    """A condition."""
    return {
        "type": kind,
        "status": str(status),
        "reason": reason,
        "message": message,
        "lastTransitionTime": at(),
        "observedGeneration": 1,
    }


def decided(action: str, role: str, by: str, *, counted: bool = True, minutes: float = 5, **more: Any) -> Document:
    """A decision as the operator has counted or refused it."""
    return {
        "name": f"{NAME}-{action.lower()}-{role}-{by}",
        "uid": f"{action}/{role}/{by}",
        "action": action,
        "role": role,
        "by": by,
        "at": at(minutes),
        "rung": 1,
        "counted": counted,
        "reason": "Counted",
        **more,
    }


def notified(role: str, channel: str, state: str = "Delivered", **more: Any) -> Document:
    """A message to a role."""
    return {
        "key": f"1/{role}/{channel}/EscalationOpened",
        "rung": 1,
        "tier": "high",
        "role": role,
        "channel": channel,
        "about": "EscalationOpened",
        "at": at(),
        "state": state,
        "attempts": 1,
        "doneAt": at(seconds=1),
        **more,
    }


def escalation(tier: str = "high", *, contained: bool = True, **changes: Any) -> Document:
    """An open escalation of credit-scorer. ``changes`` go into the status."""
    policy = copy.deepcopy(LADDER["spec"])
    pinned = {key: policy[key] for key in ("charter", "governs", "stakeholders", "channels", "indicators", "tiers")}
    pinned["charter"].pop("review")
    intent = {
        "id": 1,
        "tier": "high",
        "action": "ScaleToZero",
        "reason": "ContainmentIntended",
        "message": "scale from 3 to 0",
        "intendedAt": at(),
    }
    spec: Document = {
        "ladder": {"name": "credit-scoring", "uid": "u1", "generation": 3, "digest": "ab" * 32},
        "policy": pinned,
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "credit-scorer", "uid": "u2"},
        "model": {"name": "credit-scorer", "version": "2026.11.3", "owners": ["olga"]},
        "signal": {
            "name": "fairness",
            "uid": "u3",
            "observedAt": at(-1),
            "readings": [{"indicator": "demographic_parity_difference", "value": 0.27}],
        },
        "evidence": {"replicas": 3, "revision": "4", "readyEndpoints": 3, "takenAt": at()},
        **({"intent": intent} if contained else {}),
    }
    status: Document = {
        "observedGeneration": 1,
        "tier": tier,
        "rung": {
            "number": 1,
            "tier": tier,
            "enteredAt": at(),
            "reason": "EscalationOpened",
            "acknowledgeBy": at(10),
            "decideBy": at(60),
        },
        "waitingOn": ["executive", "legal"],
        "nextDeadline": at(60),
        "conditions": [
            condition("Closed", False, "Open"),
            condition("Contained", contained, "ScaledToZero" if contained else "ContainmentNotRequired"),
        ],
    }
    if contained:
        times = {"appliedAt": at(seconds=0.032), "endpointsEmptyAt": at(seconds=0.2), "podsGoneAt": at(seconds=0.6)}
        status["containments"] = [{"axis": "Workload", "intent": dict(intent), **times}]
    return {
        "apiVersion": API_VERSION,
        "kind": "Escalation",
        "metadata": {
            "namespace": NAMESPACE,
            "name": NAME,
            "uid": "u4",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": format_time(OPENED.replace(microsecond=0)),
            "labels": {"riskladder.dev/tier": tier},
        },
        "spec": spec,
        "status": status | changes,
    }
