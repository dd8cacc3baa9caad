"""Permissions: asked of the API server once for all ladders of a namespace, and seldom."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from riskladder.cluster import permissions
from riskladder.cluster.client import Client
from riskladder.cluster.permissions import CHECK_EVERY, LOOK_EVERY, Permissions


class Authorizer:
    """Refuses some verbs, and counts what it is asked."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.asked: Counter[str] = Counter()

    async def request(self, method: str, path: str, *, body: Any, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        verb = body["spec"]["resourceAttributes"]["verb"]
        self.asked[verb] += 1
        return {"status": {"allowed": verb not in self.refused}}


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(permissions, "time", found)
    return found


@pytest.fixture
def authorizer() -> Authorizer:
    return Authorizer()


@pytest.fixture
def asking(authorizer: Authorizer, clock: Clock) -> Permissions:
    return Permissions(cast(Client, authorizer))


async def test_fifty_ladders_that_ask_at_once_are_one_look(asking: Permissions, authorizer: Authorizer) -> None:
    authorizer.refused = {"patch"}
    answers = await asyncio.gather(*(asking.missing("models") for _ in range(50)))
    assert len(set(answers)) == 1
    assert any(text.startswith("patch ") and text.endswith(" in namespace models") for text in answers[0])
    assert sum(authorizer.asked.values()) == len(asking._checks)


async def test_only_what_is_missing_is_asked_for_again(
    asking: Permissions, authorizer: Authorizer, clock: Clock
) -> None:
    authorizer.refused = {"patch"}
    missing = await asking.missing("models")
    authorizer.asked.clear()
    for _ in range(6):
        clock.now += LOOK_EVERY
        await asyncio.gather(*(asking.missing("models") for _ in range(50)))
    assert authorizer.asked == {"patch": 6 * len(missing)}


async def test_granted_permission_is_seen_with_the_next_look(
    asking: Permissions, authorizer: Authorizer, clock: Clock
) -> None:
    authorizer.refused = {"patch"}
    assert await asking.missing("models")
    authorizer.refused = set()
    clock.now += LOOK_EVERY
    assert await asking.missing("models") == ()


async def test_refused_requests_have_everything_asked_for_once_in_ten_seconds(
    asking: Permissions, authorizer: Authorizer, clock: Clock
) -> None:
    assert await asking.missing("models") == ()
    authorizer.refused = {"create"}
    authorizer.asked.clear()
    for _ in range(100):
        clock.now += LOOK_EVERY / 50
        asking.forget("models")
        await asking.missing("models")
    assert await asking.missing("models")
    looks = sum(authorizer.asked.values()) / len(asking._checks)
    assert 1 <= looks <= 3


async def test_complete_set_is_believed_for_minutes(asking: Permissions, authorizer: Authorizer, clock: Clock) -> None:
    await asking.missing("models")
    clock.now += CHECK_EVERY - 1
    await asking.missing("models")
    assert sum(authorizer.asked.values()) == len(asking._checks)
    clock.now += 1
    await asking.missing("models")
    assert sum(authorizer.asked.values()) == 2 * len(asking._checks)
