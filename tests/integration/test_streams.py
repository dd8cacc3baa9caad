"""Readings on a real control plane: what is no measurement, and what becomes of a stream whose signal goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from tests.integration.world import INDICATOR, TestNamespace, condition, ladder, signal


def counted(obj: Object) -> int:
    breaches = obj["status"].get("breaches") or ()
    return max((b["readings"] for b in breaches if b["indicator"] == INDICATOR), default=0)


async def moderate(world: TestNamespace, **changes: object) -> Object:
    """An escalation in tier moderate, by two readings; nothing is contained."""
    await world.apply(ladder(**changes))
    await world.serve("scorer")
    await world.apply(signal("fairness", "scorer", 0.15))
    await world.signal_says("fairness", "Breached", "False", "BreachUnconfirmed")
    await world.apply(signal("fairness", "scorer", 0.15))
    return await world.escalation_says("scorer", "LadderActive", "True", "LadderInForce")


async def test_reading_of_no_samples_or_outside_the_range_is_not_counted_and_says_so(world: TestNamespace) -> None:
    indicators = [{"name": INDICATOR, "unit": "share", "range": {"min": 0, "max": 1}}]
    await moderate(world, indicators=indicators)
    for reading, reason, part in (
        ({"value": 0.0, "sampleSize": 0}, "TooFewSamples", "found 0 samples, expected at least 1"),
        ({"value": 31.0}, "OutOfRange", "found 31.0 share, expected from 0.0 to 1.0 share"),
    ):
        await world.apply(signal("fairness", "scorer", None, readings=[{"indicator": INDICATOR, **reading}]))
        said = await world.signal_says("fairness", "Ready", "False", reason)
        assert part in condition(said, "Ready")["message"]
        assert counted(said) == 2
        [event] = [e for e in await world.events("fairness") if e["reason"] == reason]
        assert event["type"] == "Warning"
    await world.quiet()
    await world.escalation_says("scorer", "Closed", "False", "Open")
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1


async def test_signal_turned_to_another_target_carries_nothing_along(world: TestNamespace) -> None:
    await world.apply(ladder())
    await world.serve("blue")
    await world.serve("green")
    await world.apply(signal("drift", "blue", 0.15))
    await world.signal_says("drift", "Breached", "False", "BreachUnconfirmed")
    await world.apply(signal("drift", "green", 0.15))

    async def is_about_green() -> Object | None:
        obj = await world.signal("drift")
        return obj if obj["status"].get("countedFor", {}).get("name") == "green" else None

    found = await world.until(is_about_green, "the signal to be judged about green")
    await world.quiet()
    assert counted(found) == 1
    assert await world.escalations() == []


async def test_signal_deleted_under_an_open_escalation_is_on_record_and_goes_on_where_it_stood(
    world: TestNamespace,
) -> None:
    opened = await moderate(world)
    last = (await world.signal("fairness"))["spec"]["observedAt"]
    await world.client.delete(resources.SIGNALS, world.namespace, "fairness")
    name = opened["metadata"]["name"]

    async def is_recorded() -> Object | None:
        entries = [record["spec"] for record in await world.records(name)]
        return next((e for e in entries if e["event"] == "SignalWithdrawn"), None)

    entry = await world.until(is_recorded, "the deletion to be on record")
    assert (entry["detail"]["signal"], entry["detail"]["observedAt"]) == ("fairness", last)
    # Another source at baseline says nothing of it.
    await world.apply(signal("other", "scorer", 0.01, source="other-monitor"))
    await world.tier("other", "baseline")
    # Nor does an older reading under the old name.
    before = datetime.fromisoformat(last) - timedelta(milliseconds=1)
    await world.apply(signal("fairness", "scorer", 0.01, at=before))
    await world.signal_says("fairness", "Ready", "False", "OutOfOrder")
    await world.quiet()
    await world.escalation_says("scorer", "Closed", "False", "Open")
    await world.apply(signal("fairness", "scorer", 0.15, at=datetime.now(UTC)))
    assert counted(await world.signal_says("fairness", "Ready", "True", "Accepted")) == 3
    await world.apply(signal("fairness", "scorer", 0.01, at=datetime.now(UTC)))
    await world.escalation_says("scorer", "Closed", "True", "Cleared")
    await world.verified((await world.escalations("scorer"))[0])


async def test_suspension_and_deletion_of_the_ladder_are_on_record(world: TestNamespace) -> None:
    opened = await moderate(world)
    await world.apply(ladder(suspended=True))
    await world.escalation_says("scorer", "LadderActive", "False", "LadderSuspended")
    await world.apply(ladder(suspended=False))
    await world.escalation_says("scorer", "LadderActive", "True", "LadderInForce")
    # The signal goes first: nothing but the escalation is left to look at.
    await world.client.delete(resources.SIGNALS, world.namespace, "fairness")
    await world.quiet()
    await world.client.delete(resources.LADDERS, world.namespace, "credit")
    found = await world.escalation_says("scorer", "LadderActive", "False", "LadderDeleted")
    await world.quiet()
    found = next(e for e in await world.escalations("scorer") if e["metadata"]["uid"] == found["metadata"]["uid"])
    assert found["metadata"]["name"] == opened["metadata"]["name"]
    events = [record["spec"]["event"] for record in await world.records(found["metadata"]["name"])]
    assert [event for event in events if event in ("LadderSuspended", "LadderInForce", "LadderDeleted")] == [
        "LadderSuspended",
        "LadderInForce",
        "LadderDeleted",
    ]
    await world.verified(found)
