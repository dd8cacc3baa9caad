"""A browser without scripts, as far as the console is concerned: cookies, forms, and where a form comes from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from tests.patience import PATIENCE


@dataclass(slots=True)
class Form:
    """A form of a page, with what it would send."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._area: str | None = None
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "form":
            self._form = Form(given.get("action") or "", (given.get("method") or "get").lower())
            self.forms.append(self._form)
        name = given.get("name")
        if self._form is None:
            self._area = "" if tag == "textarea" else None
            return
        if tag == "input" and name and given.get("type") != "checkbox":
            self._form.fields[name] = given.get("value") or ""
        elif tag == "input" and name and "checked" in given:
            self._form.fields[name] = given.get("value") or "on"
        elif tag == "textarea" and name:
            self._area, self._form.fields[name] = name, ""
        elif tag == "select" and name:
            self._select = name
        elif tag == "option" and self._select:
            self._area = f"option {self._select}" if "selected" in given else f"option? {self._select}"

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag in ("textarea", "option"):
            self._area = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._form is None or not self._area:
            return
        kind, _, name = self._area.rpartition(" ")
        if kind == "option?":
            self._form.fields.setdefault(name, data)
        elif kind == "option":
            self._form.fields[name] = data
        else:
            self._form.fields[name] += data


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    path: str
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...]
    """The headers Set-Cookie."""

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.text)
        reader.close()
        return reader

    @property
    def words(self) -> str:
        """What a person reads, on one line."""
        return " ".join(" ".join(self._read.words).split())

    @property
    def tags(self) -> list[tuple[str, dict[str, str | None]]]:
        return self._read.tags

    @property
    def forms(self) -> list[Form]:
        return self._read.forms

    def form(self, action: str) -> Form:
        """The form with which that is decided, or that is sent there."""
        found = [f for f in self.forms if f.fields.get("action") == action or f.action == action]
        assert found, f"no form {action} on {self.path} ({self.status}): {self.words[:3000]}"
        return found[0]

    def offers(self) -> set[str]:
        """What can be decided on this page."""
        return {f.fields["action"] for f in self.forms if "action" in f.fields}


class Browser:
    """One browser of one person."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    def cookie(self, name: str) -> str:
        """How the console names a cookie without TLS, where all ports of an address share them."""
        return f"riskladder-{urlsplit(self.url).port}-{name}"

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.session.cookie_jar}

    async def ask(self, method: str, path: str, *, follow: bool = False, **more: Any) -> Page:
        """One request as it is, redirects not followed."""
        async with self.session.request(method, self.url + path, allow_redirects=False, **more) as answer:
            body = await answer.read()
            page = Page(
                answer.status,
                answer.url.raw_path_qs,
                dict(answer.headers),
                body,
                tuple(answer.headers.getall("Set-Cookie", ())),
            )
        if follow and page.status in (302, 303):
            there = urlsplit(urljoin(self.url + path, page.headers["Location"]))
            assert f"{there.scheme}://{there.netloc}" == self.url, page.headers["Location"]
            return await self.get(f"{there.path}?{there.query}" if there.query else there.path)
        return page

    async def get(self, path: str, **more: Any) -> Page:
        """Open a page."""
        return await self.ask("GET", path, follow=True, **more)

    async def send(self, form: Form, *, follow: bool = True, **typed: str) -> Page:
        """Send a form as a browser does."""
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
        return await self.ask("POST", form.action, follow=follow, data=form.fields | typed, headers=headers)

    async def sign_in(self, token: str, to: str = "/") -> Page:
        """Paste a token."""
        page = await self.get(f"/sign-in?to={to}")
        return await self.send(page.form("/sign-in/token"), credential=token)

    async def decide(self, page: Page, action: str, rationale: str = "as discussed", **typed: str) -> Page:
        """Fill in a form of the page of an escalation, and send it; what the operator answers."""
        return await self.answered(await self.send(page.form(action), rationale=rationale, **typed))

    async def answered(self, page: Page) -> Page:
        """The page that a decision leads to, once the operator has answered: the console waits some seconds only."""
        async with asyncio.timeout(PATIENCE):
            while "has not answered yet" in page.words:
                await asyncio.sleep(0.1)
                page = await self.get(page.path)
        return page


def exported(page: Page) -> dict[str, Any]:
    """What was downloaded."""
    found: dict[str, Any] = json.loads(page.body)
    return found
