"""What people live through on the pages of the console: browser, provider, operator and API server are all real."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from riskladder.api.text import plain
from riskladder.cluster import resources
from riskladder.cluster.authority import may_i
from riskladder.cluster.client import Object
from tests.cluster import LocalControlPlane
from tests.console.browser import NewPage, no_violation
from tests.console.issuer import Issuer
from tests.console.office import LADDER, Office, tell, working
from tests.integration.conftest import needs_local
from tests.integration.people import ROLES
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

PHONE, TABLET, DESK = (
    {"width": 360, "height": 740},
    {"width": 768, "height": 1024},
    {"width": 1440, "height": 900},
)
expect.set_options(timeout=PATIENCE * 1000)
SIGN_INS, DECISIONS_SENT = "riskladder_console_sign_ins_total", "riskladder_console_decisions_total"
ANSWERS = ("counted", "stale")

KEPT = "What you had typed is kept"


@pytest.fixture(scope="module")
async def office(
    chromium: Browser, issuer: Issuer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Office]:
    """One operator, one console and one control plane for all stories; each has a model of its own."""
    del chromium  # without a browser nothing is started
    needs_local(request.config)
    with LocalControlPlane(trusted=[issuer.authenticator()]) as plane:
        async with working(plane, issuer, tmp_path_factory.mktemp("office")) as found:
            yield found


@pytest.fixture(scope="module")
async def told(office: Office) -> dict[str, Object]:
    """An escalation in each of the states that a page can show."""
    return await tell(office)


Desk = Callable[..., "Awaitable[Page]"]


@pytest.fixture
def desk(new_page: NewPage, office: Office) -> Desk:
    """Opens a page as somebody who signs in for it."""

    async def sit_down(who: str, url: str = "", **options: Any) -> Page:
        page = await new_page(**options)
        await page.goto(url or office.url)
        await sign_in(page, who)
        await page.wait_for_url(url or f"{office.url}/")
        return page

    return sit_down


async def sign_in(page: Page, who: str) -> None:
    """On the page to sign in, and at the provider."""
    await page.get_by_role("link", name="Sign in with your organisation").click()
    await page.get_by_role("button", name=who, exact=True).click()


def option(page: Page, title: str) -> Locator:
    return page.locator("details.opt").filter(has=page.get_by_text(title, exact=True))


async def fill_in(page: Page, title: str, why: str) -> Locator:
    """Open what can be done, and type why; the button that sends it."""
    found = option(page, title)
    await found.locator("summary").click()
    await found.locator("textarea[name=rationale]").fill(why)
    return found.get_by_role("button")


async def fits(page: Page) -> None:
    """Fail where a page has to be scrolled sideways."""
    wide = await page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.skip')).map(e => e.tagName + '.' + e.className)"
    )
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), wide


async def decisions(office: Office, escalation: Object) -> list[Object]:
    found = await office.place.client.list(resources.DECISIONS, office.namespace)
    return [d for d in found if d["spec"]["escalation"] == escalation["metadata"]["name"]]


# --- Deciding ---------------------------------------------------------------------------------------------------------


async def test_counsel_decides_on_her_phone_from_the_link_of_a_message(office: Office, new_page: NewPage) -> None:
    escalation = await office.contained("phone")
    name = escalation["metadata"]["name"]

    async def link() -> str | None:
        sent = (m for m in office.place.messages() if m.role == "legal" and m.data["escalation"] == name)
        found = (re.search(rf"https://[^\s\"\\]+/escalations/{office.namespace}/{name}", m.body.decode()) for m in sent)
        return next((match[0] for match in found if match), None)

    url = await office.place.until(link, "a message to legal with a link")
    page = await new_page(viewport=PHONE)
    await page.goto(url)
    assert page.url.startswith(f"{office.url}/sign-in?to=")
    await fits(page)
    before = await office.counted(SIGN_INS, way="openid", result="accepted")
    await sign_in(page, "ann")
    await page.wait_for_url(url)
    assert await office.counted(SIGN_INS, way="openid", result="accepted") == before + 1

    await expect(page.get_by_role("heading", level=1)).to_have_text(
        "phone is stopped. Legal and security are asked to acknowledge."
    )
    await expect(page.locator("[data-live=happened]")).to_contain_text("demographic_parity_difference 0.24")
    await expect(page.locator("[data-live=happened]")).to_contain_text("scaled to zero")
    due = page.locator("[data-live=deadline]")
    await expect(due.get_by_role("heading")).to_have_text("Acknowledge by")
    await expect(due.locator("[data-due]")).to_have_text(re.compile(r"^in \d+ (min|s)$"))
    await expect(due).to_contain_text("If nobody does: the model stays contained, and model-risk is notified.")
    await fits(page)

    button = await fill_in(page, "Resume the model", "Nobody was harmed: the gap is one of the sample.")
    await expect(option(page, "Resume the model")).to_contain_text("model-risk")
    await fits(page)
    await button.click()
    await expect(page.locator(".notice.ok")).to_contain_text("Accepted")
    await expect(page.locator("[data-live=people]")).to_contain_text("oidc:ann@example.org: Resume")

    ann = office.issuer.person("ann")
    [decision] = await decisions(office, escalation)
    by = decision["spec"]["decidedBy"]
    assert (by["username"], by["credentialID"]) == (ann.username, ann.credential)
    assert set(ann.kubernetes_groups) < set(by["groups"])
    on_record = str(await office.place.verified((await office.place.escalations("phone"))[0]))
    for what in (ann.username, *ann.kubernetes_groups, ann.credential, "the gap is one of the sample"):
        assert what in on_record


async def test_owner_of_the_model_is_told_why_she_has_no_say(office: Office, desk: Desk) -> None:
    page = await desk("olga", office.page_of(await office.contained("owned")))
    await expect(page.locator("#options")).to_contain_text(
        "You own owned: others decide whether its risk is accepted, and whether it is resumed or closed."
    )
    await expect(option(page, "Acknowledge")).to_have_count(1)
    await expect(option(page, "Resume the model")).to_have_count(0)
    await expect(page.locator("#options")).to_contain_text("What others can do")


async def test_second_page_follows_and_a_form_gone_stale_is_shown_again(office: Office, desk: Desk) -> None:
    escalation = await office.contained("together")
    ann, max_ = [await desk(who, office.page_of(escalation)) for who in ("ann", "max")]
    why = "The threshold was wrong, and two of us have looked."
    late = await fill_in(max_, "Resume the model", why)

    async def followed() -> bool:
        return await office.counted("riskladder_console_streams") >= 2

    await office.place.until(followed, "both pages to follow")
    before = {answer: await office.counted(DECISIONS_SENT, action="Resume", answer=answer) for answer in ANSWERS}
    await (await fill_in(ann, "Resume the model", "Counsel agrees.")).click()
    await expect(ann.locator(".notice.ok")).to_be_visible()

    # It follows by itself, and keeps what is typed.
    await expect(max_.locator("[data-live=people]")).to_contain_text("oidc:ann@example.org: Resume")
    await expect(max_.locator("[data-live=timeline]")).to_contain_text("Counsel agrees.")
    typed = option(max_, "Resume the model").locator("textarea[name=rationale]")
    await expect(typed).to_have_value(why)

    # What was opened before is not sent.
    await late.click()
    notice = max_.get_by_role("alert")
    await expect(notice).to_contain_text("Nothing was sent: something has happened since you opened the page.")
    await expect(notice).to_contain_text("oidc:ann@example.org as legal: Resume")
    await expect(typed).to_have_value(why)
    assert len(await decisions(office, escalation)) == 1

    await option(max_, "Resume the model").get_by_role("button").click()
    await expect(max_.locator(".notice.ok")).to_be_visible()
    await expect(ann.get_by_role("heading", level=1)).to_contain_text("together is resumed")

    async def back() -> bool:
        return bool((await office.place.deployment("together"))["spec"]["replicas"] == 2)

    await office.place.until(back, "the replicas to be back")
    after = {answer: await office.counted(DECISIONS_SENT, action="Resume", answer=answer) for answer in ANSWERS}
    assert after == {"counted": before["counted"] + 2, "stale": before["stale"] + 1}


async def test_two_who_decide_at_the_same_moment_are_both_heard(office: Office, desk: Desk) -> None:
    escalation = await office.contained("moment")
    pages = [await desk(who, office.page_of(escalation)) for who in ("ann", "max")]
    buttons = [await fill_in(page, "Object", f"Objection {number}.") for number, page in enumerate(pages)]
    await asyncio.gather(*(button.click() for button in buttons))
    for page in pages:  # the one who was second is asked again, or was in time as well
        await expect(page.locator(".notice")).to_be_visible()
        if await page.get_by_role("alert").count():
            await option(page, "Object").get_by_role("button").click()
        await expect(page.locator(".notice.ok")).to_be_visible()
    assert len(await decisions(office, escalation)) == 2


async def test_refusal_of_the_api_server_is_said_in_its_own_words(office: Office, desk: Desk) -> None:
    escalation = await office.contained("refused")
    page = await desk("ann", office.page_of(escalation))
    button = await fill_in(page, "Resume the model", "I may no longer do this.")
    role = await office.place.get(ROLES, "stakeholder-legal")
    fewer = [rule | {"verbs": [v for v in rule["verbs"] if v != "resume"]} for rule in role["rules"]]
    await grant(office, fewer, resume=False)
    try:
        before = await office.counted(DECISIONS_SENT, action="Resume", answer="forbidden")
        await button.click()
        notice = page.get_by_role("alert")
        await expect(notice).to_contain_text("Nothing was decided: ")
        assert await office.counted(DECISIONS_SENT, action="Resume", answer="forbidden") == before + 1
        await expect(notice).to_contain_text('oidc:ann@example.org may not resume as "legal" in namespace credit')
        await expect(page.locator("#options")).to_contain_text("I may no longer do this.")
        assert await decisions(office, escalation) == []
    finally:
        await grant(office, role["rules"], resume=True)


async def grant(office: Office, rules: list[Object], *, resume: bool) -> None:
    """Change what counsel may do, and wait until the API server has heard of it."""
    place = office.place
    await place.client.merge_patch(ROLES, place.namespace, "stakeholder-legal", {"rules": rules})

    async def heard() -> bool:
        return bool(await may_i(place.people["ann"], place.namespace, ["resume"], ["legal"])) is resume

    await place.until(heard, "the permissions of counsel to change")


# --- Sessions ---------------------------------------------------------------------------------------------------------


async def test_what_is_typed_outlives_the_session(office: Office, desk: Desk) -> None:
    escalation = await office.contained("session")
    page = await desk("ann", office.page_of(escalation))
    why = "Two pages of reasons,\nwhich nobody wants to type again: <b>§ 5</b> & “more”."
    button = await fill_in(page, "Object", why)
    await office.restart()
    await button.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(page.locator("main")).to_contain_text(KEPT)
    await sign_in(page, "ann")
    await page.wait_for_url(office.page_of(escalation))
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was sent.")
    found = option(page, "Object")
    await expect(found.locator("textarea[name=rationale]")).to_be_visible()
    await expect(found.locator("textarea[name=rationale]")).to_have_value(why)
    assert await decisions(office, escalation) == []
    await found.get_by_role("button").click()
    await expect(page.locator(".notice.ok")).to_be_visible()
    [decision] = await decisions(office, escalation)
    assert decision["spec"]["rationale"].replace("\r\n", "\n") == why


async def test_sign_out_ends_the_session_for_every_copy_of_its_cookie(office: Office, desk: Desk) -> None:
    page = await desk("eve")
    kept = [cookie for cookie in await page.context.cookies() if cookie["name"].endswith("-session")]
    assert len(kept) == 1
    await page.get_by_text("Eve Marchetti").click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("status")).to_contain_text("You are signed out here.")
    await page.context.add_cookies(kept)  # type: ignore[arg-type]
    await page.goto(f"{office.url}/records")
    assert page.url.startswith(f"{office.url}/sign-in?to=")


async def test_all_of_it_works_without_scripts(office: Office, desk: Desk) -> None:
    escalation = await office.contained("plain")
    page = await desk("ann", java_script_enabled=False, viewport=PHONE)
    await page.get_by_role("link", name="plain is stopped").click()
    await expect(page.locator("[data-live=deadline]")).to_contain_text(re.compile(r"in \d+ min"))
    await (await fill_in(page, "Acknowledge", "Counsel is on it.")).click()
    await expect(page.locator(".notice.ok")).to_contain_text("Accepted")
    [decision] = await decisions(office, escalation)
    assert decision["spec"]["action"] == "Acknowledge"
    await page.get_by_text("Ann Keller").click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("status")).to_contain_text("You are signed out here.")


# --- Text of others, and people without rights ------------------------------------------------------------------------

HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> "
    "</textarea></q></li></ol></main><h1 id=forged>Approved</h1><!-- ]]> "
    "\u202edetcejer\u202c \u2067\u05e9\u05dc\u05d5\u05dd "
).ljust(4096, "W")
"""A script, markup, text from right to left, and a word without an end."""


async def test_hostile_rationale_breaks_nothing(office: Office, desk: Desk) -> None:
    escalation = await office.contained("hostile")
    page = await desk("ann", office.page_of(escalation), viewport=PHONE)
    await (await fill_in(page, "Acknowledge", HOSTILE)).click()
    await expect(page.locator(".notice.ok")).to_be_visible()
    for url in (page.url, f"{office.url}/records/{office.namespace}/{escalation['metadata']['name']}"):
        await page.goto(url)
        for part in plain(HOSTILE).split(maxsplit=5):
            await expect(page.locator("main")).to_contain_text(part[:20])
        assert "taken" not in await page.title()
        assert await page.locator("#forged, main script, main img").count() == 0
        assert "\u202e" not in await page.locator("main").inner_text()
        await fits(page)
        await no_violation(page)


async def test_somebody_without_rights_sees_nothing_of_others(
    office: Office, desk: Desk, told: dict[str, Object]
) -> None:
    page = await desk("nobody", viewport=PHONE)
    models = {obj["spec"]["target"]["name"] for obj in told.values()} | {LADDER}
    await expect(page.locator("main")).to_contain_text("You may not list escalations in all namespaces.")
    for path in ("/", "/models", "/ladders", "/commitments", "/drills", "/records"):
        await page.goto(office.url + path)
        text = await page.locator("body").inner_text()
        assert not [name for name in models if name in text], path
        await fits(page)
    name = told["contained"]["metadata"]["name"]
    for kind in ("escalations", "records"):
        answer = await page.goto(f"{office.url}/{kind}/{office.namespace}/{name}")
        assert answer is not None
        assert answer.status == 403
        await expect(page.get_by_role("alert")).to_have_text(
            re.compile(
                r'The cluster does not allow it: User "oidc:nobody@example.org" cannot get resource "escalations"'
            )
        )
        assert "credit-scorer" not in await page.locator("main").inner_text()
    await no_violation(page)


# --- For everybody's eyes and hands -----------------------------------------------------------------------------------

PAGES = {
    "waiting": "/",
    **{
        f"escalation {state}": f"/escalations/{{namespace}}/{{{state}}}"
        for state in ("contained", "moderate", "accepted", "closed", "drill", "suspended")
    },
    "models": "/models",
    "ladders": "/ladders",
    "ladder": f"/ladders/{{namespace}}/{LADDER}",
    "commitments": "/commitments",
    "drills": "/drills",
    "records": "/records",
    "record": "/records/{namespace}/{contained}",
    "sign-in": "/sign-in",
    "error": "/escalations/{namespace}/none",
}


@pytest.fixture(scope="module")
async def counsel(chromium: Browser, office: Office) -> AsyncIterator[Page]:
    """A page of counsel, who has signed in."""
    async with await chromium.new_context(locale="en-GB", timezone_id="UTC") as context:
        page = await context.new_page()
        await page.goto(office.url)
        await sign_in(page, "ann")
        await page.wait_for_url(f"{office.url}/")
        yield page


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
async def test_page_shuts_nobody_out(office: Office, told: dict[str, Object], counsel: Page, path: str) -> None:
    names = {state: obj["metadata"]["name"] for state, obj in told.items()}
    await counsel.emulate_media(color_scheme="light")
    await counsel.goto(office.url + path.format(namespace=office.namespace, **names))
    await counsel.evaluate("document.querySelectorAll('details').forEach(d => { d.open = !d.closest('header') })")
    for size in (PHONE, TABLET, DESK):
        await counsel.set_viewport_size(size)  # type: ignore[arg-type]
        await fits(counsel)
        if size is not TABLET:  # what is on the page there, the others have, too
            await no_violation(counsel)
    await counsel.emulate_media(color_scheme="dark")
    await no_violation(counsel, "color-contrast")  # the dark scheme changes nothing but colours


async def test_keyboard_reaches_everything_and_shows_where_it_is(
    office: Office, told: dict[str, Object], desk: Desk
) -> None:
    page = await desk("ann", office.page_of(told["contained"]))
    focused = page.locator(":focus")
    await page.keyboard.press("Tab")
    await expect(focused).to_have_text("Go to the content")
    await expect(focused).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await focused.evaluate("e => e.closest('main') !== null")
    seen = []
    while "Acknowledge" not in (text := await focused.inner_text()):
        seen.append(text)
        assert len(seen) < 20, seen
        assert await focused.evaluate(
            "e => getComputedStyle(e).outlineStyle + parseInt(getComputedStyle(e).outlineWidth)"
        )
        await page.keyboard.press("Tab")
    assert await focused.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    await page.keyboard.press("Enter")
    area = option(page, "Acknowledge").locator("textarea")
    await expect(area).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(area).to_be_focused()
    await page.keyboard.type("By keyboard alone.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".notice.ok")).to_be_visible()


async def test_nothing_moves_for_those_who_ask_for_that(office: Office, told: dict[str, Object], desk: Desk) -> None:
    page = await desk("ann", office.page_of(told["contained"]))
    moving = """[...document.querySelectorAll('*')]
        .flatMap(e => ['', '::before', '::after'].map(p => getComputedStyle(e, p)))
        .filter(s => parseFloat(s.transitionDuration) > 0 || s.animationName !== 'none').length"""
    assert await page.evaluate(moving) > 0
    await page.emulate_media(reduced_motion="reduce")
    assert await page.evaluate(moving) == 0
