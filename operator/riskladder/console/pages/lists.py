"""Models, ladders, acceptances and duties, drills: what the visitor may list, as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web

from riskladder.cluster.client import Forbidden, NotFound, Object
from riskladder.cluster.resources import ESCALATIONS, LADDERS, SIGNALS, Resource
from riskladder.console import board, fleet
from riskladder.console.holders import holders
from riskladder.console.pages.waiting import listed_of
from riskladder.console.server import Console, Problem
from riskladder.console.visitor import Visitor
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


ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


async def _holders(visitor: Visitor, ladder: fleet.Ladder) -> dict[str, tuple[str, ...]] | None:
    """Return who holds which role; ``None`` where the visitor may not read that."""
    client, namespace = visitor.client, ladder.namespace
    try:
        bindings = await client.list(ROLE_BINDINGS, namespace)
        own = await client.list(ROLES, namespace)
    except Forbidden:
        return None
    rules = {("Role", role["metadata"]["name"]): role.get("rules") or () for role in own}
    named = {b["roleRef"]["name"] for b in bindings if b["roleRef"]["kind"] == "ClusterRole"}
    for name in sorted(named):
        with suppress(Forbidden, NotFound):
            rules["ClusterRole", name] = (await client.get(CLUSTER_ROLES, None, name)).get("rules") or ()
    return holders(bindings, rules, [stakeholder.role for stakeholder in ladder.spec.stakeholders])


def _read(objects: Iterable[Object], console: Console) -> list[fleet.Ladder]:
    today = console.clock().date()
    return [one for obj in objects if (one := fleet.ladder(obj, today)) is not None]


async def _ladders(console: Console, visitor: Visitor, request: web.Request) -> list[fleet.Ladder]:
    """Return the ladders that the visitor may list; none where they may not."""
    with suppress(Forbidden):
        return _read((await listed_of(console, visitor, LADDERS, request)).objects, console)
    return []


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def models(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        listed = await listed_of(console, visitor, SIGNALS, request)
        escalations = await listed_of(console, visitor, ESCALATIONS, request)
        objects = await _ladders(console, visitor, request)
        policies = {(one.namespace, one.name): one.spec for one in objects}

        def tone_of(model: fleet.Model) -> str:
            policy = model.cases[0].policy if model.cases else policies.get((model.namespace, model.ladder))
            return board.accent(policy, model.tier) if policy is not None else "none"

        found = fleet.models(listed.objects, cases_of(escalations.objects))
        return console.page(
            request, "models.html", visitor, models=found, asks=listed.asks, namespace=listed.namespace, tone_of=tone_of
        )

    async def ladders(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        listed = await listed_of(console, visitor, LADDERS, request)
        found = _read(listed.objects, console)
        return console.page(
            request, "ladders.html", visitor, ladders=found, asks=listed.asks, namespace=listed.namespace
        )

    async def ladder(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        names = request.match_info["namespace"], request.match_info["name"]
        found = fleet.ladder(await visitor.client.get(LADDERS, *names), console.clock().date())
        if found is None:
            raise Problem(500, "This ladder was written by another version of Riskladder.")
        held = await _holders(visitor, found)
        units = {indicator.name: indicator.unit for indicator in found.spec.indicators}
        return console.page(
            request, "ladder.html", visitor, ladder=found, units=units, words=fleet.trigger_words, holders=held
        )

    async def commitments(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        listed = await listed_of(console, visitor, ESCALATIONS, request)
        found = fleet.commitments(cases_of(listed.objects))
        return console.page(
            request, "commitments.html", visitor, found=found, asks=listed.asks, namespace=listed.namespace
        )

    async def drills(request: web.Request) -> web.Response:
        visitor = await console.visitor(request)
        listed = await listed_of(console, visitor, ESCALATIONS, request)
        found = sorted((c for c in cases_of(listed.objects) if c.spec.drill), key=lambda c: c.opened, reverse=True)
        return console.page(
            request, "drills.html", visitor, cases=found, asks=listed.asks, namespace=listed.namespace, state=state
        )

    return [
        web.get("/models", models),
        web.get("/ladders", ladders),
        web.get("/ladders/{namespace}/{name}", ladder),
        web.get("/commitments", commitments),
        web.get("/drills", drills),
    ]
