"""What is said in signals that are there already, a heartbeat or a version, and the API server refuses it."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from riskladder.api.reasons import Reason
from riskladder.cluster.client import NotFound
from riskladder.monitors.observations import Heartbeat, ModelVersion, Observation, Translation, stream_name
from riskladder.reporting.bindings import Binding, Bindings
from riskladder.reporting.reporter import Reporter
from riskladder.reporting.signals import WRITE_TIMEOUT, Outcome, SignalWriter
from riskladder.reporting.status_writer import StatusWriter
from tests.monitors.test_binding_status import stored

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
REFUSED = Outcome("s", Reason.REPORT_REFUSED, "may not report as source fairness", is_forbidden=True)
FOUND = (
    Translation((), heartbeats=(Heartbeat("alerts[0]", NOW),)),
    Translation((), versions=(ModelVersion("data", "scorer", "3"),)),
)


class Writer:
    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)

    async def keep_fresh(self, *_: Any) -> list[Outcome]:
        return self.outcomes

    keep_version = keep_fresh


@pytest.mark.parametrize("found", FOUND)
@pytest.mark.parametrize(
    ("outcomes", "verdict", "status", "refusals"),
    [
        ((Outcome("s"),), None, 200, 0),
        ((REFUSED, REFUSED), "Refused", 403, 1),
        ((Outcome("s"), REFUSED), "Refused", 200, 1),
        ((REFUSED, Outcome("s", message="busy", is_later=True)), "Later", 503, 0),
    ],
)
async def test_answer_and_status_say_so(
    found: Translation, outcomes: tuple[Outcome, ...], verdict: str | None, status: int, refusals: int
) -> None:
    """A heartbeat that is never stored makes an indicator stale: somebody has to be able to see why."""
    binding = Binding.of(stored())
    client: Any = None
    writer: Any = Writer(*outcomes)
    said = StatusWriter(client, "test", lambda: NOW)
    verdicts, code = await Reporter(writer, said, Bindings()).report(binding, found)
    word = "Heartbeat" if found.heartbeats else "Version"
    assert [v["verdict"] for v in verdicts] == [verdict or word]
    assert code == status
    pending = said._of(binding)
    assert pending.refusals == refusals
    assert bool(pending.last_refusal) == bool(refusals)
    if verdict:
        assert verdicts[0]["message"] in (REFUSED.message, "busy")


async def test_sender_waits_for_the_api_server_as_long_as_is_documented() -> None:
    waited: list[float] = []

    class Slow:
        async def apply(self, *_: Any, timeout: float = 60.0, **__: Any) -> None:  # noqa: ASYNC109
            waited.append(timeout)

        async def request(self, *_: Any, timeout: float = 60.0, **__: Any) -> None:  # noqa: ASYNC109
            waited.append(timeout)

    client: Any = Slow()
    writer, binding = SignalWriter(client, "test"), Binding.of(stored())
    await writer.report(binding, Observation("scorer", "dpd", 0.2, NOW, "body"))
    await writer.keep_fresh(binding, NOW)
    assert waited == [WRITE_TIMEOUT, WRITE_TIMEOUT]


async def test_heartbeat_for_a_thousand_models_holds_up_no_reading() -> None:
    """Most of them were never reported. Each would be a request, for every repetition of an alert that always fires."""
    asked = 0
    answers = asyncio.Event()

    class Slow:
        async def apply(self, *_: Any, **__: Any) -> None:
            """Store it."""

        async def request(self, *_: Any, **__: Any) -> None:
            nonlocal asked
            asked += 1
            await answers.wait()
            raise NotFound(404, "NotFound", "not found", verb="patch", resource="modelrisksignals", where="")

    client: Any = Slow()
    one = stored()
    one["spec"] |= {"format": "Alertmanager", "targetFrom": {"label": "m", "allowed": [f"m{n}" for n in range(1000)]}}
    del one["spec"]["target"]
    writer, binding = SignalWriter(client, "test"), Binding.of(one)
    beating = asyncio.create_task(writer.keep_fresh(binding, NOW))
    await asyncio.sleep(0)
    reading = Observation("m7", "dpd", 0.2, NOW, "body")
    assert (await asyncio.wait_for(writer.report(binding, reading), 5)).is_stored
    answers.set()
    assert all(outcome.is_stored for outcome in await beating)
    assert asked == 1000
    await writer.keep_fresh(binding, NOW)
    assert asked == 1000, "what is not there is not asked for at once"
    await writer.report(binding, reading)
    await writer.keep_fresh(binding, NOW)
    assert asked == 1001, "what was reported since is"


@pytest.mark.parametrize("cut", [".", "-", "a"])
def test_name_of_a_signal_is_one_wherever_that_of_the_binding_is_cut(cut: str) -> None:
    name = stream_name("a" * 199 + cut + "b" * 40, "scorer", "dpd")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name)


async def test_heartbeat_of_the_same_second_lies_not_before_what_was_observed_in_it() -> None:
    """Cut to whole seconds it would, and the API server would refuse it."""
    heard: list[str] = []

    class Noting:
        async def request(self, *_: Any, body: Any, **__: Any) -> None:
            heard.append(body["spec"]["heardAt"])

    client: Any = Noting()
    observed, at = NOW + timedelta(microseconds=400_000), NOW + timedelta(microseconds=900_000)
    await SignalWriter(client, "test").keep_fresh(Binding.of(stored()), at)
    assert [datetime.fromisoformat(one) for one in heard] == [at]
    assert datetime.fromisoformat(heard[0]) >= observed
