"""One broken monitor on a real control plane: it stops no fleet, its owner hears of it once, nothing waits for ever."""

from __future__ import annotations

import asyncio

from riskladder.cluster import resources
from riskladder.cluster.client import Object
from tests.integration.world import LADDER, TestNamespace, condition, ladder, signal

FLEET, LIMIT = 20, 6
DECIDE_WITHIN = 30


def bounded(**changes: object) -> Object:
    radius = {"atMost": "30%", "per": "1h", "decideWithin": f"{DECIDE_WITHIN}s"}
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


async def test_broken_monitor_stops_no_fleet(world: TestNamespace) -> None:
    await world.apply(bounded())
    await world.ladder_ready()
    names = await fleet(world)
    await asyncio.gather(*(world.apply(signal(f"bias-{name}", name, 0.4)) for name in names))

    async def stopped_or_waiting() -> dict[str, Object] | None:
        found = {e["spec"]["target"]["name"]: e for e in await world.escalations()}
        says = [condition(e, "Contained") for e in found.values()]
        is_said = all(c["reason"] in ("ScaledToZero", "BlastRadiusExceeded") for c in says)
        return found if len(found) == FLEET and is_said else None

    escalations = await world.until(stopped_or_waiting, "every model to be stopped or to wait")
    assert len(await stopped(world)) == LIMIT
    waiting = sorted(n for n, e in escalations.items() if condition(e, "Contained")["reason"] == "BlastRadiusExceeded")
    assert len(waiting) == FLEET - LIMIT
    for name in waiting:
        assert escalations[name]["status"]["withheld"]["tier"] == "high"
        assert escalations[name]["status"]["nextDeadline"] == escalations[name]["status"]["withheld"]["until"]

    async def storm() -> Object | None:
        obj = await world.get(resources.LADDERS, LADDER)
        return obj if condition(obj, "WithinBlastRadius")["status"] == "False" else None

    said = await world.until(storm, "the ladder to say so")
    [message] = said["status"]["notifications"]
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

    async def all_stopped() -> bool:
        return await stopped(world) == set(names)

    await world.until(all_stopped, "the deadline to stop the rest", DECIDE_WITHIN + 30.0)
    last = await world.escalation_says(waiting[-1], "Contained", "True", "ScaledToZero")
    events = [record["spec"]["event"] for record in await world.verified(last)]
    said_of = [e for e in events if e != "Notified"]
    assert said_of[:3] == ["EscalationOpened", "BlastRadiusExceeded", "ContainmentApplied"]
    assert sorted(said_of[3:]) == ["InterimContainment", "ScaledToZero", "WithheldNoMore"]  # the proof when it comes
    assert said_of.index("InterimContainment") < said_of.index("WithheldNoMore"), "an effect comes after its cause"
    obj = await world.get(resources.LADDERS, LADDER)
    assert [m["about"] for m in obj["status"]["notifications"]] == ["BlastRadiusExceeded"]
