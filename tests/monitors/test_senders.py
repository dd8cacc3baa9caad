"""How senders prove themselves, and how the server proves itself, without a cluster."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from riskladder.api.binding import HmacScheme
from riskladder.cluster.certificate import Certificate, certificate_of
from riskladder.ingest.senders import NotProved, Senders
from riskladder.ingest.signatures import KEEP, TOLERANCE, BadSignature, Replays, Signed, key_of, verify
from riskladder.reporting.bindings import Binding
from tests.cluster.certs import CertificateAuthority
from tests.monitors.tables import SAMPLES, load
from tests.monitors.test_binding_status import stored

KEY = bytes(range(32))
SECRET = {
    HmacScheme.STANDARD_WEBHOOKS: b"whsec_" + base64.b64encode(KEY),
    HmacScheme.MLFLOW: base64.b64encode(KEY),
    HmacScheme.GRAFANA: base64.b64encode(KEY),
}
NOW = datetime(2026, 11, 24, 6, tzinfo=UTC).timestamp()
BODY = b'{"value": 0.27}'


def signed(scheme: HmacScheme, body: bytes = BODY, at: float = NOW, identifier: str = "one") -> dict[str, str]:
    """The headers, as each sender writes them."""
    stamp = str(int(at))
    if scheme is HmacScheme.STANDARD_WEBHOOKS:
        return {
            "webhook-id": identifier,
            "webhook-timestamp": stamp,
            "webhook-signature": Webhook(SECRET[scheme].decode()).sign(
                identifier, datetime.fromtimestamp(at, UTC), body.decode()
            ),
        }
    if scheme is HmacScheme.MLFLOW:
        content = f"{identifier}.{stamp}.".encode() + body
        digest = hmac.new(SECRET[scheme], content, hashlib.sha256).digest()
        return {
            "x-mlflow-delivery-id": identifier,
            "x-mlflow-timestamp": stamp,
            "x-mlflow-signature": "v1," + base64.b64encode(digest).decode(),
        }
    digest = hmac.new(SECRET[scheme], stamp.encode() + b":" + body, hashlib.sha256).digest()
    return {"x-grafana-alerting-timestamp": stamp, "x-grafana-alerting-signature": digest.hex()}


def check(scheme: HmacScheme, headers: Mapping[str, str], body: bytes = BODY, now: float = NOW) -> Signed:
    return verify(scheme, key_of(scheme, SECRET[scheme]), headers, body, now)


@pytest.mark.parametrize("scheme", HmacScheme)
def test_each_scheme_takes_what_its_sender_signs(scheme: HmacScheme) -> None:
    assert check(scheme, signed(scheme)).timestamp == NOW
    assert check(scheme, signed(scheme), now=NOW + TOLERANCE) == check(scheme, signed(scheme), now=NOW - TOLERANCE)


@pytest.mark.parametrize("event", ["alias", "version"])
def test_signature_of_mlflow_itself_is_taken(event: str) -> None:
    sent = load(SAMPLES / f"mlflow/mlflow-3.17-{event}-created.http")
    key = key_of(HmacScheme.MLFLOW, b"sixteen bytes or more")
    at = float(sent.headers["x-mlflow-timestamp"])
    assert verify(HmacScheme.MLFLOW, key, sent.headers, sent.raw, at).timestamp == at
    with pytest.raises(BadSignature):
        verify(HmacScheme.MLFLOW, key, sent.headers, sent.raw + b" ", at)


@pytest.mark.parametrize("scheme", HmacScheme)
@given(data=st.data())
def test_nothing_else_is_taken(scheme: HmacScheme, data: st.DataObject) -> None:
    """Whatever is altered of a signed delivery, be it one byte of one header or of the body, is refused."""
    headers, body = signed(scheme), bytearray(BODY)
    name = data.draw(st.sampled_from([*headers, "body"]))
    if name == "body":
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] ^= data.draw(st.integers(1, 255))
    else:
        value = data.draw(st.text(st.characters(codec="ascii"), max_size=64).filter(lambda t: t != headers[name]))
        if name.endswith("signature"):  # of several signatures one has to be right
            value = value.replace(headers[name], "")
        if "timestamp" in name and value.strip() == headers[name]:
            return
        headers[name] = value
    with pytest.raises(BadSignature):
        check(scheme, headers, bytes(body))


@pytest.mark.parametrize("scheme", HmacScheme)
@pytest.mark.parametrize("off", [-TOLERANCE - 1, TOLERANCE + 1, 1e9, -1e9])
def test_signature_of_another_time_proves_nothing(scheme: HmacScheme, off: float) -> None:
    with pytest.raises(BadSignature, match="away from the time here"):
        check(scheme, signed(scheme, at=NOW + off))


@pytest.mark.parametrize("stamp", ["", "nan", "inf", "-inf", "1e400", "now", "0x10", "9" * 30])
def test_time_that_is_none_proves_nothing(stamp: str) -> None:
    headers = signed(HmacScheme.MLFLOW) | {"x-mlflow-timestamp": stamp}
    with pytest.raises(BadSignature):
        check(HmacScheme.MLFLOW, headers)


def test_one_of_several_signatures_is_enough_while_a_key_is_changed() -> None:
    headers = signed(HmacScheme.STANDARD_WEBHOOKS)
    headers["webhook-signature"] = "v1,AAAA v2,x " + headers["webhook-signature"]
    assert check(HmacScheme.STANDARD_WEBHOOKS, headers).identifier == "one"


@pytest.mark.parametrize("secret", [b"", b"short", b"whsec_" + base64.b64encode(b"short"), b"whsec_!!!"])
def test_key_that_keeps_nobody_out_is_none(secret: bytes) -> None:
    with pytest.raises(BadSignature):
        key_of(HmacScheme.STANDARD_WEBHOOKS, secret)


def test_replay_is_known_until_its_signature_is_too_old() -> None:
    replays, one = Replays(), Signed("one", NOW)
    assert not replays.is_known("a", one)
    replays.take("a", one, NOW)
    assert replays.is_known("a", one)
    assert not replays.is_known("b", one), "of another binding"
    replays.take("a", Signed("two", NOW + 2 * TOLERANCE + 1), NOW + 2 * TOLERANCE + 1)
    assert not replays.is_known("a", one)


def test_flood_forgets_the_oldest_and_takes_no_more_memory() -> None:
    replays = Replays()
    for number in range(KEEP + 10):
        replays.take("a", Signed(str(number), NOW), NOW)
    assert not replays.is_known("a", Signed("0", NOW))
    assert replays.is_known("a", Signed(str(KEEP + 9), NOW))


async def test_renewed_certificate_is_shown_to_whoever_connects_next(tmp_path: Path) -> None:
    old, new = CertificateAuthority("old"), CertificateAuthority("new")

    def issue(authority: CertificateAuthority) -> None:
        issued = authority.server("localhost", ["127.0.0.1"])
        (tmp_path / "tls.crt").write_bytes(issued.certificate)
        (tmp_path / "tls.key").write_bytes(issued.key)

    issue(old)
    certificate = Certificate(tmp_path)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context)
    port = server.sockets[0].getsockname()[1]

    async def trusts(authority: CertificateAuthority) -> bool:
        context = ssl.create_default_context(cadata=authority.certificate.decode())
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except ssl.SSLError:
            return False
        writer.close()
        return True

    async with server:
        assert (await trusts(old), await trusts(new)) == (True, False)
        assert not certificate.renew()
        issue(new)
        assert certificate.renew()
        assert (await trusts(old), await trusts(new)) == (False, True)
        (tmp_path / "tls.key").write_bytes(b"nothing")
        assert not certificate.renew(), "what does not fit is left alone"
        assert await trusts(new)


def test_certificate_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"expected tls\.crt and tls\.key"):
        Certificate(tmp_path)


def test_directory_without_a_certificate_is_plain_http(tmp_path: Path) -> None:
    assert certificate_of("") is None
    assert certificate_of(str(tmp_path)) is None
    (tmp_path / "tls.crt").write_text("half of it")
    with pytest.raises(OSError, match=r"expected tls\.crt and tls\.key"):
        certificate_of(str(tmp_path))


@pytest.mark.parametrize("token", ["", "Bearer a.b.c"])
async def test_who_proves_nothing_is_asked_about_the_same_whether_a_binding_exists_or_not(token: str) -> None:
    """The API server is asked about a token in both cases: else the time taken would betray a signed one."""
    asked: list[list[str]] = []
    for binding in (
        None,
        Binding.of(_stored({"hmac": {"secretKey": "key"}})),
        Binding.of(_stored({"audienceToken": {}})),
    ):
        client: Any = _Asked()
        senders = Senders(client)
        for _ in range(2):
            with pytest.raises(NotProved):
                await senders.prove(binding, {"authorization": token} if token else {}, BODY)
        asked.append([path for path in client.paths if "tokenreviews" in path])
    assert asked[0] == asked[1] == asked[2]


class _Asked:
    """Takes no token, and has no Secret."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def request(self, _: str, path: str, **__: Any) -> dict[str, Any]:
        self.paths.append(path)
        return {"status": {"authenticated": False}}

    async def get(self, *_: Any) -> dict[str, Any]:
        return {}


def _stored(sender: dict[str, Any]) -> dict[str, Any]:
    return stored() | {"spec": stored()["spec"] | {"sender": sender}}
