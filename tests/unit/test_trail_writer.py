"""The trail after a crash between its records and its status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from riskladder.api.escalation import EscalationStatus
from riskladder.api.reasons import Reason
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Conflict
from riskladder.cluster.resources import Resource
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.escalation import notifications
from riskladder.policy.plan import Entry, EscalationUpdate
from riskladder.policy.snapshot import Delivery
from tests.trails import said
from tests.unit.builders import NOW, Document
from tests.unit.test_people import HIGH, scene


class Killed(Exception):  # noqa: N818
    """The process ends here."""


class Shelf:
    """Objects by name, and an API server that may be the last thing a writer sees."""

    def __init__(self) -> None:
        self.records: dict[str, Document] = {}
        self.events: list[str] = []
        self.status: Document = {}
        self.kills = True

    async def create(self, resource: Resource, namespace: str, body: Document) -> Document:
        if resource is resources.RECORDS:
            if body["metadata"]["name"] in self.records:
                raise Conflict(409, "AlreadyExists", "", verb="create", resource="", where="")
            self.records[body["metadata"]["name"]] = body
        else:
            if self.kills:
                raise Killed
            self.events.append(body["reason"])
        return body

    async def get(self, resource: Resource, namespace: str, name: str) -> Document:
        return self.records[name]

    async def request(self, method: str, path: str, **arguments: Any) -> Document:
        self.status = arguments["body"][-1]["value"]
        return {}


async def test_message_on_record_of_a_killed_operator_is_recorded_once() -> None:
    found = scene(**HIGH)
    escalation = found.escalation
    key = found.pending()[0]
    told = Entry(Reason.NOTIFIED, f"told/{key}", NOW, "told", {"attempts": "1"})
    seen = Entry(Reason.ACKNOWLEDGED, "decision/d1", NOW, "seen")
    shelf = Shelf()
    writer = TrailWriter(cast(Client, shelf), instance="test", stored=lambda resource, obj: None)

    async def write(status: EscalationStatus, *entries: Entry) -> EscalationStatus:
        await writer.escalation(EscalationUpdate(escalation, status, entries))
        return EscalationStatus.model_validate(shelf.status)

    def is_told(status: EscalationStatus) -> bool:
        return next(str(n.state) for n in status.notifications if n.key == key) == "Delivered"

    for kills in (True, False):  # the next life has something else to write before it has told again
        shelf.kills = kills
        try:
            after = await write(escalation.status, *((told,) if kills else (seen,)))
        except Killed:
            continue
    assert [record["spec"]["event"] for record in said(list(shelf.records.values()))] == ["Notified", "Acknowledged"]
    assert shelf.events == ["Acknowledged", "Notified"]
    assert is_told(after)
    assert after.ledger is not None
    assert after.ledger.hash == list(shelf.records.values())[-1]["spec"]["hash"]

    # What it is told meanwhile once more is no news.
    found.escalations[:] = [replace(escalation, status=after)]
    before = len(found.entries)
    found.deliveries[(escalation.uid, key)] = Delivery(1, NOW)
    found.run()
    assert f"told/{key}" not in [entry.key for entry in found.entries[before:]]


def test_records_of_anything_else_change_no_message() -> None:
    found = scene(**HIGH)
    status, uid = found.escalation.status, found.escalation.uid
    others = [
        {"event": "Commented", "at": "2026-11-24T06:00:00Z", "detail": {"key": f"{uid}/decision/d1"}},
        {"event": "Notified", "at": "2026-11-24T06:00:00Z", "detail": {"key": f"{uid}/told/1/nobody/told/pager"}},
        {"event": "Notified", "at": "2026-11-24T06:00:00Z", "detail": {}},
    ]
    assert notifications.recall(status, uid, others) == (status, ())
