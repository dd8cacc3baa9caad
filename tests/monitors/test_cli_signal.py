"""`riskladder signal`: what a script gives, what it gets, and by which exit code it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from riskladder.cli.main import app
from tests.monitors.client_support import LADDERS, SCORER, SIGNALS, ApiServer, failure, kubeconfig

DENIAL = 'bob may not report as source "fairness-monitor" in namespace models: bind a Role'


@contextmanager
def served(directory: Path) -> Iterator[ApiServer]:
    """The API server in a thread of its own: a command runs an event loop itself."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(ApiServer(directory).__aenter__(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with served(tmp_path) as server:
        yield server


def run(api: ApiServer | None, *arguments: str, file: str = "") -> Result:
    given = file or (api.kubeconfig if api else "/nowhere")
    source = () if "--source" in arguments else ("--source", "fairness-monitor")
    return CliRunner().invoke(app, ["signal", "credit-scorer", *source, "--kubeconfig", given, *arguments])


def test_several_readings_are_one_signal(api: ApiServer) -> None:
    done = run(
        api,
        *("psi=0.21", "demographic_parity_difference=2.7e-1", "--samples", "4000", "--window", "24h"),
        *("--ladder", "credit", "--observed-at", "2026-11-24T07:00:00+01:00", "--evidence", "s3://reports/1"),
        *("--model", "credit", "--version", "3", "--kind", "StatefulSet", "--name", "mine"),
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        "ModelRiskSignal mine is stored in namespace models, under ladder credit: psi 0.21, "
        "demographic_parity_difference 0.27\n"
    )
    [written] = api.writes
    assert written.path == SIGNALS + "mine"
    spec = written.body["spec"]
    assert [(r["indicator"], r["value"], r["sampleSize"]) for r in spec["readings"]] == [
        ("psi", 0.21, 4000),
        ("demographic_parity_difference", 0.27, 4000),
    ]
    assert (spec["observedAt"], spec["target"]["kind"]) == ("2026-11-24T06:00:00Z", "StatefulSet")
    assert spec["model"] == {"name": "credit", "version": "3"}


def test_ladder_is_that_of_the_label_and_the_result_is_json_for_programs(api: ApiServer) -> None:
    api.objects[SCORER] = {"metadata": {"labels": {"riskladder.dev/ladder": "credit"}}}
    done = run(api, "psi=0.21", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["ladder"], found["namespace"], found["stored"]) == ("credit", "models", True)
    assert found["name"] == api.writes[0].path.removeprefix(SIGNALS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["psi=nan"], "psi: found nan, expected a finite number"),
        (["psi=-inf"], "psi: found -inf, expected a finite number"),
        (["psi=21%"], "psi: found the text '21%', expected a number such as 0.21"),
        (["psi=0,21"], "psi: found the text '0,21', expected a number"),
        (["psi=1_000"], "psi: found the text '1_000', expected a number"),
        (["psi="], "psi: found the text '', expected a number"),
        (["psi"], "found 'psi', expected INDICATOR=VALUE, such as psi=0.21"),
        (["psi=1", "psi=2"], "psi: found twice, expected one reading"),
        (["psi=1", "--observed-at", "yesterday"], "--observed-at: "),
        (
            ["psi=1", "--observed-at", "2026-11-24T06:00:00"],
            "--observed-at: found 2026-11-24T06:00:00, expected a time with its zone, such as 2026-11-24T06:00:00Z",
        ),
        (["psi=1", "--window", "1 day"], "expected a span of time such as 24h, 30m or 1d12h"),
        (["psi=1", "--kind", "Statefulset"], "--kind: found Statefulset, expected StatefulSet"),
        (["psi=1", "--samples", "0"], "samples: found 0, expected at least 1"),
        (["psi=1", "--version", "3"], "version: found one without a model"),
        (["psi=1", "--wait", "5", "--dry-run"], "--wait: nothing is stored by a dry run"),
        (["psi=1", "--source", "Fair!"], "spec.source"),
    ],
)
def test_what_is_no_reading_is_named_and_nothing_is_sent(api: ApiServer, arguments: list[str], words: str) -> None:
    done = run(api, "--ladder", "credit", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert api.got == []


def test_unknown_ladder_has_to_be_named(api: ApiServer) -> None:
    api.answers[f"GET {SCORER}"] = [failure(403, "no", "Forbidden")]
    api.answers[f"GET {LADDERS}"] = [failure(403, "no", "Forbidden")]
    done = run(api, "psi=0.21")
    assert done.exit_code == 2, "nothing was sent"
    assert api.writes == []
    assert "may neither read Deployment credit-scorer nor list the ladders of namespace models" in done.stderr
    assert "--ladder" in done.stderr


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((403, DENIAL), 1, DENIAL),
        ((404, "the server could not find the requested resource"), 1, "install Riskladder's CRDs first"),
        ((422, "spec.target: Invalid value"), 1, "spec.target: Invalid value"),
        ((503, "etcdserver: leader changed"), 75, "the API server says etcdserver: leader changed"),
    ],
)
def test_exit_code_says_whether_to_try_again(api: ApiServer, answer: tuple[int, str], code: int, words: str) -> None:
    api.answers["PATCH"] = [failure(*answer) for _ in range(50)]
    done = run(api, "psi=0.21", "--ladder", "credit", "--deadline", "0.3")
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_connection_is_for_later_and_no_credentials_are_not(tmp_path: Path) -> None:
    nowhere = kubeconfig(tmp_path, "http://127.0.0.1:1")
    done = run(None, "psi=0.21", "--ladder", "credit", "--deadline", "0.3", file=nowhere)
    assert (done.exit_code, "does not answer" in done.stderr) == (75, True), done.stderr
    done = run(None, "psi=0.21", "--ladder", "credit")
    assert (done.exit_code, "cannot load credentials" in done.stderr) == (2, True), done.stderr


