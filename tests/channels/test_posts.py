"""The channels that speak HTTP, against servers on this machine that check what they get."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook, WebhookVerificationError

from riskladder.api.ladder import Channel
from riskladder.notify import alertmanager, pagerduty, webhook
from riskladder.notify.egress import Egress
from riskladder.notify.errors import MAX_MESSAGE, Undeliverable
from riskladder.notify.forms import Form
from riskladder.notify.notice import Notice
from riskladder.notify.notifier import ALERT_LIFETIME, Notifier
from riskladder.notify.render import body
from tests.unit.notify_support import HERE, LOOPBACK, NOW, Answer, Got, Peer, answering, hanging, notice

KEY = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
ROUTING_KEY = "R0123456789abcdef0123456789abcde"


def channel(kind: str, url: str | None = None, key: str | None = "pager") -> Channel:
    return Channel.model_validate({"name": "c", "type": kind, "url": url, "secretKey": key})


async def send(
    peer: Peer,
    kind: str = "Webhook",
    *,
    credential: str | None = KEY,
    message: Notice | None = None,
    egress: Egress = HERE,
    timeout: float = 5,  # noqa: ASYNC109
    path: str = "/hook",
    at: datetime | None = None,
) -> None:
    """Send one message over a channel of this kind to the peer."""
    notifier = Notifier(egress, timeout=timeout, pagerduty_url=peer.url)
    url = None if kind == "PagerDuty" else peer.url + path
    try:
        await notifier.send(
            channel(kind, url, None if kind == "Alertmanager" and credential is None else "pager"),
            credential,
            message or notice(),
            attempted_at=at or datetime.now(UTC),
        )
    finally:
        await notifier.close()


async def refused(answer: Answer, **how: Any) -> Undeliverable:
    async with Peer(answer) as peer:
        with pytest.raises(Undeliverable) as error:
            await send(peer, **how)
    assert len(error.value.message) <= MAX_MESSAGE
    return error.value


# --- Webhook ----------------------------------------------------------------------------------------------------------


async def one_webhook(credential: str = KEY, **how: Any) -> Got:
    async with Peer() as peer:
        await send(peer, credential=credential, **how)
    [got] = peer.got
    return got


@pytest.mark.parametrize("secret", [KEY, "a raw secret of its own kind"])
async def test_webhook_is_signed_as_standard_webhooks_say(secret: str) -> None:
    got = await one_webhook(secret)
    verifier = Webhook(secret) if secret is KEY else Webhook(secret.encode())
    assert verifier.verify(got.body, got.headers)["id"] == got.headers["webhook-id"]
    with pytest.raises(WebhookVerificationError):
        verifier.verify(got.body.replace(b"high", b"calm"), got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(b"another secret of some length").verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        verifier.verify(got.body, got.headers | {"webhook-timestamp": str(int(time.time()) - 3)})


@pytest.mark.parametrize("secret", [KEY, "a raw secret of its own kind"])
async def test_verification_of_the_documentation_works(secret: str) -> None:
    page = (Path(__file__).parents[2] / "docs/notifications.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own page
    got = await one_webhook(secret)
    assert names["verify"](secret, got.body, got.headers)["data"] == notice().to_json() | {
        "text": body(notice(), Form.TEXT)
    }
    with pytest.raises(WebhookVerificationError):
        names["verify"](secret, got.body + b" ", got.headers)


async def test_signature_is_an_hmac_of_id_time_and_body() -> None:
    """Computed here from the specification, without the package that signs."""
    got = await one_webhook()
    content = b".".join((got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body))
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"


async def test_webhook_is_a_cloudevent_with_every_fact() -> None:
    got = await one_webhook()
    assert got.headers["content-type"].startswith("application/cloudevents+json")
    event = from_http_event(HTTPMessage(got.headers, got.body))
    assert event.get_type() == "dev.riskladder.notification.v1"
    assert event.get_source() == "/namespaces/models/escalations/credit-scorer-3f9a1c2b"
    assert event.get_id() == "rung-1.high.legal.legal-pager/0c5d3e4f-uid"
    assert event.get_time() == NOW
    assert event.get_data() == notice().to_json() | {"text": body(notice(), Form.TEXT)}
    assert json.loads(got.body)["specversion"] == "1.0"


async def test_second_attempt_has_the_same_body_and_id_and_a_new_timestamp() -> None:
    now = datetime.now(UTC)
    first, second = await one_webhook(at=now), await one_webhook(at=now + timedelta(seconds=30))
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]


@pytest.mark.parametrize("secret", ["whsec_not base64", "whsec_", "whsec_c2hvcnQ=", "short"])
async def test_bad_secret_is_refused_before_anything_is_sent(secret: str) -> None:
    async with Peer() as peer:
        with pytest.raises(Undeliverable, match="secret") as error:
            await send(peer, credential=secret)
    assert error.value.permanent
    assert peer.got == []
    assert len(secret) < 8 or secret not in error.value.message


# --- What a server may answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_success_is_success(status: int) -> None:
    async with Peer(answering(status)) as peer:
        await send(peer)
    assert len(peer.got) == 1


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(status, True) for status in (400, 401, 403, 404, 410, 422)]
    + [(status, False) for status in (408, 425, 429, 500, 502, 503, 504)],
)
async def test_what_may_pass_is_tried_again_and_nothing_else(status: int, permanent: bool) -> None:
    error = await refused(answering(status, "inner secrets"))
    assert error.permanent is permanent
    assert f"127.0.0.1 answered {status}" in error.message
    assert "inner secrets" not in error.message


async def test_retry_after_is_passed_on_in_both_forms_and_bounded() -> None:
    assert (await refused(answering(429, Retry_After="17"))).retry_after == 17
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (await refused(answering(503, Retry_After=date))).retry_after <= 100
    assert (await refused(answering(429, Retry_After="999999"))).retry_after == 3600
    for nonsense in ("soon", "-5", "", "1e9", "Tue, 99 Nov 2026"):
        assert (await refused(answering(429, Retry_After=nonsense))).retry_after == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_never_followed(status: int) -> None:
    async with Peer() as other:
        error = await refused(answering(status, Location=f"{other.url}/elsewhere"))
    assert other.got == []
    assert error.permanent
    assert "redirect" in error.message


async def test_server_that_hangs_is_given_up_in_time() -> None:
    error = await refused(hanging, timeout=0.3)
    assert not error.permanent
    assert "did not answer within 0.3 s" in error.message


async def test_server_that_is_not_there_is_tried_again() -> None:
    async with Peer() as peer:
        pass
    with pytest.raises(Undeliverable, match="could not be reached") as error:
        await send(peer)
    assert not error.value.permanent


async def test_endless_and_hostile_answers_do_no_harm() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500, reason="Evil")
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    error = await refused(endless)
    assert error.message == "127.0.0.1 answered 500 Internal Server Error"


async def test_server_of_another_protocol_is_not_quoted() -> None:
    """An error that showed the banner would let a ladder's author read what inner servers say."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 inner-secret ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        peer = Peer(port=server.sockets[0].getsockname()[1])
        with pytest.raises(Undeliverable) as error:
            await send(peer)
    assert error.value.message == "127.0.0.1 could not be reached: its answer is not HTTP"


