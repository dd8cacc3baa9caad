"""Real Chromium on pages of this machine, and axe to say whom such a page shuts out.

It is Debian's, or the program that $CHROMIUM names: playwright drives it and brings none of its own. It trusts the
authority of the tests through an NSS database in a home of its own, as it would a company's, and ignores no error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.host import BROWSER, INSTALL, missing_packages
from tests.console.issuer import WebAuthority
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""What axe looks for, by its tags."""

NewPage = Callable[..., "Awaitable[Page]"]
"""Opens a page; takes what a context does, such as ``java_script_enabled``."""


def why_no_browser() -> str:
    """Return why there is no browser to test with, as one sentence with the remedy, or "" if there is one."""
    own = os.environ.get("CHROMIUM")
    if own and not shutil.which(own):
        return f"needs Chromium, and there is no program {own} (CHROMIUM)"
    needed = {package: parts for package, parts in BROWSER.items() if not (own and package == "chromium")}
    if missing := missing_packages(needed):
        return f"needs Chromium, and a way to tell it whom to trust: {INSTALL} {' '.join(missing)}"
    return ""


def trust(home: Path, ca: Path) -> None:
    """Make a browser with that home trust an authority, as the certificates of a company are installed."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    for command in (["-N", "--empty-password"], ["-A", "-n", "riskladder-test-web-ca", "-t", "C,,", "-i", str(ca)]):
        subprocess.run([*certutil, *command], check=True, capture_output=True)


@pytest.fixture(scope="session")
async def chromium(web_authority: WebAuthority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """The browser of the session. Each test worker has its own."""
    if why := why_no_browser():
        pytest.skip(why)
    from playwright.async_api import async_playwright

    home = tmp_path_factory.mktemp("browser-home")
    trust(home, web_authority.ca)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            headless=True,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],  # Chromium has none for root.
            env={**kept, "HOME": str(home)},
        )
        yield browser
        await browser.close()


def watch(page: Page, errors: list[str]) -> None:
    """Note what goes wrong on a page from now on."""
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)


@pytest.fixture
async def new_page(chromium: Browser) -> AsyncIterator[NewPage]:
    """Opens pages, each in a context of its own: another person, with other cookies. They close with the test.

    The test fails in the end if something on a page went wrong in the browser: an error in a script, or what the page's
    own Content-Security-Policy forbids.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    async def open_page(**options: Any) -> Page:
        context = await chromium.new_context(locale="en-GB", timezone_id="UTC", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        page = await context.new_page()
        watch(page, errors)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert errors == []


@pytest.fixture
async def page(new_page: NewPage) -> Page:
    """A page in a context of its own."""
    return await new_page()


async def no_violation(page: Page, *rules: str) -> None:
    """Fail where axe finds that a page breaks WCAG 2.2 (A, AA) or good practice, and say what and where.

    With rules, by their ids: where it breaks one of these.
    """
    from axe_playwright_python.async_playwright import Axe

    results = await Axe().run(page, options={"runOnly": list(rules) or RULES, "resultTypes": ["violations"]})
    assert results.violations_count == 0, f"{page.url}\n{results.generate_report()}"
