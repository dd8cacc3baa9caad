"""Records: every escalation, open or over, searched; one timeline whole; and its records to take along."""

from __future__ import annotations

import json

from aiohttp import web

from riskladder.api.labels import LABEL_ESCALATION
from riskladder.cluster.resources import ESCALATIONS, RECORDS
from riskladder.console.pages.escalation import story
from riskladder.console.pages.lists import cases_of
from riskladder.console.pages.waiting import listed_of
from riskladder.console.server import Console, Problem
from riskladder.people.case import Case, read_case
from riskladder.people.headline import state

MOST = 200
"""Escalations shown of a search."""


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def search(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace, query = request.query.get("namespace", ""), request.query.get("q", "").strip()[:200]
        objects, asks = await listed_of(console, visitor, ESCALATIONS, namespace)
        found = sorted((c for c in cases_of(objects) if _matches(c, query)), key=lambda c: c.opened, reverse=True)
        return console.page(
            request, "records.html", visitor, cases=found[:MOST], number=len(found), asks=asks, query=query,
            namespace=namespace, state=state,
        )  # fmt: skip

    async def record(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        names = request.match_info["namespace"], request.match_info["name"]
        obj = await visitor.client.get(ESCALATIONS, *names)
        timeline, why_not = await story(visitor, obj)
        if timeline is None:
            raise Problem(404, why_not)
        return console.page(request, "record.html", visitor, case=read_case(obj), timeline=timeline)

    async def export(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        obj = await visitor.client.get(ESCALATIONS, namespace, name)
        records = await visitor.client.list(RECORDS, namespace, labels=f"{LABEL_ESCALATION}={name}")
        body = {"apiVersion": "v1", "kind": "List", "items": [obj, *records]}
        return web.Response(
            body=json.dumps(body, indent=1, ensure_ascii=False).encode(),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{namespace}.{name}.json"'},
        )

    return [
        web.get("/records", search),
        web.get("/records/{namespace}/{name}", record),
        web.get("/records/{namespace}/{name}/export", export),
    ]


def _matches(case: Case, query: str) -> bool:
    words = query.lower().split()
    text = " ".join((case.namespace, case.name, case.target, case.model, case.tier, case.spec.ladder.name)).lower()
    return all(word in text for word in words)