async def test_refused_egress_is_permanent_and_nothing_is_sent() -> None:
    async with Peer() as peer:
        for egress, option in ((Egress([], []), "--notify-host"), (Egress(["127.0.0.1"], []), "--notify-network")):
            for kind in ("Webhook", "Alertmanager", "PagerDuty"):
                credential = ROUTING_KEY if kind == "PagerDuty" else KEY
                with pytest.raises(Undeliverable, match=option) as error:
                    await send(peer, kind, egress=egress, credential=credential)
                assert error.value.permanent
    assert peer.got == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as proxy, Peer() as peer:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        await send(peer)
    assert (len(proxy.got), len(peer.got)) == (0, 1)


# --- PagerDuty --------------------------------------------------------------------------------------------------------


async def pagerduty_events(*messages: Notice, credential: str = ROUTING_KEY) -> list[dict[str, Any]]:
    async with Peer() as peer:
        for message in messages:
            await send(peer, "PagerDuty", credential=credential, message=message)
    assert {got.path for got in peer.got} == {"/v2/enqueue"}
    return [json.loads(got.body) for got in peer.got]


async def test_pagerduty_incident_is_opened_acknowledged_and_resolved_under_one_key() -> None:
    opened, taken, over = await pagerduty_events(notice(), notice(about="Acknowledged"), notice(about="Remediated"))
    assert [e["event_action"] for e in (opened, taken, over)] == ["trigger", "acknowledge", "resolve"]
    assert {e["dedup_key"] for e in (opened, taken, over)} == {notice().dedup}
    assert {e["routing_key"] for e in (opened, taken, over)} == {ROUTING_KEY}
    payload = opened["payload"]
    assert payload["severity"] == "error"
    assert payload["summary"].startswith("[riskladder] credit-scorer (Deployment credit-scorer) is in tier high: ")
    assert payload["source"] == "models/Deployment/credit-scorer"
    assert payload["timestamp"] == "2026-11-24T12:00:20Z"
    assert payload["custom_details"]["commands"] == [option.command for option in notice().options]
    assert {link["href"] for link in opened["links"]} == {
        "https://models.example.com/credit-scorer/3?view=card&lang=en",
        "https://reports.example.com/2026-11-24",
    }


