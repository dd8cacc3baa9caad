"""What is remembered of a refusal ends with what was refused: no better reading and no new namespace inherits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.client import ApiError, NamespaceMissing, Terminating
from riskladder.cluster.resources import (
    DEPLOYMENTS,
    LADDERS,
    RECORDS,
    SIGNALS,
    Resource,
)
from riskladder.controller.caches.entries import LadderKey
from riskladder.controller.observations import CONTENTION_FREE
from tests.unit.builders import KEY, LADDER, deployment_object
from tests.unit.live import Live, denial, live

QUOTA = "exceeded quota: escalations"
ABOUT: Any = {"verb": "create", "resource": "any", "where": "any"}
TERMINATING = f"unable to create new content in namespace {KEY.namespace} because it is being terminated"
ERRORS: dict[str, Callable[[], ApiError]] = {
    "terminating": lambda: Terminating(403, "Forbidden", TERMINATING, **ABOUT),
    "gone": lambda: NamespaceMissing(404, "NotFound", f'namespaces "{KEY.namespace}" not found', **ABOUT),
}


def ready(plane: Live) -> tuple[str, str]:
    """Status and reason of the ladder's Ready."""
    found = plane.server.find(LADDERS, "credit") or {}
    conditions = found.get("status", {}).get("conditions", ())
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == ConditionType.READY), ("", ""))


def refuse_new(plane: Live, error: Callable[[], ApiError], *plurals: str) -> None:
    """Let the API server take nothing new of some kinds."""
    paths = tuple(f"/{plural}" for plural in plurals)
    plane.api.refuses = lambda method, path: error() if method == "POST" and path.endswith(paths) else None


def take_everything(plane: Live) -> None:
    plane.api.refuses = lambda method, path: None


def remove(plane: Live, resource: Resource, name: str) -> None:
    """Somebody deletes an object, and the watch says so."""
    found = plane.server.find(resource, name)
    assert found is not None
    plane.server.delete(resource, name)
    plane.operator.store.drop(resource, found)


async def test_refusal_is_forgotten_once_nothing_is_to_be_saved_because_the_signal_is_gone() -> None:
    async with live() as plane:
        refuse_new(plane, lambda: denial(403, QUOTA), "escalations")
        plane.report(drift=0.5)
        await plane.until(lambda: ready(plane) == ("False", Reason.ESCALATION_REFUSED))
        remove(plane, SIGNALS, "fairness")
        await plane.until(lambda: ready(plane)[0] == "True")


async def test_refusal_is_forgotten_once_nothing_is_to_be_saved_because_the_reading_is_good_again() -> None:
    async with live() as plane:
        refuse_new(plane, lambda: denial(403, QUOTA), "escalations")
        plane.report(drift=0.5)
        await plane.until(lambda: ready(plane) == ("False", Reason.ESCALATION_REFUSED))
        plane.report(drift=0.0)
        await plane.until(lambda: ready(plane)[0] == "True")
        assert plane.escalations() == []


async def test_refusal_is_said_for_as_long_as_something_is_to_be_saved() -> None:
    """What is contained has to be recorded, whatever is reported later."""
    async with live() as plane:
        refuse_new(plane, lambda: denial(403, QUOTA), "escalations")
        plane.report(bias=0.3)
        await plane.until(lambda: ready(plane) == ("False", Reason.ESCALATION_REFUSED))
        assert plane.replicas == 0
        remove(plane, SIGNALS, "fairness")
        plane.operator.scheduler.add(LadderKey(KEY.namespace, "credit"))
        before = plane.api.calls["POST escalations"]
        await plane.until(lambda: plane.api.calls["POST escalations"] > before + 2)
        assert ready(plane) == ("False", Reason.ESCALATION_REFUSED)
        take_everything(plane)
        await plane.until(lambda: ready(plane)[0] == "True")
        assert len(plane.escalations()) == 1


