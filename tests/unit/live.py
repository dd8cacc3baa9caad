"""An operator with its real queue on the API server in memory: what that refuses, and what is asked of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from structlog.testing import capture_logs

from riskladder.api import kinds as api_kinds
from riskladder.api.base import format_time
from riskladder.api.definitions import definition_name
from riskladder.cluster.client import ApiError, Client, Denied, Forbidden, NotFound, Object, Refused
from riskladder.cluster.resources import (
    DECISIONS,
    DEPLOYMENTS,
    ESCALATIONS,
    EVENTS,
    LADDERS,
    SIGNALS,
    Resource,
)
from riskladder.controller.metrics import Metrics
from riskladder.controller.reconciler import Reconciler
from riskladder.controller.scheduler import Backoff
from riskladder.generate.crd import crd
from riskladder.policy import trail
from tests.patience import PATIENCE
from tests.unit.builders import KEY, LADDER, Document, Edit, deployment_object, edited, signal_document
from tests.unit.simulator import Server

SENTENCE = 'admission webhook "gate.example" denied the request: not in this namespace'
METRICS = Metrics()
DEFINITIONS = {definition_name(kind): crd(kind) for kind in api_kinds.KINDS.values()}
"""As they are shipped, by name."""
for definition in DEFINITIONS.values():
    definition["metadata"]["uid"] = definition["metadata"]["name"]
KINDS: Mapping[int, type[ApiError]] = {403: Forbidden, 404: Denied, 409: Denied, 422: Refused}


def denial(status: int, message: str = SENTENCE) -> ApiError:
    """Return what the client makes of an answer by which admission refuses something."""
    return KINDS.get(status, ApiError)(status, "", message, verb="any", resource="any", where="any")


class Api(Client):
    """The API server in memory; ``refuses`` says what it does not take, and why."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.refuses: Callable[[str, str], Exception | None] = lambda method, path: None
        self.calls: Counter[str] = Counter()
        """By method and plural."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        verb: str,
        resource: str,
        body: Any = None,
        content_type: str = "",
        params: Mapping[str, str] | None = None,
        accept: str = "",
        timeout: float = 10,  # noqa: ASYNC109
    ) -> Object:
        await asyncio.sleep(0)
        self.calls[f"{method} {resource.partition('.')[0]}"] += 1
        if (error := self.refuses(method, path)) is not None:
            raise error
        if "selfsubjectaccessreviews" in path:
            return {"status": {"allowed": True}}
        if "customresourcedefinitions" in path:
            return DEFINITIONS[path.rpartition("/")[2]]
        try:
            return self.server.request(method, path, body, content_type)
        except StopIteration:
            raise NotFound(404, "NotFound", "not found", verb=verb, resource=resource, where=path) from None

    async def list(self, resource: Resource, namespace: str | None = None, **_: Any) -> list[Object]:
        return self.server.all(resource)


class Live:
    """One operator, and the objects that others write."""

    def __init__(self, edit: Edit | None = None) -> None:
        self.server = Server()
        self.api = Api(self.server)
        self.operator = Reconciler(self.api, METRICS, instance="operator")
        self.operator.scheduler._trail_backoff = Backoff(0.005, 0.02)
        self.put(LADDERS, {"metadata": {"name": "credit"}, "spec": edited(LADDER, edit)})
        self.put(DEPLOYMENTS, deployment_object())

    def put(self, resource: Resource, obj: Document) -> Document:
        """Somebody writes an object, and the watch says so."""
        stored = self.server.save(resource, obj)
        self.operator.store.put(resource, stored)
        return stored

    def report(self, name: str = "fairness", **document: Any) -> None:
        """A monitor reports."""
        spec = signal_document(at=datetime.now(UTC), **document)
        self.put(SIGNALS, {"metadata": {"name": name}, "spec": spec})

    def decide(self, name: str, action: str, role: str = "legal", **more: Any) -> None:
        """Somebody decides on the only escalation."""
        [escalation] = self.server.all(ESCALATIONS)
        spec = {"escalation": escalation["metadata"]["name"], "action": action, "role": role, "rationale": "I looked"}
        now = datetime.now(UTC).replace(microsecond=0)
        self.server.decide(name, spec | more, role, format_time(now))
        for found in self.server.all(DECISIONS):
            self.operator.store.put(DECISIONS, found)

    def finish_rollout(self) -> None:
        """Let the controller of the target do what is asked for."""
        found = self.server.find(DEPLOYMENTS, KEY.name)
        assert found is not None
        level = found["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), level)
        self.put(DEPLOYMENTS, {**found, "status": {"observedGeneration": found["metadata"]["generation"], **counts}})

    @property
    def replicas(self) -> int:
        found = self.server.find(DEPLOYMENTS, KEY.name)
        assert found is not None
        return int(found["spec"]["replicas"])

    def escalations(self, ladder: str = "credit") -> list[Document]:
        return [e for e in self.server.all(ESCALATIONS) if e["spec"]["ladder"]["name"] == ladder]

    def says(self, kind: str = "Contained", *, ladder: str = "credit", signal: str = "") -> tuple[str, str, str]:
        """Status, reason and message of a condition of an escalation, or of a signal; empty while there is none."""
        found = [s] if signal and (s := self.server.find(SIGNALS, signal)) else self.escalations(ladder)
        conditions = found[-1].get("status", {}).get("conditions", ()) if found else ()
        return next(((c["status"], c["reason"], c["message"]) for c in conditions if c["type"] == kind), ("", "", ""))

    def event_reasons(self) -> list[str]:
        """Reasons of all Events."""
        return [event["reason"] for event in self.server.all(EVENTS)]

    def notes(self) -> list[str]:
        """Return what all Events say."""
        return [event["note"] for event in self.server.all(EVENTS)]

    async def until(self, condition: Callable[[], object]) -> None:
        """As soon as it holds; ten seconds are for ever."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - it is what is tested that would have to set an event
                await asyncio.sleep(0.002)


@asynccontextmanager
async def live(edit: Edit | None = None) -> AsyncIterator[Live]:
    """An operator at work."""
    plane = Live(edit)
    with capture_logs(), patch.object(trail, "PROOF_GRACE", timedelta()):
        plane.operator.scheduler.activate()
        try:
            yield plane
        finally:
            await plane.operator.scheduler.stop(grace=0)
