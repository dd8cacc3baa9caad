"""Apprise in its child process: real email over SMTP, and what a URL must not be able to do."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import AuthResult

from riskladder.api.ladder import Channel
from riskladder.notify import apprise_channel
from riskladder.notify.apprise_services import PARAMETERS, SERVICES
from riskladder.notify.apprise_worker import check_url, secret_parts
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable, scrub
from riskladder.notify.forms import Form
from riskladder.notify.notifier import Notifier
from riskladder.notify.render import body, subject
from tests.unit.notify_support import HERE, LOOPBACK, NOW, Peer, answering, hanging, notice

TOKEN = "Abcdefghijklmno"
MAIL = "?from=risk@example.com&to=legal@example.com&mode=insecure"


class Mailbox(MessageHandler):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.got.append(message)


class FreePort(Controller):
    """On a port that the kernel chooses."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def smtp() -> Iterator[tuple[int, Mailbox]]:
    mailbox = Mailbox()
    controller = FreePort(mailbox, hostname="127.0.0.1", port=0)
    controller.start()
    yield controller.port, mailbox
    controller.stop()


async def send(url: str, *, egress: Egress = HERE, **changes: Any) -> None:
    await apprise_channel.send(egress, url, notice(**changes), timeout=20)


async def refused(url: str, **how: Any) -> Undeliverable:
    with pytest.raises(Undeliverable) as error:
        await send(url, **how)
    return error.value


def part(message: Message, kind: str) -> str:
    found = next(p for p in message.walk() if p.get_content_type() == kind)
    content = found.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


# --- Email ------------------------------------------------------------------------------------------------------------


async def test_email_arrives_as_html_and_as_text(smtp: tuple[int, Mailbox]) -> None:
    port, mailbox = smtp
    notifier = Notifier(HERE)
    channel = Channel.model_validate({"name": "email", "type": "Apprise", "secretKey": "legal-email"})
    await notifier.send(channel, f"mailto://localhost:{port}{MAIL}\n", notice(), attempted_at=NOW)
    await notifier.close()
    [email] = mailbox.got
    assert str(make_header(decode_header(email["Subject"]))) == subject(notice(), Form.HTML)
    assert (email["From"], email["To"]) == ("risk@example.com", "legal@example.com")
    assert part(email, "text/html").splitlines() == body(notice(), Form.HTML).splitlines()
    assert part(email, "text/plain").splitlines() == body(notice(), Form.TEXT).splitlines()


async def test_emails_of_one_incident_stand_in_one_thread(smtp: tuple[int, Mailbox]) -> None:
    port, mailbox = smtp
    for key in ("a", "b", "b"):
        await send(f"mailto://localhost:{port}{MAIL}", key=key)
    first, second, again = mailbox.got
    assert {email["References"] for email in mailbox.got} == {first["In-Reply-To"]}
    assert len({first["Message-ID"], second["Message-ID"], first["References"]}) == 3
    assert again["Message-ID"] == second["Message-ID"]  # sent again, it is the same email


async def test_hostile_email_stays_one_email(smtp: tuple[int, Mailbox]) -> None:
    port, mailbox = smtp
    hostile = "Closed\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>\u202e{{ 7*7 }}"
    await send(f"mailto://localhost:{port}{MAIL}", message=hostile)
    [email] = mailbox.got
    assert email["Bcc"] is None
    assert email["X-RcptTo"] == "legal@example.com"
    assert "<script>" not in part(email, "text/html")
    assert "{{ 7*7 }}" in part(email, "text/html")
    assert "\u202e" not in part(email, "text/plain") + str(email["Subject"])


