"""`make screenshots`: every page of the console at three widths, light and dark, of real data, into build/screenshots.

A few of them are pictures of the documentation, and are written there, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import ClusterError, LocalControlPlane
from tests.cluster.build import print_progress
from tests.cluster.ending import end_with_make
from tests.console.browser import trust, why_no_browser
from tests.console.issuer import WebAuthority, running
from tests.console.office import LADDER, Office, tell, working
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).parents[2]
BUILD, DOCS = ROOT / "build" / "screenshots", ROOT / "docs" / "images"
WIDTHS = {360: 740, 768: 1024, 1440: 820}
"""Of a phone, a tablet and a desk, each with its height."""

SCHEMES = ("light", "dark")
NAMESPACE = "credit"
PICTURES = {
    "escalation-1440-light": "console-escalation",
    "escalation-360-light": "console-escalation-phone",
    "waiting-1440-dark": "console-waiting",
    "ladder-1440-light": "console-ladder",
}
"""What the documentation shows: by the name of the screenshot, that of the picture."""


async def main() -> None:
    """Build, sign in as counsel, and take them all."""
    with tempfile.TemporaryDirectory(prefix="riskladder-screenshots-") as text:
        directory = Path(text)
        authority = WebAuthority(directory)
        with (
            running(authority) as issuer,
            LocalControlPlane(trusted=[issuer.authenticator()], progress=print_progress) as plane,
        ):
            print_progress("building what the pages show")
            async with working(plane, issuer, directory, NAMESPACE, "Production") as office:
                escalations = await tell(office)
                names = {key: obj["metadata"]["name"] for key, obj in escalations.items()}
                await take_all(office, names, authority, directory)


def pages(names: dict[str, str]) -> dict[str, str]:
    """The path of each page, by its name."""
    return {
        "waiting": "/",
        "escalation": f"/escalations/{NAMESPACE}/{names['contained']}",
        **{
            f"escalation-{key}": f"/escalations/{NAMESPACE}/{name}" for key, name in names.items() if key != "contained"
        },
        "models": "/models",
        "ladders": "/ladders",
        "ladder": f"/ladders/{NAMESPACE}/{LADDER}",
        "commitments": "/commitments",
        "drills": "/drills",
        "records": "/records",
        "record": f"/records/{NAMESPACE}/{names['contained']}",
        "error": f"/escalations/{NAMESPACE}/none",
    }


async def take_all(office: Office, names: dict[str, str], authority: WebAuthority, directory: Path) -> None:
    """Open a browser, and take every page."""
    from playwright.async_api import async_playwright

    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    DOCS.mkdir(exist_ok=True)
    trust(directory, authority.ca)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
            env={**kept, "HOME": str(directory)},
        )
        for scheme in SCHEMES:
            await take(browser, office, pages(names), scheme)
        await browser.close()
    for source, name in PICTURES.items():
        shutil.copy(BUILD / f"{source}.png", DOCS / f"{name}.png")
    print_progress(f"{len(list(BUILD.glob('*.png')))} screenshots in {BUILD.relative_to(ROOT)}")


async def take(browser: Browser, office: Office, found: dict[str, str], scheme: str) -> None:
    """Take every page in one colour scheme."""
    context = await browser.new_context(locale="en-GB", timezone_id="UTC", color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.goto(office.url)
    await shoot(page, f"sign-in-{{}}-{scheme}")
    await page.get_by_role("link", name="Sign in with your organisation").click()
    await page.get_by_role("button", name="ann", exact=True).click()
    await page.wait_for_url(f"{office.url}/")
    for name, path in found.items():
        await page.goto(office.url + path)
        await shoot(page, f"{name}-{{}}-{scheme}")
        if name == "escalation":
            await page.locator("details.opt summary").first.click()
            await shoot(page, f"{name}-form-{{}}-{scheme}")
    await context.close()


async def shoot(page: Page, name: str) -> None:
    """Take a page at every width; a picture of the documentation only as high as a screen."""
    for width, height in WIDTHS.items():
        await page.set_viewport_size({"width": width, "height": height})
        own = name.format(width)
        await page.screenshot(path=BUILD / f"{own}.png", full_page=own not in PICTURES, animations="disabled")


if __name__ == "__main__":
    if why := why_no_browser():
        sys.exit(f"error: {why}")
    end_with_make()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        asyncio.run(main())
    except ClusterError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
