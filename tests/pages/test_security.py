"""What keeps the pages from being used by others: origins, tokens of forms, links, paths, sessions, cookies."""

from __future__ import annotations

import json
import string
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from riskladder.console import security
from riskladder.console.server import is_by_script
from riskladder.console.sessions import Credential, Sealed, Sessions, Tickets
from riskladder.console.settings import Limits, Settings, SignIn, link_hosts, networks
from riskladder.notify.console import checked_origin
from tests.unit.builders import NOW

SETTINGS = Settings("https://console.example")
ALLOWED = Settings("https://console.example", link_hosts=("good.example",))
TOKEN = "eyJhbGciOiJSUzI1NiJ9.secret-token"

# --- Where a form comes from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"Origin": "https://console.example", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "https://console.example"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "https://console.example.evil.example"}, False),
        ({"Origin": "http://console.example"}, False),
        ({"Origin": "https://console.example:8443"}, False),
        ({"Origin": "https://console.example", "Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "https://console.example", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": ""}, False),
    ],
)
def test_form_comes_from_these_pages_or_is_foreign(headers: dict[str, str], is_ours: bool) -> None:
    assert (security.why_foreign(SETTINGS, headers) == "") is is_ours


@given(st.text(max_size=30), st.sampled_from(["", "same-origin"]))
def test_no_other_origin_passes(origin: str, site: str) -> None:
    headers = {"Origin": origin} | ({"Sec-Fetch-Site": site} if site else {})
    assert bool(security.why_foreign(SETTINGS, headers)) is (origin != SETTINGS.origin)


def test_browsers_are_let_say_where_a_form_comes_from() -> None:
    """With no-referrer they send "Origin: null" with every form, which is foreign."""
    assert security.HEADERS["Referrer-Policy"] == "same-origin"


@given(session=st.text(max_size=20), path=st.text(max_size=20), other=st.text(max_size=20), token=st.text(max_size=70))
def test_token_of_a_form_is_good_for_one_session_and_one_path(session: str, path: str, other: str, token: str) -> None:
    forms = security.FormTokens(b"secret")
    mine = forms.token(session, path)
    assert forms.is_valid(mine, session, path)
    assert forms.is_valid(mine, other, path) is (other == session)
    assert forms.is_valid(mine, session, other) is (other == path)
    assert forms.is_valid(token, session, path) is (token == mine)
    assert not security.FormTokens(b"another").is_valid(mine, session, path)


def test_token_of_a_form_does_not_confuse_where_session_and_path_meet() -> None:
    forms = security.FormTokens(b"secret")
    assert forms.token("a\0b", "c") != forms.token("a", "b\0c")


def test_proxy_is_trusted_by_its_address() -> None:
    settings = Settings("https://a", sign_in=SignIn(proxies=networks(("10.0.0.7", "192.168.0.0/24", "fd00::/8"))))
    for address in ("10.0.0.7", "192.168.0.200", "fd00::1", "::ffff:10.0.0.7"):
        assert security.is_trusted(settings, address), address
    for address in ("10.0.0.8", "192.168.1.1", "fe80::1", "::ffff:10.0.0.8", "unknown", "", None):
        assert not security.is_trusted(settings, address), address
    assert not security.is_trusted(SETTINGS, "127.0.0.1")


# --- Links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "file:///etc/passwd",
        "http://good.example/",
        "//good.example/",
        "/local",
        "https:good.example",
        "https:///good.example",
        "https://user@good.example/",
        "https://user:secret@good.example/",
        "https://@good.example/",
        "https://good.example@evil.example/",
        "https://evil.example/good.example",
        "https://evil.example#.good.example",
        "https://evil.example?.good.example",
        "https://evilgood.example/",
        "https://good.example.evil.example/",
        "https://evil.example\\.good.example/",
        "https://evil.example\\@good.example/",
        "https://evil.example%2f.good.example/",
        "https://evil.example\t.good.example/",
        "https://evil.example\n.good.example/",
        "https://evil.example／.good.example/",
        "https://good.example:99999/",
        "https://good.example:x/",
        "https://[::1/",
        " https://good.example/",
        "https://good.example/\x00",
        "https://good.example/a b",
        "https://good.example/\u202ecod",
        "",
    ],
)
def test_what_may_be_no_link(url: str) -> None:
    assert security.safe_link(ALLOWED, url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example",
        "https://good.example/a/b?c=d#e",
        "https://docs.good.example:8443/card",
        "https://GOOD.example/é",
    ],
)
def test_what_may_be_a_link(url: str) -> None:
    assert security.safe_link(ALLOWED, url) == url
    assert security.safe_link(SETTINGS, url) == url


def test_any_host_may_be_linked_to_where_none_is_named() -> None:
    assert security.safe_link(SETTINGS, "https://mlflow.example/run/1")
    assert security.safe_link(SETTINGS, "https://[2001:db8::1]/run") == "https://[2001:db8::1]/run"
    assert security.safe_link(SETTINGS, "javascript:alert(1)") == ""