async def test_pagerduty_drill_is_marked() -> None:
    [event] = await pagerduty_events(notice({"drill": True}))
    assert event["payload"]["summary"].startswith("DRILL ")
    assert event["payload"]["custom_details"]["drill"] is True


def test_pagerduty_key_of_long_names_is_short_and_their_own() -> None:
    long = notice()
    keys = set()
    for uid in ("a", "b"):
        changed = Notice(**{f: getattr(long, f) for f in long.__slots__} | {"dedup": "n" * 400 + uid})
        keys.add(pagerduty.dedup_key(changed))
    assert len(keys) == 2
    assert {len(key) for key in keys} == {pagerduty.MAX_DEDUP}


async def test_pagerduty_says_why_it_refused_without_the_key() -> None:
    text = json.dumps(
        {"status": "invalid event", "message": "Event object is invalid", "errors": [f"bad {ROUTING_KEY}"]}
    )
    error = await refused(answering(400, text), kind="PagerDuty", credential=ROUTING_KEY)
    assert error.message == "127.0.0.1 answered 400 Bad Request: Event object is invalid; bad ***"
    assert error.permanent


@pytest.mark.parametrize("key", ["too-short", "eu:", "https://events.pagerduty.com/x", ROUTING_KEY + "\n\nx"])
async def test_pagerduty_key_of_the_wrong_form_is_permanent(key: str) -> None:
    async with Peer() as peer:
        with pytest.raises(Undeliverable, match="routing key is not") as error:
            await send(peer, "PagerDuty", credential=key)
    assert error.value.permanent
    assert key not in error.value.message


