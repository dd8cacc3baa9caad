"""`riskladder.client`: what it takes for a reading, what it writes, what it repeats and what it gives up."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskladder import client as public
from riskladder.api.validation import validate
from riskladder.client import AsyncReporter, Reading, Refused, Reporter, ReportFailed, Unavailable, report
from riskladder.client.retry import MAX_WAIT, pause
from tests.monitors.client_support import LADDERS, SCORER, SIGNALS, ApiServer, failure, kubeconfig

AT = datetime(2026, 11, 24, 6, tzinfo=UTC)
DENIAL = (
    "modelrisksignals.riskladder.dev \"x\" is forbidden: ValidatingAdmissionPolicy 'riskladder-sources' with binding "
    "'riskladder-sources' denied request: bob may not report as source \"fairness-monitor\" in namespace models"
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(tmp_path) as server:
        yield server


@pytest.fixture
async def reporter(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncReporter]:
    monkeypatch.setattr("riskladder.client.retry.FIRST_WAIT", 0.02)
    async with AsyncReporter("fairness-monitor", ladder="credit", kubeconfig=api.kubeconfig, deadline=5) as one:
        yield one


# --- What it is -------------------------------------------------------------------------------------------------------


def test_import_costs_little_and_brings_nothing_heavy() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import riskladder.client; took = time.perf_counter() - began;"
        "import json; print(json.dumps([took, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, modules = json.loads(done.stdout)
    heavy = {"kopf", "typer", "rich", "structlog", "apprise", "jinja2", "kubernetes", "aiohttp", "pydantic", "cel"}
    assert heavy.isdisjoint(modules)
    assert took < 1.0, "some tens of milliseconds, on a machine that does nothing else"


def test_public_names_are_few_and_have_docstrings() -> None:
    assert len(public.__all__) <= 12
    assert public.__all__ == sorted(public.__all__)
    for name in public.__all__:
        found = getattr(public, name)
        assert inspect.getdoc(found), name
        for member, value in vars(found).items() if inspect.isclass(found) else ():
            if not member.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_report_takes_the_same_in_all_three_forms() -> None:
    def options(function: Any) -> dict[str, Any]:
        found = inspect.signature(function).parameters.values()
        return {p.name: (p.default, p.annotation) for p in found if p.name != "self"}

    assert options(Reporter.report) == options(AsyncReporter.report)
    assert options(Reporter.heartbeat) == options(AsyncReporter.heartbeat)
    assert options(Reporter.__init__) == options(AsyncReporter.__init__)
    both = options(AsyncReporter.__init__) | options(AsyncReporter.report)
    assert set(options(report)) == set(both)


# --- What is a reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [0.21, 1, np.float64(0.21), np.float32(0.5), np.int64(3), np.array(0.21), Decimal("0.21"), Fraction(1, 4)]
)
async def test_number_of_any_kind_is_a_reading(api: ApiServer, reporter: AsyncReporter, value: Any) -> None:
    await reporter.report("credit-scorer", {"psi": value})
    [written] = api.writes
    [reading] = written.body["spec"]["readings"]
    assert reading == {"indicator": "psi", "value": float(value)}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (math.nan, "nan"),
        (np.float64("nan"), "nan"),
        (math.inf, "inf"),
        (10**400, "a number beyond what a double can hold"),
        (True, "True"),
        (np.bool_(True), "True"),
        (None, "nothing"),
        ("0.21", "the text '0.21'"),
        ("0" * 500, "…"),
        (b"1", "bytes"),
        (np.array([0.2]), "ndarray"),
        ([0.2], "list"),
        (1j, "complex"),
    ],
    ids=repr,
)
async def test_what_is_no_number_is_refused_by_name_and_nothing_is_sent(
    api: ApiServer, reporter: AsyncReporter, value: Any, found: str
) -> None:
    with pytest.raises(Refused) as caught:
        await reporter.report("credit-scorer", {"dpd": 0.1, "psi": value})
    assert (caught.value.status, caught.value.reason) == (0, "NoReading")
    assert caught.value.message.startswith("psi: found ")
    assert found in caught.value.message
    assert "expected a finite number" in caught.value.message
    assert len(caught.value.message) < 400
    assert api.got == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"readings": {}}, "found no readings, expected at least one"),
        ({"readings": [Reading("psi", 1), Reading("psi", 2)]}, "psi: found twice, expected one reading"),
        ({"readings": {"psi": 1}, "samples": 0}, "samples: found 0, expected at least 1"),
        ({"readings": {"psi": 1}, "samples": 1.5}, "samples: found 1.5, expected a whole number"),
        ({"readings": {"psi": 1}, "samples": True}, "samples: found True, expected a whole number"),
        ({"readings": {"psi": 1}, "window": timedelta(0)}, "window: found 0:00:00, expected"),
        ({"readings": {"psi": 1}, "window": "1 day"}, "window: found the text '1 day', expected"),
        ({"readings": {"psi": 1}, "observed_at": datetime(2026, 1, 1)}, "expected a time with a zone"),
        ({"readings": {"psi": 1}, "observed_at": "2026-01-01T00:00:00Z"}, "observed_at: found the text"),
        ({"readings": {"psi": 1}, "evidence": "report.html"}, "evidence"),
        ({"readings": {"p s i": 1}}, "indicator"),
        ({"readings": {"psi": 1}, "version": "3"}, "version: found one without a model"),
        ({"readings": {"psi": 1}, "target": "Credit_Scorer"}, "target.name"),
        ({"readings": {"psi": 1}, "ladder": "Credit!"}, "spec.ladder"),
    ],
)
async def test_what_the_api_server_would_refuse_is_refused_before_anything_is_sent(
    api: ApiServer, reporter: AsyncReporter, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as caught:
        await reporter.report(**{"target": "credit-scorer", **arguments})
    assert words in caught.value.message
    assert (caught.value.status, api.got) == (0, [])


# --- What is written --------------------------------------------------------------------------------------------------


async def test_signal_is_applied_with_everything_that_was_said(api: ApiServer, reporter: AsyncReporter) -> None:
    readings = [Reading("psi", 0.21, samples=np.int64(40)), Reading("dpd", 0.27, window="7d", evidence="s3://b/one")]
    reported = await reporter.report(
        "credit-scorer",
        readings,
        samples=4000.0,
        window=timedelta(days=1, minutes=30),
        evidence="https://reports.example/1",
        observed_at=datetime.fromisoformat("2026-11-24T07:00:00+01:00"),
        model="credit-scorer",
        version="2026.11.3",
    )
    [written] = api.writes
    assert (written.method, written.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert written.query == {"fieldManager": "riskladder-signal", "force": "true"}
    assert written.path == SIGNALS + reported.name
    assert written.body["spec"] == {
        "ladder": "credit",
        "target": {"kind": "Deployment", "name": "credit-scorer"},
        "source": "fairness-monitor",
        "observedAt": "2026-11-24T06:00:00Z",
        "heardAt": "2026-11-24T06:00:00Z",
        "model": {"name": "credit-scorer", "version": "2026.11.3"},
        "readings": [
            {
                "indicator": "psi",
                "value": 0.21,
                "sampleSize": 40,
                "window": "1d30m",
                "evidence": "https://reports.example/1",
            },
            {"indicator": "dpd", "value": 0.27, "sampleSize": 4000, "window": "7d", "evidence": "s3://b/one"},
        ],
    }
    assert validate("ModelRiskSignal", written.body, unknown_fields=True) == []
    assert (reported.namespace, reported.ladder, reported.observed_at) == ("models", "credit", AT)
    assert reported.attempts == 1


async def test_observed_at_is_now_by_default(api: ApiServer, reporter: AsyncReporter) -> None:
    before = datetime.now(UTC)
    reported = await reporter.report("credit-scorer", {"psi": 0.2})
    assert before <= reported.observed_at <= datetime.now(UTC)


async def test_next_report_updates_the_same_signal_and_another_stream_has_its_own(
    api: ApiServer, reporter: AsyncReporter
) -> None:
    async with AsyncReporter("fairness-monitor-credit", ladder="credit", kubeconfig=api.kubeconfig) as other:
        names = [
            (await reporter.report("credit-scorer", {"psi": 0.1})).name,
            (await reporter.report("credit-scorer", {"psi": 0.2})).name,
            (await reporter.report("credit-scorer", {"psi": 0.2}, kind="StatefulSet")).name,
            (await reporter.report("credit-scorer", {"psi": 0.2}, ladder="another")).name,
            (await reporter.report("pricer", {"psi": 0.2})).name,
            (await other.report("scorer", {"psi": 0.2})).name,
        ]
    assert names[0] == names[1]
    assert len(set(names)) == 5
    assert all(name.startswith(("credit-scorer-", "pricer-", "scorer-")) for name in names)


async def test_longest_names_still_make_a_name(api: ApiServer, reporter: AsyncReporter) -> None:
    target = ".".join(["a" * 62] * 4)
    assert len((await reporter.report(target, {"psi": 0.2})).name) <= 253
    assert (await reporter.report("credit-scorer", {"psi": 0.2}, name="mine")).name == "mine"


async def test_heartbeat_says_that_nothing_has_changed(api: ApiServer, reporter: AsyncReporter) -> None:
    reported = await reporter.report("credit-scorer", {"psi": 0.2})
    heard = await reporter.heartbeat("credit-scorer")
    written = api.writes[-1]
    assert (written.method, written.content_type) == ("PATCH", "application/merge-patch+json")
    assert written.path == SIGNALS + reported.name
    assert datetime.fromisoformat(written.body["spec"]["heardAt"]) == heard
    assert set(written.body["spec"]) == {"heardAt"}


async def test_heartbeat_without_a_target_is_of_all_that_was_reported(api: ApiServer, reporter: AsyncReporter) -> None:
    with pytest.raises(Refused, match="nothing was reported yet"):
        await reporter.heartbeat()
    assert api.got == []
    names = {(await reporter.report(target, {"psi": 0.2})).name for target in ("credit-scorer", "pricer", "pricer")}
    await reporter.heartbeat(name="mine")
    assert api.got.pop().path == SIGNALS + "mine"
    await reporter.heartbeat()
    assert {one.path.removeprefix(SIGNALS) for one in api.writes if "merge" in one.content_type} == names


async def test_heartbeat_reaches_the_others_where_one_signal_was_deleted(
    api: ApiServer, reporter: AsyncReporter
) -> None:
    """Else one model that is gone would make all others of the monitor stale."""
    names = [(await reporter.report(target, {"psi": 0.2})).name for target in ("gone", "credit-scorer", "pricer")]
    api.answers[f"PATCH {SIGNALS}{names[0]}"] = [
        failure(404, 'modelrisksignals.riskladder.dev "x" not found', "NotFound")
    ]
    with pytest.raises(Refused, match=f"found no ModelRiskSignal {names[0]}"):
        await reporter.heartbeat()
    told = [one.path.removeprefix(SIGNALS) for one in api.writes if "merge" in one.content_type]
    assert told == names
    await reporter.heartbeat()
    told = [one.path.removeprefix(SIGNALS) for one in api.writes if "merge" in one.content_type]
    assert told == names + names[1:], "what is gone is not asked for again"


async def test_heartbeat_of_what_was_never_reported_is_refused(api: ApiServer, reporter: AsyncReporter) -> None:
    api.answers["PATCH"] = [failure(404, 'modelrisksignals.riskladder.dev "x" not found', "NotFound")]
    with pytest.raises(Refused, match="nothing was reported yet"):
        await reporter.heartbeat("credit-scorer")
    api.answers["PATCH"] = [failure(404, "the server could not find the requested resource", "NotFound")]
    with pytest.raises(Refused, match="install Riskladder"):
        await reporter.heartbeat("credit-scorer")


async def test_dry_run_is_one_of_the_server(api: ApiServer) -> None:
    async with AsyncReporter("m", ladder="credit", kubeconfig=api.kubeconfig, dry_run=True) as one:
        await one.report("credit-scorer", {"psi": 0.2})
    assert api.writes[0].query["dryRun"] == "All"


async def test_reading_of_another_field_manager_is_named(api: ApiServer, reporter: AsyncReporter) -> None:
    """It would count as observed now: server-side apply keeps what others own."""
    theirs = {"metadata": {"generation": 3}, "spec": {"readings": [{"indicator": "psi"}, {"indicator": "auc"}]}}
    stored = failure(200, "")
    stored.text = json.dumps(theirs)
    api.answers["PATCH"] = [stored]
    with pytest.raises(Refused, match=r"mine also holds auc .* use another name") as caught:
        await reporter.report("credit-scorer", {"psi": 0.2}, name="mine")
    assert caught.value.reason == "Conflict"


# --- Which ladder -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def undecided(api: ApiServer) -> AsyncIterator[AsyncReporter]:
    async with AsyncReporter("fairness-monitor", kubeconfig=api.kubeconfig, deadline=5) as one:
        yield one


def ladders(*names: str) -> dict[str, Any]:
    return {"items": [{"metadata": {"name": name}} for name in names], "metadata": {}}


async def test_ladder_is_that_of_the_label(api: ApiServer, undecided: AsyncReporter) -> None:
    api.objects[SCORER] = {"metadata": {"labels": {"riskladder.dev/ladder": "credit"}}}
    assert (await undecided.report("credit-scorer", {"psi": 0.2})).ladder == "credit"


@pytest.mark.parametrize("readable", [True, False])
async def test_ladder_is_else_the_only_one(api: ApiServer, undecided: AsyncReporter, readable: bool) -> None:
    api.objects[LADDERS] = ladders("credit")
    if readable:
        api.objects[SCORER] = {"metadata": {}}
    else:
        api.answers[f"GET {SCORER}"] = [failure(403, "forbidden", "Forbidden")]
    assert (await undecided.report("credit-scorer", {"psi": 0.2})).ladder == "credit"


@pytest.mark.parametrize(
    ("target", "found", "words"),
    [
        ({"metadata": {}}, ladders("credit", "pricing"), "found 2 in namespace models (credit, pricing)"),
        ({"metadata": {}}, ladders(), "found none in namespace models"),
        (403, 403, "may neither read Deployment credit-scorer nor list the ladders"),
        (404, ladders("credit"), "there is no Deployment credit-scorer in namespace models"),
    ],
)
async def test_ladder_that_cannot_be_known_has_to_be_named(
    api: ApiServer, undecided: AsyncReporter, target: Any, found: Any, words: str
) -> None:
    for path, answer in ((SCORER, target), (LADDERS, found)):
        if isinstance(answer, int):
            api.answers[f"GET {path}"] = [failure(answer, "no")]
        else:
            api.objects[path] = answer
    with pytest.raises(Refused) as caught:
        await undecided.report("credit-scorer", {"psi": 0.2})
    assert caught.value.message.startswith("there is no " if target == 404 else "ladder: ")
    assert words in caught.value.message
    assert api.writes == []


# --- What is final, and what is tried again ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "bad"),
        (401, "Unauthorized"),
        (403, DENIAL),
        (404, "the server could not find the requested resource"),
        (422, "spec.source: Invalid value"),
        (500, "failed to create typed patch object: .spec.heardAt: field not declared in schema"),
        (503, 'admission webhook "gate.example" denied the request: not today'),
    ],
)
async def test_what_can_never_work_is_asked_once(
    api: ApiServer, reporter: AsyncReporter, status: int, message: str
) -> None:
    api.answers["PATCH"] = [failure(status, message)]
    with pytest.raises(Refused) as caught:
        await reporter.report("credit-scorer", {"psi": 0.2})
    assert caught.value.status == status
    assert message[:60] in caught.value.message or status == 404
    assert len(api.writes) == 1


async def test_refusal_has_the_words_of_the_api_server(api: ApiServer, reporter: AsyncReporter) -> None:
    api.answers["PATCH"] = [failure(403, DENIAL, "Forbidden")]
    with pytest.raises(Refused, match='bob may not report as source "fairness-monitor"') as caught:
        await reporter.report("credit-scorer", {"psi": 0.2})
    assert (caught.value.reason, caught.value.status) == ("Forbidden", 403)
    assert isinstance(caught.value, ReportFailed)


async def test_cluster_without_the_kinds_is_said(api: ApiServer, reporter: AsyncReporter) -> None:
    api.answers["PATCH"] = [failure(404, "the server could not find the requested resource", "NotFound")]
    with pytest.raises(Refused, match=r"has no modelrisksignals\.riskladder\.dev: install Riskladder"):
        await reporter.report("credit-scorer", {"psi": 0.2})
    api.answers["PATCH"] = [failure(404, 'namespaces "models" not found', "NotFound")]
    with pytest.raises(Refused, match='namespaces "models" not found'):
        await reporter.report("credit-scorer", {"psi": 0.2})


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
async def test_what_may_work_later_is_tried_again_as_the_same_reading(
    api: ApiServer, reporter: AsyncReporter, status: int
) -> None:
    api.answers["PATCH"] = [failure(status, "later"), failure(status, "later")]
    reported = await reporter.report("credit-scorer", {"psi": 0.2})
    assert reported.attempts == len(api.writes) == 3
    assert len({json.dumps(one.body) for one in api.writes}) == 1


async def test_server_says_when_to_come_back(api: ApiServer, reporter: AsyncReporter) -> None:
    api.answers["PATCH"] = [failure(429, "busy", Retry_After="1")]
    began = time.monotonic()
    await reporter.report("credit-scorer", {"psi": 0.2})
    assert time.monotonic() - began >= 1


async def test_deadline_ends_it_without_waiting_in_vain(api: ApiServer, reporter: AsyncReporter) -> None:
    api.answers["PATCH"] = [failure(503, "etcdserver: leader changed", Retry_After="3000")]
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"etcdserver: leader changed.*try again") as caught:
        await reporter.report("credit-scorer", {"psi": 0.2}, deadline=20)
    assert time.monotonic() - began < 20, "what comes after the deadline is not waited for"
    assert (caught.value.status, caught.value.retry_after, caught.value.attempts) == (503, 3000, 1)


async def test_no_connection_is_tried_until_the_deadline(tmp_path: Path) -> None:
    nowhere = kubeconfig(tmp_path, "http://127.0.0.1:1")
    async with AsyncReporter("m", ladder="credit", namespace="models", kubeconfig=nowhere, deadline=0.5) as one:
        with pytest.raises(Unavailable, match="does not answer") as caught:
            await one.report("credit-scorer", {"psi": 0.2})
    assert caught.value.status == 0
    assert "ssl:" not in caught.value.message


async def test_no_credentials_are_refused(tmp_path: Path) -> None:
    async with AsyncReporter("m", ladder="credit", kubeconfig=str(tmp_path / "none")) as one:
        with pytest.raises(Refused, match="cannot load credentials") as caught:
            await one.report("credit-scorer", {"psi": 0.2})
    assert caught.value.reason == "NoCredentials"


def test_pauses_grow_and_are_jittered() -> None:
    assert [pause(n, 0.0, lambda: 1.0) for n in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert pause(50, 0.0, lambda: 1.0) == MAX_WAIT
    assert pause(3, 0.0, lambda: 0.5) == 0.8
    assert pause(0, 7.0, lambda: 0.5) >= 7.0


# --- What the operator makes of it ------------------------------------------------------------------------------------


def judged(status: str, reason: str, generation: int = 1, **more: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "message": "of it"}
    return {"metadata": {"generation": 1}, "status": {"observedGeneration": generation, "conditions": [ready], **more}}


async def test_verdict_of_the_operator_is_waited_for(api: ApiServer, reporter: AsyncReporter) -> None:
    reported = await reporter.report("credit-scorer", {"psi": 0.2})
    api.objects[SIGNALS + reported.name] = judged("True", "Counted", 0)
    waiting = asyncio.create_task(reporter.verdict(reported, timeout=60))
    await asyncio.sleep(0.1)
    assert not waiting.done(), "that status is of an older generation"
    api.objects[SIGNALS + reported.name] = judged("False", "OutOfRange")
    found = await waiting
    assert (found.ready, found.reason, found.message, found.tier) == (False, "OutOfRange", "of it", None)
    api.objects[SIGNALS + reported.name] = judged("True", "Counted", tier="high", escalation="credit-scorer-1")
    found = await reporter.verdict(reported)
    assert (found.ready, found.tier, found.escalation) == (True, "high", "credit-scorer-1")


async def test_operator_that_says_nothing_is_unavailable(api: ApiServer, reporter: AsyncReporter) -> None:
    reported = await reporter.report("credit-scorer", {"psi": 0.2})
    api.objects[SIGNALS + reported.name] = {"metadata": {"generation": 1}}
    with pytest.raises(Unavailable, match="the operator has not said"):
        await reporter.verdict(reported, timeout=0.3)


async def test_account_that_may_not_look_is_told_so(api: ApiServer, reporter: AsyncReporter) -> None:
    reported = await reporter.report("credit-scorer", {"psi": 0.2})
    api.answers["GET"] = [failure(403, "cannot get resource", "Forbidden")]
    with pytest.raises(Refused, match="is stored, and this account may not get it"):
        await reporter.verdict(reported)


# --- Without asyncio --------------------------------------------------------------------------------------------------


async def test_reporter_without_asyncio_works_in_a_thread_and_next_to_a_running_loop(api: ApiServer) -> None:
    """A notebook has a running loop in the thread of its cells."""

    def work() -> tuple[str, str]:
        with Reporter("fairness-monitor", ladder="credit", kubeconfig=api.kubeconfig) as one:
            first = one.report("credit-scorer", {"psi": 0.2})
            one.heartbeat("credit-scorer")
        second = report(
            "credit-scorer", {"psi": 0.2}, source="fairness-monitor", ladder="credit", kubeconfig=api.kubeconfig
        )
        return first.name, second.name

    first, second = await asyncio.to_thread(work)
    assert first == second
    assert [one.query.get("force") for one in api.writes] == ["true", None, "true"]


def test_report_in_the_thread_of_a_running_loop(tmp_path: Path) -> None:
    async def cell() -> None:
        report("t", {"psi": math.nan}, source="m", ladder="credit", kubeconfig=str(tmp_path / "none"))

    with pytest.raises(Refused, match="psi: found nan"):
        asyncio.run(cell())


def test_reporter_works_again_in_a_forked_process(tmp_path: Path) -> None:
    code = """
import os
from riskladder.client import Reporter, Unavailable
one = Reporter("m", ladder="credit", namespace="models", kubeconfig={file!r}, deadline=0.2)
for _ in range(2):
    try:
        one.report("t", {{"psi": 1}})
    except Unavailable:
        pass
    else:
        raise SystemExit(3)
    if _ == 0 and os.fork():
        raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
os._exit(7)
"""
    file = kubeconfig(tmp_path, "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.format(file=file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 7, done.stderr
