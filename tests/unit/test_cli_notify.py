"""`riskladder notify test`: through receivers on this machine."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result

from riskladder.api.ladder import EscalationLadderSpec
from riskladder.cli import notify as command
from riskladder.cli.main import app
from riskladder.cli.people.session import Session
from riskladder.cluster.client import Client, Forbidden, NotFound
from riskladder.cluster.resources import Resource
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from tests.patience import PATIENCE
from tests.unit.notify_support import HERE, Peer, hanging

KEY = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
ROUTING_KEY = "R0123456789abcdef0123456789abcde"
TOKEN = "t0ken-of-the-alertmanager"
VALUES = {"hook": KEY, "pager": ROUTING_KEY, "alerts": TOKEN, "alerts.for": "Alertmanager 127.0.0.1"}


def document(url: str = "http://127.0.0.1:9") -> dict[str, Any]:
    return {
        "governs": {"selector": {"matchLabels": {"a": "b"}}},
        "channels": [
            {"name": "hook", "type": "Webhook", "url": f"{url}/hook", "secretKey": "hook"},
            {"name": "pager", "type": "PagerDuty", "secretKey": "pager"},
            {"name": "alerts", "type": "Alertmanager", "url": url, "secretKey": "alerts"},
            {"name": "unused", "type": "Apprise", "secretKey": "missing"},
        ],
        "stakeholders": [
            {"role": "legal", "notify": ["hook", "pager"]},
            {"role": "deputy", "notify": ["hook"]},
            {"role": "operations", "notify": ["alerts"]},
            {"role": "quiet"},
        ],
        "indicators": [{"name": "x"}],
        "tiers": [{"name": "high", "triggers": [{"indicator": "x", "above": 1}]}],
    }


def ladder(url: str = "http://127.0.0.1:9") -> EscalationLadderSpec:
    return EscalationLadderSpec.model_validate(document(url))


async def tried(
    peer: Peer,
    role: str | None = None,
    egress: Egress = HERE,
    timeout: float = 5.0,  # noqa: ASYNC109
) -> dict[str, command.Outcome]:
    found = command.trials(ladder(peer.url), role)
    assert not isinstance(found, str)
    notices = command.Notices("models", "credit")
    outcomes = await command.send_all(found, VALUES, notices, egress, timeout, pagerduty_url=peer.url)
    return {outcome.trial.channel.name: outcome for outcome in outcomes}


# --- What is sent -----------------------------------------------------------------------------------------------------


async def test_each_channel_is_tried_once_and_leaves_nothing_open() -> None:
    async with Peer() as peer:
        outcomes = await tried(peer)
    assert {name: bool(outcome.error) for name, outcome in outcomes.items()} == {
        "hook": False,
        "pager": False,
        "alerts": False,
        "unused": True,
    }
    assert outcomes["unused"].error == "key missing is not in Secret riskladder-channels"
    assert outcomes["hook"].trial.roles == ("legal", "deputy")
    assert outcomes["hook"].text.startswith("delivered in ")
    bodies: dict[str, list[Any]] = {}
    for got in peer.got:
        bodies.setdefault(got.path, []).append(json.loads(got.body))

    [event] = bodies["/hook"]
    assert (event["data"]["about"], event["data"]["status"], event["data"]["severity"]) == ("Test", "resolved", "info")
    assert event["data"]["headline"].startswith("TEST of channel hook of ladder credit: nothing has happened")

    trigger, resolve = bodies["/v2/enqueue"]
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["severity"] == "info"
    assert "TEST" in trigger["payload"]["summary"]

    [[firing], [resolved]] = bodies["/api/v2/alerts"]
    assert firing["labels"] == resolved["labels"]
    assert (firing["labels"]["severity"], resolved["annotations"]["status"]) == ("info", "resolved")
    assert resolved["endsAt"] < firing["endsAt"]


async def test_webhook_is_signed_with_the_key_of_the_secret() -> None:
    async with Peer() as peer:
        await tried(peer, "deputy")
    [got] = peer.got
    assert Webhook(KEY).verify(got.body, got.headers)["data"]["role"] == "deputy"


async def test_two_tests_are_not_taken_for_one() -> None:
    async with Peer() as peer:
        await tried(peer, "deputy")
        await tried(peer, "deputy")
    first, second = (json.loads(got.body)["id"] for got in peer.got)
    assert first != second


async def test_a_channel_that_hangs_is_bounded_and_holds_up_no_other() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await hanging(request) if request.path == "/hook" else web.Response(status=202)

    async with Peer(answer) as peer, asyncio.timeout(PATIENCE):
        outcomes = await tried(peer, timeout=0.5)
    assert outcomes["hook"].error == "127.0.0.1 did not answer within 0.5 s"
    assert not outcomes["alerts"].error


async def test_an_incident_that_stays_open_is_said() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return web.Response(status=202 if body["event_action"] == "trigger" else 500)

    async with Peer(answer) as peer:
        found = [trial for trial in command.trials(ladder(peer.url), "legal") if trial.channel.name == "pager"]  # type: ignore[union-attr]
        notices = command.Notices("models", "credit")
        [outcome] = await command.send_all(found, VALUES, notices, HERE, 5, pagerduty_url=peer.url)
    assert outcome.error == "opened, and not resolved: 127.0.0.1 answered 500 Internal Server Error"


async def test_what_the_options_do_not_let_out_is_refused_with_the_option() -> None:
    async with Peer() as peer:
        outcomes = await tried(peer, "deputy", Egress((), ()))
    assert peer.got == []
    assert "--notify-host 127.0.0.1" in outcomes["hook"].error


async def test_secrets_are_in_no_outcome() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        text = f"{await request.text()} {dict(request.headers)}"
        return web.json_response({"message": text[:200], "errors": [text[-200:]]}, status=400)

    async with Peer(echo) as peer:
        outcomes = await tried(peer)
    text = json.dumps(command.as_json(outcomes.values(), "models", "credit"))
    assert all(outcome.error for outcome in outcomes.values())
    assert not [secret for secret in VALUES.values() if secret in text]


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("nobody", "the ladder has no role nobody; its roles: legal, deputy, operations and quiet"),
        ("quiet", "role quiet has no channel: it is notified through Events only"),
    ],
)
def test_role_without_channels(role: str, says: str) -> None:
    assert command.trials(ladder(), role) == says


# --- The command ------------------------------------------------------------------------------------------------------


class Stored:
    """A client that has a ladder, and a Secret or none."""

    def __init__(self, url: str, secret: dict[str, str] | Exception) -> None:
        self.url = url
        self.secret = secret

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        missing = NotFound(404, "NotFound", f'x "{name}" not found', verb="get", resource=resource.title, where="")
        if resource.kind == "EscalationLadder":
            if name != "credit":
                raise missing
            return {"spec": document(self.url)}
        if isinstance(self.secret, Exception):
            raise self.secret
        if not self.secret:
            raise missing
        return {"data": {k: base64.b64encode(v.encode()).decode() for k, v in self.secret.items()}}


@pytest.fixture
def receiver() -> Iterator[str]:
    """Takes everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, receiver: str) -> Run:
    def invoke(*arguments: str, secret: dict[str, str] | Exception = VALUES) -> Result:
        session = Session(cast(Any, None), cast(Client, Stored(receiver, secret)), "models")

        def run_in_session(kubeconfig: str | None, namespace: str | None, work: Any) -> Any:
            from riskladder.cli.people.session import end
            from riskladder.cluster.client import ApiError
            from riskladder.people.answers import explain

            try:
                return asyncio.run(work(session))
            except ApiError as error:
                end(2, explain(error))

        monkeypatch.setattr(command, "run_in_session", run_in_session)
        options = ("--notify-host", "127.0.0.1", "--notify-network", "127.0.0.0/8")
        return CliRunner().invoke(app, ["notify", "test", *arguments, *options])

    return invoke


