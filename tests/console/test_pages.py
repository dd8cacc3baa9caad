"""People see and decide on the pages of a real console: real control plane, real operator, real credentials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from riskladder.cli.main import app
from riskladder.cluster import resources
from riskladder.cluster.authority import may_i, my_roles
from riskladder.cluster.client import Client, NotFound
from riskladder.cluster.connection import Access, connect
from riskladder.console.pages.decide import _is_stored
from riskladder.console.server import Problem
from riskladder.console.sessions import Credential
from riskladder.console.visitor import client_of, visitor_of
from tests import people
from tests.cluster import LocalControlPlane
from tests.cluster.components import API_SERVER
from tests.console.place import PEOPLE, ConsolePlace, ConsoleProcess, console, local_link
from tests.console.scriptless import Browser, Page, exported
from tests.integration.operator_process import OperatorProcess
from tests.integration.people import impersonated
from tests.integration.world import TestNamespace
from tests.node import report
from tests.patience import PATIENCE

OPERATOR = ("system:serviceaccount:riskladder-system:riskladder", "system:masters")
RATIONALE = "Complaints of customers\nare answered <b>now</b> & in full"


# --- Deciding ---------------------------------------------------------------------------------------------------------


async def test_counsel_signs_in_reads_and_decides_under_her_own_name(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("read-1")
    await place.settled(name)
    async with place.browser(url) as browser:
        asked = await browser.get(place.page(name))
        assert asked.path.startswith("/sign-in?to=")
        page = await browser.send(asked.form("/sign-in/token"), credential=f" {place.tokens['ann']}\n")
        assert page.path == place.page(name)
        assert "read-1 is stopped. Legal is asked to acknowledge." in page.words
        assert "unbroken" in page.words
        assert page.offers() >= {"Acknowledge", "Resume", "AcceptRisk", "Object"}
        done = await browser.decide(page, "Acknowledge", RATIONALE)
        assert done.path.startswith(f"{place.page(name)}?decision=")
        assert "Accepted: " in done.words
    [decision] = await place.decisions(name)
    by = decision["spec"]["decidedBy"]
    assert by["username"] == place.username("ann")
    assert f"system:serviceaccounts:{place.namespace}" in by["groups"]
    assert by["credentialID"].startswith("JTI=")
    assert decision["spec"]["rationale"] == RATIONALE
    assert decision["spec"]["role"] == "legal"
    assert {m["manager"] for m in decision["metadata"]["managedFields"]} >= {"riskladder-console"}


async def test_first_page_has_what_waits_for_the_visitor_apart_from_what_waits_for_others(
    place: ConsolePlace, url: str
) -> None:
    name = await place.escalated("wait-1")
    where = f"/?namespace={place.namespace}"
    async with place.browser(url, "ann") as ann, place.browser(url, "sam") as sam:
        hers, his = await ann.get(where), await sam.get(where)
    for page, before in ((hers, True), (his, False)):
        mine, _, others = page.text.partition("<h2>Waiting for others</h2>")
        assert (place.page(name) in mine, place.page(name) in others) == (before, not before)


async def test_owner_of_the_model_sees_why_he_cannot(place: ConsolePlace, url: str) -> None:
    owned = {"name": "credit", "owners": [place.username("olga")]}
    name = await place.escalated("owned-1", model=owned)
    async with place.browser(url, "olga") as olga, place.browser(url, "max") as max_:
        hers, his = await place.opened(olga, name), await place.opened(max_, name)
        assert "Resume" in his.offers()
        assert "Resume" not in hers.offers()
        assert "others decide whether its risk is accepted, and whether it is resumed or closed." in hers.words
        assert "You own the model" not in his.words
        forged = await max_.get(place.page(name))
        form = forged.form("Resume")
        form.fields["token"] = hers.forms[1].fields["token"]
        refused = await olga.answered(await olga.send(form, rationale="let me"))
        assert "owner" in refused.words
    assert await place.decided(name) == ["Resume False"]


async def test_two_people_decide_at_once(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("both-1")
    async with place.browser(url, "ann") as ann, place.browser(url, "max") as max_:
        pages = await place.opened(ann, name), await place.opened(max_, name)
        answers = await asyncio.gather(
            ann.decide(pages[0], "Resume", "of ann"), max_.decide(pages[1], "Resume", "of max")
        )
        for browser, page, words in zip((ann, max_), answers, ("of ann", "of max"), strict=True):
            if page.status == 409:  # the other was on record first
                assert words in page.text
                again = await browser.answered(await browser.send(page.form("Resume")))
                assert again.status == 200, again.words
    assert await place.decided(name) == ["Resume True", "Resume True"]
    await place.escalation_says("both-1", "Contained", "False")


async def test_stale_form_is_shown_again_with_what_changed(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("stale-1")
    async with place.browser(url, "ann") as ann, place.browser(url, "eve") as eve:
        page = await place.opened(ann, name)
        objected = await eve.decide(await eve.get(place.page(name)), "Object", "not before Monday")
        assert "Accepted: " in objected.words
        refused = await ann.decide(page, "Resume", RATIONALE)
        assert refused.status == 409
        assert "Nothing was sent: something has happened since you opened the page." in refused.words
        assert "Objected" in refused.words.partition("What you typed is still here.")[2][:80]
        kept = refused.form("Resume")
        assert kept.fields["rationale"] == RATIONALE
        assert await place.decided(name) == ["Object True"]
        now = await ann.answered(await ann.send(kept))
        assert now.status == 200
        assert "refused while" in now.words or "objection" in now.words
        stop = await ann.decide(page, "Comment", "a comment is never stale")
        assert "Accepted: " in stop.words


async def test_what_the_admission_policy_refuses_is_said_in_its_words(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("policy-1")
    async with place.browser(url, "ann") as ann:
        page = await place.opened(ann, name)
        refused = await ann.decide(page, "Acknowledge", RATIONALE, role="security")
        assert refused.status == 403
        said = f'Nothing was decided: {place.username("ann")} may not acknowledge as "security" in namespace'
        assert said in refused.words
        assert "ValidatingAdmissionPolicy" not in refused.words
        assert refused.form("Acknowledge").fields["rationale"] == RATIONALE
        unfit = await ann.decide(page, "AcceptRisk", RATIONALE, until="soon")
        assert (unfit.status, unfit.form("AcceptRisk").fields["rationale"]) == (422, RATIONALE)
        assert unfit.form("AcceptRisk").fields["until"] == "soon"
    assert await place.decisions(name) == []


async def test_what_was_typed_when_the_session_ended_is_kept_and_not_sent(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("ended-1")
    async with place.browser(url, "ann") as ann:
        page = await place.opened(ann, name)
        async with place.browser(url) as attacker:
            old = ann.cookies[ann.cookie("session")]
            attacker.session.cookie_jar.update_cookies({attacker.cookie("session"): old})
            gone = await attacker.get("/")
            await attacker.send(gone.form("/sign-out"))
        asked = await ann.decide(page, "Acknowledge", RATIONALE)
        assert asked.path.startswith("/sign-in?to=")
        assert "What you had typed is kept" in asked.words
        assert ann.cookie("session") not in ann.cookies
        assert RATIONALE not in asked.text
        head = await ann.ask("HEAD", place.page(name))
        assert head.status == 303
        back = await ann.send(asked.form("/sign-in/token"), credential=place.tokens["ann"])
        assert back.path == place.page(name)
        assert "What you had typed before you signed in is still here. Nothing was sent." in back.words
        assert back.form("Acknowledge").fields["rationale"] == RATIONALE
        assert await place.decisions(name) == []
        assert "Accepted: " in (await ann.answered(await ann.send(back.form("Acknowledge")))).words
        assert ann.cookie("draft") not in ann.cookies


async def test_token_that_ended_meanwhile_is_as_a_session_that_ended(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("token-1")
    await place.account("tom", "stakeholders-read", "stakeholder-legal")
    async with place.browser(url, "tom") as tom:

        async def may_act() -> Page | None:
            page = await tom.get(place.page(name))
            return page if page.status == 200 and "Acknowledge" in page.offers() else None

        page = await place.until(may_act, "the role of tom")
        await place.client.delete(people_accounts(), place.namespace, "tom")

        async def is_unknown() -> Page | None:
            page = await tom.ask("GET", "/ladders")
            return page if page.status == 303 else None

        cookie = tom.cookies[tom.cookie("session")]
        await place.until(is_unknown, "the token of tom to end")
        assert tom.cookie("session") not in tom.cookies, "the session has ended"
        tom.session.cookie_jar.update_cookies({tom.cookie("session"): cookie})
        asked = await tom.decide(page, "Acknowledge", RATIONALE)
        assert asked.path.startswith("/sign-in?to=")
        await place.account("tom")
        back = await tom.send(asked.form("/sign-in/token"), credential=place.tokens["tom"])
        assert back.form("Acknowledge").fields["rationale"] == RATIONALE
    assert await place.decisions(name) == []


def people_accounts() -> resources.Resource:
    return resources.Resource("", "v1", "serviceaccounts", "ServiceAccount")


async def test_form_of_a_session_before_keeps_what_was_typed(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("tabs-1")
    async with place.browser(url, "ann") as ann:
        page = await place.opened(ann, name)
        await ann.send((await ann.get("/")).form("/sign-out"))
        await ann.sign_in(place.tokens["ann"])
        refused = await ann.decide(page, "Acknowledge", RATIONALE)
        assert refused.status == 403
        assert "you have signed in again" in refused.words
        assert refused.form("Acknowledge").fields["rationale"] == RATIONALE
        assert await place.decisions(name) == []
        assert (await ann.answered(await ann.send(refused.form("Acknowledge")))).status == 200
    assert await place.decided(name) == ["Acknowledge True"]


async def test_sign_out_ends_the_session_on_the_server(place: ConsolePlace, url: str) -> None:
    async with place.browser(url, "ann") as ann:
        cookies = ann.cookies
        page = await ann.get("/ladders")
        assert place.username("ann") in page.words
        assert "You are signed out here." in (await ann.send(page.form("/sign-out"))).words
        assert ann.cookies == {}
        ann.session.cookie_jar.update_cookies(cookies)
        assert (await ann.ask("GET", "/ladders")).status == 303


async def test_session_of_a_sign_in_before_ends_with_the_next(place: ConsolePlace, url: str) -> None:
    async with place.browser(url, "ann") as ann:
        first = ann.cookies[ann.cookie("session")]
        await ann.sign_in(place.tokens["ann"])
        assert ann.cookies[ann.cookie("session")] != first
    async with Browser(url) as old:
        old.session.cookie_jar.update_cookies({old.cookie("session"): first})
        assert (await old.ask("GET", "/ladders")).status == 303


# --- Reading ----------------------------------------------------------------------------------------------------------

PAGES = ("/", "/models", "/ladders", "/commitments", "/drills", "/records")


async def test_somebody_without_any_right_sees_nothing_of_others(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("secret-1")
    async with place.browser(url, "nora") as nora:
        for path in PAGES:
            page = await nora.get(path)
            assert page.status == 200, (path, page.words)
            named = await nora.get(f"{path}?namespace={place.namespace}")
            assert named.status == 403, (path, named.words)
            assert "secret-1" not in page.text + named.text
        inside = [f"/records/{place.namespace}/{name}", f"/records/{place.namespace}/{name}/export"]
        inside += [f"/records/{place.namespace}/{name}/report"]
        inside += [place.page(name), f"{place.page(name)}/changes", f"/ladders/{place.namespace}/credit"]
        for path in inside:
            page = await nora.get(path)
            assert page.status == 403, (path, page.words)
            assert "secret-1 is" not in page.text
        form = (await nora.get("/")).form("/sign-out")
        form.action = place.page(name)
        form.fields |= {"action": "Resume", "role": "legal", "option": "resume"}
        assert (await nora.send(form, rationale="x")).status == 403
    assert await place.decisions(name) == []


async def test_every_page_of_somebody_who_may_read(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("pages-1", model={"name": "credit", "card": "https://good.example/card"})
    async with place.browser(url, "ann") as ann:
        for path in PAGES:
            page = await ann.get(f"{path}?namespace={place.namespace}")
            assert page.status == 200, (path, page.words)
        record = await ann.get(f"/records/{place.namespace}/{name}")
        assert "unbroken; checked just now" in record.words
        ladder = await ann.get(f"/ladders/{place.namespace}/credit")
        assert "within 2h, by legal and executive" in ladder.words
        links = [a for tag, a in (await ann.get(place.page(name))).tags if tag == "a" and a["href"][:6] == "https:"]  # type: ignore[index]
        assert links == [{"href": "https://good.example/card", "rel": "noreferrer noopener nofollow"}]
        assert (await ann.get(f"/records/{place.namespace}/nothing")).status == 404
        assert (await ann.get(f"/ladders/{place.namespace}/nothing")).status == 404


async def test_records_of_an_escalation_that_was_deleted_are_still_there(place: ConsolePlace, url: str) -> None:
    name = await place.escalated("deleted-1")
    for resource, one in ((resources.SIGNALS, "deleted-1"), (resources.DEPLOYMENTS, "deleted-1")):
        await place.client.delete(resource, place.namespace, one)

    await place.escalation_says("deleted-1", "Contained", "True", "TargetDeleted")
    await place.settled(name)
    await place.client.delete(resources.ESCALATIONS, place.namespace, name)
    async with place.browser(url, "ann") as ann:
        listed = await ann.get(f"/records?namespace={place.namespace}&q={name}")
        path = f"/records/{place.namespace}/{name}"
        assert path in listed.text
        record = await ann.get(path)
        assert "The Escalation has been deleted" in record.words
        assert "unbroken; checked just now" in record.words
        assert (await ann.get(f"{path}/export")).status == 200
        assert (await ann.get(f"{path}/report")).status == 200


async def test_records_that_are_downloaded_are_verified(place: ConsolePlace, url: str, tmp_path: Path) -> None:
    name = await place.escalated("export-1")
    async with place.browser(url, "ann") as ann:
        await ann.decide(await place.opened(ann, name), "Acknowledge", RATIONALE)
        await place.settled(name)
        page = await ann.get(f"/records/{place.namespace}/{name}/export")
        report_ = await ann.get(f"/records/{place.namespace}/{name}/report")
    assert report_.headers["Content-Disposition"] == f'attachment; filename="{place.namespace}.{name}.html"'
    assert f"Escalation {place.namespace}/{name}" in report_.words
    assert "<b>now</b>" not in report_.text
    assert page.headers["Content-Type"].startswith("application/json")
    assert page.headers["Content-Disposition"] == f'attachment; filename="{place.namespace}.{name}.json"'
    kinds = [item["kind"] for item in exported(page)["items"]]
    assert kinds[0] == "Escalation"
    assert set(kinds[1:]) == {"EscalationRecord"}
    file = tmp_path / "export.json"
    file.write_bytes(page.body)
    verified = CliRunner().invoke(app, ["verify", str(file)])
    assert verified.exit_code == 0, verified.output
    file.write_bytes(page.body.replace(b"answered", b"forgotten"))
    assert CliRunner().invoke(app, ["verify", str(file)]).exit_code != 0


async def test_stream_says_when_something_has_changed(place: ConsolePlace, url: str, plane: LocalControlPlane) -> None:
    name = await place.escalated("stream-1")
    async with place.browser(url, "ann") as ann, impersonated(plane.kubeconfig, *OPERATOR) as writer:
        await place.settled(name)
        async with ann.session.get(f"{url}{place.page(name)}/changes") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            assert stream.headers["Cache-Control"] == "no-store"
            assert await stream.content.readuntil(b"\n\n") == b"retry: 3000\n\n"
            labels = {"metadata": {"annotations": {"example/a": "b"}}}
            await writer.merge_patch(resources.ESCALATIONS, place.namespace, name, labels)
            async with asyncio.timeout(PATIENCE):
                while await stream.content.readuntil(b"\n\n") != b"event: changed\ndata: \n\n":
                    pass


async def test_roles_are_those_of_the_api_server(place: ConsolePlace, plane: LocalControlPlane) -> None:
    verbs, roles = ["acknowledge", "contain", "resume", "close", "raise"], [*dict.fromkeys(PEOPLE.values()), "other"]
    connection = await connect(Access(str(plane.kubeconfig)), agent="tests", anonymous=True)
    try:
        for person in (*PEOPLE, "nora"):
            client = client_of(connection, Credential(place.tokens[person]))
            held = await my_roles(client, place.namespace, verbs, roles)
            assert held == await may_i(client, place.namespace, verbs, roles), person
            assert bool(held) is (person in PEOPLE)
    finally:
        await connection.close()


async def test_decision_whose_answer_was_lost_is_looked_for(
    place: ConsolePlace, url: str, plane: LocalControlPlane
) -> None:
    name = await place.escalated("lost-1")
    async with place.browser(url, "ann") as ann:
        await ann.decide(await place.opened(ann, name), "Comment")
    [decision] = [d["metadata"]["name"] for d in await place.decisions(name)]
    connection = await connect(Access(str(plane.kubeconfig)), agent="tests", anonymous=True)
    try:
        ann_, nora = [await visitor_of(connection, Credential(place.tokens[person]), "") for person in ("ann", "nora")]
        assert await _is_stored(ann_, place.namespace, decision)
        assert not await _is_stored(ann_, place.namespace, "missing")
        with pytest.raises(Problem, match="it may have been decided or not"):
            await _is_stored(nora, place.namespace, decision)
    finally:
        await connection.close()


# --- Other ways to sign in --------------------------------------------------------------------------------------------


async def test_console_for_oneself_is_opened_once_by_its_link(
    place: ConsolePlace, plane: LocalControlPlane, tmp_path: Path
) -> None:
    name = await place.escalated("local-1")
    with ConsoleProcess(plane.kubeconfig, tmp_path) as process:
        link = await local_link(process)
        url, _, rest = link.partition("/start")
        async with Browser(url) as browser, Browser(url) as other:
            assert "open the link" in (await browser.get("/")).words
            assert (await other.get("/start?key=guessed")).status == 403
            assert (await other.ask("HEAD", f"/start{rest}")).status == 405, "it does not use the link up"
            first = await browser.ask("GET", f"/start{rest}")
            assert (first.status, first.headers["Location"]) == (303, "/")
            assert (await other.get(f"/start{rest}")).status == 403
            assert (await other.ask("GET", "/")).status == 303
            page = await place.opened(browser, name)
            assert "Contain" in page.offers() or "Resume" in page.offers()
            done = await browser.decide(page, "Acknowledge", "as myself", role="legal")
            assert "Accepted: " in done.words
            token = {"credential": place.tokens["ann"]}
            headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
            assert (await other.ask("POST", "/sign-in/token", data=token, headers=headers)).status == 404
    [decision] = await place.decisions(name)
    assert decision["spec"]["decidedBy"]["username"] == "admin"


async def test_credential_that_a_listed_proxy_passes_on_is_the_visitors(
    place: ConsolePlace, plane: LocalControlPlane, tmp_path: Path, url: str
) -> None:
    name = await place.escalated("proxy-1")
    passed = {"Authorization": f"Bearer {place.tokens['ann']}"}
    with console(plane.kubeconfig, tmp_path, "--trust-proxy", "127.0.0.1", "--no-sign-in-token") as (_, there):
        async with Browser(there) as browser:
            assert (await browser.ask("GET", "/", headers=passed)).status == 200
            assert "No way to sign in" in (await browser.get("/")).words
            await place.settled(name)
            page = await browser.ask("GET", place.page(name), headers=passed)
            form = page.form("Acknowledge")
            ours = {"Origin": there, "Sec-Fetch-Site": "same-origin"}
            hers = await browser.ask("POST", form.action, data=form.fields | {"rationale": "x"}, headers=passed | ours)
            assert hers.status == 303
            his = {"Authorization": f"Bearer {place.tokens['max']}"}
            other = await browser.ask("POST", form.action, data=form.fields | {"rationale": "x"}, headers=his | ours)
            assert other.status == 403, "the form is hers"
            broken = await browser.ask("GET", "/", headers={"Authorization": "Bearer nonsense"})
            assert broken.status == 303
    with console(plane.kubeconfig, tmp_path, "--trust-proxy", "192.0.2.0/24") as (_, there):
        async with Browser(there) as browser:
            forwarded = passed | {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1"}
            assert (await browser.ask("GET", "/", headers=forwarded)).status == 303
    async with Browser(url) as browser:
        assert (await browser.ask("GET", "/", headers=passed)).status == 303

    async def decided() -> list[str] | None:
        found = await place.decided(name)
        return found if found != ["Acknowledge "] else None

    assert await place.until(decided, "an answer to hers") == ["Acknowledge True"]


def test_local_console_passes_on_nobody() -> None:
    result = CliRunner().invoke(app, ["console", "--trust-proxy", "127.0.0.1"])
    assert (result.exit_code, "--trust-proxy" in result.output) == (2, True)


# --- What is not there ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(operator: OperatorProcess) -> Iterator[None]:
    """The operator does not run for a while."""
    operator.stop()
    try:
        yield
    finally:
        operator.log.unlink()
        operator.start()
        operator.wait_until_leading()


async def test_operator_that_is_down_has_not_answered_yet(
    place: ConsolePlace, url: str, operator: OperatorProcess
) -> None:
    name = await place.escalated("down-1")
    async with place.browser(url, "ann") as ann:
        page = await place.opened(ann, name)
        with stopped(operator):
            sent = await ann.send(page.form("Acknowledge"), rationale=RATIONALE)
            assert "It was sent, and the operator has not answered yet." in sent.words
        assert "Accepted: " in (await ann.answered(sent)).words


NUMBER = int(os.environ.get("RISKLADDER_OPEN_ESCALATIONS", "120"))
"""Open escalations; a page has 50."""


@asynccontextmanager
async def many(plane: LocalControlPlane, chief: Client, number: int) -> AsyncIterator[str]:
    """A namespace with so many open escalations."""
    async with (
        TestNamespace(chief, f"many-{uuid.uuid4().hex[:8]}") as space,
        impersonated(plane.kubeconfig, *OPERATOR) as operator,
    ):
        at_once = asyncio.Semaphore(20)

        async def write(count: int) -> None:
            raw = people.escalation()
            raw["metadata"] = {"name": f"model-{count:04d}", "labels": raw["metadata"]["labels"]}
            raw["spec"]["target"]["uid"] = f"u{count}"
            status = {"status": raw.pop("status")}
            async with at_once:
                await operator.create(resources.ESCALATIONS, space.namespace, raw)
                await operator.merge_patch(
                    resources.ESCALATIONS, space.namespace, f"model-{count:04d}", status, subresource="status"
                )

        await asyncio.gather(*(write(count) for count in range(number)))
        yield space.namespace
    going = "the namespace to go, before the API server does"
    await space.until(lambda: _is_gone(chief, space.namespace), going)


async def _is_gone(client: Client, namespace: str) -> bool:
    try:
        await client.get(resources.NAMESPACES, None, namespace)
    except NotFound:
        return True
    return False


async def test_more_open_escalations_than_a_page_has(
    place: ConsolePlace, plane: LocalControlPlane, chief: Client, operator: OperatorProcess, tmp_path: Path
) -> None:
    with stopped(operator), ConsoleProcess(plane.kubeconfig, tmp_path) as process:
        async with many(plane, chief, NUMBER) as namespace:
            url, _, rest = (await local_link(process)).partition("/start")
            async with Browser(url) as browser:
                await browser.get(f"/start{rest}")
                begin = time.perf_counter()
                page = await browser.get(f"/?namespace={namespace}")
                took = time.perf_counter() - begin
                begin = time.perf_counter()
                await chief.list(resources.ESCALATIONS, namespace)
                listed = time.perf_counter() - begin
                more = await browser.get(f"/?namespace={namespace}&pages=10")
    assert (page.status, page.text.count('<li class="case')) == (200, 50)
    assert f"/?pages=2&amp;namespace={namespace}" in page.text
    assert more.text.count('<li class="case') == NUMBER
    report.note("console", f"first page of {NUMBER} escalations: {took:.2f} s, of which {listed:.2f} s to list them")


async def test_what_is_typed_outlasts_an_api_server_that_is_down(
    place: ConsolePlace, url: str, plane: LocalControlPlane, running: tuple[ConsoleProcess, str]
) -> None:
    name = await place.escalated("outage-1")
    async with place.browser(url, "ann") as ann:
        page = await place.opened(ann, name)
        plane.kill(API_SERVER)
        try:
            lost = await ann.decide(page, "Acknowledge", RATIONALE)
            reading = await ann.get("/")
            pasted = await ann.sign_in("some-token")
        finally:
            plane.restart(API_SERVER)
        for failed in (lost, reading, pasted):
            assert failed.status == 503
            assert "The cluster does not answer." in failed.words
            assert plane.server.removeprefix("https://") not in failed.text
        assert RATIONALE in lost.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

        async def sent() -> Page | None:
            found = await ann.send(page.form("Acknowledge"), rationale=RATIONALE)
            return found if found.status == 200 else None  # what has just started takes no decision for some seconds

        done = await place.until(sent, "the API server to take a decision")
        assert "Accepted: " in (await ann.answered(done)).words
    assert await place.decided(name) == ["Acknowledge True"]
