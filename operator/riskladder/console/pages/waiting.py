"""Waiting for you: what the visitor may decide, most urgent first; then what waits for others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from riskladder.api.decision import DecisionAction
from riskladder.cluster.authority import my_roles
from riskladder.cluster.client import Forbidden, Object
from riskladder.cluster.resources import ESCALATIONS, Resource
from riskladder.console.server import Console
from riskladder.console.visitor import Visitor
from riskladder.people.case import Case, Unreadable, read_case
from riskladder.people.headline import state

PAGE = 50
"""Escalations on one page."""

AT_A_TIME = 16
"""Namespaces that the API server is asked about at the same time."""

VERBS = tuple(action.verb for action in DecisionAction if action not in (DecisionAction.COMMENT, DecisionAction.REVIEW))
"""What somebody who is waited for may do, by its RBAC verb."""


@dataclass(frozen=True, slots=True)
class Row:
    """One escalation in a list."""

    case: Case
    state: str
    mine: tuple[str, ...]
    """Roles that are waited for and the visitor holds."""


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def show(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        listed = await listed_of(console, visitor, ESCALATIONS, request)
        mine, others = await sorted_out(visitor, listed.objects)
        most = PAGE * max(1, _number(request.query.get("pages", "1")))
        return console.page(
            request,
            "waiting.html",
            visitor,
            mine=rows(mine[:most]),
            others=rows(others[:most]),
            more=max(len(mine), len(others)) > most,
            asks=listed.asks,
            pages=most // PAGE + 1,
            namespace=listed.namespace,
        )

    return [web.get("/", show)]


def _number(text: str) -> int:
    return min(int(text), 1000) if text.isascii() and text.isdecimal() and len(text) < 5 else 1


def _is_open(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return not any(c.get("type") == "Closed" and c.get("status") == "True" for c in conditions)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a visitor may list."""

    objects: list[Object]
    asks: bool
    """Whether they must say where to look."""
    namespace: str
    """Where was looked, where that is one namespace: named, or the last in which they have seen anything."""


async def listed_of(console: Console, visitor: Visitor, resource: Resource, request: web.Request) -> Listed:
    """Return the objects that the visitor may list.

    That is in the namespace that the request names; else everywhere; else in the namespaces that the console is set up
    with, and in the one in which this browser has seen something last.

    Args:
        console: What is shared.
        visitor: Who asks.
        resource: Of what kind.
        request: Of the page.

    Raises:
        Forbidden: They may not list in the namespace that they have named.
    """
    if namespace := request.query.get("namespace", ""):
        return Listed(await visitor.client.list(resource, namespace), False, namespace)
    try:
        return Listed(await visitor.client.list(resource), False, "")
    except Forbidden:
        pass
    last = console.last_namespace(request)
    names = list(dict.fromkeys((*console.settings.namespaces, *([last] if last else ()))))
    answers = await asyncio.gather(*(visitor.client.list(resource, one) for one in names), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Forbidden):
            raise answer
    found = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, list)}
    only = next(iter(found)) if len(found) == 1 else ""
    return Listed([obj for objects in found.values() for obj in objects], not found, only)


@dataclass(frozen=True, slots=True)
class Open:
    """An open escalation as it is stored: what sorts it, without all the rest being read."""

    obj: Object
    mine: tuple[str, ...]
    """Roles that are waited for and the visitor holds."""

    @property
    def order(self) -> tuple[str, ...]:
        """What is due first comes first, then what has waited longest; times of one form sort as texts."""
        metadata, due = self.obj["metadata"], (self.obj.get("status") or {}).get("nextDeadline")
        return due or "9", metadata["creationTimestamp"], metadata["namespace"], metadata["name"]


async def sorted_out(visitor: Visitor, objects: Iterable[Object]) -> tuple[list[Open], list[Open]]:
    """Return what waits for the visitor, and what for others, each with what is due first in front."""
    found = [obj for obj in objects if _is_open(obj)]
    held = await roles_held(visitor, found)
    opened = [
        Open(obj, tuple(role for role in _waited_for(obj) if role in held[obj["metadata"]["namespace"]]))
        for obj in found
    ]
    opened.sort(key=lambda one: one.order)
    return [one for one in opened if one.mine], [one for one in opened if not one.mine]


def _waited_for(obj: Object) -> list[str]:
    return list((obj.get("status") or {}).get("waitingOn") or ())


def rows(found: Iterable[Open]) -> list[Row]:
    """Return the escalations as they are shown, read whole; of another version, their own page says so."""
    shown = []
    for one in found:
        with suppress(Unreadable):
            case = read_case(one.obj)
            shown.append(Row(case, state(case), one.mine))
    return shown


async def roles_held(visitor: Visitor, objects: Iterable[Object]) -> dict[str, frozenset[str]]:
    """Return, by namespace, the roles that are waited for there and in which the visitor may do anything."""
    roles: dict[str, dict[str, None]] = {}
    for obj in objects:
        roles.setdefault(obj["metadata"]["namespace"], {}).update(dict.fromkeys(_waited_for(obj)))
    at_a_time = asyncio.Semaphore(AT_A_TIME)

    async def held(namespace: str, named: Iterable[str]) -> frozenset[str]:
        async with at_a_time:
            return frozenset(role for _, role in await my_roles(visitor.client, namespace, VERBS, list(named)))

    answers = await asyncio.gather(*(held(*one) for one in roles.items()))
    return dict(zip(roles, answers, strict=True))
