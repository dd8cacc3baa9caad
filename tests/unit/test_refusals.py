"""What the API server refuses: said in its own words whatever the code, waited with, and no obstacle to the rest."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import Reason
from riskladder.cluster.client import (
    ApiError,
    Client,
    Conflict,
    Denied,
    Forbidden,
    NamespaceMissing,
    NotFound,
    Refused,
    Terminating,
    _error,
)
from riskladder.cluster.resources import DECISIONS, ESCALATIONS, LADDERS, NAMESPACES, RECORDS, SIGNALS
from riskladder.controller.caches.entries import IndexKey
from riskladder.controller.caches.store import Store
from riskladder.controller.containment_pass import ContainmentPass
from riskladder.controller.executor import Executor, NotContainable, altered
from riskladder.policy.containment.resume import NOT_YET_RESTORED
from riskladder.policy.containment.writes import rehearsal_write, switch_write
from riskladder.policy.plan import Effect, EscalationUpdate, Phase, Plan
from riskladder.policy.snapshot import Escalation
from riskladder.workloads.companions.suspend import Companion
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.results import ObjectWrite
from tests.unit.builders import KEY, LADDER, Scene, contain_by, signal, signal_document
from tests.unit.live import SENTENCE, Live, denial, live

CODES = [400, 404, 409, 422, 500]
"""A webhook may answer with any of them; 403 is what RBAC answers, too."""


class Answer:
    """An answer of the API server."""

    def __init__(self, status: int) -> None:
        self.status, self.reason, self.headers = status, "", {}


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "there is no scorer", NotFound),
        (404, SENTENCE, Denied),
        (409, "the object has been modified", Conflict),
        (409, SENTENCE, Denied),
        (403, SENTENCE, Forbidden),
        (422, SENTENCE, Refused),
    ],
)
def test_denial_is_no_conflict_and_nothing_that_is_missing(status: int, message: str, kind: type[ApiError]) -> None:
    raw = json.dumps({"kind": "Status", "message": message}).encode()
    error = _error(cast(Any, Answer(status)), raw, "patch", "deployments.apps", "scorer")
    assert (type(error), error.message, error.is_denial) == (kind, message, message == SENTENCE)


@pytest.mark.parametrize(
    ("status", "details", "kind"),
    [
        (403, {"causes": [{"reason": "NamespaceTerminating"}]}, Terminating),
        (404, {"name": "models", "kind": "namespaces"}, NamespaceMissing),
        (404, {"name": "scorer", "kind": "deployments"}, NotFound),
        (404, {}, NotFound),
        (404, None, NotFound),
    ],
)
def test_namespace_that_is_gone_or_going_is_told_from_an_object_that_is_not_there(
    status: int, details: Any, kind: type[ApiError]
) -> None:
    raw = json.dumps({"kind": "Status", "message": "not here", "details": details}).encode()
    error = _error(cast(Any, Answer(status)), raw, "create", "escalations.riskladder.dev", "scorer")
    assert type(error) is kind
    assert error.is_final == (kind is not NotFound)


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("details", [{"causes": [{"reason": "NamespaceTerminating"}]}, {"kind": "namespaces"}, [1]])
def test_webhook_says_of_no_namespace_that_it_is_gone(status: int, details: Any) -> None:
    raw = json.dumps({"kind": "Status", "message": SENTENCE, "details": details}).encode()
    error = _error(cast(Any, Answer(status)), raw, "create", "escalations.riskladder.dev", "scorer")
    assert (error.is_denial, error.is_final) == (True, False)


# --- Containment and restore ---------------------------------------------------------------------------------------


def refuse(plane: Live, method: str, part: str, error: Exception) -> None:
    plane.api.refuses = lambda asked, path: error if asked == method and part in path else None


@pytest.mark.parametrize("status", CODES)
async def test_stop_that_is_refused_is_said_and_not_asked_for_at_full_speed(status: int) -> None:
    async with live() as plane:
        refuse(plane, "PATCH", "/deployments/", denial(status))
        plane.report(bias=0.3)
        await plane.until(lambda: SENTENCE in plane.says()[2])
        assert plane.says()[:2] == ("False", Reason.CONTAINMENT_IMPOSSIBLE)
        assert any(SENTENCE in note for note in plane.notes())
        texts = [entry["open"]["message"]["value"] for r in plane.server.all(RECORDS) for entry in r["spec"]["entries"]]
        assert any(SENTENCE in text for text in texts), "on record"
        assert plane.replicas == 3
        assert plane.api.calls["PATCH deployments"] < 20


@pytest.mark.parametrize("status", CODES)
async def test_resume_that_is_refused_is_said(status: int) -> None:
    async with live() as plane:
        plane.report(bias=0.3)
        await plane.until(lambda: plane.replicas == 0)
        plane.finish_rollout()
        await plane.until(lambda: plane.says()[0] == "True")
        refuse(plane, "PATCH", "/deployments/", denial(status))
        plane.decide("d1", "Resume")
        await plane.until(lambda: SENTENCE in plane.says()[2])
        assert NOT_YET_RESTORED in plane.says()[2]
        assert Reason.NOT_RESTORED in plane.event_reasons()
        before = plane.api.calls["PATCH deployments"]
        await asyncio.sleep(0.05)
        assert plane.api.calls["PATCH deployments"] - before < 20


# --- What is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "part"), [("POST", "/escalationrecords"), ("PATCH", "/escalations/")])
@pytest.mark.parametrize("status", [400, 403, 422])
async def test_trail_that_is_refused_is_said_by_the_signal_until_it_is_taken(
    status: int, method: str, part: str
) -> None:
    async with live() as plane:
        refuse(plane, method, part, denial(status, "exceeded quota: records"))
        plane.report(bias=0.3)
        await plane.until(lambda: "exceeded quota: records" in plane.says(signal="fairness")[2])
        assert plane.replicas == 0
        assert plane.says(signal="fairness")[1] == Reason.ESCALATION_REFUSED
        assert Reason.ESCALATION_REFUSED in plane.event_reasons()
        status = (plane.server.find(SIGNALS, "fairness") or {})["status"]
        [escalation] = plane.escalations()
        assert (status["tier"], status["escalation"]) == ("high", escalation["metadata"]["name"]), "else it looks well"
        plane.api.refuses = lambda method, path: None
        await plane.until(lambda: plane.says(signal="fairness")[1] == Reason.CONTAINMENT_APPLIED)
        assert plane.says()[1] == Reason.CONTAINMENT_APPLIED


@pytest.mark.parametrize("status", [0, 403, 422, 500])
async def test_no_status_waits_for_an_event_that_is_refused_or_never_answered(status: int) -> None:
    async with live() as plane:
        refuse(plane, "POST", "/events", denial(status))
        plane.report(bias=0.3)
        await plane.until(lambda: plane.says()[1] == Reason.CONTAINMENT_APPLIED)
        assert plane.event_reasons() == []
        assert plane.server.all(RECORDS)


async def test_status_that_is_refused_keeps_nothing_else_of_the_target_from_being_written() -> None:
    """Of two ladders one may have people event_reasons, and of two signals one may be written, and decisions count."""

    async with live() as plane:
        plane.put(LADDERS, {"metadata": {"name": "privacy"}, "spec": LADDER})
        plane.report(drift=0.5)
        await plane.until(lambda: plane.says(signal="fairness")[0])
        [name] = [e["metadata"]["name"] for e in plane.escalations()]

        def refused(method: str, path: str) -> Exception | None:
            parts = (f"/escalations/{name}/status", "/modelrisksignals/bad/status")
            return denial(400) if method == "PATCH" and any(part in path for part in parts) else None

        plane.api.refuses = refused
        plane.report("bad", source="bad", ladder="privacy", drift=0.1)
        plane.report("leak", source="dlp", ladder="privacy", drift=0.5)
        plane.report("worse", source="worse", drift=0.6)
        await plane.until(lambda: plane.says(ladder="privacy")[0])
        await plane.until(lambda: plane.says("Ready", signal="leak")[0])
        assert plane.says("Ready", signal="bad") == ("", "", "")


async def test_decision_counts_while_a_signal_cannot_be_written() -> None:
    async with live() as plane:
        plane.report(drift=0.5)
        await plane.until(lambda: plane.says(signal="fairness")[0])
        refuse(plane, "PATCH", "/modelrisksignals/", denial(400))
        plane.report(drift=0.6)
        plane.decide("d1", "Acknowledge", "model-risk")

        def accepted() -> bool:
            [decision] = plane.server.all(DECISIONS)
            return bool(decision.get("status", {}).get("conditions"))

        await plane.until(accepted)


async def test_decision_on_a_drill_is_asked_about_and_answered() -> None:
    async with live() as plane:
        spec = signal_document(at=datetime.now(UTC), bias=0.3) | {"drill": True}
        plane.put(SIGNALS, {"metadata": {"name": "exercise"}, "spec": spec})
        await plane.until(plane.escalations)
        assert plane.escalations()[0]["spec"]["drill"] is True
        plane.decide("d1", "Acknowledge")

        def accepted() -> bool:
            [decision] = plane.server.all(DECISIONS)
            return bool(decision.get("status", {}).get("escalationUid"))

        await plane.until(accepted)


# --- Companion workloads ----------------------------------------------------------------------------------------------

COMPANION = contain_by("ScaleToZero", alsoSuspend=[{"kind": "CronJob", "name": "retrain"}])


@pytest.mark.parametrize("status", [400, 500])
async def test_companion_that_cannot_be_seen_is_said_to_be_a_problem(status: int) -> None:
    async with live(COMPANION) as plane:
        refuse(plane, "GET", "/cronjobs/", denial(status))
        plane.report(bias=0.3)
        await plane.until(lambda: any(SENTENCE in note for note in plane.notes()))
        await plane.until(lambda: plane.escalations()[0]["status"].get("companions"))
        [escalation] = plane.escalations()
        assert SENTENCE in escalation["status"]["companions"][0]["problem"]


async def test_companion_that_is_never_answered_for_keeps_no_trail_from_being_written() -> None:
    async with live(COMPANION) as plane:
        refuse(plane, "GET", "/cronjobs/", denial(0))
        plane.report(bias=0.3)
        await plane.until(lambda: plane.says()[1] == Reason.CONTAINMENT_APPLIED)
        plane.finish_rollout()
        await plane.until(lambda: plane.says()[0] == "True")
        plane.decide("d1", "Acknowledge")
        await plane.until(lambda: plane.says("Acknowledged")[0] == "True")


async def test_authorizer_that_never_answers_keeps_decisions_waiting_and_nothing_else() -> None:
    async with live() as plane:
        plane.report(drift=0.5)
        await plane.until(lambda: plane.says()[0])
        refuse(plane, "POST", "/localsubjectaccessreviews", denial(500))
        plane.decide("d1", "Acknowledge", "model-risk")
        plane.report("worse", source="other", bias=0.3)
        await plane.until(lambda: plane.says()[1] == Reason.CONTAINMENT_APPLIED)
        assert plane.says("Acknowledged")[0] != "True"
        plane.api.refuses = lambda method, path: None
        plane.operator.scheduler.add(KEY)
        await plane.until(lambda: plane.says("Acknowledged")[1] or plane.server.all(DECISIONS)[0].get("status"))


# --- A further intent that is to be saved first -----------------------------------------------------------------------


@pytest.mark.parametrize("changed", [False, True])
async def test_intent_that_cannot_be_saved_is_looked_at_again_only_where_something_has_changed(changed: bool) -> None:
    """Without a wait between attempts, and event_reasons by nobody, a refusal would be a loop at full speed."""
    scene = Scene([signal(bias=0.3)])
    scene.intend()
    escalation = scene.escalation
    scene.signals = [signal(bias=0.3)]

    class Fake:
        unwritten: dict[str, str] = {}  # noqa: RUF012

        async def status(self, *_: Any) -> None:
            raise denial(422, "intents are append-only")

        async def refresh(self, *_: Any) -> Any:
            version = "77" if changed else escalation.resource_version
            return {"metadata": {"resourceVersion": version}}

        def not_written(self, escalation: Escalation, why: str) -> None:
            self.unwritten[escalation.uid] = why

        def saved(self, key: object) -> None:
            pass

        def written(self, namespace: str, uid: str) -> None:
            pass

    fake = Fake()
    fake.unwritten = {}
    saving = ContainmentPass(cast(Any, fake), cast(Any, fake), cast(Any, fake), cast(Any, fake), now=lambda: scene.now)
    plan = Plan(noted=EscalationUpdate(escalation, escalation.status))
    if changed:
        assert await saving.save(KEY, plan) is None
        assert fake.unwritten == {}
        return
    with pytest.raises(Refused):
        await saving.save(KEY, plan)
    assert fake.unwritten == {escalation.uid: "intents are append-only"}


# --- Companions, drills and what is asked for -------------------------------------------------------------------------


class Refusing:
    """Refuses every write, and stores what it is given."""

    def __init__(self, error: Exception | None, stored: Any = None) -> None:
        self.error, self.stored = error, stored

    async def request(self, *_: Any, **__: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.stored

    async def json_patch(self, *_: Any) -> Any:
        return await self.request()

    async def get(self, *_: Any) -> Any:
        about = {"uid": "cron-uid", "namespace": KEY.namespace, "name": "x", "resourceVersion": "1"}
        return {"metadata": about, "spec": {"suspend": False}}


def executor_of(error: Exception | None, stored: Any = None) -> Executor:
    return Executor(cast(Client, Refusing(error, stored)), Store(lambda key, urgent: None, Runtimes(["isolate"])))


@pytest.mark.parametrize("status", CODES)
async def test_companion_that_may_not_be_suspended_is_a_problem_whatever_the_code(status: int) -> None:
    executor = executor_of(denial(status))
    seen = Companion("CronJob", "retrain", "cron-uid", False, True)
    await executor.carry_out(KEY, switch_write(seen, "scorer-1", suspend_it=True))
    assert SENTENCE in executor.problem(KEY.namespace, "CronJob", "retrain")


def rehearsal() -> Any:
    scene = Scene([signal(bias=0.3)])
    stop = scene.plan().stop
    assert stop is not None
    assert scene.target is not None
    return rehearsal_write(scene.target, stop)


@pytest.mark.parametrize("status", [*CODES, 401, 403, 413])
async def test_drill_says_what_refuses_its_containment_whatever_the_code(status: int) -> None:
    assert SENTENCE in await executor_of(denial(status)).rehearse(KEY, rehearsal())


@pytest.mark.parametrize("status", [0, 429, 503])
async def test_drill_waits_for_an_answer_that_says_something(status: int) -> None:
    with pytest.raises(ApiError):
        await executor_of(denial(status)).rehearse(KEY, rehearsal())


@pytest.mark.parametrize(("stored", "said"), [(0, ""), (2, "/spec/replicas would be 2")])
async def test_drill_compares_what_would_be_stored_with_what_was_asked_for(stored: int, said: str) -> None:
    found = await executor_of(None, {"metadata": {}, "spec": {"replicas": stored}}).rehearse(KEY, rehearsal())
    assert said in found
    assert bool(said) is bool(found)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("abc"), values, min_size=1, max_size=3), values, st.sampled_from("abc"))
def test_what_is_asked_for_is_found_in_what_is_stored_unless_it_was_changed(
    asked: dict[str, Any], added: Any, changed: str
) -> None:
    patch = [{"op": "add", "path": f"/{name}", "value": value} for name, value in asked.items()]
    stored = jsonpatch.apply_patch({"metadata": {"uid": "u"}}, patch)
    assert altered(patch, {**stored, "more": added}) == ""
    if asked.get(changed):
        assert altered(patch, {**stored, changed: "changed on the way"}).startswith(f"/{changed}")
        assert altered([{"op": "remove", "path": f"/{changed}"}], stored) == f"/{changed} would stay"


async def test_creation_and_deletion_that_are_refused_are_refusals_and_nothing_stale() -> None:
    """A 422 without a test of what was seen: the NetworkPolicy of an Isolate, on its way in and out."""
    for verb, body in (("create", {}), ("delete", {"preconditions": {"uid": "u"}})):
        write = ObjectWrite(NETWORKPOLICIES, "riskladder-x", cast(Any, verb), body)
        for phase in (Phase.RESTORE, Phase.UPKEEP):
            with pytest.raises(NotContainable, match="denied the request"):
                await executor_of(denial(422)).carry_out(KEY, Effect.of(phase, write, "x"))


# --- The lock ---------------------------------------------------------------------------------------------------------


async def test_lock_is_said_to_be_missing_while_its_index_is_refused() -> None:
    async with live() as plane:
        plane.operator._loader.lock = ""
        refuse(plane, "POST", "/containmentindexes", denial(403, "exceeded quota: indexes"))
        plane.report(bias=0.3)
        await plane.until(lambda: "exceeded quota: indexes" in plane.says("Locked")[2])
        assert plane.says("Locked")[:2] == ("False", Reason.LOCK_MISSING)
        plane.api.refuses = lambda method, path: None
        plane.operator.scheduler.add(IndexKey(KEY.namespace))
        await plane.until(lambda: plane.says("Locked")[0] == "True")


async def test_escalation_that_its_namespace_has_left_behind_is_looked_at_seldom() -> None:
    """A namespace can be gone before what was in it: nothing can be recorded there, and nobody waits for it."""
    async with live() as plane:
        plane.report(bias=0.3)
        await plane.until(lambda: plane.api.calls["PATCH modelrisksignals"])
        gone = NotFound(404, "NotFound", "namespaces not found", verb="get", resource="namespaces", where="any")
        refuse(plane, "GET", NAMESPACES.path(None, KEY.namespace), gone)
        before = plane.api.calls["GET namespaces"]
        plane.finish_rollout()
        await plane.until(lambda: plane.api.calls["GET namespaces"] > before)
        await asyncio.sleep(0.1)
        assert plane.api.calls["GET namespaces"] - before < 5


@pytest.mark.parametrize("status", [403, 422])
async def test_stop_button_is_pressed_once_while_records_are_refused(status: int) -> None:
    async with live() as plane:
        for _ in range(2):
            plane.report(bias=0.15)
            await asyncio.sleep(0.02)
        await plane.until(lambda: plane.server.all(ESCALATIONS) and plane.api.calls["POST escalationrecords"])
        refuse(plane, "POST", "/escalationrecords", denial(status))
        plane.decide("d1", "Contain")
        await plane.until(lambda: plane.replicas == 0)
        before = plane.api.calls["POST escalationrecords"]
        await asyncio.sleep(0.1)
        assert plane.api.calls["POST escalationrecords"] - before < 20
