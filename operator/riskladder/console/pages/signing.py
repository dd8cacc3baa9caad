"""Signing in and out."""

from __future__ import annotations

import hmac

from aiohttp import web

from riskladder.console import security
from riskladder.console.server import Console, Problem
from riskladder.console.sessions import Credential
from riskladder.console.visitor import NotKnown, visitor_of

MAX_TOKEN = 16 * 1024


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def choose(request: web.Request) -> web.Response:
        return _page(console, request)

    async def with_token(request: web.Request) -> web.Response:
        if not console.settings.sign_in.token or console.settings.is_local:
            raise Problem(404, "Signing in with a token is not enabled here.")
        form = await request.post()
        token = "".join(str(form.get("credential", "")).split())
        if not token or len(token) > MAX_TOKEN or not token.isprintable() or not token.isascii():
            return _page(console, request, "That is no token.", status=422)
        try:
            await visitor_of(console.connection, Credential(token), "")
        except NotKnown:
            return _page(console, request, "The cluster does not accept this token.", status=403)
        return signed_in(console, Credential(token), security.local_path(str(form.get("to", "/"))))

    async def out(request: web.Request) -> web.Response:
        cookie = request.cookies.get(console.cookie("session"), "")
        form = await request.post()
        if not console.forms.is_valid(str(form.get("token", "")), cookie, request.path):
            raise Problem(403, "This form belongs to another session, so nothing was done.")
        console.sessions.end(cookie)
        response = web.Response(status=303, headers={"Location": "/sign-in"})
        console.drop_cookie(response, "session")
        return response

    return [
        web.get("/sign-in", choose),
        web.post("/sign-in/token", with_token),
        web.post("/sign-out", out),
    ]


def _page(console: Console, request: web.Request, message: str = "", *, status: int = 200) -> web.Response:
    to = security.local_path(request.query.get("to", "/"))
    kept = bool(request.cookies.get(console.cookie("draft")))
    return console.page(request, "sign_in.html", to=to, kept=kept, message=message, status=status)


def signed_in(console: Console, credential: Credential, to: str) -> web.Response:
    """Start a session, and go where somebody wanted to."""
    cookie = console.sessions.begin(credential, console.clock())
    response = web.Response(status=303, headers={"Location": to})
    console.set_cookie(response, "session", cookie)
    return response


def one_time_link(console: Console, key: str) -> web.RouteDef:
    """Return the route that signs in whoever runs the console for themselves, once.

    Args:
        console: What is shared.
        key: Of the link.
    """
    unused = [key]

    async def start(request: web.Request) -> web.Response:
        given = request.query.get("key", "")
        if not unused or not hmac.compare_digest(given.encode(), unused[0].encode()):
            raise Problem(403, "This link was used already, or is another one. Start the console again.")
        unused.clear()
        return signed_in(console, Credential("", how="local"), "/")

    return web.get("/start", start)
