"""The objects that people send. Pure, but for the random end of a name."""

from __future__ import annotations

import secrets
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.decision import EscalationDecisionSpec
from riskladder.api.signal import Manual, ReportedBy, TargetRef
from riskladder.cluster.resources import DECISIONS, SIGNALS
from riskladder.people.case import Object

LONGEST_PREFIX = 58
"""What the API server keeps of a generateName: 63 less the five characters that it adds."""

MANUAL_SOURCE = "manual"
"""The source of what people raise."""

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""As the API server's own random names: no vowels, no words."""


def prefix(name: str, word: str) -> str:
    """Return ``<name>-<word>-``, the name cut so that everything stays a valid name."""
    end = f"-{word}-"
    return name[: LONGEST_PREFIX - len(end)].rstrip("-.") + end


def random_name(start: str) -> str:
    """Return a prefix with a random end."""
    return start + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def decision_manifest(namespace: str, spec: EscalationDecisionSpec, *, named: bool = False) -> Object:
    """Return an EscalationDecision; ``named`` where it is applied from a file, which needs a name that stays."""
    start = prefix(spec.escalation, spec.action.verb)
    content = spec.to_api()
    if not spec.withdraw:
        content.pop("withdraw", None)
    if spec.decided_by is not None:
        content["decidedBy"] = {key: value for key, value in content["decidedBy"].items() if value}
    return {
        "apiVersion": DECISIONS.api_version,
        "kind": DECISIONS.kind,
        "metadata": {"namespace": namespace} | ({"name": random_name(start)} if named else {"generateName": start}),
        "spec": content,
    }


def signal_manifest(
    namespace: str,
    ladder: str,
    target: TargetRef,
    manual: Manual,
    now: datetime,
    *,
    by: ReportedBy | None = None,
    drill: bool = False,
) -> Object:
    """Return a ModelRiskSignal that a person raises: the stop button, or a drill."""
    spec: Object = {
        "ladder": ladder,
        "target": {"kind": target.kind, "name": target.name},
        "source": MANUAL_SOURCE,
        "observedAt": format_time(now),
        "manual": manual.to_api(),
    }
    if by is not None:
        spec["reportedBy"] = {key: value for key, value in by.to_api().items() if value}
    return {
        "apiVersion": SIGNALS.api_version,
        "kind": SIGNALS.kind,
        "metadata": {"namespace": namespace, "name": random_name(prefix(target.name, "drill" if drill else "stop"))},
        "spec": spec | ({"drill": True} if drill else {}),
    }
