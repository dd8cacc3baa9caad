"""Signing in and out."""

from __future__ import annotations

import hmac
from dataclasses import asdict

from aiohttp import web

from riskladder.console import security
from riskladder.console.metrics import SignIn
from riskladder.console.names import Unnamed
from riskladder.console.openid import Pending
from riskladder.console.provider import SignInFailed
from riskladder.console.server import Console, Problem, credential_of, form_of, tokens_of
from riskladder.console.sessions import Credential
from riskladder.console.visitor import NotKnown, visitor_of

MAX_TOKEN = 16 * 1024

LONGEST_PATH = 1024
"""Characters of a path to come back to: it is kept in a cookie."""


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes."""

    async def choose(request: web.Request) -> web.Response:
        return _page(console, request)

    async def with_token(request: web.Request) -> web.Response:
        if not console.settings.sign_in.token or console.settings.is_local:
            raise Problem(404, "Signing in with a token is not enabled here.")
        form = await form_of(request)
        token = "".join(form.get("credential", "").split())
        if not token or len(token) > MAX_TOKEN or not token.isprintable() or not token.isascii():
            console.metrics.signed_in("token", SignIn.MALFORMED)
            return _page(console, request, "That is no token.", status=422)
        try:
            found = await visitor_of(console.connection, Credential(token), "")
        except NotKnown:
            console.metrics.signed_in("token", SignIn.NOT_KNOWN)
            return _page(console, request, "The cluster does not accept this token.", status=403)
        console.metrics.signed_in("token", SignIn.ACCEPTED)
        console.sessions.end(request.cookies.get(console.cookie("session"), ""))
        return signed_in(console, Credential(token), security.local_path(form.get("to", "/")), owner=found.me.username)

    async def begin(request: web.Request) -> web.Response:
        if console.openid is None:
            raise Problem(404, "Signing in with an account is not set up here.")
        try:
            url, pending = await console.openid.begin()
        except SignInFailed as error:
            console.metrics.signed_in("openid", SignIn.PROVIDER)
            return _page(console, request, _sentence(error.message), status=503)
        to = security.local_path(request.query.get("to", "/"))
        kept = asdict(pending) | {"to": to if len(to) <= LONGEST_PATH else "/"}
        response = web.Response(status=303, headers={"Location": url})
        console.set_cookie(response, "pending", console.pending.seal(kept, console.clock()))
        return response

    async def come_back(request: web.Request) -> web.Response:
        cookie = request.cookies.get(console.cookie("pending"), "")
        kept = console.pending.open(cookie, console.clock())
        if console.openid is None or kept is None:
            console.metrics.signed_in("openid", SignIn.NOT_BEGUN)
            return _page(console, request, "This sign-in was not begun in this browser, or too long ago.", status=403)
        to = kept.pop("to")
        try:
            tokens = await console.openid.finish(Pending(**kept), dict(request.query), console.clock())
            credential = credential_of(tokens, console.settings.sign_in.names)
            found = await visitor_of(console.connection, credential, "")
        except SignInFailed as error:
            result, response = SignIn.PROVIDER, _page(console, request, _sentence(error.message), status=403)
        except Unnamed as error:
            result, response = SignIn.UNNAMED, _page(console, request, _sentence(str(error)), status=403)
        except NotKnown:
            message = "The cluster does not accept this account: does its API server trust the same provider?"
            result, response = SignIn.NOT_KNOWN, _page(console, request, message, status=403)
        else:
            result = SignIn.ACCEPTED
            console.sessions.end(request.cookies.get(console.cookie("session"), ""))
            response = signed_in(console, credential, to, owner=found.me.username)
        console.metrics.signed_in("openid", result)
        console.drop_cookie(response, "pending")
        return response

    async def out(request: web.Request) -> web.Response:
        cookie = request.cookies.get(console.cookie("session"), "")
        form = await form_of(request)
        if not console.forms.is_valid(form.get("token", ""), cookie, request.path):
            raise Problem(403, "This form belongs to another session, so nothing was done.")
        credential = console.sessions.find(cookie, console.clock())
        console.sessions.end(cookie)
        elsewhere = None
        if console.openid is not None and credential is not None and credential.how == "openid":
            elsewhere = await console.openid.end_session_url(tokens_of(credential))
        response = _page(console, request, elsewhere=elsewhere or "", is_out=True)
        for name in ("session", "namespace"):
            console.drop_cookie(response, name)
        return response

    return [
        web.get("/sign-in", choose),
        web.post("/sign-in/token", with_token),
        web.get("/sign-in/openid", begin),
        web.get("/sign-in/callback", come_back),
        web.post("/sign-out", out),
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _page(
    console: Console,
    request: web.Request,
    message: str = "",
    *,
    status: int = 200,
    elsewhere: str = "",
    is_out: bool = False,
) -> web.Response:
    to = security.local_path(request.query.get("to", "/"))
    kept = bool(request.cookies.get(console.cookie("draft")))
    return console.page(
        request, "sign_in.html", to=to, kept=kept, message=message, status=status, elsewhere=elsewhere, is_out=is_out
    )


def signed_in(console: Console, credential: Credential, to: str, *, owner: str = "") -> web.Response:
    """Start a session, and go where somebody wanted to.

    Args:
        console: What is shared.
        credential: With which they have signed in.
        to: Where they go.
        owner: Their user name, so that the number of their sessions is bounded.
    """
    cookie = console.sessions.begin(credential, console.clock(), owner)
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
        to = security.local_path(request.query.get("to", "/"))
        if console.sessions.find(request.cookies.get(console.cookie("session"), ""), console.clock()) is not None:
            return web.Response(status=303, headers={"Location": to})  # the same browser again
        if not unused or not hmac.compare_digest(given.encode(), unused[0].encode()):
            console.metrics.signed_in("link", SignIn.LINK)
            raise Problem(
                403,
                "This link signs in once, and was used in another browser, or is another one. Start the console again.",
            )
        unused.clear()
        console.metrics.signed_in("link", SignIn.ACCEPTED)
        return signed_in(console, Credential("", how="local"), to)

    return web.get("/start", start, allow_head=False)
