"""The HTTP server of `riskladder ingest`: POST /v1/namespaces/NAMESPACE/bindings/NAME.

The answer comes after the API server has stored the readings: 200 means that they are. 4xx is for good; what may work
later is 503, never 429, since Alertmanager repeats nothing but 5xx.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from aiohttp import ClientPayloadError, web

from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.foreign import clip
from riskladder.api.reasons import Reason
from riskladder.cluster.client import ApiError
from riskladder.ingest.metrics import Metrics
from riskladder.ingest.senders import NotProved, Senders
from riskladder.ingest.signatures import Signed
from riskladder.monitors.entries import Delivery
from riskladder.monitors.formats import FORMATS
from riskladder.monitors.observations import Refusal, Translation
from riskladder.monitors.payload import MAX_BYTES, Malformed, TooLarge, check_bounds
from riskladder.monitors.translate import translate
from riskladder.reporting.bindings import Binding, Bindings
from riskladder.reporting.reporter import Reporter

log = structlog.get_logger(__name__)

PATH = "/v1/namespaces/{namespace}/bindings/{name}"
MAX_UNDER_WAY = 256
"""Requests under way at the same time; more are asked to come back."""

MAX_HELD = 48 * MAX_BYTES
"""Bytes of bodies held at the same time, whoever has sent them; more are asked to come back."""

LARGE = 8_192
"""Bytes from which a body is looked at in a thread: what takes long there must not keep others from an answer."""

AT_A_TIME = 2
"""Large bodies taken apart at the same time: one may come to forty times its size while it is."""

RETRY_AFTER = "2"
"""Seconds after which a sender is asked to come back."""

BODY_SECONDS = 10.0
"""Seconds that a sender may take for its body."""

DRAIN_BYTES = 16 * MAX_BYTES
"""Bytes beyond the bound that are read, and forgotten, before the answer that they are too many."""

CONTENT_TYPES = frozenset(kind for form in FORMATS.values() for kind in form.content_types)
UNPROVED = "the sender is not known under this binding, or there is no such binding"
"""The one answer to everybody who may not send, whatever stands against it."""


@dataclass(frozen=True, slots=True)
class _Refusing(Exception):  # noqa: N818
    status: int
    reason: str
    message: str


@dataclass(slots=True)
class _Held:
    """What is held of the body of one request."""

    size: int = 0


class Server:
    """Answers senders."""

    def __init__(
        self,
        bindings: Bindings,
        senders: Senders,
        reporter: Reporter,
        metrics: Metrics,
        *,
        is_ready: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        """Put the parts together.

        Args:
            bindings: What the senders' words mean.
            senders: Who may send.
            reporter: Where readings go, and what is said of them afterwards.
            metrics: What is counted.
            is_ready: Whether the bindings are known.
            clock: Current time, UTC.
        """
        self._bindings, self._senders = bindings, senders
        self._reporter, self._metrics = reporter, metrics
        self._is_ready, self._clock = is_ready, clock
        self._under_way = self._held = 0
        self._taking_apart = asyncio.Semaphore(AT_A_TIME)

    def add_to(self, app: web.Application) -> None:
        """Register the one route."""
        app.router.add_post(PATH, self.handle)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        started = time.perf_counter()
        if self._under_way >= MAX_UNDER_WAY:
            return self._answer(_Refusing(503, "Busy", "too many requests are under way"), started)
        self._under_way += 1
        held = _Held()
        try:
            return await self._handle(request, started, held)
        except _Refusing as why:
            answer = self._answer(why, started)
        finally:
            self._hold(held, -held.size)
            self._under_way -= 1
        await _drain(request)  # here, where nothing refers to what was received any more
        return answer

    def _hold(self, held: _Held, size: int) -> None:
        held.size += size
        self._held += size

    async def _handle(self, request: web.Request, started: float, held: _Held) -> web.Response:
        if not self._is_ready():
            raise _Refusing(503, "Starting", "the bindings are not known yet")
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw = await self._body(request, held)
        binding = self._bindings.get(*_names(request))
        signed = await self._proved(binding, headers, raw)
        assert binding is not None  # noqa: S101 - a sender is proved under a binding
        assert binding.spec is not None  # noqa: S101
        self._reporter.status.delivered(binding)
        form = FORMATS[binding.spec.format]
        if request.content_type not in form.content_types:
            expected = f"expected {' or '.join(form.content_types)} (format {form.name})"
            raise _Refusing(415, "UnsupportedMediaType", f"Content-Type: found {request.content_type!r}, {expected}")
        delivery = Delivery(raw, headers, _received(self._clock(), signed))
        try:
            translation = await self._translated(binding.spec, delivery)
        except Malformed as error:
            self._reporter.refuse(binding, Refusal("", Reason.MALFORMED, str(error)))
            raise _Refusing(413 if isinstance(error, TooLarge) else 422, Reason.MALFORMED, str(error)) from error
        verdicts, status = await self._reporter.report(binding, translation)
        if status == 200:
            self._senders.taken(binding, signed)
        self._metrics.observe(binding, status, time.perf_counter() - started, verdicts)
        body: dict[str, Any] = {"verdicts": verdicts}
        if status != 200:
            first = next((v for v in verdicts if "message" in v), {})
            body |= {"reason": first.get("reason", "Later"), "message": first.get("message", "")}
        return _json(body, status)

    async def _translated(self, spec: MonitorBindingSpec, delivery: Delivery) -> Translation:
        """Return what a payload becomes. Nothing of it is kept once that is known, however long storing it takes."""
        if len(delivery.raw) < LARGE:
            return _translation(spec, delivery)
        async with self._taking_apart:
            return await asyncio.to_thread(_translation, spec, delivery)

    # --- What comes in ---

    async def _body(self, request: web.Request, held: _Held) -> bytes:
        """Read the body, within bounds that hold before anybody is asked who it is from."""
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            message = f"Content-Encoding: found {clip(encoding, 32)!r}, expected none: send the body as it is"
            raise _Refusing(415, "UnsupportedEncoding", message)
        if request.content_type not in CONTENT_TYPES:
            expected = f"expected {', '.join(sorted(CONTENT_TYPES))}"
            found = clip(request.content_type, 64)
            raise _Refusing(415, "UnsupportedMediaType", f"Content-Type: found {found!r}, {expected}")
        if (request.content_length or 0) > MAX_BYTES:
            raise _Refusing(413, "TooLarge", f"found {request.content_length} bytes, expected at most {MAX_BYTES}")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                raw = b"".join([chunk async for chunk in self._chunks(request, held)])
        except TimeoutError as error:
            raise _Refusing(408, "Timeout", f"the body took longer than {BODY_SECONDS:g} s") from error
        try:
            is_json = "json" in request.content_type
            if len(raw) < LARGE:
                check_bounds(raw, is_json=is_json)
            else:
                await asyncio.to_thread(check_bounds, raw, is_json=is_json)
        except TooLarge as error:
            raise _Refusing(413, "TooLarge", str(error)) from error
        except Malformed as error:
            raise _Refusing(422, Reason.MALFORMED, str(error)) from error
        return raw

    async def _chunks(self, request: web.Request, held: _Held) -> AsyncIterator[bytes]:
        async for chunk in request.content.iter_any():
            self._hold(held, len(chunk))
            if held.size > MAX_BYTES:
                raise _Refusing(413, "TooLarge", f"found more than {MAX_BYTES} bytes, expected at most that many")
            if self._held > MAX_HELD:
                raise _Refusing(503, "Busy", "too much is under way")
            yield chunk

    async def _proved(self, binding: Binding | None, headers: Mapping[str, str], raw: bytes) -> Signed | None:
        try:
            return await self._senders.prove(binding, headers, raw)
        except NotProved as why:
            self._metrics.unproved.inc()
            log.warning(
                "sender not proved",
                namespace=binding.namespace if binding else None,
                binding=binding.name if binding else None,
                error=str(why),
            )
            raise _Refusing(401, "Unauthorized", UNPROVED) from why
        except ApiError as error:
            log.warning("sender not proved", error=error.message)
            raise _Refusing(503, "Later", "the API server cannot be asked who this is") from error

    def _answer(self, why: _Refusing, started: float) -> web.Response:
        self._metrics.answered(why.status, time.perf_counter() - started)
        return _json({"reason": why.reason, "message": why.message}, why.status)


async def _drain(request: web.Request) -> None:
    """Read on for a while: a sender that is still sending would see a reset connection in place of the answer."""
    size, rest = 0, request.content
    if rest.is_eof():
        return
    with contextlib.suppress(TimeoutError, OSError, ClientPayloadError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in rest.iter_any():
                size += len(chunk)
                if size > DRAIN_BYTES:
                    return


def _received(now: datetime, signed: Signed | None) -> datetime:
    """Return when a payload counts as received: in the second in which it was signed at the latest.

    Another replica, or this one before it was started, may have taken it already: sent again, it says nothing newer.
    """
    if signed is None:
        return now
    return min(now, datetime.fromtimestamp(math.floor(signed.timestamp) + 1, UTC) - timedelta.resolution)


def _translation(spec: MonitorBindingSpec, delivery: Delivery) -> Translation:
    return translate(spec, FORMATS[spec.format].read(delivery), delivery)


def _names(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"][:253], request.match_info["name"][:253]


def _json(body: Mapping[str, Any], status: int) -> web.Response:
    """Return a response; 503 says when to come back."""
    headers = {"Retry-After": RETRY_AFTER} if status == 503 else None
    return web.json_response(body, status=status, headers=headers)