@given(st.text(alphabet=string.printable + "／。。\u202e", max_size=25))
def test_link_leads_to_an_allowed_host_only(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}good.example/", f"https://good.example{text}"):
        found = security.safe_link(ALLOWED, url)
        if not found:
            continue
        assert found == url
        # As a browser reads it: a backslash is a slash, and white space is dropped.
        parts = urlsplit(found.replace("\\", "/"))
        assert parts.scheme == "https"
        assert (parts.hostname or "") == "good.example" or (parts.hostname or "").endswith(".good.example")
        assert parts.username is None
        assert not set(found) & set("\t\n\r\\ ")


# --- Paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\r\nSet-Cookie: a=b",
        "",
        "evil",
        "///evil.example",
    ],
)
def test_other_places_are_not_gone_to(text: str) -> None:
    assert security.local_path(text) == "/"


@given(st.text(alphabet=string.printable + "／\u202e", max_size=25))
def test_where_one_goes_after_signing_in_is_here(text: str) -> None:
    for given_ in (text, f"/{text}", f"//{text}"):
        found = security.local_path(given_)
        there = urlsplit(urljoin("https://console.example/sign-in/token", found.replace("\\", "/")))
        assert (there.scheme, there.netloc) == ("https", "console.example")
        assert found.isprintable()


@given(st.text(max_size=12) | st.sampled_from(["..", ".", "a/b", "a%2fb", "A", "-a", "a-", "a.", "a,b", "a\n", ""]))
def test_name_is_one_that_kubernetes_allows(text: str) -> None:
    assert not security.is_name(text) or set(text) <= set(string.ascii_lowercase + string.digits + "-.")
    assert not security.is_name(f"{text}/..")
    assert not security.is_name(f"..{text}")


def test_names_of_kubernetes_are_names() -> None:
    for name in ("models", "credit-scorer-3f9a1c2b", "a.b-c.d", "0", "a" * 253):
        assert security.is_name(name)
    for name in ("..", ".", "", "a..b", "a/..", "a" * 254, "ä", "a\n", "a_b"):
        assert not security.is_name(name)


# --- Where people reach it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://risk.example", "https://risk.example"),
        ("https://risk.example/", "https://risk.example"),
        ("https://Risk.Example:443", "https://risk.example"),
        ("https://risk.example:8443", "https://risk.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8091", "http://[::1]:8091"),
    ],
)
def test_address_is_as_browsers_send_it(text: str, url: str) -> None:
    settings = Settings(checked_origin(text, "--url"))
    assert settings.origin == url
    assert f"{urlsplit(url).scheme}://{settings.host}" == url


@pytest.mark.parametrize(
    "text",
    [
        "risk.example",
        "http://risk.example",
        "https://risk.example/console",
        "https://user@risk.example",
        "https://risk.example?a=b",
        "https://risk.example:x",
        "https://risk.example:99999",
        "ftp://risk.example",
        "https://",
    ],
)
def test_address_that_will_not_do_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--url"):
        checked_origin(text, "--url")


def test_hosts_and_networks_are_checked() -> None:
    assert link_hosts(("MLflow.example",)) == ("mlflow.example",)
    with pytest.raises(ValueError, match="--link-host"):
        link_hosts(("https://mlflow.example",))
    with pytest.raises(ValueError, match="--trust-proxy"):
        networks(("10.0.0.1/8",))


# --- Sessions ---------------------------------------------------------------------------------------------------------

LIMITS = Limits(idle=timedelta(minutes=30), absolute=timedelta(hours=8))


def contents(sessions: Sessions) -> str:
    """All that the store has in memory."""
    return repr([(place, kept.sealed, kept.owner) for place, kept in sessions._store._kept.items()])


def test_store_never_has_the_token_or_the_cookie() -> None:
    sessions = Sessions(LIMITS)
    cookie = sessions.begin(Credential(TOKEN, name="Ann", refresh_token="refresh"), NOW, owner="ann@bank.example")
    for secret in (TOKEN, "secret-token", "refresh", cookie, "Ann", "ann@bank.example"):
        assert secret not in contents(sessions)
    found = sessions.find(cookie, NOW)
    assert found is not None
    assert found.token == TOKEN
    sessions.renew(cookie, Credential("renewed-token"))
    assert "renewed-token" not in contents(sessions)
    again = sessions.find(cookie, NOW)
    assert again is not None
    assert again.token == "renewed-token"


@given(guess=st.text(max_size=50))
def test_no_other_cookie_opens_a_session(guess: str) -> None:
    sessions = Sessions(LIMITS)
    cookie = sessions.begin(Credential(TOKEN), NOW)
    assert (sessions.find(guess, NOW) is not None) is (guess == cookie)
    place = next(iter(sessions._store._kept))
    assert sessions.find(place, NOW) is None


