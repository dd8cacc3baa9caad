"""The operator in pods, under every overlay: it contains, hands over when it is killed, and survives an upgrade."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from riskladder.cluster.client import Client, Object
from tests.cluster.images import NEXT_VERSION
from tests.integration.doctor import Doctor, failed, of
from tests.integration.world import TestNamespace, condition, ladder, signal
from tests.node import report
from tests.node.answers import service, workload
from tests.node.installation import Installation

OVERLAYS = {"default": 2, "development": 1, "namespaced": 2, "without-mutating-admission": 2}
"""Each with its replicas."""

NAMESPACE = "models"
"""The one that the namespaced overlay watches."""


@pytest.fixture
async def world(admin: Client) -> AsyncIterator[TestNamespace]:
    """The namespace that every overlay watches. It comes before the installation, which may want it to be there."""
    async with TestNamespace(admin, NAMESPACE) as world:
        yield world
    await world.gone()


async def serve(world: TestNamespace) -> None:
    """Two models that a ladder governs."""
    await world.apply(ladder(lock=True))
    await world.ladder_ready()
    for name in ("first", "second"):
        await world.apply(service(name))
        await world.apply(workload("Deployment", name, "credit", replicas=1, grace=2))
    for name in ("first", "second"):
        await world.until(lambda name=name: world.endpoints(name), f"{name} to serve")


async def contained(world: TestNamespace, name: str, since: float) -> float:
    """Wait until a model is proven to be out of service; seconds from `since` until it had no replicas."""
    await world.stopped(name)
    took = time.monotonic() - since
    await world.escalation_says(name, "Contained", "True", "ScaledToZero")
    return took


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_contains_and_hands_over_under_every_overlay(
    overlay: str, world: TestNamespace, installation: Installation
) -> None:
    await installation.use(overlay)
    pods = await installation.pods()
    assert len(pods) == OVERLAYS[overlay]
    await serve(world)
    since = time.monotonic()
    await world.apply(signal("first", "first", 0.31))
    took = await contained(world, "first", since)
    holder = await installation.leader()
    leading = next(pod for pod in pods if holder.startswith(pod["metadata"]["name"]))
    before = leading["status"]["containerStatuses"][0]["restartCount"]
    installation.kill(leading, "KILL")
    since = time.monotonic()
    await world.apply(signal("second", "second", 0.31))
    later = await contained(world, "second", since)
    again = await installation.leader(other_than=holder)
    if len(pods) > 1:
        assert not again.startswith(leading["metadata"]["name"]), "the standby leads, not the one that was killed"
    await installation.restarted(leading["metadata"]["name"], before)
    for name in ("first", "second"):
        await world.verified((await world.escalations(name))[0])
    times = f"{took:.2f} s after the signal, and {later:.2f} s after the leader of {len(pods)} was killed"
    report.note("the operator in pods", f"{overlay}: stopped {times}")


async def test_upgrade_under_an_open_escalation(world: TestNamespace, installation: Installation) -> None:
    """The image is replaced while a model is contained, and while another one breaches."""
    await installation.use()
    await serve(world)
    await world.apply(signal("first", "first", 0.31))
    await contained(world, "first", time.monotonic())
    [before] = await world.escalations("first")
    old = {pod["metadata"]["name"] for pod in await installation.pods()}
    await installation.kubectl("set", "image", "deployment/riskladder", f"operator=riskladder:{NEXT_VERSION}")
    await world.apply(signal("second", "second", 0.31))
    await contained(world, "second", time.monotonic())
    await installation.ready()

    async def replaced() -> list[Object]:
        pods = await installation.pods()
        return pods if not old & {pod["metadata"]["name"] for pod in pods} else []

    pods = await world.until(replaced, "every pod to be replaced")
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {f"riskladder:{NEXT_VERSION}"}

    async def leads() -> bool:
        holder = await installation.leader()
        return any(holder.startswith(pod["metadata"]["name"]) for pod in pods)

    await world.until(leads, "one of the new pods to lead")
    code, checks = await Doctor(installation.node.kubeconfig)("-n", world.namespace)
    assert (code, failed(checks)) == (0, {})
    assert [outcome for outcome, _ in of(checks, "operator")] == ["OK", "OK"]
    [(outcome, what)] = of(checks, "operator version")
    assert (outcome, NEXT_VERSION in what) == ("WARN", True)
    assert of(checks, "custom resources")[0][0] == "OK"
    [after] = await world.escalations("first")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"], "an upgrade opens nothing again, and forgets nothing"
    assert condition(after, "Contained")["status"] == "True"
    assert (await world.deployment("first"))["spec"]["replicas"] == 0
    await world.apply(signal("first", "first", 0.05))
    await world.tier("first", "baseline")
    for name in ("first", "second"):
        await world.verified((await world.escalations(name))[0])
    await installation.kubectl("rollout", "undo", "deployment/riskladder")
    await installation.ready()
