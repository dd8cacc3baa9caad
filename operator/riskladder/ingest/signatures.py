"""Senders that sign what they send with a key that both sides share, an identifier and a time.

- StandardWebhooks: standardwebhooks.com, ``v1,`` and the Base64 of HMAC-SHA-256 over ``id.timestamp.body``.
- MLflow: its model registry webhooks sign the same way, under headers of their own.
- Grafana: contact points of type webhook sign ``timestamp:body`` in hexadecimal, where a timestamp header is
  configured, of the name X-Grafana-Alerting-Timestamp.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from riskladder.api.binding import HmacScheme

TOLERANCE = 300.0
"""Seconds that the time of a signature may be off the clock here, on either side."""

KEEP = 65_536
"""Deliveries of which a replay is recognised; the oldest are forgotten first, and are mostly too old by then."""

MIN_KEY = 16
"""Bytes of a signing key, at least."""


class BadSignature(Exception):  # noqa: N818 - reads as a sentence at the call site
    """Why a signature proves nothing: for the log, never for the sender."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A delivery whose signature holds."""

    identifier: str
    """Of the delivery: what is sent again has the same."""
    timestamp: float
    """When it was signed, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Scheme:
    id_header: str
    time_header: str
    signature_header: str
    content: Callable[[str, str, bytes], bytes]
    digests: Callable[[str], list[bytes]]


def _base64_digests(header: str) -> list[bytes]:
    found = []
    for part in header.split()[:16]:
        version, _, text = part.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _hex_digest(header: str) -> list[bytes]:
    try:
        return [bytes.fromhex(header.strip())]
    except ValueError:
        return []


def _dotted(identifier: str, timestamp: str, body: bytes) -> bytes:
    return f"{identifier}.{timestamp}.".encode() + body


_SCHEMES: Mapping[HmacScheme, _Scheme] = {
    HmacScheme.STANDARD_WEBHOOKS: _Scheme(
        "webhook-id", "webhook-timestamp", "webhook-signature", _dotted, _base64_digests
    ),
    HmacScheme.MLFLOW: _Scheme(
        "x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature", _dotted, _base64_digests
    ),
    HmacScheme.GRAFANA: _Scheme(
        "",
        "x-grafana-alerting-timestamp",
        "x-grafana-alerting-signature",
        lambda _, timestamp, body: timestamp.encode() + b":" + body,
        _hex_digest,
    ),
}


def key_of(scheme: HmacScheme, secret: bytes) -> bytes:
    """Return the signing key that a value of the Secret is; ``whsec_`` and Base64 under Standard Webhooks.

    Raises:
        BadSignature: It is no key, or too short to keep anybody out.
    """
    text = secret.strip()
    if scheme is HmacScheme.STANDARD_WEBHOOKS:
        try:
            text = base64.b64decode(text.removeprefix(b"whsec_"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadSignature("the key in the Secret is not Base64") from error
    if len(text) < MIN_KEY:
        raise BadSignature(f"the key in the Secret has {len(text)} bytes, expected at least {MIN_KEY}")
    return text


def verify(scheme: HmacScheme, key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> Signed:
    """Return what was signed.

    Args:
        scheme: How it is signed.
        key: The shared key.
        headers: Of the request, by name in lower case.
        body: As it was received, byte by byte.
        now: Seconds since 1970.

    Raises:
        BadSignature: A header is missing, the time is off, or the signature is not of this body.
    """
    how = _SCHEMES[scheme]
    identifier = headers.get(how.id_header, "") if how.id_header else ""
    timestamp, signature = headers.get(how.time_header, ""), headers.get(how.signature_header, "")
    # In ASCII: bytes that are no text come as halves of surrogate pairs, which nothing encodes.
    if how.id_header and not (0 < len(identifier) <= 256 and identifier.isascii()):
        raise BadSignature(f"no header {how.id_header}")
    try:
        at = float(timestamp) if len(timestamp) <= 20 and timestamp.isascii() else math.nan
    except ValueError:
        at = math.nan
    if not math.isfinite(at):
        raise BadSignature(f"no header {how.time_header} with seconds since 1970")
    expected = hmac.new(key, how.content(identifier, timestamp, body), hashlib.sha256).digest()
    if not any(hmac.compare_digest(expected, digest) for digest in how.digests(signature)):
        raise BadSignature(f"{how.signature_header} is not of this body under the key of the Secret")
    if abs(now - at) > TOLERANCE:
        raise BadSignature(f"signed {abs(now - at):.0f} s away from the time here, expected at most {TOLERANCE:g} s")
    return Signed(identifier or expected.hex(), at)


class Replays:
    """The deliveries that were taken of late. A sender repeats what was not taken, and may."""

    def __init__(self) -> None:
        """Start with none."""
        self._taken: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_known(self, binding: str, signed: Signed) -> bool:
        """Return whether this delivery was taken before."""
        return (binding, signed.identifier) in self._taken

    def take(self, binding: str, signed: Signed, now: float) -> None:
        """Remember that this delivery was taken, for as long as its signature is not too old."""
        self._taken[(binding, signed.identifier)] = max(now, signed.timestamp) + TOLERANCE
        while self._taken and (len(self._taken) > KEEP or next(iter(self._taken.values())) < now):
            self._taken.popitem(last=False)