async def test_mail_server_must_be_listed_and_permitted(smtp: tuple[int, Mailbox]) -> None:
    port, mailbox = smtp
    url = f"mailto://localhost:{port}{MAIL}"
    unlisted = await refused(url, egress=Egress([], [LOOPBACK]))
    assert (
        "host localhost is not on the list of hosts that are sent to: it needs the option --notify-host localhost"
        in unlisted.message
    )
    private = await refused(url, egress=Egress(["localhost"], []))
    assert "--notify-network" in private.message
    elsewhere = await refused(
        f"mailto://mail.example.com:{port}{MAIL}&smtp=localhost", egress=Egress(["*.example.com"], [LOOPBACK])
    )
    assert "--notify-host localhost" in elsewhere.message
    address = await refused(f"mailto://127.0.0.1:{port}{MAIL}", egress=Egress(["127.0.0.1"], []))
    assert "--notify-network" in address.message
    assert unlisted.permanent
    assert private.permanent
    assert elsewhere.permanent
    assert mailbox.got == []


# --- Several recipients -----------------------------------------------------------------------------------------------


class Choosy(Mailbox):
    """Refuses the user gone, and refuses later until has_room is set."""

    def __init__(self) -> None:
        super().__init__()
        self.has_room = False

    async def handle_RCPT(  # noqa: N802 - named by aiosmtpd
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        if address.startswith("later") and not self.has_room:
            return "452 4.2.2 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def choosy() -> Iterator[tuple[str, Choosy]]:
    mailbox = Choosy()
    controller = FreePort(mailbox, hostname="127.0.0.1", port=0)
    controller.start()
    yield f"mailto://localhost:{controller.port}?from=risk@example.com&mode=insecure&to=", mailbox
    controller.stop()


async def again(url: str, before: Undeliverable) -> Undeliverable:
    with pytest.raises(Undeliverable) as error:
        await apprise_channel.send(HERE, url, notice(), receipts=before.receipts, timeout=20)
    return error.value


def addressees(mailbox: Mailbox) -> list[str]:
    return [str(email["To"]) for email in mailbox.got]


async def test_email_goes_again_only_to_those_who_have_not_got_it(choosy: tuple[str, Choosy]) -> None:
    url, mailbox = choosy
    url += "good@example.com,later@example.com,gone@example.com"
    first = await refused(url)
    assert not first.permanent, "one of them may have room later"
    assert "l…@example.com: 452 4.2.2 mailbox full" in first.message
    assert "g…@example.com: 550 5.1.1 no such user" in first.message
    assert "gone@" not in first.message
    second = await again(url, first)
    assert addressees(mailbox) == ["good@example.com"]
    mailbox.has_room = True
    third = await again(url, second)
    assert third.permanent, "who is left does not exist"
    assert addressees(mailbox) == ["good@example.com", "later@example.com"]
    assert set(first.receipts) <= set(third.receipts)
    assert all(len(receipt) == 16 for receipt in third.receipts)


async def test_address_that_does_not_exist_is_final_at_once(choosy: tuple[str, Choosy]) -> None:
    url, mailbox = choosy
    error = await refused(url + "gone@example.com")
    assert error.permanent
    assert error.receipts == ()
    assert mailbox.got == []


async def test_receipts_are_worth_nothing_for_another_url(choosy: tuple[str, Choosy]) -> None:
    url, mailbox = choosy
    first = await refused(url + "good@example.com,later@example.com")
    mailbox.has_room = True
    await apprise_channel.send(HERE, url + "later@example.com,good@example.com", notice(), receipts=first.receipts)
    assert sorted(addressees(mailbox)) == ["good@example.com", "good@example.com", "later@example.com"]


async def test_copy_that_is_refused_costs_nobody_a_second_email(choosy: tuple[str, Choosy]) -> None:
    url, mailbox = choosy
    await send(url + "good@example.com&cc=gone@example.com")
    assert addressees(mailbox) == ["good@example.com"]


async def test_login_that_is_refused_is_said_with_its_code_and_without_the_password() -> None:
    def refuse(*_: Any) -> AuthResult:
        return AuthResult(success=False, handled=False)

    controller = FreePort(Mailbox(), hostname="127.0.0.1", port=0, authenticator=refuse, auth_require_tls=False)
    controller.start()
    try:
        error = await refused(f"mailto://anna:{TOKEN}@localhost:{controller.port}{MAIL}")
    finally:
        controller.stop()
    assert error.permanent
    assert "535" in error.message
    assert TOKEN not in error.message


async def test_topics_of_one_url_are_tried_one_by_one() -> None:
    seen: list[str] = []
    down = {"second"}

    async def answer(request: web.Request) -> web.StreamResponse:
        topic = json.loads(await request.text())["topic"]
        seen.append(topic)
        return web.Response(status=503 if topic in down else 200, text="{}", headers={"Retry-After": "7"})

    async with Peer(answer) as peer:
        url = f"ntfy://127.0.0.1:{peer.port}/first/second/?mode=private"
        error = await refused(url)
        assert (error.permanent, error.retry_after) == (False, 7.0)
        assert sorted(seen) == ["first", "second"]
        down.clear()
        await apprise_channel.send(HERE, url, notice(), receipts=error.receipts)
    assert sorted(seen) == ["first", "second", "second"]


# --- HTTP services ----------------------------------------------------------------------------------------------------


def gotify(peer: Peer, more: str = "") -> str:
    return f"gotify://127.0.0.1:{peer.port}/{TOKEN}{more}"


async def test_service_with_a_host_of_its_own_is_reached() -> None:
    async with Peer(answering(200, "{}")) as peer:
        await send(gotify(peer))
    [got] = peer.got
    sent = json.loads(got.body)
    assert sent["title"] == subject(notice())
    assert sent["message"].strip() == body(notice(), Form.TEXT).strip()


@pytest.mark.parametrize(("status", "permanent"), [(401, True), (404, True), (429, False), (503, False)])
async def test_answers_of_a_service_are_sorted_and_the_token_is_not_shown(status: int, permanent: bool) -> None:
    async with Peer(answering(status, f"no {TOKEN}")) as peer:
        error = await refused(gotify(peer))
    assert error.permanent is permanent
    assert str(status) in error.message
    assert TOKEN not in error.message


async def test_redirect_is_not_followed_by_a_plugin() -> None:
    async with Peer(answering(200, "{}")) as other, Peer(answering(307, Location=f"{other.url}/x")) as peer:
        await refused(gotify(peer))
        assert "redirect" in (await refused(gotify(peer, "?redirect=yes"))).message
    assert other.got == []


async def test_child_of_a_server_that_hangs_is_killed_in_time() -> None:
    async with Peer(hanging) as peer:
        with pytest.raises(Undeliverable, match="did not answer within 2 s") as error:
            await apprise_channel.send(HERE, gotify(peer), notice(), timeout=2)
    assert not error.value.permanent
    assert children() == []


async def test_child_is_killed_when_the_sender_is_cancelled() -> None:
    async with Peer(hanging) as peer:
        task = asyncio.create_task(send(gotify(peer)))
        while not peer.got:  # noqa: ASYNC110 - a poll is enough for a test
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert children() == []


def children() -> list[int]:
    """Our own child processes that run the worker."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes()
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == os.getpid() and b"apprise_worker" in line:
            found.append(int(directory.name))
    return found


async def test_secret_is_neither_an_argument_nor_in_the_environment() -> None:
    seen: list[bytes] = []

    async def look(_: web.Request) -> web.StreamResponse:
        [child] = children()
        seen.extend((Path(f"/proc/{child}") / name).read_bytes() for name in ("cmdline", "environ"))
        return web.Response(text="{}")

    async with Peer(look) as peer:
        await send(gotify(peer))
    assert len(seen) == 2
    assert all(TOKEN.encode() not in text for text in seen)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as proxy, Peer(answering(200, "{}")) as peer:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await send(gotify(peer))
    assert (len(proxy.got), len(peer.got)) == (0, 1)


# --- What a URL must not be able to do --------------------------------------------------------------------------------


# fmt: off
OTHER_SCHEMES = (
    "json", "jsons", "xml", "form", "apprise", "syslog", "rsyslog", "dbus", "glib", "gnome", "file", "exec", "mqtt",
    "windows", "macosx", "https", "http", "custom", "ifttt", "hassio", "amqp", "smpp", "irc", "xmpp", "slack-x", "?",
)
# fmt: on


@pytest.mark.parametrize("scheme", OTHER_SCHEMES)
async def test_other_schemes_are_refused_before_a_child_is_started(scheme: str) -> None:
    with pytest.raises(Undeliverable, match="not among the schemes allowed") as error:
        check_url(f"{scheme}://{TOKEN}/x")
    assert error.value.permanent
    assert TOKEN not in error.value.message


# fmt: off
QUERIES = (
    "template=/etc/passwd", "verify=no", "redirect=yes", "pgppub=/etc/passwd", "attach=file:///etc/passwd", "+X-A=b",

    "TEMPLATE=/x", "priority=1;template=/x", "token=%26&template=/x", "format=markdown", "-x=y", ":template=/x",
    "store=yes",
)
# fmt: on
REFUSED = """
import json, sys
from riskladder.notify.apprise_services import SERVICES
from riskladder.notify.apprise_worker import _plugin
from riskladder.notify.errors import Undeliverable
said = {}
for url in json.load(sys.stdin):
    try:
        _plugin(SERVICES[url.partition(":")[0]], url)
        said[url] = None
    except Undeliverable as error:
        said[url] = [error.message, error.permanent]
print(json.dumps(said))
"""


def test_parameters_that_reach_further_and_malformed_urls_are_refused() -> None:
    good = f"gotify://127.0.0.1/{TOKEN}"
    further = [good + separator + query for query in QUERIES for separator in ("?", "/?", "?priority=1&")]
    further += [f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ#?{query}" for query in QUERIES]
    malformed = ["gotify://", "discord://x", "tgram://", "ntfy://?mode=x"]
    found = run(REFUSED, [good, good + "?priority=high", *further, *malformed])
    assert found.pop(good) is None
    assert found.pop(good + "?priority=high") is None
    assert {url for url, said in found.items() if said is None} == set()
    assert all(permanent for _, permanent in found.values())
    assert all(TOKEN not in message for message, _ in found.values())
    assert "a parameter template is not allowed" in found[f"{good}?template=/etc/passwd"][0]


def test_every_service_can_be_loaded_and_knows_its_scheme() -> None:
    code = (
        "import importlib, json, sys\n"
        "from riskladder.notify.apprise_services import SERVICES\n"
        "for scheme, s in SERVICES.items():\n"
        "    c = getattr(importlib.import_module(s.module), s.plugin)\n"
        "    names = [n for p in (c.protocol, c.secure_protocol) for n in ([p] if isinstance(p, str) else p or [])]\n"
        "    assert scheme in names, (scheme, names)\n"
    )
    run(code + "print(0)", None)
    assert {"verify", "redirect", "template", "format", "attach", "url"} & PARAMETERS == set()
    assert {service.form for service in SERVICES.values()} == set(Form)


def run(code: str, given: Any) -> Any:
    """Return what a fresh Python makes of it: the plugins and the confinement stay out of this process."""
    environment = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


CONFINED = """
import json, os, socket, subprocess, sys, ipaddress
from riskladder.notify.apprise_worker import confine
from riskladder.notify.egress import Egress
refusals = []
confine(Egress(["localhost"], [ipaddress.ip_network("127.0.0.0/8")]), ("*.example.com",), refusals)
def attempt(act):
    try:
        act()
    except ConnectionRefusedError:
        return "connected"
    except OSError as error:
        return "refused" if isinstance(error, PermissionError) or refusals else f"error {error}"
    return "done"
found = {}
for name, act in {
    "address": lambda: socket.create_connection(("10.1.2.3", 80), timeout=1),
    "raw": lambda: socket.socket().connect(("169.254.169.254", 80)),
    "unix": lambda: socket.socket(socket.AF_UNIX).connect("/run/docker.sock"),
    "name": lambda: socket.create_connection(("inner.svc", 80), timeout=1),
    "file": lambda: open("/etc/passwd").read(),
    "token": lambda: open("/var/run/secrets/kubernetes.io/serviceaccount/token").read(),
    "proc": lambda: open("/proc/self/environ").read(),
    "climb": lambda: open(sys.prefix + "/../../../../../etc/passwd").read(),
    "write": lambda: open(sys.prefix + "/x", "w"),
    "low": lambda: os.open("/tmp/x", os.O_WRONLY | os.O_CREAT),
    "program": lambda: subprocess.run(["true"]),
    "system": lambda: os.system("true"),
    "fork": lambda: os._exit(0) if os.fork() == 0 else None,
}.items():
    refusals.clear()
    found[name] = attempt(act)
refusals.clear()
found["listed"] = attempt(lambda: socket.create_connection(("localhost", 9), timeout=1))
print(json.dumps(found))
"""


def test_child_reaches_nothing_but_what_the_guard_lets_out() -> None:
    """The confinement itself, in a process of its own: it cannot be taken off again."""
    found = run(CONFINED, None)
    assert found.pop("listed") == "connected"
    assert set(found.values()) == {"refused"}, found


SLACK = """
import json, requests, sys
from riskladder.notify.apprise_services import SERVICES
from riskladder.notify.apprise_worker import _plugin, _send
order = json.load(sys.stdin)
sent = []
class Answer:
    status_code, content, text, headers = 200, b"ok", "ok", {}
def post(*arguments, **named):
    sent.append([arguments, {k: str(v) for k, v in named.items()}])
    return Answer
requests.post = post
requests.Session.post = lambda self, *a, **k: post(*a, **k)
requests.Session.request = lambda self, method, *a, **k: post(*a, **k)
service = SERVICES[order["url"].partition(":")[0]]
_send(_plugin(service, order["url"]), service, order)
print(json.dumps(sent))
"""


def test_slack_is_sent_our_own_markup_and_nothing_is_escaped_twice_or_unescaped() -> None:
    """Against Apprise's real plugin, with the request to Slack itself caught: Slack cannot be reached from a test."""
    hostile = notice(message="<!channel> &lt;!here&gt; <https://evil.example|Approve> *b* a & b")
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    order = {"url": url, "title": subject(hostile, Form.SLACK), "body": body(hostile, Form.SLACK), "type": "failure"}
    [[arguments, named]] = run(SLACK, order)
    assert [*arguments, named.get("url")][0] == (
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )
    assert named["allow_redirects"] == "False"
    payload = json.loads(named["data"])
    [attachment] = payload["attachments"]
    assert payload["mrkdwn"] is True
    assert attachment["text"] == body(hostile, Form.SLACK)
    assert "<!" not in named["data"]
    assert "evil.example|" not in named["data"]
    assert attachment["title"].startswith("[riskladder] high: ‹!channel›")


URLS = {
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "tgram": "tgram://123456789:abcdefg_hijklmnop/12315544/",
    "gchat": "gchat://workspace/webhook-key/webhook-token",
    "wxteams": "wxteams://" + "a" * 80,
    "webex": "webex://" + "a" * 80,
    "pover": f"pover://{'u' * 30}@{'a' * 30}",
    "twilio": f"twilio://AC{'a' * 32}:{'b' * 32}@12025551234/12025551235",
    "sns": f"sns://AKIAABCDEFGHIJKLMNOP/{'s' * 40}/us-west-2/12223334444",
    "ses": f"ses://risk@example.com/AKIAABCDEFGHIJKLMNOP/{'s' * 40}/us-west-2/legal@example.com",
    "zulip": f"zulip://botname@organization/{'a' * 32}",
    "gotify": f"gotify://own.example.com/{TOKEN}",
    "gotifys": f"gotifys://own.example.com/{TOKEN}",
    "matrix": "matrix://user:pass@own.example.com/%23room?e2ee=no",
    "matrixs": "matrixs://user:pass@own.example.com/%23room?e2ee=no",
    "mmost": "mmost://own.example.com/3ccdd113474722377935511fc85d3dd4",
    "mmosts": "mmosts://own.example.com/3ccdd113474722377935511fc85d3dd4",
    "ntfy": "ntfy://own.example.com/topic",
    "ntfys": "ntfys://topic",
    "rocket": "rocket://user:pass@own.example.com/%23channel",
    "rockets": "rockets://user:pass@own.example.com/%23channel",
    "workflow": "workflow://own.example.com:443/abcdabcd/sigsigsig",
    "workflows": "workflows://own.example.com:443/abcdabcd/sigsigsig",
}
CAUGHT = """
import json, requests, sys
from riskladder.notify.apprise_services import SERVICES
from riskladder.notify.apprise_worker import _plugin, _send
sent = []
class Answer:
    status_code, text, headers = 200, "", {"Content-Type": "application/json"}
    content = json.dumps({"ok": True, "access_token": "x", "user_id": "@a:b", "room_id": "!r:h", "result": "success",
                          "status": "success", "data": {"authToken": "a", "userId": "u"}}).encode()
    def json(self):
        return json.loads(self.content)
def caught(method):
    def call(*arguments, **named):
        url = named.get("url") or next(a for a in arguments if isinstance(a, str) and "://" in a)
        sent.append([url, str(named.get("data") or named.get("json") or ""), named["allow_redirects"], named["verify"]])
        return Answer()
    return call
for name in ("get", "post", "put", "delete", "request"):
    setattr(requests, name, caught(name))
    setattr(requests.Session, name, lambda self, *a, call=caught(name), **k: call(*a, **k))
found = {}
for scheme, order in json.load(sys.stdin).items():
    service = SERVICES[scheme]
    plugin = _plugin(service, order["url"])
    plugin.request_rate_per_sec = 0
    found[scheme] = [_send(plugin, service, order), list(sent)]
    sent.clear()
print(json.dumps(found))
"""


def test_every_service_is_reached_at_its_own_host_with_checked_certificates_and_no_redirects() -> None:
    """Against Apprise's real plugins, with the requests caught."""
    assert URLS.keys() | {"mailto", "mailtos", "slack"} == SERVICES.keys()
    for status in ("EscalationOpened", "Acknowledged", "Remediated"):
        hostile = notice(about=status, message="<!channel> @everyone [x](https://evil.example) *b* `c`")
        orders = {
            scheme: {
                "url": url,
                "title": subject(hostile, SERVICES[scheme].form),
                "body": body(hostile, SERVICES[scheme].form),
                "text": body(hostile, Form.TEXT),
                "id": "<a@riskladder.dev>",
                "thread": "<b@riskladder.dev>",
                "type": {"EscalationOpened": "failure", "Acknowledged": "info"}.get(status, "success"),
            }
            for scheme, url in URLS.items()
        }
        for scheme, (delivered, requests) in run(CAUGHT, orders).items():
            assert delivered, scheme
            assert any("credit-scorer" in data.replace("\\", "") for _, data, _, _ in requests) or scheme == "ses", (
                scheme
            )
            for url, data, redirects, verify in requests:
                assert (redirects, verify) == (False, True), url
                Egress(["own.example.com"], []).check_host(urlsplit(url).hostname or "", also=SERVICES[scheme].hosts)
                if SERVICES[scheme].form is Form.CHAT:
                    for markup in ("<!channel", "@everyone", "](http", "*b*", "`c`"):
                        assert markup not in data, (scheme, markup)


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_scrub_takes_out_every_form_of_a_secret() -> None:
    url = "mailto://user:p%40ss%2Fword@mail.example.com/?to=a@example.com"
    text = f"could not reach {url} with p@ss/word or p%40ss%2Fword for user"
    assert "word" not in scrub(text, secret_parts(url))
    assert scrub("a b c", ["a"]) == "a b c"
