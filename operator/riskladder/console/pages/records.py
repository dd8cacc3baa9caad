"""Records: every escalation, open or over, searched; one timeline whole; and its records to take along."""

from __future__ import annotations

import json
from dataclasses import dataclass

from aiohttp import web

from riskladder.api.chain import ChainKey
from riskladder.cluster.client import Forbidden, NotFound
from riskladder.cluster.resources import ESCALATIONS
from riskladder.console import security
from riskladder.console.pages.escalation import NO_RECORDS, ORIGIN, records_of
from riskladder.console.pages.lists import cases_of
from riskladder.console.pages.waiting import listed_of
from riskladder.console.server import Console, Problem
from riskladder.console.visitor import Visitor
from riskladder.people.case import Case
from riskladder.people.export import Export
from riskladder.people.headline import state
from riskladder.people.timeline import timeline_of
from riskladder.report.build import report_on
from riskladder.report.html import html

MOST = 200
"""Escalations shown of a search."""


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def search(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        query = request.query.get("q", "").strip()[:200]
        listed = await listed_of(console, visitor, ESCALATIONS, request)
        namespace = listed.namespace
        found = sorted(
            (c for c in cases_of(listed.objects) if _matches(c, query)), key=lambda c: c.opened, reverse=True
        )
        deleted = ""
        if namespace and not found and security.is_name(query):
            deleted = query if await records_of(visitor, namespace, query, limit=1) else ""
        return console.page(
            request, "records.html", visitor, cases=found[:MOST], number=len(found), asks=listed.asks,
            query=query,
            namespace=namespace, state=state, deleted=deleted,
        )  # fmt: skip

    async def record(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        found = await _exported(visitor, request)
        try:
            timeline = timeline_of(found.export, found.key)
        except LookupError as error:
            raise Problem(404, "There is no record yet.") from error
        return console.page(request, "record.html", visitor, deleted=found.deleted, timeline=timeline)

    async def export(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        found = await _exported(visitor, request)
        body = {"apiVersion": "v1", "kind": "List", "items": [*found.export.escalations, *found.export.records]}
        return _attached(json.dumps(body, indent=1, ensure_ascii=False), "application/json", found.key, "json")

    async def report(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        found = await _exported(visitor, request)
        try:
            document, _ = report_on(found.export, found.key, source="")
        except LookupError as error:
            raise Problem(404, "There is no record yet.") from error
        return _attached(html(document), "text/html", found.key, "html")

    return [
        web.get("/records", search),
        web.get("/records/{namespace}/{name}", record),
        web.get("/records/{namespace}/{name}/export", export),
        web.get("/records/{namespace}/{name}/report", report),
    ]


@dataclass(frozen=True, slots=True)
class _Found:
    export: Export
    key: ChainKey
    deleted: bool
    """Whether the Escalation is no more, and its records are."""


async def _exported(visitor: Visitor, request: web.Request) -> _Found:
    """Return the records of an escalation, which may have been deleted, as far as the visitor may read them."""
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    try:
        objects = [await visitor.client.get(ESCALATIONS, namespace, name)]
    except NotFound:
        objects = []
    try:
        records = await records_of(visitor, namespace, name)
    except Forbidden as error:
        raise Problem(403, NO_RECORDS) from error
    if not objects and not records:
        raise Problem(404, "There is no such escalation, and no record of one.")
    return _Found(Export(records, objects, namespace, ORIGIN), ChainKey(namespace, name), not objects)


def _attached(body: str, content_type: str, key: ChainKey, ending: str) -> web.Response:
    return web.Response(
        body=body.encode(),
        content_type=content_type,
        charset="utf-8" if content_type.startswith("text/") else None,
        headers={"Content-Disposition": f'attachment; filename="{key.namespace}.{key.escalation}.{ending}"'},
    )


def _matches(case: Case, query: str) -> bool:
    words = query.lower().split()
    text = " ".join((case.namespace, case.name, case.target, case.model, case.tier, case.spec.ladder.name)).lower()
    return all(word in text for word in words)