@pytest.mark.parametrize("why", ERRORS)
@pytest.mark.parametrize("breach", [{"bias": 0.3}, {"drift": 0.5}])
async def test_namespace_that_comes_back_inherits_nothing(why: str, breach: dict[str, float]) -> None:
    """The model is stopped while its namespace is deleted: what cannot be recorded there is recorded nowhere."""
    async with live() as plane:
        refuse_new(plane, ERRORS[why], "escalations", "escalationrecords", "events", "containmentindexes")
        plane.report(**breach)
        await plane.until(lambda: plane.api.calls["POST escalations"])
        for resource, name in ((SIGNALS, "fairness"), (DEPLOYMENTS, KEY.name), (LADDERS, "credit")):
            remove(plane, resource, name)
        take_everything(plane)
        plane.put(LADDERS, {"metadata": {"name": "credit"}, "spec": LADDER})
        plane.put(DEPLOYMENTS, deployment_object(uid="another-uid"))
        await plane.until(lambda: ready(plane)[0] == "True")
        plane.report("ok", bias=0.0, drift=0.0)
        await plane.until(lambda: plane.says("Ready", signal="ok")[0] == "True")
        assert plane.escalations() == []
        assert plane.server.all(RECORDS) == []
        before = plane.replicas
        assert before > 0
        plane.report(bias=0.3)
        await plane.until(lambda: plane.says()[1] == Reason.CONTAINMENT_APPLIED)
        [escalation] = plane.escalations()
        assert escalation["spec"]["target"]["uid"] == "another-uid"
        assert escalation["spec"]["evidence"]["replicas"] == before


@pytest.mark.parametrize("status", [503, 500])
async def test_namespace_that_comes_back_before_anything_was_answered_inherits_nothing(status: int) -> None:
    """While the API server takes nothing, nobody has said that the namespace was going."""
    async with live() as plane:
        failed = lambda: ApiError(status, "", "failed calling webhook", **ABOUT)  # noqa: E731
        refuse_new(plane, failed, "escalations", "escalationrecords", "events", "containmentindexes")
        plane.report(bias=0.3)
        await plane.until(lambda: plane.api.calls["POST escalations"] > 1)
        for resource, name in ((SIGNALS, "fairness"), (DEPLOYMENTS, KEY.name), (LADDERS, "credit")):
            remove(plane, resource, name)
        plane.server.namespace_uid = "uid-of-another-namespace"
        plane.put(LADDERS, {"metadata": {"name": "credit"}, "spec": LADDER})
        plane.put(DEPLOYMENTS, deployment_object(uid="another-uid"))
        take_everything(plane)
        await plane.until(lambda: ready(plane)[0] == "True")
        plane.report("ok", bias=0.0, drift=0.0)
        await plane.until(lambda: plane.says("Ready", signal="ok")[0] == "True")
        assert plane.escalations() == []
        assert plane.replicas > 0


async def test_who_reverts_a_stop_in_a_namespace_that_is_going_is_met_with_the_same_patience() -> None:
    async with live() as plane:
        refuse_new(plane, ERRORS["terminating"], "escalations", "escalationrecords", "events", "containmentindexes")
        plane.report(bias=0.3)
        for _ in range(CONTENTION_FREE + 1):
            asked = plane.api.calls["POST escalations"]
            await plane.until(lambda: plane.replicas == 0 and plane.api.calls["POST escalations"] > asked)  # noqa: B023
            found = plane.server.find(DEPLOYMENTS, KEY.name)
            assert found is not None
            plane.put(DEPLOYMENTS, {**found, "spec": {**found["spec"], "replicas": 2}})
        await asyncio.sleep(0.1)
        assert plane.replicas == 2, "who reverts it over and over is waited for"
        await plane.until(lambda: plane.replicas == 0)


async def test_nobody_tries_over_and_over_to_record_in_a_namespace_that_is_gone() -> None:
    async with live() as plane:
        refuse_new(plane, ERRORS["gone"], "escalations")
        plane.report(bias=0.3)
        await plane.until(lambda: plane.api.calls["POST escalations"])
        await asyncio.sleep(0.1)
        assert plane.api.calls["POST escalations"] < 5
