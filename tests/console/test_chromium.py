"""The pages in a real browser, with its scripts: forms come from here, nothing breaks the policy, pages follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.console.place import ConsolePlace

if TYPE_CHECKING:
    from playwright.async_api import Page


async def test_counsel_signs_in_and_decides_in_a_real_browser(place: ConsolePlace, url: str, page: Page) -> None:
    name = await place.escalated("chromium-1")
    await place.settled(name)
    await page.goto(url + place.page(name))
    assert page.url.startswith(f"{url}/sign-in")
    await page.fill("#credential", place.tokens["ann"])
    await page.click('form[action="/sign-in/token"] button')
    await page.wait_for_url(url + place.page(name))
    option = page.locator("details.opt", has=page.locator("input[name=action][value=Acknowledge]"))
    if await option.get_attribute("open") is None:
        await option.locator("summary").click()
    await option.locator("textarea").fill("in a browser")
    await option.locator("button").click()
    await page.get_by_text("Accepted: ").wait_for()
    async with place.browser(url, "max") as max_:
        await max_.decide(await max_.get(place.page(name)), "Comment", "seen by the other page")
    await page.locator("[data-live=timeline] .steps li", has_text="seen by the other page").wait_for()
    await page.click("details.who summary")
    await page.click('form[action="/sign-out"] button')
    await page.get_by_text("You are signed out here.").wait_for()
    assert await place.decided(name) == ["Acknowledge True", "Comment True"]
