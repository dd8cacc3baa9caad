"""Each safe state is said in the same words before it is brought about, in its Event, and when it is to be restored."""

from __future__ import annotations

from typing import Any

import pytest

from riskladder.api.intent import Intent
from riskladder.workloads.safe_states import words

SERVICE = {"kind": "Service", "name": "scorer", "selector": {"tier": "safe", "app": "baseline"}}
ROUTE = {"kind": "HTTPRoute", "name": "scorer", "backend": "baseline"}
POLICY = {"kind": "NetworkPolicy", "name": "riskladder-scorer-1"}


@pytest.mark.parametrize(
    ("given", "done", "sentence"),
    [
        ({"action": "ScaleToZero"}, "scaled to zero", "Deployment/scorer is scaled to zero and locked"),
        (
            {"action": "Rollback", "revision": "3"},
            "rolled back to revision 3",
            "Deployment/scorer is rolled back to revision 3 and locked",
        ),
        (
            {"action": "Fallback", "targetRef": SERVICE},
            "traffic of Service scorer goes to app=baseline,tier=safe",
            "traffic of Service scorer goes to app=baseline,tier=safe, and that is locked",
        ),
        (
            {"action": "Fallback", "targetRef": ROUTE},
            "traffic of HTTPRoute scorer goes to Service baseline",
            "traffic of HTTPRoute scorer goes to Service baseline, and that is locked",
        ),
        (
            {"action": "Isolate", "targetRef": POLICY},
            "isolated by NetworkPolicy riskladder-scorer-1",
            "Deployment/scorer is isolated by NetworkPolicy riskladder-scorer-1 "
            "(new connections are turned away; open ones may go on) and locked",
        ),
    ],
)
def test_what_is_announced_is_what_the_event_says(given: dict[str, Any], done: str, sentence: str) -> None:
    reason = {"id": 1, "tier": "high", "reason": "ContainmentIntended", "intendedAt": "2026-11-24T06:00:00Z"}
    intent = Intent.model_validate(reason | given)
    assert words.done(intent) == done
    said = words.sentence(
        "Deployment/scorer", intent.action, target_ref=intent.target_ref, revision=intent.revision, lock=True
    )
    assert said == sentence
