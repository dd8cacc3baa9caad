"""The browser itself: it trusts the authority of the tests, runs scripts, and finds what is wrong with a page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.cluster import host
from tests.console.browser import NewPage, no_violation, watch, why_no_browser
from tests.console.issuer import Issuer, WebAuthority

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

GOOD = """<!doctype html>
<html lang="en"><head><title>Models</title></head><body>
<main><h1>Models</h1><p id="said">Nothing yet</p></main>
<script>document.getElementById("said").textContent = "Said by a script"</script>
</body></html>"""
STRICT = "default-src 'none'; script-src 'nonce-c2FpZA=='; base-uri 'none'; form-action 'self'"
BAD = "<!doctype html><title>Models</title><main><h1>Models</h1><img src='/none.png'></main>"


@pytest.fixture(scope="module")
async def site(web_authority: WebAuthority) -> AsyncIterator[str]:
    """A server of pages, over TLS."""

    def page(text: str, **headers: str) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def good(_: web.Request) -> web.Response:
        return page(GOOD.replace("<script>", "<script nonce='c2FpZA=='>"), **{"Content-Security-Policy": STRICT})

    async def forbidden(_: web.Request) -> web.Response:
        return page(GOOD, **{"Content-Security-Policy": STRICT})

    async def broken(_: web.Request) -> web.Response:
        return page(GOOD.replace("said", "none", 1))

    async def bad(_: web.Request) -> web.Response:
        return page(BAD)

    async def cookie(request: web.Request) -> web.Response:
        answer = web.Response(text=request.cookies.get("who", "nobody"))
        answer.set_cookie("who", "somebody", secure=True)
        return answer

    app = web.Application()
    app.router.add_get("/good", good)
    app.router.add_get("/forbidden", forbidden)
    app.router.add_get("/broken", broken)
    app.router.add_get("/bad", bad)
    app.router.add_get("/cookie", cookie)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=web_authority.server_context("site")).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_page_over_tls_runs_its_script_and_shuts_nobody_out(page: Page, site: str) -> None:
    await page.goto(f"{site}/good")
    assert await page.inner_text("#said") == "Said by a script"
    await no_violation(page)


async def test_what_shuts_people_out_is_named(page: Page, site: str) -> None:
    await page.goto(f"{site}/bad")
    with pytest.raises(AssertionError, match=r"(?s)/bad.*html-has-lang.*image-alt"):
        await no_violation(page)


@pytest.mark.parametrize(("path", "said"), [("forbidden", "Content Security Policy"), ("broken", "null")])
async def test_what_goes_wrong_in_the_browser_is_noted(chromium: Browser, site: str, path: str, said: str) -> None:
    errors: list[str] = []
    async with await chromium.new_context() as context:
        page = await context.new_page()
        watch(page, errors)
        await page.goto(f"{site}/{path}")
        assert await page.inner_text("main p") == "Nothing yet"
    assert said in "\n".join(errors)
    assert len(errors) == 1


async def test_certificate_of_another_authority_is_not_trusted(page: Page, tmp_path: Path) -> None:
    async def nothing(_: web.Request) -> web.Response:
        raise AssertionError("never asked")

    app = web.Application()
    app.router.add_get("/", nothing)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=WebAuthority(tmp_path).server_context("other")).start()
    try:
        with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
            await page.goto(f"https://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()


async def test_each_page_is_another_persons(new_page: NewPage, site: str) -> None:
    for page in (await new_page(), await new_page()):
        await page.goto(f"{site}/cookie")
        assert await page.inner_text("body") == "nobody"
        await page.reload()
        assert await page.inner_text("body") == "somebody"


async def test_provider_signs_in_by_its_form(page: Page, issuer: Issuer) -> None:
    back = "https://127.0.0.1:1/back"
    url = f"{issuer.url}/oauth2/authorize?response_type=code&client_id={issuer.client_id}&scope=openid&nonce=n&state=s"
    async with page.expect_request(f"{back}?**") as asked:
        await page.goto(f"{url}&redirect_uri={back}")
        await page.get_by_role("button", name="liam").click(no_wait_after=True)
    assert "state=s" in (await asked.value).url


def test_browser_that_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert host.INSTALL in why_no_browser()
    assert "chromium" in why_no_browser()
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    assert why_no_browser() == f"needs Chromium, and there is no program {tmp_path}/none (CHROMIUM)"
