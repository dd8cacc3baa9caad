"""The page of one escalation, and the stream that says when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from markupsafe import Markup

from riskladder.api.chain import ChainKey
from riskladder.api.conditions import ConditionStatus, find
from riskladder.api.decision import DecidedBy, DecisionStatus
from riskladder.api.labels import LABEL_ESCALATION
from riskladder.api.reasons import ConditionType
from riskladder.cluster.client import ApiError, Forbidden, NotFound, Object
from riskladder.cluster.resources import DECISIONS, ESCALATIONS, RECORDS
from riskladder.console import board, security
from riskladder.console.server import STREAM, Console, Problem, is_by_script
from riskladder.console.settings import Settings
from riskladder.console.visitor import Visitor
from riskladder.people.case import Case, Contained, read_case
from riskladder.people.choices import for_others, why_no_say
from riskladder.people.drawings import reading_charts
from riskladder.people.export import Export
from riskladder.people.headline import headline, state
from riskladder.people.outcome import judged
from riskladder.people.sections import FOR_OTHERS, OPTIONS, Section, sections
from riskladder.people.story import episodes
from riskladder.people.story import story as facts_of
from riskladder.people.summary import sentences
from riskladder.people.timeline import Step, Timeline, timeline_of
from riskladder.people.view import View, view

NO_RECORDS = "You may not read the records of this namespace."

ORIGIN = "the Escalation on the cluster"
STREAM_SECONDS = 300.0
"""For how long one stream of changes is kept open; the browser opens another."""

MOST_STREAMS = 40
"""Streams of one person: each holds a watch of the API server open."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A form that was not sent, or not taken: shown again as it was."""

    form: Mapping[str, str]
    message: str
    changes: Sequence[Step] = ()


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def show(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        cookie = request.cookies.get(console.cookie("draft"), "")
        draft = console.drafts.get(cookie, console.clock()) if cookie else None
        typed = None
        if draft is not None and draft["path"] == request.path and draft["form"].get("by") == visitor.me.username:
            typed = Typed(draft["form"], console.renderer.text("esc.restored"))
        response = await page(console, request, visitor, typed)
        if typed is not None and request.method == "GET" and not is_by_script(request):
            console.drafts.end(cookie)
            console.drop_cookie(response, "draft")
        return response

    async def stream(request: web.Request) -> web.StreamResponse:
        visitor = await console.visitor(request)
        whose = f"{visitor.credential.how}:{visitor.me.username}"
        if console.streams[whose] >= MOST_STREAMS:
            raise Problem(429, "Too many of your pages follow what happens. Close some.")
        console.streams[whose] += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is what runs this
        console.following.add(task)
        try:
            with console.metrics.streams.track_inprogress():
                return await _stream(console, request, visitor)
        finally:
            console.following.discard(task)
            console.streams[whose] -= 1
            if not console.streams[whose]:
                del console.streams[whose]

    return [
        web.get("/escalations/{namespace}/{name}", show),
        web.get("/escalations/{namespace}/{name}/changes", stream, allow_head=False),
    ]


async def page(
    console: Console, request: web.Request, visitor: Visitor, typed: Typed | None = None, *, status: int = 200
) -> web.Response:
    """Return the page of an escalation as somebody sees it."""
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    obj = await visitor.client.get(ESCALATIONS, namespace, name)
    case = read_case(obj)
    seen, found = await asyncio.gather(view(visitor.client, case), story(visitor, obj))
    outcome = await _outcome(visitor, case, request.query.get("decision", ""))
    values = drawn(console.settings, seen, visitor.me, found, console.clock())
    return console.page(request, "escalation.html", visitor, status=status, typed=typed, outcome=outcome, **values)


def drawn(
    settings: Settings, seen: View, me: DecidedBy, found: tuple[Timeline | None, str], now: datetime
) -> dict[str, Any]:
    """Return what the page of an escalation shows. Pure.

    Args:
        settings: Which hosts may be linked to.
        seen: The escalation, with what the visitor may do.
        me: The visitor.
        found: The timeline, or why there is none to be shown.
        now: The time.
    """
    case = seen.case
    timeline, why_not = found
    ledger = case.status.ledger
    detail = [s for s in sections(seen, now) if s.heading not in (OPTIONS, FOR_OTHERS)]
    return {
        "case": case,
        "title": headline(case, now),
        "state": state(case),
        "accent": board.accent(case.policy, case.tier),
        "deadline": board.deadline(case, now),
        "duties": case.status.clocks,
        "rungs": board.rungs(case, timeline),
        "roles": board.roles(case, {choice.role for choice in seen.choices}),
        "options": board.options(case, seen.choices, me, now),
        "others": for_others(case, seen.choices) if seen.choices or seen.why_none else (),
        "why_none": seen.why_none,
        "why_no_say": why_no_say(case, me),
        "details": detail,
        "timeline": timeline,
        "why_no_timeline": why_not,
        "head": f"{ledger.sequence}:{ledger.hash}" if ledger else "0:",
        "links": _links(settings, case),
        "reverted": sum(d.count for c in case.status.containments for d in c.drift),
        **_told(case, timeline, detail),
    }


async def records_of(visitor: Visitor, namespace: str, name: str, *, limit: int = 0) -> list[Object]:
    """Return the records of an escalation, or the first ``limit``.

    Raises:
        Forbidden: The visitor may not read them.
    """
    return await visitor.client.list(RECORDS, namespace, labels=f"{LABEL_ESCALATION}={name}", limit=limit)


async def story(visitor: Visitor, obj: Object) -> tuple[Timeline | None, str]:
    """Return the timeline of an escalation from its records; where there is none to be shown, why."""
    namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
    try:
        records = await records_of(visitor, namespace, name)
        return timeline_of(Export(records, [obj], namespace, ORIGIN), ChainKey(namespace, name)), ""
    except Forbidden:
        return None, NO_RECORDS
    except LookupError:
        return None, "There is no record yet."


def _told(case: Case, timeline: Timeline | None, found: Sequence[Section]) -> dict[str, Any]:
    """Return what happened in a few sentences, and the readings drawn; without records, what the Escalation says."""
    if timeline is not None:
        timeline = episodes(timeline)[-1]  # earlier escalations of this name are another story
        told = facts_of(timeline)
        charts = [Markup(chart) for chart in reading_charts(told)]  # noqa: S704 - made of escaped texts
        return {"sentences": sentences(timeline, told), "charts": charts}
    lines = [line for section in found for line in section.lines]
    beyond = board.beyond(case)
    kept = [line for line in lines if line[0] != "Reading" or line[1].startswith(beyond) or not beyond]
    proof = case.condition(ConditionType.CONTAINED)
    if case.contained is Contained.YES and proof is not None and proof.message:
        kept = [(label, proof.message if label == "Contained" else text) for label, text in kept]
    wanted = ("Reading", "Raised by", "Contained", "Risk accepted", "Resumed", "Closed")
    return {"sentences": [f"{n}: {text}" for n in wanted for label, text in kept if label == n], "charts": ()}


def _links(settings: Settings, case: Case) -> list[tuple[str, str, str]]:
    """Return what to read: a title, the text, and the address where it may be a link."""
    found = []
    model = case.spec.model
    for title, url in (("Model card", model.card if model else None), ("Lineage", model.lineage if model else None)):
        if url:
            found.append((title, str(url), security.safe_link(settings, str(url))))
    for reading in case.spec.signal.readings:
        if reading.evidence:
            url = str(reading.evidence)
            found.append((f"Evidence of {reading.indicator}", url, security.safe_link(settings, url)))
    return found


async def _outcome(visitor: Visitor, case: Case, name: str) -> tuple[str, str]:
    """Return how a decision of this escalation went, as ``ok``, ``refused`` or ``waiting``, and in a sentence."""
    if not security.is_name(name):
        return "", ""
    try:
        obj = await visitor.client.get(DECISIONS, case.namespace, name)
    except (NotFound, Forbidden):
        return "", ""
    if obj.get("spec", {}).get("escalation") != case.name:
        return "", ""
    found = find(DecisionStatus.model_validate(obj.get("status") or {}).conditions, ConditionType.ACCEPTED)
    if found is None or found.status is ConditionStatus.UNKNOWN:
        return "waiting", "It was sent, and the operator has not answered yet."
    result = judged(case, name, found, 0)
    return ("ok" if result.code == 0 else "refused"), result.sentence[:1].upper() + result.sentence[1:]


async def _stream(console: Console, request: web.Request, visitor: Visitor) -> web.StreamResponse:
    """Send an event whenever the escalation has changed, as server-sent events."""
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    obj = await visitor.client.get(ESCALATIONS, namespace, name)
    response = web.StreamResponse(headers={"Content-Type": STREAM})
    await response.prepare(request)
    await response.write(b"retry: 3000\n\n")
    version = obj["metadata"]["resourceVersion"]
    loop = asyncio.get_running_loop()
    end = loop.time() + STREAM_SECONDS
    try:
        while loop.time() < end and console.knows(visitor):
            async for kind, changed in visitor.client.watch(ESCALATIONS, namespace, since=version, name=name):
                version = changed["metadata"]["resourceVersion"]
                await response.write(b": alive\n\n" if kind == "BOOKMARK" else b"event: changed\ndata: \n\n")
            await response.write(b": alive\n\n")
    except (ApiError, ConnectionResetError):  # the browser asks again, and is told then what is wrong
        pass
    return response
