"""Breaches that cannot be used, on a real control plane: who answers for the ladder and for the source hears of it."""

from __future__ import annotations

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from tests.integration.world import LADDER, TestNamespace, ladder, signal


async def test_breach_that_cannot_be_used_notifies_the_owner_and_the_contact_of_the_source(
    world: TestNamespace,
) -> None:
    contacts = [{"source": "fairness-monitor", "role": "data-science"}]
    await world.apply(ladder(charter={"owner": "legal"}, sourceContacts=contacts))
    await world.serve_without_waiting("scorer")
    await world.apply(signal("fairness", "scorer", None, readings=[{"indicator": "bais", "value": 0.4}]))
    said = await world.signal_says("fairness", "Ready", "False", "UnknownIndicator")
    assert said["status"]["unusable"] == "UnknownIndicator"

    async def notified() -> list[Object] | None:
        obj = await world.get(resources.LADDERS, LADDER)
        found: list[Object] = (obj.get("status") or {}).get("notifications") or []
        return found or None

    messages = await world.until(notified, "people to be notified")
    assert {m["role"] for m in messages} == {"legal", "data-science"}
    assert "signal fairness of source fairness-monitor cannot be used: UnknownIndicator" in messages[0]["message"]
    [event] = [e for e in await world.events(LADDER) if e["reason"] == "SignalsUnusable"]
    assert event["type"] == "Warning"
