"""The trail after a crash between its records and its status."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from riskladder.api.chain import ChainResult, verify_chains
from riskladder.api.escalation import EscalationStatus, LedgerHead
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.record import MAX_SEQUENCE
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Conflict, NotFound
from riskladder.cluster.resources import Resource
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.escalation import deliveries
from riskladder.policy.escalation.limits import MOST_RECORDS
from riskladder.policy.plan import Entry, EscalationUpdate, On
from riskladder.policy.snapshot import Delivery, Escalation
from tests.trails import said
from tests.unit.builders import NOW, Document, at
from tests.unit.test_people import HIGH, scene


class Killed(Exception):  # noqa: N818
    """The process ends here."""


class Shelf:
    """Objects by name, and an API server that may be the last thing a writer sees."""

    def __init__(self) -> None:
        self.records: dict[str, Document] = {}
        self.events: list[str] = []
        self.notes: list[Document] = []
        """Events as they were written."""
        self.status: Document = {}
        self.kills = True
        self.namespace_uid = "uid-of-models"
        self.escalations: dict[str, Document] = {}

    async def create(self, resource: Resource, namespace: str, body: Document, *, strict: bool = False) -> Document:
        if resource is resources.RECORDS:
            if body["metadata"]["name"] in self.records:
                raise Conflict(409, "AlreadyExists", "", verb="create", resource="", where="")
            self.records[body["metadata"]["name"]] = body
        else:
            if self.kills:
                raise Killed
            self.events.append(body["reason"])
            self.notes.append(body)
        return body

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Document:
        if resource is resources.NAMESPACES and self.namespace_uid:
            return {"metadata": {"uid": self.namespace_uid}}
        found = self.escalations if resource is resources.ESCALATIONS else self.records
        if resource is resources.NAMESPACES or name not in found:
            raise NotFound(404, "NotFound", "", verb="get", resource="", where="")
        return found[name]

    async def request(self, method: str, path: str, **arguments: Any) -> Document:
        self.status = arguments["body"][-1]["value"]
        return {}


async def test_message_on_record_of_a_killed_operator_is_recorded_once() -> None:
    found = scene(**HIGH)
    escalation = found.escalation
    key = found.pending()[0]
    notified = Entry(Reason.NOTIFIED, f"notified/{key}", NOW, "notified", {"attempts": "1"})
    seen = Entry(Reason.ACKNOWLEDGED, "decision/d1", NOW, "seen")
    shelf = Shelf()
    shelf.escalations[escalation.name] = {"metadata": {"uid": escalation.uid}}
    writer = TrailWriter(cast(Client, shelf), instance="test", stored=lambda resource, obj: None)

    async def write(status: EscalationStatus, *entries: Entry) -> EscalationStatus:
        await writer.escalation(EscalationUpdate(escalation, status, entries))
        return EscalationStatus.model_validate(shelf.status)

    def is_notified(status: EscalationStatus) -> bool:
        return next(str(n.state) for n in status.notifications if n.key == key) == "Delivered"

    for kills in (True, False):  # the next life has something else to write before it has notified again
        shelf.kills = kills
        try:
            after = await write(escalation.status, *((notified,) if kills else (seen,)))
        except Killed:
            continue
    assert [record["spec"]["event"] for record in said(list(shelf.records.values()))] == ["Notified", "Acknowledged"]
    assert shelf.events == ["Acknowledged", "Notified"]
    assert is_notified(after)
    assert after.ledger is not None
    assert after.ledger.hash == list(shelf.records.values())[-1]["spec"]["hash"]

    # What it is notified meanwhile once more is no news.
    found.escalations[:] = [replace(escalation, status=after)]
    before = len(found.entries)
    found.deliveries[(escalation.uid, key)] = Delivery(1, NOW)
    found.run()
    assert f"notified/{key}" not in [entry.key for entry in found.entries[before:]]


def test_records_of_anything_else_change_no_message() -> None:
    found = scene(**HIGH)
    status, uid = found.escalation.status, found.escalation.uid
    others = [
        {"event": "Commented", "at": "2026-11-24T06:00:00Z", "detail": {"key": f"{uid}/decision/d1"}},
        {
            "event": "Notified",
            "at": "2026-11-24T06:00:00Z",
            "detail": {"key": f"{uid}/notified/1/nobody/notified/pager"},
        },
        {"event": "Notified", "at": "2026-11-24T06:00:00Z", "detail": {}},
    ]
    assert deliveries.recall(status, uid, others) == (status, ())


# --- Salts and namespaces ---------------------------------------------------------------------------------------------

SEEN = Entry(Reason.ACKNOWLEDGED, "decision/d1", NOW, "seen", {"rationale": "I take it"}, actor="ana")
LATER = Entry(Reason.COMMENTED, "decision/d2", NOW, "said", {"rationale": "done"}, actor="ana")


def opened() -> Escalation:
    """An escalation of which nothing is on record yet."""
    escalation = scene(**HIGH).escalation
    return replace(escalation, status=escalation.status.model_copy(update={"ledger": None}))


def writer_of(shelf: Shelf) -> TrailWriter:
    return TrailWriter(cast(Client, shelf), instance="test", stored=lambda resource, obj: None)


def shelf_with(escalation: Escalation) -> Shelf:
    shelf = Shelf()
    shelf.kills = False
    shelf.escalations[escalation.name] = {"metadata": {"uid": escalation.uid}}
    return shelf


def noted(escalation: Escalation, shelf: Shelf) -> Escalation:
    """The escalation with the head of its chain in its status, as after a pass."""
    spec = list(shelf.records.values())[-1]["spec"]
    head = LedgerHead(sequence=spec["sequence"], hash=spec["hash"])
    return replace(escalation, status=escalation.status.model_copy(update={"ledger": head}))


def verified(shelf: Shelf) -> ChainResult:
    [result] = verify_chains(shelf.records.values())
    return result


async def test_record_written_again_after_a_crash_is_known_by_its_key_although_its_salts_differ() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    first = await writer_of(shelf).entries(escalation, (SEEN,))
    again = await writer_of(shelf).entries(escalation, (SEEN,))  # the status with the head never came
    assert first is not None
    assert again is not None
    assert first.head == again.head
    [record] = shelf.records.values()
    assert record["spec"]["namespaceUid"] == "uid-of-models"
    assert "I take it" not in str(record["spec"]["entries"][0]["detail"])
    assert verified(shelf).intact


async def test_redacted_record_is_known_by_its_key_and_the_chain_goes_on_behind_it() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    await writer_of(shelf).entries(escalation, (SEEN,))
    [record] = shelf.records.values()
    del record["spec"]["entries"][0]["open"]["rationale"]
    said_so = {"at": "2026-12-01T09:00:00Z", "by": "dpo", "reason": "r", "fields": ["entries[0].open.rationale"]}
    record["spec"]["redactions"] = [said_so]
    await writer_of(shelf).entries(escalation, (SEEN, LATER))
    assert [act["spec"]["event"] for act in said(list(shelf.records.values()))] == ["Acknowledged", "Commented"]
    assert (verified(shelf).intact, verified(shelf).redacted) == (True, 1)


@pytest.mark.parametrize("remembers", [True, False])
async def test_nothing_of_a_deleted_namespace_is_appended_to_one_of_the_same_name(*, remembers: bool) -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    writer = writer_of(shelf)
    await writer.entries(escalation, (SEEN,))
    stale = noted(escalation, shelf)
    shelf.namespace_uid, shelf.records, shelf.escalations, shelf.events = "uid-of-another", {}, {}, []
    if not remembers:
        writer = writer_of(shelf)
    for known in (stale, escalation):
        assert await writer.entries(known, (LATER,)) is None
    await writer.escalation(EscalationUpdate(stale, stale.status, (LATER,)))
    assert (shelf.records, shelf.events, shelf.status) == ({}, [], {})

    successor = replace(escalation, uid="uid-of-its-successor")
    shelf.escalations[escalation.name] = {"metadata": {"uid": successor.uid}}
    await writer.entries(successor, (LATER,))
    assert (verified(shelf).length, verified(shelf).namespace_uid) == (1, "uid-of-another")


async def test_nothing_is_written_where_the_namespace_is_gone() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    shelf.namespace_uid = ""
    assert await writer_of(shelf).entries(escalation, (SEEN,)) is None
    assert (shelf.records, shelf.events) == ({}, [])


async def test_deleted_escalation_is_still_recorded_in_its_own_namespace() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    await writer_of(shelf).entries(escalation, (SEEN,))
    shelf.escalations = {}
    await writer_of(shelf).entries(noted(escalation, shelf), (LATER,))
    assert verified(shelf).length == 2


async def test_record_of_another_namespace_in_the_place_is_named_and_nothing_goes_behind_it() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    await writer_of(shelf).entries(escalation, (SEEN,))
    shelf.namespace_uid = "uid-of-another"  # and a backup has brought the record back
    with pytest.raises(Conflict, match=r"-000001 .*spec\.namespaceUid is uid-of-models, expected uid-of-another"):
        await writer_of(shelf).entries(escalation, (LATER,))
    assert len(shelf.records) == 1


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_chain_that_is_full_keeps_no_event_and_no_status_from_being_written(left: int) -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    full = LedgerHead(sequence=MAX_SEQUENCE - left, hash="a" * 64)
    escalation = replace(escalation, status=escalation.status.model_copy(update={"ledger": full}))
    many = tuple(replace(SEEN, key=f"decision/{number}", at=at(number)) for number in range(20))
    with capture_logs() as lines:
        await writer_of(shelf).escalation(EscalationUpdate(escalation, escalation.status, many))
    assert len(shelf.records) == left
    assert shelf.events
    assert shelf.status["ledger"]["sequence"] == MAX_SEQUENCE
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["chain full"] * (left < 2)


def test_end_of_a_chain_is_said_before_it_is_there() -> None:
    found = scene(**HIGH)
    status = found.escalation.status
    ledger = LedgerHead(sequence=MOST_RECORDS, hash="a" * 64)
    found.escalations[:] = [replace(found.escalation, status=status.model_copy(update={"ledger": ledger}))]
    found.run()
    assert found.reason(ConditionType.WITHIN_LIMITS) == ("False", Reason.CHAIN_FULL)
    assert found.events().count(Reason.CHAIN_FULL) == 1


# --- Events -----------------------------------------------------------------------------------------------------------


async def test_what_one_pass_says_about_an_object_is_one_event_with_a_series() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    notified = [
        Entry(Reason.NOTIFIED, f"notified/{role}", NOW + timedelta(seconds=number), f"{role} was notified")
        for number, role in enumerate(("legal", "security", "executive"))
    ]
    warning = replace(SEEN, warning=True, on=(On.ESCALATION, On.TARGET))
    await writer_of(shelf).entries(escalation, (*notified, warning))
    gathered, single = shelf.notes
    assert gathered["note"] == f"legal was notified; security was notified; executive was notified; {SEEN.message}"
    assert (gathered["type"], gathered["reason"]) == ("Warning", str(SEEN.event)), "what matters most"
    assert (gathered["eventTime"], gathered["series"]["count"]) == ("2026-11-24T12:00:00.000000Z", 4)
    assert "series" not in single


async def test_pass_that_has_more_to_say_when_it_is_repeated_says_it() -> None:
    escalation = opened()
    shelf = shelf_with(escalation)
    first = Entry(Reason.NOTIFIED, "notified/legal", NOW, "legal was notified")
    for entries in ((first,), (first, replace(first, key="notified/security", message="security was notified"))):
        await writer_of(shelf).entries(escalation, entries)
    assert shelf.notes[-1]["note"] == "legal was notified; security was notified"
