"""Models, ladders, acceptances and duties, drills: what the visitor may list, as it is now."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from riskladder.cluster.client import Object
from riskladder.cluster.resources import ESCALATIONS, LADDERS, SIGNALS
from riskladder.console import board, fleet
from riskladder.console.pages.waiting import listed_of
from riskladder.console.server import Console, Problem
from riskladder.people.case import Case, Unreadable, read_case
from riskladder.people.headline import state


def cases_of(objects: Iterable[Object]) -> list[Case]:
    """Return the escalations that this version understands."""
    found = []
    for obj in objects:
        try:
            found.append(read_case(obj))
        except Unreadable:
            continue
    return found


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def models(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace = request.query.get("namespace", "")
        signals, asks = await listed_of(console, visitor, SIGNALS, namespace)
        escalations, _ = await listed_of(console, visitor, ESCALATIONS, namespace)
        found = fleet.models(signals, cases_of(escalations))
        return console.page(
            request, "models.html", visitor, models=found, asks=asks, namespace=namespace, accent=board.accent
        )

    async def ladders(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace = request.query.get("namespace", "")
        objects, asks = await listed_of(console, visitor, LADDERS, namespace)
        today = console.clock().date()
        found = [one for obj in objects if (one := fleet.ladder(obj, today)) is not None]
        return console.page(request, "ladders.html", visitor, ladders=found, asks=asks, namespace=namespace)

    async def ladder(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        names = request.match_info["namespace"], request.match_info["name"]
        found = fleet.ladder(await visitor.client.get(LADDERS, *names), console.clock().date())
        if found is None:
            raise Problem(500, "This ladder was written by another version of Riskladder.")
        units = {indicator.name: indicator.unit for indicator in found.spec.indicators}
        return console.page(
            request, "ladder.html", visitor, ladder=found, units=units, words=fleet.trigger_words, accent=board.accent
        )

    async def commitments(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace = request.query.get("namespace", "")
        objects, asks = await listed_of(console, visitor, ESCALATIONS, namespace)
        found = fleet.commitments(cases_of(objects))
        return console.page(request, "commitments.html", visitor, found=found, asks=asks, namespace=namespace)

    async def drills(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace = request.query.get("namespace", "")
        objects, asks = await listed_of(console, visitor, ESCALATIONS, namespace)
        found = sorted((c for c in cases_of(objects) if c.spec.drill), key=lambda c: c.opened, reverse=True)
        return console.page(request, "drills.html", visitor, cases=found, asks=asks, namespace=namespace, state=state)

    return [
        web.get("/models", models),
        web.get("/ladders", ladders),
        web.get("/ladders/{namespace}/{name}", ladder),
        web.get("/commitments", commitments),
        web.get("/drills", drills),
    ]
