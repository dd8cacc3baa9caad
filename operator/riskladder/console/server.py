"""The HTTP server of the console: routes, and what holds for every one of them."""

from __future__ import annotations

import asyncio
import secrets
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from riskladder.api.base import format_time
from riskladder.cluster.client import ApiError, Forbidden, NotFound
from riskladder.cluster.connection import Connection
from riskladder.console import security
from riskladder.console.metrics import ELSEWHERE, Metrics
from riskladder.console.names import Names, Unnamed
from riskladder.console.openid import OpenID, Tokens
from riskladder.console.protocol import SERVER, Protocol
from riskladder.console.provider import SignInFailed
from riskladder.console.render import Renderer
from riskladder.console.sessions import Credential, Sealed, Sessions, Tickets
from riskladder.console.settings import Limits, Settings
from riskladder.console.visitor import NotKnown, Visitor, visitor_of
from riskladder.people.answers import explain, reason_of
from riskladder.people.case import Unreadable

log = structlog.get_logger(__name__)

MAX_BODY = 128 * 1024
"""Bytes of a form: a rationale has at most 4,096 characters, a review as many again, each of up to nine bytes."""

BODY_SECONDS = 10.0
"""In how many seconds a form has to have arrived."""

DRAFT_LIMITS = Limits(idle=timedelta(minutes=15), absolute=timedelta(minutes=15))
"""For how long what was typed before a session ended is kept."""

UNPROVED, MOST_UNPROVED = "nobody", 200
"""Whose a draft is that no session proves, and how many of those are kept: they push out no others."""

PENDING_LASTS = timedelta(minutes=10)
"""For how long somebody may take to sign in at a provider."""

RENEW_BEFORE = timedelta(seconds=60)
"""How long before its end a token is renewed."""

DRAFTED = (
    *(
        "by",
        "action",
        "option",
        "role",
        "rationale",
        "rung",
        "head",
        "tier",
        "until",
        "containment",
        "resolution",
        "clock",
    ),
    *("withdraw", "policyUpdated", "satisfaction", "lessons"),
)
"""Fields of a form that are kept."""

LONGEST = 4096
"""Characters that one of them can have."""

