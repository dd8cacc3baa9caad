"""A chain that an earlier escalation of the name has left is gone on with, however long it is, at little cost."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskladder.cluster import ledger
from riskladder.cluster.client import Client, Conflict, NotFound
from riskladder.cluster.ledger import LedgerEntry, append
from tests.unit.builders import NOW, Document


class Shelf:
    """Records in memory, and how often it was asked."""

    def __init__(self) -> None:
        self.records: dict[str, Document] = {}
        self.asked = 0

    async def create(self, resource: Any, namespace: str, body: Document, *, strict: bool = False) -> Document:
        self.asked += 1
        name = body["metadata"]["name"]
        if name in self.records:
            raise Conflict(409, "AlreadyExists", "exists", verb="create", resource="records", where=name)
        self.records[name] = body
        return body

    async def get(self, resource: Any, namespace: str, name: str) -> Document:
        self.asked += 1
        if name not in self.records:
            raise NotFound(404, "NotFound", "none", verb="get", resource="records", where=name)
        return self.records[name]


def entry(key: str) -> LedgerEntry:
    return LedgerEntry("Commented", key, NOW, "riskladder", {})


async def say(shelf: Shelf, *keys: str, head: Any = None) -> ledger.Appended:
    return await append(cast(Client, shelf), "models", "uid", "scorer-1", head, [entry(key) for key in keys])


async def filled(number: int) -> tuple[Shelf, Any]:
    shelf, head = Shelf(), None
    for one in range(number):
        head = (await say(shelf, f"old/{one}", head=head)).head
    shelf.asked = 0
    return shelf, head


async def test_long_chain_of_an_earlier_escalation_is_not_gone_through_record_by_record() -> None:
    shelf, head = await filled(700)
    found = await say(shelf, "new/opened")
    assert found.head is not None
    assert (found.head.sequence, len(shelf.records)) == (701, 701)
    assert list(shelf.records.values())[-1]["spec"]["previousHash"] == head.hash
    assert shelf.asked < 50
    assert found.others == (), "what earlier ones have said is not kept in memory"


@pytest.mark.parametrize("late", [0, 2])
@settings(max_examples=40)
@given(old=st.integers(0, 40), own=st.integers(0, 3))
def test_every_act_is_on_record_once_behind_whatever_stands_there(late: int, old: int, own: int) -> None:
    """Also where a killed operator has written some of it, and something of the earlier one has come behind that."""

    async def run() -> None:
        shelf, head = await filled(old)
        keys = [f"new/{number}" for number in range(4)]
        for number in range(own):
            head = (await say(shelf, keys[number], head=head)).head
        for number in range(late if own else 0):
            head = (await say(shelf, f"old/late {number}", head=head)).head
        await say(shelf, *keys)
        said = [e["detail"]["key"] for r in shelf.records.values() for e in r["spec"]["entries"]]
        assert sorted(key for key in said if key.startswith("new/")) == keys
        specs = [record["spec"] for record in shelf.records.values()]
        assert [spec["sequence"] for spec in specs] == list(range(1, len(specs) + 1))
        assert all(b["previousHash"] == a["hash"] for a, b in itertools.pairwise(specs))

    asyncio.run(run())
