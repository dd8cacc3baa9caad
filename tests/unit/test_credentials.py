"""A key of the Secret is bound to a type of channel and to hosts; and no value of it ever shows."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.ladder import Channel, ChannelType
from riskladder.notify.credentials import credential_of
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from riskladder.notify.notifier import Notifier
from tests.unit.notify_support import HERE, NOW, Peer, notice

VALUES = {
    ChannelType.APPRISE: "mailtos://user:pa55word@mail.example.com?to=legal@example.com",
    ChannelType.PAGERDUTY: "R0123456789abcdef0123456789abcde",
    ChannelType.WEBHOOK: "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode(),
    ChannelType.SLACK: "xoxb-1234567890-abcdefghij C0123456789",
    ChannelType.ALERTMANAGER: "a-bearer-token-of-alertmanager",
}
KINDS = list(ChannelType)
URL = "https://hooks.example.com/path"


def channel(kind: ChannelType, url: str = URL, key: str = "k") -> Channel:
    urls = {"url": url} if kind in (ChannelType.ALERTMANAGER, ChannelType.WEBHOOK) else {}
    return Channel.model_validate({"name": "c", "type": kind, "secretKey": key, **urls})


def refusal(of: Channel, values: dict[str, str]) -> str:
    with pytest.raises(Undeliverable) as caught:
        credential_of(of, values)
    assert caught.value.permanent
    return caught.value.message


def bond(kind: ChannelType, host: str = "hooks.example.com") -> str:
    return f"{kind} {host}" if kind in (ChannelType.ALERTMANAGER, ChannelType.WEBHOOK) else str(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_key_is_used_by_the_type_that_it_is_for_and_by_no_other(kind: ChannelType, other: ChannelType) -> None:
    values = {"k": VALUES[kind], "k.for": bond(kind)}
    if kind is other:
        assert credential_of(channel(kind), values) == VALUES[kind]
        return
    found = refusal(channel(other), values)
    assert f"key k is for channels of type {kind} (key k.for), and this one is {other}" in found
    assert VALUES[kind] not in found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_key_without_a_bond_is_used_by_the_type_of_its_form_only(kind: ChannelType, other: ChannelType) -> None:
    values = {"k": VALUES[kind]}
    if kind is other and kind is not ChannelType.ALERTMANAGER:
        assert credential_of(channel(kind), values) == VALUES[kind]
    elif kind is not ChannelType.ALERTMANAGER or other is kind:
        found = refusal(channel(other), values)
        assert "key k.for, for example " in found
        assert VALUES[kind] not in found


@pytest.mark.parametrize("kind", [ChannelType.ALERTMANAGER, ChannelType.WEBHOOK])
@pytest.mark.parametrize(
    ("url", "hosts", "may"),
    [
        ("https://hooks.example.com/a", "hooks.example.com", True),
        ("https://HOOKS.example.com./a", "Hooks.Example.com", True),
        ("https://hooks.example.com:8443/a", "hooks.example.com", True),
        ("https://hooks.example.com:8443/a", "hooks.example.com:8443", True),
        ("https://hooks.example.com:9093/a", "hooks.example.com:8443", False),
        ("https://hooks.example.com:443/a", "hooks.example.com", True),
        ("https://evil.example.com/hooks.example.com", "hooks.example.com", False),
        ("https://hooks.example.com.evil.example/", "hooks.example.com", False),
        ("https://hooks.example.com@evil.example/", "hooks.example.com", False),
        ("http://[::1]:9093/", "[::1]:9093", True),
        ("http://[::1]:9093/", "[::1]", True),
        ("http://[::2]:9093/", "[::1]", False),
        ("http://b.example/", "a.example b.example", True),
    ],
)
def test_key_is_sent_to_the_hosts_that_it_is_for_and_to_no_other(
    kind: ChannelType, url: str, hosts: str, may: bool
) -> None:
    values = {"k": VALUES[kind], "k.for": f"{str(kind).lower()} {hosts}"}
    if may:
        assert credential_of(channel(kind, url), values) == VALUES[kind]
    else:
        assert f"key k is for {hosts} (key k.for), and this channel sends to " in refusal(channel(kind, url), values)


@pytest.mark.parametrize("text", ["Mail", "Webhook", "Alertmanager", "hooks.example.com"])
def test_bond_that_cannot_be_read_lets_nothing_out_and_says_what_it_is_to_be(text: str) -> None:
    values = {"k": VALUES[ChannelType.WEBHOOK], "k.for": text}
    assert "for example Webhook hooks.example.com" in refusal(channel(ChannelType.WEBHOOK), values)


def test_bond_itself_is_no_credential() -> None:
    values = {"k": "x", "k.for": "Webhook hooks.example.com"}
    assert "is no credential" in refusal(channel(ChannelType.WEBHOOK, key="k.for"), values)


@pytest.mark.parametrize("kind", KINDS)
def test_key_that_is_not_there_is_none(kind: ChannelType) -> None:
    assert credential_of(channel(kind), {"k": " \n"}) is credential_of(channel(kind), {"other": "x"}) is None


@given(st.sampled_from(KINDS), st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_secret_holds_an_error_quotes_no_value(kind: ChannelType, value: str, other: str) -> None:
    secret, shown = f"S3CR3T{value}S3CR3T", ""
    try:
        shown = "" if credential_of(channel(kind), {"k": secret, "k.for": other}) == secret.strip() else secret
    except Undeliverable as error:
        shown = str(error)
    assert "S3CR3T" not in shown


# --- No value ever shows, however it fails ----------------------------------------------------------------------------

TOKEN = "t0k3n-Zm9v.YmFy_9876543210"


def failing(kind: ChannelType, where: str) -> tuple[Channel, str, list[str]]:
    """A channel, its credential with something secret in it, and the pieces that must not show."""
    host = where.removeprefix("http://")
    if kind is ChannelType.APPRISE:
        url = f"gotify://{host}/{TOKEN}"
        return channel(kind), url, [TOKEN, url]
    if kind is ChannelType.PAGERDUTY:
        return channel(kind), VALUES[kind], [VALUES[kind]]
    secret = VALUES[kind] if kind is ChannelType.WEBHOOK else TOKEN
    return channel(kind, f"{where}/hook"), secret, [secret, secret.removeprefix("whsec_")]


async def echo(request: web.Request) -> web.StreamResponse:
    """Say back everything that was sent, in the status line as well."""
    body = (await request.read()).decode()
    said = json.dumps({"headers": dict(request.headers), "body": body, "path": request.path_qs})
    reason = request.headers.get("Authorization", "") + request.path_qs
    return web.Response(status=400, reason=reason, text=said)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["echo", "nothing", "refused", "malformed"])
async def test_no_value_of_the_secret_shows_in_an_error_or_in_a_log(
    kind: ChannelType, answer: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with Peer(echo) as peer:
        url = peer.url if answer != "nothing" else "http://127.0.0.1:9"
        egress = HERE if answer != "refused" else Egress(["elsewhere.example"], [])
        of, credential, secrets = failing(kind, url)
        if answer == "malformed":
            credential = f"{credential}\x00\n{credential}"
        notifier = Notifier(egress, timeout=5, pagerduty_url=url)
        try:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever is raised must not quote it
                await notifier.send(of, credential, notice(), attempted_at=NOW)
        finally:
            await notifier.close()
    shown = "".join((str(caught.value), repr(caught.value.args), *capfd.readouterr(), caplog.text))
    for secret in secrets:
        assert secret not in shown
    assert isinstance(caught.value, Undeliverable), f"{caught.value!r} may quote what it was given"


def test_types_are_all_of_them() -> None:
    assert set(VALUES) == set(ChannelType)
    parts: Any = failing(ChannelType.APPRISE, "http://h")
    assert parts[1].startswith("gotify://h/")
