"""The stop button, on an operator whose trail gate is closed: containments of other targets hang."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from riskladder.api.base import format_time
from riskladder.cluster.client import Object
from riskladder.cluster.resources import DECISIONS, DEPLOYMENTS, ESCALATIONS, LADDERS, SIGNALS, Resource
from riskladder.controller import reconciler, scheduler
from riskladder.controller.metrics import Metrics
from tests.patience import PATIENCE

from .builders import KEY, LADDER, Document, deployment_object, signal_document
from .live import Api
from .simulator import Server


class Hanging(Api):
    """The in-memory API server, on which writes to some Deployments are never answered."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.hangs = 0

    async def request(self, method: str, path: str, **more: Any) -> Object:
        if method == "PATCH" and "/deployments/bad-" in path:
            self.hangs += 1
            await asyncio.Event().wait()
        return await super().request(method, path, **more)


def named(obj: Document, name: str) -> Document:
    return {**obj, "metadata": {**obj["metadata"], "name": name, "uid": f"{name}-uid"}}


async def test_contain_is_carried_out_while_containments_of_others_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("STUCK_AFTER", "LONGEST_CLOSED", "PATIENCE"):
        monkeypatch.setattr(scheduler, patience, 1e6)  # the gate does not open by itself
    server = Server()
    client = Hanging(server)
    operator = reconciler.Reconciler(client, Metrics(), instance="operator")

    def put(resource: Resource, obj: Document) -> Document:
        stored = server.save(resource, obj)
        operator.store.put(resource, stored)
        return stored

    now = datetime.now(UTC)
    put(LADDERS, {"metadata": {"name": "credit"}, "spec": LADDER})
    put(DEPLOYMENTS, deployment_object())
    put(SIGNALS, {"metadata": {"name": "drift"}, "spec": signal_document(at=now, drift=0.5)})
    with capture_logs():
        operator.scheduler.activate()
        async with asyncio.timeout(PATIENCE):
            while not any("conditions" in (e.get("status") or {}) for e in server.all(ESCALATIONS)):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            for number in range(3):
                name = f"bad-{number}"
                put(DEPLOYMENTS, named(deployment_object(), name))
                spec = signal_document(at=now, bias=0.9)
                put(SIGNALS, {"metadata": {"name": name}, "spec": spec | {"target": {"kind": KEY.kind, "name": name}}})
            while client.hangs < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            assert not operator.scheduler.may_write
            [escalation] = server.all(ESCALATIONS)
            spec = {"escalation": escalation["metadata"]["name"], "action": "Contain", "role": "legal"}
            server.decide(
                "stop", spec | {"rationale": "It answers nonsense"}, "ann", format_time(now.replace(microsecond=0))
            )
            operator.store.put(DECISIONS, server.all(DECISIONS)[0])
            while server.all(DEPLOYMENTS)[0]["spec"]["replicas"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await operator.scheduler.stop(grace=0)
    assert client.hangs == 3
