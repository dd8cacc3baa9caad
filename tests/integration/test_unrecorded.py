"""Records that are refused for a while, by a quota or for want of a permission, where nothing else runs.

What is decided meanwhile is answered only once it is on record; what has to be stopped is stopped all the same.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from tests.cluster import LocalControlPlane
from tests.integration import people
from tests.integration.operator_process import OperatorProcess
from tests.integration.people import PEOPLE, PeopleNamespace, Receivers, containing, human_ladder, quorum
from tests.integration.world import condition, signal

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
COUNT = "count/escalationrecords.riskladder.dev"


@pytest.fixture(scope="module")
async def chief(plane: LocalControlPlane) -> AsyncIterator[Client]:
    """An administrator."""
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture(scope="module")
async def persons(plane: LocalControlPlane) -> AsyncIterator[dict[str, Client]]:
    """Everybody's own client."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(people.impersonated(plane.kubeconfig, name, role))
            for name, role in PEOPLE.items()
        }


@pytest.fixture(scope="module")
def operator(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    with OperatorProcess(account, tmp_path_factory.mktemp("log")) as process:
        process.wait_until_leading()
        yield process


@pytest.fixture
async def place(chief: Client, persons: dict[str, Client], operator: OperatorProcess) -> AsyncIterator[PeopleNamespace]:
    """A fresh namespace with its people and an operator at work."""
    async with (
        Receivers() as receivers,
        PeopleNamespace(chief, f"unrecorded-{uuid.uuid4().hex[:8]}", persons, receivers) as fresh,
    ):
        yield fresh


@asynccontextmanager
async def quota(place: PeopleNamespace) -> AsyncIterator[None]:
    """No record more than there are."""
    used = len(await place.client.list(resources.RECORDS, place.namespace))
    body = {"metadata": {"name": "q"}, "spec": {"hard": {COUNT: str(used)}}}
    await place.client.create(QUOTAS, place.namespace, body)
    status = {"hard": {COUNT: str(used)}, "used": {COUNT: str(used)}}  # as the controller would count in half a minute
    await place.client.merge_patch(QUOTAS, place.namespace, "q", {"status": status}, subresource="status")
    try:
        yield
    finally:
        await place.client.delete(QUOTAS, place.namespace, "q")


@asynccontextmanager
async def without_permission(place: PeopleNamespace) -> AsyncIterator[None]:
    """The operator may append no record."""
    role = await place.client.get(CLUSTER_ROLES, None, "riskladder")
    less = copy.deepcopy(role)
    less["rules"] = [rule for rule in role["rules"] if rule.get("resources") != ["escalationrecords"]]
    assert len(less["rules"]) == len(role["rules"]) - 1
    await place.client.replace(CLUSTER_ROLES, None, "riskladder", less)
    try:
        yield
    finally:
        fresh = await place.client.get(CLUSTER_ROLES, None, "riskladder")
        await place.client.replace(CLUSTER_ROLES, None, "riskladder", {**fresh, "rules": role["rules"]})


REFUSED: dict[str, tuple[Any, str]] = {
    "quota": (quota, "EscalationRefused"),
    "permission": (without_permission, "PermissionMissing"),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_nothing_is_answered_before_it_is_on_record_and_nothing_is_lost(place: PeopleNamespace, how: str) -> None:
    refused, said = REFUSED[how]
    resume = {"resume": {"quorum": quorum("legal", "executive")}}
    await place.apply(human_ladder(place.receivers, containing("high", 0.20, "legal", "executive", **resume)))
    await place.ladder_ready()
    await place.serve("scorer", replicas=2)
    await place.apply(signal("fairness", "scorer", 0.31))
    await place.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await place.quiet()
    name = (await place.escalation("scorer"))["metadata"]["name"]

    async with refused(place):
        objection = await place.decide("ann", "Object", name)
        await place.ladder_says("Ready", "False", said)  # it was tried, and that is what it came to
        stored = await place.get(resources.DECISIONS, objection["metadata"]["name"])
        assert condition(stored, "Accepted")["status"] == "", "answered, and on no record"
        assert not (await place.escalation("scorer"))["status"].get("decisions")

    # What was refused is tried again ever more seldom, once a minute at last.
    assert await place.answered(objection) == ("True", "Objected")
    decisions = (await place.escalation("scorer"))["status"]["decisions"]
    assert [d["uid"] for d in decisions if d["counted"]] == [objection["metadata"]["uid"]]
    assert await place.recorded(name, "Objected")
    assert await place.refused("eve", "Resume", name) == "ObjectionStands"
    await place.ladder_ready()
    await place.verified(await place.escalation("scorer"))


async def test_stop_button_waits_for_no_record(place: PeopleNamespace) -> None:
    on_decision = {"containment": {"action": "ScaleToZero", "when": "OnDecision"}}
    await place.apply(human_ladder(place.receivers, containing("moderate", 0.10, "legal", **on_decision)))
    await place.ladder_ready()
    await place.serve("scorer", replicas=2)
    await place.apply(signal("fairness", "scorer", 0.14))
    name = (await place.escalation("scorer"))["metadata"]["name"]
    await place.quiet()
    async with quota(place):
        pressed: Object = await place.decide("ann", "Contain", name)
        await place.stopped("scorer")
    assert await place.answered(pressed) == ("True", "ContainedManually")
    await place.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await place.verified(await place.escalation("scorer"))
