"""Deciding: a form becomes an EscalationDecision that the API server takes from the visitor, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import structlog
from aiohttp import web

from riskladder.api.conditions import ConditionStatus, find
from riskladder.api.decision import DecisionAction, DecisionStatus
from riskladder.api.reasons import ConditionType
from riskladder.cluster.client import ApiError, Forbidden, NotFound, Refused
from riskladder.cluster.resources import DECISIONS, ESCALATIONS
from riskladder.console.metrics import Answer
from riskladder.console.pages.escalation import Typed, page, story
from riskladder.console.server import TYPED, Console, Problem, form_of
from riskladder.console.visitor import FIELD_MANAGER, Visitor
from riskladder.people.answers import refusal
from riskladder.people.case import Case, read_case
from riskladder.people.changes import since
from riskladder.people.drafting import Unfit, drafted
from riskladder.people.manifests import decision_manifest

log = structlog.get_logger(__name__)

FIELDS = ("tier", "until", "containment", "resolution", "clock", "withdraw", "policyUpdated", "satisfaction", "lessons")
ANSWER_SECONDS = 8.0
"""How long the operator's answer is waited for; the page says so where it takes longer."""

POLL_FIRST, POLL_LONGEST = 0.05, 0.5
"""Seconds between two looks at it: whoever may decide may seldom watch."""

NOT_STALE = (DecisionAction.CONTAIN, DecisionAction.COMMENT)
"""What is never held up by something that has happened meanwhile: a stop waits for nothing."""


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def decide(request: web.Request) -> web.StreamResponse:
        request[TYPED] = form = await form_of(request)
        visitor = await console.visitor(request)
        if not console.forms.is_valid(form.get("token", ""), visitor.binding, request.path):
            typed = Typed(form, console.renderer.text("esc.other-session"))
            return await page(console, request, visitor, typed, status=403)
        return await _decide(console, request, visitor, form)

    return [web.post("/escalations/{namespace}/{name}", decide)]


async def _decide(
    console: Console, request: web.Request, visitor: Visitor, form: Mapping[str, str]
) -> web.StreamResponse:
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    try:
        action = DecisionAction(form.get("action", ""))
    except ValueError as error:
        raise Problem(400, "This form asks for nothing that can be decided.") from error
    obj = await visitor.client.get(ESCALATIONS, namespace, name)
    case = read_case(obj)
    if action not in NOT_STALE and (typed := await _stale(console, visitor, case, obj, form)) is not None:
        console.metrics.decided(action, Answer.STALE)
        return await page(console, request, visitor, typed, status=409)
    fields = {key: form[key] for key in FIELDS if form.get(key)}
    try:
        spec = drafted(
            name, action, form.get("role", ""), form.get("rationale", ""), fields, visitor.me, console.clock()
        )
    except Unfit as error:
        console.metrics.decided(action, Answer.UNFIT)
        return await page(console, request, visitor, Typed(form, f"{error}."), status=422)
    manifest = decision_manifest(namespace, spec, named=True)
    decision = str(manifest["metadata"]["name"])
    try:
        await visitor.client.request(
            "POST",
            DECISIONS.path(namespace),
            verb="create",
            resource=DECISIONS.title,
            body=manifest,
            params={"fieldManager": FIELD_MANAGER},
        )
    except (Forbidden, Refused) as error:
        console.metrics.decided(action, Answer.FORBIDDEN)
        _, sentence = refusal(error, namespace)
        text = f"{console.renderer.text('esc.refused')}: {sentence.removeprefix('refused: ')}"
        return await page(console, request, visitor, Typed(form, text), status=403)
    except ApiError as error:
        if error.status == 401:
            raise
        log.warning("decision not answered", namespace=namespace, decision=decision, error=str(error))
        if not await _is_stored(visitor, namespace, decision):
            console.metrics.decided(action, Answer.FAILED)
            text = f"{console.renderer.text('esc.refused')}: the cluster did not take it. Try again."
            return await page(console, request, visitor, Typed(form, text), status=503)
    log.info("decided", namespace=namespace, escalation=name, decision=decision, action=str(action))
    console.metrics.decided(action, await _answered(visitor, namespace, decision))
    back = request.rel_url.with_query({"decision": decision})
    return web.Response(status=303, headers={"Location": str(back)})


async def _stale(
    console: Console, visitor: Visitor, case: Case, obj: dict[str, object], form: Mapping[str, str]
) -> Typed | None:
    """Return the form to be shown again where what it was shown with is no longer so."""
    sequence, _, digest = form.get("head", "").partition(":")
    ledger = case.status.ledger
    same_rung = form.get("rung") == str(case.number)
    if same_rung and (ledger is None or digest == ledger.hash):
        return None
    timeline, _ = await story(visitor, obj)
    changes = since(timeline, _number(sequence)) if timeline is not None else ()
    if same_rung and timeline is not None and not changes:
        return None
    return Typed(form, console.renderer.text("esc.stale"), changes)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


async def _is_stored(visitor: Visitor, namespace: str, decision: str) -> bool:
    """Return whether a decision was stored whose answer was lost.

    Raises:
        Problem: Nobody can say.
    """
    try:
        await visitor.client.get(DECISIONS, namespace, decision)
    except NotFound:
        return False
    except ApiError as error:
        text = "The cluster has not answered, so that it may have been decided or not. Look before you send it again."
        raise Problem(503, text) from error
    return True


async def _answered(visitor: Visitor, namespace: str, decision: str) -> Answer:
    """Wait a moment for the operator's verdict, and return it; the page is shown in any case."""
    pause = POLL_FIRST
    with suppress(TimeoutError, ApiError):
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                obj = await visitor.client.get(DECISIONS, namespace, decision)
                status = DecisionStatus.model_validate(obj.get("status") or {})
                found = find(status.conditions, ConditionType.ACCEPTED)
                if found is not None and found.status is not ConditionStatus.UNKNOWN:
                    return Answer.COUNTED if found.status is ConditionStatus.TRUE else Answer.REFUSED
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, POLL_LONGEST)
    return Answer.UNANSWERED
