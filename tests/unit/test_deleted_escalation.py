"""An open escalation that is deleted is recorded once: not lost on an error, and not said of one that is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from riskladder.api.reasons import Reason
from riskladder.cluster.client import ApiError, Client, Forbidden, Terminating
from riskladder.cluster.resources import ESCALATIONS, Resource
from riskladder.controller.trail_pass import TrailPass
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.plan import CLOSED_KEY, Entry
from riskladder.policy.snapshot import Escalation
from tests.unit.builders import KEY, NAMESPACE, NOW, Document
from tests.unit.fakes import Cache
from tests.unit.test_store import open_one
from tests.unit.test_trail_writer import Shelf, said, verified


class Case:
    """One open escalation, known to the caches and stored, and a chain on which something may fail."""

    def __init__(self) -> None:
        self.cache, self.shelf = Cache(), FailingShelf()
        self.stored = open_one(self.cache)
        self.shelf.escalations[self.name] = self.stored
        [self.escalation] = self.cache.store.escalations.open_ones()
        self.forbidden: list[str] = []
        self.writer = TrailWriter(cast(Client, self.shelf), instance="test", stored=lambda resource, obj: None)
        nothing: Any = None
        self.trail_pass = TrailPass(
            self.cache.store,
            self.writer,
            nothing,
            nothing,
            nothing,
            nothing,
            now=lambda: NOW,
            note=lambda update: None,
            snapshot=lambda key: self.cache.snapshot(),
            again=lambda key, after: None,
            forbidden=self.forbidden.append,
        )

    async def open(self) -> Case:
        """Record that it was opened."""
        opened = await self.writer.entries(self.escalation, (Entry(Reason.ESCALATION_OPENED, "opened", NOW, "breach"),))
        assert opened is not None
        assert opened.head is not None
        self.stored = self.cache.put(ESCALATIONS, self.stored | {"status": {"ledger": opened.head.to_api()}}, 2)
        self.shelf.escalations[self.name] = self.stored
        [self.escalation] = self.cache.store.escalations.open_ones()
        return self

    @property
    def name(self) -> str:
        return str(self.stored["metadata"]["name"])

    def delete(self) -> None:
        """It is gone from the API server, and the caches hear of it."""
        del self.shelf.escalations[self.name]
        self.cache.store.drop(ESCALATIONS, self.stored)

    async def write(self) -> None:
        await self.trail_pass.write_deleted(KEY)

    @property
    def events(self) -> list[str]:
        """What is on record behind the opening."""
        return [record["spec"]["event"] for record in said(list(self.shelf.records.values()))][1:]

    @property
    def known(self) -> list[Escalation]:
        return self.cache.store.escalations.deleted(KEY)


class FailingShelf(Shelf):
    """Answers with an error where the test wants one."""

    def __init__(self) -> None:
        super().__init__()
        self.kills = False
        self.error: ApiError | None = None

    async def create(self, resource: Resource, namespace: str, body: Document, *, strict: bool = False) -> Document:
        if self.error is not None:
            raise self.error
        return await super().create(resource, namespace, body)


def failure(kind: type[ApiError], status: int, message: str) -> ApiError:
    return kind(status, "", message, verb="create", resource="escalationrecords", where=NAMESPACE)


@pytest.mark.parametrize(
    "error",
    [
        failure(ApiError, 503, "the API server is overloaded"),
        failure(ApiError, 0, "no answer"),
        failure(Forbidden, 403, "escalationrecords is forbidden: User cannot create resource"),
    ],
)
async def test_deletion_is_recorded_once_however_often_that_fails_first(error: ApiError) -> None:
    case = await Case().open()
    case.delete()
    case.shelf.error = error
    for _ in range(3):
        with pytest.raises(type(error)):
            await case.write()
    assert case.forbidden == [NAMESPACE] * 3 * isinstance(error, Forbidden)
    case.shelf.error = None
    for _ in range(2):
        await case.write()
    assert case.events == [Reason.ESCALATION_DELETED]
    assert case.known == []
    assert verified(case.shelf).intact


async def test_deletion_together_with_its_namespace_is_given_up() -> None:
    case = await Case().open()
    case.delete()
    case.shelf.error = failure(Terminating, 403, "unable to create new content because it is being terminated")
    await case.write()
    assert (case.events, case.known) == ([], [])


async def test_escalation_that_a_list_only_lacked_is_not_said_to_be_deleted() -> None:
    case = await Case().open()
    case.cache.store.drop_unless(ESCALATIONS, (), version=case.stored["metadata"]["resourceVersion"])
    assert [e.name for e in case.known] == [case.name]
    await case.write()
    assert case.events == []
    assert [e.name for e in case.cache.store.escalations.open_ones()] == [case.name], "it is followed again"


async def test_escalation_that_was_closed_before_it_was_deleted_is_not_said_to_have_been_open() -> None:
    """Another replica closed it, and somebody deleted it, while the watch of this one was broken off."""
    case = await Case().open()
    over = Entry(Reason.CLEARED, CLOSED_KEY, NOW, "at baseline")
    await case.writer.entries(replace(case.escalation), (over,))
    case.delete()
    await case.write()
    assert case.events == [Reason.CLEARED]
    assert case.known == []