def test_all_delivered(run: Run) -> None:
    result = run("credit", "--role", "operations")
    assert (result.exit_code, result.stderr) == (0, "")
    head, line, _, tried_from, *more = result.stdout.splitlines()
    assert head.split() == ["ROLE", "CHANNEL", "TYPE", "RESULT"]
    assert line.split()[:5] == ["operations", "alerts", "Alertmanager", "delivered", "in"]
    assert tried_from == "1 channel tried from this machine, none failed."
    assert "The operator sends from its pod" in more[0]
    assert more[-1] == (
        "kubectl exec -n riskladder-system deploy/riskladder -- "
        "/opt/riskladder/bin/riskladder notify test credit -n models"
    )


def test_one_not_delivered(run: Run) -> None:
    result = run("credit", "-o", "json", "--role", "legal", secret={"hook": KEY, "pager": "no routing key"})
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["namespace"], answer["ladder"], answer["sentFrom"]) == ("models", "credit", "this machine")
    hook, pager = answer["channels"]
    assert (hook["channel"], hook["roles"], hook["delivered"], hook["error"]) == ("hook", ["legal"], True, None)
    assert pager["error"] == "the routing key is not 32 letters and digits"
    assert KEY not in result.stdout


def test_without_the_secret_each_channel_says_which_key_it_wants(run: Run) -> None:
    result = run("credit", "--role", "deputy", secret={"another": "value"})
    assert result.exit_code == 1
    assert "failed: key hook is not in Secret riskladder-channels" in result.stdout


def test_where_there_is_no_secret_that_is_said(run: Run) -> None:
    result = run("credit", "--role", "deputy", secret={})
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert (
        "failed: there is no Secret riskladder-channels in the namespace of the ladder: create it with the key" in said
    )


async def test_what_is_said_of_a_host_is_true_of_the_command_as_well() -> None:
    with pytest.raises(Undeliverable) as refused:
        Egress((), ()).check_host("mail.example.com")
    assert "operator" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "secret", "says"),
    [
        (("none",), VALUES, "there is no ladder none in namespace models"),
        (("credit", "--role", "quiet"), VALUES, "role quiet has no channel"),
        (
            ("credit",),
            Forbidden(403, "Forbidden", "ann may not", verb="get", resource="secrets", where=""),
            "no permission to get secrets: ann may not",
        ),
        (("credit", "--notify-host", "http://x"), VALUES, "--notify-host, --notify-network: 'http://x' is not a host"),
        (("credit", "--notify-network", "x"), VALUES, "--notify-host, --notify-network: 'x' does not appear to be"),
    ],
)
def test_what_cannot_be_tried(
    run: Run, arguments: tuple[str, ...], secret: dict[str, str] | Exception, says: str
) -> None:
    result = run(*arguments, secret=secret)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {says}")
