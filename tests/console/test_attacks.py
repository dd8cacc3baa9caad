"""What others may try on the pages: forged forms, hostile text, odd paths, hosts and bodies, cookies of others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from riskladder.cluster import resources
from riskladder.cluster.client import Client
from riskladder.console import security
from riskladder.console.pages.escalation import MOST_STREAMS
from riskladder.console.server import BODY_SECONDS, MAX_BODY
from riskladder.console.sessions import MOST_OF_ONE
from tests.cluster import LocalControlPlane
from tests.console.place import ConsolePlace, ConsoleProcess, free_port
from tests.console.scriptless import Browser, Page
from tests.integration.people import impersonated
from tests.integration.world import condition
from tests.patience import PATIENCE


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer, as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: str


async def raw(url: str, request: str) -> Raw:
    """Send bytes as they are, which no client would do, and read until the server has closed."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(request.encode("latin-1"))
        await writer.drain()
        async with asyncio.timeout(PATIENCE):
            answer = (await reader.read()).decode("latin-1")
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Raw(int(first.split()[1]), headers, body)


def request_of(url: str, method: str, target: str, *headers: str, host: str | None = None) -> str:
    where = urlsplit(url).netloc if host is None else host
    lines = (f"{method} {target} HTTP/1.1", f"Host: {where}", "Connection: close", *headers)
    return "\r\n".join(lines) + "\r\n\r\n"


def cookie_of(browser: Browser) -> str:
    return "Cookie: " + "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


@pytest.fixture(scope="module")
async def target(place: ConsolePlace) -> str:
    """An escalation on which nobody decides here."""
    return await place.escalated("target")


# --- Forged forms -----------------------------------------------------------------------------------------------------


