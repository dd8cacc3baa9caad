"""Waiting for you: what the visitor may decide, most urgent first; then what waits for others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

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
        objects, asks = await listed_of(console, visitor, ESCALATIONS, request.query.get("namespace", ""))
        mine, others = await sorted_out(visitor, [obj for obj in objects if _is_open(obj)])
        most = PAGE * max(1, _number(request.query.get("pages", "1")))
        return console.page(
            request, "waiting.html", visitor, mine=mine[:most], others=others[:most], more=_more(mine, others, most),
            asks=asks, pages=most // PAGE + 1, namespace=request.query.get("namespace", "")
        )  # fmt: skip

    return [web.get("/", show)]


def _more(mine: list[Row], others: list[Row], most: int) -> bool:
    return max(len(mine), len(others)) > most


def _number(text: str) -> int:
    return min(int(text), 1000) if text.isascii() and text.isdecimal() and len(text) < 5 else 1


def _is_open(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return not any(c.get("type") == "Closed" and c.get("status") == "True" for c in conditions)


async def listed_of(
    console: Console, visitor: Visitor, resource: Resource, namespace: str
) -> tuple[list[Object], bool]:
    """Return the objects that the visitor may list, and whether they must say where to look.

    Args:
        console: What is shared.
        visitor: Who asks.
        resource: Of what kind.
        namespace: Where; empty: everywhere, else in the namespaces that the console is set up with.

    Raises:
        Forbidden: They may not list there.
    """
    if namespace:
        return await visitor.client.list(resource, namespace), False
    try:
        return await visitor.client.list(resource), False
    except Forbidden:
        pass
    answers = await asyncio.gather(
        *(visitor.client.list(resource, one) for one in console.settings.namespaces), return_exceptions=True
    )
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Forbidden):
            raise answer
    found = [answer for answer in answers if isinstance(answer, list)]
    return [obj for objects in found for obj in objects], not found


async def sorted_out(visitor: Visitor, objects: Iterable[Object]) -> tuple[list[Row], list[Row]]:
    """Return what waits for the visitor, and what for others, each with what is due first in front."""
    cases = []
    for obj in objects:
        try:
            cases.append(read_case(obj))
        except Unreadable:  # the page of it says so
            continue
    held = await roles_held(visitor, cases)
    rows = [Row(case, state(case), tuple(r for r in case.waiting_on if r in held[case.namespace])) for case in cases]
    never = datetime.max.replace(tzinfo=UTC)
    rows.sort(key=lambda row: (row.case.due_at or never, row.case.opened, row.case.namespace, row.case.name))
    return [row for row in rows if row.mine], [row for row in rows if not row.mine]


async def roles_held(visitor: Visitor, cases: Iterable[Case]) -> dict[str, frozenset[str]]:
    """Return, by namespace, the roles in which the visitor may do anything."""
    roles: dict[str, dict[str, None]] = {}
    for case in cases:
        roles.setdefault(case.namespace, {}).update(dict.fromkeys(case.roles))
    answers = await asyncio.gather(
        *(my_roles(visitor.client, namespace, VERBS, list(named)) for namespace, named in roles.items())
    )
    return {namespace: frozenset(role for _, role in pairs) for namespace, pairs in zip(roles, answers, strict=True)}
