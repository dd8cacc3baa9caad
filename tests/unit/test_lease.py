"""Leader election over links of any speed: a slow API server still has a leader, and one that hangs has none."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
from structlog.testing import capture_logs

from riskladder.cluster.client import Client, Conflict, Forbidden, NotFound, Object
from riskladder.cluster.lease import Elector
from riskladder.cluster.resources import Resource
from tests.patience import PATIENCE
from tests.unit import virtual_time

FAST = {"duration": 0.2, "renew_every": 0.06, "retry_every": 0.03}
"""Ten times as fast as it is in production."""


class Leases:
    """One Lease, behind a link on which every request takes its time."""

    namespace = "riskladder-system"

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.lease: Object | None = None
        self.version = 0
        self.before_replace: list[Callable[[], object]] = []
        """What happens between the next look at the Lease and the write that follows, one for each write."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        await asyncio.sleep(self.latency)
        if self.lease is None:
            raise NotFound(404, "NotFound", "", verb="get", resource=resource.title, where=name)
        return copy.deepcopy(self.lease)

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        await asyncio.sleep(self.latency)
        if self.lease is not None:
            raise Conflict(409, "AlreadyExists", "", verb="create", resource=resource.title, where=namespace)
        return self.store(body)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """Replace it, also where the client does not wait for the answer."""
        return await asyncio.shield(self._replaced(resource, name, copy.deepcopy(body)))

    async def _replaced(self, resource: Resource, name: str, body: Object) -> Object:
        await asyncio.sleep(self.latency)
        if self.before_replace:
            self.before_replace.pop()()
        if self.lease is None or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "", verb="update", resource=resource.title, where=name)
        return self.store(body)

    def store(self, body: Object) -> Object:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])

    @property
    def seconds(self) -> int:
        assert self.lease is not None
        return int(self.lease["spec"]["leaseDurationSeconds"])


@contextlib.asynccontextmanager
async def led(latency: float = 0.0) -> AsyncIterator[tuple[Leases, Elector, Callable[[str], Elector]]]:
    """A Lease, one that leads by it, and what starts another."""
    leases = Leases(latency)
    tasks: list[asyncio.Task[None]] = []

    def start(identity: str) -> Elector:
        elector = Elector(cast(Client, leases), name="riskladder", identity=identity, on_change=lambda _: None, **FAST)
        tasks.append(asyncio.create_task(elector.run()))
        elector.kill = tasks[-1].cancel  # type: ignore[attr-defined]
        return elector

    with capture_logs():
        leader = start("leader")
        await until(lambda: leader.leading)
        yield leases, leader, start
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it is what is tested that would have to set an event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("latency", [0.0, 0.06, 0.15])
@virtual_time.test
async def test_there_is_a_leader_however_slow_the_link_and_a_standby_after_it(latency: float) -> None:
    """A round takes two requests: at 60 ms that is more than a quarter of the shortest Lease."""
    async with led(latency) as (leases, leader, start):
        second = start("second")
        await until(lambda: leases.version >= 3)
        assert (leader.leading, second.leading) == (True, False), "renewed, and nobody else leads meanwhile"
        leader.kill()  # type: ignore[attr-defined]
        await until(lambda: second.leading)


def test_api_server_that_refuses_is_asked_again_and_logged_once() -> None:
    class Refusing(Leases):
        asked = 0

        async def get(self, resource: Resource, namespace: str, name: str) -> Object:
            self.asked += 1
            raise Forbidden(403, "Forbidden", "no", verb="get", resource=resource.title, where=name)

    async def run() -> None:
        leases = Refusing(0.0)
        elector = Elector(cast(Client, leases), name="riskladder", identity="one", on_change=lambda _: None, **FAST)
        task = asyncio.create_task(elector.run())
        await until(lambda: leases.asked > 20)
        task.cancel()

    with capture_logs() as lines:
        virtual_time.run(run())
    assert [line["event"] for line in lines] == ["lease"]


@virtual_time.test
async def test_lease_says_how_long_it_lasts_by_what_requests_take() -> None:
    async with led(0.15) as (leases, leader, _):
        await until(lambda: leases.seconds == 2)
        leases.latency = 0.0
        await until(lambda: leader.duration == FAST["duration"])
        assert leases.seconds == 1


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.07, 0.1, 0.13, 0.17, 0.2])
@virtual_time.test
async def test_lease_that_is_given_up_names_nobody_whatever_renewal_is_under_way(moment: float) -> None:
    """A renewal that is sent before is stored before or after: either way it must not undo the release."""
    async with led(0.06) as (leases, leader, _):
        await until(lambda: leases.version >= 2)
        await asyncio.sleep(moment)
        await leader.release()
        assert (leases.holder, leader.leading) == ("", False)
        await asyncio.sleep(1.0)
        assert leases.holder == "", "it does not take part any more"


@virtual_time.test
async def test_lease_is_given_up_though_a_write_that_nobody_waited_for_came_between() -> None:
    async with led() as (leases, leader, _):
        leases.before_replace = [lambda: leases.store(leases.lease or {})] * 3
        await leader.release()
        assert (leases.holder, leases.before_replace) == ("", [])


@virtual_time.test
async def test_lease_that_could_not_be_renewed_in_time_is_given_up_as_well() -> None:
    async with led() as (leases, leader, _):
        leases.latency = 100.0
        await until(lambda: not leader.leading)
        assert leases.holder == "leader"
        leases.latency = 0.0
        await leader.release()
        assert leases.holder == ""


@pytest.mark.parametrize("moment", [0.0, 0.3, 0.7, 1.3, 2.0, 2.9])
@virtual_time.test
async def test_lease_is_given_up_over_a_link_that_has_become_slow(moment: float) -> None:
    """A round may take longer than the Lease lasts then: its write is stored all the same, and nobody waits for it."""
    async with led() as (leases, leader, _):
        leases.latency = 0.12
        await asyncio.sleep(moment)
        await leader.release()
        assert (leases.holder, leader.leading) == ("", False)
        await asyncio.sleep(3.0)
        assert leases.holder == "", "what was under way changes nothing any more"


@virtual_time.test
async def test_nobody_is_a_leader_any_more_as_soon_as_the_lease_is_to_be_given_up() -> None:
    async with led() as (leases, leader, _):
        leases.latency = 0.1
        release = asyncio.create_task(leader.release())
        await asyncio.sleep(0)
        assert (leader.leading, leases.holder) == (False, "leader")
        await release


@virtual_time.test
async def test_nothing_is_given_up_of_a_lease_that_another_holds() -> None:
    async with led() as (leases, leader, start):
        standby = start("standby")
        await asyncio.sleep(0.1)
        await standby.release()
        assert (leases.holder, leader.leading) == ("leader", True)


@virtual_time.test
async def test_stop_does_not_wait_for_an_api_server_that_never_answers() -> None:
    async with led() as (leases, leader, _):
        leases.latency = 10_000.0
        before = asyncio.get_running_loop().time()
        await leader.release()
        assert asyncio.get_running_loop().time() - before < 10