async def test_form_that_does_not_come_from_these_pages_is_refused(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "ann") as ann, place.browser(url, "ann") as again:
        page = await place.opened(ann, target)
        form = page.form("Acknowledge")
        fields = form.fields | {"rationale": "forged"}
        ours = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        for headers in (
            {},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
            {"Origin": url.replace("http:", "https:")},
            {"Origin": url + "0"},
            {"Origin": url, "Sec-Fetch-Site": "same-site"},
            {"Origin": url, "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "none"},
            {"Referer": url + "/"},
        ):
            refused = await ann.ask("POST", form.action, data=fields, headers=headers)
            assert refused.status == 403, headers
            assert "forged" not in refused.text
        other = (await again.get(form.action)).form("Acknowledge").fields["token"]
        elsewhere = page.form("/sign-out").fields["token"]
        for token in (other, elsewhere, "", "0" * 64, fields["token"][:-1], fields["token"].upper(), "é"):
            refused = await ann.ask("POST", form.action, data=fields | {"token": token}, headers=ours)
            assert refused.status == 403, token
        del fields["token"]
        assert (await ann.ask("POST", form.action, data=fields, headers=ours)).status == 403
        nowhere = await ann.ask("POST", "/sign-out", data={"token": other}, headers=ours)
        assert nowhere.status == 403
        assert (await ann.ask("GET", "/ladders")).status == 200, "still signed in"
    assert await place.decisions(target) == []


async def test_form_for_one_escalation_decides_no_other(place: ConsolePlace, url: str, target: str) -> None:
    other = await place.escalated("other-1")
    async with place.browser(url, "ann") as ann:
        form = (await place.opened(ann, target)).form("Acknowledge")
        form.action = place.page(other)
        assert (await ann.send(form, rationale="x", escalation=other)).status == 403
        form.action = place.page(target)
        mine = await ann.send(form, rationale="only a comment", action="Comment", escalation=other, decidedBy="eve")
        assert mine.status == 200
    assert await place.decisions(other) == []
    [decision] = await place.decisions(target)
    assert decision["spec"]["decidedBy"]["username"] == place.username("ann")
    await place.client.delete(resources.DECISIONS, place.namespace, decision["metadata"]["name"])


async def test_no_other_method_does_anything(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "ann") as ann:
        fields = (await place.opened(ann, target)).form("Acknowledge").fields | {"rationale": "x"}
        ours = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        asked = await ann.ask("GET", place.page(target), params=fields)
        assert asked.status == 200
        for path in ("/sign-out", "/sign-in/token"):
            assert (await ann.ask("GET", path, params={"token": "x", "credential": "x"})).status == 405
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            for path in ("/", place.page(target), "/sign-out", "/static/live.js"):
                assert (await ann.ask(method, path)).status == 403, (method, path)
                answer = await ann.ask(method, path, headers=ours)
                assert answer.status == 405, (method, path)
                assert fields["token"] not in answer.text
        head = await ann.ask("HEAD", place.page(target))
        assert (head.status, head.body) == (200, b"")
        assert (await ann.ask("HEAD", f"{place.page(target)}/changes")).status == 405, "no stream is opened"
        assert (await ann.ask("GET", "/ladders")).status == 200
    assert await place.decisions(target) == []


async def test_nobody_is_signed_in_by_the_page_of_another(place: ConsolePlace, url: str) -> None:
    async with Browser(url) as browser:
        for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": url, "Sec-Fetch-Site": "cross-site"}):
            token = {"credential": place.tokens["max"]}
            answer = await browser.ask("POST", "/sign-in/token", data=token, headers=headers)
            assert (answer.status, answer.cookies) == (403, ())


# --- Cookies ----------------------------------------------------------------------------------------------------------


async def test_cookie_is_new_with_each_sign_in_and_read_by_no_script(place: ConsolePlace, url: str) -> None:
    async with Browser(url) as browser:
        browser.session.cookie_jar.update_cookies({browser.cookie("session"): "fixed-by-somebody-else"})
        page = await browser.get("/sign-in")
        answer = await browser.send(page.form("/sign-in/token"), follow=False, credential=place.tokens["ann"])
        [cookie] = answer.cookies
        assert cookie.split("; ")[0] != f"{browser.cookie('session')}=fixed-by-somebody-else"
        assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=Lax"}, "Secure is for TLS"
        assert place.tokens["ann"] not in f"{answer.headers}{answer.text}"
        for value in (
            "fixed-by-somebody-else",
            "",
            "x" * 4000,
            "../../etc",
            browser.cookies[browser.cookie("session")][:-1],
        ):
            async with Browser(url) as other:
                other.session.cookie_jar.update_cookies({other.cookie("session"): value, other.cookie("draft"): value})
                assert (await other.ask("GET", "/ladders")).status == 303


async def test_draft_is_for_the_browser_that_typed_it(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "ann") as ann, place.browser(url, "max") as max_, Browser(url) as stranger:
        form = (await place.opened(ann, target)).form("Acknowledge")
        asked = await stranger.send(form, rationale="typed by a stranger")
        assert asked.path.startswith("/sign-in")
        for one in (ann, max_):
            assert "typed by a stranger" not in (await one.get(place.page(target))).text
        other = await stranger.sign_in(place.tokens["max"], place.page(target))
        assert "typed by a stranger" not in other.text, "the form was another person's"
        await stranger.send(other.form("/sign-out"))
        back = await stranger.sign_in(place.tokens["ann"], place.page(target))
        assert "typed by a stranger" in back.text
        assert "Nothing was sent." in back.words
    assert await place.decisions(target) == []


async def test_drafts_of_strangers_push_out_none_of_somebody_who_was_signed_in(
    place: ConsolePlace, url: str, target: str
) -> None:
    async with place.browser(url, "ann") as ann, Browser(url) as stranger:
        form = (await place.opened(ann, target)).form("Acknowledge")
        async with Browser(url) as twin:
            twin.session.cookie_jar.update_cookies(ann.cookies)
            await twin.send((await twin.get("/")).form("/sign-out"))
        asked = await ann.send(form, rationale="hers")
        ours = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        for _ in range(60):
            await asyncio.gather(
                *(stranger.ask("POST", form.action, data={"rationale": "x"}, headers=ours) for _ in range(20))
            )
        back = await ann.send(asked.form("/sign-in/token"), credential=place.tokens["ann"])
        assert back.form("Acknowledge").fields["rationale"] == "hers"


async def test_many_sessions_of_one_end_none_of_another(place: ConsolePlace, url: str) -> None:
    async with place.browser(url, "max") as max_:
        held: list[str] = []
        for _ in range(MOST_OF_ONE + 2):
            async with place.browser(url, "sam") as sam:
                held.append(sam.cookies[sam.cookie("session")])
        assert (await max_.ask("GET", "/ladders")).status == 200
        async with Browser(url) as browser:
            for cookie, status in ((held[0], 303), (held[-1], 200)):
                browser.session.cookie_jar.update_cookies({browser.cookie("session"): cookie})
                assert (await browser.ask("GET", "/ladders")).status == status


async def test_draft_is_not_used_up_by_a_script_or_a_look_at_the_headers(
    place: ConsolePlace, url: str, target: str
) -> None:
    async with place.browser(url, "ann") as ann, Browser(url) as stranger:
        await stranger.send((await place.opened(ann, target)).form("Acknowledge"), rationale="typed before")
        await stranger.sign_in(place.tokens["ann"])
        await stranger.ask("HEAD", place.page(target))
        await stranger.ask("GET", place.page(target), headers={"Sec-Fetch-Dest": "empty"})
        assert "typed before" in (await stranger.get(place.page(target))).text
        assert "typed before" not in (await stranger.get(place.page(target))).text


async def test_over_tls_cookies_are_of_this_host_only(
    place: ConsolePlace, plane: LocalControlPlane, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    where = ("--url", "https://Console.example:443", "--listen", listen)
    with ConsoleProcess(plane.kubeconfig, tmp_path, *where) as process:
        process.wait_for("started")
        body = f"credential={place.tokens['ann']}"
        sent = request_of(
            f"http://{listen}",
            "POST",
            "/sign-in/token",
            "Origin: https://console.example",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
            host="console.example",
        )
        answer = await raw(f"http://{listen}", sent + body)
    assert answer.status == 303
    name, *flags = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("__Host-riskladder-session=")
    assert set(flags) == {"HttpOnly", "Secure", "Path=/", "SameSite=Lax"}
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


# --- Where requests lead ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/escalations/%2e%2e/x",
        "/escalations/{ns}/%2e%2e",
        "/escalations/{ns}/..",
        "/escalations/{ns}/.",
        "/escalations/{ns}/%2E%2E%2f%2e%2e",
        "/escalations/{ns}%2f..%2fkube-system/x",
        "/escalations/{ns}/x%3flabelSelector=a",
        "/escalations/{ns}/x%23",
        "/escalations/{ns}/x%00",
        "/escalations/{ns}/x%0d%0aHost:%20evil",
        "/escalations/{ns}/X",
        "/escalations/{ns}/x%2fstatus",
        "/escalations/{ns}/%2e%2e/changes",
        "/records/{ns}/%2e%2e",
        "/records/{ns}/%2e%2e/export",
        "/records/{ns}/a%22;filename=evil.html/export",
        "/records/{ns}/a%0d%0aSet-Cookie:%20a=b/export",
        "/ladders/%2e%2e/x",
        "/ladders/{ns}/%2e%2e",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "//evil.example/escalations",
        "/escalations/{ns}/é",
        "/escalations/{ns}/" + "a" * 300,
    ],
)
async def test_odd_path_reaches_nothing(place: ConsolePlace, url: str, plane: LocalControlPlane, path: str) -> None:
    async with place.browser(url, "ann") as ann:
        answer = await raw(url, request_of(url, "GET", path.format(ns=place.namespace), cookie_of(ann)))
    assert answer.status in (400, 404), answer.status
    if answer.status == 404:
        assert "There is no such" in answer.body
        assert answer.headers["Content-Security-Policy"] == security.POLICY
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("namespace", ["..", ".", "a/b", "%2e%2e", "kube-system/../x", "a\r\nb", "x" * 300, "A", "é"])
async def test_odd_namespace_reaches_nothing(place: ConsolePlace, url: str, namespace: str) -> None:
    async with place.browser(url, "ann") as ann:
        for path in ("/", "/models", "/ladders", "/commitments", "/drills", "/records"):
            answer = await ann.ask("GET", path, params={"namespace": namespace})
            assert answer.status == 400, path
            assert "This cannot be the name of a namespace." in answer.words


