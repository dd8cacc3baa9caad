"""Lists: reduced to facts page by page, so that no list is ever in memory as a whole."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any

from riskladder.cluster.client import Client, Object
from riskladder.cluster.informer import Informer
from riskladder.cluster.resources import REPLICASETS, Resource

PAGES, EACH = 6, 50


class Stored(dict[str, Any]):
    """The metadata of an object, which records when it is garbage-collected."""

    __slots__ = ("__weakref__",)


class Paged(Client):
    """Serves a list page by page, and notes how many objects of it are alive at each request."""

    def __init__(self) -> None:
        self.at_request: list[int] = []
        self.requested: list[str] = []
        self._kept: list[weakref.ref[Stored]] = []

    async def request(self, method: str, path: str, *, params: Mapping[str, str] | None = None, **_: Any) -> Object:
        self.at_request.append(sum(ref() is not None for ref in self._kept))
        page = int((params or {}).get("continue", "0"))
        self.requested.append(str(page))
        items = []
        for number in range(page * EACH, (page + 1) * EACH):
            metadata = Stored(uid=f"u{number}", name=f"n{number}", namespace="models", resourceVersion=str(number))
            self._kept.append(weakref.ref(metadata))
            items.append({"metadata": metadata})
        following = str(page + 1) if page + 1 < PAGES else ""
        return {"metadata": {"resourceVersion": "9", "continue": following}, "items": items}


async def test_list_is_taken_in_page_by_page() -> None:
    client, order, facts = Paged(), list[str](), list[str]()

    def put(_: Resource, obj: Object) -> None:
        order.append(f"{len(client.requested)}")
        facts.append(obj["metadata"]["uid"])

    dropped: list[tuple[int, str]] = []
    informer = Informer(
        client,
        REPLICASETS,
        None,
        put=put,
        drop=lambda *_: None,
        drop_unless=lambda _, present, where, version: dropped.append((len(present), version)),
    )
    assert await informer._list() == "9"
    assert facts == [f"u{n}" for n in range(PAGES * EACH)]
    assert order == [str(1 + n // EACH) for n in range(PAGES * EACH)], "each page is taken in before the next is read"
    assert max(client.at_request) <= 1, "nothing of the page before is in memory, but for the object taken in last"
    assert dropped == [(PAGES * EACH, "9")]


class Silent(Paged):
    """Serves watches that end without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = 0
        self.again = asyncio.Event()

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[tuple[str, Object]]:
        self.watches += 1
        if self.watches > 1:
            self.again.set()
            await asyncio.Event().wait()
        for event in ():
            yield event


async def test_watch_that_the_server_ends_in_time_is_heard_of_however_quiet_it_was() -> None:
    """Bookmarks come once a minute: without them, and without changes, a quiet kind looks stalled."""
    client = Silent()
    informer = Informer(
        client, REPLICASETS, None, put=lambda *_: None, drop=lambda *_: None, drop_unless=lambda *_: None
    )
    listed: list[float] = []
    informer._drop_unless = lambda *_: listed.append(informer.heard)
    running = asyncio.create_task(informer.run())
    await client.again.wait()
    assert informer.heard > listed[0]
    running.cancel()
