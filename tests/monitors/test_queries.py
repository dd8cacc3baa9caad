"""Prometheus that is away, slow, or says what it never says; and the administrator's file of endpoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.reasons import Reason
from riskladder.monitors.entries import Delivery
from riskladder.monitors.formats import prometheus
from riskladder.monitors.payload import Malformed
from riskladder.monitors.translate import Translation, translate
from riskladder.poll.endpoints import Endpoint, EndpointsError, load
from riskladder.poll.poller import with_missing
from riskladder.poll.queries import MAX_ANSWER, Queries, QueryFailed

ANSWERS = Path(__file__).parent / "answers"
NOW = datetime(2026, 11, 24, 6, 20, 5, tzinfo=UTC)
AT = NOW.timestamp() - 1
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(*samples: tuple[dict[str, str], str], **further: Any) -> dict[str, Any]:
    result = [{"metric": labels, "value": [AT, value]} for labels, value in samples]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **further}


@asynccontextmanager
async def answering(answer: Answer, within: str = "2s") -> AsyncIterator[Queries]:
    app = web.Application()
    app.router.add_post("/prefix/api/v1/query", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    endpoint = Endpoint.model_validate({"name": "main", "url": f"http://127.0.0.1:{port}/prefix/", "timeout": within})
    try:
        async with Queries({"main": endpoint}) as queries:
            yield queries
    finally:
        await runner.cleanup()


def saying(body: Any, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=raw, status=status, content_type="application/json")

    return answer


async def asked(answer: Answer, within: str = "2s") -> prometheus.Result:
    async with answering(answer, within) as queries:
        return await queries.ask("main", "up")


async def test_query_goes_in_the_body_with_its_timeout() -> None:
    seen: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update({str(k): str(v) for k, v in (await request.post()).items()})
        return web.json_response(vector(({}, "0.27")))

    result = await asked(answer)
    assert seen == {"query": "up", "timeout": "2s"}
    assert [(e.value, e.at) for e in result.content.entries] == [(0.27, AT)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (saying({"status": "error", "errorType": "execution", "error": "too slow"}, 422), "HTTP 422, found the error"),
        (saying(b"<html>", 502), "HTTP 502, found no JSON"),
        (saying(b""), "found an empty body"),
        (saying([]), "found a list, expected an object"),
        (saying({"status": "success"}), "data: found nothing"),
        (saying(vector() | {"data": {"resultType": "matrix", "result": []}}), "expected a vector or a scalar"),
        (saying(vector() | {"data": {"resultType": "string", "result": [AT, "1"]}}), "expected a vector or a scalar"),
        (saying(vector(({}, "0.2"), further={}) | {"warnings": "none"}), "warnings: found the text"),
        (
            saying(b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[]}]}}'),
            "native",
        ),
        (saying({}, 401), "the credentials of the endpoint are refused"),
        (saying({}, 302), "a redirect (HTTP 302), which is not followed"),
        (saying(b"[" * 100_000), "inside each other"),
        (saying(b" " * (MAX_ANSWER + 1)), f"more than {MAX_ANSWER} bytes"),
    ],
)
async def test_what_is_no_result_is_none_and_says_why(answer: Answer, said: str) -> None:
    with pytest.raises(QueryFailed) as why:
        await asked(answer)
    assert said in str(why.value)
    assert "\n" not in str(why.value)


async def test_prometheus_that_is_slow_is_given_up() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("never")

    with pytest.raises(QueryFailed, match="no answer within 1s"):
        await asked(answer, "1s")


async def test_answer_that_never_ends_is_given_up() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    with pytest.raises(QueryFailed, match="no answer within 1s"):
        await asked(answer, "1s")


async def test_prometheus_that_is_away_is_said() -> None:
    endpoint = Endpoint.model_validate({"name": "main", "url": "http://127.0.0.1:1"})
    async with Queries({"main": endpoint}) as queries:
        with pytest.raises(QueryFailed, match="endpoint main: Cannot connect"):
            await queries.ask("main", "up")
        with pytest.raises(QueryFailed, match=r"found other, expected one that the administrator knows \(main\)"):
            await queries.ask("other", "up")


async def test_one_query_of_an_endpoint_is_under_way_at_a_time() -> None:
    under_way, most = 0, 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return web.json_response(vector(({}, "1")))

    async with answering(answer) as queries:
        await asyncio.gather(*(queries.ask("main", "up") for _ in range(8)))
    assert most == 1


# --- Results ----------------------------------------------------------------------------------------------------------


def becomes(body: Any, **changes: Any) -> Translation:
    spec: dict[str, Any] = {
        "format": "Generic",
        "ladder": "credit",
        "target": {"kind": "Deployment", "name": "scorer"},
        "source": "fairness",
        "serviceAccount": "fairness",
        "poll": {"endpoint": "main", "query": "up"},
        "readings": [{"indicator": "dpd"}],
    }
    binding = MonitorBindingSpec.model_validate({k: v for k, v in (spec | changes).items() if v is not None})
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = prometheus.read(raw, limit=MAX_ANSWER).content
    return with_missing(binding, content, translate(binding, content, Delivery(b"", {}, NOW)))


@pytest.mark.parametrize(
    ("body", "value", "reason"),
    [
        (vector(({}, "0.27")), 0.27, None),
        ({"status": "success", "data": {"resultType": "scalar", "result": [AT, "0.27"]}}, 0.27, None),
        (vector(), None, Reason.NO_READING),
        (vector(({}, "NaN")), None, Reason.NO_READING),
        (vector(({}, "+Inf")), None, Reason.NO_READING),
        (vector(({"a": "1"}, "0.1"), ({"a": "2"}, "0.2")), None, Reason.AMBIGUOUS),
        (vector(({"a": "1"}, "0.1"), ({"a": "2"}, "NaN")), None, Reason.NO_READING),
        (vector(({"a": "2"}, "-Inf"), ({"a": "1"}, "0.1")), None, Reason.NO_READING),
    ],
)
def test_one_finite_sample_is_a_reading_and_nothing_else(body: Any, value: float | None, reason: Reason | None) -> None:
    found = becomes(body)
    assert [o.value for o in found.observations] == ([] if value is None else [value])
    assert [r.reason for r in found.refusals][:1] == ([] if reason is None else [reason])


def test_each_target_has_one_sample_of_its_own() -> None:
    labels = [("a", "0.1"), ("b", "0.2"), ("b", "0.3"), ("x", "0.4")]
    body = vector(*(({"deployment": name}, value) for name, value in labels), ({}, "0.5"))
    found = becomes(body, target=None, targetFrom={"label": "deployment", "allowed": ["a", "b", "c"]})
    assert [(o.target, o.value) for o in found.observations] == [("a", 0.1)]
    assert [(r.target, r.reason) for r in found.refusals] == [
        ("", Reason.UNKNOWN_TARGET),
        ("", Reason.UNKNOWN_TARGET),
        ("b", Reason.AMBIGUOUS),
        ("c", Reason.NO_READING),
    ]


@pytest.mark.parametrize("path", sorted(ANSWERS.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_of_the_api_cut_at_every_byte_is_a_result_or_malformed(path: Path) -> None:
    raw = path.read_bytes().rstrip()
    for end in range(len(raw)):
        with pytest.raises(Malformed):
            prometheus.read(raw[:end], limit=MAX_ANSWER)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda c: (
            st.lists(c)
            | st.dictionaries(
                st.sampled_from(
                    ["status", "data", "resultType", "result", "metric", "value", "warnings", "vector", "success"]
                ),
                c,
            )
        ),
        max_leaves=20,
    )
)
def test_whatever_is_answered_is_a_result_or_malformed(body: Any) -> None:
    for candidate in (
        body,
        {"status": "success", "data": body},
        vector() | {"data": {"resultType": "vector", "result": body}},
    ):
        with suppress(Malformed):
            prometheus.read(json.dumps(candidate).encode("utf-8", "surrogatepass"), limit=MAX_ANSWER)


# --- Endpoints --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file"),
        ("endpoints: []", "endpoints"),
        ("endpoints: [{name: main}]", "endpoints.0.url: Field required"),
        ("endpoints: [{name: main, url: 'ftp://a'}]", "endpoints.0.url"),
        ("endpoints: [{name: main, url: 'http://user:pass@a'}]", "endpoints.0.url"),
        ("endpoints: [{name: main, url: 'http://a?x=1'}]", "endpoints.0.url"),
        ("endpoints: [{name: Main, url: 'http://a'}]", "endpoints.0.name"),
        ("endpoints: [{name: main, url: 'http://a', token: x}]", "endpoints.0.token: Extra inputs"),
        ("endpoints: [{name: main, url: 'http://a', tokenFile: /t}]", "a token is not sent in the clear"),
        ("endpoints: [{name: main, url: 'http://a', headers: {Authorization: x}}]", "use tokenFile"),
        ('endpoints: [{name: main, url: "http://a", headers: {X-A: "a\\nb"}}]', "no header can carry"),
        ("endpoints: [{name: main, url: 'http://a'}, {name: main, url: 'http://b'}]", "main is given twice"),
        ("endpoints: [", "not YAML"),
    ],
)
def test_file_of_endpoints_that_cannot_be_used_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "endpoints.yaml"
    file.write_text(text)
    with pytest.raises(EndpointsError) as why:
        load(file)
    assert said in str(why.value)
    assert str(file) in str(why.value)


def test_missing_file_of_endpoints_is_said(tmp_path: Path) -> None:
    with pytest.raises(EndpointsError, match="cannot be read"):
        load(tmp_path / "nothing")