@pytest.mark.parametrize(("secret", "host"), [(ROUTING_KEY, pagerduty.US), ("eu:" + ROUTING_KEY, pagerduty.EU)])
async def test_pagerduty_region_is_chosen_by_the_key(secret: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def note(_: object, __: object, url: str, *, body: bytes, **___: object) -> None:
        asked.append((url, json.loads(body)["routing_key"]))

    monkeypatch.setattr(pagerduty, "post", note)
    async with aiohttp.ClientSession() as session:
        await pagerduty.send(session, HERE, secret, notice())
    assert asked == [(f"{host}/v2/enqueue", ROUTING_KEY)]


# --- Alertmanager -----------------------------------------------------------------------------------------------------


async def one_alert(message: Notice, **how: Any) -> tuple[Got, dict[str, Any]]:
    async with Peer(answering(200)) as peer:
        await send(peer, "Alertmanager", message=message, **{"credential": None, "path": "", **how})
    [got] = peer.got
    [alert] = json.loads(got.body)
    return got, alert


async def test_alert_keeps_its_labels_while_the_tier_stays() -> None:
    _, opened = await one_alert(notice())
    _, reminded = await one_alert(notice(about="Reminded", key="k2", at=NOW + timedelta(hours=1)))
    _, risen = await one_alert(notice(tier="critical", key="k3", at=NOW + timedelta(hours=1)))
    _, left = await one_alert(notice(about="RungLeft"))
    assert opened["labels"] == reminded["labels"] == left["labels"]
    assert left["annotations"]["status"] == "resolved"
    assert opened["labels"] == {
        "alertname": "RiskladderEscalation",
        "namespace": "models",
        "escalation": "credit-scorer-3f9a1c2b",
        "uid": "0c5d3e4f-uid",
        "ladder": "credit",
        "role": "legal",
        "tier": "high",
        "severity": "error",
        "drill": "false",
    }
    assert (risen["labels"]["tier"], risen["labels"]["severity"]) == ("critical", "critical")
    assert opened["annotations"]["commands"].splitlines() == [option.command for option in notice().options]
    assert "generatorURL" not in opened


async def test_alert_ends_now_when_it_is_resolved_and_later_while_it_fires() -> None:
    at = NOW + timedelta(hours=2)
    _, opened = await one_alert(notice(), at=at)
    _, over = await one_alert(notice(about="Remediated"), at=at)
    assert datetime.fromisoformat(opened["endsAt"]) == at + ALERT_LIFETIME
    assert datetime.fromisoformat(over["endsAt"]) == at
    assert opened["startsAt"] == "2026-11-24T12:00:20Z"


@pytest.mark.parametrize("path", ["", "/", "/prefix", "/prefix/api/v2/alerts"])
async def test_alertmanager_path_and_token(path: str) -> None:
    got, _ = await one_alert(notice(), path=path, credential="bearer-token")
    assert got.path == "/prefix/api/v2/alerts" if "prefix" in path else "/api/v2/alerts"
    assert got.headers["authorization"] == "Bearer bearer-token"
    bare, _ = await one_alert(notice(), path=path)
    assert "authorization" not in bare.headers


# --- The notifier
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Apprise", "PagerDuty", "Webhook", "Alertmanager"])
@pytest.mark.parametrize("credential", [None, "", " \n"])
async def test_channel_without_its_key_is_permanent(kind: str, credential: str | None) -> None:
    notifier = Notifier(HERE)
    with pytest.raises(Undeliverable, match="key pager is not in Secret riskladder-channels") as error:
        await notifier.send(channel(kind, "http://127.0.0.1:9/"), credential, notice(), attempted_at=NOW)
    assert error.value.permanent
    await notifier.close()


async def test_key_may_end_with_a_newline() -> None:
    assert Webhook(KEY).verify((got := await one_webhook(KEY + "\n")).body, got.headers)


async def test_channel_that_hangs_delays_no_other() -> None:
    notifier = Notifier(Egress(["127.0.0.1"], [LOOPBACK]), timeout=50)
    arrived = asyncio.Semaphore(0)

    async def arriving(request: web.Request) -> web.StreamResponse:
        arrived.release()
        return await hanging(request)

    async with Peer(arriving) as slow, Peer() as fast:

        async def one(url: str) -> None:
            await notifier.send(channel("Webhook", url), KEY, notice(), attempted_at=datetime.now(UTC))

        stuck = [asyncio.create_task(one(slow.url)) for _ in range(30)]
        for _ in range(2):
            await arrived.acquire()
        await asyncio.gather(*(one(fast.url) for _ in range(10)))
        assert (len(slow.got), len(fast.got)) == (2, 10)
        assert not any(task.done() for task in stuck)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
    await notifier.close()


def test_events_and_alerts_are_a_function_of_the_notice() -> None:
    assert pagerduty.to_event("k", notice()) == pagerduty.to_event("k", notice())
    assert alertmanager.to_alert(notice(), NOW) == alertmanager.to_alert(notice(), NOW)
    assert webhook.to_event(notice()).get_attributes() == webhook.to_event(notice()).get_attributes()