async def test_odd_decision_is_none(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "ann") as ann:
        for decision in ("..", "x/y", "<script>", "missing", "%2e%2e"):
            answer = await ann.ask("GET", place.page(target), params={"decision": decision})
            assert answer.status == 200, decision
            assert ("p", {"class": "notice ", "role": "status"}) not in answer.tags


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "", "127.0.0.1.evil.example"]
)
async def test_other_host_name_is_refused(place: ConsolePlace, url: str, host: str) -> None:
    async with place.browser(url, "ann") as ann:
        for path in ("/", "/sign-in", "/static/live.js"):
            answer = await raw(url, request_of(url, "GET", path, cookie_of(ann), host=host))
            assert answer.status in (400, 421)
            assert "Waiting for you" not in answer.body.partition("<main")[2].partition("href")[0]
    absolute = await raw(url, request_of(url, "GET", "http://evil.example/sign-in"))
    assert absolute.status == 421


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: a=b",
        "\\\\evil.example",
        "http:evil.example",
        "///evil.example",
    ],
)
async def test_signing_in_leads_nowhere_else(place: ConsolePlace, url: str, to: str) -> None:
    async with Browser(url) as browser:
        page = await browser.get("/sign-in", params={"to": to})
        form = page.form("/sign-in/token")
        answer = await browser.send(form, follow=False, credential=place.tokens["ann"], to=to)
        there = answer.headers["Location"]
        assert there == "/" or (there == to and to.startswith("/%09"))
        assert len(answer.cookies) == 1


