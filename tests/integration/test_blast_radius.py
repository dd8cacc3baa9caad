"""One broken monitor on a real control plane: it stops no fleet, its owner hears of it once, nothing waits for ever."""

from __future__ import annotations

import asyncio

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from tests.integration.world import LADDER, TestNamespace, condition, ladder, signal

FLEET, LIMIT = 10, 3


def bounded(within: str, **changes: object) -> Object:
    radius = {"atMost": "30%", "per": "1h", "decideWithin": within}
    return ladder(charter={"owner": "legal"}, blastRadius=radius, **changes)  # type: ignore[arg-type]


async def fleet(world: TestNamespace) -> list[str]:
    """Deployments that the operator knows of: nothing but their number matters."""
    names = [f"model-{number:02}" for number in range(FLEET)]
    for name in names:
        await world.serve_without_waiting(name)

    async def known() -> bool:
        found = [await world.deployment(name) for name in names]
        return all((d.get("status") or {}).get("observedGeneration") for d in found)

    await world.until(known, "the fleet to be rolled out")
    return names


async def stopped(world: TestNamespace) -> set[str]:
    found = await world.client.list(resources.DEPLOYMENTS, world.namespace)
    return {d["metadata"]["name"] for d in found if d["spec"]["replicas"] == 0}


async def stopped_or_waiting(world: TestNamespace, names: list[str]) -> dict[str, Object]:
    """Report a breach of each; the escalations by model, once each model is stopped or waits for people."""
    await asyncio.gather(*(world.apply(signal(f"bias-{name}", name, 0.4)) for name in names))

    async def said() -> dict[str, Object] | None:
        found = {e["spec"]["target"]["name"]: e for e in await world.escalations()}
        says = [condition(e, "Contained") for e in found.values()]
        is_said = all(c["reason"] in ("ScaledToZero", "BlastRadiusExceeded") for c in says)
        return found if len(found) == FLEET and is_said else None

    return await world.until(said, "every model to be stopped or to wait")


async def storm(world: TestNamespace) -> Object:
    """The ladder, once it says that more is demanded than its blast radius."""

    async def said() -> Object | None:
        obj = await world.get(resources.LADDERS, LADDER)
        return obj if condition(obj, "WithinBlastRadius")["status"] == "False" else None

    return await world.until(said, "the ladder to say so")


async def test_broken_monitor_stops_no_fleet(world: TestNamespace) -> None:
    await world.apply(bounded("1h"))
    await world.ladder_ready()
    escalations = await stopped_or_waiting(world, await fleet(world))
    assert len(await stopped(world)) == LIMIT
    waiting = sorted(n for n, e in escalations.items() if condition(e, "Contained")["reason"] == "BlastRadiusExceeded")
    assert len(waiting) == FLEET - LIMIT
    for name in waiting:
        assert escalations[name]["status"]["withheld"]["tier"] == "high"
        assert escalations[name]["status"]["nextDeadline"] == escalations[name]["status"]["withheld"]["until"]
    [message] = (await storm(world))["status"]["notifications"]
    assert (message["role"], message["about"], message["state"]) == ("legal", "BlastRadiusExceeded", "Delivered")
    assert len([e for e in await world.events(LADDER) if e["reason"] == "BlastRadiusExceeded"]) == 1

    chosen = waiting[0]
    decision = {
        "apiVersion": resources.DECISIONS.api_version,
        "kind": resources.DECISIONS.kind,
        "metadata": {"name": "stop-it"},
        "spec": {
            "escalation": escalations[chosen]["metadata"]["name"],
            "action": "Contain",
            "role": "legal",
            "rationale": "I have seen what it answers",
        },
    }
    await world.apply(decision)
    decided = await world.escalation_says(chosen, "Contained", "True", "ScaledToZero")
    assert decided["status"]["containments"][0]["intent"]["reason"] == "ContainedManually"


async def test_what_nobody_decided_in_time_stops_all_the_same(world: TestNamespace) -> None:
    await world.apply(bounded("10s"))
    await world.ladder_ready()
    names = await fleet(world)
    await asyncio.gather(*(world.apply(signal(f"bias-{name}", name, 0.4)) for name in names))

    async def all_stopped() -> bool:
        return await stopped(world) == set(names)

    await world.until(all_stopped, "the deadline to stop the rest")
    for name in names:
        await world.escalation_says(name, "Contained", "True", "ScaledToZero")
    trails = [[r["spec"]["event"] for r in await world.verified(each)] for each in await world.escalations()]
    withheld = [[e for e in events if e != "Notified"] for events in trails if "BlastRadiusExceeded" in events]
    assert len(withheld) == FLEET - LIMIT
    for events in withheld:
        assert events[:3] == ["EscalationOpened", "BlastRadiusExceeded", "ContainmentApplied"]
        assert sorted(events[3:]) == ["InterimContainment", "ScaledToZero", "WithheldNoMore"]  # the proof when it comes
        assert events.index("InterimContainment") < events.index("WithheldNoMore"), "an effect comes after its cause"
    assert [m["about"] for m in (await storm(world))["status"]["notifications"]] == ["BlastRadiusExceeded"]
