"""Records: every escalation, open or over, searched; one timeline whole; and its records to take along."""

from __future__ import annotations

import json

from aiohttp import web

from riskladder.api.chain import ChainKey
from riskladder.api.labels import LABEL_ESCALATION
from riskladder.cluster.resources import ESCALATIONS, RECORDS
from riskladder.console.pages.escalation import ORIGIN, story
from riskladder.console.pages.lists import cases_of
from riskladder.console.pages.waiting import listed_of
from riskladder.console.server import Console, Problem
from riskladder.console.visitor import Visitor
from riskladder.people.case import Case, read_case
from riskladder.people.export import Export
from riskladder.people.headline import state
from riskladder.report.build import report_on
from riskladder.report.html import html

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
        found = await _exported(visitor, namespace, name)
        body = {"apiVersion": "v1", "kind": "List", "items": [*found.escalations, *found.records]}
        return web.Response(
            body=json.dumps(body, indent=1, ensure_ascii=False).encode(),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{namespace}.{name}.json"'},
        )

    async def report(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        found = await _exported(visitor, namespace, name)
        try:
            document, _ = report_on(found, ChainKey(namespace, name), source="")
        except LookupError as error:
            raise Problem(404, "There is no record yet.") from error
        return web.Response(
            body=html(document).encode(),
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Disposition": f'attachment; filename="{namespace}.{name}.html"'},
        )

    return [
        web.get("/records", search),
        web.get("/records/{namespace}/{name}", record),
        web.get("/records/{namespace}/{name}/export", export),
        web.get("/records/{namespace}/{name}/report", report),
    ]


async def _exported(visitor: Visitor, namespace: str, name: str) -> Export:
    """Return the records of an escalation, as far as the visitor may read them."""
    obj = await visitor.client.get(ESCALATIONS, namespace, name)
    records = await visitor.client.list(RECORDS, namespace, labels=f"{LABEL_ESCALATION}={name}")
    return Export(records, [obj], namespace, ORIGIN)


def _matches(case: Case, query: str) -> bool:
    words = query.lower().split()
    text = " ".join((case.namespace, case.name, case.target, case.model, case.tier, case.spec.ladder.name)).lower()
    return all(word in text for word in words)