def test_every_sign_in_has_a_cookie_of_its_own_and_a_key_of_its_own() -> None:
    sessions = Sessions(LIMITS)
    cookies = {sessions.begin(Credential(TOKEN), NOW) for _ in range(10)}
    assert len(cookies) == 10
    assert min(len(cookie) for cookie in cookies) >= 43, "256 bits"


def test_session_ends_when_it_is_idle() -> None:
    sessions = Sessions(LIMITS)
    cookie = sessions.begin(Credential(TOKEN), NOW)
    assert sessions.find(cookie, NOW + timedelta(minutes=30))
    assert sessions.find(cookie, NOW + timedelta(minutes=60)), "it was used meanwhile"
    assert sessions.find(cookie, NOW + timedelta(minutes=90, seconds=1)) is None
    assert sessions.find(cookie, NOW + timedelta(minutes=60)) is None, "what has ended does not come back"


def test_session_is_idle_while_only_scripts_ask() -> None:
    sessions = Sessions(LIMITS)
    cookie = sessions.begin(Credential(TOKEN), NOW)
    assert sessions.find(cookie, NOW + timedelta(minutes=29), in_use=False)
    assert sessions.find(cookie, NOW + timedelta(minutes=31)) is None


def test_page_that_was_left_open_is_nobody_who_asks() -> None:
    assert is_by_script(make_mocked_request("GET", "/", headers={"Sec-Fetch-Dest": "empty"}))
    for headers in ({}, {"Sec-Fetch-Dest": "document"}):
        assert not is_by_script(make_mocked_request("GET", "/", headers=headers))


def test_session_ends_whatever_happens() -> None:
    sessions = Sessions(LIMITS)
    cookie = sessions.begin(Credential(TOKEN), NOW)
    for minutes in range(20, 8 * 60 + 1, 20):
        assert sessions.find(cookie, NOW + timedelta(minutes=minutes))
    assert sessions.find(cookie, NOW + timedelta(hours=8, seconds=1)) is None


def test_session_ends_with_its_token_unless_that_can_be_renewed() -> None:
    sessions = Sessions(LIMITS)
    ends = (NOW + timedelta(minutes=5)).isoformat()
    short = sessions.begin(Credential(TOKEN, expires_at=ends), NOW)
    renewable = sessions.begin(Credential(TOKEN, expires_at=ends, refresh_token="r"), NOW)
    assert sessions.find(short, NOW + timedelta(minutes=4))
    assert sessions.find(short, NOW + timedelta(minutes=5)) is None
    assert sessions.find(renewable, NOW + timedelta(minutes=5))


def test_session_that_was_ended_is_gone() -> None:
    sessions = Sessions(LIMITS)
    mine, other = sessions.begin(Credential(TOKEN), NOW), sessions.begin(Credential("other"), NOW)
    sessions.end(mine)
    sessions.end("unknown")
    assert sessions.find(mine, NOW) is None
    assert sessions.find(other, NOW)


def test_store_is_bounded_and_keeps_what_was_used_last() -> None:
    store = Sealed(LIMITS, most=3)
    cookies = [store.put({"n": n}, NOW) for n in range(3)]
    assert store.get(cookies[0], NOW) == {"n": 0}
    more = store.put({"n": 3}, NOW)
    assert len(store) == 3
    assert [store.get(cookie, NOW) for cookie in (*cookies, more)] == [{"n": 0}, None, {"n": 2}, {"n": 3}]
    assert json.dumps({"n": 3}).encode() not in store._kept[next(reversed(store._kept))].sealed


def test_ticket_is_opened_once_in_time_and_pushed_out_by_nobody() -> None:
    tickets = Tickets(timedelta(minutes=10))
    mine = tickets.seal({"state": "a", "to": "/"}, NOW)
    others = [tickets.seal({"state": str(n)}, NOW) for n in range(20_000)]
    assert "state" not in mine
    assert tickets.open(mine, NOW + timedelta(minutes=9)) == {"state": "a", "to": "/"}
    assert tickets.open(mine, NOW + timedelta(minutes=9)) is None, "once"
    assert tickets.open(others[0], NOW + timedelta(minutes=11)) is None, "too late"
    assert tickets.open(others[1][:-4] + "AAA=", NOW) is None
    assert tickets.open("", NOW) is None
    assert Tickets(timedelta(minutes=10)).open(others[2], NOW) is None, "of another process"


def test_one_person_cannot_push_out_the_sessions_of_others() -> None:
    sessions = Sessions(LIMITS)
    other = sessions.begin(Credential("other"), NOW, owner="bob")
    mine = [sessions.begin(Credential(TOKEN), NOW, owner="ann") for _ in range(60)]
    assert sessions.find(other, NOW)
    left = [cookie for cookie in mine if sessions.find(cookie, NOW)]
    assert 0 < len(left) < 60
    assert left == mine[-len(left) :], "the newest stay"