STREAM = "text/event-stream"
"""Content type of a stream of changes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):  # noqa: N818 - reads as a sentence at the call site
    """A page that cannot be shown, and why."""

    def __init__(self, status: int, message: str) -> None:
        """Say with which HTTP status, and in one sentence why."""
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(slots=True)
class Console:
    """What all handlers share."""

    settings: Settings
    connection: Connection
    clock: Callable[[], datetime]
    renderer: Renderer
    sessions: Sessions
    drafts: Sealed = field(default_factory=lambda: Sealed(DRAFT_LIMITS, 1_000, MOST_UNPROVED))
    pending: Tickets = field(default_factory=lambda: Tickets(PENDING_LASTS))
    openid: OpenID | None = None
    _renewing: weakref.WeakValueDictionary[str, asyncio.Lock] = field(default_factory=weakref.WeakValueDictionary)
    streams: Counter[str] = field(default_factory=Counter)
    """How many streams of changes are open, by whose they are."""
    following: set[asyncio.Task[Any]] = field(default_factory=set)
    """What serves them: ended with the process, which waits for none of them."""
    forms: security.FormTokens = field(default_factory=lambda: security.FormTokens(secrets.token_bytes(32)))
    metrics: Metrics = field(default_factory=Metrics)

    def cookie(self, name: str) -> str:
        """Return the name of a cookie: over TLS it can be set by this host only, and for all its paths.

        Consoles on 127.0.0.1 share the cookies of that host, whatever their ports: each has names of its own.
        """
        if self.settings.is_secure:
            return f"__Host-riskladder-{name}"
        return f"riskladder-{self.settings.host.rpartition(':')[2]}-{name}"

    def set_cookie(self, response: web.StreamResponse, name: str, value: str) -> None:
        """Set a cookie for as long as the browser is open, which no script can read."""
        response.set_cookie(
            self.cookie(name), value, path="/", httponly=True, secure=self.settings.is_secure, samesite="Lax"
        )

    def last_namespace(self, request: web.Request) -> str:
        """Return the namespace in which this browser has seen something last, or nothing."""
        found = request.cookies.get(self.cookie("namespace"), "")
        return found if security.is_name(found) else ""

    def remember_namespace(self, request: web.Request, response: web.StreamResponse) -> None:
        """Note in which namespace a page is that was shown: who may not list everywhere finds the others there."""
        shown = request.match_info.get("namespace") or request.query.get("namespace", "")
        is_page = request.method == "GET" and response.status == 200 and not response.prepared
        if shown and is_page and shown != self.last_namespace(request):
            self.set_cookie(response, "namespace", shown)

    def drop_cookie(self, response: web.StreamResponse, name: str) -> None:
        """Remove a cookie."""
        response.del_cookie(self.cookie(name), path="/", httponly=True, secure=self.settings.is_secure, samesite="Lax")

    async def visitor(self, request: web.Request) -> Visitor:
        """Return who asks.

        Raises:
            NotKnown: Nobody whom the API server knows.
            ApiError: It could not be asked.
        """
        passed = _passed_on(request.headers) if security.is_trusted(self.settings, request.remote) else None
        cookie = "" if passed is not None else request.cookies.get(self.cookie("session"), "")
        in_use = not is_by_script(request)
        credential = self.sessions.find(cookie, self.clock(), in_use=in_use) if cookie else passed
        if credential is None:
            raise NotKnown("nobody is signed in")
        if self.settings.uses_own_credentials and not (self.settings.is_local or credential.acts_as):
            raise NotKnown("nobody is named whom the console could act as")  # it would act as itself
        renewed = await self.renew(cookie, credential)
        return await visitor_of(self.connection, renewed, cookie)

    def knows(self, visitor: Visitor) -> bool:
        """Return whether a visitor who was known is still signed in; a session stays as idle as it is."""
        if visitor.credential.how == "proxy":
            return True
        return self.sessions.find(visitor.binding, self.clock(), in_use=False) is not None

    async def renew(self, cookie: str, credential: Credential) -> Credential:
        """Return the credential, renewed where it is about to end and can be.

        Raises:
            NotKnown: It has ended, and the provider does not renew it.
        """
        if self.openid is None or not credential.refresh_token or not self._ends_soon(credential):
            return credential
        async with self._renewing.setdefault(cookie, asyncio.Lock()):  # a refresh token may count once only
            current = self.sessions.find(cookie, self.clock(), in_use=False)
            if current is None:
                raise NotKnown("the session has ended")
            if not self._ends_soon(current):
                return current
            try:
                tokens = await self.openid.refresh(tokens_of(current), self.clock())
            except SignInFailed as error:
                if error.passing and tokens_of(current).expires_at > self.clock():
                    return current
                raise NotKnown(error.message) from error
            try:
                renewed = credential_of(tokens, self.settings.sign_in.names)
            except Unnamed as error:
                raise NotKnown(str(error)) from error
            self.sessions.renew(cookie, renewed)
            return renewed

    def _ends_soon(self, credential: Credential) -> bool:
        return tokens_of(credential).expires_at - self.clock() < RENEW_BEFORE

    def page(
        self, request: web.Request, template: str, visitor: Visitor | None = None, *, status: int = 200, **values: Any
    ) -> web.Response:
        """Render a page."""
        common = {
            "settings": self.settings,
            "visitor": visitor,
            "path": request.path,
            "now": self.clock(),
            "token_of": lambda path: self.forms.token(visitor.binding if visitor else "", path),
        }
        body = self.renderer.render(template, {**common, **values})
        return web.Response(text=body, status=status, content_type="text/html", charset="utf-8")


def credential_of(tokens: Tokens, names: Names | None) -> Credential:
    """Return the credential of somebody who has signed in at the provider.

    Args:
        tokens: What the provider gave.
        names: Whom the console acts as for them, where the API server does not trust the provider.

    Raises:
        Unnamed: The provider does not say who that is.
    """
    user, groups = names.of(tokens.id_token) if names is not None else ("", ())
    ends = format_time(tokens.expires_at)
    return Credential(tokens.id_token, tokens.name, "openid", tokens.refresh_token, ends, user, groups)


def tokens_of(credential: Credential) -> Tokens:
    """Return the same as the provider gave it."""
    ends = datetime.fromisoformat(credential.expires_at).astimezone(UTC)
    return Tokens(credential.token, credential.refresh_token, ends, credential.name)


def _passed_on(headers: Mapping[str, str]) -> Credential | None:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return Credential(token.strip(), how="proxy")


def is_by_script(request: web.Request) -> bool:
    """Return whether a page that was left open asks by itself: nobody is there, as far as one can see."""
    return request.headers.get("Sec-Fetch-Dest") == "empty"


async def form_of(request: web.Request) -> dict[str, str]:
    """Return a form that was sent, with line ends as everywhere else.

    Raises:
        Problem: It is none, or did not arrive.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "This is no form of these pages.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
        fields = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=100)
    except TimeoutError as error:
        raise Problem(408, "The form did not arrive in time.") from error
    except ValueError as error:
        raise Problem(400, "This is no form of these pages.") from error
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def application(console: Console, routes: list[web.RouteDef]) -> web.Application:
    """Return the application with all its routes."""

    async def protect(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(security.HEADERS)
        response.headers["Server"] = SERVER
        if console.settings.is_secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"

    async def end_streams(_: web.Application) -> None:
        for task in console.following:
            task.cancel()

    app = web.Application(client_max_size=MAX_BODY, middlewares=[_guarded(console)])
    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(protect)  # whatever answers, pages, streams and errors alike
    app.router.add_routes(routes)
    app.router.add_get("/static/{name}", _static)
    return app


_STATIC = {"console.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in _STATIC:
        raise Problem(404, "There is no such file.")
    content = resources.files("riskladder.console").joinpath("static", name).read_bytes()
    return web.Response(body=content, content_type=_STATIC[name], charset="utf-8")


def _guarded(console: Console) -> Any:
    """Return the middleware: who may ask from where, and one page for whatever goes wrong."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if isinstance(request.protocol, Protocol):
            request.protocol.heard()
        started, resource = time.perf_counter(), request.match_info.route.resource
        response = await _answer(console, request, handler)
        seconds = None if response.content_type == STREAM else time.perf_counter() - started
        console.metrics.answered(resource.canonical if resource else ELSEWHERE, response.status, seconds)
        return response

    return guarded


async def _answer(console: Console, request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.host != console.settings.host:
            raise Problem(421, "This host name is not the console’s.")  # also what a rebound name would send
        if request.method not in ("GET", "HEAD") and (why := security.why_foreign(console.settings, request.headers)):
            log.warning("form refused", path=request.path, error=why)
            raise Problem(403, "This form was not sent by a page of the console, so nothing was done.")
        if not all(security.is_name(part) for key, part in request.match_info.items() if key in _NAMES):
            raise Problem(404, "There is no such page.")
        if (namespace := request.query.get("namespace")) and not security.is_name(namespace):
            raise Problem(400, "This cannot be the name of a namespace.")
        response = await handler(request)
        console.remember_namespace(request, response)
        return response
    except NotKnown:
        return _to_sign_in(console, request)
    except Problem as problem:
        return _problem(console, request, problem)
    except Unreadable as error:
        return _problem(console, request, Problem(500, f"{error}."))
    except Forbidden as error:
        return _problem(console, request, Problem(403, f"The cluster does not allow it: {reason_of(error.message)}"))
    except NotFound as error:
        missing = "there is no such object, or it was deleted" if "not found" in error.message else explain(error)
        return _problem(console, request, Problem(404, f"Not found: {missing}."))
    except ApiError as error:
        if error.status == 401:
            return _to_sign_in(console, request)
        log.warning("cluster not asked", path=request.path, error=str(error))  # who asks learns no addresses of it
        return _problem(console, request, Problem(503, "The cluster does not answer. Try again in a moment."))
    except web.HTTPRequestEntityTooLarge:
        return _problem(console, request, Problem(413, "What was sent is too long."))
    except web.HTTPNotFound:
        return _problem(console, request, Problem(404, "There is no such page."))
    except web.HTTPMethodNotAllowed:
        return _problem(console, request, Problem(405, "This page does not take that."))
    except web.HTTPException as error:
        return _problem(console, request, Problem(error.status, "This cannot be answered."))
    except Exception:
        log.exception("page failed", path=request.path)
        message = "Something went wrong here. Look at the escalation before you try again."
        return _problem(console, request, Problem(500, message))


TYPED = "typed"
"""The form of a decision, which is shown or kept whatever becomes of it."""

_NAMES = ("namespace", "name")


def _problem(console: Console, request: web.Request, problem: Problem) -> web.Response:
    typed = request.get(TYPED, {})
    return console.page(request, "error.html", status=problem.status, message=problem.message, typed=typed)


def _to_sign_in(console: Console, request: web.Request) -> web.Response:
    """Send somebody to the sign-in page; what they had typed is kept until they come back."""
    response = web.Response(status=303)
    back = request.path_qs if request.method == "GET" else request.path
    response.headers["Location"] = str(request.rel_url.with_path("/sign-in").with_query({"to": back}))
    session = request.cookies.get(console.cookie("session"), "")
    if (typed := request.get(TYPED)) is not None:
        form = {name: value for name, value in typed.items() if name != "token"}
        proved = bool(session) and console.forms.is_valid(typed.get("token", ""), session, request.path)
        whose = session if proved else UNPROVED
        console.set_cookie(response, "draft", console.drafts.put(_draft(request, form), console.clock(), whose))
    if session:
        console.sessions.end(session)
        console.drop_cookie(response, "session")
    return response


def _draft(request: web.Request, form: Mapping[str, str]) -> dict[str, Any]:
    """Return what is kept of a form: what it can have, as long as it can be. Anybody may send one."""
    return {"path": request.path[:1024], "form": {name: form[name][:LONGEST] for name in DRAFTED if name in form}}
