"""What is said on a binding, where the API server does not take it at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.client import ApiError, Object
from riskladder.monitors.observations import Refusal
from riskladder.reporting.bindings import Binding
from riskladder.reporting.status_writer import EVENT_EVERY, StatusWriter

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)


def stored(name: str = "credit", uid: str = "1") -> Object:
    spec = {
        "format": "Generic",
        "ladder": "credit",
        "target": {"kind": "Deployment", "name": "scorer"},
        "source": "fairness",
        "serviceAccount": "fairness",
        "sender": {"audienceToken": {}},
        "readings": [{"indicator": "dpd"}],
    }
    metadata = {"namespace": "models", "name": name, "uid": uid, "generation": 1, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": spec}


class Server:
    """An API server that may answer with an error first."""

    def __init__(self, *objects: Object) -> None:
        self.objects = {one["metadata"]["name"]: one for one in objects}
        self.errors: list[Exception] = []

    async def get(self, _: Any, __: str, name: str) -> Object:
        if self.errors:
            raise self.errors.pop(0)
        return self.objects[name]

    async def merge_patch(self, _: Any, __: str, name: str, body: Object, **___: Any) -> None:
        self.objects[name]["status"] = body["status"]

    async def request(self, *_: Any, **__: Any) -> None:
        """Take an Event."""

    async def create(self, *_: Any, **__: Any) -> None:
        """Take an Event."""

    def conditions(self, name: str = "credit") -> dict[str, str]:
        return {c["type"]: c["status"] for c in self.objects[name].get("status", {}).get("conditions", ())}


def writer(server: Server) -> StatusWriter:
    client: Any = server
    return StatusWriter(client, "test", lambda: NOW)


def error(status: int) -> ApiError:
    return ApiError(status, "Later", "not now", verb="get", resource="monitorbindings", where="")


async def test_what_could_not_be_written_is_written_later() -> None:
    """A binding that nobody sends to is said to be ready once only: as it is taken in."""
    server, binding = Server(stored()), Binding.of(stored())
    server.errors = [error(503)]
    status = writer(server)
    status.seen(binding)
    status.delivered(binding)
    status.say(binding, ConditionType.RECEIVING, False, Reason.REPORT_REFUSED, "refused")
    await status.flush()
    assert server.conditions() == {}
    status.delivered(binding)
    status.say(binding, ConditionType.RECEIVING, True, Reason.RECEIVED, "received")
    await status.flush()
    assert server.conditions() == {"Ready": "True", "Receiving": "True"}
    assert server.objects["credit"]["status"]["counts"]["deliveries"] == 2


async def test_what_is_refused_for_good_is_not_tried_without_end() -> None:
    server = Server(stored())
    server.errors = [error(403)]
    status = writer(server)
    status.seen(Binding.of(stored()))
    await status.flush()
    await status.flush()
    assert server.conditions() == {}


async def test_error_of_one_binding_leaves_the_others_alone() -> None:
    server = Server(stored("a"), stored("b"))
    server.errors = [KeyError("metadata")]
    status = writer(server)
    for name in ("a", "b"):
        status.seen(Binding.of(stored(name)))
    await status.flush()
    assert server.conditions("b") == {"Ready": "True"}


async def test_binding_that_was_created_again_is_said_to_be_ready() -> None:
    server = Server(stored(uid="2"))
    status = writer(server)
    status.delivered(Binding.of(stored(uid="1")))
    status.seen(Binding.of(stored(uid="2")))
    await status.flush()
    assert server.conditions() == {"Ready": "True"}


async def test_bindings_that_come_and_go_leave_nothing_behind() -> None:
    now, server = NOW, Server()
    client: Any = server
    status = StatusWriter(client, "test", lambda: now)
    for number in range(50):
        one = stored(uid=str(number))
        server.objects = {"credit": one}
        status.refused(Binding.of(one), Refusal("", Reason.NO_READING, "nothing"))
        await status.flush()
        now += timedelta(seconds=EVENT_EVERY)
    assert len(status._announced) <= 2