# --- Bodies -----------------------------------------------------------------------------------------------------------


async def test_body_that_is_no_form_is_refused(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "ann") as ann, Browser(url) as stranger:
        ours = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        coded = "application/x-www-form-urlencoded"
        for content_type, body, status in (
            ("multipart/form-data; boundary=x", b"--x\r\nbroken", 415),
            ("application/json", b"{}", 415),
            ("text/plain", b"action=Acknowledge", 415),
            (f"{coded}; charset=unicode_escape", b"action=\\ud800", 403),
            (f"{coded}; charset=nonsense", b"action=Acknowledge", 403),
            (coded, b"\xff\xfe", 400),
            (coded, b"a=b&" * 5000, 400),
            (coded, b"rationale=" + b"x" * MAX_BODY, 413),
        ):
            for browser in (ann, stranger):
                headers = ours | {"Content-Type": content_type}
                answer = await browser.ask("POST", place.page(target), data=body, headers=headers)
                expected = 303 if status == 403 and browser is stranger else status
                assert answer.status == expected, (content_type, answer.words)
        for odd in ({"head": "9" * 5000 + ":"}, {"head": "²:"}, {"rung": "x"}, {"action": "Explode"}, {"role": "\x00"}):
            form = (await ann.get(place.page(target))).form("Acknowledge")
            answer = await ann.send(form, rationale="words of mine", **odd)
            assert answer.status in (400, 403, 409, 422), (odd, answer.status)
            assert "words of mine" in answer.text, odd
    assert await place.decisions(target) == []


async def test_longest_review_in_any_script_is_not_too_long(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "ann") as ann:
        form = (await place.opened(ann, target)).form("Comment")
        answer = await ann.send(form, rationale="理" * 4096, lessons="由" * 4096)
        assert answer.status == 200, answer.words
    [decision] = await place.decisions(target)
    assert len(decision["spec"]["rationale"]) == 4096
    await place.client.delete(resources.DECISIONS, place.namespace, decision["metadata"]["name"])


async def test_body_that_does_not_arrive_is_not_waited_for(place: ConsolePlace, url: str, target: str) -> None:
    sent = request_of(
        url,
        "POST",
        place.page(target),
        f"Origin: {url}",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 100",
    )
    begin = time.monotonic()
    answer = await raw(url, sent + "action=")
    assert answer.status == 408
    assert time.monotonic() - begin >= BODY_SECONDS - 1


# --- Text of others ---------------------------------------------------------------------------------------------------

HOSTILE = "</textarea></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


