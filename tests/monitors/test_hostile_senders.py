"""Senders that try what no monitor sends: before they are proved, and after."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from riskladder.api.binding import HmacScheme
from riskladder.ingest.server import _received
from riskladder.ingest.signatures import BadSignature, Signed, verify
from riskladder.ingest.tokens import AUDIENCE, KEEP, Tokens, _expiry
from riskladder.monitors.entries import Delivery
from riskladder.monitors.formats import nannyml
from riskladder.monitors.payload import MAX_BYTES, Malformed, TooLarge, check_bounds, decode

KEY = bytes(range(32))


def token(claims: bytes) -> str:
    return f"a.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b.c",
        "a.é",
        token(b'{"exp": ' + b"9" * 400 + b"}"),
        token(b'{"exp": ' + b"9" * 5000 + b"}"),
        token(b'{"exp": []}'),
        token(b"[]"),
        token(b"[" * 10_000),
        token(b'{"exp": "soon"}'),
    ],
)
def test_token_that_says_no_time_has_none(text: str) -> None:
    """It is read before anybody has proved anything: whatever is in it, there is an answer."""
    assert _expiry(text) is None


@pytest.mark.parametrize("scheme", HmacScheme)
@pytest.mark.parametrize("text", ["\udcff", "é", "१"])
def test_header_that_is_no_ascii_proves_nothing(scheme: HmacScheme, text: str) -> None:
    """A header's bytes that are no UTF-8 come as halves of surrogate pairs; an error would betray the binding."""
    good = {
        "webhook-id": "one",
        "webhook-timestamp": "1",
        "webhook-signature": "v1,AA==",
        "x-mlflow-delivery-id": "one",
        "x-mlflow-timestamp": "1",
        "x-mlflow-signature": "v1,AA==",
        "x-grafana-alerting-timestamp": "1",
        "x-grafana-alerting-signature": "00",
    }
    for name in good:
        with pytest.raises(BadSignature):
            verify(scheme, KEY, good | {name: text}, b"", 1.0)


def test_keys_without_end_are_compared_in_a_moment() -> None:
    """Whoever may send could otherwise stop all others for seconds by one payload."""
    raw = ("{" + ",".join(f'"{number:x}":1' for number in range(90_000)) + ',"zz":1,"zz":1}').encode()
    started = time.process_time()
    with pytest.raises(Malformed, match="the key 'zz' twice"):
        decode(raw)
    assert time.process_time() - started < 2.0


def test_columns_without_end_are_compared_in_a_moment() -> None:
    raw = ",".join(f"{number:x}" for number in range(150_000)).encode() + b",zz,zz\n"
    started = time.process_time()
    with pytest.raises(Malformed, match="the column 'zz' twice"):
        nannyml.read(Delivery(raw, {"content-type": "text/csv"}))
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("raw", "is_deep"),
    [
        (b'"' + b"a" * 100 + b'"', False),
        (b'"' + b"[" * 100 + b'"', False),
        (b'"' + b'\\"[' * 100 + b'"', False),
        (b'"' + b"\\\\" * 100 + b'"' + b"[" * 100, True),
        (b'"' + b"[" * 100 + b"\\", False),
        (b'"' + b"[" * 100, False),
        (b'""' + b"[" * 100, True),
        (b'"a\\\nb"' + b"[" * 100, True),
    ],
)
def test_depth_is_that_outside_of_texts(raw: bytes, is_deep: bool) -> None:
    if is_deep:
        with pytest.raises(TooLarge):
            check_bounds(raw, is_json=True)
    else:
        check_bounds(raw, is_json=True)


@pytest.mark.parametrize(
    "raw",
    [b'"' + b"a" * (MAX_BYTES - 2) + b'"', b'"' + b"\\a" * (MAX_BYTES // 2 - 1) + b'"', b'"' + b"\\" * (MAX_BYTES - 1)],
)
def test_bounds_of_a_long_text_take_little_memory(raw: bytes) -> None:
    """They are checked before a sender is proved, for many at the same time."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_bounds(raw, is_json=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_signed_payload_counts_as_received_when_it_was_signed() -> None:
    """Another replica takes it a second time: as a new reading it would hide what was measured since."""
    signed_at = datetime(2026, 11, 24, 6, tzinfo=UTC)
    signed = Signed("one", signed_at.timestamp())
    assert _received(signed_at + timedelta(milliseconds=300), signed) == signed_at + timedelta(milliseconds=300)
    again = [_received(signed_at + timedelta(seconds=seconds), signed) for seconds in (2, 60, 299)]
    assert set(again) == {signed_at + timedelta(microseconds=999_999)}
    ahead = signed_at - timedelta(minutes=4)
    assert _received(ahead, signed) == ahead
    assert _received(ahead, None) == ahead


async def test_tokens_that_prove_nothing_drive_none_out_that_does() -> None:
    reviewed: list[str] = []

    class Reviewer:
        async def request(self, *_: Any, body: Any, **__: Any) -> dict[str, Any]:
            token = body["spec"]["token"]
            reviewed.append(token)
            status = {"authenticated": token == "good", "audiences": [AUDIENCE], "user": {"username": "monitor"}}
            return {"status": status}

    client: Any = Reviewer()
    tokens = Tokens(client, clock=lambda: 1.0)
    assert await tokens.username("good") == "monitor"
    for number in range(KEEP + 1):
        assert await tokens.username(f"bad-{number}") == ""
    assert await tokens.username("good") == "monitor"
    assert await tokens.username(f"bad-{KEEP}") == ""
    assert reviewed.count("good") == 1
    assert reviewed.count(f"bad-{KEEP}") == 1