def test_dry_run_says_what_would_be(api: ApiServer) -> None:
    done = run(api, "psi=0.21", "--ladder", "credit", "--dry-run", "--name", "mine")
    assert api.writes[0].query["dryRun"] == "All"
    assert done.stdout.startswith("ModelRiskSignal mine would be stored in namespace models")


def test_target_that_does_not_exist_means_that_nothing_was_sent(api: ApiServer) -> None:
    done = run(api, "psi=0.21")
    assert (done.exit_code, api.writes) == (2, [])
    assert "there is no Deployment credit-scorer in namespace models" in done.stderr


def judged(status: str, **more: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": "OutOfRange", "message": "psi: found 7, expected 0 to 1"}
    return {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [ready], **more}}


@pytest.mark.parametrize(
    ("status", "more", "code", "words"),
    [
        ("True", {}, 0, "READY: no threshold is crossed"),
        ("True", {"tier": "baseline"}, 0, "READY: no threshold is crossed"),
        ("True", {"tier": "high", "escalation": "s-1"}, 0, "READY: the model is in tier high, see escalation s-1"),
        ("False", {}, 1, "error: not used (OutOfRange): psi: found 7, expected 0 to 1"),
    ],
)
def test_wait_says_what_the_operator_makes_of_it(
    api: ApiServer, status: str, more: dict[str, Any], code: int, words: str
) -> None:
    api.objects[SIGNALS + "mine"] = judged(status, **more)
    done = run(api, "psi=0.21", "--ladder", "credit", "--wait", "5", "--name", "mine")
    assert done.exit_code == code
    assert words in done.stdout + done.stderr
    shown = run(api, "psi=0.21", "--ladder", "credit", "--wait", "5", "--name", "mine", "-o", "json")
    assert (shown.exit_code, json.loads(shown.stdout)["verdict"]["ready"]) == (code, status == "True")


def test_wait_says_that_nobody_is_notified(api: ApiServer) -> None:
    found = judged("True", tier="high", escalation="s-1")
    why = "the model is contained, and escalation s-1: nobody is notified of what is new"
    refused = {"type": "Contained", "status": "True", "reason": "EscalationRefused", "message": why}
    found["status"]["conditions"].append(refused)
    api.objects[SIGNALS + "mine"] = found
    done = run(api, "psi=0.21", "--ladder", "credit", "--wait", "5", "--name", "mine")
    assert (done.exit_code, done.stderr) == (0, f"warning: {why}\n")
    assert "READY: the model is in tier high, see escalation s-1" in done.stdout
    shown = run(api, "psi=0.21", "--ladder", "credit", "--wait", "5", "--name", "mine", "-o", "json")
    assert json.loads(shown.stdout)["verdict"]["warning"] == why


def test_operator_that_says_nothing_is_for_later(api: ApiServer) -> None:
    api.objects[SIGNALS + "mine"] = {"metadata": {"generation": 1}}
    done = run(api, "psi=0.21", "--ladder", "credit", "--wait", "0.3", "--name", "mine")
    assert done.exit_code == 75
    assert "is stored in namespace models" in done.stdout
    assert "the operator has not said" in done.stderr