async def test_text_of_others_is_shown_and_never_run(place: ConsolePlace, url: str, plane: LocalControlPlane) -> None:
    name = await place.escalated(
        "xss-1",
        model={
            "name": HOSTILE,
            "version": HOSTILE,
            "card": "https://evil.example\\.good.example/card",
            "lineage": "https://user:secret@good.example/lineage",
            "owners": [HOSTILE],
        },
        readings=[
            {
                "indicator": "demographic_parity_difference",
                "value": 0.3,
                "evidence": "https://evil.example/\"onclick='alert(1)'",
            }
        ],
    )
    async with impersonated(plane.kubeconfig, HOSTILE, "legal") as hostile:
        for action, more in (("Acknowledge", {}), ("Object", {}), ("Comment", {})):
            await _decide(place, hostile, name, action, **more)
    async with place.browser(url, "ann") as ann, place.browser(url, "max") as max_:

        async def shown() -> Page | None:
            page = await max_.get(place.page(name))
            return page if "Objected" in page.words and "Commented" in page.words else None

        page = await place.until(shown, "the decisions to be on record")
        stale = page.form("Resume").fields | {"head": "1:"}
        pages = [page, await ann.get(place.page(name))]
        pages.append(await max_.send(_with(page, "Resume", stale), rationale=HOSTILE))
        pages.append(await max_.send(_with(page, "AcceptRisk" if "AcceptRisk" in page.offers() else "Comment", {}),
                                     rationale=HOSTILE, until=HOSTILE, role=HOSTILE))  # fmt: skip
        for path in ("/", "/models", "/ladders", "/commitments", "/drills", "/records"):
            pages.append(await ann.get(f"{path}?namespace={place.namespace}"))
        pages.append(await ann.get(f"/records/{place.namespace}/{name}"))
        pages.append(await ann.get("/records", params={"q": HOSTILE}))
        pages.append(await ann.get("/sign-in", params={"to": f"/{HOSTILE}"}))
    assert pages[2].status == 409
    assert HOSTILE in pages[0].words
    assert "https://user:secret@good.example/lineage" in pages[0].words, "as text"
    for shown_page in pages:
        tags = shown_page.tags
        assert [given["src"] for tag, given in tags if tag == "script"] == ["/static/live.js"], shown_page.path
        assert [given["src"] for tag, given in tags if tag == "img"] == ["/static/icon.svg"], shown_page.path
        names = {name for _, given in tags for name in given}
        assert not {name for name in names if name.startswith("on")} | names & {"style", "srcdoc"}
        outside = [given["href"] for tag, given in tags if str(given.get("href")).startswith("https:")]
        assert outside == []


def _with(page: Page, action: str, changes: Mapping[str, str]) -> object:
    form = page.form(action)
    form.fields |= changes
    return form


async def _decide(place: ConsolePlace, client: Client, name: str, action: str, **more: object) -> None:
    spec = {"escalation": name, "action": action, "role": "legal", "rationale": HOSTILE, **more}
    body = {"apiVersion": resources.DECISIONS.api_version, "kind": resources.DECISIONS.kind}
    body |= {"metadata": {"generateName": "hostile-"}, "spec": spec}
    stored = await client.create(resources.DECISIONS, place.namespace, body)

    async def check() -> str:
        found = await place.get(resources.DECISIONS, stored["metadata"]["name"])
        return str(condition(found, "Accepted")["status"])

    assert await place.until(check, f"an answer to {action}") == "True"


# --- What every answer says -------------------------------------------------------------------------------------------


async def test_every_answer_is_protected_and_says_nothing_of_the_server(
    place: ConsolePlace, plane: LocalControlPlane, url: str, target: str
) -> None:
    server = urlsplit(plane.server).netloc
    ours = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    async with place.browser(url, "ann") as ann:
        answers = [
            await ann.ask("GET", "/"),
            await ann.ask("GET", place.page(target)),
            await ann.ask("GET", "/sign-in"),
            await ann.ask("GET", "/nothing"),
            await ann.ask("GET", "/static/live.js"),
            await ann.ask("GET", "/static/console.css"),
            await ann.ask("GET", "/static/icon.svg"),
            await ann.ask("GET", "/static/nothing"),
            await ann.ask("GET", f"/records/{place.namespace}/{target}/export"),
            await ann.ask("POST", "/", headers=ours),
            await ann.ask("POST", place.page(target)),
            await ann.ask("POST", place.page(target), data={"rationale": "x" * MAX_BODY}, headers=ours),
            await ann.ask("GET", "/", headers={"Host": "evil.example"}),
            await ann.ask("GET", "/", headers={"Expect": "something"}),
            await ann.ask("GET", place.page("missing")),
        ]
        async with ann.session.get(f"{url}{place.page(target)}/changes") as stream:
            answers.append(Page(stream.status, "changes", dict(stream.headers), b"", ()))
    async with Browser(url) as stranger:
        answers.append(await stranger.ask("GET", "/"))
        answers.append(await stranger.ask("POST", place.page(target), data={"rationale": "x"}, headers=ours))
    assert {answer.status for answer in answers} >= {200, 303, 403, 404, 405, 413, 417, 421}
    for answer in answers:
        for name, value in security.HEADERS.items():
            assert answer.headers.get(name) == value, (answer.path, answer.status, name)
        assert answer.headers["Server"] == "riskladder"
        assert "Access-Control-Allow-Origin" not in answer.headers
        for word in ("Traceback", "aiohttp", "Python", ".py", "/work", server, "python"):
            assert word not in answer.text, (answer.path, word)
    policy = security.HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_broken_request_is_answered_without_an_echo_and_logged_without_its_words(
    place: ConsolePlace, url: str, running: tuple[ConsoleProcess, str]
) -> None:
    token = place.tokens["ann"]
    for broken in (
        request_of(url, "GET", "/", f"Authorization: Bearer {token}", "bad header\x01: x"),
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\x00\r\n\r\n",
        f"NONSENSE {token}\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ):
        answer = await raw(url, broken)
        assert answer.status == 400
        assert token not in answer.body
        assert answer.headers["Content-Security-Policy"] == security.POLICY
        assert answer.headers["Server"] == "riskladder"
    running[0].wait_for("request not understood")
    assert token not in running[0].log.read_text(errors="replace")


async def test_no_token_is_logged_or_shown(
    place: ConsolePlace, url: str, target: str, running: tuple[ConsoleProcess, str]
) -> None:
    token = place.tokens["ann"]
    async with Browser(url) as browser:
        await browser.ask("GET", "/", headers={"Authorization": f"Bearer {token}"})
        page = await browser.get("/sign-in")
        broken = await browser.send(page.form("/sign-in/token"), credential=f"{token}x")
        assert (broken.status, "does not accept this token" in broken.words) == (403, True)
        for odd in ("", "ä", "a\x00b", "x" * 20_000):
            refused = await browser.send(page.form("/sign-in/token"), credential=odd)
            assert refused.status == 422, odd
        assert token not in broken.text
        await browser.sign_in(token)
        cookie = browser.cookies[browser.cookie("session")]
        for path in ("/", place.page(target), "/nothing"):
            shown = await browser.get(path)
            assert token not in f"{shown.text}{shown.path}{shown.headers}"
            assert cookie not in f"{shown.text}{shown.path}"
        form = (await browser.get(place.page(target))).form("Acknowledge")
        await browser.ask("POST", place.page(target), data=form.fields)
    log = running[0].log.read_text(errors="replace")
    assert "form refused" in log
    for secret in (*place.tokens.values(), cookie, form.fields["token"], token.split(".")[2]):
        assert secret not in log


async def test_one_person_holds_so_many_streams_and_no_more(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "sam") as sam, place.browser(url, "max") as max_:
        path = f"{url}{place.page(target)}/changes"
        streams: list[aiohttp.ClientResponse] = []
        try:
            for _ in range(MOST_STREAMS):
                streams.append(await sam.session.get(path))
                assert streams[-1].status == 200
            more = await sam.ask("GET", f"{place.page(target)}/changes")
            assert (more.status, "Close some." in more.words) == (429, True)
            async with max_.session.get(path) as another:
                assert another.status == 200
        finally:
            for stream in streams:
                stream.close()

        async def is_free() -> bool:
            async with sam.session.get(path) as again:
                return again.status == 200

        await place.until(is_free, "streams of a browser that is gone to end")


async def test_stream_ends_with_its_session(place: ConsolePlace, url: str, target: str) -> None:
    async with place.browser(url, "eve") as eve, eve.session.get(f"{url}{place.page(target)}/changes") as stream:
        await eve.send((await eve.get("/ladders")).form("/sign-out"))
        async with asyncio.timeout(PATIENCE):
            rest = await stream.content.read()
        assert b"event: changed" not in rest
